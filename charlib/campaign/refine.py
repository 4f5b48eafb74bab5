"""Grids that check themselves: midpoints are simulated, the table's miss there is its interpolation error.

Along each numeric axis of a bench's grid (ramp, load, activity, supply, temperature) the middle of every interval is
simulated at all other grid points of the first corner, folded like any run, and compared with what the table
interpolates.
The largest miss of each axis stands in the table. With a tolerance, the middles that miss by more join the grid, and
the next round looks between them, until none misses or the rounds are over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from charlib.benches.base import Bench, make_point
from charlib.campaign.plan import Job
from charlib.table import Table

MOST_ROUNDS = 4
#: an energy below this share of the table's largest is compared with that share
ENERGY_FLOOR = 0.05
#: intervals wider than this ratio are halved geometrically
GEOMETRIC = 2.0
OPERATING = ("temp_c", "vdd_v")

#: simulate (or reuse) jobs and fold them
RunAndFold = Callable[[Sequence[Job]], Mapping[str, Table]]


@dataclass(frozen=True)
class Miss:
    """The worst miss of one table at one middle of one axis."""

    table: str
    kind: str
    axis: str
    middle: float
    error: float


def numeric_axes(jobs: Iterable[Job]) -> dict[str, list[float]]:
    """Axis -> its values in order, for the real-valued fields of one kind's points that take at least two values."""
    jobs = list(jobs)
    real = [f.name for f in fields(jobs[0].point) if f.type in ("float", float)]
    found = {name: sorted({float(getattr(job.point, name)) for job in jobs}) for name in real}
    return {name: values for name, values in found.items() if len(values) > 1}


def middle(low: float, high: float) -> float:
    """Geometric middle of a wide interval of positive numbers, else the arithmetic one; four digits."""
    value = math.sqrt(low * high) if low > 0 and high / low > GEOMETRIC else 0.5 * (low + high)
    return float(f"{value:.4g}")


def middle_jobs(jobs: Sequence[Job], bench: Bench, axis: str, values: Sequence[float]) -> dict[float, list[Job]]:
    """Middle -> jobs with the axis there, at every other grid point of the first corner."""
    corner = jobs[0].point.corner
    lower = [job for job in jobs if job.point.corner == corner]
    result: dict[float, list[Job]] = {}
    for low, high in itertools.pairwise(values):
        at = middle(low, high)
        moved = [Job(job.kind, make_point(bench.point_type, {**job.point.coordinates(), axis: at}))
                 for job in lower if math.isclose(getattr(job.point, axis), low, rel_tol=1e-9)]
        result[at] = list(dict.fromkeys(moved))
    return result


def miss(table: Table, middles: Table) -> float:
    """Largest relative difference between simulated middles and what the table gives there."""
    floor = ENERGY_FLOOR * float(abs(table.values[~_nan(table)]).max()) if table.unit == "J" else 0.0
    worst = 0.0
    for record in middles.to_frame().to_dict("records"):
        value = record["value"]
        if math.isnan(value):
            continue
        where = {axis.name: record[axis.name] for axis in table.axes}
        worst = max(worst, abs(float(table.at(**where)) - value) / max(abs(value), floor, 1e-300))
    return worst


def _nan(table: Table) -> Any:
    return table.values != table.values


def check_interpolation(jobs: Sequence[Job], benches: Mapping[str, Bench], run_and_fold: RunAndFold,
                        tables: Mapping[str, Table]) -> list[Miss]:
    """Every table's miss at every middle of every numeric axis of its bench's grid."""
    misses: list[Miss] = []
    for kind in dict.fromkeys(job.kind for job in jobs):
        own = [job for job in jobs if job.kind == kind]
        for axis, values in numeric_axes(own).items():
            for at, moved in middle_jobs(own, benches[kind], axis, values).items():
                for name, folded in run_and_fold(moved).items():
                    if name in tables and any(a.name == axis for a in folded.axes):
                        misses.append(Miss(name, kind, axis, at, miss(tables[name], folded)))
    return misses


def refine(jobs: Sequence[Job], benches: Mapping[str, Bench], run_and_fold: RunAndFold,
           tolerance: float | None) -> tuple[list[Job], dict[str, Table], list[Miss]]:
    """Jobs of the grid in the end, its tables with their interpolation errors, and every miss of the last round.

    tolerance: largest miss; None measures and adds nothing.
    """
    now = list(jobs)
    for round_ in range(MOST_ROUNDS + 1):
        tables = dict(run_and_fold(now))
        misses = check_interpolation(now, benches, run_and_fold, tables)
        wrong = {(m.kind, m.axis, m.middle) for m in misses if tolerance is not None and m.error > tolerance}
        if not wrong or round_ == MOST_ROUNDS:
            break
        for kind, axis, at in sorted(wrong):
            own = [job for job in now if job.kind == kind]
            low = numeric_axes(own)[axis][0]
            now += [Job(kind, make_point(benches[kind].point_type, {**job.point.coordinates(), axis: at}))
                    for job in own if math.isclose(getattr(job.point, axis), low, rel_tol=1e-9)]
        now = list(dict.fromkeys(now))
    return now, {name: _with_errors(table, misses) for name, table in tables.items()}, misses


def _with_errors(table: Table, misses: Sequence[Miss]) -> Table:
    errors: dict[str, float] = {}
    for m in misses:
        if m.table == table.name:
            errors[m.axis] = float(f"{max(errors.get(m.axis, 0.0), m.error):.4g}")
    return replace(table, interpolation_error=errors)
