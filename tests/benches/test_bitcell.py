"""The 6T cell's benches: the margin's definition, refusal of wrong circuits, and physics on real decks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from charlib.benches import bitcell_access, bitcell_leakage, bitcell_snm, bitcell_write_margin
from charlib.benches.base import Run
from charlib.benches.bitcell_snm import static_noise_margin
from charlib.errors import BadInput, LogicError
from charlib.pdk import Pdk, installed, load_pdk
from charlib.spice.deck import Deck
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.live import LiveEngine, library_path
from charlib.table import Origin

V_IN: FloatArray = np.linspace(0.0, 1.0, 4001)
needs_spice = pytest.mark.skipif(library_path() is None or "freepdk45" not in installed(),
                                 reason="libngspice or the FreePDK45 cards are not on this machine")


def inverter(threshold_v: float, high_v: float = 1.0, low_v: float = 0.0, gain: float = 1e6) -> FloatArray:
    """A piecewise-linear inverter on 1 V."""
    middle = 0.5 * (high_v + low_v)
    return np.clip(middle - gain * (V_IN - threshold_v), low_v, high_v)


@pytest.mark.parametrize(("left", "right", "margin_v"), [
    (inverter(0.5), inverter(0.5), 0.5),  # two ideal steps: two half-VDD squares
    (inverter(0.4), inverter(0.4), 0.4),  # 0.4 x 0.6 boxes: the side of both squares is 0.4
    (inverter(0.3), inverter(0.5), 0.3),  # 0.3 x 0.5 and 0.7 x 0.5: the smaller lobe decides
    (inverter(0.5, low_v=0.2), inverter(0.5, low_v=0.2), 0.3),  # read: the low side is lifted
])
def test_margin_of_step_inverters(left: FloatArray, right: FloatArray, margin_v: float) -> None:
    assert static_noise_margin(V_IN, left, right) == pytest.approx(margin_v, abs=2e-3)


@pytest.mark.parametrize("gain", [2.0, 4.0, 10.0])
def test_margin_of_finite_gain(gain: float) -> None:
    """Ramp y = 1/2 - g(x - 1/2): the largest square touches a ramp's upper knee and the other ramp's.

    The knees lie at (1/2 - 1/2g, 1) and, mirrored, at (0, 1/2 + 1/2g): a square of side 1/2 - 1/2g fits.
    """
    curve = inverter(0.5, gain=gain)
    assert static_noise_margin(V_IN, curve, curve) == pytest.approx(0.5 - 0.5 / gain, abs=2e-3)


def test_margin_is_negative_where_a_lobe_is_missing() -> None:
    """A left inverter that never goes below the right one's threshold cannot hold q high."""
    assert static_noise_margin(V_IN, inverter(0.5, low_v=0.6), inverter(0.5)) < 0


def test_margin_falls_by_the_noise_put_in_series() -> None:
    """Seevinck's meaning: noise of d volts in both inputs, in the bad direction, takes d off the margin."""
    shift = 0.1
    clean = static_noise_margin(V_IN, inverter(0.5, gain=8), inverter(0.5, gain=8))
    noisy = static_noise_margin(V_IN, inverter(0.5 - shift, gain=8), inverter(0.5 + shift, gain=8))
    assert noisy == pytest.approx(clean - shift, abs=2e-3)


def test_margin_refuses_an_unordered_sweep() -> None:
    with pytest.raises(BadInput, match="increasing input"):
        static_noise_margin(V_IN[::-1], inverter(0.5), inverter(0.5))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: bitcell_access.AccessPoint("tt", 25.0, 0.8, rows=1), "rows"),
    (lambda: bitcell_access.AccessPoint("tt", 25.0, -1.0, rows=16), "vdd_v"),
    (lambda: bitcell_snm.SnmPoint("tt", 25.0, 0.8, mode="write"), "hold, read"),
])
def test_points_are_validated(make: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


@pytest.fixture(scope="module")
def pdk() -> Pdk:
    return load_pdk("freepdk45")


@pytest.fixture(scope="module")
def engine() -> LiveEngine:
    return LiveEngine()


def run(bench: Any, pdk: Pdk, engine: LiveEngine, corner: str = "tt", temp_c: float = 25.0, vdd_v: float = 0.8,
        **structure: Any) -> dict[str, float]:
    point = bench.point_type(corner, temp_c, vdd_v, **structure)
    measures: dict[str, float] = bench.measure(pdk, point, engine.run(bench.deck(pdk, point)))
    return measures


@pytest.fixture(scope="module")
def access(pdk: Pdk, engine: LiveEngine) -> tuple[Deck, Waveforms, dict[str, float]]:
    bench, point = bitcell_access.BENCH, bitcell_access.AccessPoint("tt", 25.0, 0.8, rows=16)
    deck = bench.deck(pdk, point)
    waves = engine.run(deck)
    return deck, waves, bench.measure(pdk, point, waves)


@pytest.mark.ngspice
@needs_spice
class TestAccess:
    def test_read_energy_is_the_bitlines_charge(
            self, pdk: Pdk, access: tuple[Deck, Waveforms, dict[str, float]]) -> None:
        """Precharge alone pays C·VDD·ΔV: wire, 16 pass-gate junctions, precharge and write-driver drains.

        Junction and overlap are taken as 0.8 fF/µm of width, typical of 45 nm; hence the loose bound.
        """
        measures, v = access[2], 0.8
        wire_f = 16 * pdk.geometry.bitcell_height_m * pdk.geometry.wire_f_per_m
        width_m = (16 * 1.5 + 3 + 2 + 5) * pdk.geometry.wmin_m
        by_hand_j = (wire_f + 0.8e-9 * width_m) * v * v
        assert measures["read_vpre_j"] == pytest.approx(by_hand_j, rel=0.35)
        assert measures["read_vpre_j"] > wire_f * v * v * (1 - bitcell_access.RAIL_SHARE)

    def test_order_of_operations(self, access: tuple[Deck, Waveforms, dict[str, float]]) -> None:
        measures = access[2]
        assert measures["read_j"] < measures["write_same_j"] < measures["write_flip_j"]
        assert 0 < measures["read_100mv_s"] < measures["read_full_swing_s"]
        assert 0 < measures["write_s"] < measures["read_full_swing_s"]

    @pytest.mark.parametrize(("broken", "message"), [
        ("xwl hold wlen wlnear vwl 0 wordline_driver", "cell sides high"),  # the wordline never opens
        ("xpre bl blb pcb vpre precharge drive=1", "not precharged"),
        ("xwd d wen bl blb vwr 0 write_driver drive=1", "bitlines pulled low"),
    ])
    def test_a_broken_column_is_refused(self, pdk: Pdk, engine: LiveEngine, broken: str, message: str) -> None:
        bench, point = bitcell_access.BENCH, bitcell_access.AccessPoint("tt", 25.0, 0.8, rows=4)
        deck = bench.deck(pdk, point)
        assert broken in deck.body
        repair = "rgone wlnear 0 1\n" if "wlnear" in broken else ""
        mutant = replace(deck, body=deck.body.replace(broken, repair))
        with pytest.raises(LogicError, match=message):
            bench.measure(pdk, point, engine.run(mutant))


@pytest.mark.ngspice
@needs_spice
class TestRest:
    def test_leakage_grows_with_temperature_and_to_the_fast_corner(self, pdk: Pdk, engine: LiveEngine) -> None:
        bench = bitcell_leakage.BENCH
        leak = [[run(bench, pdk, engine, corner, temp_c)["leakage_0_w"] for temp_c in (-40.0, 25.0, 125.0)]
                for corner in ("ss", "tt", "ff")]
        assert np.all(np.diff(leak, axis=0) > 0)
        assert np.all(np.diff(leak, axis=1) > 0)

    def test_both_stored_values_leak_alike_and_gmin_does_not_show(self, pdk: Pdk, engine: LiveEngine) -> None:
        bench, point = bitcell_leakage.BENCH, bitcell_leakage.BitcellLeakagePoint("ss", -40.0, 0.8)
        deck = bench.deck(pdk, point)
        fine = replace(deck, options={**deck.options, "gmin": "1e-16"})
        usual, finer = (bench.measure(pdk, point, engine.run(d)) for d in (deck, fine))
        assert usual["leakage_0_w"] == pytest.approx(usual["leakage_1_w"], rel=1e-3)
        assert usual["leakage_0_w"] == pytest.approx(finer["leakage_0_w"], rel=0.01)

    def test_a_cell_that_lost_its_state_is_refused(self, pdk: Pdk, engine: LiveEngine) -> None:
        bench, point = bitcell_leakage.BENCH, bitcell_leakage.BitcellLeakagePoint("tt", 25.0, 0.8)
        deck = bench.deck(pdk, point)
        flipped = replace(deck, body=deck.body + "rshort xcell1.q 0 1\n")
        with pytest.raises(LogicError, match="cell storing 1"):
            bench.measure(pdk, point, engine.run(flipped))

    @pytest.mark.parametrize(("corner", "temp_c"), [("ss", 125.0), ("tt", 25.0), ("ff", -40.0)])
    def test_read_margin_below_hold_margin_below_half_supply(
            self, pdk: Pdk, engine: LiveEngine, corner: str, temp_c: float) -> None:
        hold_v, read_v = (run(bitcell_snm.BENCH, pdk, engine, corner, temp_c, mode=mode)["snm_v"]
                          for mode in ("hold", "read"))
        assert 0 < read_v < hold_v < 0.4

    def test_write_margins_lie_within_the_supply(self, pdk: Pdk, engine: LiveEngine) -> None:
        measures = run(bitcell_write_margin.BENCH, pdk, engine)
        assert 0 < measures["write_bitline_v"] < 0.8
        assert 0 < measures["write_wordline_v"] < 0.8

    def test_a_cell_that_cannot_be_written_has_a_negative_margin(self, pdk: Pdk, engine: LiveEngine) -> None:
        """Pull-ups 12 times as wide win against the access device until BL lies below ground."""
        bench, point = bitcell_write_margin.BENCH, bitcell_write_margin.WriteMarginPoint("tt", 25.0, 0.8)
        deck = bench.deck(pdk, point)
        strong = deck.body.replace("pmos_pu w=wmin", "pmos_pu w='12*wmin'")
        assert strong != deck.body
        measures = bench.measure(pdk, point, engine.run(replace(deck, body=strong)))
        assert measures["write_bitline_v"] < 0

    def test_margins_of_all_kinds_fold_under_one_name(self, pdk: Pdk, engine: LiveEngine) -> None:
        origin = Origin(pdk.name, pdk.sha256, engine.version, "test", "fresh", "2020-01-01T00:00:00+00:00")
        tables = []
        kinds: list[tuple[Any, list[dict[str, str]]]] = [
            (bitcell_snm.BENCH, [{"mode": m} for m in bitcell_snm.MODES]), (bitcell_write_margin.BENCH, [{}])]
        for bench, structures in kinds:
            points = [bench.point_type("tt", 25.0, 0.8, **s) for s in structures]
            runs = [Run(str(k), point, bench.measure(pdk, point, engine.run(bench.deck(pdk, point))))
                    for k, point in enumerate(points)]
            tables += bench.fold(runs, origin)
        assert {table.name for table in tables} == {"bitcell_margin_v"}
        labels = [label for table in tables for label in table.axis("margin").points]
        assert sorted(map(str, labels)) == ["hold_snm", "read_snm", "write_bitline", "write_wordline"]
