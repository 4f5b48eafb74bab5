"""The macro's clock, leakage, area and density from tables and sourced cell areas.

Clock: the longest of the compartment's sequenced cycle, the shift-accumulator's step, and the multi-cycle paths
(adder tree, FP32 adder), each of which has all serial cycles of one product, being cut off by registers on both
sides. An integer macro's post-sum is isolated from accumulators that still count, so it has the one cycle in which
they hold the product. Area = Σ blocks / utilisation, low and high over the bitcell, the cell library and the
utilisation. 1 Kb = 1024 bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from charlib.units import KB_BIT
from system.assumptions import constant
from system.circuit import MacroCircuit, Term
from system.composed import TREE
from system.structure import MacroStructure

#: tables of SRAM cells' leakage, alone and with a compartment's periphery
SRAM_LEAKAGE = ("bitcell_leakage_w", "compartment_leakage_w")
#: a buffer is an inverter and one three times as wide
BUFFER_INVERTERS = 4.0
#: transistors a column needs beside its cells: precharge 3, write driver 2, mux 2
_COLUMN_TRANSISTORS = 7
#: a computed column's: local unit 4, precharge and keeper 3
_COMPUTED_TRANSISTORS = 7
_CELL_TRANSISTORS = 6
#: full-adder delays in an FP32 addition: exponent difference, significand sum, rounding; shifts counted as 1 a rank
_FP32_PATH_ADDERS = 8 + 28 + 24 + 10
#: circuits of an integer macro in the table `integer_cell_count`
INTEGER_BLOCKS = {"input_serialiser": "int8_serialiser", "shift_accumulator": "int8_accumulator",
                  "adder_tree": "int8_post_sum"}


@dataclass(frozen=True)
class Clock:
    """`paths_s`: the least cycle that each path asks for; the longest wins."""

    cycle_s: float
    limited_by: str
    paths_s: Mapping[str, float]


@dataclass(frozen=True)
class Area:
    """Placed area by block at the nominal choice, and the total's range."""

    blocks_m2: Mapping[str, float]
    total_m2: float
    low_m2: float
    high_m2: float


def clock(circuit: MacroCircuit) -> Clock:
    """The macro's cycle time at its node."""
    m, reader = circuit.structure, circuit.reader
    flip_flop = (reader.read("dff_delay_s", metric="clock_to_q").value
                 + reader.read("dff_delay_s", metric="setup").value)
    if not m.floating:
        return _slowest(circuit, _integer_paths(circuit, flip_flop))
    adder = reader.read("cell_delay_s", cell="full_adder", **circuit.conditions()).value
    levels = math.ceil(math.log2(m.compartments))
    # each further bit of a cycle is one more row of carry-save adders before the accumulator
    step = (reader.read("shift_accumulator_delay_s", bits=float(m.operand_bits)).value
            + (m.serial_bits - 1) * adder)
    tree = adder * (m.lane_bits + 2 * levels) + flip_flop
    accumulator = adder * _FP32_PATH_ADDERS + flip_flop
    if circuit.composed(TREE, "block_delay_s"):
        tree = circuit.read("block_delay_s", TREE).value + flip_flop  # the longest of its pipeline's stages
    if circuit.composed("compartment_accumulator", "block_delay_s"):
        accumulator = max(reader.read("block_delay_s", block=block).value
                          for block in ("compartment_accumulator", "tile_accumulator")) + flip_flop
    return _slowest(circuit, {
        "compartment": _compartment_s(circuit), "shift_accumulator": step, "adder_tree": tree / m.serial_cycles,
        "fp32_accumulator": accumulator / m.serial_cycles})


def _compartment_s(circuit: MacroCircuit) -> float:
    return circuit.reader.read("compartment_delay_s", rows=float(circuit.structure.rows),
                               columns=float(circuit.flat_columns), phase="cycle").value


def _integer_paths(circuit: MacroCircuit, flip_flop_s: float) -> dict[str, float]:
    """Of the blocks' own circuits, else of the unsigned bench and of full adders in a row."""
    m, reader = circuit.structure, circuit.reader
    if reader.has("integer_delay_s"):
        step, tree = (reader.read("integer_delay_s", block=block).value
                      for block in (INTEGER_BLOCKS["shift_accumulator"], INTEGER_BLOCKS["adder_tree"]))
    else:
        adder = reader.read("cell_delay_s", cell="full_adder", **circuit.conditions()).value
        step = reader.read("shift_accumulator_delay_s", bits=float(m.operand_bits)).value
        tree = adder * (m.lane_bits + 2 * math.ceil(math.log2(m.compartments)))
    return {"compartment": _compartment_s(circuit), "shift_accumulator": step + flip_flop_s,
            "adder_tree": tree + flip_flop_s}


def _slowest(circuit: MacroCircuit, paths: Mapping[str, float]) -> Clock:
    scaled = {name: value * circuit.tech.ratio.delay for name, value in paths.items()}
    slowest = max(scaled, key=lambda name: scaled[name])
    return Clock(scaled[slowest], slowest, scaled)


def tree_full_adders(lanes: int, bits: int) -> int:
    """Full adders of an unsigned ripple tree over a power of two of lanes."""
    return lanes * (bits + 1) - (bits + math.ceil(math.log2(lanes)) + 1)


def _counted(circuit: MacroCircuit, block: str) -> dict[str, float]:
    """Cells of a generated block from its own netlist, where the tables count it; a buffer is two inverters."""
    if not circuit.reader.has("block_cell_count"):
        return {}
    table, _ = circuit.reader.table("block_cell_count")
    if block not in table.axis("block").points:
        return {}
    found: dict[str, float] = {}
    for cell in (str(p) for p in table.axis("cell").points):
        count = circuit.reader.read("block_cell_count", block=block, cell=cell).value
        name, each = ("inv", 2.0) if cell == "buffer" else (cell, 1.0)
        if count:
            found[name] = found.get(name, 0.0) + count * each
    return found


def logic_cells(m: MacroStructure, circuit: MacroCircuit) -> dict[str, dict[str, float]]:
    """Cells (flip-flops as "dff") of each logic block of a macro."""
    cells: dict[str, dict[str, float]] = {}
    for name, block in circuit.blocks.items():
        cells[name] = {cell: count * block.copies for cell, count in block.cells.items()}
        cells[name]["dff"] = cells[name].get("dff", 0) + block.flip_flops * block.copies
    cells["compartment_flip_flops"] = {"dff": m.compartments * m.word_bits}
    cells["wordline_drivers"] = {"inv": 4 * m.compartments * m.rows}
    if not m.floating:
        del cells["input_register"]
        return cells | _integer_cells(m, circuit)
    product, lane_bits = 2 * m.operand_bits, m.lane_bits
    tree = {"full_adder": float(tree_full_adders(m.compartments, lane_bits))}
    step = {"full_adder": float(product), "dff": float(product), "nand2": product / 2}
    step = _counted(circuit, f"shift_accumulator_{m.operand_bits}") or step
    if m.serial_bits > 1:
        step = step | {"full_adder": step.get("full_adder", 0.0) + (m.serial_bits - 1) * product}
    cells["adder_tree"] = (circuit.counted("adder_tree")
                           or _counted(circuit, f"adder_tree_{m.compartments}x{lane_bits}") or tree)
    cells["shift_accumulator"] = {cell: n * m.compartments for cell, n in step.items()}
    return cells


def _integer_cells(m: MacroStructure, circuit: MacroCircuit) -> dict[str, dict[str, float]]:
    """The datapath of an integer macro: of its own netlists, else in closed form."""
    lanes, reader = m.compartments * m.products, circuit.reader
    copies = {"input_serialiser": m.compartments, "shift_accumulator": lanes, "adder_tree": m.products}
    found = {"column_select": {cell: n * m.compartments for cell, n in circuit.counted("column_select").items()}}
    if reader.has("integer_cell_count"):
        kinds = [str(p) for p in reader.table("integer_cell_count")[0].axis("cell").points]
        for name, each in copies.items():
            counts = {kind: reader.read("integer_cell_count", block=INTEGER_BLOCKS[name], cell=kind).value * each
                      for kind in kinds}
            found[name] = {kind: n for kind, n in counts.items() if n}
        return found
    width = m.lane_bits
    return found | {
        "input_serialiser": {"mux2": float(m.compartments * m.operand_bits),
                             "dff": float(m.compartments * m.operand_bits)},
        "shift_accumulator": {cell: float(lanes * width) for cell in ("full_adder", "nand2", "inv", "dff")},
        "adder_tree": {"full_adder": float(m.products * tree_full_adders(m.compartments, width))}}


def leakage(circuit: MacroCircuit) -> tuple[Term, ...]:
    """Standing power of one macro; carried between nodes at equal watts (no published ratio is used) [I]."""
    m, reader = circuit.structure, circuit.reader
    array = reader.read("compartment_leakage_w", rows=float(m.rows), columns=float(circuit.flat_columns))
    terms = [Term(array, m.compartments * m.columns / circuit.flat_columns, 1.0, "arrays with their periphery")]
    totals: dict[str, float] = {}
    for name, block in logic_cells(m, circuit).items():
        if name in ("compartment_flip_flops", "wordline_drivers"):
            continue  # inside the compartment's own figure
        for cell, count in block.items():
            totals[cell] = totals.get(cell, 0) + count
    for cell, count in sorted(totals.items()):
        if not count:
            continue
        reading = (reader.read("dff_leakage_w") if cell == "dff"
                   else reader.read("cell_leakage_w", cell="inv" if cell == "buffer" else cell))
        each = BUFFER_INVERTERS if cell == "buffer" else 1.0
        terms.append(Term(reading, count * each, 1.0, f"{count:g} {cell}"))
    return tuple(terms)


def buffer_leakage(circuit: MacroCircuit, bits: int) -> tuple[Term, ...]:
    """Standing power of the on-chip buffer: cells as the arrays have, half of them holding 1, and a stated periphery.

    Watts are carried between nodes as those of the arrays are: equal [I].
    """
    periphery = constant("buffer_periphery_leakage").pick(circuit.tech.choice)
    return tuple(Term(circuit.reader.read("bitcell_leakage_w", stored=stored), 0.5 * bits * periphery, 1.0,
                      f"{bits} bits, half of them {stored}, periphery × {periphery:g}") for stored in ("0", "1"))


def _cell_area(cell: str, node_nm: int, library: str) -> float:
    known = constant(f"area_{cell}_{library}_m2")
    return known.value * (node_nm / known.node_nm) ** 2


def _bitcell_area(node_nm: int, rule: str) -> float:
    known = constant("bitcell_push_rule_28_m2" if rule == "push" else "bitcell_logic_rule_45_m2")
    return known.value * (node_nm / known.node_nm) ** 2


def _blocks_m2(circuit: MacroCircuit, rule: str, library: str, utilisation: float) -> dict[str, float]:
    m, node = circuit.structure, circuit.tech.node_nm
    bit = _bitcell_area(node, rule)
    device = bit / _CELL_TRANSISTORS
    columns = m.compartments * (m.columns * _COLUMN_TRANSISTORS
                                + m.word_bits * m.serial_bits * _COMPUTED_TRANSISTORS)
    blocks = {"bitcells": m.capacity_bit * bit, "column_periphery": columns * device / utilisation}
    for name, counts in logic_cells(m, circuit).items():
        blocks[name] = sum(n * _cell_area(kind, node, library) for kind, n in counts.items()) / utilisation
    if m.floating:
        bits = m.addresses * 32
        blocks["partial_sum_registers"] = bits * constant("buffer_area_m2_per_bit").value * (node / 28) ** 2
    return blocks


def area(circuit: MacroCircuit, libraries: tuple[str, str] = ("45", "28")) -> Area:
    """Area by block; nominal is the geometric mean of its range, block by block.

    libraries: nodes of the cell areas at the low and the high end. "28" was fitted to chips that include `yan2022`,
    so for that one only "45" is independent.
    """
    spread = constant("utilisation")
    low = _blocks_m2(circuit, "push", libraries[0], spread.high)
    high = _blocks_m2(circuit, "logic", libraries[1], spread.low)
    blocks = {name: math.sqrt(low[name] * high[name]) for name in low}
    return Area(blocks, sum(blocks.values()), sum(low.values()), sum(high.values()))


def density_kb_per_mm2(structure: MacroStructure, area_m2: float) -> float:
    """Capacity over area; 1 Kb = 1024 bit."""
    return structure.capacity_bit / KB_BIT / (area_m2 * 1e6)
