"""Nets of an own cell that are joined to nothing: no transistor or resistor leads from them to a port.

A bulk on a net that is declared nowhere (Magic's VSUBS), or on a `.global` of the foundry's library, floats:
ngspice finds some voltage for it, the truth table holds, and delay and leakage are those of another circuit. So every
net must be led to a port by channels, resistors, inductors or bipolars; gates, bulks, capacitors and diodes
do not count, for what is held by them alone floats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from charlib.errors import BadInput
from charlib.pdk.cell_cards import Element, Scope

#: letter -> which of its nodes current joins
_CONDUCTS: Mapping[str, Sequence[int]] = {"m": (0, 2), "j": (0, 2), "q": (0, 1, 2), "r": (0, 1), "l": (0, 1),
                                          "c": (), "d": ()}
_GROUND = "0"


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
        self.touched: dict[str, str] = {}  #: net of the user's file -> an element that it touches

    def visit(self, scope: Scope, nets: Mapping[str, str], path: str, *, own: bool) -> None:
        for one in self._elements(scope, nets):
            flat = [nets.get(node.lower()) or self._local(node, path, own) for node in one.nodes]
            if own:
                for net in flat:
                    self.touched.setdefault(net, one.name)
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


def check_nets(cell: Scope, kit: Scope, joined: Mapping[str, str], where: str) -> None:
    """BadInput for a net that reaches no port. joined: nets that the user joins to ours, in small letters."""
    circuit = _Circuit(kit, joined.keys())
    ports = {port.lower(): port.lower() for port in cell.ports}
    circuit.visit(cell, ports, "", own=True)
    circuit.joined.join([_GROUND, *ports, *joined])
    outside = circuit.joined.root(_GROUND)
    for net, name in circuit.touched.items():
        if circuit.joined.root(net) != outside:
            last = net.rpartition(".")[2]
            raise BadInput(f"{where}: net '{net}' of {cell.name} (at {name}) is joined to nothing: no channel and no "
                           "resistor leads from it to a port, so its voltage would be anything; mend the netlist, or "
                           f"say which of our nets it is, as {joined_field(last)}")
