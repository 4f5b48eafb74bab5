"""Clocked blocks: their combinational core, and what its inputs are cycle by cycle.

A flip-flop's output is an input of the core and its data an output; every register moves at the clock's edge. So the
core's energy is that of a combinational block whose registers' outputs and own inputs change together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charlib.errors import BadInput
from charlib.gates.block import STATE_CELLS, Block
from charlib.gates.logic import Bits, simulate


@dataclass(frozen=True)
class Core:
    """The combinational part of a clocked block: inputs are the block's own (without `clk`), then every q."""

    block: Block
    data: tuple[str, ...]  #: the net on each flip-flop's d
    states: tuple[str, ...]  #: each flip-flop's q
    parts: tuple[str, ...]  #: each flip-flop's part


def core_of(block: Block) -> Core:
    """The core. BadInput where the clock also feeds logic."""
    flops = [i for i in block.instances if i.cell in STATE_CELLS]
    rest = [i for i in block.instances if i.cell not in STATE_CELLS]
    clocks = {i.inputs[1] for i in flops}
    if any(net in clocks for i in rest for net in i.inputs):
        raise BadInput(f"Block '{block.name}': its clock feeds logic; a core cannot be taken")
    inputs = tuple(net for net in block.inputs if net not in clocks)
    states, data = tuple(i.outputs[0] for i in flops), tuple(i.inputs[0] for i in flops)
    driven = {net for i in rest for net in i.outputs}
    direct = tuple(net for net in block.outputs if net in driven or net in (*inputs, *states))
    outputs = tuple(dict.fromkeys([*(net for net in data if net in driven), *(n for n in direct if n in driven)]))
    made = Block(f"{block.name}_core", (*inputs, *states), outputs, tuple(rest))
    return Core(made, data, states, tuple(i.part for i in flops))


@dataclass(frozen=True)
class Cycles:
    """vectors (cycles, core inputs) as the core sees them; outputs (cycles, block outputs) before each edge."""

    vectors: Bits
    outputs: Bits
    state_toggles: float  #: mean over cycles of flip-flops that change


def run_cycles(block: Block, bits: Bits) -> Cycles:
    """Cycle after cycle from registers at zero. bits: (cycles, inputs without the clock).

    Found as a fixed point over all cycles at once: each sweep settles one more rank of registers, so a pipeline takes
    as many sweeps as it has ranks, and a loop as many as there are cycles.
    """
    core = core_of(block)
    own = len(core.block.inputs) - len(core.states)
    if bits.ndim != 2 or bits.shape[1] != own:
        raise BadInput(f"Block '{block.name}': vectors must be (cycles, {own}), got {bits.shape}")
    watched = Block(core.block.name, core.block.inputs, tuple(dict.fromkeys(
        net for net in (*core.data, *block.outputs) if net not in ("0", "1"))), core.block.instances)
    state = np.zeros((len(bits), len(core.states)), dtype=np.uint8)
    for _ in range(len(bits) + 1):
        values = dict(zip(watched.outputs, simulate(watched, np.hstack([bits, state])).T, strict=True))
        values |= {"0": np.zeros(len(bits), np.uint8), "1": np.ones(len(bits), np.uint8)}
        following = np.zeros_like(state)
        if core.data:
            following[1:] = np.stack([values[net] for net in core.data], axis=1)[:-1]
        if np.array_equal(following, state):
            break
        state = following
    outputs = np.stack([values[net] for net in block.outputs], axis=1)
    toggles = float(np.mean(np.sum(state[1:] != state[:-1], axis=1))) if len(state) > 1 else 0.0
    return Cycles(np.hstack([bits, state]), outputs, toggles)
