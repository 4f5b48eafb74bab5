"""Sphinx's settings. `make docs` builds the pages; a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import docs_reference  # noqa: E402

project = "hadamard-imc"
author = "The hadamard-imc authors"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "record"]
html_theme = "alabaster"
html_theme_options = {"description": "SPICE to the energy of training, in memory", "page_width": "1100px"}
html_show_sphinx = False
default_role = "literal"
myst_heading_anchors = 3
autodoc_typehints = "none"
smartquotes = False
autodoc_mock_imports = ["triton"]  # it has wheels for GPU machines only
autodoc_inherit_docstrings = False
nitpicky = False


def plain(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain words: marks of reStructuredText are escaped, indented lines are kept as they stand."""
    escaped, literal = [], False
    for line in lines:
        indented = line.startswith("    ")
        if indented and not literal:
            escaped += ["", "::", ""]
        if literal and not indented and line:
            escaped.append("")
        literal = indented or (literal and not line)
        escaped.append(line if literal else _escaped(line))
    lines[:] = [*escaped, ""]


def _escaped(line: str) -> str:
    """`code` stays; roles become code; stars, bars and trailing underscores lose their meaning."""
    line = re.sub(r":(?:func|class|mod|meth|data|attr):`~?([^`]*)`", r"`\1`", line)
    parts = line.replace("``", "`").split("`")
    for k in range(0, len(parts), 2):
        parts[k] = re.sub(r"([*|\\]|_(?=\W|$))", r"\\\1", parts[k])
    return "``".join(parts) if len(parts) % 2 else "".join(parts)


def setup(app: Any) -> None:
    docs_reference.write()
    app.connect("autodoc-process-docstring", plain)
