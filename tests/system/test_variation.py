"""Mismatch and errors of tables: what averages out, what the slowest of many sets, what moves together."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import Found, load_tables
from system.design import evaluate, make_reader, slowed
from system.estimate import estimate
from system.macro import Clock
from system.options import EstimateOptions
from system.uncertainty import convergence, total, uncertainty
from system.variation import tail

OPTIONS = EstimateOptions(width=0.25, image_px=32)


def test_twice_the_compartments_halve_the_variance_and_never_shorten_the_clock() -> None:
    reader = make_reader(OPTIONS)
    small, large = tail(reader, 10_000), tail(reader, 20_000)
    assert large.energy_sigma == pytest.approx(small.energy_sigma / math.sqrt(2))
    assert large.factor > small.factor > 1.0
    assert small.low < small.factor < small.high
    assert small.run_ids


def test_the_quantile_is_that_of_the_slowest_of_many() -> None:
    """Against plain Monte Carlo: the 99 % quantile of the maximum of 200 normals."""
    found = tail(make_reader(OPTIONS), 200)
    rng = np.random.default_rng(0)
    slowest = rng.standard_normal((20_000, 200)).max(axis=1)
    assert found.sigmas == pytest.approx(np.quantile(slowest, 0.99), rel=0.03)
    assert NormalDist().cdf(found.sigmas) ** 200 == pytest.approx(0.99)


def test_only_the_compartment_waits_for_its_slowest() -> None:
    paths = {"compartment": 1.0, "adder_tree": 1.05}
    assert slowed(Clock(1.05, "adder_tree", paths), 1.02).limited_by == "adder_tree"
    found = slowed(Clock(1.05, "adder_tree", paths), 1.1)
    assert (found.cycle_s, found.limited_by) == (1.1, "compartment")


def test_more_macros_of_one_chip_keep_the_energy_and_slow_the_clock() -> None:
    few, many = (evaluate(replace(OPTIONS, macros=str(n)), make_reader(OPTIONS)) for n in (400, 1600))
    assert many.clock.cycle_s > few.clock.cycle_s
    assert many.tail.energy_sigma < few.tail.energy_sigma


def test_errors_of_tables() -> None:
    tables = load_tables(shipped_tables_dir("freepdk45"))
    block = tables["block_energy_j"]
    where: dict[str, float | str] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8, "block": "input_register",
                                     "exponent_spread": 1.0, "zero_share": 0.0}
    at_point, between = (uncertainty(block, at, block.point(**at)) for at in (where, where | {"vdd_v": 0.93}))
    assert set(at_point) == {"sampling", "convergence", "composition"}
    assert between["interpolation"] == block.interpolation_error["vdd_v"] / 2
    assert total(between) > total(at_point) > 0.02
    assert convergence("freepdk45", "compartment_energy_j") == pytest.approx(0.0049, abs=1e-4)
    assert convergence("no_kit", "compartment_energy_j") == 0.0
    assert uncertainty(block, where, Found(0.0, 0.0, ())) == {}


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    return estimate(OPTIONS)


def test_every_headline_has_range_and_interval(document: dict[str, object]) -> None:
    imc = document["imc"]
    assert isinstance(imc, dict)
    for boundary, found in imc.items():
        for name in ("energy_j_per_image", "time_s_per_image"):
            low, high = found[f"{name}_interval"]
            assert low < high
            assert low <= found[name] <= high
            assert found[f"{name}_range"][0] <= found[name] <= found[f"{name}_range"][1]
        names = [scenario["name"] for scenario in found["scenarios"]]
        assert {"corner=ss", "corner=ff", "temp_c=125.0", "constants=low"} <= set(names), boundary


def test_drivers_account_for_interval_and_range(document: dict[str, object]) -> None:
    """Statistics add up in squares to the interval; no single scenario reaches beyond the range."""
    imc, drivers = document["imc"], document["drivers"]
    assert isinstance(imc, dict)
    assert isinstance(drivers, dict)
    for boundary, rows in drivers.items():
        energy, found = imc[boundary]["energy_j_per_image"], imc[boundary]
        halves = [row["energy_j"][1] - energy for row in rows if row["kind"] == "statistic"]
        assert math.hypot(*halves) == pytest.approx(found["energy_j_per_image_interval"][1] - energy)
        for row in rows:
            if row["kind"] == "scenario":
                assert found["energy_j_per_image_range"][0] <= row["energy_j"][0]
                assert row["energy_j"][1] <= found["energy_j_per_image_range"][1]
        widths = [row["energy_j"][1] - row["energy_j"][0] for row in rows]
        assert widths == sorted(widths, reverse=True)


def test_a_point_that_only_some_tables_hold_leaves_a_scenario_out() -> None:
    """At 0.9 V Stillmaker and Baas refuse 28 nm, and of PTM only one kit is shipped there."""
    found = estimate(replace(OPTIONS, node_nm=45, vdd_v=0.9, corner="ss"))
    assert found["scenarios_without_tables"] == []
    names = [s["name"] for s in found["imc"]["macro_only"]["scenarios"]]
    assert not any(name.startswith("projection") for name in names)
    slow = estimate(replace(OPTIONS, corner="ss"))  # the kits of the PTM route have no such corner
    assert slow["scenarios_without_tables"] == ["projection=ptm HP", "projection=ptm LP"]
    assert estimate(replace(OPTIONS, temp_c=60.0))["scenarios_without_tables"] == [
        "projection=ptm HP", "projection=ptm LP"]
