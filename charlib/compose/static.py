# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Static timing: the latest that each net can move, over every path and state, whatever the vectors.

Worst arrival and worst ramp travel together from inputs to outputs, as in any analyser: of all arcs (an input's
edge in every state of the others) that move an output's edge, the latest arrival and the slowest ramp hold. Timed
simulation never exceeds it; where no vector is found that reaches a path's end that late, the path is called
unsensitised (method rule 12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from charlib.compose.kernel import CellArrays, NetArrays, _bracket, _look
from charlib.compose.library import CellLibrary, FloatArray, IntArray
from charlib.compose.timed import Loads, cell_arrays, compile_block
from charlib.gates.block import Block

EDGES = ("fall", "rise")


@dataclass(frozen=True)
class Step:
    """One stop of a path: a net, the edge it takes and when; the cell that drives it ("" for an input)."""

    net: str
    edge: str
    arrival_s: float
    ramp_s: float
    cell: str


@dataclass(frozen=True)
class StaticTiming:
    """arrival_s: net -> latest arrival of (fall, rise), -inf where it cannot move; path: the longest, input first."""

    arrival_s: dict[str, tuple[float, float]]
    path: tuple[Step, ...]

    @property
    def delay_s(self) -> float:
        """The longest path's."""
        return self.path[-1].arrival_s if self.path else 0.0


def static_timing(block: Block, library: CellLibrary, loads: Loads, *, input_slew_s: float) -> StaticTiming:
    """Latest arrivals of a combinational block; its inputs move at 0 with ramps of input_slew_s.

    BadInput for flip-flops (take the block's core) or for cells without tables.
    """
    net = compile_block(block, library, loads)
    inputs = np.array([net.nets.index(name) for name in block.inputs], dtype=np.int64)
    outputs = np.array([net.nets.index(name) for name in block.outputs], dtype=np.int64)
    arrays = NetArrays(net.cell, net.pins, net.outs, net.part, net.driver_part, net.sink_start, net.sinks,
                       net.load_f, net.external, inputs, outputs, np.zeros(0, dtype=np.bool_))
    arrival = np.full((len(net.nets), 2), -np.inf)
    ramp = np.zeros((len(net.nets), 2))
    before = np.full((len(net.nets), 2, 3), -1)
    arrival[inputs], ramp[inputs] = 0.0, input_slew_s
    _propagate(arrays, cell_arrays(library), arrival, ramp, before)
    return StaticTiming({name: (float(fall), float(rise)) for name, (fall, rise) in
                         zip(net.nets, arrival, strict=True)}, _path(net.nets, block, outputs, arrival, ramp, before))


def _path(nets: tuple[str, ...], block: Block, outputs: IntArray, arrival: FloatArray, ramp: FloatArray,
          before: IntArray) -> tuple[Step, ...]:
    if not len(outputs) or not np.isfinite(arrival[outputs]).any():
        return ()
    last = int(np.argmax(arrival[outputs].max(axis=1)))
    net, edge, steps = int(outputs[last]), int(np.argmax(arrival[outputs[last]])), []
    while net >= 0:
        came, came_edge, instance = (int(v) for v in before[net, edge])
        cell = block.instances[instance].cell if instance >= 0 else ""
        steps.append(Step(nets[net], EDGES[edge], float(arrival[net, edge]), float(ramp[net, edge]), cell))
        net, edge = came, came_edge
    return tuple(steps[::-1])


@njit(cache=True, error_model="numpy")
def _propagate(net: NetArrays, lib: CellArrays, arrival, ramp, before):
    """Instances stand in an order in which every input is driven before it is used."""
    for k in range(len(net.cell)):
        c = net.cell[k]
        for p in range(3):
            source = net.pins[k, p]
            if source < 0:
                continue
            for s in range(8):
                edge = 1 - ((s >> p) & 1)
                if arrival[source, edge] == -np.inf:
                    continue
                after = s ^ (1 << p)
                for j in range(2):
                    out = net.outs[k, j]
                    if out < 0 or np.isnan(lib.delay[c, s, after, j, 0, 0]):
                        continue
                    i, x = _bracket(lib.slews, ramp[source, edge])
                    jj, y = _bracket(lib.loads, net.load_f[out])
                    to = 1 if lib.truth[c, after, j] else 0
                    time = arrival[source, edge] + _look(lib.delay[c, s, after, j], i, x, jj, y)
                    slope = _look(lib.ramp[c, s, after, j], i, x, jj, y)
                    ramp[out, to] = max(ramp[out, to], slope)
                    if time > arrival[out, to]:
                        arrival[out, to] = time
                        before[out, to, 0], before[out, to, 1], before[out, to, 2] = source, edge, k
