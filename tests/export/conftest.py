"""A small set of tables whose every value is different and easy to reckon with, and the shipped ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import pytest

from charlib.benches.compartment import LINES, OPERATIONS, POLICIES
from charlib.paths import shipped_tables_dir
from charlib.table import Origin, Table, TableSet, load_tables

ORIGIN = Origin("freepdk45", "ab" * 32, "ngspice-39", "abc123", "fresh", "2026-01-01")
POINT = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
CORNERS, TEMPS_C, VDDS_V = ("ss", "tt"), (25.0, 125.0), (0.8, 1.0)
BITS = ("0", "1")


Axes = Mapping[str, tuple[str, tuple[float, ...] | tuple[str, ...]]]
Holes = tuple[dict[str, object], ...]


def make_table(name: str, unit: str, first: float, step: float, axes: Axes, without: Holes = ()) -> Table:
    """Values first, first + step, … in the order of the rows; axes: name -> (unit, points). without: holes."""
    units = {**POINT, **{axis: said for axis, (said, _) in axes.items()}}
    points = (CORNERS, TEMPS_C, VDDS_V, *(points for _, points in axes.values()))
    rows = [dict(zip(units, combo, strict=True)) for combo in itertools.product(*points)]
    records = [{**row, "value": first + k * step, "run": f"{name}-{k}"} for k, row in enumerate(rows)
               if not any(hole.items() <= row.items() for hole in without)]
    return Table.from_records(name, unit, units, records, ORIGIN, {"delay": "50 % to 50 %"})


def make_set(without: Holes = (), lacking: tuple[str, ...] = ()) -> TableSet:
    """Every table that an export reads. without: holes of cell_energy_j. lacking: names of tables left out."""
    cell: tuple[str, tuple[str, ...]] = ("", ("inv", "nand2", "xor2", "half_adder", "full_adder"))
    grid: Axes = {"cell": cell, "slew_s": ("s", (1e-11, 4e-11)), "load_f": ("F", (5e-16, 4e-15))}
    shape: Axes = {"rows": ("", (4.0, 16.0)), "columns": ("", (4.0,))}
    tree: Axes = {"lanes": ("1", (2.0, 4.0)), "bits": ("1", (4.0, 8.0))}
    blocks: Axes = {"block": ("", ("adder_tree_4x8", "adder_tree_16x8")), "cell": cell}
    tables = (
        make_table("cell_energy_j", "J", 1e-15, 1e-17, grid, without),
        make_table("cell_delay_s", "s", 1e-11, 1e-13, grid),
        make_table("cell_input_f", "F", 6e-16, 1e-18, {"cell": cell}),
        make_table("cell_leakage_w", "W", 1e-9, 1e-11, {"cell": cell}),
        make_table("dff_energy_j", "J", 5e-15, 1e-17, {"event": ("", ("clock_internal", "data"))}),
        make_table("dff_delay_s", "s", 3e-11, 1e-13, {"metric": ("", ("clock_to_q", "setup"))}),
        make_table("dff_leakage_w", "W", 2e-8, 1e-10, {}),
        make_table("bitcell_energy_j", "J", 1e-14, 1e-16,
                   {"rows": ("", (16.0,)), "operation": ("", ("read", "write_flip", "write_same"))}),
        make_table("bitcell_delay_s", "s", 1e-10, 1e-12,
                   {"rows": ("", (16.0,)), "operation": ("", ("read_100mv", "read_full_swing", "write"))}),
        make_table("bitcell_leakage_w", "W", 5e-9, 1e-11, {"stored": ("", BITS)}),
        make_table("compartment_energy_j", "J", 1e-15, 1e-18,
                   {**shape, "read_policy": ("", POLICIES), "operation": ("", OPERATIONS), "stored": ("", BITS),
                    "input": ("", BITS), "line": ("", LINES)}),
        make_table("compartment_delay_s", "s", 2e-10, 1e-12, {**shape, "phase": ("", ("read", "cycle"))}),
        make_table("compartment_leakage_w", "W", 1e-7, 1e-9, shape),
        make_table("adder_tree_energy_j", "J", 1e-13, 1e-15, {**tree, "activity": ("1", (0.1, 0.5))}),
        make_table("adder_tree_delay_s", "s", 4e-10, 1e-12, tree),
        make_table("adder_tree_toggle_j", "J", 2e-15, 1e-17, {}),
        _plain("adder_tree_toggles_per_op",
               {"lanes": ("1", (4.0, 16.0)), "bits": ("1", (8.0,)), "activity": ("1", (0.0, 0.5))}),
        _plain("block_cell_count", blocks),
    )
    return TableSet([table for table in tables if table.name not in lacking], "t")


def _plain(name: str, axes: Axes) -> Table:
    """A table of counts, which knows no operating point."""
    units = {axis: said for axis, (said, _) in axes.items()}
    combos = itertools.product(*(points for _, points in axes.values()))
    records = [{**dict(zip(units, combo, strict=True)), "value": float(k % 7), "run": "logic-model"}
               for k, combo in enumerate(combos)]
    return Table.from_records(name, "1", units, records, ORIGIN)


@pytest.fixture
def small() -> TableSet:
    return make_set()


@pytest.fixture
def build() -> Callable[..., TableSet]:
    """make_set, for a set with holes or with tables left out."""
    return make_set


@pytest.fixture(scope="session")
def shipped() -> TableSet:
    return load_tables(shipped_tables_dir("freepdk45"))
