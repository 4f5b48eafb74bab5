"""A user's netlist as text of a deck: every name in it its own, every multiplier kept.

ngspice hands the `m` of a subcircuit's instance to what is inside, in place of the `m` that stands there, and deeper
only where the subcircuits stand in a lucky order. So no `m` is left to it: each subcircuit gets a parameter of its
own, each element's `m` is multiplied by it, and each call multiplies it on. Subcircuits, models, functions and
parameters are called after the cell and the subcircuit in which they stand, so that they meet neither ours, nor the
kit's, nor another cell's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from charlib.errors import BadInput
from charlib.pdk.cell_cards import COMMENT, Element, Scope, fault, stem
from charlib.pdk.cell_nets import joined_field
from charlib.pdk.library import Statement

_IDENTIFIER = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(?=(\s*\()?)")
_ASSIGNED = re.compile(r"(=\s*)('[^']*'|\"[^\"]*\"|\{[^{}]*\}|[^\s='\"{}()]+)")
_MODEL = re.compile(r"^\s*\.model\s+\S+", re.IGNORECASE)
#: what begins the name of a kit's subcircuit that is written anew with a multiplier
COPY = "own"


class CellWriter:
    """Writes the subcircuits that a root reaches. copies: the kit's that must be written anew to be multiplied.

    prefix: what begins every name. joined: nets of the file, in small letters, that every subcircuit hands on.
    """

    def __init__(self, prefix: str, kit: Scope, joined: Collection[str] = ()) -> None:
        self._prefix, self._kit, self._joined = prefix, kit, tuple(joined)
        self.copies: set[str] = set()
        self.reached: dict[Scope, bool] = {}  #: subcircuit -> whether it takes a multiplier
        self._callers: dict[Scope, set[Scope]] = {}
        self._of_file: set[str] = set()  #: parameters and functions of the file itself that are in use
        self._models_of_file: dict[str, Scope] = {}

    def reach(self, scope: Scope, multiplied: bool, path: tuple[Scope, ...] = ()) -> None:
        """Follow the calls from `scope`. BadInput for one that leads nowhere, or in a circle."""
        self._callers.setdefault(scope, set()).update(path)
        if self.reached.get(scope, False) or (scope in self.reached and not multiplied):
            return
        self.reached[scope] = multiplied
        for one in scope.elements():
            if one.letter != "x":
                continue
            target = self._called(scope, one)
            counted = multiplied or ("m" in dict(one.given) and not target.takes_m)
            if target in (*path, scope):
                raise fault(one.card, f"{one.name} calls '{one.model}', which goes in a circle; remove the call")
            if self._is_kit(target):
                if counted and is_complex(target):
                    self.copies.add(target.name.lower())
            else:
                self.reach(target, counted, (*path, scope))

    def _is_kit(self, scope: Scope) -> bool:
        return scope.parent is self._kit

    def _called(self, scope: Scope, one: Element) -> Scope:
        target = scope.subckt(one.model) or self._kit.subckt(one.model)
        if target is None:
            raise fault(one.card, f"{one.name} calls '{one.model}', which neither the file nor the kit's cards "
                                  "define; put it into the file")
        if len(target.ports) != len(one.nodes):
            raise fault(one.card, f"{one.name} has {len(one.nodes)} nets, {one.model} has {len(target.ports)} ports "
                                  f"({' '.join(target.ports)}); give one net for each")
        return target

    def own(self, scope: Scope) -> str:
        """The name of a subcircuit in the deck; of the file, what begins all names."""
        return f"{self._prefix}__{plain(scope.path)}" if scope.name else self._prefix

    def _multiplier(self, scope: Scope) -> str:
        return multiplier(self.own(scope))

    def extra(self, scope: Scope) -> tuple[str, ...]:
        """The joined nets that a subcircuit takes after its ports."""
        ports = {port.lower() for port in scope.ports}
        return tuple(net for net in self._joined if net not in ports)

    def text(self, watched: Mapping[Scope, Sequence[str]] | None = None) -> str:
        """All that was reached, the file's parameters and models first. watched: subcircuit -> further ports."""
        called: dict[str, Scope] = {}
        for scope in self.reached:
            other = called.setdefault(self.own(scope).lower(), scope)
            if other is not scope:
                raise BadInput(f"netlist: subcircuits '{other.name}' and '{scope.name}' would get one name in the "
                               "deck; rename one")
        blocks = [self._subckt(scope, (watched or {}).get(scope, ())) for scope in self.reached]
        first = [line for name, file in self._models_of_file.items() for line in self._model(file, name)]
        return "\n".join([*self._file_values(), *first, *blocks]) + "\n"

    def _file_values(self) -> list[str]:
        """The file's parameters and functions in use, and those that they use."""
        root = next((scope for one in self.reached for scope in one.around() if not scope.name), None)
        lines: dict[str, str] = {}
        while root is not None and (missing := [name for name in self._of_file if name not in lines]):
            for name in missing:
                lines[name] = (self._func(root, name) if name in root.funcs else
                               f".param {parameter(name, self.own(root))}={self._value(root.params[name], root)}")
        return [lines[name] for name in (*(root.funcs if root else ()), *(root.params if root else ()))
                if name in lines]

    def _subckt(self, scope: Scope, further: Sequence[str]) -> str:
        own = self.own(scope)
        formals = [f"{parameter(name, own)}={self._value(value, scope)}"
                   for name, value in self._formals(scope).items()]
        if self.reached[scope]:
            formals.append(f"{self._multiplier(scope)}=1")
        ports = [self._net(port, scope) for port in (*scope.ports, *self.extra(scope), *further)]
        body = [f".param {parameter(name, own)}={self._value(value, scope)}" for name, value in scope.params.items()]
        body += [self._func(scope, name) for name in scope.funcs]
        models: dict[str, Scope] = {}
        lines = [self._element(one, scope, models) for one in scope.elements()]
        body += [line for name, place in models.items() for line in self._model(place, name)]
        return "\n".join([" ".join([".subckt", own, *ports, *formals]), *body, *lines, f".ends {own}"])

    def _formals(self, scope: Scope) -> dict[str, str]:
        return {name: value for name, value in scope.formals.items() if name != "m" or scope.takes_m}

    def _element(self, one: Element, scope: Scope, models: dict[str, Scope]) -> str:
        given = dict(one.given)
        said = [one.name, *(self._net(node, scope, one) for node in one.nodes)]
        if one.letter == "x":
            return " ".join([*said, *self._call(one, scope, given)])
        factor = given.pop("m", "")
        said += [self._word(word, scope, one, models) for word in (one.model, *one.tail) if word]
        if one.letter in "djq" and one.tail and not one.tail[0].isalpha():  # ngspice reads a bare area beside no m
            said[-len(one.tail)] = f"area={said[-len(one.tail)]}"
        said += [f"{name}={self._value(value, scope, one)}" for name, value in given.items()]
        return " ".join([*said, *self._times("m", factor, scope, one)])

    def _times(self, name: str, factor: str, scope: Scope, one: Element) -> list[str]:
        """`name` = the subcircuit's multiplier times the element's own."""
        value = self._value(factor, scope, one).strip("'\"{}") if factor else ""
        if self.reached[scope]:
            inner = self._multiplier(scope) + (f"*({value})" if value else "")
            return [f"{name}={{{inner}}}"]
        return [f"{name}={{{value}}}"] if value else []

    def _call(self, one: Element, scope: Scope, given: dict[str, str]) -> list[str]:
        """What follows the nets of a call: what is called, its parameters, and the multiplier."""
        target = self._called(scope, one)
        factor = "" if target.takes_m else given.pop("m", "")
        values = {name: self._value(value, scope, one) for name, value in given.items()}
        copied = self._is_kit(target) and target.name.lower() in self.copies and (self.reached[scope] or factor)
        if self._is_kit(target) and not copied:
            times = self._times("m", factor, scope, one)
            if target.takes_m and self.reached[scope]:
                values.pop("m", None)
                times = self._times("m", given.get("m", target.formals["m"]), scope, one)
            return [one.model, *(f"{name}={value}" for name, value in values.items()), *times]
        own = f"{COPY}__{plain(target.name)}" if copied else self.own(target)
        unknown = [name for name in values if name not in self._formals(target)]
        if unknown and not copied:
            raise fault(one.card, f"{one.name}: {target.name} has no parameter '{unknown[0]}'; it has "
                                  f"{', '.join(self._formals(target)) or 'none'}")
        nets = [] if copied else [self._net(net, scope) for net in self.extra(target)]
        return [*nets, own, *(f"{parameter(name, own)}={value}" for name, value in values.items()),
                *self._times(multiplier(own), factor, scope, one)]

    def _net(self, net: str, scope: Scope, one: Element | None = None) -> str:
        """A net's name in the deck. BadInput for one that is joined to nothing, or to the simulator's ground."""
        low = net.lower()
        outside = low in self._joined or low in (port.lower() for port in scope.ports)
        *_, root = scope.around()
        if one is not None and not outside:
            if low in root.globals:
                raise fault(root.globals[low], f"the global net '{net}' is joined to nothing in our circuits; say "
                                               f"which of our nets it is, as {joined_field(low)}")
            if low == "gnd":
                raise fault(one.card, "a net is named gnd, which is the simulator's node 0, where no bench sees a "
                                      f"current; make it a port, or say {joined_field(low)}")
        return "gnd_" if low == "gnd" else net

    def _word(self, word: str, scope: Scope, one: Element, models: dict[str, Scope]) -> str:
        """A model's name, or a value without a name."""
        place = scope.model(word)
        if place is None:
            return self._value(word, scope, one)
        (models if place.name else self._models_of_file)[stem(word)] = place
        return f"{self.own(place)}__{stem(word)}"

    def _model(self, place: Scope, name: str) -> list[str]:
        return [self._model_card(card, place, name) for card in place.models[name]]

    def _model_card(self, card: Statement, place: Scope, name: str) -> str:
        text = "\n".join(COMMENT.split(line, maxsplit=1)[0].rstrip() for line in card.text.splitlines())
        text = _ASSIGNED.sub(lambda found: found[1] + self._value(found[2], place), text)
        return _MODEL.sub(f".model {self.own(place)}__{name}{card.name[len(name):]}", text)

    def _func(self, scope: Scope, name: str) -> str:
        arguments, body = scope.funcs[name]
        mine = {argument.strip().lower() for argument in arguments.split(",")}
        inner = self._value("{" + body.strip().strip("'\"{}") + "}", scope, shadowed=mine)
        return f".func {self.own(scope)}__{name}({arguments}) {inner}"

    def _value(self, text: str, scope: Scope, one: Element | None = None,
               shadowed: Collection[str] = ()) -> str:
        """An expression with the names in it that the file declares replaced by their own."""
        quoted = text[:1] in ("'", '"', "{")
        inner = text[1:-1] if quoted else text

        def renamed(found: re.Match[str]) -> str:
            low = found[1].lower()
            return found[1] if low in shadowed else self._name(found[1], bool(found[2]), scope, one)

        made = _IDENTIFIER.sub(renamed, inner)
        return f"{text[0]}{made}{text[-1]}" if quoted else text if made == inner else f"{{{made}}}"

    def _name(self, word: str, called: bool, scope: Scope, one: Element | None) -> str:
        low = word.lower()
        for place in scope.around():
            if low in (place.funcs if called else {**self._formals(place), **place.params}):
                if not place.name:
                    self._of_file.add(low)
                return f"{self.own(place)}__{low}" if called else parameter(low, self.own(place))
        above = [place.name for place in self._callers.get(scope, ()) if low in place.formals or low in place.params]
        if not called and (above or low == "drive"):
            by = f"only {above[0]} declares, which calls {scope.name}" if above else "the file does not declare"
            what = (f"'{word}' is a parameter that {by}; declare it on .subckt {scope.name}, and give it in the call "
                    "of that")
            raise fault(one.card, what) if one is not None else BadInput(f"netlist: {what}")
        return word


def parameter(name: str, own: str) -> str:
    """A parameter's name in the deck; it begins otherwise than a subcircuit's, with which ngspice keeps them."""
    return f"{name}_of_{own}"


def multiplier(own: str) -> str:
    """The name of a subcircuit's multiplier."""
    return f"m_{own}"


def plain(name: str) -> str:
    """A name of letters, digits and '_': ngspice finds no other subcircuit once that has a parameter."""
    return re.sub(r"\W", lambda found: f"_{ord(found[0]):x}", name, flags=re.ASCII)


def is_complex(scope: Scope) -> bool:
    """Whether ngspice would lose a multiplier on the way into a kit's subcircuit."""
    if scope.takes_m:
        return False
    try:
        return any(one.letter == "x" or "m" in dict(one.given) for one in scope.elements())
    except BadInput:
        return True


def multiplied_copies(names: Collection[str], kit: Scope) -> str:
    """The kit's subcircuits `names`, and those that they call, written anew with a multiplier."""
    writer = CellWriter(COPY, kit)
    pending = sorted(names)
    while pending:
        scope = kit.inner[pending.pop()]
        if scope not in writer.reached:
            writer.reach(scope, True)
            pending += sorted(writer.copies)
    return writer.text() if names else ""
