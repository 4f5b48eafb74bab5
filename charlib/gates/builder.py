"""Grow a block cell by cell. Constants fold away, so a generator may pad with "0" and pay for nothing.

A word is a list of nets, bit 0 first. Every cell belongs to the part that is open when it is made, which is how a
block's energy and area are later shown part by part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from charlib.errors import BadInput
from charlib.gates.block import Block, Instance

Word = list[str]


class Builder:
    """Makes one block. Every method that makes a cell returns the net it drives."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inputs: list[str] = []
        self._instances: list[Instance] = []
        self._part = ""
        self._inverse: dict[str, str] = {"0": "1", "1": "0"}

    # -- ports and parts ------------------------------------------------------------------------------

    def input(self, name: str) -> str:
        """One input net."""
        if name in self._inputs:
            raise BadInput(f"Block '{self._name}': input '{name}' stands twice")
        self._inputs.append(name)
        return name

    def word(self, name: str, width: int) -> Word:
        """Input nets name0, name1, …"""
        return [self.input(f"{name}{k}") for k in range(width)]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Cells made inside belong to the part `name`; parts do not nest, the outermost holds."""
        before = self._part
        self._part = before or name
        yield
        self._part = before

    def block(self, **outputs: str | Word) -> Block:
        """The finished block; outputs are called name, or name0, name1, … for a word."""
        ports: dict[str, str] = {}
        for name, nets in outputs.items():
            named = [(name, nets)] if isinstance(nets, str) else [(f"{name}{k}", net) for k, net in enumerate(nets)]
            for port, net in named:
                ports[port] = net
        taken: dict[str, str] = {}
        extra: list[Instance] = []
        for port, net in ports.items():
            if net in taken or net in self._inputs or net in ("0", "1"):
                extra.append(Instance("buffer", (net,), (port,), self._part))
            else:
                taken[net] = port
        instances = [Instance(i.cell, tuple(taken.get(n, n) for n in i.inputs),
                              tuple(taken.get(n, n) for n in i.outputs), i.part) for i in [*self._instances, *extra]]
        return Block(self._name, tuple(self._inputs), tuple(ports), tuple(instances))

    def _net(self) -> str:
        return f"n_{len(self._instances)}"

    def _cell(self, cell: str, *inputs: str) -> str:
        net = self._net()
        self._instances.append(Instance(cell, inputs, (net,), self._part))
        return net

    # -- gates ----------------------------------------------------------------------------------------

    def inv(self, a: str) -> str:
        """not a; one inverter a net, however often it is asked for."""
        if a not in self._inverse:
            self._inverse[a] = self._cell("inv", a)
            self._inverse[self._inverse[a]] = a
        return self._inverse[a]

    def buffer(self, a: str) -> str:
        """a, from a stronger cell."""
        return self._cell("buffer", a)

    def nand(self, a: str, b: str) -> str:
        """not (a and b)."""
        if "0" in (a, b):
            return "1"
        if "1" in (a, b) or a == b:
            return self.inv(b if a == "1" else a)
        return self._cell("nand2", a, b)

    def nor(self, a: str, b: str) -> str:
        """not (a or b)."""
        if "1" in (a, b):
            return "0"
        if "0" in (a, b) or a == b:
            return self.inv(b if a == "0" else a)
        return self._cell("nor2", a, b)

    def and_(self, a: str, b: str) -> str:
        """a and b."""
        return self.inv(self.nand(a, b))

    def or_(self, a: str, b: str) -> str:
        """a or b."""
        return self.inv(self.nor(a, b))

    def xor(self, a: str, b: str) -> str:
        """a or b but not both."""
        if a == b:
            return "0"
        for x, y in ((a, b), (b, a)):
            if x == "0":
                return y
            if x == "1":
                return self.inv(y)
        return self._cell("xor2", a, b)

    def mux(self, a: str, b: str, select: str) -> str:
        """select ? b : a."""
        if a == b or select == "0":
            return a
        if select == "1":
            return b
        if a == "0":
            return self.and_(b, select)
        if b == "0":
            return self.and_(a, self.inv(select))
        if a == "1":
            return self.nand(self.inv(b), select)
        if b == "1":
            return self.nand(self.inv(a), self.inv(select))
        return self._cell("mux2", a, b, select)

    def half(self, a: str, b: str) -> tuple[str, str]:
        """(sum, carry) of two bits."""
        if "0" in (a, b):
            return (b if a == "0" else a), "0"
        if "1" in (a, b):
            other = b if a == "1" else a
            return self.inv(other), other
        net = self._net()
        self._instances.append(Instance("half_adder", (a, b), (f"{net}s", f"{net}c"), self._part))
        return f"{net}s", f"{net}c"

    def full(self, a: str, b: str, c: str) -> tuple[str, str]:
        """(sum, carry) of three bits."""
        if "0" in (a, b, c):
            rest = [a, b, c]
            rest.remove("0")
            return self.half(*rest)
        if "1" in (a, b, c):
            rest = [a, b, c]
            rest.remove("1")
            return self.inv(self.xor(*rest)), self.or_(*rest)
        net = self._net()
        self._instances.append(Instance("full_adder", (a, b, c), (f"{net}s", f"{net}c"), self._part))
        return f"{net}s", f"{net}c"

    # -- state ----------------------------------------------------------------------------------------

    def dff(self, d: str, clock: str, q: str = "") -> str:
        """The output of a flip-flop on the rising edge of `clock`; q: a name given before, to close a loop."""
        net = q or self._net()
        self._instances.append(Instance("dff", (d, clock), (net,), self._part))
        return net

    def state(self, name: str, width: int) -> Word:
        """Names for flip-flop outputs that are used before they are made: give them to :meth:`dff` as q."""
        return [f"{name}_q{k}" for k in range(width)]
