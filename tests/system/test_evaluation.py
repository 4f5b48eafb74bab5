"""An evaluation is a function of its options and tables, and says what it prices beyond them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from charlib.table import Axis, Table, TableSet
from system.activity import PASSES
from system.cli import app
from system.design import Design, evaluate, make_reader, scenarios, tables_for
from system.estimate import estimate
from system.options import EstimateOptions
from system.readings import Reader
from system.trace_entries import TraceEntry, area, clock, energy
from system.tracing import trace_estimate

SMALL = EstimateOptions(image_px=32, width=0.25, batch=2)
DESIGNS = (SMALL, replace(SMALL, read_policy="reread"), replace(SMALL, compartments=40),
           replace(SMALL, words_per_row=2), replace(SMALL, serial_bits=2), replace(SMALL, lane_bits=18),
           replace(SMALL, exponent_spread=3.0, zero_share=0.4),
           replace(SMALL, zero_share=0.7, statistics_beyond="end"), replace(SMALL, update_mode="stochastic"))


def traced(design: Design) -> list[TraceEntry]:
    """All that a trace of its figures lists."""
    return [*energy(design.cost.within("system"))[1], *clock(design), *area(design)]


def said(design: Design) -> tuple[Any, ...]:
    """Everything that a design says, its record of readings included."""
    return (design.cost, design.clock, design.tail, design.area, design.leakage, design.mapping, traced(design),
            design.reader.used, design.reader.readings(), design.circuit.standings(), design.circuit.beyond())


@pytest.mark.parametrize("seed", range(2))
def test_designs_in_any_order_on_one_reader_are_those_of_readers_of_their_own(seed: int) -> None:
    shared, order = make_reader(SMALL), list(DESIGNS) * 2
    random.Random(seed).shuffle(order)
    for options in order:
        assert said(evaluate(options, shared)) == said(evaluate(options, make_reader(options))), options


def test_an_estimate_and_what_is_possible_do_not_depend_on_what_was_read_before() -> None:
    shared = make_reader(SMALL)
    alone = estimate(SMALL, reader=make_reader(SMALL))
    for options in DESIGNS[1:]:
        evaluate(options, shared)
    shared.read("bitcell_margin_v", margin="read_snm")  # no figure of an estimate is made of it
    after = estimate(SMALL, reader=shared)
    assert json.dumps(after) == json.dumps(alone)
    assert "bitcell_margin_v" not in {table["name"] for table in after["origin"]["tables"]}


def test_a_scenario_is_the_same_from_any_reader() -> None:
    hot = next(s for s in scenarios(SMALL) if s.name == "temp_c=125.0")
    designs = [evaluate(hot.options, tables_for(hot, reader))
               for reader in (make_reader(SMALL), evaluate(DESIGNS[1], make_reader(SMALL)).reader)]
    assert said(designs[0]) == said(designs[1])


def test_the_clock_is_traced_to_the_delays_that_are_summed_in_it() -> None:
    design = evaluate(replace(SMALL, compartments=40), make_reader(SMALL))
    for path, path_s in design.clock.paths_s.items():
        factor = design.tail.factor if path == "compartment" else 1.0
        listed = [entry for entry in clock(design) if entry.event == path]
        assert sum(entry.energy_j for entry in listed) * factor == pytest.approx(path_s, rel=1e-12)
        assert all(entry.run_ids for entry in listed)
    tree = next(entry for entry in clock(design) if entry.table == "block_delay_s" and entry.event == "adder_tree")
    assert tree.coords["block"] == "fused_tree_40x20 as +1×fused_tree_64x20"


@pytest.mark.parametrize(("changes", "message"), [
    ({"exponent_spread": 8.0}, r"^exponent_spread: 1 to 4 is allowed with the tables of freepdk45 "
                               r"\(block_energy_j\), got 8; ask inside, or price it at the end by "
                               r"--statistics-beyond end$"),
    ({"exponent_spread": 0.5}, r"^exponent_spread: 1 to 4 is allowed .*, got 0\.5;"),
    ({"zero_share": 0.7}, r"^zero_share: 0 to 0\.5 is allowed .*, got 0\.7;"),
    ({"toggle": 0.05}, r"^toggle: 0\.1 to 0\.5 is allowed .* \(shift_accumulator_energy_j\), got 0\.05;"),
])
def test_statistics_beyond_the_tables_are_refused(changes: dict[str, Any], message: str) -> None:
    """Spreads of 4, 8 and 64 used to give one energy."""
    with pytest.raises(BadInput, match=message):
        evaluate(replace(SMALL, **changes), make_reader(SMALL))
    assert evaluate(replace(SMALL, **changes, statistics_beyond="end"), make_reader(SMALL)).circuit.beyond()


def test_what_is_priced_at_an_end_is_said_and_less_certain() -> None:
    at_end, far, farther = (estimate(replace(SMALL, zero_share=share, statistics_beyond="end"))
                            for share in (0.5, 0.6, 0.8))
    energies = [found["imc"]["macro_only"]["energy_j_per_image"] for found in (at_end, far, farther)]
    assert energies[0] == energies[1] == energies[2]
    widths = [found["imc"]["macro_only"]["energy_j_per_image_interval"][1] for found in (at_end, far, farther)]
    assert widths[0] < widths[1] < widths[2]
    assert at_end["beyond"] == []
    assert far["beyond"] == [{"field": "zero_share", "asked": 0.6, "priced": 0.5, "low": 0.0, "high": 0.5,
                              "table": "block_energy_j"}]
    assert "extrapolation" in {row["driver"] for row in far["drivers"]["system"]}


def test_a_line_through_both_ends_is_one_standard_deviation() -> None:
    end, other, far = (evaluate(replace(SMALL, zero_share=share, statistics_beyond="end"), make_reader(SMALL))
                       for share in (0.5, 0.0, 0.7))
    (at_end,), (at_other,), (beyond,) = (d.circuit.circuit_terms("aligners") for d in (end, other, far))
    line = at_end.value + (at_end.value - at_other.value) * 0.2 / 0.5
    assert beyond.reading.causes["extrapolation"] == pytest.approx(1 - line / at_end.value)


def recorded(folder: Path, zero_share: float) -> str:
    """A training run's record whose activations hold many zeros."""
    one = {"macs": 100, "samples": 1, "serial_zero_share": zero_share, "stored_zero_share": 0.0} | {
        f"{role}_{what}": value for role in ("serial", "stored")
        for what, value in (("exponent_spread", 2.0), ("bit_density", 0.5), ("toggle_rate", 0.4))}
    file = folder / "activity.json"
    file.write_text(json.dumps({"schema": "himc-activity-1", "layers": {"0": dict.fromkeys(PASSES, one)}}))
    return str(file)


def test_what_training_recorded_is_priced_at_the_end_and_said(tmp_path: Path) -> None:
    words = ["estimate", "mobilenet_v1", "--image-px", "32", "--width", "0.25"]
    done = CliRunner().invoke(app, [*words, "--activity", recorded(tmp_path, 0.63)])
    assert done.exit_code == 0, done.output
    assert "zero_share 0.63: the tables end at 0.5, where it is priced" in " ".join(done.stdout.split())
    inside = CliRunner().invoke(app, [*words, "--activity", recorded(tmp_path, 0.4)])
    assert "where it is priced" not in inside.stdout
    asked = CliRunner().invoke(app, [*words, "--zero-share", "0.63"])
    assert asked.exit_code == 2
    assert asked.stderr.startswith("himc: zero_share: 0 to 0.5 is allowed")


def test_a_nominal_condition_beyond_a_kits_cells_is_said() -> None:
    """A slow kit's slews begin above the nominal one."""
    tables = make_reader(SMALL)._shipped
    assert tables is not None

    def slower(table: Table) -> Table:
        axes = tuple(Axis(a.name, a.unit, tuple(3 * float(p) for p in a.points)) if a.name == "slew_s" else a
                     for a in table.axes)
        return replace(table, axes=axes)

    slow = TableSet([slower(t) if t.name == "cell_delay_s" else t for t in tables.values()])
    options = replace(SMALL, serial_bits=2)
    found = estimate(options, reader=Reader(make_reader(options).point, slow, None, "freepdk45"))
    assert [(at["field"], at["priced"]) for at in found["beyond"]] == [("nominal_slew_s", pytest.approx(3e-11))]
    assert estimate(SMALL, reader=Reader(make_reader(SMALL).point, slow, None, "freepdk45"))["beyond"] == []


def test_the_ends_of_the_macro_s_ranges_are_traced_to_what_makes_them() -> None:
    """They were traced to the nominal delays and areas."""
    found = estimate(SMALL)
    macro = found["macro"]
    for end in (0, 1):
        slow = trace_estimate(found, f"macro.clock_hz_range.{end}")
        paths: dict[str, float] = {}
        for entry in slow.entries:
            paths[entry.event] = paths.get(entry.event, 0.0) + entry.energy_j
        assert 1 / slow.value == pytest.approx(max(paths.values()), rel=0.1)  # mismatch apart
        areas = trace_estimate(found, f"macro.area_mm2_range.{end}")
        assert sum(entry.energy_j for entry in areas.entries) == pytest.approx(areas.value, rel=1e-9)
        dense = trace_estimate(found, f"macro.density_kb_per_mm2_range.{end}")
        assert sum(entry.energy_j for entry in dense.entries) == pytest.approx(
            macro["capacity_bit"] / 1024 / dense.value, rel=1e-9)
