"""A block: cell instances on named nets. From one description come SPICE, logic and cell counts.

Nets are strings; "0" and "1" are ground and supply. Combinational instances are listed in an order in which
every input is driven before it is used; flip-flops break the order, since their outputs are state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.netlist import netlist_ports

Words = npt.NDArray[np.uint64]
CONSTANTS = ("0", "1")


@dataclass(frozen=True)
class Cell:
    """A cell's logic on packed words: `function` maps input words to output words."""

    inputs: int
    outputs: int
    function: Callable[..., tuple[Words, ...]]


def _full_adder(a: Words, b: Words, c: Words) -> tuple[Words, ...]:
    half = a ^ b
    return half ^ c, (a & b) | (half & c)


CELLS: Mapping[str, Cell] = {
    "inv": Cell(1, 1, lambda a: (~a,)),
    "buffer": Cell(1, 1, lambda a: (a,)),
    "nand2": Cell(2, 1, lambda a, b: (~(a & b),)),
    "nor2": Cell(2, 1, lambda a, b: (~(a | b),)),
    "xor2": Cell(2, 1, lambda a, b: (a ^ b,)),
    "mux2": Cell(3, 1, lambda a, b, s: ((a & ~s) | (b & s),)),
    "half_adder": Cell(2, 2, lambda a, b: (a ^ b, a & b)),
    "full_adder": Cell(3, 2, _full_adder),
}
#: state cells: inputs (d, clk), output q; their logic is the simulator's business
STATE_CELLS = ("dff",)


def evaluate_cell(cell: str, *bits: int) -> tuple[int, ...]:
    """One vector through a cell: the scalar use of its logic."""
    words = [np.array([np.uint64(-bit & 0xFFFFFFFFFFFFFFFF)]) for bit in bits]
    return tuple(int(word[0] & np.uint64(1)) for word in CELLS[cell].function(*words))


@dataclass(frozen=True)
class Instance:
    """One cell: its name, and the nets on its inputs and outputs in port order; the part of its block it is in."""

    cell: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    part: str = ""


@dataclass(frozen=True)
class Block:
    """A named circuit of cells."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    instances: tuple[Instance, ...]

    def __post_init__(self) -> None:
        driven = {*self.inputs, *CONSTANTS}
        driven |= {net for i in self.instances if i.cell in STATE_CELLS for net in i.outputs}
        for instance in self.instances:
            if instance.cell in STATE_CELLS:
                continue
            for net in instance.inputs:
                if net not in driven:
                    raise BadInput(f"Block '{self.name}': net '{net}' is used by {instance.cell} before it is driven")
            for net in instance.outputs:
                if net in driven:
                    raise BadInput(f"Block '{self.name}': net '{net}' is driven twice")
                driven.add(net)
        undriven = [net for net in self.outputs if net not in driven]
        if undriven:
            raise BadInput(f"Block '{self.name}': output '{undriven[0]}' is driven by nothing")

    def cell_counts(self) -> dict[str, int]:
        """How many of each cell."""
        return dict(Counter(instance.cell for instance in self.instances))

    def levels(self) -> dict[str, int]:
        """Longest path to each net, in cells, from inputs and flip-flops: the timing graph's coarse form."""
        level = dict.fromkeys([*self.inputs, *CONSTANTS], 0)
        level.update({net: 0 for i in self.instances if i.cell in STATE_CELLS for net in i.outputs})
        for instance in self.instances:
            if instance.cell not in STATE_CELLS:
                deepest = 1 + max(level[net] for net in instance.inputs)
                level.update(dict.fromkeys(instance.outputs, deepest))
        return level

    def fan_out(self) -> dict[str, int]:
        """Pins on each net; a port of the block that leaves it counts as one."""
        return dict(Counter([*(net for i in self.instances for net in i.inputs), *self.outputs]))

    def subckt(self, wire_f: float = 0.0, a_fan_out: bool = False) -> str:
        """The SPICE subcircuit: inputs, outputs, vdd, vss. wire_f: capacitance put on each driven net, or, with
        a_fan_out, on each of its fan-outs.
        """
        pins = self.fan_out() if a_fan_out else {}
        lines = [f".subckt {self.name} " + "\n+ ".join(_chunks([*self.inputs, *self.outputs, "vdd", "vss"]))]
        rail = {"0": "vss", "1": "vdd"}
        for k, instance in enumerate(self.instances):
            ports = dict(zip(netlist_ports(instance.cell)[:-2], [*instance.inputs, *instance.outputs], strict=True))
            nets = " ".join(rail.get(net, net) for net in ports.values())
            lines.append(f"x{k} {nets} vdd vss {instance.cell}")
            if wire_f > 0:
                lines += [f"c{k}_{j} {net} vss {wire_f * pins.get(net, 1):.6g}" for j, net in
                          enumerate(instance.outputs)]
        return "\n".join([*lines, f".ends {self.name}"]) + "\n"


def _chunks(words: Sequence[str], size: int = 16) -> list[str]:
    return [" ".join(words[i:i + size]) for i in range(0, len(words), size)]
