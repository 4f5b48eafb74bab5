"""A small synthetic set of tables: plausible 45 nm magnitudes, exact where a test computes by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import Origin, Table, TableSet, load_tables, save_tables
from system.blocks import TREE_BLOCKS, cell_blocks
from system.structure import macro_structure

CORNERS, TEMPS, SUPPLIES = ("tt",), (25.0,), (0.8, 0.9, 1.0)
#: what these lack, such as block counts, is read from the shipped tables, so they are of the same model cards
CARDS = load_tables(shipped_tables_dir("freepdk45"))["dff_delay_s"].origin.pdk_sha256
ORIGIN = Origin("freepdk45", CARDS, "synthetic", "test", "fresh", "2026-01-01")
LINES = ("wordline", "precharge_clock", "bitline", "compute_wire", "input_logic", "ff_data", "ff_clock",
         "decoder", "control", "leakage")
CELLS = {"inv": 0.3, "nand2": 0.5, "nor2": 0.5, "xor2": 1.0, "mux2": 1.0, "half_adder": 1.5, "full_adder": 3.0}

CLOCK_TREE = {"leaf": 0.8, "trunk": 0.1, "flat": 2.3, "gate_closed": 1.5, "gate_open": 3.0}
Value = Callable[[dict[str, Any]], float]


def make(name: str, unit: str, axes: dict[str, tuple[Any, ...]], value: Value) -> Table:
    """A table over PVT and `axes`; `value` is called with the coordinates after corner and temperature."""
    every = {"corner": CORNERS, "temp_c": TEMPS, "vdd_v": SUPPLIES} | axes
    records = []
    for number, point in enumerate(itertools.product(*every.values())):
        coordinates = dict(zip(every, point, strict=True))
        records.append({**coordinates, "value": value(coordinates), "run": f"{name}-{number}"})
    return Table.from_records(name, unit, dict.fromkeys(every, "1"), records, ORIGIN)


def _line(c: dict[str, Any]) -> float:
    weight = {"wordline": 20.0, "bitline": 4.0, "compute_wire": 1.0, "ff_clock": 1.0, "ff_data": 0.5}
    base = weight.get(c["line"], 0.2)
    if c["line"] == "compute_wire":
        base *= 1.0 if c["stored"] == "1" and c["input"] == "1" else 0.1
    if c["read_policy"] == "hold" and c["line"] in ("wordline", "bitline"):
        base /= 8
    return float(base * 1e-15 * c["vdd_v"] ** 2)


def square(scale: float) -> Value:
    """Grows with the supply squared."""
    return lambda c: float(scale * c["vdd_v"] ** 2)


def delay(scale: float) -> Value:
    """Falls with the supply."""
    return lambda c: float(scale * 0.8 / c["vdd_v"])


def synthetic_tables() -> list[Table]:
    bits = (8.0, 12.0, 16.0, 20.0)
    activity = (0.0, 0.5, 1.0)
    rows = {"rows": (16.0,)}
    flat = rows | {"columns": (4.0, 8.0)}
    return [
        make("bitcell_energy_j", "J", rows | {"operation": ("read", "write_flip", "write_same")}, square(2e-15)),
        make("bitcell_leakage_w", "W", {"stored": ("0", "1")}, square(1.4e-9)),
        make("compartment_energy_j", "J", flat | {
            "read_policy": ("reread", "hold"), "operation": ("and",), "stored": ("0", "1"), "input": ("0", "1"),
            "line": LINES}, _line),
        make("compartment_delay_s", "s", flat | {"phase": ("read", "evaluate", "latch", "cycle")}, delay(8e-10)),
        make("compartment_leakage_w", "W", flat, square(1e-7)),
        make("cell_energy_j", "J", {"cell": tuple(CELLS), "slew_s": (1e-11, 4e-11), "load_f": (5e-16, 2e-15)},
             lambda c: CELLS[c["cell"]] * 1e-15 * c["vdd_v"] ** 2),
        make("cell_delay_s", "s", {"cell": tuple(CELLS), "slew_s": (1e-11, 4e-11), "load_f": (5e-16, 2e-15)},
             lambda c: CELLS[c["cell"]] * 2e-11 * 0.8 / c["vdd_v"]),
        make("cell_leakage_w", "W", {"cell": tuple(CELLS)}, lambda c: CELLS[c["cell"]] * 5e-9),
        make("dff_energy_j", "J", {"event": ("clock_internal", "data")}, square(1.5e-15)),
        make("clock_tree_j", "J", {"part": ("leaf", "trunk", "flat", "gate_closed", "gate_open")},
             lambda c: CLOCK_TREE[c["part"]] * 1e-15 * c["vdd_v"] ** 2),
        make("dff_delay_s", "s", {"metric": ("clock_to_q", "setup")}, delay(5e-11)),
        make("dff_leakage_w", "W", {}, square(2e-8)),
        make("adder_tree_toggle_j", "J", {}, square(1e-15)),
        make("adder_tree_toggles_per_op", "1", {"lanes": (4.0, 32.0), "bits": bits, "activity": activity},
             lambda c: c["lanes"] * c["bits"] * 2 * c["activity"]),
        make("shift_accumulator_energy_j", "J", {"bits": (4.0, 8.0), "activity": activity},
             lambda c: 5e-15 * c["bits"] * (1 + c["activity"])),
        make("shift_accumulator_delay_s", "s", {"bits": (4.0, 8.0)}, delay(5e-10)),
    ]


def composed_tables(kinds: tuple[str, ...] = ("full_adder", "inv", "dff")) -> list[Table]:
    """Circuits of every block, the tree's at some sizes: energy by size and statistics, delay by levels, cells."""
    sizes = [f"{lanes}x{bits}" for lanes in (16, 32, 64) for bits in (12, 16, 20, 24)]
    alone = [name for name in cell_blocks(macro_structure("fan2023")) if name not in TREE_BLOCKS]
    parts = [f"{block}_{size}" for block in TREE_BLOCKS for size in sizes]
    trees = [f"fused_tree_{size}" for size in sizes]

    def lanes(block: str) -> float:
        size = block.rpartition("_")[2].partition("x")[0]
        return float(size) if size.isdigit() else 1.0

    counts = [{"block": block, "cell": cell, "value": lanes(block) * count, "run": "logic"}
              for block in (*parts, *alone) for cell, count in (("full_adder", 20), ("inv", 8), ("dff", 4))
              if cell in kinds]
    accumulator = [{"block": "shift_accumulator_8", "cell": cell, "value": count, "run": "logic"}
                   for cell, count in (("full_adder", 16), ("dff", 16), ("nand2", 8))]
    count_axes = {"block": "1", "cell": "1"}
    return [
        make("block_energy_j", "J", {"block": (*parts, *alone), "exponent_spread": (1.0, 4.0),
                                     "zero_share": (0.0, 0.5)},
             lambda c: lanes(c["block"]) * 5e-14 * c["vdd_v"] ** 2 * (1 + 0.1 * c["exponent_spread"])
             * (1 - c["zero_share"] / 2)),
        make("block_delay_s", "s", {"block": (*trees, *alone)},
             lambda c: 5e-10 * (1 + math.log2(lanes(c["block"]))) * 0.8 / c["vdd_v"]),
        Table.from_records("composed_cell_count", "1", count_axes, counts, ORIGIN),
        Table.from_records("block_cell_count", "1", count_axes, accumulator, ORIGIN),
    ]


@pytest.fixture(scope="session")
def tables() -> TableSet:
    return TableSet(synthetic_tables(), "the synthetic set")


@pytest.fixture(scope="session")
def circuits_without_registers() -> TableSet:
    """Circuits of every block that hold no flip-flops, so that the stated registers are those of the model."""
    return TableSet([*synthetic_tables(), *composed_tables(("full_adder", "inv"))], "the synthetic set")


@pytest.fixture(scope="session")
def tables_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    save_tables(folder, synthetic_tables())
    return folder
