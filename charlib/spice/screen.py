"""Netlists from others are data: what would execute, write or read elsewhere is refused before ngspice sees it.

ngspice takes far more of a netlist for commands than its manual says. Each of these was seen to run a shell
command from a netlist, under `ngspice -b` or in the shared library (ngspice-39), and is refused here:

- `.control` by any word that begins so (`.controlfoo`, `.CoNtRoL`), after blanks, in `.if (0)`, after `.end`, before
  `;` or `//`, with a carriage return inside the word (dropped when read), and behind 4999 characters of title;
- `*# command`, which is no comment; and any line whose *second* character is `#`: ngspice turns the first into `*`
  where it is one of `$ ; " ? = & ...`, or where the line stands in a subcircuit that nobody uses (`r#shell ...`);
- `*ng_script` in line 1, or brought there by `.title *ng_script` from anywhere: every line becomes a command;
- `.include` and `.lib` by prefix (`.incfoo`), with text glued to the word (`.inc"a" b`), `~/`, after `.end`, in `.if (0)`,
  and `.lib` over a continuation line inside a section;
- `.options measoutfile=PATH` writes PATH; form feeds and U+2028 split a line in the shared library, hiding a card in a comment.

Seen to be harmless: command words and backticks in a card, `.con` + `+trol`, `* #`, `##` in use. Words of commands are
refused all the same, since a netlist has no use for them. The cards that may stand are a list, so that what a
later ngspice, or another simulator, learns to execute is refused until someone adds it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlib.errors import BadInput

MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 16
#: ngspice reads the first line of a file into 5000 characters and takes what is left for line 2
MAX_TITLE = 4998

#: the cards of a circuit and its analyses; `.include` and `.lib` have rules of their own
CARDS = frozenset(f".{word}" for word in (
    "param params parameter parameters func model subckt macro ends eom endl if elseif else endif global nodeset ic "
    "temp opt option options title end width save probe print plot meas measure four fourier tran dc ac op noise "
    "disto pz tf sens sp hb pss prot protect unprot unprotect backanno").split())
INCLUDES = frozenset({".inc", ".incl", ".include"})

#: cards with a reason of their own; every other unknown card is refused as unknown
CARD_REASONS = {
    ".control": "it starts a script of the simulator; give circuits only, the benches hold the analyses",
    ".endc": "it ends a script of the simulator; give circuits only, the benches hold the analyses",
    ".exec": "it executes a command; remove it",
    ".csparam": "it sets the simulator's own variables, which outlive the deck; use .param",
    ".osdi": "it loads compiled code; ask for the devices as .model cards",
    ".hdl": "it loads compiled code; ask for the devices as .model cards",
    ".load": "it reads a file; put its content into the netlist",
    ".stim": "it reads a file; put its content into the netlist",
    ".vec": "it reads a file; put its content into the netlist",
}
#: commands that execute, read, write, or change what stays loaded
COMMANDS = frozenset((
    "shell system write wrdata wrs2p wrnodev codemodel osdi source setcs unixcom load echo alter altermod "
    "alterparam edit cd chdir set unset save snsave snload hardcopy gnuplot aspice rspice mc_source use_codemodel"
).split())
#: of these, words with which a title in line 1 may begin; ngspice executes nothing of that line
TITLE_WORDS = frozenset({"source", "load", "write", "echo", "set", "save", "edit", "system", "alter", "hardcopy"})
#: variables of the front end that `.options` can set: they name files or programs, or change how the next deck is read
_VARIABLES = re.compile(
    r"\b(measoutfile|rawfile|addcontrol|sourcepath|spicepath|helppath|ngbehavior|editor|rprogram|program|remote_shell|"
    r"rhost|hcopy\w*|lprps|lprplot5|interactive|unixcom|ngdebug|spectrace|controlswait|noparse|nosubckt|subinvoke|"
    r"substart|subend|modelcard|modelline|history|xspice_enabled|osdi_enabled)\b", re.IGNORECASE)
#: code models that read a file or start a program, and CIDER's devices, which do both by parameters of many names
_MODEL_TYPES = re.compile(
    r"\b(filesource|file_source|d_source|d_state|d_process|d_cosim|table2d|table3d|numos|numd2?|nbjt2?)\b", re.IGNORECASE)
_MODEL = re.compile(r"\.model[ \t\n]+[\w.:#!<>|~@&%^*/?+\[\]-]+[ \t\n(,=]+[a-z][\w:.]*", re.IGNORECASE)
_FILE = re.compile(r"""file\w{0,16}+\s*+[=("']|\bpwl\s*+(?:\(\s*+)?file\b|\bsimulation\s*+=""", re.IGNORECASE)
_LATER_CARD = re.compile(r"\s(\.(?:control|endc|exec|csparam|osdi|hdl|inc|lib)\w{0,16})", re.IGNORECASE)

_HIDDEN = re.compile("\r(?!\n|\\Z)|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
                     "\ud800-\udfff\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]")
_COMMENT = re.compile(r";|//|(?:^|(?<=[ ,\t]))\$")
_WORD = re.compile(r"\.?[^\s.'\"(){}=,;$/][^\s'\"(){}=,;$/]*")
_END = r"[ \t]*(?P<rest>(?:\$|;|//)[^\n]*)?\r?"
_INCLUDE = re.compile(r"\.inc\w*[ \t]+(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\s\"']+))" + _END, re.IGNORECASE)
_TOKEN = r"(\"[^\"\s]*\"|'[^'\s]*'|[^\s\"';]+)"
_LIB = re.compile(r"\.lib[ \t]+" + _TOKEN + r"(?:[ \t]+(?![$;]|//)" + _TOKEN + ")?" + _END, re.IGNORECASE)
_PATH = re.compile(r"[\w./+@%,=-][\w ./+@%,=-]*", re.ASCII)


@dataclass(frozen=True)
class _Call:
    """A card that takes in a file. section: what `.lib` asks for, else None. inside: the section that it stands in."""

    line: int
    word: str
    target: str
    section: str | None
    inside: str
    optional: bool = False  #: a section's head which ngspice would take for a file's name if that existed


def screen(text: str, where: str, *, allowed: Sequence[Path] = (), relative_to: Path | None = None) -> None:
    """Refuse a netlist that could do more than describe a circuit and its analyses.

    where: its name in messages. allowed: folders in which `.include` and `.lib` may find files, which are screened too;
    relative names count from `relative_to` (default: the working folder). Raises BadInput, with the line.
    """
    tree = _Tree([folder.resolve() for folder in allowed])
    tree.follow(_calls(text, where), relative_to or Path.cwd(), where, ())


def screen_file(path: Path, allowed: Sequence[Path]) -> str:
    """The text of a netlist file (UTF-8, at most MAX_BYTES), screened with all that it takes in, line ends as newlines.

    The file itself may lie anywhere; what it includes must lie inside `allowed`, symbolic links followed.
    Raises BadInput, with file and line.
    """
    tree = _Tree([folder.resolve() for folder in allowed])
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:
        raise BadInput(f"{path.name}: cannot be read ({error}); name a text file") from error
    tree.visit((resolved, None), path.name, ())
    return tree.texts[resolved].replace("\r\n", "\n")


def _refuse(where: str, line: int, what: str, remedy: str) -> BadInput:
    shown = "".join(c if " " <= c <= "~" else "?" for c in what)
    return BadInput(f"{where}: line {line}: {shown[:120]} is not allowed in a netlist; {remedy}")


@dataclass
class _Tree:
    """Follows files that files take in; each file is read once, each (file, section) followed once."""

    allowed: Sequence[Path]
    texts: dict[Path, str] = field(default_factory=dict)
    _found: dict[Path, list[_Call]] = field(default_factory=dict)
    _heights: dict[tuple[Path, str | None], int] = field(default_factory=dict)

    def follow(self, calls: Sequence[_Call], base: Path, where: str, stack: tuple[tuple[Path, str | None], ...]) -> int:
        """Visit every target; returns how many levels there are below."""
        height = 0
        for call in calls:
            for target in self._targets(call, base, where):
                node = (target, call.section)
                if node in stack:
                    raise _refuse(where, call.line, f"'{call.word}' of '{call.target}', which goes in a circle,",
                                  "remove one of the calls")
                if node not in self._heights:
                    self.visit(node, f"{where}: line {call.line}: {call.target}", stack)
                height = max(height, 1 + self._heights[node])
                if len(stack) + height > MAX_DEPTH:
                    raise _refuse(where, call.line, f"'{call.word}' deeper than {MAX_DEPTH} levels", "nest files less deeply")
        return height

    def visit(self, node: tuple[Path, str | None], named: str, stack: tuple[tuple[Path, str | None], ...]) -> None:
        path, section = node
        if len(stack) > MAX_DEPTH:
            raise BadInput(f"{named}: files nested deeper than {MAX_DEPTH} levels; nest them less deeply")
        if path not in self._found:
            self.texts[path] = _read(path, named)
            self._found[path] = _calls(self.texts[path], path.name)
        calls = [c for c in self._found[path] if section is None or c.section is None or c.inside == section]
        self._heights[node] = self.follow(calls, path.parent, path.name, (*stack, node))

    def _targets(self, call: _Call, base: Path, where: str) -> Iterator[Path]:
        """The files that ngspice may take: it looks in the working folder first, then beside the calling file."""
        beside = base / call.target
        for place in dict.fromkeys((beside, Path.cwd() / call.target)):
            try:
                resolved, there = place.resolve(), place.is_file()
            except (OSError, RuntimeError) as error:
                raise _refuse(where, call.line, f"'{call.word}' of the unreadable '{call.target}'", "name a file") from error
            if not there and (call.optional or place != beside):
                continue
            if not any(resolved.is_relative_to(folder) for folder in self.allowed):
                raise _refuse(where, call.line, f"'{call.word}' of '{call.target}', outside the allowed folders,",
                              "move the file, or list its folder under 'allow' in pdk.toml")
            if there:
                yield resolved
            elif not (Path.cwd() / call.target).is_file():
                raise _refuse(where, call.line, f"'{call.word}' of '{call.target}', which is not a file that exists,",
                              "name a file, relative to this one")


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
        raise BadInput(f"{named}: is larger than {MAX_BYTES // 2**20} MB; split it, or cut it down to what is used")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refuse(named, line, "a byte that is not UTF-8", "save the file as UTF-8 text") from error


def _calls(text: str, where: str) -> list[_Call]:
    """Judge a text; returns the cards that take in files."""
    if hidden := _HIDDEN.search(text):
        raise _refuse(where, text.count("\n", 0, hidden.start()) + 1,
                      f"the hidden character U+{ord(hidden.group()):04X}", "remove it; lines end with LF or CR LF")
    calls: list[_Call] = []
    inside = ""
    for card, lines in _cards(text, where):
        if card[0] != ".":
            _judge_element(card, lines, where)
            continue
        word = _word(card)
        if word == ".lib" or word in INCLUDES:
            call = _call(card, word, lines, where, inside)
            if call is None or call.optional:
                inside = _unquoted(card.split(None, 2)[1]).lower()
            if call is not None:
                calls.append(call)
            continue
        if word == ".endl":
            inside = ""
        _judge_card(card, word, lines, where)
    return calls


def _cards(text: str, where: str) -> Iterator[tuple[str, list[int]]]:
    """Cards with the numbers of their lines: continuation lines joined by a newline in place of `+`, comments left out."""
    held: list[str] = []
    lines: list[int] = []
    plain = text.isascii() and "`" not in text and "\\\\" not in text
    first = text.partition("\n")[0]
    if len(first.encode("utf-8", "replace")) > MAX_TITLE:
        raise _refuse(where, 1, f"a first line longer than {MAX_TITLE} bytes", "shorten it")
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip(" \t\r")
        if not bare:
            continue
        start = bare[0]
        if bare[1:2] == "#" and bare[2:3] not in ("", "#", "*"):
            raise _refuse(where, number, f"'{start}#', after which ngspice executes the line,", "put another character there")
        if start in "*#$":
            if bare[:10].lower() == "*ng_script":
                raise _refuse(where, number, "'*ng_script', which makes commands of all lines,", "remove it")
            continue
        if not plain:
            _judge_characters(bare, number, where)
        if start == "+":
            if not held:
                raise _refuse(where, number, "a continuation line that continues nothing", "join it to its card")
            held.append(bare[1:])
            lines.append(number)
            continue
        if held:
            yield "\n".join(held), lines
        if not (start.isalpha() or start in ".;/") and number > 1:
            raise _refuse(where, number, f"a line that begins with '{start}'", "begin comments with '*', elements with a letter")
        held, lines = [bare], [number]
    if held:
        yield "\n".join(held), lines


def _judge_characters(line: str, number: int, where: str) -> None:
    code = _COMMENT.split(line, maxsplit=1)[0]
    if not code.isascii():
        wide = next(c for c in code if c > "\x7f")
        raise _refuse(where, number, f"the character U+{ord(wide):04X} outside a comment", "write names in ASCII")
    if "`" in code:
        raise _refuse(where, number, "a backtick, which stands for a shell command,", "use ' or { } for expressions")
    if line.endswith("\\\\"):
        raise _refuse(where, number, r"'\\' at the end of a line", "continue cards with '+' on the next line")


def _word(card: str) -> str:
    """The first word, lower case."""
    found = _WORD.match(card)
    return found.group().lower() if found else card[:1]


def _line_at(card: str, position: int, lines: Sequence[int]) -> int:
    return lines[card.count("\n", 0, position)]


def _judge_inside(card: str, lines: Sequence[int], where: str) -> None:
    """What is refused in any card. Only `;` ends it here: `$` and `//` are code to other simulators and modes."""
    code = re.sub(r"(?<=.);[^\n]*|(?<=\n);[^\n]*", "", card) if ";" in card else card
    if found := _FILE.search(code):
        name = found.group().split()[0].rstrip("=(\"'")
        raise _refuse(where, _line_at(code, found.start(), lines), f"'{name}', which names a file,",
                      "give the values in the netlist")
    if len(lines) > 1 and (found := _LATER_CARD.search(code, code.index("\n"))):
        raise _refuse(where, _line_at(code, found.start(1), lines), f"'{found.group(1)}' in a continuation line", "remove it")


def _judge_element(card: str, lines: Sequence[int], where: str) -> None:
    word = _word(card)
    command = word in COMMANDS or word.startswith("pre_")
    if word == "load" and len(card.split()) > 3:
        command = False  # an inductor of that name
    if command and not (lines[0] == 1 and word in TITLE_WORDS and ("file" not in card)):
        raise _refuse(where, lines[0], f"'{word}', a command of the simulator,", "remove it; if it is an element, rename it")
    _judge_inside(card, lines, where)


def _judge_card(card: str, word: str, lines: Sequence[int], where: str) -> None:
    if word not in CARDS:
        reason = CARD_REASONS.get(word) or next(
            (why for bad, why in CARD_REASONS.items() if word.startswith(bad)), "it is no card of a circuit; remove it")
        raise _refuse(where, lines[0], f"'{word}'", reason)
    if word == ".title" and "*ng_script" in card.lower():
        raise _refuse(where, lines[0], "'*ng_script', which makes commands of all lines,", "remove it")
    if word.startswith(".opt") and (found := _VARIABLES.search(card)):
        raise _refuse(where, _line_at(card, found.start(), lines), f"the option '{found.group()}', which names files "
                      "or programs, or changes how decks are read,", "remove it")
    if word == ".model":
        if found := _MODEL_TYPES.search(card):
            raise _refuse(where, _line_at(card, found.start(), lines), f"a model of type '{found.group()}', which may "
                          "read files or start programs,", "give the values in the netlist")
        if not _MODEL.match("\n".join(_COMMENT.split(part, maxsplit=1)[0] for part in card.split("\n"))):
            raise _refuse(where, lines[0], "a model without a plain name and type", "write '.model NAME TYPE ...'")
    _judge_inside(card, lines, where)


def _call(card: str, word: str, lines: Sequence[int], where: str, inside: str) -> _Call | None:
    """The file that an `.include` or `.lib` asks for; None for the head of a section."""
    found = (_LIB if word == ".lib" else _INCLUDE).fullmatch(card)
    if found is None:
        raise _refuse(where, lines[0], f"'{word}' in another form than {word} {'FILE SECTION' if word == '.lib' else 'FILE'}",
                      "write it on one line, the name in quotes or without")
    section, optional = None, False
    if word == ".lib":
        target, asked = _unquoted(found.group(1)), found.group(2)
        section = _unquoted(asked).lower() if asked else None
        if asked is None and "/" not in target:
            if found.group(1) == target and not found.group("rest"):
                return None
            optional = True
    else:
        target = next(group for group in found.groups()[:3] if group is not None)
    if not _PATH.fullmatch(target) or "//" in target:
        raise _refuse(where, lines[0], f"'{word}' of '{target}'", "write a plain path: letters, digits and / . _ - + @ % , =")
    return _Call(lines[0], word, target, section, inside, optional)


def _unquoted(token: str) -> str:
    return token.strip("\"'")
