"""Trees of sizes that no circuit was composed of: lines through those that were, and what they miss."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import TableSet, load_tables
from system.blocks import TREE_BLOCKS
from system.composed import Size, _line, _missed, _shares, circuits, read
from system.design import circuit_of, make_reader
from system.options import EstimateOptions
from system.readings import Point, Reader
from system.structure import macro_structure

FAN = macro_structure("fan2023")
GRID = tuple(Size(lanes, bits) for lanes in (16, 32, 64) for bits in (12, 16, 20, 24))
STATISTICS: dict[str, float | str] = {"exponent_spread": 2.0, "zero_share": 0.0}


@pytest.fixture(scope="module")
def shipped() -> TableSet:
    return load_tables(shipped_tables_dir("freepdk45"))


@pytest.fixture
def reader(shipped: TableSet) -> Reader:
    return Reader(Point("tt", 25.0, 0.8), None, shipped, "freepdk45")


@pytest.mark.parametrize("asked", [Size(31, 20), Size(40, 14), Size(100, 20), Size(32, 30), Size(200, 8),
                                   Size(17, 23)])
def test_what_is_linear_in_lanes_and_bits_comes_back_exactly(asked: Size) -> None:
    def of(size: Size) -> float:
        return 3.0 + 2.0 * size.lanes + 0.5 * size.bits + 0.25 * size.lanes * size.bits

    shares = _shares(GRID, asked)
    assert sum(w * of(size) for size, w in shares.items()) == pytest.approx(of(asked), rel=1e-12)
    assert _missed(GRID, asked, {size: of(size) for size in GRID}) < 1e-12


def test_a_size_that_is_there_is_itself_and_fewer_lanes_take_a_share() -> None:
    assert _shares(GRID, Size(32, 20)) == {Size(32, 20): 1.0}
    assert _shares(GRID, Size(4, 20)) == {Size(16, 20): 0.25}


def test_one_circuit_alone_gives_no_line() -> None:
    assert _line([16], 20) == {}
    assert _shares((Size(32, 20),), Size(31, 20)) == {}
    assert _shares((Size(16, 20), Size(32, 20)), Size(24, 18)) == {}
    three = (Size(16, 20), Size(32, 20), Size(32, 16))
    assert _shares(three, Size(32, 18)) == {Size(32, 16): 0.5, Size(32, 20): 0.5}


@pytest.mark.parametrize("block", ["adder_tree", "aligners", "maximum_tree", "pipeline_registers"])
def test_the_tree_of_32_lanes_is_foretold_by_its_neighbours(reader: Reader, block: str) -> None:
    own = read(reader, "block_energy_j", block, FAN, **STATISTICS).value
    low, high = (read(reader, "block_energy_j", block, replace(FAN, compartments=n), **STATISTICS).value
                 for n in (16, 64))
    assert (2 * low + high) / 3 == pytest.approx(own, rel=0.02)


@pytest.mark.parametrize("changes", [{"compartments": n} for n in (8, 24, 31, 33, 50, 65, 128)]
                         + [{"guard_bits": g} for g in (-4, 1, 3, 5, 10)])
def test_a_size_between_lies_between_and_is_less_certain(reader: Reader, changes: dict[str, int]) -> None:
    m = replace(FAN, **changes)  # type: ignore[arg-type]
    more = replace(m, compartments=m.compartments + 1)
    values = [read(reader, "block_energy_j", "adder_tree", each, **STATISTICS) for each in (m, more)]
    assert values[0].value < values[1].value < values[0].value * (1 + 2 / m.compartments)
    own = read(reader, "block_energy_j", "adder_tree", FAN, **STATISTICS)
    between = next(each for each in values if "adder_tree_" in str(each.coordinates["block"]) and " as " in
                   str(each.coordinates["block"]))
    assert between.causes["interpolation"] > own.causes.get("interpolation", 0.0)
    assert between.run_ids


def test_no_step_at_the_sizes_that_are_there() -> None:
    options = EstimateOptions()
    each = []
    for lanes in (31, 32, 33):
        circuit = circuit_of(replace(options, compartments=lanes), make_reader(options))
        each.append(sum(t.value for block in TREE_BLOCKS for t in circuit.circuit_terms(block)))
    assert each[2] - each[1] == pytest.approx(each[1] - each[0], rel=0.1)


def test_which_circuits_price_a_tree_is_said(reader: Reader) -> None:
    assert circuits(reader, "adder_tree", FAN) == ["adder_tree_32x20"]
    assert circuits(reader, "adder_tree", replace(FAN, compartments=31)) == ["adder_tree_16x20", "adder_tree_32x20"]
    without = Reader(Point("tt", 25.0, 0.8), None, load_tables(shipped_tables_dir("ptm16hp")), "ptm16hp")
    assert circuits(without, "adder_tree", FAN) == []
