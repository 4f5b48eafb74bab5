"""Trees of sizes that no circuit was composed of: between those that were, what they miss, and where they end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from charlib.compose.cost import block_cost
from charlib.compose.design import operands_of
from charlib.compose.library import cell_library
from charlib.compose.macro import macro_block
from charlib.compose.static import static_timing
from charlib.compose.tables import OPERATIONS, SEED, surroundings
from charlib.errors import BadInput
from charlib.gates.clocked import core_of
from charlib.gates.operands import OperandStatistics
from charlib.paths import shipped_tables_dir
from charlib.pdk import KITS
from charlib.table import TableSet, load_tables
from system.blocks import TREE_BLOCKS
from system.composed import SEEN, TREE, Size, _line, _missed, _shares, read, standing
from system.design import circuit_of, evaluate, make_reader
from system.estimate import estimate
from system.options import EstimateOptions
from system.readings import Point, Reader
from system.structure import MacroStructure, macro_structure

FAN = macro_structure("fan2023")
GRID = tuple(Size(lanes, bits) for lanes in (16, 32, 64) for bits in (12, 16, 20, 24))
STATISTICS: dict[str, float | str] = {"exponent_spread": 2.0, "zero_share": 0.0}
SMALL = EstimateOptions(image_px=32, width=0.25, batch=2)


@pytest.fixture(scope="module")
def shipped() -> TableSet:
    return load_tables(shipped_tables_dir("freepdk45"))


@pytest.fixture
def reader(shipped: TableSet) -> Reader:
    return Reader(Point("tt", 25.0, 0.8), None, shipped, "freepdk45")


def sized(lanes: int, bits: int = 20) -> MacroStructure:
    return replace(FAN, compartments=lanes, guard_bits=bits - 16)


@pytest.mark.parametrize("asked", [Size(31, 20), Size(40, 14), Size(64, 13), Size(32, 23), Size(17, 23)])
def test_what_is_linear_in_lanes_and_bits_comes_back_exactly(asked: Size) -> None:
    def of(size: Size) -> float:
        return 3.0 + 2.0 * size.lanes + 0.5 * size.bits + 0.25 * size.lanes * size.bits

    shares = _shares(GRID, asked)
    assert sum(w * of(size) for size, w in shares.items()) == pytest.approx(of(asked), rel=1e-12)
    missed = _missed(GRID, asked, {size: of(size) for size in GRID})
    assert missed is not None
    assert missed < 1e-12


@pytest.mark.parametrize("asked", [Size(15, 20), Size(65, 20), Size(32, 11), Size(32, 25), Size(4096, 20)])
def test_there_is_no_line_beyond_the_sizes_that_are_there(asked: Size) -> None:
    assert _shares(GRID, asked) == {}
    assert _shares(GRID, asked, "levels") == {}


def test_a_size_that_is_there_is_itself() -> None:
    assert _shares(GRID, Size(32, 20)) == {Size(32, 20): 1.0}
    assert _shares(GRID, Size(32, 20), "levels") == {Size(32, 20): 1.0}


def test_one_circuit_alone_gives_no_line() -> None:
    assert _line({16: 16.0}, 20, 20.0) == {}
    assert _shares((Size(32, 20),), Size(31, 20)) == {}
    assert _shares((Size(16, 20), Size(32, 20)), Size(24, 18)) == {}
    three = (Size(16, 20), Size(32, 20), Size(32, 16))
    assert _shares(three, Size(32, 18)) == {Size(32, 16): 0.5, Size(32, 20): 0.5}
    assert _missed(three, Size(32, 18), dict.fromkeys(three, 1.0)) is None  # nothing lies between two others


def test_a_delay_is_that_of_as_many_levels() -> None:
    assert _shares(GRID, Size(33, 20), "levels") == _shares(GRID, Size(63, 20), "levels") == {Size(64, 20): 1.0}
    assert _shares(GRID, Size(20, 14), "levels") == {Size(32, 12): 0.5, Size(32, 16): 0.5}
    assert _shares((Size(8, 20), Size(32, 20)), Size(12, 20), "levels") == {Size(8, 20): 0.5, Size(32, 20): 0.5}


@pytest.mark.parametrize("block", ["adder_tree", "aligners", "maximum_tree", "pipeline_registers"])
def test_the_tree_of_32_lanes_is_foretold_by_its_neighbours(reader: Reader, block: str) -> None:
    own = read(reader, "block_energy_j", block, FAN, **STATISTICS).value
    low, high = (read(reader, "block_energy_j", block, sized(n), **STATISTICS).value for n in (16, 64))
    assert (2 * low + high) / 3 == pytest.approx(own, rel=0.02)


@pytest.mark.parametrize("m", [sized(n) for n in (17, 24, 31, 33, 50, 63)] + [sized(32, b) for b in (13, 17, 22)],
                         ids=lambda m: f"{m.compartments}x{m.lane_bits}")
def test_a_size_between_lies_between_and_is_less_certain(reader: Reader, m: MacroStructure) -> None:
    value, more = (read(reader, "block_energy_j", "adder_tree", each, **STATISTICS)
                   for each in (m, replace(m, compartments=m.compartments + 1)))
    assert value.value < more.value < value.value * (1 + 2 / m.compartments)
    stands = standing(reader, "block_energy_j", "adder_tree", m, **STATISTICS)
    assert (stands.source, len(stands.circuits)) == ("between", 2)
    assert stands.miss is not None
    assert stands.miss >= SEEN["adder_tree"]
    assert value.causes["interpolation"] >= stands.miss / 2
    assert value.run_ids


def miss_of(reader: Reader, table: str, block: str, lanes: int, true: float, **statistics: float | str) -> None:
    """A tree composed for it lies within the miss that is stated of a size between."""
    found = read(reader, table, block, sized(lanes), **statistics).value
    miss = standing(reader, table, block, sized(lanes), **statistics).miss
    assert miss is not None
    assert abs(found / true - 1) <= miss * 1.001, (block, lanes, found / true - 1, miss)


@pytest.mark.parametrize("lanes", [20, 24, 40])
def test_a_tree_between_is_as_slow_as_its_circuit(reader: Reader, shipped: TableSet, lanes: int) -> None:
    """A straight line in lanes was 6.9 % too fast at 40."""
    library = cell_library(shipped, corner="tt", temp_c=25.0, vdd_v=0.8)
    around = surroundings(KITS["freepdk45"].geometry, KITS["freepdk45"].unit_s)
    circuit = core_of(macro_block(f"fused_tree_{lanes}x20").circuit).block
    true = static_timing(circuit, library, around.loads, input_slew_s=around.input_slew_s).delay_s
    assert read(reader, "block_delay_s", TREE, sized(lanes)).value == pytest.approx(true, rel=0.005)
    miss_of(reader, "block_delay_s", TREE, lanes, true)


@pytest.mark.validate
@pytest.mark.parametrize("lanes", [20, 24, 40, 48, 56])
def test_the_miss_seen_between_sizes_is_what_is_stated(reader: Reader, shipped: TableSet, lanes: int) -> None:
    """The tree composed whole; minutes."""
    library = cell_library(shipped, corner="tt", temp_c=25.0, vdd_v=0.8)
    around = surroundings(KITS["freepdk45"].geometry, KITS["freepdk45"].unit_s)
    block = macro_block(f"fused_tree_{lanes}x20")
    x, w = operands_of(block, OperandStatistics(1.0, 0.0), OperandStatistics(1.0), OPERATIONS, SEED)
    register_j = float(shipped["dff_energy_j"].at(corner="tt", temp_c=25.0, vdd_v=0.8, event="data"))
    cost = block_cost(block, library, x, w, around.loads, seed=SEED, input_slew_s=around.input_slew_s,
                      register_j=register_j)
    for part in TREE_BLOCKS:
        miss_of(reader, "block_energy_j", part, lanes, cost.energy_j[f"{part}_{lanes}x20"], exponent_spread=1.0,
                zero_share=0.0)


def test_no_step_at_the_sizes_that_are_there() -> None:
    options = EstimateOptions()
    each = []
    for lanes in (31, 32, 33):
        circuit = circuit_of(replace(options, compartments=lanes), make_reader(options))
        each.append(sum(t.value for block in TREE_BLOCKS for t in circuit.circuit_terms(block)))
    assert each[2] - each[1] == pytest.approx(each[1] - each[0], rel=0.1)


@pytest.mark.parametrize(("changes", "option", "got"), [
    ({"compartments": 65}, "compartments", 65), ({"compartments": 4096}, "compartments", 4096),
    ({"compartments": 9}, "compartments", 9), ({"lane_bits": 30}, "lane_bits", 30),
    ({"lane_bits": 8}, "lane_bits", 8),
])
def test_a_size_beyond_is_refused_with_those_that_are_there(changes: dict[str, int], option: str, got: int) -> None:
    with pytest.raises(BadInput, match=rf"^{option}: the size of a composed tree, or one between three of them, is "
                                        rf"allowed, got {got} \(.*\); the tables of freepdk45 hold 16x12, .*, 64x24"):
        evaluate(replace(SMALL, **changes), make_reader(SMALL))  # type: ignore[arg-type]


def test_a_block_that_no_table_holds_is_refused(reader: Reader) -> None:
    with pytest.raises(BadInput, match=r"^Table 'block_energy_j': it holds no circuit of the block 'divider' of fan"):
        read(reader, "block_energy_j", "divider", FAN, **STATISTICS)


def test_every_block_says_what_it_stands_on() -> None:
    own, between = (estimate(replace(SMALL, compartments=n)) for n in (32, 40))
    assert {row["source"] for row in own["blocks"]} == {"own"}
    assert {row["block"] for row in own["blocks"]} >= {*TREE_BLOCKS, TREE, "exponent_adder", "macro_control"}
    rows = {row["block"]: row for row in between["blocks"]}
    assert {name for name, row in rows.items() if row["source"] == "between"} == {*TREE_BLOCKS, TREE}
    assert rows["aligners"]["circuits"] == ["aligners_32x20", "aligners_64x20"]
    assert rows["aligners"]["miss"] == SEEN["aligners"]
    assert rows[TREE]["circuits"] == ["fused_tree_64x20"]
    assert 0.03 < rows[TREE]["miss"] < 0.07


def test_the_miss_of_a_delay_widens_the_interval_of_time() -> None:
    """A tree that sets the clock: its miss is the interval's."""
    found = estimate(replace(EstimateOptions(image_px=32, width=0.25, batch=2), compartments=40, serial_bits=8))
    assert found["macro"]["clock_limited_by"] in ("adder_tree", "fp32_accumulator")
    low, high = found["imc"]["macro_only"]["time_s_per_image_interval"]
    time_s = found["imc"]["macro_only"]["time_s_per_image"]
    miss = next(row["miss"] for row in found["blocks"] if row["block"] == TREE)
    assert (high - time_s) / time_s > 0.5 * miss
    assert low < time_s
    drivers = {row["driver"]: row for row in found["drivers"]["macro_only"]}
    assert drivers["interpolation"]["time_s"][1] > time_s


def test_the_kit_of_the_route_between_nodes_names_no_command(shipped: TableSet) -> None:
    options = replace(SMALL, projection="ptm", flavour="LP")
    with pytest.raises(BadInput, match=r"^Table '\w+': the route between two nodes needs it of ptm32lp and ptm22lp"):
        evaluate(options, make_reader(options))
