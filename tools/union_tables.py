"""Add a folder of tables to the shipped ones of a kit: axes are united, points that neither has are holes.

A point that both have keeps the shipped value; one that differs by more than TOLERANCE is an error. Where an axis
grows from a numeric grid, its interpolation error is taken by leaving each inner point out.
Run: python tools/union_tables.py FOLDER KIT
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from charlib.errors import HimcError
from charlib.table import Axis, Table, load_tables

SHIPPED = Path(__file__).resolve().parents[1] / "charlib" / "data" / "tables"
TOLERANCE = 1e-6


def union(shipped: Table, more: Table) -> Table:
    """Both tables' points. HimcError where they disagree or have other axes."""
    if [a.name for a in shipped.axes] != [a.name for a in more.axes] or shipped.unit != more.unit:
        raise HimcError(f"{shipped.name}: axes or unit differ")
    axes = tuple(_axis(a, b) for a, b in zip(shipped.axes, more.axes, strict=True))
    shape = tuple(len(a.points) for a in axes)
    values, runs, spread = np.full(shape, np.nan), np.full(shape, "", dtype=object), np.full(shape, np.nan)
    for table in (more, shipped):
        where = np.ix_(*(np.array([a.points.index(p) for p in own.points])
                         for a, own in zip(axes, table.axes, strict=True)))
        both = ~np.isnan(values[where]) & ~np.isnan(table.values)
        apart = np.abs(values[where][both] / table.values[both] - 1)
        if apart.size and apart.max() > TOLERANCE:
            raise HimcError(f"{shipped.name}: a point that both have differs by {apart.max():.2g}")
        present = ~np.isnan(table.values)
        values[where] = np.where(present, table.values, values[where])
        runs[where] = np.where(present, table.runs, runs[where])
        if table.spread is not None:
            spread[where] = np.where(present, table.spread, spread[where])
    found = replace(shipped, axes=axes, values=values, runs=runs,
                    spread=None if shipped.spread is None else spread)
    grown = {a.name: _left_out(found, k) for k, (a, old) in enumerate(zip(axes, shipped.axes, strict=True))
             if not a.is_category and len(a.points) > len(old.points) and len(a.points) > 2}
    return replace(found, interpolation_error={**shipped.interpolation_error, **grown})


def _axis(a: Axis, b: Axis) -> Axis:
    if a.is_category:
        return replace(a, points=tuple(dict.fromkeys((*a.points, *b.points))))
    return replace(a, points=tuple(sorted({*map(float, a.points), *map(float, b.points)})))


def _left_out(table: Table, axis: int) -> float:
    """Largest relative miss of the line between an inner point's neighbours."""
    points, values = np.array(table.axes[axis].points, dtype=float), np.moveaxis(table.values, axis, 0)
    worst = 0.0
    for k in range(1, len(points) - 1):
        share = (points[k] - points[k - 1]) / (points[k + 1] - points[k - 1])
        line = (1 - share) * values[k - 1] + share * values[k + 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            miss = np.abs(line / values[k] - 1)
        large = np.abs(values[k]) > 0.01 * np.nanmax(np.abs(values[k]))
        if np.isfinite(miss[large]).any():
            worst = max(worst, float(np.nanmax(miss[large])))
    return float(f"{worst:.4g}")


def main(folder: str, kit: str) -> None:
    """Unite every table that both have."""
    shipped, more = load_tables(SHIPPED / kit), load_tables(Path(folder))
    for name in more:
        if name in shipped:
            found = union(shipped[name], more[name])
            found.save(SHIPPED / kit / f"{name}.json")
            print(f"{name}: {shipped[name].values.size} -> {found.values.size} points, {len(found.holes())} holes, "
                  f"{dict(found.interpolation_error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
