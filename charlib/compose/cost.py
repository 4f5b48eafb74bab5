"""What a block costs an operation, composed of cell tables: joules by account, delay, leakage, cells and area.

Timed simulation runs the block's combinational core, its registers' outputs moving with its inputs at the clock's
edge. Joules of a register that changes are added from the flip-flop's table; its clock pin is the clock tree's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlib.compose.design import MacroBlock
from charlib.compose.library import CellLibrary
from charlib.compose.static import static_timing
from charlib.compose.timed import Loads, TimedRun, joined, timed_run
from charlib.errors import BadInput
from charlib.gates.block import STATE_CELLS, Block
from charlib.gates.clocked import core_of, run_cycles
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes
from charlib.terminal import Watch

#: first operations of a pipeline are not counted: its registers start at zero
WARM_UP = 4
#: vectors between two reports of progress
_CHUNK = 8


@dataclass(frozen=True)
class BlockCost:
    """Of one operation: energy_j by account with its standard error, and flip-flops that change, by account.

    settled_s: when the core's last output rests, the longest and the mean; static_s: its longest path, whatever the
    vectors; toggles: of cell outputs an operation, glitches included, by account; outside: share of table look-ups
    beyond the grid.
    """

    name: str
    energy_j: Mapping[str, float]
    error_j: Mapping[str, float]
    register_toggles: Mapping[str, float]
    settled_s: tuple[float, float]
    static_s: float
    toggles: Mapping[str, float]
    outside: float

    @property
    def total_j(self) -> float:
        return sum(self.energy_j.values())


def block_cost(block: MacroBlock, library: CellLibrary, x: Codes, w: Codes, loads: Loads, *, input_slew_s: float,
               register_j: float = 0.0, seed: int = 1, watch: Watch | None = None) -> BlockCost:
    """Cost of a block for operands (operations, lanes). register_j: of one flip-flop that changes. watch: is told the
    vectors done and all of them.

    BadInput for fewer than WARM_UP + 2 operations.
    """
    if len(x) < WARM_UP + 2:
        raise BadInput(f"operations: at least {WARM_UP + 2} are needed, got {len(x)}")
    vectors = block.vectors(x, w, seed)
    circuit = block.circuit
    toggles: dict[str, float] = {}
    if any(i.cell in STATE_CELLS for i in circuit.instances):
        core = core_of(circuit)
        cycles = run_cycles(circuit, vectors)
        changed = cycles.vectors[WARM_UP + 1:, -len(core.states):] != cycles.vectors[WARM_UP:-1, -len(core.states):]
        for part in dict.fromkeys(core.parts):
            account = block.accounts.get(part, block.name)
            mine = changed[:, [k for k, name in enumerate(core.parts) if name == part]]
            toggles[account] = toggles.get(account, 0.0) + float(mine.sum(axis=1).mean()) * block.cycles
        circuit, vectors = core.block, cycles.vectors
    run = _timed(circuit, library, vectors[WARM_UP:], loads, input_slew_s, watch)
    energy, error = _accounts(block, run.parts, run.energy_j * block.cycles)
    moved, _ = _accounts(block, run.parts, run.toggles * float(block.cycles))
    for account, count in toggles.items():
        moved[account] = moved.get(account, 0.0) + count
        energy[account] = energy.get(account, 0.0) + count * register_j
    timing = static_timing(circuit, library, loads, input_slew_s=input_slew_s)
    return BlockCost(block.name, energy, error, toggles, (float(run.settled_s.max()), float(run.settled_s.mean())),
                     timing.delay_s, moved, run.outside)


def _timed(circuit: Block, library: CellLibrary, vectors: Bits, loads: Loads, input_slew_s: float,
           watch: Watch | None) -> TimedRun:
    """The timed run, in chunks where someone watches: a step knows nothing of those before it but its start."""
    if watch is None:
        return timed_run(circuit, library, vectors, loads, input_slew_s=input_slew_s)
    runs, steps = [], len(vectors) - 1
    for start in range(0, steps, _CHUNK):
        watch(start, steps)
        runs.append(timed_run(circuit, library, vectors[start:start + _CHUNK + 1], loads, input_slew_s=input_slew_s))
    watch(steps, steps)
    return joined(runs)


def _accounts(block: MacroBlock, parts: tuple[str, ...],
              each: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """(mean, standard error over operations) by account of what each part has at each step: (steps, parts)."""
    names = [block.accounts.get(part, block.name) for part in parts]
    whole = len(each) // block.cycles
    means, errors = {}, {}
    for account in dict.fromkeys(names):
        own = each[:, [k for k, name in enumerate(names) if name == account]].sum(axis=1)
        means[account] = float(own.mean())
        if whole > 1:  # cycles of one operation differ by design: operations are what was drawn
            own = own[:whole * block.cycles].reshape(whole, block.cycles).mean(axis=1)
        errors[account] = float(own.std(ddof=1) / np.sqrt(len(own)))
    return means, errors


def account_cells(block: MacroBlock) -> dict[str, dict[str, int]]:
    """Cells by account."""
    found: dict[str, dict[str, int]] = {}
    for instance in block.circuit.instances:
        cells = found.setdefault(block.accounts.get(instance.part, block.name), {})
        cells[instance.cell] = cells.get(instance.cell, 0) + 1
    return found


def leakage_w(circuit: Block, library: CellLibrary) -> float:
    """Watts of the combinational cells, each the mean over its states; NaN where the library has no leakage."""
    mean = {cell: float(np.nanmean(library.leakage_w[k])) if np.isfinite(library.leakage_w[k]).any() else float("nan")
            for k, cell in enumerate(library.cells)}
    return sum(count * mean[cell] for cell, count in circuit.cell_counts().items() if cell not in STATE_CELLS)
