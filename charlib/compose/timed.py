"""Timed logic simulation: every event of a block of cells, with its delay, ramp and joules out of the pair tables.

Event by event: an input change looks up delay and ramp of the arc at the ramp that arrives and the load that is there,
and schedules the output. Glitches are therefore in it and need no second term (method rule 10).

Energy of a cell is that of its changes of state. Two changes that follow each other closely are less than their sum:
at no distance at all they are one change of the state pair, whose energy is tabulated; far apart they are two. Between,
the measured share f of :mod:`charlib.compose.pulses` weighs the two. Pulses are narrowed or swallowed as measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from charlib.compose.pulses import KNOTS, LEAST_WIDTH, SHIFT_KNOTS
from charlib.compose.library import OUTPUTS, PINS, CellLibrary, FloatArray, IntArray
from charlib.errors import BadInput
from charlib.gates.block import STATE_CELLS, Block
from charlib.gates.logic import Bits

_MOST_EVENTS = 4_000_000


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
    """Of each step from one vector to the next: energy_j (steps, parts), settled_s (last output), toggles.

    outside: share of look-ups well beyond the grid. trace: events of the last step that took place, in time order.
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


@dataclass(frozen=True)
class Netlist:
    """A block as arrays: what the event loop runs over."""

    nets: Mapping[str, int]
    cell: IntArray  #: (instances,)
    pins: IntArray  #: (instances, 3), −1 where none
    outs: IntArray  #: (instances, 2), −1 where none
    part: IntArray  #: (instances,)
    parts: tuple[str, ...]
    sink_start: IntArray  #: (nets + 1,)
    sinks: IntArray  #: (sinks, 2): instance and pin
    load_f: FloatArray  #: (nets,)
    external: npt.NDArray[np.bool_]  #: (instances, 3): the pin hangs on an input of the block
    order: IntArray  #: instances in an order in which they can be evaluated


def compile_block(block: Block, library: CellLibrary, loads: Loads) -> Netlist:
    """The block's arrays. BadInput where it holds a flip-flop or a cell without tables."""
    held = [i.cell for i in block.instances if i.cell in STATE_CELLS]
    if held:
        raise BadInput(f"Block '{block.name}': it holds flip-flops; timed simulation takes combinational blocks")
    nets: dict[str, int] = {"0": 0, "1": 1}
    for name in (*block.inputs, *(net for i in block.instances for net in i.outputs)):
        nets.setdefault(name, len(nets))
    count = len(block.instances)
    cell, pins, outs = np.zeros(count, np.int64), np.full((count, PINS), -1), np.full((count, OUTPUTS), -1)
    parts = tuple(dict.fromkeys(i.part for i in block.instances))
    sinks: list[list[tuple[int, int]]] = [[] for _ in nets]
    load_f = np.zeros(len(nets))
    external = np.zeros((count, PINS), dtype=bool)
    inputs = set(block.inputs)
    for k, instance in enumerate(block.instances):
        cell[k] = library.index(instance.cell)
        for p, net in enumerate(instance.inputs):
            pins[k, p], external[k, p] = nets[net], net in inputs
            sinks[nets[net]].append((k, p))
            load_f[nets[net]] += library.pin_f[cell[k], p] + loads.wire_f
        for j, net in enumerate(instance.outputs):
            outs[k, j] = nets[net]
    for net in block.outputs:
        load_f[nets[net]] += loads.output_f + (loads.wire_f if loads.output_f else 0.0)
    start = np.concatenate(([0], np.cumsum([len(found) for found in sinks])))
    flat = np.array([pair for found in sinks for pair in found], dtype=np.int64).reshape(-1, 2)
    return Netlist(nets, cell, pins, outs, np.array([parts.index(i.part) for i in block.instances]), parts,
                   start, flat, load_f, external, np.arange(count))


def timed_run(block: Block, library: CellLibrary, bits: Bits, loads: Loads, *, input_slew_s: float,
              zero_delay: bool = False) -> TimedRun:
    """Simulate the steps between vectors (n, inputs). All inputs of a step move at once, as ramps of input_slew_s.

    Energy excludes what the block's own inputs draw. zero_delay: the negative control, in which every cell answers
    at once, level by level, and no glitch survives.
    """
    if bits.ndim != 2 or bits.shape[1] != len(block.inputs) or len(bits) < 2:
        raise BadInput(f"Block '{block.name}': at least 2 vectors of {len(block.inputs)} bits are needed, "
                       f"got {bits.shape}")
    net = compile_block(block, library, loads)
    inputs = np.array([net.nets[name] for name in block.inputs])
    outputs = np.array([net.nets[name] for name in block.outputs])
    watched = np.zeros(len(net.nets), dtype=np.bool_)
    watched[outputs] = True
    steps = len(bits) - 1
    energy, settled = np.zeros((steps, len(net.parts))), np.zeros(steps)
    toggles, found = np.zeros(steps, dtype=np.int64), np.zeros((steps + 1, len(outputs)), dtype=np.uint8)
    outside, *log = _simulate(
        bits, inputs, outputs, watched, net.cell, net.pins, net.outs, net.part, net.sink_start, net.sinks, net.load_f,
        net.external, library.slews_s, library.loads_f, library.energy_j, library.pin_j, library.delay_s,
        library.ramp_s, library.outputs, library.vdd_v, input_slew_s, zero_delay, library.pulse_loads_f, library.fraction, library.width, KNOTS, library.shift, SHIFT_KNOTS,
        energy,
        settled, toggles, found)
    if outside < 0:
        raise BadInput(f"Block '{block.name}': more than {_MOST_EVENTS} events in one step; it oscillates")
    return TimedRun(net.parts, energy, settled, toggles, found, float(outside), _trace(net, *log))


def _trace(net: Netlist, nets: IntArray, times: FloatArray, values: IntArray, ramps: FloatArray, causes: IntArray,
           fired: IntArray) -> tuple[Event, ...]:
    names = list(net.nets)
    order = {-1: -1, **{int(e): k for k, e in enumerate(fired)}}
    return tuple(Event(names[nets[e]], float(times[e]), int(values[e]), float(ramps[e]), order[int(causes[e])])
                 for e in fired)


@njit(cache=True)
def _bracket(points: FloatArray, x: float) -> tuple[int, float]:
    """(lower index, fraction); the fraction leaves 0…1 beyond the grid, so that the last slope goes on."""
    k = 0
    while k < len(points) - 2 and x > points[k + 1]:
        k += 1
    return k, (x - points[k]) / (points[k + 1] - points[k])


@njit(cache=True)
def _curve(knots: FloatArray, values: FloatArray, x: float) -> float:
    """Straight lines between knots, constant beyond."""
    if x <= knots[0]:
        return values[0]  # type: ignore[no-any-return]
    if x >= knots[-1]:
        return values[-1]  # type: ignore[no-any-return]
    k, y = _bracket(knots, x)
    return values[k] * (1 - y) + values[k + 1] * y  # type: ignore[no-any-return]


@njit(cache=True)
def _at_load(knots: FloatArray, values: FloatArray, x: float, loads: FloatArray, load: float) -> float:
    """A curve between the loads at which it was measured; the nearest beyond them. values: (loads, knots)."""
    if len(loads) == 1 or load <= loads[0]:
        return _curve(knots, values[0], x)  # type: ignore[no-any-return]
    if load >= loads[-1]:
        return _curve(knots, values[-1], x)  # type: ignore[no-any-return]
    k, y = _bracket(loads, load)
    return _curve(knots, values[k], x) * (1 - y) + _curve(knots, values[k + 1], x) * y  # type: ignore[no-any-return]


@njit(cache=True)
def _look(table: FloatArray, i: int, x: float, j: int, y: float) -> float:
    low = table[i, j] * (1 - y) + table[i, j + 1] * y
    high = table[i + 1, j] * (1 - y) + table[i + 1, j + 1] * y
    return low * (1 - x) + high * x  # type: ignore[no-any-return]


@njit(cache=True)
def _push(heap_t, heap_e, size, t, e):  # type: ignore[no-untyped-def]
    k = size
    heap_t[k], heap_e[k] = t, e
    while k > 0:
        up = (k - 1) // 2
        if heap_t[up] < heap_t[k] or (heap_t[up] == heap_t[k] and heap_e[up] < heap_e[k]):
            break
        heap_t[up], heap_t[k] = heap_t[k], heap_t[up]
        heap_e[up], heap_e[k] = heap_e[k], heap_e[up]
        k = up
    return size + 1


@njit(cache=True)
def _pop(heap_t, heap_e, size):  # type: ignore[no-untyped-def]
    t, e = heap_t[0], heap_e[0]
    size -= 1
    heap_t[0], heap_e[0] = heap_t[size], heap_e[size]
    k = 0
    while True:
        low, left = k, 2 * k + 1
        for child in (left, left + 1):
            if child < size and (heap_t[child] < heap_t[low]
                                 or (heap_t[child] == heap_t[low] and heap_e[child] < heap_e[low])):
                low = child
        if low == k:
            break
        heap_t[low], heap_t[k] = heap_t[k], heap_t[low]
        heap_e[low], heap_e[k] = heap_e[k], heap_e[low]
        k = low
    return t, e, size


@njit(cache=True)
def _change_j(c, before, after, slew, outs, load_f, slews, loads, energy, pin, external, pins, truth, vdd):  # type: ignore[no-untyped-def]
    """Joules of one change of a cell's state: its own supply's, its loads', and the correction of its pins' charge."""
    if before == after:
        return 0.0
    i, x = _bracket(slews, slew)
    load, rising, driven = 0.0, 0.0, 0
    for j in range(2):
        if outs[j] >= 0:
            load += load_f[outs[j]]
            driven += 1
            if truth[c, after, j] > truth[c, before, j]:
                rising += load_f[outs[j]]
    load /= driven
    j, y = _bracket(loads, load)
    total = _look(energy[c, before, after], i, x, j, y) + rising * vdd * vdd
    for p in range(3):
        if pins[p] >= 0 and not external[p]:
            total += _look(pin[c, before, after, p], i, x, j, y)
    return total


@njit(cache=True)
def _simulate(bits, inputs, outputs, watched, cell, pins, outs, part, sink_start, sinks, load_f, external, slews,  # type: ignore[no-untyped-def]
              loads, energy_t, pin_t, delay_t, ramp_t, truth, vdd, input_slew, zero_delay, pulse_loads, fraction, width, knots, shift, shift_knots, energy,
              settled, toggles, found):
    count, nets = len(cell), len(load_f)
    value = np.zeros(nets, np.uint8)
    value[1] = 1
    state = np.zeros(count, np.int64)
    value[inputs] = bits[0]
    for k in range(count):
        s = 0
        for p in range(3):
            if pins[k, p] >= 0:
                s |= np.int64(value[pins[k, p]]) << p
        state[k] = s
        for j in range(2):
            if outs[k, j] >= 0:
                value[outs[k, j]] = truth[cell[k], s, j]
    found[0] = value[outputs]
    # of the pending change of each instance: bases with weights, and the nominal crossing and ramp of its output
    base, weight = np.zeros((count, 4), np.int64), np.zeros((count, 4))
    bases, slew_of = np.zeros(count, np.int64), np.zeros(count)
    out_t, out_d, last_pin = np.full(count, -1.0), np.zeros(count), np.full(count, -1)
    last_event, in_t = np.full(nets, -1), np.zeros(count)
    capacity = 1 << 16
    ev_net, ev_val = np.zeros(capacity, np.int64), np.zeros(capacity, np.uint8)
    ev_ramp, ev_on = np.zeros(capacity), np.zeros(capacity, np.bool_)
    ev_time, ev_before, ev_cause = np.zeros(capacity), np.zeros(capacity, np.int64), np.zeros(capacity, np.int64)
    fired, done, ev_delay = np.zeros(capacity, np.int64), 0, np.zeros(capacity)
    heap_t, heap_e = np.zeros(capacity), np.zeros(capacity, np.int64)
    outside, looks = 0, 0
    for step in range(len(bits) - 1):
        events, size, done = 0, 0, 0
        touched = np.zeros(count, np.bool_)
        for k in range(len(inputs)):
            if bits[step + 1, k] != bits[step, k]:
                ev_net[events], ev_val[events] = inputs[k], bits[step + 1, k]
                ev_ramp[events], ev_on[events] = input_slew, True
                ev_time[events], ev_before[events], ev_cause[events] = 0.0, -1, -1
                size = _push(heap_t, heap_e, size, 0.0, events)
                events += 1
        while size > 0:
            now, e, size = _pop(heap_t, heap_e, size)
            if not ev_on[e]:
                continue
            ev_on[e] = False
            fired[done] = e
            done += 1
            net = ev_net[e]
            value[net] = ev_val[e]
            toggles[step] += 1
            if watched[net] and now > settled[step]:
                settled[step] = now
            for q in range(sink_start[net], sink_start[net + 1]):
                k, p = sinks[q, 0], sinks[q, 1]
                if events >= capacity - 4:
                    capacity *= 2
                    ev_net = np.concatenate((ev_net, np.zeros(capacity // 2, np.int64)))
                    ev_val = np.concatenate((ev_val, np.zeros(capacity // 2, np.uint8)))
                    ev_ramp = np.concatenate((ev_ramp, np.zeros(capacity // 2)))
                    ev_on = np.concatenate((ev_on, np.zeros(capacity // 2, np.bool_)))
                    ev_time = np.concatenate((ev_time, np.zeros(capacity // 2)))
                    ev_delay = np.concatenate((ev_delay, np.zeros(capacity // 2)))
                    ev_before = np.concatenate((ev_before, np.zeros(capacity // 2, np.int64)))
                    ev_cause = np.concatenate((ev_cause, np.zeros(capacity // 2, np.int64)))
                    fired = np.concatenate((fired, np.zeros(capacity // 2, np.int64)))
                    heap_t = np.concatenate((heap_t, np.zeros(capacity // 2)))
                    heap_e = np.concatenate((heap_e, np.zeros(capacity // 2, np.int64)))
                    if capacity > 1 << 22:
                        return -1.0, ev_net, ev_time, ev_val, ev_ramp, ev_cause, fired[:0]
                c, s = cell[k], state[k]
                after = (s & ~(1 << p)) | (np.int64(ev_val[e]) << p)
                if after == s:
                    continue
                slew = ev_ramp[e]
                i, x = _bracket(slews, slew)
                t2, d2 = -1.0, 0.0
                for j in range(2):
                    out = outs[k, j]
                    if out < 0:
                        continue
                    u_from = now - in_t[k]
                    if truth[c, s, j] == truth[c, after, j]:
                        last = last_event[out]
                        if (touched[k] and not zero_delay and last >= 0 and ev_on[last]
                                and truth[c, s ^ (1 << last_pin[k]), j] != truth[c, s, j]):
                            d1 = ev_time[last] - in_t[k]
                            moved = d1 * _at_load(shift_knots, shift[c, s ^ (1 << last_pin[k]), last_pin[k], p, j],
                                                  u_from / d1, pulse_loads, load_f[out])
                            if abs(moved) > 1e-14:
                                ev_on[last] = False
                                ev_net[events], ev_val[events], ev_on[events] = out, ev_val[last], True
                                ev_ramp[events], ev_cause[events] = ev_ramp[last], ev_cause[last]
                                ev_before[events], ev_delay[events] = ev_before[last], ev_delay[last]
                                ev_time[events] = max(now, ev_time[last] + moved)
                                last_event[out] = events
                                size = _push(heap_t, heap_e, size, ev_time[events], events)
                                events += 1
                        continue
                    jj, y = _bracket(loads, load_f[out])
                    looks += 1
                    if x < -0.5 or x > 1.5 or y < -0.5 or y > 1.2:
                        outside += 1
                    delay = _look(delay_t[c, s, after, j], i, x, jj, y)
                    ramp = _look(ramp_t[c, s, after, j], i, x, jj, y)
                    if ramp < 1e-13:
                        ramp = 1e-13
                    if touched[k] and delay > 0:
                        delay *= 1 + _at_load(shift_knots, shift[c, s ^ (1 << last_pin[k]), last_pin[k], p, j],
                                              u_from / delay, pulse_loads, load_f[out])
                    delay = max(delay, 1e-15)
                    when = now + delay
                    if zero_delay:
                        when = now + 1e-15
                    if when > t2:
                        t2, d2 = when, delay
                    new = truth[c, after, j]
                    last = last_event[out]
                    if last >= 0 and ev_on[last]:
                        scale = 0.5 * (ev_delay[last] + delay)
                        reached = (when - ev_time[last]) / scale if scale > 0 else knots[-1]
                        kept = reached
                        if reached < knots[-1] and last_pin[k] >= 0:
                            kept = _at_load(knots, width[c, s ^ (1 << last_pin[k]), last_pin[k], p, j], reached,
                                            pulse_loads, load_f[out])
                        if kept < LEAST_WIDTH:
                            ev_on[last] = False
                            last_event[out] = ev_before[last]
                            continue
                        when = min(when, max(now, ev_time[last] + kept * scale))
                    if last >= 0 and when <= ev_time[last]:
                        when = ev_time[last] + 1e-15  # a pulse's second edge may not overtake its first
                    ev_net[events], ev_val[events], ev_ramp[events], ev_on[events] = out, new, ramp, True
                    ev_time[events], ev_before[events], ev_cause[events] = when, last, e
                    ev_delay[events] = delay
                    last_event[out] = events
                    size = _push(heap_t, heap_e, size, when, events)
                    events += 1
                # energy: what was pending is committed as far as it had come
                t_next = t2 if t2 >= 0 else now
                if not touched[k]:
                    touched[k] = True
                    bases[k] = 0
                    out_t[k], out_d[k] = -1.0, 0.0
                total, f = 0.0, 1.0
                if bases[k] > 0 and out_d[k] > 0:
                    before = s ^ (1 << last_pin[k])
                    scale = 0.5 * (out_d[k] + d2) if d2 > 0 else out_d[k]
                    driven = load_f[outs[k, 0]] if outs[k, 1] < 0 else 0.5 * (load_f[outs[k, 0]] + load_f[outs[k, 1]])
                    f = _at_load(knots, fraction[c, before, last_pin[k], p], (t_next - out_t[k]) / scale,
                                 pulse_loads, driven)
                if zero_delay:
                    f = 0.0
                for b in range(bases[k]):
                    if f > 0:
                        energy[step, part[k]] += weight[k, b] * f * _change_j(
                            c, base[k, b], s, slew_of[k], outs[k], load_f, slews, loads, energy_t, pin_t, external[k],
                            pins[k], truth, vdd)
                    weight[k, b] *= 1 - f
                    total += weight[k, b]
                if total < 0.01:
                    bases[k], total = 0, 0.0
                if bases[k] == 4:  # merge the two lightest: the oldest into the next
                    weight[k, 1] += weight[k, 0]
                    for b in range(3):
                        base[k, b], weight[k, b] = base[k, b + 1], weight[k, b + 1]
                    bases[k] = 3
                base[k, bases[k]], weight[k, bases[k]] = s, 1.0 - total
                bases[k] += 1
                state[k], last_pin[k], in_t[k] = after, p, now
                slew_of[k] = slew
                out_t[k], out_d[k] = t_next, d2 if d2 > 0 else slew
        for k in range(count):
            if touched[k]:
                for b in range(bases[k]):
                    energy[step, part[k]] += weight[k, b] * _change_j(
                        cell[k], base[k, b], state[k], slew_of[k], outs[k], load_f, slews, loads, energy_t, pin_t,
                        external[k], pins[k], truth, vdd)
                bases[k] = 0
        last_event[:] = -1
        found[step + 1] = value[outputs]
    return outside / max(1, looks), ev_net, ev_time, ev_val, ev_ramp, ev_cause, fired[:done]
