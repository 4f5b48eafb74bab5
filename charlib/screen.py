r"""Netlists from others are data: what would execute, write, or read elsewhere is refused before ngspice sees it.

ngspice takes far more of a netlist for commands than its manual says. Each of these was seen to run a shell
command out of a netlist, under `ngspice -b` or in the shared library (ngspice-39), and is refused here:

- `.control`, and any word that begins so, in any case, after blanks, in `.if (0)`, after `.end`, before `;` or `//`,
  with a carriage return inside the word (dropped when a file is read), behind a title of 4999 characters;
- `*# command`, which is no comment, and any line whose second character is `#`: ngspice puts `*` for the first where
  that is `$ ; " ?` or the like, or where the line stands in a subcircuit that nobody uses (`r#shell ...`);
- `*ng_script` in line 1, also when `.title *ng_script` brings it there from any line: all lines become commands;
- files taken in by any word that begins with `.inc` or `.lib`, in quotes, from `~/`, after `.end`, in `.if (0)`, with
  text glued to the word (`.inc"a" b`), and by a `.lib` that a section splits over a continuation line;
- form feeds (and, as Python's `splitlines` has it, U+2028) begin a new line in the shared library, even in a comment.

`.options measoutfile=PATH` writes a file, `.options addcontrol rawfile=PATH` writes one when the next deck is loaded,
and a string parameter can stand for the type of a model, `{t}` for `filesource`. Seen to do nothing: command words,
backticks and `>` in cards, `.con` and `+trol`, `* #`, `*##`, `.exec`; most are refused too, since a netlist has no
use for them. The tables of words, each with its reason, are in :mod:`charlib.screen_rules`.

The engines start where no `.spiceinit` is. Not covered: a file that is exchanged after it was screened; hand on the
text that was screened, where possible.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlib.conditionals import check_conditionals
from charlib.errors import BadInput
from charlib.screen_rules import COMMENT, Call, cards, judge, refused

MAX_BYTES = 64 * 1024 * 1024
#: levels of files that may take in one another
MAX_DEPTH = 16

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

_Node = tuple[Path, str | None]  # a file, and the section that is asked for


def screen(text: str, where: str, *, allowed: Sequence[Path] = (), relative_to: Path | None = None) -> None:
    """Refuse a netlist that could do more than describe a circuit and its analyses.

    where: its name in messages. allowed: folders in which `.include` and `.lib` may find files, which are screened
    too; relative names count from `relative_to` (default: the working folder). Raises BadInput with the line.
    """
    _Tree(_resolved(allowed)).follow(judge(text, where), relative_to or Path.cwd(), where, ())


def screen_file(path: Path, allowed: Sequence[Path]) -> str:
    """The text of a netlist file (UTF-8, at most MAX_BYTES; line ends as newlines), screened with all it takes in.

    The file itself may lie anywhere; what it takes in must lie inside `allowed`, symbolic links followed.
    Raises BadInput with file and line.
    """
    tree = _Tree(_resolved(allowed))
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of symbolic links
        raise BadInput(f"{path.name}: cannot be found ({error}); name a text file") from error
    tree.visit((resolved, None), path.name, ())
    return tree.texts[resolved].replace("\r\n", "\n")


def _resolved(folders: Sequence[Path]) -> list[Path]:
    return [folder.resolve() for folder in folders]


@dataclass
class _Tree:
    """Files that take in files. Each file is read once, each node followed once; a node's height is kept."""

    allowed: Sequence[Path]
    texts: dict[Path, str] = field(default_factory=dict)
    _calls: dict[Path, list[Call]] = field(default_factory=dict)
    _heights: dict[_Node, int] = field(default_factory=dict)

    def follow(self, calls: Sequence[Call], base: Path, where: str, stack: tuple[_Node, ...]) -> int:
        """Visit the target of every call; returns how many levels lie below."""
        height = 0
        for call in calls:
            for target in self._targets(call, base, where):
                node = (target, call.section)
                if node in stack:
                    raise refused(where, call.line, f"'{call.word}' of '{call.target}', which goes in a circle,",
                                  "remove one of the calls")
                deep = len(stack) >= MAX_DEPTH
                if not deep and node not in self._heights:
                    self.visit(node, f"{where}: line {call.line}: {call.target}", stack)
                height = max(height, 1 + self._heights.get(node, 0))
                if len(stack) + height > MAX_DEPTH:
                    raise refused(where, call.line, f"'{call.word}' to a depth of more than {MAX_DEPTH} files",
                                  "nest files less deeply")
        return height

    def visit(self, node: _Node, named: str, stack: tuple[_Node, ...]) -> None:
        """Read and judge a file, then follow what a call of that section makes ngspice open."""
        path, section = node
        if path not in self._calls:
            self.texts[path] = _read(path, named)
            self._calls[path] = judge(self.texts[path], path.name)
            check_conditionals((card.word, card.text, f"{path.name} line {card.lines[0]}")
                               for card in cards(self.texts[path], path.name))
        reached = [c for c in self._calls[path] if section is None or c.word != ".lib" or c.inside == section]
        self._heights[node] = self.follow(reached, path.parent, path.name, (*stack, node))

    def _targets(self, call: Call, base: Path, where: str) -> Iterator[Path]:
        """The files that ngspice may take: it looks in the working folder first, then beside the calling file."""
        found = []
        for place in dict.fromkeys((base / call.target, Path.cwd() / call.target)):
            try:
                resolved, there = place.resolve(), place.exists()
            except (OSError, RuntimeError) as error:
                raise refused(where, call.line, f"'{call.word}' of '{call.target}', which cannot be found,",
                              "name a file") from error
            if not there and (call.optional or place != base / call.target):
                continue
            if not any(resolved.is_relative_to(folder) for folder in self.allowed):
                raise refused(where, call.line, f"'{call.word}' of '{call.target}', outside the allowed folders,",
                              "move the file there, or list its folder under 'allow' in pdk.toml")
            if there:
                found.append(resolved)
        if not found and not call.optional:
            raise refused(where, call.line, f"'{call.word}' of '{call.target}', which does not exist,",
                          "name a file, relative to this one")
        yield from dict.fromkeys(found)


def _read(path: Path, named: str) -> str:
    """A file's text. BadInput if it is missing, not a plain file, too large, or not UTF-8."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadInput(f"{named}: is not a plain file; name a text file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{named}: cannot be read ({error.strerror}); name a text file") from error
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{named}: is larger than {MAX_BYTES >> 20} MB; cut it down to what is used")
    return decoded(raw, named)


def decoded(raw: bytes, named: str) -> str:
    """A card file's text, line ends as they are; a mark of UTF-8 or UTF-16 at its begin is heeded and dropped.

    Vendors' comments come in Latin-1, Shift JIS or GBK, which nothing tells apart: a byte that is not UTF-8 becomes
    `?` in a comment. Elsewhere it would change a name or a value: BadInput says line and byte.
    """
    for mark, encoding in _MARKS.items():
        if raw.startswith(mark):
            try:
                return raw.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise BadInput(f"{named}: it begins as {encoding} text but is not ({error.reason} at byte "
                               f"{error.start}); save the file as UTF-8 text") from error
    if (zero := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, zero) + 1
        raise BadInput(f"{named} line {line}: the byte 0x00, so it is not text, so perhaps encrypted; ask the "
                       "foundry for plain HSPICE or ngspice models")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return "\n".join(_decoded_line(line, number, named) for number, line in enumerate(raw.split(b"\n"), start=1))


def _decoded_line(line: bytes, number: int, named: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        begun = line[:error.start].decode("utf-8").lstrip()
        if not begun.startswith("*") and not COMMENT.search(begun):
            raise BadInput(f"{named} line {number}: the byte 0x{line[error.start]:02x} outside a comment is not "
                           "UTF-8; save the file as UTF-8 text, or, in what is not text at all, ask the foundry for "
                           "plain HSPICE or ngspice models") from error
        return line[:error.start].decode("utf-8") + "".join(
            chr(byte) if byte < 0x80 else "?" for byte in line[error.start:])
