"""The macro's clock, leakage, area and density from tables and sourced cell areas.

Clock: the longest of the compartment's sequenced cycle, the shift-accumulator's step, and the multi-cycle paths
(adder tree, FP32 adder) of composed circuits, each of which has all serial cycles of one product, being cut off by
registers on both sides. An integer macro's post-sum is isolated from accumulators that still count, so it has the one
cycle in which they hold the product. Area = Σ blocks / utilisation, low and high over the bitcell, the cell library
and the utilisation; clock gates and the clock tree's buffers, a cell or two a leaf of 16 flip-flops, have energy but
neither area nor leakage here. 1 Kb = 1024 bit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from charlib.units import KB_BIT
from system.assumptions import constant
from system.circuit import COLUMNS_A_WIRE, MacroCircuit, Term
from system.composed import TREE
from system.readings import Reading
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
#: nodes of the cell areas at the low and the high end of a macro's area
AREA_LIBRARIES = ("45", "28")
#: circuits of an integer macro in the table `integer_cell_count`
INTEGER_BLOCKS = {"input_serialiser": "int8_serialiser", "shift_accumulator": "int8_accumulator",
                  "adder_tree": "int8_post_sum"}


@dataclass(frozen=True)
class Clock:
    """`paths_s`: the least cycle that each path asks for; the longest wins. terms: what each is the sum of, at the
    nominal point."""

    cycle_s: float
    limited_by: str
    paths_s: Mapping[str, float]
    terms: Mapping[str, tuple[Term, ...]] = field(default_factory=dict)

    def sigma(self, path: str, causes: Collection[str] | None = None) -> float:
        """One relative standard deviation of a path, of all causes or of these: what a cause does to a table's
        values, it does to all of them."""
        sums: dict[tuple[str, str], float] = {}
        for term in self.terms.get(path, ()):
            for cause, size in term.reading.causes.items():
                if causes is None or cause in causes:
                    key = (cause, term.reading.source)
                    sums[key] = sums.get(key, 0.0) + size * term.value
        return math.hypot(*sums.values()) / math.fsum(t.value for t in self.terms[path]) if sums else 0.0

    @property
    def causes(self) -> set[str]:
        """Of the uncertainty of any path."""
        return {cause for terms in self.terms.values() for term in terms for cause in term.reading.causes}


@dataclass(frozen=True)
class Area:
    """Placed area by block at the nominal choice and at both ends, and the total's range."""

    blocks_m2: Mapping[str, float]
    total_m2: float
    low_m2: float
    high_m2: float
    ends_m2: tuple[Mapping[str, float], Mapping[str, float]]


def clock(circuit: MacroCircuit) -> Clock:
    """The macro's cycle time at its node. BadInput where the tables hold no circuit of a path."""
    m, reader = circuit.structure, circuit.reader
    registers = tuple(reader.read("dff_delay_s", metric=metric) for metric in ("clock_to_q", "setup"))
    compartment = (reader.read("compartment_delay_s", rows=float(m.rows), columns=float(circuit.flat_columns),
                               phase="cycle"),)
    if not m.floating:
        return _slowest(circuit, {"compartment": compartment} | {
            path: (reader.read("integer_delay_s", block=INTEGER_BLOCKS[path]), *registers)
            for path in ("shift_accumulator", "adder_tree")})
    step = [reader.read("shift_accumulator_delay_s", bits=float(m.operand_bits))]
    if m.serial_bits > 1:  # each further bit of a cycle is one more row of carry-save adders before the accumulator
        adder = reader.read("cell_delay_s", cell="full_adder", **circuit.conditions())
        step += [adder] * (m.serial_bits - 1)
    accumulator = max((circuit.read("block_delay_s", block)
                       for block in ("compartment_accumulator", "tile_accumulator")), key=lambda one: one.value)
    tree = circuit.read("block_delay_s", TREE)  # the longest of its pipeline's stages
    return _slowest(circuit, {"compartment": compartment, "shift_accumulator": step},
                    {"adder_tree": (tree, *registers), "fp32_accumulator": (accumulator, *registers)})


def _slowest(circuit: MacroCircuit, single: Mapping[str, Sequence[Reading]],
             multi: Mapping[str, Sequence[Reading]] | None = None) -> Clock:
    """Of paths that have one cycle, and of those that have all serial cycles of a product."""
    factor, cycles = circuit.tech.ratio.delay, circuit.structure.serial_cycles
    terms = {path: tuple(Term(reading, 1.0, factor) for reading in readings) for path, readings in single.items()}
    terms |= {path: tuple(Term(reading, 1 / cycles, factor, f"one of {cycles} cycles") for reading in readings)
              for path, readings in (multi or {}).items()}
    paths = {path: math.fsum(term.value for term in found) for path, found in terms.items()}
    slowest = max(paths, key=lambda path: paths[path])
    return Clock(paths[slowest], slowest, paths, terms)


def _counted(circuit: MacroCircuit, block: str) -> dict[str, float]:
    """Cells of a generated block from its own netlist; a buffer is two inverters."""
    table, _ = circuit.reader.table("block_cell_count")
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
    cells["compartment_flip_flops"] = {"dff": m.compartments * circuit.clocking.latches}
    cells["wordline_drivers"] = {"inv": 4 * m.compartments * m.rows}
    if not m.floating:
        del cells["input_register"]
        return cells | _integer_cells(m, circuit)
    step = _counted(circuit, f"shift_accumulator_{m.operand_bits}")
    if m.serial_bits > 1:
        step["full_adder"] = step.get("full_adder", 0.0) + (m.serial_bits - 1) * 2 * m.operand_bits
    cells["adder_tree"] = circuit.counted("adder_tree")
    cells["shift_accumulator"] = {cell: n * m.compartments for cell, n in step.items()}
    return cells


def _integer_cells(m: MacroStructure, circuit: MacroCircuit) -> dict[str, dict[str, float]]:
    """The datapath of an integer macro, of its own netlists."""
    reader = circuit.reader
    copies = {"input_serialiser": m.compartments, "shift_accumulator": m.compartments * m.products,
              "adder_tree": m.products}
    found = {"column_select": {cell: n * m.compartments for cell, n in circuit.counted("column_select").items()}}
    kinds = [str(p) for p in reader.table("integer_cell_count")[0].axis("cell").points]
    for name, each in copies.items():
        counts = {kind: reader.read("integer_cell_count", block=INTEGER_BLOCKS[name], cell=kind).value * each
                  for kind in kinds}
        found[name] = {kind: n for kind, n in counts.items() if n}
    return found


def leakage(circuit: MacroCircuit) -> tuple[Term, ...]:
    """Standing power of one macro; carried between nodes at equal watts (no published ratio is used) [I]."""
    m, reader = circuit.structure, circuit.reader
    array = reader.read("compartment_leakage_w", rows=float(m.rows), columns=float(circuit.flat_columns))
    terms = [Term(array, m.compartments * m.columns / circuit.flat_columns, 1.0, "arrays with their periphery")]
    # of the compartment's flip-flops its own figure holds one at each wire; further serial bits have their own
    totals = {"dff": m.compartments * (circuit.clocking.latches - m.columns / COLUMNS_A_WIRE)}
    for name, block in logic_cells(m, circuit).items():
        if name in ("compartment_flip_flops", "wordline_drivers"):
            continue  # inside the compartment's own figure, but for those above
        for cell, count in block.items():
            totals[cell] = totals.get(cell, 0) + count
    for cell, count in sorted(totals.items()):
        if not count:
            continue
        reading = (reader.read("dff_leakage_w") if cell == "dff"
                   else reader.read("cell_leakage_w", cell="inv" if cell == "buffer" else cell))
        each = BUFFER_INVERTERS if cell == "buffer" else 1.0
        terms.append(Term(reading, count * each, 1.0, f"{count:g} {cell}"))
    return (*terms, *buffer_leakage(circuit, partial_sum_bits(m)))


def buffer_leakage(circuit: MacroCircuit, bits: int) -> tuple[Term, ...]:
    """Standing power of a buffer: cells as the arrays have, half of them holding 1, and a stated periphery.

    Watts are carried between nodes as those of the arrays are: equal [I].
    """
    periphery = constant("buffer_periphery_leakage").pick(circuit.tech.choice)
    return tuple(Term(circuit.reader.read("bitcell_leakage_w", stored=stored), 0.5 * bits * periphery, 1.0,
                      f"{bits} bits, half of them {stored}, periphery × {periphery:g}")
                 for stored in ("0", "1") if bits)


def partial_sum_bits(m: MacroStructure) -> int:
    """Of a macro's register file: an FP32 sum an address; an integer macro has none."""
    return m.addresses * 32 if m.floating else 0


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
        blocks["partial_sum_registers"] = (partial_sum_bits(m) * constant("buffer_area_m2_per_bit").value
                                           * (node / 28) ** 2)
    return blocks


def area(circuit: MacroCircuit, libraries: tuple[str, str] = AREA_LIBRARIES) -> Area:
    """Area by block; nominal is the geometric mean of its range, block by block.

    libraries: nodes of the cell areas at the low and the high end. "28" was fitted to chips that include `yan2022`,
    so for that one only "45" is independent.
    """
    spread = constant("utilisation")
    low = _blocks_m2(circuit, "push", libraries[0], spread.high)
    high = _blocks_m2(circuit, "logic", libraries[1], spread.low)
    blocks = {name: math.sqrt(low[name] * high[name]) for name in low}
    return Area(blocks, sum(blocks.values()), sum(low.values()), sum(high.values()), (low, high))


def density_kb_per_mm2(structure: MacroStructure, area_m2: float) -> float:
    """Capacity over area; 1 Kb = 1024 bit."""
    return structure.capacity_bit / KB_BIT / (area_m2 * 1e6)
