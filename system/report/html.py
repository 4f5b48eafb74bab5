"""The sections as one self-contained HTML page: style and plots inline, nothing fetched, no script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from system.report.view import Section, banner, title

#: a table cell that is set to the right: it starts with a digit or a sign
_NUMERIC = re.compile(r"^[−+-]?\d")
#: a space between a number and its unit, which a narrow column must not break
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:%|×|°C|[afpnµmkMG]?(?:J|s|W|Hz|V))(?:$|[^\w]))")


def _glued(text: str) -> str:
    return _BEFORE_UNIT.sub("\u00a0", text)


def html_page(record: Mapping[str, Any], parts: Sequence[Section], figures: Mapping[str, str]) -> str:
    """The whole page. figures: id -> SVG text, which is ours and goes in unescaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    environment.filters["numeric"] = lambda text: bool(_NUMERIC.match(text))
    environment.filters["glued"] = _glued
    source = resources.files("system.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    page = environment.from_string(source).render(
        title=title(record), banner=banner(record), sections=parts,
        figures={name: Markup(svg) for name, svg in figures.items()},
    )
    return page.rstrip() + "\n"
