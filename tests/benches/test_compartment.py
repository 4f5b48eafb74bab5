"""The compartment: truth tables at both ends of PVT, what its checks refuse, and how its lines scale."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from charlib.benches import compartment as bench_module
from charlib.benches.base import Run
from charlib.benches.compartment import (
    BENCH,
    LINES,
    OPERATIONS,
    CompartmentPoint,
    latched,
    result,
    schedule,
)
from charlib.benches.compartment_circuit import FULL_COLUMNS, GROUP, SHARED_LINES, SUPPLY_OF_LINE
from charlib.benches.stimulus import window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.pdk import load_pdk
from charlib.spice.engine import Engine
from charlib.spice.measure import evaluate
from charlib.table import Origin


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_measured_reread_cycle_follows_the_opposite_result(operation: str) -> None:
    cycles = schedule(operation, "reread")
    measured = [k for k, cycle in enumerate(cycles) if cycle.label and not cycle.idle]
    assert {(cycles[k].stored, cycles[k].bit) for k in measured} == set(itertools.product((0, 1), (0, 1)))
    for k in measured:
        assert not cycles[k - 1].idle
        assert result(operation, cycles[k].stored, cycles[k].bit) != result(
            operation, cycles[k - 1].stored, cycles[k - 1].bit)


def test_held_cycles_neither_open_nor_close() -> None:
    for cycle in schedule("and", "hold"):
        assert not (cycle.label and (cycle.opens or cycle.closes) and not cycle.idle)


def test_polarity() -> None:
    assert [latched(op, 1, 1) for op in OPERATIONS] == [1, 0, 1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"rows": 1}, r"^rows: at least 2 are needed, got 1$"),
    ({"columns": 6}, r"^columns: a multiple of 4 up to 64 is needed, got 6$"),
    ({"operation": "nand"}, r"^operation: and, or, xor are known, got 'nand'$"),
    ({"vdd_v": -1.0}, r"^vdd_v: must be above 0 V, got -1$"),
])
def test_bad_points(changes: dict[str, object], message: str) -> None:
    values: dict[str, object] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8, "rows": 8, "columns": 4,
                                 "operation": "and", "read_policy": "hold", **changes}
    with pytest.raises(BadInput, match=message):
        CompartmentPoint(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def live() -> Engine:
    from charlib.spice.live import LiveEngine

    return LiveEngine()


def run(live: Engine, operation: str = "and", policy: str = "reread", corner: str = "tt", temp_c: float = 25.0,
        vdd_v: float = 0.8, columns: int = 4) -> dict[str, float]:
    pdk = load_pdk("freepdk45")
    point = CompartmentPoint(corner, temp_c, vdd_v, 4, columns, operation, policy)
    return BENCH.measure(pdk, point, live.run(BENCH.deck(pdk, point)))


@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.parametrize(("corner", "temp_c"), [("ss", -40.0), ("ff", 125.0)])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("vdd_v", [0.8])
def test_truth_table_in_spice(live: Engine, corner: str, temp_c: float, operation: str, vdd_v: float) -> None:
    """The bench itself raises LogicError on a wrong latch, or on a wire that should stay high and sinks."""
    for policy in ("reread", "hold"):
        measures = run(live, operation, policy, corner, temp_c, vdd_v)
        for line, stored, bit in itertools.product(SUPPLY_OF_LINE, (0, 1), (0, 1)):
            assert math.isfinite(measures[f"{line}_s{stored}_i{bit}"])


@pytest.mark.ngspice
@pytest.mark.pdk
def test_an_input_raised_with_the_wordline_fails(live: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the sequence: both bitlines are still high, so AND with a stored 0 gives 1."""
    monkeypatch.setattr(bench_module, "EVALUATE_U", bench_module.READ_U)
    with pytest.raises(LogicError):
        run(live)


@pytest.mark.ngspice
@pytest.mark.pdk
def test_lines_scale_with_columns_or_stand_once(live: Engine) -> None:
    one, two = run(live, policy="hold"), run(live, policy="hold", columns=2 * GROUP)
    assert two["input_logic_s1_i1"] == pytest.approx(one["input_logic_s1_i1"], rel=0.03)
    for line in ("compute_wire", "ff_data", "ff_clock"):
        assert two[f"{line}_s1_i1"] == pytest.approx(2 * one[f"{line}_s1_i1"], rel=0.05), line


@pytest.mark.ngspice
@pytest.mark.pdk
def test_energies_are_what_charge_says(live: Engine) -> None:
    """Half-selected columns discharge like the selected one: four bitlines of about C·V² in a read."""
    pdk, measures = load_pdk("freepdk45"), run(live)
    wire_f = 4 * pdk.geometry.bitcell_height_m * pdk.geometry.wire_f_per_m
    lowest = GROUP * wire_f * 0.8**2  # the wire alone, without junctions and mux
    for case in ("s0_i0", "s1_i1"):
        assert lowest < measures[f"bitline_{case}"] < 12 * lowest
    assert measures["bitline_s0_i1"] == pytest.approx(measures["bitline_s1_i1"], rel=0.05)
    assert set(LINES) == {*SUPPLY_OF_LINE, "leakage"}


@pytest.mark.ngspice
@pytest.mark.pdk
def test_what_a_deck_prints_is_stored_under_its_name(live: Engine) -> None:
    """A trace reruns the deck and compares by name, so a derived joule may not carry a printed one's name."""
    pdk, point = load_pdk("freepdk45"), CompartmentPoint("tt", 25.0, 0.8, 4, 4, "and", "hold")
    deck = BENCH.deck(pdk, point)
    waves = live.run(deck)
    printed, stored = evaluate(deck.measures, waves), BENCH.measure(pdk, point, waves)
    common = set(printed) & set(stored)
    assert {f"raw_bitline_s{s}_i{b}" for s in (0, 1) for b in (0, 1)} <= common
    for name in common:
        assert stored[name] == pytest.approx(printed[name], rel=1e-9), name


@pytest.mark.ngspice
@pytest.mark.pdk
def test_no_control_net_is_charged_for_nothing(live: Engine) -> None:
    """An ideal source would pay the first gates: their charge x VDD is in the line, 3 to 40 % of it."""
    measures = run(live)
    for line in ("wordline", "precharge_clock", "ff_clock", "control"):
        bare = measures[f"raw_{line}_s1_i1"] - measures[f"{line}_idle"]
        assert 1.02 * bare < measures[f"{line}_s1_i1"] < 1.9 * bare, line
    assert measures["bitline_s1_i1"] == pytest.approx(measures["raw_bitline_s1_i1"] - measures["bitline_idle"])


@pytest.mark.ngspice
@pytest.mark.pdk
def test_a_cycle_has_room_for_every_phase(live: Engine) -> None:
    measures = run(live)
    phases = [measures[f"{phase}_s"] for phase in ("read", "evaluate", "close", "restore")]
    assert min(phases) > 0
    assert measures["cycle_s"] == pytest.approx(sum(phases))


@pytest.mark.ngspice
@pytest.mark.pdk
def test_missing_diffusions_show_in_the_compartment(live: Engine) -> None:
    """Negative control of the diffusions: without AD, AS, PD, PS a bitline loses its junctions."""
    pdk, point = load_pdk("freepdk45"), CompartmentPoint("tt", 25.0, 0.8, 4, 4, "and", "reread")
    deck = BENCH.deck(pdk, point)
    bare = deck.body.replace("ad={w*hdif} as={w*hdif} pd={2*(w+hdif)} ps={2*(w+hdif)}", "ad=0 as=0 pd=0 ps=0")
    assert bare != deck.body
    whole, without = (BENCH.measure(pdk, point, live.run(d)) for d in (deck, replace(deck, body=bare)))
    assert without["bitline_s1_i1"] < 0.75 * whole["bitline_s1_i1"]


@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.parametrize("keeper", [True, False])
def test_the_keeper_holds_the_wire_through_a_long_evaluation(
        live: Engine, monkeypatch: pytest.MonkeyPatch, keeper: bool) -> None:
    """Leakage is worst at ff, 125 °C, 1.0 V and 30-fold windows (10 ns); without the keeper it sinks."""
    monkeypatch.setattr(bench_module, "window_unit_s", lambda pdk, point: 30 * window_unit_s(pdk, point))
    pdk, point = load_pdk("freepdk45"), CompartmentPoint("ff", 125.0, 1.0, 4, 4, "and", "hold")
    deck = BENCH.deck(pdk, point)
    body = deck.body if keeper else deck.body.replace("xpk dlo y vdd vdd pmos", "xpk dlo vdd vdd vdd pmos")
    waves = live.run(replace(deck, body=body))
    if keeper:
        BENCH.measure(pdk, point, waves)
    else:
        with pytest.raises(LogicError):
            BENCH.measure(pdk, point, waves)


@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.validate
def test_a_whole_row_is_what_the_flat_columns_compose(live: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Method rule 3: 64 real columns against 4 with the load of 60. Shared lines stand once, the others 16 times."""
    monkeypatch.setattr(bench_module, "schedule", lambda operation, policy: [
        bench_module.Cycle(0, 0, idle=True), bench_module.Cycle(0, 0, idle=True, label="idle"),
        bench_module.Cycle(0, 1), *(bench_module.Cycle(s, b, label=f"s{s}_i{b}") for s, b in ((1, 1), (0, 1)))])
    pdk = load_pdk("freepdk45")
    few, all_columns = (
        BENCH.measure(pdk, point, live.run(BENCH.deck(pdk, point)))
        for point in (CompartmentPoint("tt", 25.0, 0.8, 2, n, "and", "reread") for n in (GROUP, FULL_COLUMNS)))
    for line in SUPPLY_OF_LINE:
        times = 1 if line in SHARED_LINES else FULL_COLUMNS // GROUP
        composed, flat = (0.5 * (m[f"{line}_s1_i1"] + m[f"{line}_s0_i1"]) for m in (few, all_columns))
        assert times * composed == pytest.approx(flat, rel=0.06), line
    assert FULL_COLUMNS // GROUP * few["leakage_w"] == pytest.approx(all_columns["leakage_w"], rel=0.03)


def test_held_cycles_alone_give_energies_and_no_delays() -> None:
    origin = Origin(pdk="made up", pdk_sha256="0", engine="none", revision="0", status="fresh", created="2026-01-01")
    lines = {f"{line}_s{s}_i{b}": 1e-15 for line in SUPPLY_OF_LINE for s in (0, 1) for b in (0, 1)}
    times = {f"{phase}_s": 1e-12 for phase in ("read", "evaluate", "latch", "cycle")}

    def folded(*policies: str) -> set[str]:
        runs = [Run(policy, CompartmentPoint("tt", 25.0, 0.8, 4, 4, "and", policy),
                    {**lines, "leakage": 1e-18, "leakage_w": 1e-9, **(times if policy == "reread" else {})})
                for policy in policies]
        return {table.name for table in BENCH.fold(runs, origin)}

    assert folded("hold") == {"compartment_energy_j", "compartment_leakage_w"}
    assert folded("hold", "reread") == {"compartment_energy_j", "compartment_leakage_w", "compartment_delay_s"}
