"""The rules of :mod:`charlib.screen`: what may stand in the text of a netlist, and why the rest may not.

The cards that may stand are a list, so that what a later ngspice, or another simulator, learns to execute is
refused until someone adds it. Everything else is a table of words with the reason why they are refused.
A rule errs towards refusing: `$` and `//` begin comments only in some simulators and modes, so a file's name
behind them is refused too; behind `*` and `;`, comments everywhere, anything may stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from charlib.errors import BadInput

#: ngspice reads the first line of a file into 5000 characters and takes what is left for line 2
MAX_TITLE = 4998
INCLUDES = frozenset({".inc", ".incl", ".include"})


def _words(**table: str) -> Mapping[str, str]:
    """word -> reason, from reason = "word word ..."."""
    return {word: reason.replace("_", " ") for reason, words in table.items() for word in words.split()}


#: cards of a circuit and its analyses, -> what they are
CARDS = _words(
    structure=".model .subckt .macro .ends .eom .endl .if .elseif .else .endif .global .end .title .backanno",
    value=".param .params .parameter .parameters .func .temp .opt .option .options .nodeset .ic",
    analysis=".tran .dc .ac .op .noise .disto .pz .tf .sens .sp .hb .pss .four .fourier",
    result=".width .save .probe .print .plot .meas .measure .prot .protect .unprot .unprotect")
#: other cards -> why they are refused; what is in neither table is refused as unknown
REFUSED_CARDS = _words(
    it_starts_or_ends_a_script_of_the_simulator=".control .endc",
    it_executes_a_command=".exec .system .shell .preprocess",
    it_sets_variables_of_the_simulator_that_outlive_the_deck=".csparam",
    it_loads_compiled_code=".osdi .hdl .ahdl .codemodel .veriloga",
    it_reads_or_writes_a_file=".load .stim .vec .savebias .loadbias .wave .write .store")
#: commands -> what they do. ngspice executes them in scripts alone; a circuit has no need of such names
COMMANDS = _words(
    executes_programs="shell system aspice rspice edit hardcopy gnuplot unixcom",
    writes_files="write wrdata wrs2p wrnodev snsave save echo",
    reads_files="source load snload mc_source setcs",
    loads_compiled_code="codemodel osdi",
    changes_the_simulator="set unset cd chdir alter altermod alterparam")
#: those with which a title in line 1 may begin, where nothing is executed
TITLE_WORDS = frozenset({"alter", "echo", "edit", "load", "save", "set", "source", "system", "write"})
#: variables of the front end that `.options` sets as well -> what they do
OPTIONS = _words(
    names_a_file_or_folder="measoutfile rawfile sourcepath spicepath helppath",
    names_a_program="editor program rprogram remote_shell rhost hcopydev hcopydevtype lprps lprplot5 unixcom",
    changes_how_decks_are_read="addcontrol ngbehavior noparse nosubckt subinvoke substart subend modelcard modelline "
                               "controlswait xspice_enabled osdi_enabled",
    changes_how_the_simulator_runs="interactive ngdebug spectrace history")
#: types of `.model` -> what they do
MODEL_TYPES = _words(
    reads_a_file="filesource file_source d_source d_state table2d table3d",
    starts_a_program="d_process",
    loads_compiled_code="d_cosim",
    reads_and_writes_files="numos numd numd2 nbjt nbjt2")

_OPTION = re.compile(rf"\b(?:{'|'.join(OPTIONS)})\b")
_MODEL_TYPE = re.compile(rf"\b(?:{'|'.join(MODEL_TYPES)})\b")
_MODEL = re.compile(r"\.model[ \t\n]+[\w.:#!<>|~@&%^*/?+\[\]-]+[ \t\n(,=]+[a-z][\w:.]*(?=[\s(,)]|\Z)")
_FILE = re.compile(r"""file\w{0,16}+\s*+[=("']|\bpwl\s*+(?:\(\s*+)?(file)\b|\bsimulation\s*+=""")
_LATER_CARD = re.compile(r"(?<=\s)\.(?:control|endc|exec|csparam|osdi|hdl|inc|lib)\w{0,16}")
_HIDDEN = re.compile("\r(?!\n|\\Z)|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e"
                     "\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]")
COMMENT = re.compile(r";|//|(?:^|(?<=[ ,\t]))\$")
_WORD = re.compile(r"\.?[^\s.'\"(){}=,;$/][^\s'\"(){}=,;$/]*")
_PATH_LIKE = re.compile(r"[/\\>=@]|\.\w")
_REST = r"[ \t]*(?P<rest>(?:\$|;|//)[^\n]*)?"
_INCLUDE = re.compile(r"\.inc\w*[ \t]+(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\s\"']+))" + _REST, re.IGNORECASE)
_TOKEN = r"(\"[^\"\s]*\"|'[^'\s]*'|[^\s\"';]+)"
_LIB = re.compile(rf"\.lib[ \t]+{_TOKEN}(?:[ \t]+(?![$;]|//){_TOKEN})?{_REST}", re.IGNORECASE)
_PATH = re.compile(r"[\w./+@%,=-][\w ./+@%,=-]*", re.ASCII)


@dataclass(frozen=True)
class Call:
    """A card that takes in a file. section: what `.lib` asks for, else None. inside: the section it stands in.

    optional: a section's head that some mode of ngspice would take for the name of a file, if that existed.
    """

    line: int
    word: str
    target: str
    section: str | None
    inside: str
    optional: bool = False


@dataclass(frozen=True)
class Card:
    """A card, continuation lines joined by a newline in place of their `+`; lines: the number of each."""

    text: str
    lines: Sequence[int]

    @property
    def word(self) -> str:
        """The first word, lower case; of a card, without what is glued to it."""
        found = _WORD.match(self.text)
        return found.group().lower() if found else self.text[:1]

    def line_at(self, position: int) -> int:
        return self.lines[self.text.count("\n", 0, position)]


def refused(where: str, line: int, what: str, remedy: str) -> BadInput:
    """The error of every rule, one printable line."""
    shown = "".join(c if " " <= c <= "~" else "?" for c in what)
    return BadInput(f"{where}: line {line}: {shown[:120]} is not allowed in a netlist; {remedy}")


def judge(text: str, where: str) -> list[Call]:
    """Refuse a text by BadInput with its line; returns the cards that take in files."""
    if hidden := _HIDDEN.search(text):
        raise refused(where, text.count("\n", 0, hidden.start()) + 1,
                      f"the hidden character U+{ord(hidden.group()):04X}", "remove it; lines end with LF or CR LF")
    calls: list[Call] = []
    inside = ""
    for card in cards(text, where):
        if card.text[0] != ".":
            _judge_element(card, where)
            continue
        word = card.word
        if word == ".lib" or word in INCLUDES:
            call = _call(card, word, where, inside)
            if call is None or call.optional:
                inside = card.text.split(None, 2)[1].strip("\"'").lower()
            if call is not None:
                calls.append(call)
            continue
        if word == ".endl":
            inside = ""
        _judge_card(card, word, where)
    return calls


def cards(text: str, where: str) -> Iterator[Card]:
    """The cards; judges on the way what belongs to a line."""
    held: list[str] = []
    lines: list[int] = []
    plain = text.isascii() and "`" not in text and "\\\\" not in text
    if len(text.partition("\n")[0].encode()) > MAX_TITLE:
        raise refused(where, 1, f"a first line longer than {MAX_TITLE} bytes", "shorten it")
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip(" \t\r")
        if not bare:
            continue
        start = bare[0]
        if bare[1:2] == "#" and bare[2:3] not in ("", "#", "*"):
            raise refused(where, number, f"'{start}#', after which ngspice executes the line,",
                          "put another character there")
        if start in "*#$":
            if bare[:10].lower() == "*ng_script":
                raise refused(where, number, "'*ng_script', which makes commands of all lines,", "remove it")
            continue
        if not plain:
            _judge_characters(bare, number, where)
        if start == "+":
            if not held:
                raise refused(where, number, "a continuation line that continues nothing", "join it to its card")
            held.append(bare[1:])
            lines.append(number)
            continue
        if held:
            yield Card("\n".join(held), lines)
        if number > 1 and not (start.isalpha() or start in ".;/"):
            raise refused(where, number, f"a line that begins with '{start}'",
                          "begin comments with '*' and elements with a letter")
        held, lines = [bare], [number]
    if held:
        yield Card("\n".join(held), lines)


def _judge_characters(line: str, number: int, where: str) -> None:
    code = COMMENT.split(line, maxsplit=1)[0]
    if not code.isascii():
        wide = next(c for c in code if c > "\x7f")
        raise refused(where, number, f"the character U+{ord(wide):04X} outside a comment", "write names in ASCII")
    if "`" in code:
        raise refused(where, number, "a backtick, which stands for a shell command,", "put expressions in { }")
    if line.endswith("\\\\"):
        raise refused(where, number, r"'\\' at the end of a line", "continue cards with '+' on the next line")


def _judge_inside(card: Card, low: str, where: str) -> None:
    """What is refused in any card. low: its text in lower case."""
    if ";" in low:
        low = re.sub(r"(?:(?<=.)|(?<=\n));[^\n]*", "", low)
    if ("file" in low or "simulation" in low) and (found := _FILE.search(low)):
        begin = found.start(found.lastindex or 0)
        name = re.split(r"[\s=(\"']", low[begin:begin + 24], maxsplit=1)[0]
        raise refused(where, card.lines[low.count("\n", 0, begin)], f"'{name}', which names a file,",
                      "give the values in the netlist")
    if len(card.lines) > 1 and (found := _LATER_CARD.search(low)):
        raise refused(where, card.lines[low.count("\n", 0, found.start())],
                      f"'{found.group()}' in the middle of a card", "remove it")


def _judge_element(card: Card, where: str) -> None:
    word = card.word
    doing = COMMANDS.get(word) or ("is executed before the netlist is read" if word.startswith("pre_") else None)
    inductor = word == "load" and len(card.text.partition("\n")[0].split()) > 3
    title = card.lines[0] == 1 and word in TITLE_WORDS and not _PATH_LIKE.search(card.text)
    if doing and not inductor and not title:
        raise refused(where, card.lines[0], f"'{word}', a command that {doing},",
                      "remove it; if it is an element, rename it")
    _judge_inside(card, card.text.lower(), where)


def _judge_card(card: Card, word: str, where: str) -> None:
    low = card.text.lower()
    if word not in CARDS:
        reason = next((why for bad, why in REFUSED_CARDS.items() if word.startswith(bad)),
                      "it is no card of a circuit")
        raise refused(where, card.lines[0], f"'{word}'", f"{reason}; remove it")
    if word == ".title" and "*ng_script" in low:
        raise refused(where, card.lines[0], "'*ng_script', which makes commands of all lines,", "remove it")
    if word.startswith(".opt") and (found := _OPTION.search(low)):
        raise refused(where, card.line_at(found.start()),
                      f"the option '{found.group()}', which {OPTIONS[found.group()]},", "remove it")
    if word == ".model":
        if any(bad in low for bad in MODEL_TYPES) and (found := _MODEL_TYPE.search(low)):
            raise refused(where, card.line_at(found.start()),
                          f"a model of type '{found.group()}', which {MODEL_TYPES[found.group()]},",
                          "give the values in the netlist")
        if not _MODEL.match(low) and not _MODEL.match(
                "\n".join(COMMENT.split(part, maxsplit=1)[0] for part in low.split("\n"))):
            raise refused(where, card.lines[0], "a model without a plain name and type",
                          "write '.model NAME TYPE ...'")
    _judge_inside(card, low, where)


def _call(card: Card, word: str, where: str, inside: str) -> Call | None:
    """The file that an `.include` or `.lib` asks for; None for the head of a section."""
    found = (_LIB if word == ".lib" else _INCLUDE).fullmatch(card.text)
    if found is None:
        form = "FILE SECTION" if word == ".lib" else "FILE"
        raise refused(where, card.lines[0], f"'{word}' in another form than '{word} {form}'",
                      "write it on one line, the name in quotes or without")
    section, optional = None, False
    if word == ".lib":
        target, asked = found.group(1).strip("\"'"), found.group(2)
        section = asked.strip("\"'").lower() if asked else None
        if asked is None and "/" not in target:
            if found.group(1) == target and not found.group("rest"):
                return None
            optional = True
    else:
        target = next(group for group in found.groups()[:3] if group is not None)
    if not _PATH.fullmatch(target) or "//" in target:
        raise refused(where, card.lines[0], f"'{word}' of '{target}'",
                      "write a plain path: letters, digits and / . _ - + @ % , =")
    return Call(card.lines[0], word, target, section, inside, optional)
