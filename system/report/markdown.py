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
    lines = [f"# {title(record)}", "", f"**{said.text}**" if said.loud else said.text, ""]
    for detail in said.details:
        lines += [detail, ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        first = part.grids[:1] if part.key == "claims" else ()
        for grid in first:
            lines += _table(grid)
        if len(part.sentences) > 1:
            lines += [*(f"- {sentence}" for sentence in part.sentences), ""]
        else:
            lines += [line for sentence in part.sentences for line in (sentence, "")]
        for picture in part.pictures:
            lines += [f"![{picture.caption}]({figures}/{picture.id}.svg)", "",
                      f"*{picture.caption}* [{picture.status}]", ""]
        for grid in part.grids[len(first):]:
            lines += _table(grid)
        for listing in part.listings:
            lines += [f"{listing.caption}: [{DECKS}/{listing.id}.sp]({DECKS}/{listing.id}.sp)", ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(grid: Grid) -> list[str]:
    return [f"{grid.caption} [{grid.status}]", "", markdown_table(grid), ""]


def markdown_table(grid: Grid) -> str:
    """A pipe table."""
    rows = ["| " + " | ".join(_cell(text) for text in row) + " |" for row in (grid.head, *grid.rows)]
    return "\n".join([rows[0], "|" + " --- |" * len(grid.head), *rows[1:]])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
