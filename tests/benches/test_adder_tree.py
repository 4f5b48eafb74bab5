"""Adder trees and the shift-accumulator: SPICE against integers and the logic model; the toggle fit by hand."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from charlib.benches.adder_tree import AdderTreeBench, AdderTreePoint, slowest_pair, toggle_table
from charlib.benches.base import Bench, Point, Run
from charlib.benches.shift_accumulator import ShiftAccumulatorBench, ShiftAccumulatorPoint, operands
from charlib.benches.structure import structure_tables
from charlib.errors import BadInput, LogicError
from charlib.gates import adder_tree, unit_delay
from charlib.gates.logic import bits_to_integers
from charlib.pdk import load_pdk
from charlib.spice.live import LiveEngine, library_path
from charlib.table import Origin
from charlib.units import FEMTO, NANO, PICO

simulated = pytest.mark.skipif(library_path() is None, reason="libngspice is not on this machine")
TT = ("tt", 25.0, 0.8)
ORIGIN = Origin(pdk="freepdk45", pdk_sha256="", engine="ngspice", revision="", status="fresh", created="")


@cache
def engine() -> LiveEngine:
    return LiveEngine()


def run(bench: Bench, point: Point) -> dict[str, float]:
    pdk = load_pdk("freepdk45")
    return bench.measure(pdk, point, engine().run(bench.deck(pdk, point)))


@pytest.mark.parametrize(("lanes", "bits"), [(2, 4), (2, 8), (4, 4), (4, 8)])
def test_the_slowest_pair_uses_the_whole_depth(lanes: int, bits: int) -> None:
    """A carry that ripples from the lowest to the highest bit exists, and the search finds it."""
    block = adder_tree(lanes, bits)
    settled = int(unit_delay(block, slowest_pair(lanes, bits)).settled_at[0])
    deepest = max(block.levels()[net] for net in block.outputs)
    assert deepest - 1 <= settled <= deepest


def test_toggle_fit_is_judged_on_the_tree_it_has_not_seen() -> None:
    def made(lanes: int, energy_j: float, toggles: float) -> Run:
        return Run(f"r{lanes}", AdderTreePoint(*TT, lanes, 4, 0.5), {"energy_j": energy_j, "toggles": toggles})

    table = toggle_table([made(2, 20e-15, 10.0), made(4, 90e-15, 40.0)], ORIGIN)
    assert table.values.item() == pytest.approx(2e-15)
    assert float(table.conventions["fit_error_relative"]) == pytest.approx(1 / 9, abs=1e-4)


def test_structure_tables() -> None:
    toggles, counts = structure_tables(ORIGIN)
    assert np.all(np.diff(toggles.values, axis=0) > 0) or toggles.values[0, 0, 0] == 0
    assert np.all(toggles.values[:, :, 0] == 0)
    assert np.all(np.diff(toggles.values[:, :, :4], axis=2) > 0)
    assert counts.at(block="adder_tree_32x16", cell="half_adder") == 31
    assert counts.at(block="shift_accumulator_8", cell="dff") == 16
    assert toggles.origin.engine == "logic-model"


@pytest.mark.parametrize(("build", "message"), [
    (lambda: AdderTreePoint(*TT, 1, 4, 0.5), r"^lanes: must be at least 2, got 1$"),
    (lambda: AdderTreePoint(*TT, 2, 0, 0.5), r"^bits: must be at least 1, got 0$"),
    (lambda: AdderTreePoint(*TT, 2, 4, 0.0), r"^activity: must lie in \(0, 1\], got 0$"),
    (lambda: ShiftAccumulatorPoint(*TT, 3, 0.5), r"^bits: 2, 4, 8 or 16 is allowed, got 3$"),
    (lambda: ShiftAccumulatorPoint(*TT, 4, 0.7), r"^activity: must lie in \(0, 0.5\] for independent bits, got 0.7$"),
])
def test_points_are_checked(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(BadInput, match=message):
        build()


def test_a_busier_serial_operand_has_more_ones() -> None:
    ones = [sum(x.bit_count() for _, x in operands(ShiftAccumulatorPoint(*TT, 8, a))) for a in (0.1, 0.25, 0.5)]
    assert ones == [1, 2, 8]


@simulated
@pytest.mark.ngspice
def test_trees_add_in_spice() -> None:
    """The measure checks every sum. A larger tree costs more and is slower; so does a busier one."""
    small = run(AdderTreeBench(), AdderTreePoint(*TT, 2, 4, 0.5))
    quiet = run(AdderTreeBench(), AdderTreePoint(*TT, 2, 4, 0.1))
    large = run(AdderTreeBench(), AdderTreePoint(*TT, 4, 4, 0.5))
    assert 0 < quiet["energy_j"] < small["energy_j"] < large["energy_j"]
    assert 100 * PICO < small["delay_s"] < large["delay_s"] < 1 * NANO
    assert 1 * FEMTO < large["energy_j"] / large["toggles"] < 5 * FEMTO


@simulated
@pytest.mark.ngspice
def test_a_wrong_sum_fails_with_its_deck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlib.benches.adder_tree.bits_to_integers",
                        lambda bits: [value ^ 1 for value in bits_to_integers(bits)])
    with pytest.raises(LogicError, match="adder tree, vector") as caught:
        run(AdderTreeBench(), AdderTreePoint(*TT, 2, 2, 0.5))
    assert ".end" in caught.value.deck_text


@simulated
@pytest.mark.ngspice
def test_shift_accumulator_multiplies_in_spice() -> None:
    got = run(ShiftAccumulatorBench(), ShiftAccumulatorPoint(*TT, 4, 0.5))
    assert 50 * FEMTO < got["energy_j"] < 1000 * FEMTO
    assert 100 * PICO < got["delay_s"] < 2 * NANO
