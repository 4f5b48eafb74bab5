"""An altered circuit against a fresh one, and tables against points that were held out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from charlib.benches import BENCHES
from charlib.benches.cell import CellPoint
from charlib.campaign import Campaign, Job, Store, enumerate_jobs, fold_tables, run_campaign
from charlib.campaign.refine import ENERGY_FLOOR
from charlib.pdk import installed, load_pdk
from charlib.spice.live import LiveEngine
from charlib.spice.ngspice_batch import NgspiceBatchEngine
from charlib.units import FEMTO, PICO

pytestmark = [pytest.mark.validate, pytest.mark.ngspice, pytest.mark.pdk,
              pytest.mark.skipif("freepdk45" not in installed(), reason="freepdk45 is not installed")]
POINTS = 200
CELLS = ("inv", "nand2", "nor2", "xor2")


def test_200_random_points_resident_against_ngspice_b_of_their_stored_decks(tmp_path: Path) -> None:
    """One resident engine, points in random order; then each stored deck by itself in a fresh process."""
    pdk, rng = load_pdk("freepdk45"), np.random.default_rng(7)
    points = [CellPoint("tt", float(rng.choice([25.0, 85.0])), round(float(rng.uniform(0.75, 1.1)), 3),
                        str(rng.choice(CELLS)), float(rng.uniform(5, 60)) * PICO, float(rng.uniform(0.3, 5)) * FEMTO)
              for _ in range(POINTS)]
    jobs = list(dict.fromkeys(Job("cell", point) for point in points))
    order = [jobs[k] for k in rng.permutation(len(jobs))]
    with Store.open(tmp_path / "a.sqlite") as store:
        summary = run_campaign(order, store, pdk, BENCHES, LiveEngine, workers=1)
        assert not summary.failures
        fresh, worst = NgspiceBatchEngine(), 0.0
        for job in jobs:
            row, deck = store.get(summary.ids[job]), BENCHES["cell"].deck(pdk, job.point)
            assert row.deck == deck.text()
            for name, value in BENCHES["cell"].measure(pdk, job.point, fresh.run(deck)).items():
                worst = max(worst, abs(row.measures[name] / value - 1))
    print(f"largest difference over {len(jobs)} points: {worst:.1e}")
    assert worst < 1e-4


def test_held_out_points_lie_on_the_tables(tmp_path: Path) -> None:
    """Random points inside a refined grid, simulated afresh: delay and energy against what the tables give."""
    pdk, rng = load_pdk("freepdk45"), np.random.default_rng(11)
    slews = [5 * PICO, 10 * PICO, 20 * PICO, 40 * PICO, 80 * PICO]
    loads = [0.25 * FEMTO, 0.5 * FEMTO, 1 * FEMTO, 2 * FEMTO, 4 * FEMTO, 8 * FEMTO]
    grid = [Job("cell", CellPoint("tt", 25.0, 0.9, cell, slew_s, load_f))
            for cell, slew_s, load_f in itertools.product(("inv", "nand2", "full_adder"), slews, loads)]
    held = [Job("cell", CellPoint("tt", 25.0, 0.9, str(rng.choice(["inv", "nand2", "full_adder"])),
                                  float(rng.uniform(slews[0], slews[-1])), float(rng.uniform(loads[0], loads[-1]))))
            for _ in range(60)]
    with Store.open(tmp_path / "a.sqlite") as store:
        on = run_campaign(grid, store, pdk, BENCHES, LiveEngine, workers=2)
        off = run_campaign(held, store, pdk, BENCHES, LiveEngine, workers=2)
        assert not on.failures
        assert not off.failures
        tables = {table.name: table for table in fold_tables(store, on.ids, pdk, BENCHES).whole()}
        rows = store.rows(off.ids.values())
    for name, measure in (("cell_delay_s", "delay_s"), ("cell_energy_j", "energy_j")):
        table = tables[name]
        errors = []
        for job in held:
            value = rows[off.ids[job]].measures[measure]
            floor = ENERGY_FLOOR * float(np.max(np.abs(table.values))) if table.unit == "J" else 0.0
            given = float(table.at(**job.point.coordinates()))
            errors.append(abs(given - value) / max(abs(value), floor))
        print(f"{name}: {len(errors)} held-out points, median {np.median(errors):.2%}, worst {max(errors):.2%}")
        assert np.median(errors) <= 0.02
        assert max(errors) <= 0.05


def test_every_job_of_the_quick_preset_can_be_made_for_every_installed_kit() -> None:
    for name in installed():
        pdk = load_pdk(name)
        campaign = Campaign.from_preset("quick", nominal_vdd_v=pdk.nominal_vdd_v)
        for job in enumerate_jobs(campaign, pdk, BENCHES):
            assert BENCHES[job.kind].deck(pdk, job.point).text()
