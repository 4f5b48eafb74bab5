"""Physics that every shipped table must obey, whatever the process.

No simulator is needed: these are laws over stored values. Each compares whole slices, so a single value
out of order fails and is named.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charlib.paths import shipped_tables_dir
from charlib.table import Table, TableSet, load_tables
from charlib.table_axis import FloatArray

SHIPPED = shipped_tables_dir("freepdk45")


@pytest.fixture(scope="module")
def tables() -> TableSet:
    return load_tables(Path(SHIPPED))


def along(table: Table, axis: str) -> FloatArray:
    """Values with `axis` first."""
    position = [a.name for a in table.axes].index(axis)
    return np.moveaxis(table.values, position, 0)


def rises(low: FloatArray, high: FloatArray) -> bool:
    """Everywhere that both have values, of which there are some."""
    both = ~np.isnan(low) & ~np.isnan(high)
    return bool(both.any() and np.all(low[both] < high[both]))


def grows(values: FloatArray) -> bool:
    """Along the first axis."""
    return rises(values[:-1], values[1:])


def by_corner(table: Table) -> tuple[FloatArray, FloatArray, FloatArray]:
    values = along(table, "corner")
    labels = table.axis("corner").points
    return tuple(values[labels.index(c)] for c in ("ss", "tt", "ff"))


DELAYS = ["bitcell_delay_s", "compartment_delay_s", "cell_delay_s", "adder_tree_delay_s",
          "shift_accumulator_delay_s"]
LEAKAGES = ["bitcell_leakage_w", "compartment_leakage_w", "cell_leakage_w", "dff_leakage_w"]


@pytest.mark.parametrize("name", DELAYS)
def test_delay_falls_with_supply(tables: TableSet, name: str) -> None:
    assert grows(-along(tables[name], "vdd_v"))


@pytest.mark.parametrize("name", DELAYS)
def test_slow_is_slower_than_typical_is_slower_than_fast(tables: TableSet, name: str) -> None:
    slow, typical, fast = by_corner(tables[name])
    assert rises(typical, slow)
    assert rises(fast, typical)


@pytest.mark.parametrize(("name", "axis"), [
    ("cell_delay_s", "load_f"), ("cell_energy_j", "load_f"), ("cell_delay_s", "slew_s"),
    ("compartment_delay_s", "rows"), ("adder_tree_delay_s", "bits"), ("adder_tree_delay_s", "lanes"),
    ("adder_tree_energy_j", "bits"), ("adder_tree_energy_j", "lanes"), ("adder_tree_energy_j", "activity"),
    ("shift_accumulator_energy_j", "activity"), ("shift_accumulator_energy_j", "bits"),
])
def test_grows_with(tables: TableSet, name: str, axis: str) -> None:
    values = along(tables[name], axis)
    assert len(values) > 1, f"{name} has one point along {axis}"
    if name == "compartment_delay_s":  # the bitline is what rows load
        phases = [a.name for a in tables[name].axes if a.name != axis].index("phase") + 1
        read = tables[name].axis("phase").points.index("read")
        values = np.take(values, read, axis=phases)
    assert grows(values)


@pytest.mark.parametrize("name", LEAKAGES)
def test_leakage_grows_with_temperature_and_towards_the_fast_corner(tables: TableSet, name: str) -> None:
    assert np.nanmin(tables[name].values) > 0
    assert grows(along(tables[name], "temp_c"))
    slow, typical, fast = by_corner(tables[name])
    assert rises(slow, typical)
    assert rises(typical, fast)


def test_energy_grows_with_supply(tables: TableSet) -> None:
    for name in ("bitcell_energy_j", "cell_energy_j", "dff_energy_j", "adder_tree_energy_j",
                 "shift_accumulator_energy_j", "adder_tree_toggle_j"):
        assert grows(along(tables[name], "vdd_v")), name


def test_noise_margins_are_in_order(tables: TableSet) -> None:
    margins = tables["bitcell_margin_v"]
    read = margins.select(margin="read_snm").values
    hold = margins.select(margin="hold_snm").values
    half_supply = np.asarray(margins.axis("vdd_v").points, dtype=float) / 2
    assert np.all(read > 0)
    assert np.all(read < hold)
    assert np.all(hold < half_supply)  # vdd_v is the last axis once the margin is chosen


def test_energies_are_of_the_size_physics_allows(tables: TableSet) -> None:
    """Between 1 aJ and 1 pJ a cell event; a full adder costs more than an inverter."""
    cells = tables["cell_energy_j"]
    assert np.all((cells.values > 1e-18) & (cells.values < 1e-12))
    assert np.all(cells.select(cell="full_adder").values > cells.select(cell="inv").values)


def test_holding_a_read_word_costs_less_than_reading_again(tables: TableSet) -> None:
    energy = tables["compartment_energy_j"]
    line = [a.name for a in energy.axes].index("line") - 1  # read_policy, an earlier axis, is dropped
    total = {p: energy.select(read_policy=p).values.sum(axis=line) for p in ("hold", "reread")}
    assert rises(total["hold"], total["reread"])
    wordline = energy.select(line="wordline")
    assert rises(np.abs(wordline.select(read_policy="hold").values),
                 0.2 * wordline.select(read_policy="reread").values)


def test_every_value_names_its_run(tables: TableSet) -> None:
    for name, table in tables.items():
        assert all(str(cell) for cell in table.runs[~np.isnan(table.values)]), name
        assert table.origin.status == "shipped", name
        assert table.conventions, name
