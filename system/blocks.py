"""The one enumeration of what draws energy: blocks, the events that fire them, and how many a macro holds.

Nothing toggles for free: every event of the mapping names a block here, and a test fails on one that does not.
A block's cells and energy are those of its own circuit, composed of characterised cells (:mod:`system.composed`);
where the tables at hand hold none (a kit without pair tables), it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from charlib.errors import BadInput
from system.structure import MacroStructure

PASSES = ("forward", "input_gradient", "weight_gradient", "update")
BOUNDARIES = ("macro_only", "with_buffers", "system")


@dataclass(frozen=True)
class Event:
    """One countable thing that happens, the block that pays for it and the boundary it enters with."""

    name: str
    block: str
    boundary: str
    unit: str  #: what one event is


def _events(boundary: str, *rows: tuple[str, str, str]) -> tuple[Event, ...]:
    return tuple(Event(name, block, boundary, unit) for name, block, unit in rows)


EVENTS: dict[str, Event] = {event.name: event for event in (
    *_events(
        "macro_only",
        ("compartment_product", "compartment", "one serial product in one compartment, all its cycles"),
        ("idle_lane_product", "compartment", "one product time of a compartment whose lane is masked"),
        ("input_load", "input_register", "one operand loaded into a lane's serial register"),
        ("serial_bits", "input_serialiser", "one significand shifted out bit by bit"),
        ("shift_accumulate", "shift_accumulator", "one exact mantissa product in one lane"),
        ("exponent_add", "exponent_adder", "sign and exponent of one product"),
        ("hidden_bit", "hidden_bit_generator", "hidden bit, zero gating and flags of one product"),
        ("tree_maximum", "maximum_tree", "maximum exponent of one vector of lanes"),
        ("tree_align", "aligners", "alignment of one vector of lanes"),
        ("tree_add", "adder_tree", "one fused sum over the lanes"),
        ("tree_normalise", "normaliser", "leading-zero detection, shift and rounding of one sum"),
        ("tree_flags", "special_flags", "NaN and infinity flags of one vector of lanes"),
        ("tree_registers", "pipeline_registers", "pipeline registers of the tree that change in one operation"),
        ("tile_accumulate", "tile_accumulator", "one FP32 addition of a tile's sum"),
        ("lane_accumulate", "compartment_accumulator", "one FP32 addition in a compartment's accumulator"),
        ("hadamard_round", "hadamard_post", "one BF16 element-wise product normalised and rounded"),
        ("gradient_gate", "gradient_gate", "one gradient passed or stopped by the activation's f'"),
        ("update_add", "update_adder", "one FP32 addition of an update to a weight"),
        ("stochastic_bits", "stochastic_source", "random bits and their addition for one rounded weight"),
        ("array_write", "array_write", "one word written into a compartment"),
        ("array_read", "array_read", "one word read out of a compartment"),
        ("decode", "decoder", "row decoder of one compartment moves to a new address"),
        ("column_select", "column_select", "column select of one compartment moves to a new address"),
        ("macro_cycle_clock", "clock_tree", "one cycle of the macro's clock outside the simulated circuits"),
        ("macro_cycle_write", "clock_tree", "one cycle of the macro's clock that writes or updates a word"),
        ("macro_cycle_control", "macro_control", "one cycle of a macro's sequencer"),
        ("busy_leakage", "busy_leakage", "one second of one macro at work"),
    ),
    *_events(
        "with_buffers",
        ("vector_add", "vector_unit", "one FP32 addition of the vector unit"),
        ("vector_multiply", "vector_unit", "one FP32 multiplication of the vector unit"),
        ("vector_compare", "vector_unit", "one comparison of the vector unit"),
        ("buffer_bit", "buffers", "one bit read from or written to the on-chip buffer"),
        ("local_bit", "local_registers", "one bit of a macro's partial-sum register file"),
        ("noc_bit", "network_on_chip", "one bit carried between buffer and macro"),
        ("buffer_leakage", "buffer_leakage", "one second of the on-chip buffer"),
        ("chip_control", "chip_control", "one joule of array, buffer and vector work, sequenced"),
        ("chip_clock", "chip_clock", "one joule of array, buffer and vector work, clocked"),
    ),
    *_events(
        "system",
        ("dram_bit", "dram_access", "one bit read from or written to DRAM"),
        ("dram_interface_bit", "dram_interface", "one bit through controller and PHY"),
        ("dram_background", "dram_background", "one second of refresh and standby"),
        ("idle_leakage", "idle_leakage", "one second of one idle macro"),
        ("regulator", "regulator_loss", "one joule delivered on the chip, lost on its way"),
    ),
)}  # fmt: skip


#: blocks whose circuit is a part of the fused tree, so that one circuit serves all lanes and tap groups
TREE_BLOCKS = ("maximum_tree", "aligners", "adder_tree", "normaliser", "special_flags", "pipeline_registers")


def event(name: str) -> Event:
    """The event of that name."""
    if name not in EVENTS:
        raise BadInput(f"event '{name}': no block pays for it; known are {', '.join(EVENTS)}")
    return EVENTS[name]


@dataclass(frozen=True)
class CellBlock:
    """A block of logic. flip_flops: clocked by the macro's clock tree; cells: the others, of its own circuit."""

    name: str
    flip_flops: int
    copies: int  #: how many a macro holds
    cells: Mapping[str, float] = field(default_factory=dict)


def cell_blocks(m: MacroStructure) -> dict[str, CellBlock]:
    """The blocks of a macro. Flip-flops are those of the circuit that the tables hold; where it holds none, the
    register at its outputs that is stated here [I]."""
    lanes, groups = m.compartments, 1 + m.compartments // m.depthwise_group
    if m.floating:
        found = {
            "input_register": (m.word_bits, lanes), "input_serialiser": (m.mantissa_bits + 1, lanes),
            "gradient_gate": (0, lanes), "column_select": (0, lanes),
            "exponent_adder": (m.exponent_bits + 1, lanes),  # exponent and sign of the product
            "hidden_bit_generator": (3, lanes),  # zero, infinity, NaN
            "maximum_tree": (0, 1), "aligners": (0, 1), "special_flags": (0, 1),
            "pipeline_registers": (lanes * m.lane_bits, 1),
            # one for the tree and one a tap group; normalised sum and FP32 result
            "normaliser": (32, groups), "tile_accumulator": (32, groups), "compartment_accumulator": (32, lanes),
            "hadamard_post": (16, lanes), "update_adder": (32, 1), "stochastic_source": (32, 1),
            "decoder": (0, lanes), "macro_control": (64, 1)}
    else:
        found = {"macro_control": (32, 1), "decoder": (0, lanes), "input_register": (8, lanes)}
    return {name: CellBlock(name, flip_flops, copies) for name, (flip_flops, copies) in found.items()}
