"""Cells arc by arc: delay, transition and energy of every single-input transition in every state of the other inputs.

The stimulus is that of bench "cell": one walk along every edge of the input hypercube, in both directions, the truth
table checked at every stop. Here nothing is averaged: what timing and power libraries need is kept by arc.

Conventions. Inputs are ideal ramps, slew_s from 0 to 100 %; their energy is excluded. Delay 50 % to 50 %; transition
20 to 80 %, as it stands. Energy is the cell's supply energy over the window less the new state's rest power, load
included. Capacitance of a pin is |charge| of its source over a swing / VDD, Miller charge included.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run, remembered
from charlib.benches.cell import BENCH as CELL_BENCH
from charlib.benches.cell import MEASURED_CELLS, CellPoint, hypercube_walk
from charlib.benches.stimulus import expect, grouped, ids, last_crossing, read_bit
from charlib.errors import LogicError
from charlib.gates import evaluate_cell
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.table import Origin, Table
from charlib.units import FEMTO, PICO

#: thresholds of a transition, as shares of VDD
LOW_SHARE, HIGH_SHARE = 0.2, 0.8
EDGES = {1: "rise", 0: "fall"}
SLEWS_S = (5 * PICO, 10 * PICO, 20 * PICO, 40 * PICO, 80 * PICO)
LOADS_F = (0.25 * FEMTO, 0.5 * FEMTO, 1 * FEMTO, 2 * FEMTO, 4 * FEMTO)
CONVENTIONS = {
    "arc": "CELL PIN edge > OUTPUT edge | state of the other inputs",
    "delay": "50 % to 50 %",
    "transition": "20 to 80 % of the supply, not scaled",
    "slew": "0-100 % ramp of an ideal source",
    "energy": "supply energy of one transition of one input, load included, leakage of the new state subtracted, "
              "input sources excluded",
    "load": "one capacitor on every output",
    "capacitance": "mean |charge| of the input source over a swing / VDD, Miller charge included",
}


@dataclass(frozen=True)
class ArcPoint(CellPoint):
    """A cell with a ramp and a load."""


@dataclass(frozen=True)
class Move:
    """One transition of the walk: its window, the pin that moves, before and after."""

    window: int
    pin: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    def others(self, names: Sequence[str]) -> str:
        """The other inputs' state, "b=1 c=0"; "-" where there is none."""
        return " ".join(f"{name}={bit}" for k, (name, bit) in enumerate(zip(names, self.after, strict=True))
                        if k != self.pin) or "-"


def moves(inputs: int) -> list[Move]:
    """Every transition of the walk, in order."""
    walk = hypercube_walk(inputs)
    return [Move(k, next(j for j in range(inputs) if walk[k - 1][j] != walk[k][j]), walk[k - 1], walk[k])
            for k in range(1, len(walk))]


class CellArcBench:
    """Bench "cell_arc"; see the module's text."""

    kind = "cell_arc"
    point_type = ArcPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        if preset != "full":
            return
        for cell, slew_s, load_f in itertools.product(MEASURED_CELLS, SLEWS_S, LOADS_F):
            yield {"cell": cell, "slew_s": slew_s, "load_f": load_f}

    def estimated_cost_s(self, point: ArcPoint) -> float:
        return CELL_BENCH.estimated_cost_s(point)

    @remembered
    def deck(self, pdk: Pdk, point: ArcPoint) -> Deck:
        return replace(CELL_BENCH.deck(pdk, point), title=f"arcs of cell {point.cell}")

    def measure(self, pdk: Pdk, point: ArcPoint, waves: Waveforms) -> dict[str, float]:
        """Keys: "delay PIN edge > OUT edge | STATE", "transition …", "energy PIN edge | STATE", "pin_f PIN edge", and
        "rest STATE", the power at the end of a window, which is noisier than bench "cell_leakage".
        """
        deck = self.deck(pdk, point)
        raw = evaluate(deck.measures, waves)
        inputs, outputs = CELL_BENCH._nets(point)
        window_s, cell, v = CELL_BENCH._window_s(pdk, point), point.cell, point.vdd_v
        found: dict[str, float] = {}
        charges: dict[str, list[float]] = {}
        for k, state in enumerate(hypercube_walk(len(inputs))):
            got = tuple(read_bit(raw[f"y{k}_{net}"], v, f"{cell} {net}") for net in outputs)
            expect(f"{cell}{state}", got, evaluate_cell(cell, *state), deck, waves)
            label = " ".join(f"{name}={bit}" for name, bit in zip(inputs, state, strict=True))
            found[f"rest {label}"] = raw[f"rest{k}"] / (0.1 * window_s)
        for move in moves(len(inputs)):
            pin, k, others = inputs[move.pin], move.window, move.others(inputs)
            arc = f"{pin} {EDGES[move.after[move.pin]]}"
            label = " ".join(f"{name}={bit}" for name, bit in zip(inputs, move.after, strict=True))
            found[f"energy {arc} | {others}"] = raw[f"e{k}"] - found[f"rest {label}"] * window_s
            charges.setdefault(arc, []).append(abs(raw[f"in{k}_{pin}"]) / v**2)
            before, after = evaluate_cell(cell, *move.before), evaluate_cell(cell, *move.after)
            for j, net in enumerate(outputs):
                if before[j] != after[j]:
                    full = f"{arc} > {net} {EDGES[after[j]]} | {others}"
                    edge_s = k * window_s + 0.5 * point.slew_s
                    found[f"delay {full}"], found[f"transition {full}"] = self._times(
                        waves, net, after[j], v, k * window_s, window_s, edge_s, full)
        return found | {f"pin_f {arc}": float(np.mean(values)) for arc, values in charges.items()}

    def _times(self, waves: Waveforms, net: str, value: int, vdd_v: float, begin_s: float, window_s: float,
               edge_s: float, what: str) -> tuple[float, float]:
        """(delay, transition): from the input's middle to the last crossing, and between the thresholds before it."""
        middle_s = last_crossing(waves, [net], vdd_v / 2, begin_s, window_s)
        if middle_s is None:
            raise LogicError(f"{what}: the output never crosses VDD/2")
        signal = waves.signal(f"v({net})")
        first, last = (LOW_SHARE, HIGH_SHARE) if value else (HIGH_SHARE, LOW_SHARE)
        edge = "rise" if value else "fall"
        starts = crossings(waves.axis, signal, first * vdd_v, edge)  # type: ignore[arg-type]
        ends = crossings(waves.axis, signal, last * vdd_v, edge)  # type: ignore[arg-type]
        starts, ends = starts[(starts > begin_s) & (starts <= middle_s)], ends[ends >= middle_s]
        if not len(starts) or not len(ends):
            raise LogicError(f"{what}: the output does not pass from {first:g} to {last:g} VDD")
        return middle_s - edge_s, float(ends[0] - starts[-1])

    def headline(self, measures: Mapping[str, float]) -> dict[str, float]:
        """What the convergence check looks at: delays and energies."""
        suffix = {"delay": "_s", "energy": "_j", "transition": "_s"}
        return {f"{name}{suffix[name.split()[0]]}": value for name, value in measures.items()
                if name.split()[0] in suffix}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        axes = {**PVT_UNITS, "arc": "", "slew_s": "s", "load_f": "F"}

        def arcs(quantity: str) -> list[dict[str, Any]]:
            return [{**_where(run.point), "slew_s": run.point.slew_s, "load_f": run.point.load_f,
                     "arc": f"{run.point.cell} {name.partition(' ')[2]}", "value": value, "run": run.id}
                    for run in runs for name, value in run.measures.items() if name.startswith(f"{quantity} ")]

        pins = []
        for group in grouped(runs, "cell").values():
            pins += [{**_where(group[0].point), "pin": f"{group[0].point.cell} {name.partition(' ')[2]}",
                      "value": float(np.mean([run.measures[name] for run in group])), "run": ids(group)}
                     for name in group[0].measures if name.startswith("pin_f ")]

        made = [Table.from_records(f"arc_{quantity}_{unit.lower()}", unit, axes, arcs(quantity), origin, CONVENTIONS)
                for quantity, unit in (("delay", "s"), ("transition", "s"), ("energy", "J"))]
        return [*made, Table.from_records("pin_f", "F", {**PVT_UNITS, "pin": ""}, pins, origin, CONVENTIONS)]


def _where(point: Point) -> dict[str, Any]:
    return {"corner": point.corner, "temp_c": point.temp_c, "vdd_v": point.vdd_v}


BENCH = CellArcBench()
