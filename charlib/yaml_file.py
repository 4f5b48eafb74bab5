"""The one loader of YAML files (campaign, space, macro): a small, bounded subset, and the line of every value.

Events are read one by one and refused as soon as they go too deep or become too many. Anchors, aliases, tags,
several documents and doubled keys are refused; so is text that cannot be printed. What remains is plain data as
YAML 1.2 reads it: null, true, false, numbers (1e-11 included, which YAML 1.1 takes for text), text, lists and
mappings. `yes`, `on` and `010` are text.
"""

from __future__ import annotations

import errno
import math
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charlib.errors import BadInput

MAX_BYTES = 1_000_000
MAX_DEPTH = 8
MAX_VALUES = 20_000
MAX_TEXT = 4096
_SHOWN = 60  # characters of a value that an error repeats
_SHOWN_PATH = 160

#: steps from the root: field names and list indices
FieldPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,99})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,99}(\.[0-9]{0,99})?|\.[0-9]{1,99})([eE][-+]?[0-9]{1,9})?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]")
_WORDS: Mapping[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class Fault(ValueError):
    """What is wrong, at which line (counted from 1) and field ("" for the file)."""

    def __init__(self, line: int, field: str, message: str) -> None:
        super().__init__(message)
        self.line, self.field, self.message = line, field, message

    def __str__(self) -> str:
        return f"line {self.line}: {self.field + ': ' if self.field else ''}{self.message}"


@dataclass(frozen=True)
class Tree:
    """Plain data, and the line (from 1) at which each value begins; a mapping's value begins at its key."""

    data: Any
    lines: Mapping[FieldPath, int]


def shown(value: Any) -> str:
    """A value as an error repeats it: one line, not longer than a few words."""
    try:
        text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def path_text(path: FieldPath) -> str:
    """('benches', 1, 'grid') as people write it: benches[1].grid."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return text if len(text) <= _SHOWN_PATH else f"{text[:_SHOWN_PATH]}..."


def read_tree(content: bytes) -> Tree:
    """The data of a YAML file. Fault for anything that is not in the subset."""
    if len(content) > MAX_BYTES:
        raise Fault(1, "", f"the file is larger than {MAX_BYTES} bytes; that many at most are allowed")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(content[:error.start].count(b"\n") + 1, "",
                    f"byte {content[error.start]:#04x} is not UTF-8; write the file as UTF-8 text") from error
    lines: dict[FieldPath, int] = {}
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        data = _Reader(loader, lines).document()
    except yaml.reader.ReaderError as error:
        line = len(_BREAK.findall(text[:error.position])) + 1
        raise Fault(line, "", f"character U+{error.character:04X} is not allowed in YAML; remove it") from error
    except yaml.YAMLError as error:
        raise _not_yaml(error) from error
    except (ValueError, OverflowError, IndexError) as error:  # PyYAML's own, such as for the escape \UFFFFFFFF
        if isinstance(error, Fault):
            raise
        line = loader.line + 1 if loader else 1
        raise Fault(line, "", f"not YAML ({' '.join(str(error).split())})") from error
    return Tree(data, lines)


@dataclass(frozen=True)
class Document:
    """A file of `field: value` lines. what: its sort, with which errors begin, such as "campaign"."""

    what: str
    path: Path
    fields: Mapping[str, Any]
    lines: Mapping[FieldPath, int]

    def fault(self, where: FieldPath, message: str) -> BadInput:
        """An error at a field, or at what holds it where the file does not have it."""
        there = where
        while there and there not in self.lines:
            there = there[:-1]
        return BadInput(f"{self.what} {self.path}: {Fault(self.lines.get(there, 1), path_text(there), message)}")

    def blame(self, error: BadInput, where: FieldPath = ()) -> BadInput:
        """An error of a value, such as `batch: at least 1`, at the line of the field that it begins with."""
        name, colon, rest = str(error).partition(": ")
        inside = (*where, name)
        if colon and inside in self.lines:
            return self.blame(BadInput(rest), inside)
        return self.fault(where, str(error)) if where[-1:] != (name,) else self.fault(where, rest)


def read_document(path: Path, what: str, allowed: str) -> Document:
    """The fields of a YAML file. BadInput with line and field; allowed: what it must hold, for an error."""
    try:
        tree = read_tree(read_content(path))
        if not isinstance(tree.data, dict):
            raise Fault(tree.lines.get((), 1), "", allowed)
    except OSError as error:
        raise BadInput(f"{what} {path}: cannot be read ({error.strerror or error}); 'himc init {what}' writes one"
                       ) from error
    except Fault as fault:
        raise BadInput(f"{what} {path}: {fault}") from fault
    return Document(what, path, tree.data, tree.lines)


def read_content(path: Path) -> bytes:
    """At most a byte more than is allowed. OSError where it cannot be read or is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file")
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _not_yaml(error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = " ".join(str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    return Fault(mark.line + 1 if mark else 1, "",
                 f"not YAML ({ascii(' '.join(words.split()))[1:-1][:200] or 'unreadable'})")


class _Reader:
    """Builds plain data from the parser's events."""

    def __init__(self, loader: yaml.SafeLoader, lines: dict[FieldPath, int]) -> None:
        self._events: Iterator[yaml.Event] = iter(loader.get_event, None)
        self._lines, self._count = lines, 0

    def document(self) -> Any:
        data: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.StreamEndEvent):
                break
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Fault(_line(event), "", "a second document begins; one document is allowed")
                if event.tags or event.version:
                    raise Fault(_line(event), "", "a % directive is not allowed; remove it")
            elif isinstance(event, yaml.NodeEvent):
                self._lines[()] = _line(event)
                data = self._value(event, ())
        return data

    def _value(self, event: yaml.Event, path: FieldPath) -> Any:
        line, field = _line(event), path_text(path)
        self._count += 1
        if self._count > MAX_VALUES:
            raise Fault(line, field, f"the file holds more than {MAX_VALUES} values; that many at most are allowed")
        if len(path) > MAX_DEPTH:
            raise Fault(line, field, f"lies deeper than {MAX_DEPTH} levels; that many at most are allowed")
        if isinstance(event, yaml.AliasEvent):
            raise Fault(line, field, f"alias {shown(event.anchor)} is not allowed; write the value itself")
        if not isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            raise Fault(line, field, "not YAML (a value is missing)")
        if event.anchor is not None:
            raise Fault(line, field, f"anchor {shown(event.anchor)} is not allowed; remove it")
        if event.tag is not None:
            raise Fault(line, field, f"tag {shown(event.tag)} is not allowed; remove it")
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event, line, field)
        return self._list(path) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(path)

    def _list(self, path: FieldPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            step = (*path, len(found))
            self._lines[step] = _line(event)
            found.append(self._value(event, step))
        return found

    def _mapping(self, path: FieldPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = _line(event)
            if isinstance(event, yaml.ScalarEvent) and event.anchor is None and event.tag is None:
                name = _printable(event.value, line, path_text(path))
            else:
                raise Fault(line, path_text(path), "a field's name must be plain text")
            step = (*path, name)
            if name in found:
                raise Fault(line, path_text(step), f"stands twice, first in line {self._lines[step]}; give it once")
            self._lines[step] = line
            found[name] = self._value(next(self._events), step)
        return found


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _printable(text: str, line: int, field: str) -> str:
    if len(text) > MAX_TEXT:
        raise Fault(line, field, f"the text {shown(text)} is longer than {MAX_TEXT} characters, the most allowed")
    if not text.isprintable():
        raise Fault(line, field, f"{shown(text)} holds a character that cannot be printed; printable ones in one "
                                 "line are allowed")
    return text


def _scalar(event: yaml.ScalarEvent, line: int, field: str) -> Any:
    text = _printable(event.value, line, field)
    if not event.implicit[0]:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.match(text):
        number = float(text)
        if not math.isfinite(number):
            raise Fault(line, field, f"{shown(text)[1:-1]} is too large; a finite number is allowed")
        return number
    return text
