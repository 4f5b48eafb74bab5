"""The pair tables at one operating point as arrays, indexed by cell and input state, for timed composition.

States are integers, input k at bit k. Energies hold what the cell's own supply gives, less C·V² of the loads that
rise: a cell with two outputs has two loads, and whoever composes adds each where it is. What the pins draw beyond
their mean capacitance (Miller charge, state dependence) is a correction in joules: the driver of a pin that ends high
pays V·Q, of which C·V² of a rising pin is already in the driver's own energy, through its load.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.advice import RETRY, characterise_command
from charlib.compose.pulses import (
    KNOTS,
    SHIFT_KNOTS,
    Move,
    PulseSample,
    WidthSample,
    ideal_curves,
    pulse_curves,
    shift_curve,
)
from charlib.errors import BadInput
from charlib.gates.block import CELLS, evaluate_cell
from charlib.netlist import netlist_ports
from charlib.table import Table, TableSet

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
NEEDED = ("pair_energy_j", "pair_charge_c", "pair_delay_s", "pair_ramp_s")
PULSE_TABLES = ("pulse_energy_j", "pulse_width_s", "pulse_cross_s")
STATES, PINS, OUTPUTS = 8, 3, 2


@dataclass(frozen=True)
class CellLibrary:
    """Cells at one operating point. C cells, 8 states, S slews, L loads.

    energy_j (C, 8, 8, S, L) from state to state; pin_j (C, 8, 8, 3, S, L) the pins' corrections; delay_s, ramp_s
    (C, 8, 8, 2, S, L) of single-input changes that move the output, NaN elsewhere; pin_f (C, 3); outputs (C, 8, 2);
    leakage_w (C, 8), NaN where not tabulated; fraction (C, 8, 3, 3, P, knots) and width
    (…, 3, 2, P, knots) of short pulses by state, first and second pin (and output) at P loads, and shift
    (…, 3, 2, P, shift knots), see :mod:`charlib.compose.pulses`.
    """

    cells: tuple[str, ...]
    vdd_v: float
    slews_s: FloatArray
    loads_f: FloatArray
    energy_j: FloatArray
    pin_j: FloatArray
    delay_s: FloatArray
    ramp_s: FloatArray
    pin_f: FloatArray
    outputs: IntArray
    leakage_w: FloatArray
    pulse_loads_f: FloatArray
    fraction: FloatArray
    width: FloatArray
    shift: FloatArray
    runs: tuple[str, ...]

    def index(self, cell: str) -> int:
        """Where a cell is; BadInput where it is not characterised."""
        if cell not in self.cells:
            raise BadInput(f"cell '{cell}': the pair tables do not hold it; they hold {', '.join(self.cells)}; run "
                           "bench cell_pair without a grid of its own on the same kit and operating point")
        return self.cells.index(cell)


def _states(label: str) -> tuple[int, int]:
    """(before, after) of "01>11", input k at bit k."""
    before, after = (sum(int(bit) << k for k, bit in enumerate(text)) for text in label.split(">"))
    return before, after


def _rows(table: Table, axis: str) -> Iterator[tuple[list[str], FloatArray]]:
    """(words of the label, values over slew and load) of each point of the category axis."""
    order = [a.name for a in table.axes]
    values = np.moveaxis(table.values, [order.index(axis), order.index("slew_s"), order.index("load_f")], [0, 1, 2])
    for label, part in zip(table.axis(axis).points, values, strict=True):
        yield str(label).split(), part


def cell_library(tables: TableSet, *, corner: str, temp_c: float, vdd_v: float) -> CellLibrary:
    """The library at one operating point. BadInput where a table is missing, or has no such point, or has a hole."""
    missing = [name for name in NEEDED if name not in tables]
    if missing:
        pdk = next((table.origin.pdk for table in tables.values() if table.origin.pdk), "KIT")
        command = characterise_command(pdk, tables=missing, corner=corner, temp_c=temp_c, vdd_v=vdd_v)
        raise BadInput(f"cell library: table '{missing[0]}' is missing; run {command} and give its "
                       "folder with --tables")
    parts = {name: tables[name].select(corner=corner, temp_c=temp_c, vdd_v=vdd_v) for name in NEEDED}
    rows = {name: list(_rows(part, {"pair_energy_j": "pair", "pair_charge_c": "pin"}.get(name, "out")))
            for name, part in parts.items()}
    cells = tuple(dict.fromkeys(words[0] for words, _ in rows["pair_energy_j"]))
    slews = np.array(parts["pair_energy_j"].axis("slew_s").points, dtype=float)
    loads = np.array(parts["pair_energy_j"].axis("load_f").points, dtype=float)
    shape = (len(cells), STATES, STATES)
    grid = (len(slews), len(loads))
    energy, charge = np.zeros((*shape, *grid)), np.zeros((*shape, PINS, *grid))
    delay, ramp = np.full((*shape, OUTPUTS, *grid), np.nan), np.full((*shape, OUTPUTS, *grid), np.nan)
    ports = {cell: netlist_ports(cell)[:-2] for cell in cells}
    for words, values in rows["pair_energy_j"]:
        energy[cells.index(words[0]), *_states(words[1])] = values
    for words, values in rows["pair_charge_c"]:
        charge[cells.index(words[0]), *_states(words[1]), ports[words[0]].index(words[2])] = values
    for name, found in (("pair_delay_s", delay), ("pair_ramp_s", ramp)):
        for words, values in rows[name]:
            out = ports[words[0]].index(words[2]) - CELLS[words[0]].inputs
            found[cells.index(words[0]), *_states(words[1]), out] = values
    if np.isnan(energy).any() or np.isnan(charge).any():
        raise BadInput(f"cell library: the pair tables have a hole; {RETRY}")
    pin_f = _pin_capacitance(cells, charge, vdd_v)
    outputs = np.zeros((len(cells), STATES, OUTPUTS), dtype=np.int64)
    for c, cell in enumerate(cells):
        for state in range(1 << CELLS[cell].inputs):
            bits = evaluate_cell(cell, *(state >> k & 1 for k in range(CELLS[cell].inputs)))
            outputs[c, state, :len(bits)] = bits
    for c, s0, s1 in np.ndindex(*shape):
        rising = int(np.sum(outputs[c, s1] > outputs[c, s0]))
        if energy[c, s0, s1].any():
            energy[c, s0, s1] -= rising * loads[np.newaxis, :] * vdd_v**2
    runs = tuple(sorted({run for value in parts["pair_energy_j"].runs.ravel() for run in str(value).split(",")}))
    moves = (len(cells), STATES, PINS, PINS)
    pulsed = all(name in tables for name in PULSE_TABLES)
    pulse_loads = (np.array(tables["pulse_energy_j"].axis("load_f").points, dtype=float) if pulsed
                   else loads[:1])
    ideal_f, ideal_w = ideal_curves()
    made = CellLibrary(cells, vdd_v, slews, loads, energy, _pin_energy(charge, pin_f, vdd_v), delay, ramp, pin_f,
                       outputs, _leakage(tables, cells, corner, temp_c, vdd_v),
                       pulse_loads,
                       np.broadcast_to(ideal_f, (*moves, len(pulse_loads), len(KNOTS))).copy(),
                       np.broadcast_to(ideal_w, (*moves, OUTPUTS, len(pulse_loads), len(KNOTS))).copy(),
                       np.zeros((*moves, OUTPUTS, len(pulse_loads), len(SHIFT_KNOTS))), runs)
    if pulsed:
        energies, widths, crosses = (tables[name].select(corner=corner, temp_c=temp_c, vdd_v=vdd_v)
                                     for name in PULSE_TABLES)
        _pulses(made, energies, widths)
        _shifts(made, crosses)
    return made


def look(library: CellLibrary, table: FloatArray, slew_s: float, load_f: float) -> float:
    """Bilinear between the grid's points, the last slope beyond it. table: (S, L)."""
    slews, loads = library.slews_s, library.loads_f
    i = int(np.clip(np.searchsorted(slews, slew_s) - 1, 0, len(slews) - 2))
    j = int(np.clip(np.searchsorted(loads, load_f) - 1, 0, len(loads) - 2))
    x, y = (slew_s - slews[i]) / (slews[i + 1] - slews[i]), (load_f - loads[j]) / (loads[j + 1] - loads[j])
    return float((table[i, j] * (1 - x) + table[i + 1, j] * x) * (1 - y)
                 + (table[i, j + 1] * (1 - x) + table[i + 1, j + 1] * x) * y)


def change_j(library: CellLibrary, cell: int, before: int, after: int, slew_s: float, load_f: float) -> float:
    """Supply energy of one change of a cell's state, every output loaded with load_f."""
    if before == after:
        return 0.0
    rising = int(np.sum(library.outputs[cell, after] > library.outputs[cell, before]))
    return look(library, library.energy_j[cell, before, after], slew_s, load_f) + rising * load_f * library.vdd_v**2


def _samples(library: CellLibrary, table: Table) -> Iterator[tuple[int, list[int], Move, int, FloatArray, float]]:
    """(cell, states, move, output or −1, (separation, slew, load), value) of each point of a pulse table."""
    axes = [axis.name for axis in table.axes]
    for index in np.argwhere(~np.isnan(table.values)):
        at = {name: table.axis(name).points[i] for name, i in zip(axes, index, strict=True)}
        cell, label, *out = str(at["move"]).split()
        states = [sum(int(bit) << k for k, bit in enumerate(text)) for text in label.split(">")]
        move = states[0], (states[0] ^ states[1]).bit_length() - 1, (states[1] ^ states[2]).bit_length() - 1
        output = netlist_ports(cell).index(out[0]) - CELLS[cell].inputs if out else -1
        where = np.array([float(at[name]) for name in ("separation_s", "slew_s", "load_f")])
        yield library.index(cell), states, move, output, where, float(table.values[tuple(index)])


def _pulses(library: CellLibrary, energy: Table, width: Table) -> None:
    """Fill in the curves of the cells that the pulse tables hold."""
    samples: dict[tuple[int, int], dict[Move, list[PulseSample]]] = {}
    widths: dict[tuple[int, int], dict[tuple[Move, int], list[WidthSample]]] = {}
    for table in (energy, width):
        for c, states, move, output, (separation_s, slew_s, load_f), value in _samples(library, table):
            crossing = _crossings(library, c, states, output, slew_s, load_f, separation_s)
            if crossing is None:
                continue
            x, scale_s = crossing
            key = c, int(np.flatnonzero(library.pulse_loads_f == load_f)[0])
            if output >= 0:
                sample = WidthSample(move, output, x, value / scale_s)
                widths.setdefault(key, {}).setdefault((move, output), []).append(sample)
                continue
            one, two = (change_j(library, c, *pair, slew_s, load_f) for pair in itertools.pairwise(states))
            both = change_j(library, c, states[0], states[2], slew_s, load_f)
            samples.setdefault(key, {}).setdefault(move, []).append(
                PulseSample(move, x, one + two - both, value - both))
    for key, found in samples.items():
        c, k = key
        library.fraction[c, ..., k, :], library.width[c, ..., k, :] = pulse_curves(
            found, widths.get(key, {}), STATES, PINS, OUTPUTS)


def _shifts(library: CellLibrary, cross: Table) -> None:
    """Fill in how much earlier or later an output moves that one of two changes moves."""
    found: dict[tuple[int, Move, int, int], list[tuple[float, float]]] = {}
    for c, states, move, output, (separation_s, slew_s, load_f), value in _samples(library, cross):
        first = library.outputs[c, states[0], output] != library.outputs[c, states[1], output]
        arc = (states[0], states[1]) if first else (states[1], states[2])
        delay_s = look(library, library.delay_s[c, *arc, output], slew_s, load_f)
        shift_s = value - delay_s - (0.0 if first else separation_s)
        at = int(np.flatnonzero(library.pulse_loads_f == load_f)[0])
        found.setdefault((c, move, output, at), []).append((separation_s / delay_s, shift_s / delay_s))
    for (c, move, output, at), pairs in found.items():
        library.shift[c, *move, output, at] = shift_curve(*zip(*pairs, strict=True))


def _crossings(library: CellLibrary, cell: int, states: list[int], output: int, slew_s: float, load_f: float,
               separation_s: float) -> tuple[float, float] | None:
    """(x, mean delay) of a double move; None unless both changes move an output.

    output: the one in question, or −1 for the later of all that move.
    """
    delays = []
    wanted = range(OUTPUTS) if output < 0 else (output,)
    for before, after in itertools.pairwise(states):
        arcs = [look(library, library.delay_s[cell, before, after, j], slew_s, load_f)
                for j in wanted if not np.isnan(library.delay_s[cell, before, after, j, 0, 0])]
        if not arcs:
            return None
        delays.append(max(arcs))
    scale_s = sum(delays) / 2
    return (separation_s + delays[1] - delays[0]) / scale_s, scale_s


def _pin_capacitance(cells: tuple[str, ...], charge: FloatArray, vdd_v: float) -> FloatArray:
    """Mean |charge| over a swing / VDD of each pin, over its single moves, slews and loads."""
    found = np.zeros((len(cells), PINS))
    for c, cell in enumerate(cells):
        inputs = CELLS[cell].inputs
        for pin in range(inputs):
            moves = [charge[c, state, state ^ (1 << pin), pin] for state in range(1 << inputs)]
            found[c, pin] = np.abs(np.array(moves)).mean() / vdd_v
    return found


def _pin_energy(charge: FloatArray, pin_f: FloatArray, vdd_v: float) -> FloatArray:
    """V·Q of pins that end high, less the C·V² of those that rise."""
    state = np.arange(STATES)
    high = (state[:, np.newaxis] >> np.arange(PINS)) & 1
    ends_high = high[np.newaxis, np.newaxis, :, :, np.newaxis, np.newaxis]
    rises = ((1 - high)[:, np.newaxis, :] * high[np.newaxis, :, :])[np.newaxis, ..., np.newaxis, np.newaxis]
    lumped = pin_f[:, np.newaxis, np.newaxis, :, np.newaxis, np.newaxis] * vdd_v**2
    return np.asarray(ends_high * charge * vdd_v - rises * lumped)


def _leakage(tables: TableSet, cells: tuple[str, ...], corner: str, temp_c: float, vdd_v: float) -> FloatArray:
    found = np.full((len(cells), STATES), np.nan)
    if "state_leakage_w" not in tables:
        return found
    table = tables["state_leakage_w"]
    for label in map(str, table.axis("state").points):
        cell, *bits = label.split()
        if cell in cells:
            state = sum(int(bit[-1]) << k for k, bit in enumerate(bits))
            found[cells.index(cell), state] = table.at(corner=corner, temp_c=temp_c, vdd_v=vdd_v, state=label)
    return found
