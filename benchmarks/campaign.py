"""What a campaign costs beyond the solver: small inverter transients through the whole of it.

Three figures side by side on the same points: the solver's own analysis time, the campaign on one worker
(start of the worker, decks, parsing, measures, storage), and a bare loop that alters one resident circuit
and runs it. Run: python benchmarks/campaign.py [POINTS]. The last line is one JSON object.

overhead_ratio: campaign wall × workers / sum of solver times. bare_loop_ratio: campaign wall × workers /
wall of the bare loop. rss_growth_mb_per_1000_points: slope of the worker's resident memory.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.campaign import Job, RunRow, Store, Summary, run_campaign
from charlib.errors import HimcError, LogicError
from charlib.pdk import Pdk, load_pdk
from charlib.spice import Deck, Delay, Energy, Sample, Transient, Waveforms, evaluate
from charlib.spice.live import LiveEngine
from charlib.spice.sources import dc
from charlib.table import Origin, Table
from charlib.units import FEMTO, NANO, PICO

DEFAULT_POINTS = 500
START_S, HIGH_S, STOP_S = 0.1 * NANO, 0.4 * NANO, 1.0 * NANO
SLEWS_S = (5 * PICO, 10 * PICO, 20 * PICO, 40 * PICO)
LOADS_F = (0.5 * FEMTO, 1 * FEMTO, 2 * FEMTO, 4 * FEMTO, 8 * FEMTO)
VDD_RANGE_V = (0.8, 1.1)
#: largest steps tried, coarse to fine; taken is the first whose measures agree with a tenth of it
STEPS_S = (50 * PICO, 20 * PICO, 10 * PICO, 5 * PICO, 2 * PICO, 1 * PICO)
CONVERGED = 0.01


@dataclass(frozen=True)
class InverterPoint(Point):
    slew_s: float
    load_f: float
    step_s: float


class InverterBench:
    """One inverter, one pulse: both delays and the supply's energy."""

    kind = "benchmark_inverter"
    point_type = InverterPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({"slew_s": slew_s, "load_f": load_f} for slew_s, load_f in itertools.product(SLEWS_S, LOADS_F))

    @remembered
    def deck(self, pdk: Pdk, point: Any) -> Deck:
        half_v = point.vdd_v / 2
        body = (pdk.header(point.corner) + pdk.subckts("inv") + dc("dd", "vdd", point.vdd_v)
                + f"vin a 0 pulse({pulse(point)})\nx1 a y vdd 0 inv\ncl y 0 {point.load_f:.10g}\n")
        measures = (
            Energy("energy_j", "vdd", point.vdd_v, 0.0, STOP_S),
            Delay("fall_s", "a", half_v, "rise", "y", half_v, "fall"),
            Delay("rise_s", "a", half_v, "fall", "y", half_v, "rise"),
            Sample("low_v", "y", START_S + HIGH_S), Sample("high_v", "y", STOP_S),
        )
        return Deck("benchmark inverter", body, point.temp_c, Transient(point.step_s, STOP_S, point.step_s), measures)

    def measure(self, pdk: Pdk, point: Any, waves: Waveforms) -> dict[str, float]:
        found = evaluate(self.deck(pdk, point).measures, waves)
        if not (found["low_v"] < 0.1 * point.vdd_v and found["high_v"] > 0.9 * point.vdd_v):
            raise LogicError(f"the inverter gave {found['low_v']:.3f} V and {found['high_v']:.3f} V")
        return found

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        units = {"corner": "", "temp_c": "°C", "vdd_v": "V", "slew_s": "s", "load_f": "F"}
        return [Table.from_records("benchmark_energy_j", "J", units, [
            {**run.point.coordinates(), "value": run.measures["energy_j"], "run": run.id} for run in runs], origin)]

    def estimated_cost_s(self, point: Any) -> float:
        return 0.01


BENCH = InverterBench()


def pulse(point: InverterPoint) -> str:
    """Low, delay, rise, fall, width, period of the input, for the deck and for `alter`."""
    return (f"0 {point.vdd_v:.10g} {START_S:.10g} {point.slew_s:.10g} {point.slew_s:.10g} {HIGH_S:.10g} "
            f"{10 * STOP_S:.10g}")


def converged_step_s(pdk: Pdk, engine: LiveEngine) -> float:
    """The coarsest step whose energy and delays are within 1 % of those at a tenth of it, at the ends of the grid."""
    ends = [InverterPoint("tt", 25.0, vdd_v, slew_s, load_f, STEPS_S[0]) for vdd_v, slew_s, load_f in
            itertools.product(VDD_RANGE_V, (SLEWS_S[0], SLEWS_S[-1]), (LOADS_F[0], LOADS_F[-1]))]
    for step_s in STEPS_S:
        worst = 0.0
        for point in ends:
            coarse, fine = (_run(pdk, engine, replace(point, step_s=s)) for s in (step_s, step_s / 10))
            worst = max([worst, *(abs(coarse[name] / fine[name] - 1) for name in ("energy_j", "fall_s", "rise_s"))])
        if worst < CONVERGED:
            return step_s
    raise HimcError(f"no step of {STEPS_S} s converges within {CONVERGED:.0%}")


def _run(pdk: Pdk, engine: LiveEngine, point: InverterPoint) -> dict[str, float]:
    return BENCH.measure(pdk, point, engine.run(BENCH.deck(pdk, point)))


def grid_points(count: int, step_s: float) -> list[InverterPoint]:
    """About `count` points: 4 slews × 5 loads × as many supplies as needed."""
    supplies = np.linspace(*VDD_RANGE_V, max(2, round(count / (len(SLEWS_S) * len(LOADS_F)))))
    return [InverterPoint("tt", 25.0, round(float(vdd_v), 4), slew_s, load_f, step_s)
            for vdd_v, slew_s, load_f in itertools.product(supplies, SLEWS_S, LOADS_F)]


def bare_loop(pdk: Pdk, engine: LiveEngine, points: Sequence[InverterPoint]) -> tuple[list[dict[str, float]], float]:
    """One resident circuit, altered and run for each point, as one would write it by hand. (measures, solver s)"""
    engine.load(BENCH.deck(pdk, points[0]))
    measures: list[dict[str, float]] = []
    solver_s = 0.0
    for point in points:
        engine._session.engine_log.clear()
        engine._command("destroy all")
        engine._command(f"alter vdd = {point.vdd_v:.10g}")
        engine._command(f"alter cl = {point.load_f:.10g}")
        engine._command(f"alter @vin[pulse] = [ {pulse(point)} ]")
        deck = BENCH.deck(pdk, point)
        waves = engine.analyse(deck)
        measures.append(evaluate(deck.measures, waves))
        solver_s += waves.solver_s
    return measures, solver_s


def campaign(pdk: Pdk, points: Sequence[InverterPoint]) -> tuple[Summary, dict[str, RunRow]]:
    """The points through a campaign on one worker, in a database of their own."""
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "benchmark.sqlite") as store:
        summary = run_campaign([Job(BENCH.kind, point) for point in points], store, pdk, {BENCH.kind: BENCH},
                               LiveEngine, workers=1)
        return summary, store.rows(summary.ids.values())


def disagreement(points: Sequence[InverterPoint], bare: Sequence[dict[str, float]], summary: Summary,
                 rows: dict[str, RunRow]) -> float:
    """Largest relative difference between the two ways, over energy and delays."""
    worst = 0.0
    for point, values in zip(points, bare, strict=True):
        row = rows[summary.ids[Job(BENCH.kind, point)]]
        worst = max([worst, *(abs(values[n] / row.measures[n] - 1) for n in ("energy_j", "fall_s", "rise_s"))])
    return worst


def rss_slope_mb_per_1000(rss_b: Sequence[tuple[int, int]]) -> float:
    """Growth of resident memory over the later four fifths of the runs, by least squares."""
    runs, resident = np.asarray(rss_b[len(rss_b) // 5:], dtype=float).T
    return float(np.polyfit(runs, resident, 1)[0]) * 1000 / 1e6


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_POINTS
    try:
        pdk, engine = load_pdk("freepdk45"), LiveEngine()
        step_s = converged_step_s(pdk, engine)
        points = grid_points(count, step_s)
        summary, rows = campaign(pdk, points)
        if summary.failures:
            raise HimcError(f"{len(summary.failures)} points failed, the first: {summary.failures[0][2]}")
        begin = time.perf_counter()
        bare, bare_solver_s = bare_loop(pdk, engine, points)
        bare_s = time.perf_counter() - begin
    except HimcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    steps = np.mean([row.steps for row in rows.values()])
    result = {
        "overhead_ratio": round(summary.wall_s / summary.solver_s, 4),
        "points_per_s": round(len(points) / summary.wall_s, 2),
        "bare_loop_ratio": round(summary.wall_s / bare_s, 4),
        "rss_growth_mb_per_1000_points": round(rss_slope_mb_per_1000(summary.rss_b), 3),
        "bare_overhead_ratio": round(bare_s / bare_solver_s, 4),
        "points": len(points), "step_s": step_s, "mean_steps": round(float(steps), 1), "engine": engine.version,
        "largest_disagreement": disagreement(points, bare, summary, rows),
    }
    print(f"{len(points)} inverter transients, {engine.version}, step {step_s / PICO:g} ps, {steps:.0f} steps a run")
    print(f"{'':24}{'wall s':>10}{'solver s':>10}{'ratio':>8}{'ms/point':>10}")
    for name, wall_s, solver_s in (("campaign, one worker", summary.wall_s, summary.solver_s),
                                   ("bare alter-and-run", bare_s, bare_solver_s)):
        each_ms = 1e3 * wall_s / len(points)
        print(f"{name:24}{wall_s:>10.2f}{solver_s:>10.2f}{wall_s / solver_s:>8.2f}{each_ms:>10.2f}")
    print(f"memory growth {result['rss_growth_mb_per_1000_points']} MB per 1000 points; "
          f"largest disagreement {result['largest_disagreement']:.1e}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
