"""Grids that refine themselves, on benches whose values are known functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from charlib.benches.base import PVT_UNITS, Point
from charlib.campaign.plan import Job
from charlib.campaign.refine import middle, numeric_axes, refine
from charlib.table import Origin, Table

ORIGIN = Origin("toy", "0" * 64, "fake-1", "test", "fresh", "2020-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class StrengthPoint(Point):
    strength: float


class CurveBench:
    """delay = 1 + load²: a straight line between 1 and 4 misses its middle. Only `grid` and `point_type` are used."""

    kind = "curve"
    point_type = StrengthPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return [{"strength": load} for load in (1.0, 4.0, 16.0)]


class Simulator:
    """Runs and folds by formula, and remembers what it was asked."""

    def __init__(self, power: float) -> None:
        self.asked: list[float] = []
        self._power = power

    def __call__(self, jobs: Sequence[Job]) -> Mapping[str, Table]:
        self.asked += [job.point.strength for job in jobs]  # type: ignore[attr-defined]
        records = [{**job.point.coordinates(), "value": 1.0 + job.point.strength**self._power, "run": "r"}  # type: ignore[attr-defined]
                   for job in jobs]
        return {"delay_s": Table.from_records("delay_s", "s", {**PVT_UNITS, "strength": "1"}, records, ORIGIN)}


BENCHES: Any = {"curve": CurveBench()}
JOBS = [Job("curve", StrengthPoint("tt", 25.0, 1.0, load)) for load in (1.0, 4.0, 16.0)]


def test_without_a_tolerance_the_miss_is_measured_and_nothing_added() -> None:
    jobs, tables, misses = refine(JOBS, BENCHES, Simulator(2.0), None)
    assert jobs == JOBS
    # between 1 and 4, at 2: 1 + 4 is true, (2 + 17)/3-weighted line gives 2 + 15/3 = 7
    assert [round(m.error, 6) for m in misses if m.middle == 2.0] == [pytest.approx(0.4)]
    assert tables["delay_s"].interpolation_error["strength"] == pytest.approx(max(m.error for m in misses), rel=1e-3)


def test_a_tolerance_adds_points_until_it_is_met() -> None:
    jobs, tables, misses = refine(JOBS, BENCHES, Simulator(2.0), 0.05)
    assert max(m.error for m in misses) <= 0.05
    assert len(jobs) > len(JOBS)
    assert set(JOBS) <= set(jobs)
    table = tables["delay_s"]
    for load in (1.3, 2.7, 5.1, 11.0):
        exact = 1.0 + load**2
        assert float(table.at(corner="tt", temp_c=25.0, vdd_v=1.0, strength=load)) == pytest.approx(exact, rel=0.06)


def test_a_straight_line_needs_no_more_points() -> None:
    jobs, _, misses = refine(JOBS, BENCHES, Simulator(1.0), 0.001)
    assert jobs == JOBS
    assert max(m.error for m in misses) < 1e-9


def test_the_rounds_end() -> None:
    simulator = Simulator(9.0)
    jobs, _, misses = refine(JOBS, BENCHES, simulator, 1e-6)
    assert max(m.error for m in misses) > 1e-6  # and that is what the table then says
    assert len(jobs) <= 2 * 2**5 + 1


def test_only_real_valued_fields_with_several_values_are_axes() -> None:
    assert numeric_axes(JOBS) == {"strength": [1.0, 4.0, 16.0]}
    assert middle(1.0, 4.0) == 2.0
    assert middle(0.8, 0.9) == 0.85
    assert middle(-40.0, 25.0) == -7.5
    assert math.isclose(middle(1e-11, 4e-11), 2e-11)
