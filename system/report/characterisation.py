"""What the tables show about the circuits: a digest of each table, and the series that the page plots.

The series are taken here, when the record is made, so that a renderer needs no table. A figure whose table is
not there is left out; a table that lacks the wanted point is asked at its first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.table import Axis, Table, TableSet
from charlib.units import format_si
from system.scaling import node_of_kit

#: the operating point that a figure holds where it does not vary it
AT: Mapping[str, float | str] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8}
#: cells whose energy against load is drawn
_DRAWN_CELLS = ("inv", "nand2", "xor2", "full_adder", "mux2")


@dataclass(frozen=True)
class Series:
    """One line or group of bars. x: numbers, or labels of bars."""

    name: str
    x: tuple[float, ...] | tuple[str, ...]
    y: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "x": list(self.x), "y": list(self.y)}


def table_digest(table: Table) -> dict[str, Any]:
    """What a reader of the record needs to know of a table, values aside."""
    origin = table.origin
    runs = {run for cell in table.runs.ravel() for run in str(cell).split(",") if run}
    return {
        "name": table.name, "unit": table.unit, "status": origin.status, "values": int(table.values.size),
        "runs": len(runs), "axes": {a.name: list(a.points) for a in table.axes}, "pdk": origin.pdk,
        "pdk_sha256": origin.pdk_sha256, "engine": origin.engine, "revision": origin.revision,
        "created": origin.created, "conventions": dict(table.conventions),
    }


def _pick(axis: Axis, wanted: float | str | None) -> float | str:
    """The wanted point where the axis has it, else its first."""
    return wanted if wanted is not None and wanted in axis.points else axis.points[0]


def _held(table: Table, fixed: Mapping[str, float | str], *free: str) -> dict[str, float | str]:
    """What every axis but the free ones is held at: `fixed`, else the operating point, else its first point."""
    return {axis.name: _pick(axis, fixed.get(axis.name, AT.get(axis.name)))
            for axis in table.axes if axis.name not in free}


def held_at(tables: Sequence[Table], *free: str) -> str:
    """Kit, its node and the operating point that tables are shown at, for a caption; free: axes that the figure
    varies. Tables that differ in it are each said."""
    def one(table: Table) -> str:
        kit, node = table.origin.pdk, node_of_kit(table.origin.pdk)
        at = _held(table, {}, *free)
        parts = [kit if node is None else f"{kit}, {node} nm"]
        parts += [show(at[name]) for name, show in _SHOWN.items() if name in at]
        return ", ".join(parts)

    return "; ".join(dict.fromkeys(one(table) for table in tables))


#: what a caption says of an operating point, in this order
_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "vdd_v": lambda value: f"{value:g} V", "corner": lambda value: f"corner {value}",
    "temp_c": lambda value: f"{value:g} °C".replace("-", "−")}


def along(table: Table, x: str, fixed: Mapping[str, float | str], name: str) -> Series:
    """Values along one axis, every other axis held at `fixed`, else at the operating point, else at its first."""
    part = table.select(**_held(table, fixed, x))
    return Series(name, table.axis(x).points, tuple(float(v) for v in part.values))


def has_axis(table: Table, name: str, least: int = 2) -> bool:
    """Whether the table has that axis with at least so many points."""
    return any(axis.name == name and len(axis.points) >= least for axis in table.axes)


def _figure(key: str, title: str, kind: str, x: tuple[str, str], y: tuple[str, str], series: Sequence[Series],
            status: str, note: str, *, log_y: bool = False) -> dict[str, Any]:
    return {"id": key, "title": title, "kind": kind, "x_label": x[0], "x_unit": x[1], "y_label": y[0],
            "y_unit": y[1], "log_y": log_y, "series": [s.to_json() for s in series], "status": status, "note": note}


def _delays(tables: TableSet) -> dict[str, Any] | None:
    tree = ""
    if "adder_tree_delay_s" in tables:
        lanes, bits = (tables["adder_tree_delay_s"].axis(n).points[0] for n in ("lanes", "bits"))
        tree = f"{lanes:g} × {bits:g} bit"
    wanted: tuple[tuple[str, str, dict[str, float | str]], ...] = (
        ("bitcell read, 100 mV", "bitcell_delay_s", {"operation": "read_100mv", "rows": 16.0}),
        ("bitcell write", "bitcell_delay_s", {"operation": "write", "rows": 16.0}),
        ("compartment cycle", "compartment_delay_s", {"phase": "cycle", "rows": 16.0}),
        ("shift-accumulator step", "shift_accumulator_delay_s", {"bits": 8.0}),
        (f"adder tree, {tree}".rstrip(", "), "adder_tree_delay_s", {}),
        ("full adder", "cell_delay_s", {"cell": "full_adder"}),
        ("flip-flop, clock to Q", "dff_delay_s", {"metric": "clock_to_q"}),
    )
    drawn = [(name, tables[table], fixed) for name, table, fixed in wanted
             if table in tables and has_axis(tables[table], "vdd_v")]
    series = [along(table, "vdd_v", fixed, name) for name, table, fixed in drawn]
    if not series:
        return None
    return _figure("delay_vs_vdd", "Delay against supply", "line", ("supply", "V"), ("delay", "s"), series,
                   status_of(tables, ["bitcell_delay_s", "compartment_delay_s"]),
                   held_at([table for _, table, _ in drawn], "vdd_v"), log_y=True)


def status_of(tables: TableSet, names: Sequence[str]) -> str:
    """"fresh" or "shipped": that of the first of the named tables that is there."""
    return next((tables[name].origin.status for name in names if name in tables), "shipped")


def _lines(tables: TableSet) -> dict[str, Any] | None:
    """Energy of one AND cycle by line: the mean over stored and input bits, one group of bars a read policy."""
    if "compartment_energy_j" not in tables:
        return None
    table = tables["compartment_energy_j"]
    labels = tuple(str(p) for p in table.axis("line").points)
    series = []
    for policy in table.axis("read_policy").points:
        held = _held(table, {}, "line", "stored", "input", "read_policy", "operation")
        part = table.select(**held, read_policy=policy, operation=_pick(table.axis("operation"), "and"))
        order = [a.name for a in part.axes].index("line")
        mean = np.moveaxis(part.values, order, -1).reshape(-1, len(labels)).mean(axis=0)
        series.append(Series(str(policy), labels, tuple(float(v) for v in mean)))
    rows, columns = (int(float(table.axis(n).points[0])) for n in ("rows", "columns"))
    return _figure("compartment_lines", "Compartment: energy of one AND cycle by line", "bar", ("line", ""),
                   ("energy per cycle", "J"), series, table.origin.status,
                   f"{rows} rows × {columns} columns, mean over stored and input bits, {held_at([table])}; "
                   "the wordline driver carries the load of the full row")


def _margins(tables: TableSet) -> dict[str, Any] | None:
    if "bitcell_margin_v" not in tables or not has_axis(tables["bitcell_margin_v"], "vdd_v"):
        return None
    table = tables["bitcell_margin_v"]
    series = [along(table, "vdd_v", {"margin": label}, str(label).replace("_", " "))
              for label in table.axis("margin").points]
    supplies = tuple(float(v) for v in table.axis("vdd_v").points)
    series.append(Series("half the supply", supplies, tuple(v / 2 for v in supplies)))
    return _figure("margins", "6T cell: noise and write margins", "line", ("supply", "V"), ("margin", "V"), series,
                   table.origin.status, "Side of the largest square in the butterfly's smaller lobe; "
                   + held_at([table], "vdd_v"))


def _activity(tables: TableSet) -> dict[str, Any] | None:
    """Energy of a vector sum against operand activity, one line a tree."""
    if "adder_tree_energy_j" not in tables or not has_axis(tables["adder_tree_energy_j"], "activity"):
        return None
    table = tables["adder_tree_energy_j"]
    series = [along(table, "activity", {"lanes": lanes, "bits": bits}, f"{lanes:g} × {bits:g} bit")
              for lanes in table.axis("lanes").points for bits in table.axis("bits").points]
    return _figure("adder_tree_activity", "Adder trees: energy of a sum", "line", ("operand activity", ""),
                   ("energy per sum", "J"), series, table.origin.status, held_at([table]))


def _cell_energy(tables: TableSet) -> dict[str, Any] | None:
    if "cell_energy_j" not in tables or not has_axis(tables["cell_energy_j"], "load_f"):
        return None
    table = tables["cell_energy_j"]
    cells = [c for c in _DRAWN_CELLS if c in table.axis("cell").points]
    series = [along(table, "load_f", {"cell": cell}, cell.replace("_", " ")) for cell in cells]
    return _figure("cell_energy", "Cells: energy of an output transition", "line", ("load", "F"),
                   ("energy, load included", "J"), series, table.origin.status,
                   f"{held_at([table])}, {_slew(table)}")


def _slew(table: Table) -> str:
    """The slew that the cells are shown at."""
    at = _held(table, {}, "load_f")
    return f"slew of {format_si(float(at['slew_s']), 's')}" if "slew_s" in at else "no slew in the table"


def _leakage(tables: TableSet) -> dict[str, Any] | None:
    """Leakage of a cell against temperature, where the tables span several temperatures."""
    if "bitcell_leakage_w" not in tables or not has_axis(tables["bitcell_leakage_w"], "temp_c"):
        return None
    table = tables["bitcell_leakage_w"]
    series = [along(table, "temp_c", {"corner": corner}, str(corner)) for corner in table.axis("corner").points]
    return _figure("leakage", "6T cell: leakage against temperature", "line", ("temperature", "°C"),
                   ("leakage of one cell", "W"), series, table.origin.status,
                   f"{held_at([table], 'temp_c', 'corner')}, by process corner", log_y=True)


def characterisation_record(tables: TableSet, shipped: TableSet | None) -> dict[str, Any]:
    """Digests of the tables in use and the figures drawn from them; wide axes are taken from the shipped set."""
    wide = shipped if shipped is not None else tables
    figures = [_delays(tables), _lines(tables), _margins(tables), _activity(tables), _cell_energy(tables),
               _leakage(wide)]
    return {"tables": [table_digest(table) for table in tables.values()],
            "figures": [figure for figure in figures if figure is not None]}
