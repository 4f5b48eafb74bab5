"""The compartment: truth tables at both ends of PVT, what its checks refuse, and how its lines scale."""

from __future__ import annotations

import itertools
import math

import pytest

from charlib.benches import compartment as bench_module
from charlib.benches.compartment import (
    BENCH,
    LINES,
    OPERATIONS,
    CompartmentPoint,
    latched,
    result,
    schedule,
)
from charlib.benches.compartment_circuit import GROUP, SUPPLY_OF_LINE
from charlib.errors import BadInput, LogicError
from charlib.pdk import load_pdk
from charlib.spice.engine import Engine


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
    """Negative control of method rule 2: both bitlines are still high, so AND with a stored 0 gives 1."""
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
