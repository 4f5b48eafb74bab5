"""Tables as plain data: a row a value. The frame is the same for CSV and Parquet, so either reads back to it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import numpy as np

from charlib.errors import BadInput
from charlib.export.point import Point, refuse_holes
from charlib.table import Axis, Table

if TYPE_CHECKING:
    import pandas as pd

#: what a row says of its table's origin
ORIGIN_COLUMNS = ("pdk", "pdk_sha256", "engine", "revision", "status")
_LAST = ("value", "spread", "run", *ORIGIN_COLUMNS)


def part(table: Table, held: Mapping[str, Point]) -> Table:
    """The table at exact points of those held axes that it has, each kept as an axis of one point.

    Raises BadInput where such a point is not on its axis, and where the part has a hole, naming every one.
    """
    own = {name: point for name, point in held.items() if name in {axis.name for axis in table.axes}}
    chosen = _narrow(table, own) if own else table
    refuse_holes(chosen, {})
    return chosen


def _narrow(table: Table, held: Mapping[str, Point]) -> Table:
    index = [[axis.index(held[axis.name], table.name)] if axis.name in held else list(range(len(axis.points)))
             for axis in table.axes]
    axes = tuple(Axis(axis.name, axis.unit, cast("tuple[float, ...]", tuple(axis.points[i] for i in kept)))
                 for axis, kept in zip(table.axes, index, strict=True))
    cut = np.ix_(*index)
    return replace(table, axes=axes, values=table.values[cut], runs=table.runs[cut],
                   spread=None if table.spread is None else table.spread[cut])


def long_form(tables: Sequence[Table]) -> pd.DataFrame:
    """One frame of several tables: table, unit, the axes, value, spread, run, origin.

    Numbers are in SI units; an axis that a table lacks is empty in its rows.
    """
    import pandas as pd  # slow to import

    frames = []
    for table in tables:
        frame = table.to_frame()
        frame.insert(0, "table", table.name)
        frame.insert(1, "unit", table.unit)
        for name in ORIGIN_COLUMNS:
            frame[name] = getattr(table.origin, name)
        frames.append(frame)
    whole = pd.concat(frames, ignore_index=True)
    last = [column for column in _LAST if column in whole]
    return whole[[column for column in whole if column not in last] + last]


def to_csv(tables: Sequence[Table]) -> str:
    """Comma-separated text, one line of names; `pandas.read_csv(FILE, dtype={"stored": str})` reads it back."""
    return str(long_form(tables).to_csv(index=False))


def to_parquet(tables: Sequence[Table]) -> bytes:
    """A Parquet file; BadInput without pyarrow."""
    if find_spec("pyarrow") is None:
        raise BadInput("format: 'parquet' needs pyarrow; run 'pip install \"hadamard-imc[export]\"' or use csv")
    buffer = io.BytesIO()
    long_form(tables).to_parquet(buffer, index=False, engine="pyarrow")
    return buffer.getvalue()
