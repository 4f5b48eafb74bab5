"""From tables to joules per event: the composition of the macro out of simulated pieces.

Compartment: the flat structure of the tables has `columns` columns, a quarter of them computed. Lines that every
column repeats are multiplied by the columns, compute wires by the computed ones; the wordline (already loaded with a
whole row of 64), the decoder and the control line stand once. Mantissa columns see the serial bits; sign and exponent
are read through. Under "hold" a word is one "reread" cycle, which opens the row, and the table's "hold" cycles after
it, of as many products as the structure lets a word serve. A column's flip-flop is paid by its own table: data by the
probability that it changes, its inside in every cycle that clocks it, in a masked lane too; its pin by the tree.
Logic is its circuit composed of cells, on operands of stated statistics; what the tables hold no circuit of is
refused, and so are statistics beyond the tables' axes, unless a training run recorded them: these are priced at the
axis's end, which is said (:class:`Beyond`). Constants of other nodes are carried to this one by V² and
Stillmaker–Baas.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from charlib.errors import BadInput
from system import composed
from system.assumptions import constant
from system.blocks import EVENTS, TREE_BLOCKS, CellBlock, cell_blocks
from system.clocking import CLOCK_GATING, Clocking, Clocks
from system.composed import Standing
from system.readings import Reader, Reading
from system.scaling import Ratio, energy_ratio, scale
from system.structure import MacroStructure

#: lines that stand once a compartment (the bench loads them with the whole row); the others repeat with the columns
SHARED_LINES = ("wordline", "input_logic", "decoder", "control")
#: columns of the row that the bench's wordline, input lines and delays are of, and columns that share a compute wire
ROW_COLUMNS, COLUMNS_A_WIRE = 64, 4
#: lanes of a tap group in the composed trees
TREE_GROUP = 9
#: lines that every serial bit of a cycle has for itself; the others move once a cycle
BIT_LINES = ("compute_wire", "input_logic")
#: lines of the bench that its flip-flop and a driver of its pin draw
FLIP_FLOP_LINES = ("ff_data", "ff_clock")
#: what becomes of operand statistics beyond the tables' axes: refused, or priced at the axis's end
STATISTICS_BEYOND = ("refuse", "end")
#: statistic -> the table and the axis that bound it
_BOUNDS = {"exponent_spread": ("block_energy_j", "exponent_spread"), "zero_share": ("block_energy_j", "zero_share"),
           "toggle": ("shift_accumulator_energy_j", "activity")}
#: nominal condition of a cell -> the axis of its delay
_CONDITIONS = {"nominal_slew_s": "slew_s", "nominal_load_f": "load_f"}


@dataclass(frozen=True)
class Activity:
    """Densities and toggle rates of the data; 0.5 is uniform random, measured ones come from training."""

    input_density: float = 0.5  #: share of ones among serial mantissa bits
    weight_density: float = 0.5  #: share of ones among stored bits
    toggle: float = 0.5  #: activity coordinate of the tree and shift-accumulator tables
    exponent_spread: float = 2.0  #: standard deviation of the operands' exponents, octaves [I]
    zero_share: float = 0.0  #: share of serial operands that are zero
    write_flip: float = 0.5  #: share of written bits that change the cell
    statistics_beyond: str = "refuse"

    def __post_init__(self) -> None:
        for name in ("input_density", "weight_density", "toggle", "write_flip", "zero_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise BadInput(f"activity: {name} must lie in [0, 1], got {getattr(self, name):g}")


@dataclass(frozen=True)
class Beyond:
    """A value beyond a table's axis, `low` to `high`, which is priced at `priced`. field: a statistic of the
    operands, a nominal condition, the columns of a wordline, or the lanes of a tap group."""

    field: str
    asked: float
    priced: float
    low: float
    high: float
    table: str


@dataclass(frozen=True)
class Term:
    """`multiplier` × reading × scale is one contribution to an event's energy (or a macro's power)."""

    reading: Reading
    multiplier: float
    scale: float = 1.0
    note: str = ""

    @property
    def value(self) -> float:
        return self.reading.value * self.multiplier * self.scale


@dataclass(frozen=True)
class Technology:
    """Node, flavour, constants' choice. `ratio` carries the tables to the node; constants go by Stillmaker–Baas."""

    node_nm: int
    flavour: str
    ratio: Ratio
    vdd_v: float
    choice: str = "nominal"

    def constant(self, name: str, multiplier: float = 1.0, note: str = "") -> Term:
        """A sourced constant carried to this node and supply."""
        known = constant(name)
        factor = 1.0
        if known.vdd_v and known.unit.startswith("J"):
            factor = (self.vdd_v / known.vdd_v) ** 2
            if known.node_nm == 45:
                factor *= energy_ratio(self.flavour, self.vdd_v, 45, self.node_nm)
            elif known.node_nm == 28 and self.node_nm == 45:
                factor /= energy_ratio(self.flavour, known.vdd_v)
        reading = Reading(known.pick(self.choice), name, {"choice": self.choice}, (), "constant",
                          citation=known.citation)
        return Term(reading, multiplier, factor, note)


def technology(node_nm: int, flavour: str, vdd_v: float, choice: str = "nominal",
               projection: str = "stillmaker_baas") -> Technology:
    """projection: "stillmaker_baas" scales the tables; "ptm", whose tables are of the node itself, leaves them."""
    ratio = Ratio(flavour, node_nm, node_nm, vdd_v, 1.0, 1.0) if projection == "ptm" \
        else scale(flavour, vdd_v, 45, node_nm)
    return Technology(node_nm, flavour, ratio, vdd_v, choice)


class MacroCircuit:
    """The macro's energies, built from readings at one point, node, structure and activity."""

    def __init__(self, structure: MacroStructure, reader: Reader, tech: Technology, activity: Activity,
                 clock_gating: str = "operation") -> None:
        if clock_gating not in CLOCK_GATING:
            raise BadInput(f"clock_gating: {', '.join(CLOCK_GATING)} are allowed, got '{clock_gating}'")
        self.structure, self.reader, self.tech = structure, reader, tech
        self.activity = activity
        self.blocks = {name: self._counted(block) for name, block in cell_blocks(structure).items()}
        self.clocking = Clocking(structure, self.blocks, clock_gating)
        self.flat_columns = self._flat_columns()
        if structure.columns > ROW_COLUMNS:
            most = ROW_COLUMNS // structure.word_bits
            raise BadInput(f"words_per_row: 1 to {most} is allowed, got {structure.mux}: the wordline that was "
                           f"simulated has {ROW_COLUMNS} columns, and a longer one is slower; ask for fewer")

    def composed(self, block: str, table: str = "block_energy_j") -> bool:
        """Whether the tables hold the block's own circuit, or sizes of it."""
        return composed.holds(self.reader, table, block, self.structure)

    def own(self, block: str, table: str = "block_energy_j") -> bool:
        """Whether the tables hold the block's own circuit, of this size."""
        return composed.own(self.reader, table, block, self.structure)

    def read(self, table: str, block: str, **coordinates: float | str) -> Reading:
        """A value of a composed block at this structure."""
        return composed.read(self.reader, table, block, self.structure, **coordinates)

    def standings(self) -> tuple[Standing, ...]:
        """What each logic block's energy stands on, and the delay of the fused tree."""
        blocks = [*self.blocks, *(("adder_tree",) if self.structure.floating else ())]
        found = [composed.standing(self.reader, "block_energy_j", block, self.structure, **self.statistics())
                 for block in blocks]
        tree = ([composed.standing(self.reader, "block_delay_s", composed.TREE, self.structure)]
                if self.structure.floating else [])
        return (*found, *tree)

    def counted(self, block: str) -> dict[str, float]:
        """Cells of the block's own circuit, flip-flops as "dff"."""
        kinds = self.reader.table("composed_cell_count")[0].axis("cell").points
        found = {str(kind): self.read("composed_cell_count", block, cell=str(kind)).value for kind in kinds}
        return {kind: count for kind, count in found.items() if count}

    def _counted(self, block: CellBlock) -> CellBlock:
        """The block with its circuit's cells, and registers where it has any."""
        cells = self.counted(block.name)
        registers = round(cells.pop("dff", 0))
        return replace(block, cells=cells, flip_flops=registers or block.flip_flops,
                       copies=1 if block.name in TREE_BLOCKS else block.copies)

    def _flat_columns(self) -> int:
        table, _ = self.reader.table("compartment_energy_j")
        return int(float(table.axis("columns").points[0]))

    def _term(self, reading: Reading, multiplier: float, note: str = "") -> Term:
        return Term(reading, multiplier, self.tech.ratio.energy, note)

    # -- arrays ---------------------------------------------------------------------------------------

    def product(self) -> tuple[Term, ...]:
        """One serial product in one compartment: every line, stored bit, input bit and cycle."""
        m, a = self.structure, self.activity
        groups = m.columns / self.flat_columns
        share = m.mantissa_bits / m.word_bits
        fires = m.serial_cycles if m.exponent_fire == "every" else 1
        ones = m.serial_cycles * share * a.input_density + fires * (1 - share)
        cycles = {"1": ones, "0": m.serial_cycles - ones}
        toggles = self._latch_toggles()
        data = self._term(self.reader.read("dff_energy_j", event="data"), toggles, f"{toggles:g} flip-flops change")
        return (*self._compartment_terms(cycles, groups, without=("decoder", *FLIP_FLOP_LINES)), data,
                *self._clocks(self.clocking.product()))

    def decode(self) -> tuple[Term, ...]:
        """Decoder and column select of one product: the table's own line, or the circuit where the bench has none."""
        simulated = self._compartment_terms({"0": float(self.structure.serial_cycles)}, 1.0, only=("decoder",))
        return simulated or self.circuit_terms("decoder")

    def idle_product(self) -> tuple[Term, ...]:
        """A masked lane: wordline and data stay; the clock goes on in its columns and its shift-accumulator."""
        return self._clocks(self.clocking.masked())

    def _latch_toggles(self) -> float:
        """Flip-flops that change in one product: stored bit AND serial bit, each independent of the one before.

        Sign and exponent follow the stored bit, word by word; where their wires fire once but the clock goes on, they
        fall back to 0 in between.
        """
        m, a = self.structure, self.activity
        p, w = a.input_density, a.weight_density
        new_words = 1 / m.rounds_a_word
        mantissa = (m.serial_cycles - new_words) * 2 * w * p * (1 - p) + new_words * 2 * w * p * (1 - w * p)
        falls = self.clocking.gating != "operation" and m.exponent_fire == "once"
        through = 2 * w if falls else new_words * 2 * w * (1 - w)
        return m.serial_bits * (m.mantissa_bits * mantissa + (m.word_bits - m.mantissa_bits) * through)

    def _compartment_terms(self, cycles: dict[str, float], groups: float,
                           only: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> tuple[Term, ...]:
        m, terms = self.structure, []
        table, _ = self.reader.table("compartment_energy_j")
        density = {"1": self.activity.weight_density, "0": 1 - self.activity.weight_density}
        policies = {"reread": 1.0}
        if m.read_policy == "hold":
            opened = 1 / (m.serial_cycles * m.rounds_a_word)
            policies = {"reread": opened, "hold": 1 - opened}
        wires = m.word_bits * COLUMNS_A_WIRE / self.flat_columns
        for line in (str(p) for p in table.axis("line").points):
            if line in ("leakage", *without) or (only and line not in only):
                continue
            repeat = (1.0 if line in SHARED_LINES else wires if line == "compute_wire" else groups) * (
                m.serial_bits if line in BIT_LINES else 1)
            for (stored, stored_share), (bit, count), (policy, share) in itertools.product(
                    density.items(), cycles.items(), policies.items()):
                reading = self.reader.read(
                    "compartment_energy_j", rows=float(m.rows), columns=float(self.flat_columns),
                    read_policy=policy, operation="and", stored=stored, input=bit, line=line)
                multiplier = repeat * stored_share * count * share
                if multiplier and reading.value:
                    terms.append(self._term(reading, multiplier, f"{line}, {policy}, stored {stored}, input {bit}"))
        return tuple(terms)

    def _bitcell(self, operation: str, count: float, note: str) -> Term:
        reading = self.reader.read("bitcell_energy_j", rows=float(self.structure.rows), operation=operation)
        return self._term(reading, count, note)

    def array_write(self) -> tuple[Term, ...]:
        """One word written: its cells flip or not, the row's other columns are read-disturbed."""
        m, flip = self.structure, self.activity.write_flip
        return (self._bitcell("write_flip", m.word_bits * flip, "cells that flip"),
                self._bitcell("write_same", m.word_bits * (1 - flip), "cells that stay"),
                self._bitcell("read", m.columns - m.word_bits, "half-selected columns"))

    def array_read(self) -> tuple[Term, ...]:
        """One word read: one wordline discharges every column of the row."""
        return (self._bitcell("read", self.structure.columns, "all columns of the row"),)

    # -- logic ----------------------------------------------------------------------------------------

    def _placed(self, field: str, asked: float, table: str, axis: str) -> Beyond:
        """Where on a table's axis a value is priced: itself, or the nearer end."""
        points = [float(p) for p in self.reader.table(table)[0].axis(axis).points]
        return Beyond(field, asked, min(max(asked, points[0]), points[-1]), points[0], points[-1], table)

    @cached_property
    def _statistics(self) -> dict[str, Beyond]:
        """Of the operands, as the tables price them. BadInput for one beyond them that no training run recorded."""
        found = {field: self._placed(field, getattr(self.activity, field), *bounds)
                 for field, bounds in _BOUNDS.items()}
        for field, at in found.items():
            if at.asked != at.priced and self.activity.statistics_beyond == "refuse":
                raise BadInput(
                    f"{field}: {at.low:g} to {at.high:g} is allowed with the tables of {self.reader.pdk} "
                    f"({at.table}), got {at.asked:g}; ask inside, or price it at the end by --statistics-beyond end")
        return found

    def beyond(self) -> tuple[Beyond, ...]:
        """All that is priced at the end of an axis."""
        nominal = self._nominal.values() if self.structure.serial_bits > 1 else ()
        m = self.structure
        made = (Beyond("wordline_columns", m.columns, ROW_COLUMNS, ROW_COLUMNS, ROW_COLUMNS, "compartment_energy_j"),
                Beyond("depthwise_group", m.depthwise_group, TREE_GROUP, TREE_GROUP, TREE_GROUP, "block_energy_j"))
        return tuple(at for at in (*self._statistics.values(), *nominal, *made) if at.asked != at.priced)

    @property
    def _nominal(self) -> dict[str, Beyond]:
        return {axis: self._placed(name, constant(name).value, "cell_delay_s", axis)
                for name, axis in _CONDITIONS.items()}

    def conditions(self) -> dict[str, float | str]:
        """Nominal slew and load of a cell that stands alone, interpolated."""
        return {axis: at.priced for axis, at in self._nominal.items()}

    def circuit_terms(self, block: str) -> tuple[Term, ...]:
        """One operation of a block's own circuit on operands of the stated statistics, clock pins aside."""
        found = self._stated(lambda **statistics: self.read("block_energy_j", block, **statistics), self.statistics())
        return (self._term(found, 1.0, "timed simulation of its circuit"),)

    def statistics(self) -> dict[str, float | str]:
        """The operands' statistics as coordinates of the composed tables."""
        return {name: self._statistics[name].priced for name in ("exponent_spread", "zero_share")}

    def _stated(self, read: Callable[..., Reading], where: Mapping[str, float | str]) -> Reading:
        """A reading at the statistics. For each that lies beyond its axis, what a straight line through both ends
        would change there is one standard deviation."""
        found = read(**where)
        sizes = []
        for field, (_, axis) in _BOUNDS.items():
            at = self._statistics[field]
            if axis in where and at.asked != at.priced and at.low < at.high and found.value:
                other = read(**{**where, axis: at.low if at.priced == at.high else at.high}).value
                sizes.append((found.value - other) * (at.asked - at.priced) / (at.high - at.low) / found.value)
        return replace(found, causes={**found.causes, "extrapolation": math.hypot(*sizes)}) if sizes else found

    def shift_accumulator(self) -> tuple[Term, ...]:
        """One serial product of a lane."""
        bits = float(self.structure.operand_bits)
        found = self._stated(lambda **where: self.reader.read("shift_accumulator_energy_j", bits=bits, **where),
                             {"activity": self._statistics["toggle"].priced})
        return (self._term(found, 1.0, "whole serial operation, registers included"),)

    def _clocks(self, n: Clocks) -> tuple[Term, ...]:
        """What an event clocks: inside of flip-flops, pins, tree, and gates, an open one in place of a closed one."""
        kinds = (("inside", n.inside, f"inside {n.inside:g} flip-flops"),
                 ("leaf", n.pins, f"pins, wires and buffers of {n.pins:g} flip-flops"),
                 ("trunk", n.trunk, f"the tree above the leaves of {n.trunk:g} flip-flops"),
                 ("gate_open", n.opened, f"{n.opened:g} clock gates open"),
                 ("gate_closed", n.gates - n.opened, f"{n.gates:g} clock gates closed but where they are open"))
        return tuple(self._term(self.reader.read("dff_energy_j", event="clock_internal") if part == "inside" else
                                self.reader.read("clock_tree_j", part=part), count, note)
                     for part, count, note in kinds if count)

    def integer(self, block: str) -> tuple[Term, ...]:
        """One operation of an integer macro's block (table `integer_energy_j`) at the activity's densities."""
        reading = self.reader.read("integer_energy_j", block=block, input_density=self.activity.input_density,
                                   weight_density=self.activity.weight_density)
        return (self._term(reading, 1.0, f"{block}, timed simulation of its circuit"),)

    def clocked(self, flip_flops: float) -> tuple[Term, ...]:
        """One cycle of so many flip-flops that no simulated circuit holds, with the tree that drives them."""
        return self._clocks(Clocks(flip_flops, flip_flops, flip_flops))

    def pins(self, flip_flops: float) -> tuple[Term, ...]:
        """One cycle of the tree that drives so many flip-flops whose inside is paid elsewhere."""
        return self._clocks(Clocks(pins=flip_flops, trunk=flip_flops))

    # -- all events -----------------------------------------------------------------------------------

    def event_terms(self, name: str, pass_name: str) -> tuple[Term, ...]:
        """What one event of the macro boundary costs."""
        block = EVENTS[name].block
        special = {"compartment_product": self.product, "idle_lane_product": self.idle_product,
                   "shift_accumulate": self.shift_accumulator, "decode": self.decode,
                   "array_write": self.array_write, "array_read": self.array_read}
        if name in special:
            return special[name]()
        if block == "clock_tree":
            cycle = self.clocking.cycle if name == "macro_cycle_clock" else self.clocking.writing
            return self._clocks(cycle(pass_name))
        if block in self.blocks or block in TREE_BLOCKS:
            return (*self.circuit_terms(block), *self._clocks(self.clocking.fired(block, pass_name)))
        raise BadInput(f"event '{name}': block '{block}' has no circuit")

    def by_pass(self, name: str) -> bool:
        """Whether an event of the macro boundary costs another energy in another pass."""
        return EVENTS[name].block == "clock_tree" or self.clocking.by_pass(EVENTS[name].block)
