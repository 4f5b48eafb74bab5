# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""Static timing: the latest that each net can move, over every path and state, whatever the vectors.

Worst arrival and worst ramp travel together from inputs to outputs, as in any analyser: of all arcs (an input's
edge in every state of the others) that move an output's edge, the latest arrival and the slowest ramp hold. Timed
simulation never exceeds it; where no vector is found that reaches a path's end that late, the path is called
unsensitised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from charlib.compose.kernel import CellArrays, NetArrays, _bracket, _look
from charlib.compose.library import CellLibrary, FloatArray, IntArray
from charlib.compose.timed import Loads, cell_arrays, compile_block
from charlib.gates.block import Block
from charlib.netlist import netlist_ports

EDGES = ("fall", "rise")


@dataclass(frozen=True)
class Step:
    """One stop of a path: a net, the edge it takes and when; the cell that drives it, "" for an input.

    instance: that cell's number in the block, -1 for an input; pin: the one of its ports that the path comes by.
    """

    net: str
    edge: str
    arrival_s: float
    ramp_s: float
    cell: str
    instance: int
    pin: str


@dataclass(frozen=True)
class StaticTiming:
    """arrival_s: net -> latest arrival of (fall, rise), -inf where it cannot move; ramp_s: net -> slowest ramp of
    each, 0 where it cannot move; path: the longest, input first. Of `lookups` arcs, `outside` are beyond the tables'
    grid in ramp or load and follow its last slope.
    """

    arrival_s: dict[str, tuple[float, float]]
    ramp_s: dict[str, tuple[float, float]]
    path: tuple[Step, ...]
    lookups: int
    outside: int

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
    before = np.full((len(net.nets), 2, 4), -1)
    arrival[inputs], ramp[inputs] = 0.0, input_slew_s
    lookups, outside = _propagate(arrays, cell_arrays(library), arrival, ramp, before)
    path = _path(net.nets, block, outputs, arrival, ramp, before)
    return StaticTiming(_by_net(net.nets, arrival), _by_net(net.nets, ramp), path, int(lookups), int(outside))


def _by_net(nets: tuple[str, ...], values: FloatArray) -> dict[str, tuple[float, float]]:
    return {name: (float(fall), float(rise)) for name, (fall, rise) in zip(nets, values, strict=True)}


def _path(nets: tuple[str, ...], block: Block, outputs: IntArray, arrival: FloatArray, ramp: FloatArray,
          before: IntArray) -> tuple[Step, ...]:
    if not len(outputs) or not np.isfinite(arrival[outputs]).any():
        return ()
    last = int(np.argmax(arrival[outputs].max(axis=1)))
    net, edge, steps = int(outputs[last]), int(np.argmax(arrival[outputs[last]])), []
    while net >= 0:
        came, came_edge, instance, pin = (int(v) for v in before[net, edge])
        cell = block.instances[instance].cell if instance >= 0 else ""
        steps.append(Step(nets[net], EDGES[edge], float(arrival[net, edge]), float(ramp[net, edge]), cell, instance,
                          netlist_ports(cell)[pin] if cell else ""))
        net, edge = came, came_edge
    return tuple(steps[::-1])


@njit(cache=True, error_model="numpy")
def _propagate(net: NetArrays, lib: CellArrays, arrival, ramp, before):
    """Instances stand in an order in which every input is driven before it is used. Returns (look-ups, outside)."""
    lookups, outside = 0, 0
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
                    lookups += 1
                    if x < 0 or x > 1 or y < 0 or y > 1:
                        outside += 1
                    to = 1 if lib.truth[c, after, j] else 0
                    time = arrival[source, edge] + _look(lib.delay[c, s, after, j], i, x, jj, y)
                    slope = _look(lib.ramp[c, s, after, j], i, x, jj, y)
                    ramp[out, to] = max(ramp[out, to], slope)
                    if time > arrival[out, to]:
                        arrival[out, to] = time
                        before[out, to, 0], before[out, to, 1] = source, edge
                        before[out, to, 2], before[out, to, 3] = k, p
    return lookups, outside
