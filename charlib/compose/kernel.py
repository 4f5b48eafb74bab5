# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
"""The event loop of timed simulation, compiled: one heap of events, one record a cell, nothing looked up by name.

Arrays travel in named tuples. Times are seconds from the step's beginning, energies joules. What the model is, stands
in :mod:`charlib.compose.timed`; here is how it runs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

#: beyond this many events a step, the block oscillates
MOST_EVENTS = 1 << 22
_FIRST_CAPACITY = 1 << 14
#: bases of a cell's pending change that are told apart
_BASES = 4
#: a base that weighs less is let go
_LIGHT = 0.01
_LEAST_S = 1e-15
_LEAST_SHIFT_S = 1e-14
#: how far beyond its grid, in steps, a look-up counts as outside
_SLACK = 0.5

EVENT = np.dtype([("net", np.int64), ("value", np.int64), ("time", np.float64), ("ramp", np.float64),
                  ("delay", np.float64), ("before", np.int64), ("cause", np.int64), ("pending", np.int64)])


class NetArrays(NamedTuple):
    """A block; see :class:`charlib.compose.timed.Netlist` for the shapes."""

    cell: Any
    pins: Any
    outs: Any
    part: Any
    driver_part: Any
    sink_start: Any
    sinks: Any
    load_f: Any
    external: Any
    inputs: Any
    outputs: Any
    watched: Any


class CellArrays(NamedTuple):
    """A cell library; see :class:`charlib.compose.library.CellLibrary` for the shapes."""

    vdd_v: float
    slews: Any
    loads: Any
    energy: Any
    pin: Any
    delay: Any
    ramp: Any
    truth: Any
    pulse_loads: Any
    fraction: Any
    width: Any
    shift: Any
    knots: Any
    shift_knots: Any
    least_width: float


class State(NamedTuple):
    """What the loop keeps. Of each net: value, its last event. Of each cell: state; the bases of its pending change
    with weights, how many, and its input's ramp; the time and delay of its last output; the last pin and when.
    counts: events, heap, look-ups, look-ups outside, fired.
    """

    value: Any
    last_event: Any
    state: Any
    base: Any
    weight: Any
    bases: Any
    slew: Any
    out_t: Any
    out_d: Any
    last_pin: Any
    in_t: Any
    touched: Any
    counts: Any


@njit(cache=True, error_model="numpy")
def _bracket(points, x):
    """(lower index, fraction); beyond the grid the fraction leaves 0…1, so that the last slope goes on."""
    k = 0
    while k < len(points) - 2 and x > points[k + 1]:
        k += 1
    return k, (x - points[k]) / (points[k + 1] - points[k])


@njit(cache=True, error_model="numpy")
def _look(table, i, x, j, y):
    low = table[i, j] * (1 - y) + table[i, j + 1] * y
    high = table[i + 1, j] * (1 - y) + table[i + 1, j + 1] * y
    return low * (1 - x) + high * x


@njit(cache=True, error_model="numpy")
def _curve(knots, values, x):
    """Straight lines between knots, constant beyond."""
    if x <= knots[0]:
        return values[0]
    if x >= knots[-1]:
        return values[-1]
    k, y = _bracket(knots, x)
    return values[k] * (1 - y) + values[k + 1] * y


@njit(cache=True, error_model="numpy")
def _at_load(knots, values, x, loads, load):
    """A curve between the loads at which it was measured; the nearest beyond them. values: (loads, knots)."""
    if len(loads) == 1 or load <= loads[0]:
        return _curve(knots, values[0], x)
    if load >= loads[-1]:
        return _curve(knots, values[-1], x)
    k, y = _bracket(loads, load)
    return _curve(knots, values[k], x) * (1 - y) + _curve(knots, values[k + 1], x) * y


@njit(cache=True, error_model="numpy")
def _push(heap_t, heap_e, size, t, e):
    k = size
    heap_t[k], heap_e[k] = t, e
    while k > 0:
        up = (k - 1) // 2
        if heap_t[up] < heap_t[k] or (heap_t[up] == heap_t[k] and heap_e[up] < heap_e[k]):
            break
        heap_t[up], heap_t[k] = heap_t[k], heap_t[up]
        heap_e[up], heap_e[k] = heap_e[k], heap_e[up]
        k = up


@njit(cache=True, error_model="numpy")
def _pop(heap_t, heap_e, size):
    """(time, event); the heap is one shorter after."""
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
            return t, e
        heap_t[low], heap_t[k] = heap_t[k], heap_t[low]
        heap_e[low], heap_e[k] = heap_e[k], heap_e[low]
        k = low


@njit(cache=True, inline="always", error_model="numpy")
def _schedule(run, events, heap_t, heap_e, net, value, time, ramp, delay, cause):
    e = run.counts[0]
    events[e]["net"], events[e]["value"], events[e]["time"] = net, value, time
    events[e]["ramp"], events[e]["delay"], events[e]["cause"] = ramp, delay, cause
    events[e]["before"], events[e]["pending"] = run.last_event[net], 1
    run.last_event[net] = e
    _push(heap_t, heap_e, run.counts[1], time, e)
    run.counts[0] += 1
    run.counts[1] += 1


@njit(cache=True, inline="always", error_model="numpy")
def _change_j(net, lib, k, before, after, slew):
    """Joules of one change of a cell's state: its own supply's, its loads', the correction of its pins' charge."""
    if before == after:
        return 0.0
    c = net.cell[k]
    load, rising, driven = 0.0, 0.0, 0
    for j in range(2):
        if net.outs[k, j] >= 0:
            load += net.load_f[net.outs[k, j]]
            driven += 1
            if lib.truth[c, after, j] > lib.truth[c, before, j]:
                rising += net.load_f[net.outs[k, j]]
    i, x = _bracket(lib.slews, slew)
    j, y = _bracket(lib.loads, load / driven)
    total = _look(lib.energy[c, before, after], i, x, j, y) + rising * lib.vdd_v * lib.vdd_v
    for p in range(3):
        if net.pins[k, p] >= 0 and not net.external[k, p]:
            total += _look(lib.pin[c, before, after, p], i, x, j, y)
    return total


@njit(cache=True, inline="always", error_model="numpy")
def _quicken(net, lib, run, events, heap_t, heap_e, k, p, j, now):
    """An output that an earlier input moves and this one does not: it comes earlier or later for it."""
    c, s, out = net.cell[k], run.state[k], net.outs[k, j]
    last, pin = run.last_event[out], run.last_pin[k]
    if not run.touched[k] or last < 0 or not events[last]["pending"]:
        return
    before = s ^ (1 << pin)
    if lib.truth[c, before, j] == lib.truth[c, s, j]:
        return
    delay = events[last]["time"] - run.in_t[k]
    moved = delay * _at_load(lib.shift_knots, lib.shift[c, before, pin, p, j], (now - run.in_t[k]) / delay,
                             lib.pulse_loads, net.load_f[out])
    if abs(moved) < _LEAST_SHIFT_S:
        return
    events[last]["pending"] = 0
    run.last_event[out] = events[last]["before"]
    _schedule(run, events, heap_t, heap_e, out, events[last]["value"], max(now, events[last]["time"] + moved),
              events[last]["ramp"], events[last]["delay"], events[last]["cause"])


@njit(cache=True, inline="always", error_model="numpy")
def _move(net, lib, run, events, heap_t, heap_e, k, p, j, after, e, now, zero_delay):
    """Schedule an output that this input moves. Returns (when it would cross, its delay)."""
    c, s, out = net.cell[k], run.state[k], net.outs[k, j]
    i, x = _bracket(lib.slews, events[e]["ramp"])
    jj, y = _bracket(lib.loads, net.load_f[out])
    run.counts[2] += 1
    if x < -_SLACK or x > 1 + _SLACK or y < -_SLACK or y > 1 + _SLACK:
        run.counts[3] += 1
    delay = _look(lib.delay[c, s, after, j], i, x, jj, y)
    ramp = max(_look(lib.ramp[c, s, after, j], i, x, jj, y), 100 * _LEAST_S)
    pin = run.last_pin[k]
    before = s ^ (1 << pin) if pin >= 0 else s
    if zero_delay:
        delay = _LEAST_S
    elif run.touched[k] and delay > 0:
        delay *= 1 + _at_load(lib.shift_knots, lib.shift[c, before, pin, p, j], (now - run.in_t[k]) / delay,
                              lib.pulse_loads, net.load_f[out])
    delay = max(delay, _LEAST_S)
    when = now + delay
    last = run.last_event[out]
    nominal = when
    if last >= 0 and events[last]["pending"]:
        scale = 0.5 * (events[last]["delay"] + delay)
        kept = (when - events[last]["time"]) / scale
        if kept < lib.knots[-1] and pin >= 0:
            kept = _at_load(lib.knots, lib.width[c, before, pin, p, j], kept, lib.pulse_loads, net.load_f[out])
        if kept < lib.least_width:
            events[last]["pending"] = 0
            run.last_event[out] = events[last]["before"]
            return nominal, delay
        when = min(when, max(now, events[last]["time"] + kept * scale))
    if last >= 0 and when <= events[last]["time"]:
        when = events[last]["time"] + _LEAST_S  # a pulse's second edge may not overtake its first
    _schedule(run, events, heap_t, heap_e, out, lib.truth[c, after, j], when, ramp, delay, e)
    return nominal, delay


@njit(cache=True, inline="always", error_model="numpy")
def _pay(net, lib, run, k, p, after, slew, t2, d2, now, zero_delay):
    """Joules of the pending change as far as it had come, before the cell's next change of state takes over."""
    c, s, paid, left, f = net.cell[k], run.state[k], 0.0, 0.0, 1.0
    t_next = t2 if t2 >= 0 else now
    if not run.touched[k]:
        run.touched[k], run.bases[k], run.out_t[k], run.out_d[k] = True, 0, -1.0, 0.0
    if run.bases[k] > 0 and run.out_d[k] > 0:
        scale = 0.5 * (run.out_d[k] + d2) if d2 > 0 else run.out_d[k]
        load = net.load_f[net.outs[k, 0]]
        if net.outs[k, 1] >= 0:
            load = 0.5 * (load + net.load_f[net.outs[k, 1]])
        pin = run.last_pin[k]
        f = _at_load(lib.knots, lib.fraction[c, s ^ (1 << pin), pin, p], (t_next - run.out_t[k]) / scale,
                     lib.pulse_loads, load)
    if zero_delay:
        f = 0.0
    for b in range(run.bases[k]):
        if f > 0:
            paid += run.weight[k, b] * f * _change_j(net, lib, k, run.base[k, b], s, run.slew[k])
        run.weight[k, b] *= 1 - f
        left += run.weight[k, b]
    if left < _LIGHT:
        run.bases[k], left = 0, 0.0
    if run.bases[k] == _BASES:  # the oldest joins the next
        run.weight[k, 1] += run.weight[k, 0]
        for b in range(_BASES - 1):
            run.base[k, b], run.weight[k, b] = run.base[k, b + 1], run.weight[k, b + 1]
        run.bases[k] = _BASES - 1
    run.base[k, run.bases[k]], run.weight[k, run.bases[k]] = s, 1.0 - left
    run.bases[k] += 1
    run.slew[k], run.out_t[k], run.out_d[k] = slew, t_next, d2 if d2 > 0 else slew
    return paid


@njit(cache=True, error_model="numpy")
def _settle(net, lib, first, run):
    """Values and states of a block at rest on its first vector."""
    run.value[1] = 1
    run.value[net.inputs] = first
    for k in range(len(net.cell)):
        s = np.int64(0)
        for p in range(3):
            if net.pins[k, p] >= 0:
                s |= np.int64(run.value[net.pins[k, p]]) << p
        run.state[k] = s
        for j in range(2):
            if net.outs[k, j] >= 0:
                run.value[net.outs[k, j]] = lib.truth[net.cell[k], s, j]


@njit(cache=True, inline="always", error_model="numpy")
def _fire(net, lib, run, events, heap_t, heap_e, e, now, zero_delay, energy):
    """Let an event take place: every cell on its net answers."""
    reached = events[e]["net"]
    value = events[e]["value"]
    run.value[reached] = value
    for q in range(net.sink_start[reached], net.sink_start[reached + 1]):
        k, p = net.sinks[q, 0], net.sinks[q, 1]
        c, s = net.cell[k], run.state[k]
        after = (s & ~(1 << p)) | (value << p)
        if after == s:
            continue
        t2, d2 = -1.0, 0.0
        for j in range(2):
            if net.outs[k, j] < 0:
                continue
            if lib.truth[c, s, j] != lib.truth[c, after, j]:
                when, delay = _move(net, lib, run, events, heap_t, heap_e, k, p, j, after, e, now, zero_delay)
                if when > t2:
                    t2, d2 = when, delay
            elif not zero_delay:
                _quicken(net, lib, run, events, heap_t, heap_e, k, p, j, now)
        energy[net.part[k]] += _pay(net, lib, run, k, p, after, events[e]["ramp"], t2, d2, now, zero_delay)
        run.state[k], run.last_pin[k], run.in_t[k] = after, p, now


@njit(cache=True, error_model="numpy")
def simulate(net, lib, bits, input_slew, zero_delay, energy, settled, toggles, found):
    """Run all steps. Fills energy and toggles (steps, parts), settled (steps,), found (steps + 1, outputs).

    Returns (share of look-ups outside the grid, −1 where it oscillates; the last step's events; those that took
    place, in order).
    """
    count, nets = len(net.cell), len(net.load_f)
    run = State(np.zeros(nets, np.int64), np.full(nets, -1), np.zeros(count, np.int64),
                np.zeros((count, _BASES), np.int64), np.zeros((count, _BASES)), np.zeros(count, np.int64),
                np.zeros(count), np.full(count, -1.0), np.zeros(count), np.full(count, -1), np.zeros(count),
                np.zeros(count, np.bool_), np.zeros(5, np.int64))
    capacity = _FIRST_CAPACITY + 4 * len(net.sinks)
    events, fired = np.zeros(capacity, EVENT), np.zeros(capacity, np.int64)
    heap_t, heap_e = np.zeros(capacity), np.zeros(capacity, np.int64)
    _settle(net, lib, bits[0], run)
    found[0] = run.value[net.outputs]
    for step in range(len(bits) - 1):
        run.counts[0] = run.counts[1] = run.counts[4] = 0
        run.touched[:] = False
        run.last_event[:] = -1
        for k in range(len(net.inputs)):
            if bits[step + 1, k] != bits[step, k]:
                _schedule(run, events, heap_t, heap_e, net.inputs[k], np.int64(bits[step + 1, k]), 0.0, input_slew,
                          input_slew, -1)
        while run.counts[1] > 0:
            now, e = _pop(heap_t, heap_e, run.counts[1])
            run.counts[1] -= 1
            if not events[e]["pending"]:
                continue
            events[e]["pending"] = 0
            fired[run.counts[4]] = e
            run.counts[4] += 1
            reached = events[e]["net"]
            if net.driver_part[reached] >= 0:
                toggles[step, net.driver_part[reached]] += 1
            if net.watched[reached]:
                settled[step] = max(settled[step], now)
            if run.counts[0] + 2 * (net.sink_start[reached + 1] - net.sink_start[reached]) >= len(events):
                if len(events) > MOST_EVENTS:
                    return -1.0, events[:0], fired[:0]
                events = np.concatenate((events, np.zeros(len(events), EVENT)))
                fired = np.concatenate((fired, np.zeros(len(fired), np.int64)))
                heap_t = np.concatenate((heap_t, np.zeros(len(heap_t))))
                heap_e = np.concatenate((heap_e, np.zeros(len(heap_e), np.int64)))
            _fire(net, lib, run, events, heap_t, heap_e, e, now, zero_delay, energy[step])
        for k in range(count):
            if run.touched[k]:
                for b in range(run.bases[k]):
                    energy[step, net.part[k]] += run.weight[k, b] * _change_j(net, lib, k, run.base[k, b],
                                                                             run.state[k], run.slew[k])
        found[step + 1] = run.value[net.outputs]
    return run.counts[3] / max(1, run.counts[2]), events, fired[:run.counts[4]]
