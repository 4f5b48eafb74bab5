"""Tables of composed blocks: energy an operation over operand statistics, settling time, cells; from cell tables.

They are made wherever a campaign has made the cells' pair tables, one operating point after the other, and say of
each value which runs stand behind it: its run is the label of the operating point's list in the conventions.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from charlib.compose.cost import BlockCost, account_cells, block_cost
from charlib.compose.design import MacroBlock, operands_of
from charlib.compose.library import NEEDED, PULSE_TABLES, CellLibrary, cell_library
from charlib.compose.macro import macro_block, macro_blocks
from charlib.compose.timed import Loads
from charlib.gates.fan_out import INPUT_RAMP, OUTPUT_UNITS
from charlib.gates.operands import OperandStatistics
from charlib.pdk.model import Geometry, Pdk
from charlib.table import Origin, Table, TableSet

ENGINE = "timed-logic"
PVT_AXES = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
#: statistics at which blocks are tabulated: octaves of spread, share of zero operands
SPREADS, ZERO_SHARES = (1.0, 4.0), (0.0, 0.5)
OPERATIONS = 28
SEED = 20230103
CONVENTIONS = {
    "energy": "joules of one operation, registers that change included; the clock pins are the clock tree's, the "
              "block's own inputs their drivers'",
    "operands": "BF16, exponents normal with `exponent_spread` octaves, a share `zero_share` of the inputs zero, "
                "successive operations independent",
    "spread": "standard error of the mean over the operations drawn",
    "delay": "longest path of the core between registers, static, set-up and clock-to-q excluded",
    "toggles": "of cell outputs and registers an operation, glitches included",
    "settled": "last output to rest, the longest of the operations drawn",
    "wires": "one cell pitch of intermediate wire a fan-out",
    "composed_of": ", ".join((*NEEDED, *PULSE_TABLES)),
}


@dataclass(frozen=True)
class Surroundings:
    """What the kit says of a block's surroundings: wires, the load of its outputs, the ramp of its inputs."""

    wire_f: float
    output_f: float
    input_slew_s: float

    @property
    def loads(self) -> Loads:
        return Loads(self.wire_f, self.output_f)


def surroundings(geometry: Geometry, unit_s: float) -> Surroundings:
    """Those of a kit; without wires, take a copy with wire_f = 0."""
    return Surroundings(geometry.fan_out_wire_f, OUTPUT_UNITS * geometry.unit_f, INPUT_RAMP * unit_s)


@dataclass(frozen=True)
class _Task:
    """One operating point: everything that a process needs."""

    tables: TableSet
    point: tuple[str, float, float]
    blocks: tuple[str, ...]
    around: Surroundings


def composable(tables: TableSet) -> bool:
    """Whether the cells' tables are there."""
    return all(name in tables for name in (*NEEDED, *PULSE_TABLES, "dff_energy_j"))


def with_blocks(tables: Sequence[Table], kit: Pdk, *, blocks: Sequence[str] = (), workers: int = 1,
                on_point: Callable[[int, int], None] | None = None) -> tuple[Table, ...]:
    """The tables, and those of composed blocks where the cells' pair tables are among them, whole."""
    found = TableSet(tables)
    if not composable(found) or any(found[name].holes() for name in NEEDED):
        return tuple(tables)
    around = surroundings(kit.geometry, kit.unit_s)
    made = block_tables(found, around, blocks=blocks, workers=workers, on_point=on_point)
    return tuple(sorted((*tables, *made), key=lambda table: table.name))


def operating_points(tables: TableSet) -> list[tuple[str, float, float]]:
    """(corner, temp_c, vdd_v) of the pair tables."""
    corners, temps, supplies = (tables["pair_energy_j"].axis(name).points for name in ("corner", "temp_c", "vdd_v"))
    return [(str(corner), float(temp_c), float(vdd_v))
            for corner in corners for temp_c in temps for vdd_v in supplies]


def costs_at(tables: TableSet, point: tuple[str, float, float], blocks: Mapping[str, MacroBlock],
             around: Surroundings) -> tuple[CellLibrary, dict[tuple[str, float, float], BlockCost]]:
    """The library and (block, spread, zero share) -> cost at one operating point."""
    corner, temp_c, vdd_v = point
    library = cell_library(tables, corner=corner, temp_c=temp_c, vdd_v=vdd_v)
    register_j = float(tables["dff_energy_j"].at(corner=corner, temp_c=temp_c, vdd_v=vdd_v, event="data"))
    found = {}
    for (name, block), spread, zero in itertools.product(blocks.items(), SPREADS, ZERO_SHARES):
        x, w = operands_of(block, OperandStatistics(spread, zero), OperandStatistics(spread), OPERATIONS, SEED)
        found[name, spread, zero] = block_cost(block, library, x, w, around.loads, seed=SEED,
                                               input_slew_s=around.input_slew_s, register_j=register_j)
    return library, found


def _point(task: _Task) -> tuple[tuple[str, ...], dict[tuple[str, float, float], BlockCost]]:
    library, found = costs_at(task.tables, task.point, {name: macro_block(name) for name in task.blocks},
                              task.around)
    return library.runs, found


def block_tables(tables: TableSet, around: Surroundings, *, blocks: Sequence[str] = (), workers: int = 1,
                 on_point: Callable[[int, int], None] | None = None) -> list[Table]:
    """`block_energy_j`, `block_toggles`, `block_delay_s`, `block_settled_s`, `composed_cell_count`.

    blocks: names, fused_tree_LANESxBITS of any size among them; empty means all that are tabulated.
    on_point(done, all) is called after each operating point.
    """
    names = tuple(blocks) or tuple(macro_blocks())
    points = operating_points(tables)
    slim = TableSet([tables[name] for name in (*NEEDED, *PULSE_TABLES, "dff_energy_j", "state_leakage_w")
                     if name in tables], tables.where)
    tasks = [_Task(slim, point, names, around) for point in points]
    energies: list[dict[str, Any]] = []
    settled: list[dict[str, Any]] = []
    delays: list[dict[str, Any]] = []
    toggles: list[dict[str, Any]] = []
    behind: dict[str, str] = {}
    for done, (point, (runs, costs)) in enumerate(zip(points, _map(tasks, workers), strict=True), start=1):
        label = f"composed:{point[0]}/{point[1]:g}/{point[2]:g}"
        behind[f"runs of {label}"] = ",".join(runs)
        where = {"corner": point[0], "temp_c": point[1], "vdd_v": point[2], "run": label}
        for (name, spread, zero), cost in costs.items():
            at = {**where, "exponent_spread": spread, "zero_share": zero}
            energies += [{**at, "block": account, "value": joules, "spread": cost.error_j.get(account, 0.0)}
                         for account, joules in cost.energy_j.items()]
            toggles += [{**at, "block": account, "value": count} for account, count in cost.toggles.items()]
            settled.append({**at, "block": name, "value": cost.settled_s[0]})
            if (spread, zero) == (SPREADS[0], ZERO_SHARES[0]):
                delays.append({**where, "block": name, "value": cost.static_s})
        if on_point is not None:
            on_point(done, len(points))
    origin = replace(tables["pair_energy_j"].origin, engine=f"{tables['pair_energy_j'].origin.engine}; {ENGINE}")
    plain = {**PVT_AXES, "block": ""}
    axes = {**plain, "exponent_spread": "1", "zero_share": "1"}
    said = {**CONVENTIONS, **behind}
    return [Table.from_records("block_energy_j", "J", axes, energies, origin, said),
            Table.from_records("block_delay_s", "s", plain, delays, origin, said),
            Table.from_records("block_toggles", "1", axes, toggles, origin, said),
            Table.from_records("block_settled_s", "s", axes, settled, origin, said),
            cell_count_table(names, origin)]


def _map(tasks: Sequence[_Task], workers: int) -> Any:
    if workers <= 1 or len(tasks) < 2:
        yield from map(_point, tasks)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(min(workers, len(tasks))) as pool:
        yield from pool.map(_point, tasks)


def cell_count_table(names: Sequence[str], origin: Origin) -> Table:
    """Cells of every account, flip-flops included; no operating point."""
    kinds = sorted({i.cell for name in names for i in macro_block(name).circuit.instances})
    records = [{"block": account, "cell": kind, "value": cells.get(kind, 0), "run": ENGINE}
               for name in names for account, cells in account_cells(macro_block(name)).items() for kind in kinds]
    return Table.from_records("composed_cell_count", "1", {"block": "", "cell": ""}, records, origin,
                              {"count": "instances in the generated netlist, buffers included"})
