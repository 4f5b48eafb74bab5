"""The clock tree's leaf in SPICE: paid once, by the flip-flop's table and the tree's, as transistors draw it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from charlib.benches import BENCHES
from charlib.benches.base import Run
from charlib.benches.clock_leaf import BUFFER_DRIVE, PARTS, ClockLeafBench, ClockLeafPoint, leaf_wire
from charlib.benches.flip_flop import LOAD_F
from charlib.benches.stimulus import window_unit_s
from charlib.errors import LogicError
from charlib.gates.serial import CLOCK_FAN_OUT
from charlib.pdk import load_pdk
from charlib.spice.deck import Deck, Energy, Transient
from charlib.spice.live import LiveEngine, library_path
from charlib.spice.measure import evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin
from charlib.units import FEMTO

simulated = pytest.mark.skipif(library_path() is None, reason="libngspice is not on this machine")
TT = ("tt", 25.0, 0.8)
ORIGIN = Origin(pdk="freepdk45", pdk_sha256="", engine="ngspice", revision="", status="fresh", created="")
#: how far the tables may lie from transistors simulated whole
WITHIN = 0.03


@cache
def engine() -> LiveEngine:
    return LiveEngine()


@cache
def measured(kind: str, vdd_v: float) -> dict[str, float]:
    bench, pdk = BENCHES[kind], load_pdk("freepdk45")
    point = bench.point_type("tt", 25.0, vdd_v)
    return bench.measure(pdk, point, engine().run(bench.deck(pdk, point)))


def flat_j(vdd_v: float, toggling: int) -> float:
    """Joules a cycle of a whole leaf on one supply, less leakage; `toggling` flip-flops change every cycle."""
    pdk, point = load_pdk("freepdk45"), ClockLeafPoint("tt", 25.0, vdd_v)
    cycle_s, cycles = 10 * window_unit_s(pdk, point), 6
    body = pdk.header("tt") + pdk.subckts("dff", "buffer", "inv") + dc("dd", "vdd", vdd_v)
    body += logic("clk", "clk", [0, 1] * cycles + [0], cycle_s / 2, 0.3 * window_unit_s(pdk, point), vdd_v)
    body += logic("d", "d", [k % 2 for k in range(cycles + 1)], cycle_s, 0.3 * window_unit_s(pdk, point), vdd_v)
    body += f"xbuf clk near vdd 0 buffer drive={BUFFER_DRIVE}\n" + leaf_wire("near", "far", pdk)
    body += "".join(f"xff{k} {'d' if k < toggling else '0'} far q{k} vdd 0 dff\n" for k in range(CLOCK_FAN_OUT))
    body += "".join(f"cq{k} q{k} 0 {LOAD_F:.6g}\n" for k in range(toggling))
    # from between two edges to the same place four cycles later; the rests of all four states of data and clock
    drawn = Energy("drawn", "vdd", vdd_v, 1.3 * cycle_s, 5.3 * cycle_s)
    rests = [Energy(f"rest{k}", "vdd", vdd_v, at * cycle_s, (at + 0.1) * cycle_s)
             for k, at in enumerate((1.35, 1.85, 2.35, 2.85))]
    waves = engine().run(Deck("whole leaf", body, 25.0, Transient(cycle_s / 200, 5.5 * cycle_s, cycle_s / 600),
                              (drawn, *rests), save=("v(q0)", f"v(q{CLOCK_FAN_OUT - 1})"),
                              initial={f"q{k}": 0.0 for k in range(CLOCK_FAN_OUT)}))
    raw = evaluate((drawn, *rests), waves)
    high = waves.signal("v(q0)")[waves.axis > 1.5 * cycle_s].max()
    assert (high > 0.9 * vdd_v) == (toggling > 0)
    return raw["drawn"] / 4 - sum(raw[f"rest{k}"] for k in range(4)) / 0.4


@simulated
@pytest.mark.ngspice
@pytest.mark.parametrize("toggling", [0, 8])
@pytest.mark.parametrize("vdd_v", [0.8, 1.0])
def test_the_tables_of_a_leaf_come_to_a_leaf_simulated_whole(vdd_v: float, toggling: int) -> None:
    """At 1 V a flip-flop behind an inverter of its own draws 8 % less than behind a leaf's slower edge."""
    flip_flop, leaf = measured("flip_flop", vdd_v), measured("clock_leaf", vdd_v)
    tables_j = CLOCK_FAN_OUT * (flip_flop["clock_internal_j"] + leaf["leaf_j"]) + toggling * flip_flop["data_j"]
    assert tables_j == pytest.approx(flat_j(vdd_v, toggling), rel=WITHIN)


@simulated
@pytest.mark.ngspice
def test_a_table_holds_a_leaf_its_trunk_and_what_they_are_checked_against() -> None:
    leaf = measured("clock_leaf", 0.8)
    (table,) = ClockLeafBench().fold([Run("r", ClockLeafPoint(*TT), leaf)], ORIGIN)
    at = {part: float(table.at(corner="tt", temp_c=25.0, vdd_v=0.8, part=part)) for part in PARTS}
    assert at == {part: leaf[f"{part}_j"] for part in PARTS}
    # 4 + 1 buffers above 64, each of them at least a leaf's
    assert 5 / 64 * at["leaf"] < at["trunk"] < 3 * 5 / 64 * at["leaf"]
    assert 1 * FEMTO < at["leaf"] < at["flat"] < 10 * FEMTO


@simulated
@pytest.mark.ngspice
@pytest.mark.parametrize(("right", "wrong", "message"), [
    ("xff3 vone ", "xff3 0 ", r"^clock leaf, cycle 0, flip-flop 3: the circuit gives 0, right is 1$"),
    ("xgate0 0 ", "xgate0 vone ",
     r"^clock gate closed: \(high, low\): the circuit gives \(1, 0\), right is \(0, 0\)$"),
])
def test_a_wrong_bit_or_a_gate_that_leaks_has_no_energy(right: str, wrong: str, message: str) -> None:
    bench, pdk, point = ClockLeafBench(), load_pdk("freepdk45"), ClockLeafPoint(*TT)
    deck = bench.deck(pdk, point)
    assert right in deck.body
    with pytest.raises(LogicError, match=message):
        bench.measure(pdk, point, engine().run(replace(deck, body=deck.body.replace(right, wrong))))


@simulated
@pytest.mark.ngspice
def test_a_closed_gate_still_costs_and_an_open_one_more() -> None:
    leaf = measured("clock_leaf", 0.8)
    assert 0.5 * FEMTO < leaf["gate_closed_j"] < leaf["gate_open_j"] < 3 * leaf["gate_closed_j"]
