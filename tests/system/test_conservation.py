"""What must hold whatever the tables say: C·V² quarters with half the supply, large batches, one layer by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import Axis, Table, TableSet, load_tables
from system.blocks import EVENTS, PASSES
from system.cost import event_price
from system.design import Design, evaluate, make_reader
from system.estimate import estimate
from system.event_list import event_rows
from system.mapping import map_network
from system.options import EstimateOptions
from system.structure import macro_structure
from system.workload import MacLayer, Network

LOW_V, HIGH_V = 0.5, 1.0
#: leaks nothing here, or is a constant's share
CONSTANTS_OF_OURS = {"busy_leakage"}
OPTIONS = EstimateOptions(image_px=64, width=0.5, batch=8, classes=10, node_nm=45, vdd_v=HIGH_V)


def exact(table: Table) -> Table:
    """The shipped values at 0.8 V and no others, joules as C·V², seconds as 1/V, nothing that leaks."""
    supplies = next((k for k, axis in enumerate(table.axes) if axis.name == "vdd_v"), None)
    if supplies is None:
        return table
    power = {"J": 2, "s": -1}.get(table.unit, 0)
    scale = 0.0 if table.unit == "W" else 1.0
    here = [[float(v) for v in table.axes[supplies].points].index(0.8)]
    values, runs = np.take(table.values, here, supplies), np.take(table.runs, here, supplies)
    axes = tuple(replace(axis, points=(LOW_V, HIGH_V)) if axis.name == "vdd_v" else axis for axis in table.axes)
    return replace(table, axes=axes, runs=np.concatenate([runs, runs], supplies), spread=None, interpolation_error={},
                   values=np.concatenate([scale * values * v**power for v in (LOW_V, HIGH_V)], supplies))


@pytest.fixture(scope="module")
def exact_tables() -> TableSet:
    shipped = load_tables(shipped_tables_dir("freepdk45"))
    names = (name for name in shipped if name.split("_")[0] not in ("pair", "pulse", "integer", "state"))
    tables = [exact(shipped[name]) for name in names if name != "compartment_mismatch"]
    assert any(axis == Axis("vdd_v", axis.unit, (LOW_V, HIGH_V)) for table in tables for axis in table.axes)
    return TableSet(tables, "the exact set")


def by_event(design: Design) -> Mapping[str, float]:
    """Joules a step by event, all boundaries."""
    found: dict[str, float] = {}
    for c in design.cost.contributions:
        found[c.event] = found.get(c.event, 0.0) + c.energy_j
    return found


def test_half_the_supply_quarters_every_energy_from_tables(exact_tables: TableSet) -> None:
    low, high = (by_event(evaluate(options, make_reader(options, exact_tables)))
                 for options in (replace(OPTIONS, vdd_v=LOW_V), OPTIONS))
    from_tables = {name for name in high if EVENTS[name].boundary == "macro_only"} - CONSTANTS_OF_OURS
    assert len(from_tables) >= 15
    for name in from_tables:
        assert low[name] == pytest.approx(high[name] / 4, rel=1e-12, abs=0.0), name


def test_a_clock_of_the_compartments_is_as_fast_as_its_table(exact_tables: TableSet) -> None:
    slow, fast = (evaluate(options, make_reader(options, exact_tables)).clock.cycle_s
                  for options in (replace(OPTIONS, vdd_v=LOW_V), OPTIONS))
    assert slow == pytest.approx(2 * fast, rel=1e-12, abs=0.0)


def test_a_very_large_batch_pays_its_update_and_nothing_else_once() -> None:
    """What every image costs stays; what a step costs vanishes an image."""
    def an_image(batch: int) -> dict[str, float]:
        options = EstimateOptions(image_px=32, width=0.25, batch=batch, macros="resident")
        design = evaluate(options, make_reader(options))
        found = dict.fromkeys(("forward", "input_gradient", "weight_gradient", "update"), 0.0)
        for c in design.cost.contributions:
            if EVENTS[c.event].boundary == "macro_only" and c.event != "busy_leakage":
                found[c.pass_name] += c.energy_j
        return found

    small, large = an_image(1 << 10), an_image(1 << 20)
    assert large["update"] == pytest.approx(small["update"] / 1024, rel=1e-9, abs=0.0)
    assert large["update"] < 1e-3 * large["forward"]
    for name in ("forward", "input_gradient"):
        assert large[name] == pytest.approx(small[name], rel=1e-9, abs=0.0)


def test_one_layer_by_hand() -> None:
    """64 inputs to 4 outputs: two tiles of 32 rows by 4 words in one macro, eight products of eight cycles."""
    network = Network("one", 1, 1.0, 4, (MacLayer("fc", "linear", 64, 4, 1, 1, 1),))
    mapped = map_network(network, macro_structure("fan2023"), 1, "resident", lambda counts: sum(counts.values()))
    rows = {row.pass_name: row for row in mapped.rows}
    forward, backward, gradient, update = (rows[name] for name in (
        "forward", "input_gradient", "weight_gradient", "update"))
    assert (forward.macros, forward.cycles) == (1, 8 * 8)
    assert [r.counts["compartment_product"] for r in mapped.rows[:3]] == [256, 256, 256]
    assert (forward.counts["tree_add"], forward.counts["tile_accumulate"]) == (8, 8)
    assert forward.counts["buffer_bit"] == 16 * (64 + 4)
    assert backward.counts["lane_accumulate"] == 256
    assert backward.counts["hadamard_round"] == 64  # sums to BF16, one each input
    assert (gradient.counts["array_write"], gradient.counts["lane_accumulate"]) == (64, 256)
    assert (update.counts["array_write"], update.counts["update_add"]) == (256, 256)
    assert update.counts["buffer_bit"] == 256 * (32 + 32 + 16)  # master and its change in FP32, the word in BF16


def test_time_costs_leakage_and_nothing_else_of_the_macros() -> None:
    plain = EstimateOptions(image_px=32, width=0.25, batch=4)
    fast = evaluate(plain, make_reader(plain))
    slow = evaluate(replace(plain, cycle_s=20 * fast.clock.cycle_s), make_reader(plain))
    a, b = by_event(fast), by_event(slow)
    assert b["busy_leakage"] == pytest.approx(20 * a["busy_leakage"], rel=1e-9, abs=0.0)
    for name in a:
        if EVENTS[name].boundary == "macro_only" and name != "busy_leakage":
            assert b[name] == pytest.approx(a[name], rel=1e-12, abs=0.0), name


def test_layers_sum_to_what_no_share_and_no_leakage_makes() -> None:
    options = EstimateOptions(image_px=32, width=0.25, batch=4)
    document = estimate(options)
    layers = math.fsum(row[p] for row in document["layers"] for p in PASSES)
    design = evaluate(options, make_reader(options))
    shared = ("busy_leakage", "buffer_leakage", "chip_control", "chip_clock")
    events = math.fsum(c.energy_j for c in design.cost.within("with_buffers") if c.event not in shared)
    staged_bit = math.fsum(t.bits_in(p) for t in design.traffic if t.home == "dram" for p in PASSES) / options.batch
    staging = staged_bit * event_price(design.circuit, design.chip, {"buffer_bit": 1}, "forward")
    assert layers + staging == pytest.approx(events, rel=1e-9, abs=0.0)


def test_the_list_of_events_multiplies_out_to_what_each_costs() -> None:
    options = EstimateOptions(image_px=32, width=0.25, batch=4)
    row = next(row for row in event_rows(options) if row.event.name == "buffer_bit")
    design = evaluate(options, make_reader(options))
    price = event_price(design.circuit, design.chip, {"buffer_bit": 1}, "forward")
    assert row.each_j == pytest.approx(price, rel=1e-9, abs=0.0)


@pytest.mark.parametrize("changes", [{}, {"macros": "resident"}, {"macros": "time_multiplexed:16"},
                                     {"batch": 1, "dram": "lpddr4"}], ids=str)
def test_every_macro_is_busy_or_idle_and_the_buffer_leaks_as_long_as_the_step_lasts(changes: dict[str, object]
                                                                                    ) -> None:
    options = EstimateOptions.from_json(EstimateOptions(image_px=64, batch=4).to_json() | changes)
    design = evaluate(options, make_reader(options))
    watts = {"busy_leakage": design.leakage, "idle_leakage": design.leakage,
             "buffer_leakage": design.chip.buffer_leakage}
    joules, times = by_event(design), design.cost.times
    seconds = {name: joules[name] / math.fsum(t.value for t in terms) for name, terms in watts.items()}
    assert seconds["busy_leakage"] + seconds["idle_leakage"] == pytest.approx(
        design.mapping.macros * times["system"].total_s, rel=1e-9, abs=0.0)
    assert seconds["buffer_leakage"] == pytest.approx(times["system"].total_s, rel=1e-9, abs=0.0)
    buffers = math.fsum(c.energy_j for c in design.cost.within("with_buffers") if c.event == "buffer_leakage")
    assert buffers == pytest.approx(joules["buffer_leakage"] * times["with_buffers"].total_s
                                    / times["system"].total_s, rel=1e-9, abs=0.0)
    assert all(c.events > 0 for c in design.cost.contributions)
