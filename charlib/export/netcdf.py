"""Tables as one netCDF-3 file, which xarray, MATLAB and ncdump read.

A table is a variable over its axes. An axis is a coordinate variable: numbers, or labels as rows of characters. An
axis that two tables have with different points is stored twice, as TABLE_AXIS. Run ids stand once, in `run_ids`;
variable TABLE_run counts into it. Attributes of a table: unit, axes, origin_… and convention_….
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.table import Axis, Table

RUN_IDS = "run_ids"


def to_netcdf(tables: Sequence[Table]) -> bytes:
    """The file's bytes. Values and spreads are doubles in SI units; text is UTF-8."""
    from scipy.io import netcdf_file  # slow to import

    buffer = io.BytesIO()
    file: Any = netcdf_file(buffer, "w", version=2)
    file.title = _text("tables of SPICE runs, hadamard-imc")
    stored: dict[str, Axis] = {}
    ids: dict[str, int] = {}
    for table in tables:
        dimensions = tuple(_axis(file, stored, table.name, axis) for axis in table.axes)
        variable = _variable(file, table.name, table.values, dimensions)
        _units(variable, table.unit)
        variable.axes = _text(" ".join(axis.name for axis in table.axes))
        for name, value in vars(table.origin).items():
            said = "; ".join(f"{k}: {v}" for k, v in value.items()) if name == "derived" else value
            if said:
                setattr(variable, f"origin_{name}", _text(said))
        for name, text in table.conventions.items():
            setattr(variable, f"convention_{name}", _text(text))
        if table.spread is not None:
            _units(_variable(file, f"{table.name}_spread", table.spread, dimensions), table.unit)
        cells = [ids.setdefault(str(cell), len(ids)) for cell in table.runs.ravel()]
        _variable(file, f"{table.name}_run", np.asarray(cells, dtype=np.int32).reshape(table.runs.shape), dimensions)
    _characters(file, RUN_IDS, RUN_IDS, list(ids))
    file.flush()
    return buffer.getvalue()


def _axis(file: Any, stored: dict[str, Axis], table: str, axis: Axis) -> str:
    """The dimension of this axis, made if it is new; returns its name."""
    name = axis.name if stored.get(axis.name, axis) == axis else f"{table}_{axis.name}"
    if stored.get(name) == axis:
        return name
    if name in stored:
        raise BadInput(f"netcdf: two axes would be called '{name}'; export the tables one by one")
    stored[name] = axis
    if axis.is_category:
        _characters(file, name, name, [str(point) for point in axis.points])
    else:
        file.createDimension(name, len(axis.points))
        _variable(file, name, np.asarray(axis.points, dtype=float), (name,))
    _units(file.variables[name], axis.unit)
    return name


def _units(variable: Any, unit: str) -> None:
    """`unit` as the table has it; `units`, which other tools look for, where there is one."""
    variable.unit = _text(unit)
    if unit:
        variable.units = _text(unit)


def _variable(file: Any, name: str, values: npt.NDArray[Any], dimensions: tuple[str, ...]) -> Any:
    variable = file.createVariable(name, "i" if values.dtype.kind == "i" else "d", dimensions)
    variable.data[...] = values
    return variable


def _characters(file: Any, name: str, dimension: str, words: Sequence[str]) -> None:
    """A variable of one row of characters a word, padded with zeros."""
    encoded = [word.encode() for word in words]
    width = max((len(word) for word in encoded), default=1) or 1
    file.createDimension(dimension, len(words))
    file.createDimension(f"{name}_characters", width)
    variable = file.createVariable(name, "c", (dimension, f"{name}_characters"))
    variable._Encoding = _text("utf-8")
    variable[:] = np.asarray(encoded, dtype=f"S{width}").reshape(-1, 1).view("S1").reshape(len(words), width)


def _text(words: object) -> bytes:
    return str(words).encode()
