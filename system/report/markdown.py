"""The sections as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from system.report.trace import DECKS_NAME as DECKS
from system.report.view import Section, banner, title
from system.report.view_parts import Grid


def markdown_page(record: Mapping[str, Any], parts: Sequence[Section], figures: str) -> str:
    """The whole page; pictures point into the folder `figures`."""
    said = banner(record)
    lines = [f"# {_plain(title(record))}", "", f"**{_plain(said.text)}**" if said.loud else _plain(said.text), ""]
    for detail in said.details:
        lines += [_plain(detail), ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        first = part.grids[:1] if part.key == "claims" else ()
        for grid in first:
            lines += _table(grid)
        if len(part.sentences) > 1:
            lines += [*(f"- {_plain(sentence)}" for sentence in part.sentences), ""]
        else:
            lines += [line for sentence in part.sentences for line in (_plain(sentence), "")]
        for picture in part.pictures:
            caption = _plain(picture.caption)
            lines += [f"![{caption}]({figures}/{picture.id}.svg)", "", f"*{caption}* [{picture.status}]", ""]
        for grid in part.grids[len(first):]:
            lines += _table(grid)
        for listing in part.listings:
            lines += [f"{_plain(listing.caption)}: [{DECKS}/{listing.id}.sp]({DECKS}/{listing.id}.sp)", ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(grid: Grid) -> list[str]:
    return [f"{_plain(grid.caption)} [{grid.status}]", "", markdown_table(grid), ""]


def markdown_table(grid: Grid) -> str:
    """A pipe table."""
    rows = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in (grid.head, *grid.rows)]
    return "\n".join([rows[0], "|" + " --- |" * len(grid.head), *rows[1:]])


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """One line in which no word of a kit, a network or a card begins a tag or a link."""
    return " ".join(text.split("\n")).replace("<", "&lt;").replace("](", "]\\(")
