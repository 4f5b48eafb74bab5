"""The one enumeration of what draws energy: blocks, the events that fire them, and their cells.

Nothing toggles for free: every event of the mapping names a block here, and a test fails on one that does not.
A block's energy comes from its own circuit, composed of characterised cells (:mod:`system.composed`). Where the
tables at hand hold none (a kit without pair tables), closed-form cell counts
× cell tables × a stated activity (output transitions of a cell per operation) stand in; those are inferred [I].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
    """A block as cells. `activity`: output transitions of each cell per operation; `flip_flops` are clocked
    by the macro's clock tree, and `flip_flop_toggles` of them change per operation."""

    name: str
    cells: Mapping[str, float]
    activity: float
    flip_flops: int
    flip_flop_toggles: float
    copies: int  #: how many a macro holds
    basis: str


def _adder(bits: int) -> dict[str, float]:
    return {"full_adder": bits}


def _shifter(bits: int, reach: int) -> dict[str, float]:
    """A logarithmic shifter: one rank of multiplexers for each power of two up to `reach`."""
    return {"mux2": bits * max(1, math.ceil(math.log2(reach + 1)))}


def _merge(*parts: Mapping[str, float]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for cell, count in part.items():
            total[cell] = total.get(cell, 0) + count
    return total


def _times(part: Mapping[str, float], n: float) -> dict[str, float]:
    return {cell: count * n for cell, count in part.items()}


def fp32_adder_cells(bits: int = 24) -> dict[str, float]:
    """Exponent difference, swap, align, add, leading-zero detect, normalise, round."""
    return _merge(_times(_adder(8), 2), {"mux2": 2 * (bits + 8)}, _shifter(bits + 3, bits), {"xor2": bits + 3},
                  _adder(bits + 4), _leading_zero(bits + 4), _shifter(bits + 3, bits), {"half_adder": bits})


def _leading_zero(bits: int) -> dict[str, float]:
    return {"nand2": 2 * bits, "inv": bits, "mux2": bits}


def cell_blocks(m: MacroStructure) -> dict[str, CellBlock]:
    """Closed-form cell counts of the blocks that have no simulated circuit yet [I]."""
    lanes, lane, exponent = m.compartments, m.lane_bits, m.exponent_bits
    tree_out = lane + math.ceil(math.log2(lanes)) + 1
    product = 2 * (m.mantissa_bits + 1)
    one_fp32 = fp32_adder_cells(m.accumulator_bits)
    groups = lanes // m.depthwise_group
    if not m.floating:
        control = CellBlock("macro_control", {"nand2": 200, "inv": 100}, 0.1, 32, 4, 1, "sequencer [I]")
        return {"macro_control": control,
                "decoder": CellBlock("decoder", _decoder_cells(m), 0.15, 0, 0, lanes, "NAND tree of rows + mux"),
                "input_register": CellBlock("input_register", {"mux2": 8}, 0.5, 8, 4, lanes, "8-bit register")}
    return {block.name: block for block in (
        CellBlock("input_register", {"mux2": m.word_bits}, 0.5, m.word_bits, m.word_bits / 2, lanes,
                  "load multiplexer and flip-flop a bit; half the bits change"),
        CellBlock("input_serialiser", {"mux2": product / 2}, product / 2, product // 2, product, lanes,
                  "shift register with load, once a serial cycle"),
        CellBlock("gradient_gate", {"nand2": 2 * m.word_bits, "inv": 2 * m.word_bits}, 0.25, 0, 0, lanes,
                  "sign, zero and limit of the pre-activation gate the gradient"),
        CellBlock("column_select", {"nand2": 2 * m.mux, "inv": m.mux + 2}, 0.25, 0, 0, lanes, "one of the words"),
        CellBlock("exponent_adder", _merge(_adder(9), _adder(exponent), {"xor2": 1}), 0.5, exponent + 1,
                  (exponent + 1) / 2, lanes, "two ripple adders and the sign's XOR"),
        CellBlock("hidden_bit_generator", {"nand2": 3 * 8, "inv": 8}, 0.25, 3, 1, lanes,
                  "zero, all-ones and flag detection on both exponents"),
        CellBlock("maximum_tree", _times(_merge(_adder(exponent), {"mux2": exponent, "inv": exponent}),
                                         lanes - 1), 0.4, 0, 0, 1,
                  "lanes − 1 comparators (subtract) and selectors"),
        CellBlock("aligners", _times(_merge(_adder(exponent), _shifter(lane, lane), {"xor2": lane},
                                            {"half_adder": lane}), lanes), 0.4, 0, 0, 1,
                  "subtract, logarithmic shift, two's complement per lane"),
        CellBlock("special_flags", {"nand2": 5 * lanes, "inv": 4 * lanes}, 0.1, 0, 0, 1,
                  "or over the lanes' NaN and signed infinity flags"),
        CellBlock("pipeline_registers", {}, 0.0, lanes * lane, lanes * lane / 4, 1, "one rank after alignment"),
        CellBlock("normaliser", _merge({"xor2": tree_out, "half_adder": tree_out}, _leading_zero(tree_out),
                                       _shifter(tree_out, tree_out), _adder(exponent),
                                       {"half_adder": m.accumulator_bits}), 0.5, 32, 16, 1 + groups,
                  "magnitude, leading zeros, shift, exponent, rounding; one for the tree and one a tap group"),
        CellBlock("tile_accumulator", one_fp32, 0.5, 32, 16, 1 + groups,
                  "FP32 adder with its register; one for the tree and one a tap group"),
        CellBlock("compartment_accumulator", one_fp32, 0.5, 32, 16, lanes, "FP32 adder with its register"),
        CellBlock("hadamard_post", _merge({"mux2": product}, {"half_adder": 8}, _adder(exponent)), 0.5, 16, 8,
                  lanes, "one-bit normalise, round to 8 bits, exponent correction"),
        CellBlock("update_adder", one_fp32, 0.5, 32, 16, 1, "FP32 adder beside the write port"),
        CellBlock("stochastic_source", _merge({"xor2": 16 * 3}, _adder(16)), 0.5, 32, 16, 1,
                  "16 random bits a weight from a 32-bit register, added below the kept bits"),
        CellBlock("decoder", _decoder_cells(m), 0.15, 0, 0, lanes, "row decoder"),
        CellBlock("macro_control", {"nand2": 400, "inv": 200, "mux2": 60}, 0.1, 64, 8, 1,
                  "address counters, serial-cycle counter and pass sequencing"),
    )}


def _decoder_cells(m: MacroStructure) -> dict[str, float]:
    row_bits = max(1, math.ceil(math.log2(m.rows)))
    return {"nand2": m.rows * max(1, row_bits - 1) + 2 * m.mux, "inv": m.rows + m.mux + row_bits}
