"""The macro's blocks: one enumeration with the cost model, priced on operands, counted, exported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from charlib.compose.area import area_library, block_area_m2, cell_areas
from charlib.compose.cost import block_cost
from charlib.compose.design import operands_of
from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.macro import macro_block, macro_blocks
from charlib.compose.tables import Surroundings, block_tables, composable
from charlib.errors import BadInput
from charlib.gates.operands import OperandStatistics, draw, statistics_of
from charlib.gates.recorded import RECORDED, recorded
from charlib.paths import shipped_tables_dir
from charlib.table import TableSet, load_tables
from charlib.units import FEMTO, PICO
from system.blocks import EVENTS, TREE_BLOCKS, cell_blocks
from system.cli import app
from system.composed import circuit_name
from system.structure import MACROS

AROUND = Surroundings(0.12 * FEMTO, 1.35 * FEMTO, 18 * PICO)
FAN = MACROS["fan2023"]
#: blocks of the macro that SPICE simulates whole, that stand for others, or that are a sum over the macro
NO_CIRCUIT = {"compartment", "shift_accumulator", "array_write", "array_read", "clock_tree", "busy_leakage"}


@pytest.fixture(scope="module")
def tables() -> TableSet:
    return load_tables(shipped_tables_dir("freepdk45"))


@pytest.fixture(scope="module")
def library(tables: TableSet) -> CellLibrary:
    return cell_library(tables, corner="tt", temp_c=25.0, vdd_v=0.8)


def test_events_and_circuits_are_one_enumeration(tables: TableSet) -> None:
    """An event of the macro without a circuit, or a circuit without an event, fails here."""
    held = {str(label) for label in tables["block_energy_j"].axis("block").points}
    wanted = {event.block for event in EVENTS.values() if event.boundary == "macro_only"} - NO_CIRCUIT
    assert {circuit_name(block, FAN) for block in wanted} <= held
    own = {label for label in held if not label[-1].isdigit()}
    trees = {label.rpartition("_")[0] for label in held if label[-1].isdigit()}
    assert own == wanted - set(TREE_BLOCKS)
    assert trees == set(TREE_BLOCKS)
    assert set(cell_blocks(FAN)) | {"adder_tree"} >= wanted


def test_the_architecture_page_names_every_block() -> None:
    page = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    for event in EVENTS.values():
        if event.boundary == "macro_only":
            assert f"`{event.block}`" in page, event.block


def test_zeros_are_cheaper_and_repeats_cheaper_still(library: CellLibrary) -> None:
    block = macro_block("fused_tree_4x20")
    x = OperandStatistics(2.0)
    cost = {}
    for name, serial in (("random", x), ("half zero", OperandStatistics(2.0, 0.5)),
                         ("repeated", OperandStatistics(2.0, 0.0, 0.5, 0.9))):
        operands = operands_of(block, serial, x, 30, 5)
        cost[name] = block_cost(block, library, *operands, AROUND.loads, input_slew_s=AROUND.input_slew_s).total_j
    assert cost["half zero"] < cost["random"]
    assert cost["repeated"] < cost["random"]


def test_recorded_operands_are_those_of_training() -> None:
    for which in RECORDED:
        x, w = recorded(which)
        assert x.shape == w.shape == (256, 32)
    forward = statistics_of(recorded("forward")[0])
    assert 0.4 < forward.zero_share < 0.7  # ReLU
    assert 1 < forward.exponent_spread < 5


@pytest.mark.parametrize("asked", [
    OperandStatistics(0.0), OperandStatistics(3.0, 0.3), OperandStatistics(1.0, 0.0, 0.2, 0.6)])
def test_drawn_operands_have_the_statistics(asked: OperandStatistics) -> None:
    found = statistics_of(draw(asked, (400, 64), 1))
    assert found.exponent_spread == pytest.approx(asked.exponent_spread, rel=0.05, abs=0.05)
    assert found.zero_share == pytest.approx(asked.zero_share, abs=0.02)
    assert found.bit_density == pytest.approx(asked.bit_density, abs=0.02)
    repeats = asked.repeat_share + (1 - asked.repeat_share) * asked.zero_share**2
    assert found.repeat_share == pytest.approx(repeats, abs=0.03)


@pytest.mark.parametrize(("settings", "message"), [
    ({"exponent_spread": -1}, "exponent_spread: 0 to 60 octaves are allowed, got -1"),
    ({"zero_share": 2}, r"zero_share: must lie in \[0, 1\], got 2"),
])
def test_bad_statistics_are_named(settings: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}$"):
        OperandStatistics(**settings)


def test_areas_are_cited_and_counted() -> None:
    assert all(area.source for area in cell_areas().values())
    block = macro_blocks()["exponent_adder"].circuit
    by_hand = sum(count * cell_areas()["nangate45", cell].area_m2 for cell, count in block.cell_counts().items())
    assert block_area_m2(block, "nangate45") == pytest.approx(by_hand)
    assert block_area_m2(block, area_library("sky130")) > 3 * by_hand
    with pytest.raises(BadInput, match=r"^area: no cell library is cited for PDK 'ptm22hp'"):
        area_library("ptm22hp")


def test_tables_of_blocks_say_where_they_come_from(tables: TableSet) -> None:
    assert composable(tables)
    made = {t.name: t for t in block_tables(tables, AROUND, blocks=("exponent_adder", "macro_control"))}
    energy = made["block_energy_j"]
    assert energy.axis("block").points == ("exponent_adder", "macro_control")
    (label,) = energy.point(corner="tt", temp_c=25.0, vdd_v=0.8, block="exponent_adder", exponent_spread=1.0,
                            zero_share=0.0).runs
    behind = energy.conventions[f"runs of {label}"].split(",")
    assert set(behind) <= {run for value in tables["pair_energy_j"].runs.ravel() for run in str(value).split(",")}
    assert made["composed_cell_count"].at(block="macro_control", cell="dff") == 9


def test_the_command_line_prices_and_exports(tmp_path: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["blocks", "list"])
    assert "fused_tree_32x20" in listed.stdout
    done = runner.invoke(app, ["blocks", "cost", "exponent_adder", "--cycle-s", "3e-10", "--json", "-"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["pipeline"]["stages"] >= 2
    assert document["total_j"] == pytest.approx(sum(document["energy_j"].values()))
    bare = json.loads(runner.invoke(app, ["blocks", "cost", "exponent_adder", "--no-wires", "--json", "-"]).stdout)
    assert bare["total_j"] < document["total_j"]
    for form in ("verilog", "spice"):
        file = tmp_path / form
        done = runner.invoke(app, ["blocks", "export", "decoder", "--format", form, "--out", str(file)])
        assert done.exit_code == 0
        assert "decoder_16" in file.read_text(encoding="utf-8")


def test_the_command_line_takes_recorded_operands(tmp_path: Path) -> None:
    x, w = recorded("forward")
    file = tmp_path / "operands.npz"
    np.savez(file, x=x[:30, :1], w=w[:30, :1])
    runner = CliRunner()
    done = runner.invoke(app, ["blocks", "cost", "hadamard_post", "--operands", str(file), "--json", "-"])
    assert done.exit_code == 0, done.output
    np.savez(file, x=x[:30], w=w[:30])
    wrong = runner.invoke(app, ["blocks", "cost", "hadamard_post", "--operands", str(file)])
    assert wrong.exit_code == 2
    assert "operands: x must be uint16 of shape (operations, 1), got uint16 (30, 32)" in wrong.output
    assert runner.invoke(app, ["blocks", "cost", "nothing"]).exit_code == 2
