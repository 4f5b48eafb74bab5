"""A netlist of the user's, or a kit's header, as a tree of subcircuits whose cards are taken apart.

What ngspice reads is read: continuation lines after comments and blank lines, indented cards, `.macro`, nested
subcircuits, `.include`d files. A card of a user's file that would not reach the cell is refused with its line, since
what vanishes without a word makes a wrong number: sources, options, analyses, elements outside every subcircuit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charlib.errors import BadInput
from charlib.pdk.library import Statement, statements
from charlib.screen import screen_file
from charlib.screen_rules import INCLUDES

#: elements that several in parallel multiply -> how many nodes each has; None: all words before the last
MULTIPLIED = {"m": None, "x": None, "r": 2, "c": 2, "l": 2, "d": 2, "j": 3, "q": 3}
_BEGIN, _END = frozenset({".subckt", ".macro"}), frozenset({".ends", ".eom"})
_PARAMS = frozenset({".param", ".params", ".parameter", ".parameters"})
_NOTHING = frozenset({".title", ".backanno"})
#: where a comment begins at the end of a line
COMMENT = re.compile(r"(?:^|(?<=[\s,]))\$|;|//")
_VALUE = r"'[^']*'|\"[^\"]*\"|\{[^{}]*\}|[^\s='\"{}]+"
_TOKEN = re.compile(rf"\s*(?:([A-Za-z_]\w*(?:\([\w\s,]*\))?)\s*=\s*({_VALUE})|({_VALUE}))")
_USES_M = re.compile(r"(?<![\w.])m(?![\w.])(?!\s*=[^=])", re.IGNORECASE)
_FUNC = re.compile(r"\.func\s+([A-Za-z_]\w*)\s*\(([^)]*)\)\s*=?\s*(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Words:
    """A card taken apart: its bare words, and its assignments in order, names in small letters."""

    bare: tuple[str, ...]
    given: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Element:
    """An element. model: the model or subcircuit that it names, "" where it may have none. tail: words after that."""

    name: str
    nodes: tuple[str, ...]
    model: str
    tail: tuple[str, ...]
    given: tuple[tuple[str, str], ...]
    card: Statement = field(repr=False)

    @property
    def letter(self) -> str:
        return self.name[0].lower()


@dataclass(eq=False)
class Scope:
    """A subcircuit, or the file around them (name ""). Every key is in small letters."""

    name: str
    ports: tuple[str, ...] = ()
    formals: dict[str, str] = field(default_factory=dict)
    parent: Scope | None = None
    inner: dict[str, Scope] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    funcs: dict[str, tuple[str, str]] = field(default_factory=dict)  #: name -> (arguments, body)
    models: dict[str, list[Statement]] = field(default_factory=dict)  #: by name without the bin's number
    cards: list[Statement] = field(default_factory=list)
    globals: dict[str, Statement] = field(default_factory=dict)
    scale: tuple[str, Statement] | None = None

    @property
    def path(self) -> str:
        """Its name with those of the subcircuits around it."""
        return f"{self.parent.path}__{self.name}" if self.parent is not None and self.parent.name else self.name

    def around(self) -> Iterator[Scope]:
        """This scope and those in which it stands, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def subckt(self, name: str) -> Scope | None:
        """What a call of `name` from here means, None where the file does not say."""
        return next((scope.inner[name.lower()] for scope in self.around() if name.lower() in scope.inner), None)

    def model(self, name: str) -> Scope | None:
        """The scope whose model `name` is, seen from here."""
        return next((scope for scope in self.around() if name.lower() in scope.models), None)

    @property
    def takes_m(self) -> bool:
        """Whether it has a parameter m of its own and uses it; one that it does not use is no more than a habit."""
        if "m" not in self.formals:
            return False
        cards = (*self.cards, *(card for bins in self.models.values() for card in bins))
        texts = (*map(_one_line, cards), *self.params.values(), *self.formals.values())
        return any(_USES_M.search(text) for text in texts)

    def elements(self) -> list[Element]:
        """Its cards taken apart. BadInput for an element that is none of MULTIPLIED."""
        return [element(card) for card in self.cards]


def fault(card: Statement, what: str) -> BadInput:
    """The error of a card: file, line, and what is the matter."""
    return BadInput(f"netlist {card.file.name}: line {card.line}: {what}")


def read_cards(path: Path, allowed: Sequence[Path]) -> tuple[Statement, ...]:
    """The cards of a user's netlist and, in their place, of the files that it includes; all inside `allowed`."""
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in allowed):
        raise BadInput(f"netlist {path}: lies outside the kit's folder; list its folder under 'allow' in pdk.toml")
    found: list[Statement] = []
    for card in statements(screen_file(path, allowed), path):
        if card.word in INCLUDES:
            target = _one_line(card).split(None, 1)[1].strip().strip("\"'")
            found += read_cards(path.parent / target, allowed)
        else:
            found.append(card)
    return tuple(found)


def _one_line(card: Statement) -> str:
    """A card's text without comments, its lines joined."""
    lines = [COMMENT.split(line.strip(), maxsplit=1)[0] for line in card.text.splitlines()]
    return " ".join([lines[0], *(line.removeprefix("+") for line in lines[1:])]).strip()


def words(card: Statement) -> Words:
    """The card taken apart. BadInput for text that is neither a word nor NAME=VALUE."""
    text = _one_line(card)
    bare: list[str] = []
    given: list[tuple[str, str]] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or (given and found[3] is not None and found[3].lower() != "params:"):
            rest = text[place:].split(None, 1)[0] if text[place:].strip() else ""
            raise fault(card, f"'{rest}' cannot be read; write assignments as name=value, expressions in quotes "
                              "or { }")
        place = found.end()
        if found[1] is not None:
            given.append((found[1].lower(), found[2]))
        elif found[3].lower() != "params:":
            bare.append(found[3])
    return Words(tuple(bare), tuple(given))


def element(card: Statement) -> Element:
    """An element's card taken apart."""
    letter = card.word[0]
    if letter not in MULTIPLIED:
        raise fault(card, f"'{card.word}': an own cell is made of transistors, diodes, R, C, L and subcircuits; what "
                          "a source inside it draws or gives no bench would see")
    said = words(card)
    count = MULTIPLIED[letter]
    if count is None:
        count = len(said.bare) - 2
    elif letter == "q" and len(said.bare) > 5 and not said.bare[5][0].isdigit():
        count = 4
    nodes, rest = said.bare[1:1 + count], said.bare[1 + count:]
    least = {"m": 4, "x": 1}.get(letter, count)
    if len(nodes) < least or (letter in "mxdjq" and not rest):
        raise fault(card, f"{said.bare[0]} has too few words: {least} nodes and a model are needed")
    for node in nodes:
        if set(node) & set("(),'\"{}"):
            raise fault(card, f"{said.bare[0]}: '{node}' is no net's name; write nets without brackets and commas")
    model, tail = (rest[0], rest[1:]) if letter in "mxdjq" else ("", rest)
    return Element(said.bare[0], nodes, model, tail, said.given, card)


def tree(cards: Sequence[Statement]) -> Scope:
    """The subcircuits that a user's file defines, in which nothing may vanish without a word."""
    root = here = Scope("")
    for position, card in enumerate(cards):
        title = position == 0 and card.line == 1 and card.word[0].isalpha()
        if title or card.word in _NOTHING or (card.word == ".end" and position == len(cards) - 1):
            continue
        here = _take(card, here)
    if here.parent is not None:
        raise BadInput(f"netlist: subcircuit '{here.name}' has no .ends")
    return root


def kit_tree(cards: Sequence[Statement]) -> Scope:
    """The subcircuits of a kit's header. What cannot be taken apart is kept as a card, judged where it is used."""
    root = here = Scope("")
    for card in cards:
        begins = card.word in _BEGIN
        if here.parent is None and not begins:
            continue
        try:
            here = _take(card, here)
        except BadInput:
            if begins:
                here = Scope(card.name, parent=here)
            here.cards.append(card)
        if begins:
            root.inner.setdefault(here.name.lower(), here)
    return root


def _take(card: Statement, here: Scope) -> Scope:
    """Put one card where it belongs; returns the scope of the next."""
    if card.word in _BEGIN:
        return _begin(card, here)
    if card.word in _END:
        if here.parent is None:
            raise fault(card, f"'{card.word}' ends no subcircuit")
        return here.parent
    if card.word in _PARAMS:
        _params(card, here)
    elif card.word == ".func":
        _func(card, here)
    elif card.word == ".model":
        here.models.setdefault(stem(card.name), []).append(card)
    elif card.word[0].isalpha() and here.parent is not None:
        here.cards.append(card)
    else:
        _other(card, here)
    return here


def stem(model: str) -> str:
    """A model's name in small letters, without the number of its bin."""
    head, dot, tail = model.lower().rpartition(".")
    return head if dot and tail.isdigit() else model.lower()


def _begin(card: Statement, here: Scope) -> Scope:
    said = words(card)
    if len(said.bare) < 2:
        raise fault(card, f"'{card.word}' without a name")
    name = said.bare[1]
    if name.lower() in here.inner:
        raise fault(card, f"subcircuit '{name}' is defined twice; remove or rename one")
    made = Scope(name, said.bare[2:], dict(said.given), here)
    here.inner[name.lower()] = made
    return made


def _params(card: Statement, here: Scope) -> None:
    for name, value in words(card).given:
        head, bracket, rest = name.partition("(")
        if name in here.params or head in here.funcs:
            raise fault(card, f"parameter '{head}' is defined twice; remove one")
        if bracket:
            here.funcs[head] = (rest.rstrip(")"), value)
        else:
            here.params[name] = value


def _func(card: Statement, here: Scope) -> None:
    found = _FUNC.match(_one_line(card))
    if found is None:
        raise fault(card, "'.func' in another form than '.func name(arguments) {expression}'")
    here.funcs[found[1].lower()] = (found[2], found[3])


def _other(card: Statement, here: Scope) -> None:
    """A further card: kept, or refused by name and line."""
    *_, root = here.around()
    if card.word == ".global":
        root.globals.update({net.lower(): card for net in words(card).bare[1:]})
    elif card.word in (".opt", ".option", ".options"):
        said = words(card)
        options = [*said.bare[1:], *(name for name, _ in said.given)]
        if options != ["scale"] or not said.given:
            other = next((option for option in options if option != "scale"), "scale")
            raise fault(card, f"the option '{other}' is the whole deck's, not a cell's; give it under [options] in "
                              "pdk.toml, or remove it")
        root.scale = (said.given[0][1], card)
    elif card.word[0].isalpha():
        raise fault(card, f"{card.text.split()[0]} stands outside every subcircuit, where nothing joins it to the "
                          "cell; remove it")
    else:
        remedy = {".lib": "circuits only; put the section's cards into the file",
                  ".if": "circuits only; keep the branch that holds"}.get(card.word, "circuits only")
        raise fault(card, f"'{card.word}' is not allowed; {remedy}")
