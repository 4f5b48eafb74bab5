"""Others' words in files that tools execute or parse: what a kit or a table says stays a comment, a name a name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from charlib.errors import BadInput

#: what ends a line for some reader: controls, and Unicode's own separators
_LINE_ENDS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def one_line(text: str) -> str:
    """The text without line ends, and without what closes or continues a comment in C, Liberty or Python."""
    return _LINE_ENDS.sub(" ", text).replace("\\", "/").replace("*/", "* /").replace("??/", "?? /")


def comments(mark: str, lines: Iterable[str]) -> list[str]:
    """Each line as one comment. mark: what begins it, such as "# " or "// "."""
    return [f"{mark}{one_line(line)}" for line in lines]


def identifier(field: str, name: str) -> str:
    """The name, where it is one that every tool takes as it stands. BadInput otherwise."""
    if not _IDENTIFIER.fullmatch(name):
        raise BadInput(f"{field}: {name!r} cannot stand in a library; letters, digits and underscores are allowed, a "
                       "letter or underscore first")
    return name
