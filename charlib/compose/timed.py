"""Timed logic simulation: every event of a block of cells, with its delay, ramp and joules out of the pair tables.

Event by event: an input change looks up delay and ramp of the arc at the ramp that arrives and the load that is
there, and schedules the output. Glitches are therefore in it and need no second term.

Energy of a cell is that of its changes of state. Two changes that follow each other closely are less than their sum:
at no distance at all they are one change of the state pair, whose energy is tabulated; far apart they are two.
Between, the measured share f of :mod:`charlib.compose.pulses` weighs the two. Pulses are narrowed or swallowed, and
outputs that two inputs move together come earlier, as measured there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.compose.kernel import MOST_EVENTS, CellArrays, NetArrays, simulate
from charlib.compose.library import OUTPUTS, PINS, CellLibrary, FloatArray, IntArray
from charlib.compose.pulses import KNOTS, LEAST_WIDTH, SHIFT_KNOTS
from charlib.errors import BadInput
from charlib.gates.block import STATE_CELLS, Block
from charlib.gates.logic import Bits


@dataclass(frozen=True)
class Loads:
    """What the outputs of a block drive, and the wires. wire_f: of one fan-out's wire; 0 switches wires off."""

    wire_f: float
    output_f: float


@dataclass(frozen=True)
class Event:
    """A net takes a value. cause: the index, in the trace, of the event that made it; −1 for an input's."""

    net: str
    time_s: float
    value: int
    ramp_s: float
    cause: int


@dataclass(frozen=True)
class TimedRun:
    """Of each step from one vector to the next: energy_j and toggles (steps, parts), settled_s (last output).

    outputs: (vectors, outputs) at rest. outside: share of look-ups well beyond the grid. trace: events of the last
    step that took place, in time order.
    """

    parts: tuple[str, ...]
    energy_j: FloatArray
    settled_s: FloatArray
    toggles: IntArray
    outputs: Bits
    outside: float
    trace: tuple[Event, ...]

    @property
    def total_j(self) -> FloatArray:
        """Energy of each step."""
        return np.asarray(self.energy_j.sum(axis=1))


def joined(runs: Sequence[TimedRun]) -> TimedRun:
    """Runs whose vectors follow each other, the last vector of one being the first of the next, as one."""
    last = runs[-1]
    steps = [len(run.settled_s) for run in runs]
    return TimedRun(
        last.parts, np.concatenate([run.energy_j for run in runs]), np.concatenate([run.settled_s for run in runs]),
        np.concatenate([run.toggles for run in runs]),
        np.concatenate([runs[0].outputs[:1], *(run.outputs[1:] for run in runs)]),
        float(np.average([run.outside for run in runs], weights=steps)), last.trace)


@dataclass(frozen=True)
class Netlist:
    """A block as arrays. nets: names by number, 0 and 1 the constants; parts: names by number.

    driver_part (nets,): the part of the cell that drives it, −1 for an input. cell (instances,), pins (instances, 3)
    and outs (instances, 2) with −1 where none, part (instances,), sink_start (nets + 1,) into sinks (…, 2) of
    instance and pin, load_f (nets,), external (instances, 3): the pin hangs on an input of the block.
    """

    nets: tuple[str, ...]
    parts: tuple[str, ...]
    cell: IntArray
    pins: IntArray
    outs: IntArray
    part: IntArray
    driver_part: IntArray
    sink_start: IntArray
    sinks: IntArray
    load_f: FloatArray
    external: npt.NDArray[np.bool_]


def compile_block(block: Block, library: CellLibrary, loads: Loads) -> Netlist:
    """The block's arrays. BadInput where it holds a flip-flop or a cell without tables."""
    if any(i.cell in STATE_CELLS for i in block.instances):
        raise BadInput(f"Block '{block.name}': it holds flip-flops; timed simulation takes its core")
    number = {"0": 0, "1": 1}
    for name in (*block.inputs, *(net for i in block.instances for net in i.outputs)):
        number.setdefault(name, len(number))
    count = len(block.instances)
    cell, pins, outs = np.zeros(count, np.int64), np.full((count, PINS), -1), np.full((count, OUTPUTS), -1)
    parts = tuple(dict.fromkeys(i.part for i in block.instances))
    sinks: list[list[tuple[int, int]]] = [[] for _ in number]
    load_f = np.zeros(len(number))
    external = np.zeros((count, PINS), dtype=bool)
    inputs = set(block.inputs)
    for k, instance in enumerate(block.instances):
        cell[k] = library.index(instance.cell)
        for p, net in enumerate(instance.inputs):
            pins[k, p], external[k, p] = number[net], net in inputs
            sinks[number[net]].append((k, p))
            load_f[number[net]] += library.pin_f[cell[k], p] + loads.wire_f
        for j, net in enumerate(instance.outputs):
            outs[k, j] = number[net]
    for net in block.outputs:
        load_f[number[net]] += loads.output_f + (loads.wire_f if loads.output_f else 0.0)
    start = np.concatenate(([0], np.cumsum([len(found) for found in sinks])))
    flat = np.array([pair for found in sinks for pair in found], dtype=np.int64).reshape(-1, 2)
    part = np.array([parts.index(i.part) for i in block.instances], dtype=np.int64)
    driver_part = np.full(len(number), -1)
    for k, instance in enumerate(block.instances):
        driver_part[[number[net] for net in instance.outputs]] = part[k]
    return Netlist(tuple(number), parts, cell, pins, outs, part, driver_part, start, flat, load_f, external)


def cell_arrays(library: CellLibrary) -> CellArrays:
    """The library as the kernel takes it."""
    return CellArrays(library.vdd_v, library.slews_s, library.loads_f, library.energy_j, library.pin_j,
                      library.delay_s, library.ramp_s, library.outputs, library.pulse_loads_f, library.fraction,
                      library.width, library.shift, KNOTS, SHIFT_KNOTS, LEAST_WIDTH)


def timed_run(block: Block, library: CellLibrary, bits: Bits, loads: Loads, *, input_slew_s: float,
              zero_delay: bool = False) -> TimedRun:
    """Simulate the steps between vectors (n, inputs). All inputs of a step move at once, as ramps of input_slew_s.

    Energy excludes what the block's own inputs draw. zero_delay: the negative control, in which every cell answers
    at once, changes that arrive together are one, and no glitch counts.
    """
    if bits.ndim != 2 or bits.shape[1] != len(block.inputs) or len(bits) < 2:
        raise BadInput(f"Block '{block.name}': at least 2 vectors of {len(block.inputs)} bits are needed, "
                       f"got {bits.shape}")
    net = compile_block(block, library, loads)
    inputs = np.array([net.nets.index(name) for name in block.inputs], dtype=np.int64)
    outputs = np.array([net.nets.index(name) for name in block.outputs], dtype=np.int64)
    watched = np.zeros(len(net.nets), dtype=np.bool_)
    watched[outputs] = True
    arrays = NetArrays(net.cell, net.pins, net.outs, net.part, net.driver_part, net.sink_start, net.sinks,
                       net.load_f, net.external, inputs, outputs, watched)
    steps = len(bits) - 1
    energy, settled = np.zeros((steps, len(net.parts))), np.zeros(steps)
    toggles = np.zeros((steps, len(net.parts)), dtype=np.int64)
    found = np.zeros((steps + 1, len(outputs)), dtype=np.uint8)
    outside, events, fired = simulate(arrays, cell_arrays(library), bits, input_slew_s, zero_delay, energy, settled,
                                      toggles, found)
    if outside < 0:
        raise BadInput(f"Block '{block.name}': more than {MOST_EVENTS} events in one step; it oscillates")
    return TimedRun(net.parts, energy, settled, toggles, found, float(outside), _trace(net, events, fired))


def _trace(net: Netlist, events: npt.NDArray[np.void], fired: IntArray) -> tuple[Event, ...]:
    order = {-1: -1, **{int(e): k for k, e in enumerate(fired)}}
    return tuple(Event(net.nets[int(one["net"])], float(one["time"]), int(one["value"]), float(one["ramp"]),
                       order.get(int(one["cause"]), -1)) for one in events[fired])


def path_of(run: TimedRun, net: str) -> list[Event]:
    """The chain of events that made the net's last change in the last step, from an input on; empty if it rested."""
    last = [k for k, event in enumerate(run.trace) if event.net == net]
    chain: list[Event] = []
    k = last[-1] if last else -1
    while k >= 0:
        chain.append(run.trace[k])
        k = run.trace[k].cause
    return chain[::-1]
