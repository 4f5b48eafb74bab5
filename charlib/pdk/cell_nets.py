"""Nets of an own cell that are joined to nothing: no transistor or resistor leads from them to a port.

A bulk on a net that is declared nowhere (Magic's VSUBS), or on a `.global` of the foundry's library, floats:
ngspice finds some voltage for it, the truth table holds, and delay and leakage are those of another circuit. So every
net must be led to a port by channels, resistors, inductors or bipolars; gates, bulks, capacitors and diodes
do not count, for what is held by them alone floats. A bulk at the wrong supply is refused too: its diodes conduct,
the truth table holds, and the currents are those of a short circuit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from charlib import netlist
from charlib.errors import BadInput
from charlib.pdk.cell_cards import Element, Scope

#: letter -> which of its nodes current joins
_CONDUCTS: Mapping[str, Sequence[int]] = {"m": (0, 2), "j": (0, 2), "q": (0, 1, 2), "r": (0, 1), "l": (0, 1),
                                          "c": (), "d": ()}
_GROUND = "0"
#: a wrapper's first letters -> the nets of ours at which its bulk's diodes would conduct, and where it belongs
_WRONG_BULK: Mapping[str, tuple[tuple[str, ...], str]] = {
    "nmos": (("vdd",), "vss"), "pmos": (("vss", _GROUND), "vdd")}


class _Joined:
    """Sets of nets that conduction joins (union and find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, net: str) -> str:
        while (above := self._parent.setdefault(net, net)) != net:
            net = above
        return net

    def join(self, nets: Sequence[str]) -> None:
        for net in nets[1:]:
            self._parent[self.root(net)] = self.root(nets[0])


class _Circuit:
    """A cell's nets with its subcircuits and the kit's written out."""

    def __init__(self, kit: Scope, outside: Collection[str]) -> None:
        self._kit, self._outside = kit, outside
        self.joined = _Joined()
        self.bulks: list[tuple[Element, str]] = []  #: transistors of the user's file, and the nets of their bulks
        self.touched: dict[str, str] = {}  #: net of the user's file -> an element that it touches

    def visit(self, scope: Scope, nets: Mapping[str, str], path: str, *, own: bool) -> None:
        for one in self._elements(scope, nets):
            flat = [nets.get(node.lower()) or self._local(node, path, own) for node in one.nodes]
            if own:
                for net in flat:
                    self.touched.setdefault(net, one.name)
                if one.letter in "mx" and len(flat) == 4:
                    self.bulks.append((one, flat[3]))
            if one.letter != "x":
                self.joined.join([flat[k] for k in _CONDUCTS[one.letter]])
                continue
            mine = scope.subckt(one.model)
            target = mine or self._kit.subckt(one.model)
            if target is None or len(target.ports) != len(flat):  # said where the call is written
                self.joined.join(flat)
            else:
                inner = dict(zip((port.lower() for port in target.ports), flat, strict=True))
                self.visit(target, inner, f"{path}{one.name.lower()}.", own=own and mine is not None)

    def _elements(self, scope: Scope, nets: Mapping[str, str]) -> Iterator[Element]:
        """Its elements; of a kit's subcircuit that cannot be taken apart all ports are joined instead."""
        try:
            found = scope.elements()
        except BadInput:
            self.joined.join(list(nets.values()))
            return
        yield from found

    def _local(self, node: str, path: str, own: bool) -> str:
        low = node.lower()
        return low if low == _GROUND or (own and low in self._outside) else f"{path}{low}"


def joined_field(net: str) -> str:
    """How pdk.toml joins a net of the file to one of ours; a name that sounds of wells and supplies to vdd."""
    return f'joined = {{"{net}" = "{"vdd" if net.endswith(("dd", "pb", "pwr", "cc")) else "vss"}"}}'


def check_nets(cell: Scope, kit: Scope, joined: Mapping[str, str], where: str, theirs: Sequence[str]) -> None:
    """BadInput for a net that reaches no port, and for a bulk at the wrong supply.

    joined: nets that the user joins to ours, in small letters. theirs: our net for each of the cell's ports.
    """
    circuit = _Circuit(kit, joined.keys())
    ports = {port.lower(): port.lower() for port in cell.ports}
    circuit.visit(cell, ports, "", own=True)
    _check_bulks(circuit, kit, {**joined, **dict(zip(ports, theirs, strict=True)), _GROUND: _GROUND}, where)
    circuit.joined.join([_GROUND, *ports, *joined])
    outside = circuit.joined.root(_GROUND)
    for net, name in circuit.touched.items():
        if circuit.joined.root(net) != outside:
            last = net.rpartition(".")[2]
            raise BadInput(f"{where}: net '{net}' of {cell.name} (at {name}) is joined to nothing: no channel and no "
                           "resistor leads from it to a port, so its voltage would be anything; mend the netlist, or "
                           f"say which of our nets it is, as {joined_field(last)}")


def _check_bulks(circuit: _Circuit, kit: Scope, ours: Mapping[str, str], where: str) -> None:
    """BadInput for a bulk at the wrong supply; of the devices that the wrappers name, no others."""
    kinds = {name: wrapper[:4] for wrapper in sorted(netlist.SHIM) for name in _called(kit, wrapper)}
    if set(kinds.values()) != _WRONG_BULK.keys():
        return
    for one, net in circuit.bulks:
        wrong, right = _WRONG_BULK.get(kinds.get(one.model.lower(), ""), ((), ""))
        if ours.get(net) in wrong:
            raise BadInput(f"{where}: the bulk of {one.name} ({one.model}, {kinds[one.model.lower()]}) is joined to "
                           f"{ours[net]}, where its diodes conduct; join it to {right} (the order of `ports`)")


def _called(kit: Scope, wrapper: str) -> tuple[str, ...]:
    """What a transistor of a wrapper's kind can be called, in small letters."""
    scope = kit.inner.get(wrapper)
    return () if scope is None else (wrapper, *(one.model.lower() for one in scope.elements()))
