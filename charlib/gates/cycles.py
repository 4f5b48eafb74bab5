"""The cycle-accurate logic model of a clocked block: many sequences a machine word, one cycle after the other.

Zero delay: within a cycle the combinational cells settle, then the edge of `clk` moves every flip-flop's d to its q.
So the counts here are of settled values, one toggle a cycle at most; glitches are the unit-delay model's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.gates.block import CELLS, STATE_CELLS, Block, Instance, Words
from charlib.gates.logic import Bits, pack, unpack

CLOCK = "clk"


@dataclass(frozen=True)
class CycleActivity:
    """Toggles of a clocked block from one cycle to the next, mean over its sequences, each of shape (cycles − 1,).

    The clock's energy goes with `flip_flops` (every clock pin, every cycle), a register's own with `state_toggles`,
    that of its data pins with `data_toggles`.
    """

    flip_flops: int
    state_toggles: npt.NDArray[np.float64]  #: flip-flop outputs that change at the edge between the two cycles
    data_toggles: npt.NDArray[np.float64]  #: flip-flop data inputs whose settled value changes


def simulate_cycles(block: Block, bits: Bits, start: Bits | None = None) -> Bits:
    """Outputs (cycles, sequences, outputs) as seen during each cycle, before its edge.

    bits: (cycles, sequences, inputs) of 0/1, the block's inputs in order without `clk`. start: what the flip-flops
    hold in the first cycle, in the order of the block's instances, (flip-flops,) or (sequences, flip-flops); zeros by
    default. BadInput for a block that `clk` does not clock, and for shapes that do not fit.
    """
    sequences = bits.shape[1] if bits.ndim == 3 else 0
    seen = [unpack(np.stack([nets[net] for net in block.outputs]), sequences) for nets in _cycles(block, bits, start)]
    return np.stack(seen)


def cycle_activity(block: Block, bits: Bits, start: Bits | None = None) -> CycleActivity:
    """Toggles of the flip-flops in the same run as :func:`simulate_cycles`. BadInput for fewer than 2 cycles."""
    if len(bits) < 2:
        raise BadInput(f"Block '{block.name}': activity needs at least 2 cycles, got {len(bits)}")
    flops = _flip_flops(block)
    watched = [[i.outputs[0] for i in flops], [i.inputs[0] for i in flops]]
    counts = np.zeros((2, len(bits) - 1))
    before: list[Bits] = []
    for cycle, nets in enumerate(_cycles(block, bits, start)):
        now = [_values(nets, names, bits.shape[1]) for names in watched]
        for kind, earlier in enumerate(before):
            counts[kind, cycle - 1] = np.count_nonzero(now[kind] != earlier) / bits.shape[1]
        before = now
    return CycleActivity(len(flops), counts[0], counts[1])


def _values(nets: dict[str, Words], names: list[str], sequences: int) -> Bits:
    return unpack(np.stack([nets[name] for name in names]), sequences)


def _flip_flops(block: Block) -> list[Instance]:
    """The block's flip-flops, at least one. BadInput unless `clk` clocks each of them and feeds nothing else."""
    if CLOCK not in block.inputs:
        raise BadInput(f"Block '{block.name}': it has no input '{CLOCK}'; use simulate for a combinational block")
    flops = [i for i in block.instances if i.cell in STATE_CELLS]
    if not flops:
        raise BadInput(f"Block '{block.name}': it holds no flip-flop; use simulate for a combinational block")
    for instance in flops:
        if instance.inputs[1] != CLOCK:
            raise BadInput(f"Block '{block.name}': flip-flop '{instance.outputs[0]}' is clocked by "
                           f"'{instance.inputs[1]}'; only '{CLOCK}' is allowed")
    data = {net for i in block.instances for net in (i.inputs[:1] if i.cell in STATE_CELLS else i.inputs)}
    if CLOCK in data or CLOCK in block.outputs:
        raise BadInput(f"Block '{block.name}': '{CLOCK}' is used as data; it may only clock flip-flops")
    return flops


def _first_state(block: Block, flops: int, sequences: int, start: Bits | None) -> Words:
    """The flip-flops' first values on packed words, (flip-flops, words)."""
    if start is None:
        return np.zeros((flops, -(-sequences // 64)), dtype=np.uint64)
    if start.shape not in ((flops,), (sequences, flops)):
        raise BadInput(f"Block '{block.name}': start must be ({flops},) or ({sequences}, {flops}), got {start.shape}")
    return pack(np.broadcast_to(start, (sequences, flops)))


def _cycles(block: Block, bits: Bits, start: Bits | None) -> Iterator[dict[str, Words]]:
    """All nets of each cycle, settled; the dictionary is the caller's."""
    flops = _flip_flops(block)
    inputs = tuple(net for net in block.inputs if net != CLOCK)
    if bits.ndim != 3 or bits.shape[2] != len(inputs) or 0 in bits.shape[:2]:
        raise BadInput(f"Block '{block.name}': vectors must be (cycles, sequences, {len(inputs)}) with at least one "
                       f"cycle and one sequence, got {bits.shape}")
    logic = [i for i in block.instances if i.cell not in STATE_CELLS]
    state = _first_state(block, len(flops), bits.shape[1], start)
    low = np.zeros(state.shape[1], dtype=np.uint64)
    for step in bits:
        nets = {"0": low, "1": ~low, **dict(zip(inputs, pack(step), strict=True))}
        nets.update(zip((i.outputs[0] for i in flops), state, strict=True))
        for instance in logic:
            outputs = CELLS[instance.cell].function(*(nets[net] for net in instance.inputs))
            nets.update(zip(instance.outputs, outputs, strict=True))
        floating = [i.inputs[0] for i in flops if i.inputs[0] not in nets]
        if floating:
            raise BadInput(f"Block '{block.name}': net '{floating[0]}' on a flip-flop is driven by nothing")
        yield nets
        state = np.stack([nets[i.inputs[0]] for i in flops])
