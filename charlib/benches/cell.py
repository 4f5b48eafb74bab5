"""Combinational cells: energy and delay of every single-input transition, and pin capacitance.

The stimulus walks once along every edge of the input hypercube in both directions (an Eulerian circuit), so
each transition is taken from each state of the other inputs, and the truth table is checked at every stop.

Conventions. Inputs are ideal ramps of length slew_s (0–100 %), whose energy is excluded: it belongs to the
driver's load. Energy is the cell's supply energy over a window less leakage, load included, averaged over
the transitions that change an output. Delay is 50 % to 50 %, the worst of all arcs.

Time step: 1/40 of the window unit; inverter, NAND2 and full adder at tt, 0.8 V and 10 ps slew then differ
from a run at a tenth of that step by at most 0.3 % in energy and 0.2 % in delay.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, grouped, ids, last_crossing, read_bit, table_of, window_unit_s
from charlib.errors import BadInput
from charlib.gates import CELLS, evaluate_cell
from charlib.netlist import netlist_ports
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table
from charlib.units import FEMTO, PICO

MEASURED_CELLS = ("inv", "nand2", "nor2", "xor2", "mux2", "half_adder", "full_adder")
#: window in units: a cell settles in a few of them even behind the slowest ramp
WINDOW_UNITS = 8
STEPS_A_UNIT = 40
CONVENTIONS = {
    "energy": "mean supply energy per output-changing single-input transition over all states, load included, "
              "leakage subtracted, input sources excluded",
    "delay": "50 % to 50 %, worst arc",
    "slew": "0-100 % ramp of an ideal source",
    "load": "one capacitor on every output",
    "capacitance": "mean |charge| of the input source over a swing / VDD, Miller charge included",
    "wires": "none inside the cell; schematic with estimated diffusions",
}


@dataclass(frozen=True)
class CellPoint(Point):
    """A cell with a ramp and a load."""

    cell: str
    slew_s: float
    load_f: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell not in MEASURED_CELLS:
            raise BadInput(f"cell: '{self.cell}' is unknown; known are {', '.join(MEASURED_CELLS)}")


def hypercube_walk(inputs: int) -> list[tuple[int, ...]]:
    """States of an Eulerian circuit over the directed hypercube: every single-bit change once, both ways."""
    unused = {state: list(range(inputs)) for state in range(1 << inputs)}
    path, stack = [], [0]
    while stack:  # Hierholzer
        state = stack[-1]
        if unused[state]:
            stack.append(state ^ (1 << unused[state].pop()))
        else:
            path.append(stack.pop())
    return [tuple(state >> k & 1 for k in range(inputs)) for state in reversed(path)]


class CellBench:
    """Bench "cell"; see the module's text."""

    kind = "cell"
    point_type = CellPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        slews: tuple[float, ...] = (10 * PICO, 40 * PICO)
        loads: tuple[float, ...] = (0.5 * FEMTO, 4 * FEMTO)
        if preset == "quick":
            loads = (0.5 * FEMTO, 2 * FEMTO, 4 * FEMTO)
        if preset == "full":
            slews = (5 * PICO, 10 * PICO, 20 * PICO, 40 * PICO, 80 * PICO)
            loads = (0.25 * FEMTO, 0.5 * FEMTO, 1 * FEMTO, 2 * FEMTO, 4 * FEMTO, 8 * FEMTO)
        for cell, slew_s, load_f in itertools.product(MEASURED_CELLS, slews, loads):
            yield {"cell": cell, "slew_s": slew_s, "load_f": load_f}

    def estimated_cost_s(self, point: CellPoint) -> float:
        return float(0.02 * 4 ** CELLS[point.cell].inputs)

    def _nets(self, point: CellPoint) -> tuple[tuple[str, ...], tuple[str, ...]]:
        ports = netlist_ports(point.cell)[:-2]
        inputs = CELLS[point.cell].inputs
        return ports[:inputs], ports[inputs:]

    def _window_s(self, pdk: Pdk, point: CellPoint) -> float:
        loaded = 1 + point.load_f / (8 * FEMTO)
        return WINDOW_UNITS * window_unit_s(pdk, point) * loaded + 2 * point.slew_s

    @remembered
    def deck(self, pdk: Pdk, point: CellPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        inputs, outputs = self._nets(point)
        walk, window_s = hypercube_walk(len(inputs)), self._window_s(pdk, point)
        body = pdk.header(point.corner) + pdk.subckts(point.cell) + dc("dd", "vdd", point.vdd_v)
        for k, net in enumerate(inputs):
            bits = [state[k] for state in walk]
            body += logic(net, net, bits, window_s, point.slew_s, point.vdd_v)
        body += f"xdut {' '.join([*inputs, *outputs])} vdd 0 {point.cell}\n"
        body += "".join(f"cl_{net} {net} 0 {point.load_f:.6g}\n" for net in outputs)
        return Deck(f"cell {point.cell}", body, point.temp_c,
                    Transient(window_s / 200, len(walk) * window_s, window_unit_s(pdk, point) / STEPS_A_UNIT),
                    self._measures(point, inputs, outputs, len(walk), window_s))

    def _measures(self, point: CellPoint, inputs: Sequence[str], outputs: Sequence[str], stops: int,
                  window_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        for k in range(stops):
            begin, end = k * window_s, (k + 1) * window_s
            measures += [Energy(f"e{k}", "vdd", point.vdd_v, begin, end),
                         Energy(f"rest{k}", "vdd", point.vdd_v, end - 0.1 * window_s, end)]
            measures += [Energy(f"in{k}_{net}", f"v{net}", point.vdd_v, begin, end) for net in inputs]
            measures += [Sample(f"y{k}_{net}", net, end - 0.02 * window_s) for net in outputs]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: CellPoint, waves: Waveforms) -> dict[str, float]:
        deck = self.deck(pdk, point)
        raw = evaluate(deck.measures, waves)
        inputs, outputs = self._nets(point)
        walk, window_s = hypercube_walk(len(inputs)), self._window_s(pdk, point)
        energies, delays, charges = [], [], []
        leakage: dict[tuple[int, ...], float] = {}
        for k, state in enumerate(walk):
            got = tuple(read_bit(raw[f"y{k}_{net}"], point.vdd_v, f"{point.cell} {net}") for net in outputs)
            expect(f"{point.cell}{state}", got, evaluate_cell(point.cell, *state), deck, waves)
            leakage[state] = raw[f"rest{k}"] / (0.1 * window_s)
            if k == 0:
                continue
            pin = next(j for j in range(len(inputs)) if walk[k - 1][j] != state[j])
            charges.append(abs(raw[f"in{k}_{inputs[pin]}"]) / point.vdd_v**2)
            before = evaluate_cell(point.cell, *walk[k - 1])
            moved = [j for j in range(len(outputs)) if before[j] != got[j]]
            if moved:
                energies.append(raw[f"e{k}"] - leakage[state] * window_s)
                edge_s = k * window_s + 0.5 * point.slew_s
                last_s = [last_crossing(waves, [outputs[j]], point.vdd_v / 2, k * window_s, window_s) for j in moved]
                delays += [time_s - edge_s for time_s in last_s if time_s is not None]
        return {"energy_j": float(np.mean(energies)), "delay_s": max(delays), "input_f": float(np.mean(charges)),
                **{k: raw[k] for k in ("e1", "e2")}}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        axes = {"cell": "", "slew_s": "s", "load_f": "F"}

        def full(name: str, unit: str, key: str) -> Table:
            return table_of(name, unit, axes, runs, origin, lambda run: [
                {"cell": run.point.cell, "slew_s": run.point.slew_s, "load_f": run.point.load_f,
                 "value": run.measures[key]}], CONVENTIONS)

        def averaged(name: str, unit: str, key: str) -> Table:
            return table_of(name, unit, {"cell": ""}, [group[0] for group in grouped(runs, "cell").values()], origin,
                            lambda run: [_mean_row(run, grouped(runs, "cell"), key)], CONVENTIONS)

        return [full("cell_energy_j", "J", "energy_j"), full("cell_delay_s", "s", "delay_s"),
                averaged("cell_input_f", "F", "input_f")]


def _mean_row(run: Run, groups: dict[tuple[Any, ...], list[Run]], key: str) -> dict[str, Any]:
    point = run.point
    group = groups[(point.corner, point.temp_c, point.vdd_v, point.cell)]
    return {"cell": point.cell, "value": float(np.mean([r.measures[key] for r in group])), "run": ids(group)}


BENCH = CellBench()
