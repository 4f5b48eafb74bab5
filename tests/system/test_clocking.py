"""The clock is paid once: inside of flip-flops, pins and tree, clock gates, in lanes at work and masked ones."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import TableSet, load_tables
from system.blocks import EVENTS, PASSES
from system.circuit import Activity, MacroCircuit, Term, technology
from system.clocking import CLOCK_GATING, Clocking
from system.events import array, place, update
from system.readings import Point, Reader
from system.structure import MacroStructure, macro_structure
from system.workload import MacLayer

FAN = macro_structure("fan2023")
LANES, CYCLES = FAN.compartments, FAN.serial_cycles
#: events of one forward operation beside those of the lanes
TREE_EVENTS = ("tree_registers", "tree_normalise")
LATCHES = {"operation": 7 * CYCLES + 9, "pass": 16 * CYCLES, "none": 16 * CYCLES}


def circuit(tables: TableSet, gating: str, structure: MacroStructure = FAN, **activity: Any) -> MacroCircuit:
    reader = Reader(Point("tt", 25.0, 0.8), tables, None, "freepdk45")
    return MacroCircuit(structure, reader, technology(45, "HP", 0.8), Activity(**activity), gating)


@pytest.fixture
def tables(circuits_without_registers: TableSet) -> TableSet:
    return circuits_without_registers


def counted(terms: list[Term], source: str, label: str) -> float:
    """How often a table's value of this label is paid."""
    return math.fsum(t.multiplier for t in terms
                     if t.reading.source == source and label in t.reading.coordinates.values())


def operation(own: MacroCircuit, products: int) -> list[Term]:
    """One forward operation of the macro with so many lanes at work: multipliers are times that it pays."""
    events = {**array(products, 1, own.structure), **dict.fromkeys(TREE_EVENTS, 1)}
    return [Term(t.reading, t.multiplier * n, t.scale) for name, n in events.items()
            for t in own.event_terms(name, "forward")]


@pytest.mark.parametrize("products", [0, 11, LANES])
@pytest.mark.parametrize("gating", CLOCK_GATING)
def test_an_operation_clocks_every_flip_flop_once_a_clock(tables: TableSet, gating: str, products: int) -> None:
    """Masked lanes are clocked as the others; the accumulator's bench holds its own clock where a lane works."""
    own = circuit(tables, gating)
    blocks = own.blocks
    if gating == "operation":
        logic = LANES * CYCLES * blocks["input_serialiser"].flip_flops + CYCLES * blocks["macro_control"].flip_flops
        logic += sum(LANES * blocks[name].flip_flops
                     for name in ("input_register", "exponent_adder", "hidden_bit_generator"))
        logic += sum(blocks[name].flip_flops for name in ("pipeline_registers", "normaliser"))
    else:
        left_out = () if gating == "none" else ("compartment_accumulator", "hadamard_post", "update_adder",
                                                "stochastic_source")
        logic = CYCLES * sum(b.flip_flops * b.copies for name, b in blocks.items() if name not in left_out)
    masked = (LANES - products) * 16 * CYCLES
    paid = operation(own, products)
    inside = counted(paid, "dff_energy_j", "clock_internal")
    assert inside == pytest.approx(logic + LANES * LATCHES[gating] + masked, rel=1e-12)
    assert counted(paid, "clock_tree_j", "leaf") == pytest.approx(inside, rel=1e-12)
    every = sum(b.flip_flops * b.copies for b in blocks.values()) + LANES * (16 + 16)
    assert counted(paid, "clock_tree_j", "trunk") == pytest.approx(CYCLES * every, rel=1e-12)
    assert counted(paid, "clock_tree_j", "flat") == 0


@pytest.mark.parametrize("gating", CLOCK_GATING)
def test_what_stops_a_clock_is_paid_for(tables: TableSet, gating: str) -> None:
    """A gate is open or closed in every cycle, one for at most 16 flip-flops of those that can be stopped."""
    own = circuit(tables, gating)
    paid = operation(own, LANES)
    opened, closed = (counted(paid, "clock_tree_j", f"gate_{how}") for how in ("open", "closed"))
    stopped = sum(b.flip_flops * b.copies for name, b in own.blocks.items() if name != "macro_control")
    if gating == "none":
        assert opened == closed == 0
        return
    assert CYCLES * stopped / 16 <= opened + closed <= CYCLES * (stopped / 16 + 100)
    assert 0 < opened < closed if gating == "operation" else opened > 0


@pytest.mark.parametrize("pass_name", PASSES)
@pytest.mark.parametrize("gating", CLOCK_GATING)
def test_a_register_is_clocked_by_the_cycles_of_a_pass_or_by_its_event(tables: TableSet, gating: str,
                                                                       pass_name: str) -> None:
    """Never by both, and always by one: whatever fires in a pass, its registers are paid."""
    own = circuit(tables, gating)
    events = {EVENTS[name].block: name for name in EVENTS}
    for name, block in own.blocks.items():
        if not block.flip_flops:
            continue
        alone = Clocking(FAN, {name: replace(block, flip_flops=1 << 20)}, gating)
        latches = Clocking(FAN, {}, gating)
        cycle = alone.writing if pass_name == "update" else alone.cycle
        nothing = latches.writing if pass_name == "update" else latches.cycle
        by_cycle = cycle(pass_name).inside > nothing(pass_name).inside
        by_event = counted(list(own.event_terms(events[name], pass_name)), "dff_energy_j", "clock_internal")
        times = CYCLES if name == "input_serialiser" else 1
        assert by_event == (0 if by_cycle else times * block.flip_flops), name


def test_an_accumulator_of_the_lanes_is_clocked_in_a_gradient_of_outer_products(tables: TableSet) -> None:
    """Gated by pass, the weight gradient clocks the tree's registers; the way without a tree has others."""
    own = circuit(tables, "pass")
    assert counted(list(own.event_terms("lane_accumulate", "weight_gradient")), "dff_energy_j",
                   "clock_internal") == own.blocks["compartment_accumulator"].flip_flops
    assert own.by_pass("lane_accumulate")
    assert not own.by_pass("gradient_gate")


@pytest.mark.parametrize("gating", CLOCK_GATING)
def test_an_update_clocks_what_it_works_with(tables: TableSet, gating: str) -> None:
    """One weight, by hand: its product's registers of one lane, its own, and what no gate stops."""
    layer = MacLayer("fc", "linear", 64, 4, 1, 1, 1)
    own = circuit(tables, gating)
    flip_flops = {name: block.flip_flops for name, block in own.blocks.items()}
    paid = [Term(t.reading, t.multiplier * n / layer.weights, t.scale)
            for name, n in update(place(layer, FAN), 1, False).items() if EVENTS[name].boundary == "macro_only"
            for t in own.event_terms(name, "update")]
    inside = counted(paid, "dff_energy_j", "clock_internal")
    lane = (CYCLES * flip_flops["input_serialiser"] + flip_flops["exponent_adder"]
            + flip_flops["hidden_bit_generator"])
    assert inside == pytest.approx({
        "operation": lane + sum(flip_flops[name] for name in ("hadamard_post", "update_adder", "macro_control")),
        "pass": lane + LANES * flip_flops["hadamard_post"] + sum(
            flip_flops[name] for name in ("update_adder", "stochastic_source", "macro_control")),
        "none": sum(b.flip_flops * b.copies for b in own.blocks.values()) + LANES * 16 + (LANES - CYCLES) * 16,
    }[gating], rel=1e-12)
    assert counted(paid, "clock_tree_j", "leaf") == pytest.approx(inside, rel=1e-12)


@pytest.mark.parametrize("gating", CLOCK_GATING)
def test_a_cycle_that_writes_clocks_no_product(tables: TableSet, gating: str) -> None:
    own = circuit(tables, gating)
    inside = counted(list(own.event_terms("macro_cycle_write", "forward")), "dff_energy_j", "clock_internal")
    lanes = LANES * (16 + 16)
    passed = ("input_register", "input_serialiser", "exponent_adder", "hidden_bit_generator", "pipeline_registers",
              "normaliser", "tile_accumulator", "macro_control")
    each = {name: b.flip_flops * b.copies for name, b in own.blocks.items()}
    assert inside == {"operation": each["macro_control"], "pass": sum(each[name] for name in passed) + lanes,
                      "none": sum(each.values()) + lanes}[gating]


def test_data_of_the_columns_change_by_the_data_s_probability(tables: TableSet) -> None:
    def changes(gating: str = "operation", structure: MacroStructure = FAN, **activity: float) -> float:
        own = circuit(tables, gating, structure, **activity)
        return counted(list(own.product()), "dff_energy_j", "data")

    assert changes(input_density=0.0, weight_density=0.0) == 0
    assert changes(input_density=1.0, weight_density=1.0) == 0  # nothing ever changes
    # 7 mantissa bits: 7 changes of the serial bit at a stored 1, and one to a new word; 9 bits follow the word
    assert changes() == pytest.approx(7 * (7 * 0.25 + 0.375) + 9 * 0.5, rel=1e-12)
    assert changes("pass") == pytest.approx(7 * (7 * 0.25 + 0.375) + 9 * 1.0, rel=1e-12)


def test_a_masked_lane_has_no_data(tables: TableSet) -> None:
    terms = circuit(tables, "operation").idle_product()
    assert {t.reading.source for t in terms} == {"dff_energy_j", "clock_tree_j"}
    assert counted(list(terms), "dff_energy_j", "data") == 0


@pytest.mark.parametrize("kit", kits_with_tables())
def test_the_compartment_s_own_flip_flops_draw_what_their_table_says(kit: str) -> None:
    """A flip-flop of the compartment simulated whole, whose wire stays as it is: the inside of a clock cycle."""
    shipped = load_tables(shipped_tables_dir(kit))
    compartment, own = shipped["compartment_energy_j"], shipped["dff_energy_j"]
    groups = int(float(compartment.axis("columns").points[0])) // 4
    vdd_v = float(own.axis("vdd_v").points[0])
    at: dict[str, str | float] = {"corner": "tt", "temp_c": 25.0, "vdd_v": vdd_v}
    line = compartment.at(**at, rows=16.0, columns=4.0 * groups, read_policy="hold", operation="and", stored="0",
                          input="0", line="ff_data")
    assert float(line) / groups == pytest.approx(float(own.at(**at, event="clock_internal")), rel=0.05)


@pytest.mark.parametrize("kit", kits_with_tables())
def test_the_shipped_tables_of_a_leaf_come_to_the_flat_leaf(kit: str) -> None:
    """At every operating point that ships."""
    shipped = load_tables(shipped_tables_dir(kit))
    inside = shipped["dff_energy_j"].select(event="clock_internal").values
    leaf, flat = (shipped["clock_tree_j"].select(part=part).values for part in ("leaf", "flat"))
    assert inside.shape == leaf.shape
    assert inside + leaf == pytest.approx(flat, rel=0.03)
