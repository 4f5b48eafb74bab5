"""Model libraries as data: read, resolved, and cut down to the cards that a deck uses.

sky130's whole `.lib tt` costs ngspice 5 to 27 s and up to 1.8 GB to parse, where the analysis takes
milliseconds. A :class:`Library` resolves `.lib FILE SECTION` and `.include` itself, inside allowed folders only,
and :meth:`Library.prune` keeps what a set of devices reaches: their subcircuits and models, with
the parameters and functions that those name, and so on to the end. Nothing is rewritten; kept statements stand
in their order; a card between `.if` and `.endif` keeps the block's conditions and what those ask for. `himc pdk
check` proves on waveforms that nothing needed was cut.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlib.conditionals import BEGIN, CONTROLS, END, check_conditionals
from charlib.errors import BadInput
from charlib.pdk.withheld import NotInCards
from charlib.screen import decoded
from charlib.screen_rules import judge

MAX_DEPTH = 24
_WORD = re.compile(r"[a-z_][\w$#]*")
_QUOTES = "\"'"
#: forms in which vendors ship what only another simulator can read
_ENCRYPTED = re.compile(r"(?im)^\s*(\.prot(?:ect)?\b|`?pragma\s+protect|\*\*?\s*encrypted|\.unprot)|"
                        r"\$begin_protected|-----BEGIN")
_SPECTRE = re.compile(r"(?m)^\s*(simulator\s+lang\s*=\s*spectre|inline\s+subckt\b|statistics\s*\{|"
                      r"library\s+\w+\s*$)")


@dataclass(frozen=True)
class Statement:
    """One card with its continuation lines, comments between them left out. word: its first word, lower case."""

    word: str
    name: str  #: model, subcircuit or first parameter, lower case; "" for others
    text: str
    file: Path = field(repr=False)
    line: int

    def words(self) -> frozenset[str]:
        """Every identifier in it, lower case."""
        return identifiers(self.text)


@dataclass(frozen=True)
class Source:
    """A card file, or one section of a sectioned library."""

    file: str
    section: str = ""


def identifiers(text: str) -> frozenset[str]:
    """Every identifier in a text, lower case."""
    return frozenset(_WORD.findall(text.lower()))


def statements(text: str, file: Path) -> Iterator[Statement]:
    """The cards of a text: continuation lines joined to theirs, comments and empty lines dropped."""
    held: list[str] = []
    begin = 0
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.lstrip()
        if not bare or bare[0] == "*":
            continue
        if bare[0] == "+" and held:
            held.append(line.rstrip())
            continue
        if held:
            yield _statement(held, file, begin)
        held, begin = [line.rstrip()], number
    if held:
        yield _statement(held, file, begin)


def _statement(lines: list[str], file: Path, number: int) -> Statement:
    parts = " ".join(line.strip().lstrip("+") for line in lines[:3]).replace("=", " = ").split()
    word = parts[0].lower().partition("(")[0]
    name = parts[1].lower() if len(parts) > 1 and word in _NAMED else ""
    return Statement(word, name, "\n".join(lines), file, number)


_PARAMS = frozenset({".param", ".params", ".parameter", ".parameters"})
_NAMED = frozenset({".model", ".subckt", ".macro", *_PARAMS, ".lib", ".func", ".endl", ".include", ".inc"})
_ALWAYS = frozenset({".opt", ".option", ".options", ".global"})
_BEGIN_BLOCK, _END_BLOCK = frozenset({".subckt", ".macro"}), frozenset({".ends", ".eom"})


class Library:
    """What a corner's sources hold, resolved.

    sources are relative to `root`; every file must lie inside `root` or one of `allowed`.
    Raises BadInput naming file and line for what is missing, encrypted, of another simulator, or outside.
    """

    def __init__(self, root: Path, sources: Sequence[Source], allowed: Sequence[Path] = ()) -> None:
        self._allowed = [folder.resolve() for folder in (root, *allowed)]
        self.files: dict[Path, str] = {}  #: every file read, with its text
        self._flat: list[Statement] = []
        self._as_given = {source.section.lower(): source.section for source in sources}
        for source in sources:
            self._flat += self._read(root / source.file, source.section.lower(), f"source {source.file}", 0)
        self.subckts: dict[str, list[Statement]] = {}
        self.models: dict[str, list[Statement]] = {}  #: by name without the bin's number
        self.globals: dict[str, list[Statement]] = {}  #: .param and .func, by each name they define
        self.always: list[Statement] = []  #: what holds for every device: .option and .global
        self._around: dict[int, list[list[Statement]]] = {}  #: card -> the .if blocks around it, their own cards
        self._sort()

    def _text(self, path: Path, where: str) -> tuple[Path, str]:
        resolved = path.resolve()
        if not any(resolved.is_relative_to(folder) for folder in self._allowed):
            raise BadInput(f"{where}: {path} lies outside the kit's folder; list that folder under 'allow' in "
                           "pdk.toml")
        if resolved not in self.files:
            try:
                raw = resolved.read_bytes()
            except OSError as error:
                raise BadInput(f"{where}: {path} cannot be read ({error.strerror})") from error
            try:
                text = decoded(raw, path.name).replace("\r\n", "\n")
            except BadInput:
                refuse_foreign(raw.decode("latin-1"), path)
                raise
            refuse_foreign(text, path)
            judge(text, path.name)
            self.files[resolved] = text
        return resolved, self.files[resolved]

    def _read(self, path: Path, section: str, where: str, depth: int) -> list[Statement]:
        if depth > MAX_DEPTH:
            raise BadInput(f"{where}: includes nest deeper than {MAX_DEPTH}; is there a circle?")
        resolved, text = self._text(path, where)
        kept: list[Statement] = []
        inside, seen = "", not section
        for s in statements(text, resolved):
            here = f"{path.name} line {s.line}"
            if s.word == ".endl":
                inside = ""
                continue
            target, wanted = _library_call(s)
            if s.word == ".lib" and target is None:
                inside = s.name
                seen = seen or inside == section
                continue
            if inside != section:
                continue
            if target is not None:
                kept += self._read(_target(resolved, target), wanted, here, depth + 1)
            elif s.word in (".include", ".inc"):
                kept += self._read(_target(resolved, _unquote(s.text.split(None, 1)[1])), "", here, depth + 1)
            else:
                kept.append(s)
        if not seen:
            found = sorted({s.name for s in statements(text, resolved)
                            if s.word == ".lib" and _library_call(s)[0] is None})
            fault = f"{where}: {path.name} has no section '{section}'; it has {', '.join(found) or 'none'}"
            if depth:
                raise BadInput(fault)
            raise NotInCards(fault, f"section '{self._as_given[section]}' is not in the cards", field="sources")
        return kept

    def _sort(self) -> None:
        block: list[Statement] = []
        depth = 0  # of subcircuits within subcircuits
        conditions: list[list[Statement]] = []
        for s in self._flat:
            if s.word in BEGIN and not block:
                conditions.append([])
            if conditions:
                self._around[id(s)] = list(conditions)
            if s.word in CONTROLS and conditions and not block:
                conditions[-1].append(s)
                if s.word in END:
                    conditions.pop()
            elif block:
                block.append(s)
                depth += (s.word in _BEGIN_BLOCK) - (s.word in _END_BLOCK)
                if depth == 0:
                    self.subckts.setdefault(block[0].name, block)  # of two, ngspice takes the first
                    block = []
            elif s.word in _BEGIN_BLOCK:
                block, depth = [s], 1
            elif s.word == ".model":
                self.models.setdefault(_stem(s.name), []).append(s)
            elif s.word in _PARAMS or s.word == ".func":
                for name in _defined(s):
                    self.globals.setdefault(name, []).append(s)
            elif s.word in _ALWAYS:
                self.always.append(s)
        if block:
            raise BadInput(f"{block[0].file.name} line {block[0].line}: subcircuit '{block[0].name}' has no .ends")

    def whole(self) -> str:
        """Every statement, in order."""
        return "\n".join(s.text for s in self._flat) + "\n"

    def prune(self, names: Collection[str], lengths_m: Sequence[float] = ()) -> str:
        """The statements that the devices `names` reach, in order, one text.

        lengths_m: channel lengths in use; bins of other lengths go too. Empty: all bins stay.
        Raises BadInput for a name that is neither a model nor a subcircuit.
        """
        wanted = {name.lower() for name in names}
        missing = sorted(name for name in names if name.lower() not in self.subckts.keys() | self.models.keys())
        if missing:
            raise NotInCards(f"device '{missing[0]}': neither a model nor a subcircuit in the kit's cards",
                             f"'{missing[0]}' is neither a model nor a subcircuit in the cards",
                             device=missing[0].lower())
        kept: set[int] = set()
        seen, fresh, pending = set(wanted), set(wanted), list(self.always)
        while pending or fresh:
            pending += [s for name in fresh for s in self._named(name) if _has_length(s, lengths_m)]
            fresh = set()
            while pending:
                s = pending.pop()
                if id(s) in kept:
                    continue
                kept.add(id(s))
                pending += [control for block in self._around.get(id(s), ()) for control in block]
                fresh |= {w for w in s.words() if w in self.subckts or w in self.models or w in self.globals} - seen
            seen |= fresh
        found = [s for s in self._flat if id(s) in kept]
        check_statements(found)
        return "\n".join(s.text for s in found) + "\n"

    def _named(self, name: str) -> list[Statement]:
        """The cards that define a name."""
        return [*self.subckts.get(name, ()), *self.models.get(name, ()), *self.globals.get(name, ())]


def check_statements(found: Iterable[Statement]) -> None:
    """BadInput, with file and line, for a condition that ngspice does not heed."""
    check_conditionals((s.word, s.text, f"{s.file.name} line {s.line}") for s in found)


def refuse_foreign(text: str, path: Path) -> None:
    """BadInput, in one line, for encrypted cards and for Spectre's language."""
    if found := _ENCRYPTED.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise BadInput(f"{path.name} line {line}: encrypted cards; ngspice cannot read them, ask the foundry for "
                       "plain HSPICE or ngspice models")
    if found := _SPECTRE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise BadInput(f"{path.name} line {line}: Spectre's language; ngspice cannot read it, point pdk.toml to the "
                       "kit's HSPICE or ngspice models")


def _library_call(s: Statement) -> tuple[str | None, str]:
    """(file, section) of a `.lib FILE SECTION` card; (None, "") for the head of a section and other cards."""
    if s.word != ".lib":
        return None, ""
    parts = re.findall(r"\"[^\"]*\"|'[^']*'|\S+", s.text.split("$")[0])[1:]
    if len(parts) < 2:
        return None, ""
    return _unquote(parts[0]), parts[1].lower()


def _unquote(text: str) -> str:
    text = text.strip()
    if text[:1] in tuple(_QUOTES) and text.count(text[0]) > 1:
        return text[1:text.index(text[0], 1)]
    return text.split()[0]


def _target(including: Path, name: str) -> Path:
    """A path in a card: relative to the file that names it."""
    path = Path(name)
    return path if path.is_absolute() else including.parent / path


def _stem(model: str) -> str:
    head, dot, tail = model.rpartition(".")
    return head if dot and tail.isdigit() else model


def _defined(s: Statement) -> list[str]:
    """Names that a .param or .func card defines."""
    body = s.text.replace("\n+", " ").split(None, 1)[-1]
    if s.word == ".func":
        return [s.name.partition("(")[0]]
    return [name.lower() for name in re.findall(r"([A-Za-z_][\w$#]*)\s*(?:\([^)=]*\))?\s*=(?!=)", body)]


_UNITS = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_NUMBER = re.compile(r"['\"{]?\s*([-+]?[\d.]+(?:e[-+]?\d+)?)([munp]?)m?\s*['\"}]?", re.IGNORECASE)


def plain_number(text: str) -> float | None:
    """A number with a unit's letter, None where it is an expression."""
    found = _NUMBER.fullmatch(text)
    return float(f"{float(found[1]) * _UNITS[found[2].lower()]:.9g}") if found else None


_BIN = {end: re.compile(rf"\b{end}\s*=\s*('[^']*'|\{{[^}}]*\}}|[^\s)]+)", re.IGNORECASE) for end in ("lmin", "lmax")}


def _has_length(s: Statement, lengths_m: Sequence[float]) -> bool:
    """Whether a card is not a bin, or is one that some length falls into (bins state metres), or may be one."""
    if s.word != ".model" or not lengths_m or _stem(s.name) == s.name:
        return True
    low, high = (plain_number(found[1]) if (found := _BIN[end].search(s.text)) else None for end in ("lmin", "lmax"))
    if low is None or high is None:
        return True
    return any(low * (1 - 1e-9) <= length <= high * (1 + 1e-9) for length in lengths_m)
