"""Mismatch and errors of tables: what averages out, what the slowest of many sets, what moves together."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import Found, load_tables
from system.design import clock_interval, evaluate, make_reader, slowed
from system.estimate import NO_MONTE_CARLO, estimate
from system.macro import Clock
from system.notes import notes
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


def test_a_scenario_that_cannot_be_is_left_out_with_the_reason() -> None:
    """At 0.9 V Stillmaker and Baas refuse 28 nm, and of PTM only one kit is shipped there."""
    found = estimate(replace(OPTIONS, node_nm=45, vdd_v=0.9, corner="ss"))
    assert found["left_out"] == []
    names = [s["name"] for s in found["imc"]["macro_only"]["scenarios"]]
    assert not any(name.startswith("projection") for name in names)
    slow = estimate(replace(OPTIONS, corner="ss"))  # the kits of the PTM route have no such corner
    assert [(row["scenario"], row["of"]) for row in slow["left_out"]] == [
        ("projection=ptm HP", "energy and time"), ("projection=ptm LP", "energy and time")]
    assert all(row["why"].startswith("corner: 'ss' is not in the tables of ptm32") for row in slow["left_out"])
    warm = estimate(replace(OPTIONS, temp_c=60.0))["left_out"]
    assert [row["scenario"] for row in warm] == ["projection=ptm HP", "projection=ptm LP"]
    fast = estimate(replace(OPTIONS, cycle_s=3.2e-10))["left_out"]
    assert {row["scenario"]: row["why"] for row in fast}["corner=ss"].startswith("cycle_s: 3.2e-10 s is shorter than")


def test_a_route_without_monte_carlo_stands_in_no_range_of_time(document: dict[str, object]) -> None:
    """Its factor of 1 stood among others of 1.07."""
    imc, left_out, macro = document["imc"], document["left_out"], document["macro"]
    assert isinstance(imc, dict)
    assert isinstance(left_out, list)
    assert isinstance(macro, dict)
    assert {"scenario": "projection=ptm HP", "of": "time", "why": NO_MONTE_CARLO} in left_out
    assert macro["clock_mismatch"]["known"]
    rows = {row["name"]: row for row in imc["macro_only"]["scenarios"]}
    assert imc["macro_only"]["energy_j_per_image_range"][0] <= rows["projection=ptm HP"]["energy_j_per_image"]
    drivers = document["drivers"]
    assert isinstance(drivers, dict)
    time_s = imc["macro_only"]["time_s_per_image"]
    assert next(row for row in drivers["macro_only"] if row["driver"] == "projection")["time_s"] == [time_s, time_s]


def test_a_kit_without_monte_carlo_says_so_and_is_compared_with_its_like() -> None:
    options = replace(OPTIONS, pdk="ptm32hp", node_nm=45)
    assert not tail(make_reader(options), 1000).known
    found = estimate(options)
    assert found["macro"]["clock_mismatch"]["known"] is False
    assert {row["of"] for row in found["left_out"]} == {"energy and time"}


def test_the_interval_of_time_holds_every_cause_of_the_clock(document: dict[str, object]) -> None:
    """Mismatch alone, convergence alone, and both as squares."""
    design = evaluate(OPTIONS, make_reader(OPTIONS))
    nominal = design.clock.cycle_s
    apart = {causes: clock_interval(design, causes)[1] / nominal - 1
             for causes in (("mismatch",), ("convergence",), None)}
    assert apart["mismatch",] == pytest.approx(design.tail.high / design.tail.factor - 1)
    assert apart["convergence",] == pytest.approx(1.96 * 0.0049, rel=0.02)
    assert apart[None] == pytest.approx(math.hypot(apart["mismatch",], apart["convergence",]))
    assert clock_interval(evaluate(replace(OPTIONS, cycle_s=3e-9), make_reader(OPTIONS))) == (3e-9, 3e-9)


@pytest.mark.parametrize(("changes", "carried"), [({}, False), ({"corner": "ss"}, True), ({"temp_c": 60.0}, True),
                                                  ({"node_nm": 45, "vdd_v": 0.9}, True)])
def test_mismatch_of_another_operating_point_is_said(changes: dict[str, Any], carried: bool) -> None:
    found = estimate(replace(OPTIONS, **changes))
    at = found["macro"]["clock_mismatch"]["at"]
    assert (at["corner"], at["temp_c"], at["vdd_v"]) == ("tt", 25.0, 0.8)
    said = "mismatch, of clock and leakage, is carried from tt, 25 °C, 0.8 V, where it was simulated"
    assert (said in notes(found)) == carried
