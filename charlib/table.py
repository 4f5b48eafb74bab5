"""A table: what a campaign leaves behind, and all that the system model sees of SPICE.

A table is a value with a contract: axes with SI units, finite values, the ids of the runs behind each
value, and an origin. It interpolates linearly on numeric axes (the logarithm of leakage, which is exponential
in temperature and supply), selects exactly on category axes, and refuses to extrapolate. Where a run failed it
has a hole, which it names and refuses to interpolate across. It is stored as JSON that a person can read and
`diff` can compare, with a checksum (:mod:`charlib.table_file`): a file that was changed since is refused.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from charlib.advice import RETRY
from charlib.errors import BadInput
from charlib.table_axis import Axis as Axis
from charlib.table_axis import FloatArray, Grid
from charlib.table_file import CHECKSUM, EDITED, check_checksum, check_form, checksum, read_data
from charlib.table_text import table_text
from charlib.units import format_si

if TYPE_CHECKING:
    import pandas as pd

ObjectArray = npt.NDArray[np.object_]
Coordinate = float | str | Sequence[float] | Sequence[str] | npt.NDArray[Any]

SCHEMA = "hadamard-imc/table/1"
#: units whose numbers are drawn with a prefix
_PREFIXED = ("A", "C", "F", "J", "W", "s")
#: markers tell lines apart where colours cannot
_MARKERS = "os^DvPX*"


@dataclass(frozen=True)
class Origin:
    """Where a table came from. `status` is "fresh" (made by this run), "shipped" (with the package) or "edited"
    (signed by hand; see charlib.table_file).

    derived: corner -> how it was made, for corners that the kit does not provide.
    """

    pdk: str
    pdk_sha256: str
    engine: str
    revision: str
    status: str
    created: str
    derived: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in ("fresh", "shipped", EDITED):
            raise BadInput(f"Origin status: 'fresh', 'shipped' or '{EDITED}' is allowed, got '{self.status}'")


@dataclass(frozen=True)
class Found:
    """What a table holds at one point, in its unit. `spread` is None where none was measured."""

    value: float
    spread: float | None
    runs: tuple[str, ...]  #: ids of the runs behind the value, all its neighbours', sorted


@dataclass(frozen=True)
class Table:
    """Values over axes. values, runs: arrays of shape (len(axis) for each axis).

    runs: run ids (comma-separated where a value was derived from several), for tracing.
    spread: one standard uncertainty per value (same unit), or None where none was measured.
    conventions: thresholds, driver, capacitance method and the like, by name.
    interpolation_error: largest relative miss of the interpolation at simulated midpoints, by axis; empty where none
    was simulated. A hole is a NaN without a run.
    """

    name: str
    unit: str
    axes: tuple[Axis, ...]
    values: FloatArray
    runs: ObjectArray
    origin: Origin
    conventions: Mapping[str, str] = field(default_factory=dict)
    spread: FloatArray | None = None
    interpolation_error: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = tuple(len(axis.points) for axis in self.axes)
        for what, array in (("values", self.values), ("runs", self.runs), ("spread", self.spread)):
            if array is not None and array.shape != shape:
                raise BadInput(f"Table '{self.name}': {what} has shape {array.shape}, its axes say {shape}")
        bad = ~np.isfinite(self.values) & (self.runs != "")
        if np.any(bad):
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise BadInput(f"Table '{self.name}': value at {self._describe(where)} is not finite; rerun that point")

    def holes(self) -> tuple[str, ...]:
        """The points without a value, as `axis=value` words."""
        return tuple(self._describe(tuple(int(i) for i in index)) for index in np.argwhere(np.isnan(self.values)))

    @property
    def logarithmic(self) -> bool:
        """Whether the logarithm is interpolated: watts, all above zero."""
        return self._grid.logarithmic

    @cached_property
    def _grid(self) -> Grid:
        return Grid(self.unit, self.values)

    @cached_property
    def _spread_grid(self) -> Grid | None:
        return None if self.spread is None else Grid(self.unit, self.spread)

    def _describe(self, index: tuple[int, ...]) -> str:
        pairs = zip(self.axes, index, strict=True)
        return ", ".join(f"{axis.name}={axis.points[i]}" for axis, i in pairs)

    def axis(self, name: str) -> Axis:
        """The axis of that name; BadInput naming the axes that exist otherwise."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise BadInput(f"Table '{self.name}': '{name}' is no axis; it has {', '.join(a.name for a in self.axes)}")

    def at(self, **coordinates: Coordinate) -> FloatArray | float:
        """Interpolate: multilinear on numeric axes (leakage: its logarithm), exact on category axes, never outside.

        Every axis is named; scalars and arrays broadcast against each other. Returns SI values in the
        broadcast shape, a float where everything was scalar. Raises BadInput outside an axis and next to a hole.
        """
        self._check_names(coordinates)
        arrays = np.broadcast_arrays(*(np.asarray(coordinates[a.name]) for a in self.axes))
        shape = arrays[0].shape if arrays else ()
        corners: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]] = []
        for axis, array in zip(self.axes, arrays, strict=True):
            corners.append(axis.bracket(array.ravel(), self.name))
        total = np.zeros(int(np.prod(shape)), dtype=float)
        grid = self._grid.numbers
        numeric = [k for k, axis in enumerate(self.axes) if not axis.is_category and len(axis.points) > 1]
        for bits in range(1 << len(numeric)):
            weight = np.ones_like(total)
            index = [low for low, _, _ in corners]
            for j, k in enumerate(numeric):
                low, high, fraction = corners[k]
                use_high = bool(bits >> j & 1)
                index[k] = high if use_high else low
                weight = weight * (fraction if use_high else 1.0 - fraction)
            needed = weight != 0
            values = grid[tuple(index)]
            if np.any(np.isnan(values) & needed):
                at = int(np.flatnonzero(np.isnan(values) & needed)[0])
                where = self._describe(tuple(int(i[at]) for i in index))
                raise BadInput(f"Table '{self.name}': it has a hole at {where}, where the run failed, and does not "
                               f"interpolate across it; {RETRY}")
            total += np.where(needed, weight * values, 0.0)
        found = np.asarray(self._grid.value(total))
        return float(found[0]) if shape == () else found.reshape(shape)

    def _check_names(self, coordinates: Mapping[str, object]) -> None:
        wanted = [axis.name for axis in self.axes]
        missing = [name for name in wanted if name not in coordinates]
        unknown = [name for name in coordinates if name not in wanted]
        if missing or unknown:
            lacks = (("missing", missing), ("unknown", unknown))
            what = [f"{word} {', '.join(names)}" for word, names in lacks if names]
            raise BadInput(f"Table '{self.name}': AXIS=VALUE is needed for each of {', '.join(wanted)}; "
                           f"{'; '.join(what)}")

    def select(self, **fixed: float | str) -> Table:
        """The table with the named axes dropped at exact points."""
        index: list[int | slice] = []
        for axis in self.axes:
            index.append(axis.index(fixed[axis.name], self.name) if axis.name in fixed else slice(None))
        for name in fixed:
            self.axis(name)
        key = tuple(index)
        axes = tuple(a for a in self.axes if a.name not in fixed)
        return replace(self, axes=axes, values=np.asarray(self.values[key], dtype=float),
                       runs=np.asarray(self.runs[key], dtype=object),
                       spread=None if self.spread is None else np.asarray(self.spread[key], dtype=float))

    def point(self, **coordinates: float | str) -> Found:
        """Value, spread and runs at one point: the scalar twin of :meth:`at`, the same bits, ten times as fast."""
        self._check_names(coordinates)
        corners: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
        for axis in self.axes:  # later axes outside: the order in which `at` adds
            steps = axis.steps(coordinates[axis.name], self.name)
            corners = [((*index, i), weight * share) for i, share in steps for index, weight in corners]
        value = self._grid.weighted(corners)
        if math.isnan(value):
            self.at(**coordinates)  # refuses, and names the hole
        spread = None if self._spread_grid is None else self._spread_grid.weighted(corners)
        runs = {run for index, _ in corners for run in str(self.runs[index]).split(",") if run}
        return Found(value, spread, tuple(sorted(runs)))

    def holes_beside(self, **held: Coordinate) -> tuple[str, ...]:
        """The holes that a value at the held coordinates would touch, all along the axes that are not named."""
        index: list[npt.NDArray[np.intp]] = []
        for axis in self.axes:
            if axis.name in held:
                low, high, fraction = axis.bracket(np.atleast_1d(np.asarray(held[axis.name])), self.name)
                index.append(np.unique(np.concatenate([low[fraction < 1], high[fraction > 0]])))
            else:
                index.append(np.arange(len(axis.points)))
        for name in held:
            self.axis(name)
        touched = np.zeros(self.values.shape, dtype=bool)
        touched[np.ix_(*index) if index else ()] = True
        return tuple(self._describe(tuple(int(i) for i in at)) for at in np.argwhere(touched & np.isnan(self.values)))

    def covers(self, **coordinates: float | str) -> bool:
        """Whether the named coordinates lie on their axes."""
        try:
            for name, value in coordinates.items():
                self.axis(name).bracket(np.asarray([value]), self.name)
        except BadInput:
            return False
        return True

    def to_frame(self) -> pd.DataFrame:
        """Long form: one row a value, a column for each axis, then `value`, `spread` where known, `run`."""
        import pandas as pd  # slow to import, so only where a frame is asked for

        index = pd.MultiIndex.from_product([a.points for a in self.axes], names=[a.name for a in self.axes])
        columns: dict[str, Any] = {"value": self.values.ravel()}
        if self.spread is not None:
            columns["spread"] = self.spread.ravel()
        columns["run"] = self.runs.ravel()
        if not self.axes:
            return pd.DataFrame(columns)
        return pd.DataFrame(columns, index=index).reset_index()

    def plot(self, x: str | None = None, by: str | None = None, **held: float | str) -> Any:
        """Lines of value over axis `x`, one for each point of axis `by`, drawn by pandas; the matplotlib axes.

        x: by default the last numeric axis with several points. held: exact points of other axes; those that are not
        named are held at corner tt, 25 °C or their first point, and the title says where.
        """
        if x is None:
            several = [a.name for a in self.axes
                       if not a.is_category and len(a.points) > 1 and a.name not in (*held, by)]
            if not several:
                raise BadInput(f"Table '{self.name}': no numeric axis with several points is left; name one with x")
            x = several[-1]
        for name in (x, by):
            if name is not None and (self.axis(name).name in held or [x, by].count(name) > 1):
                raise BadInput(f"Table '{self.name}': {name} is drawn, so it can neither be held nor drawn twice")
        fixed = {a.name: held.get(a.name, _usual_point(a)) for a in self.axes if a.name not in (x, by)}
        part = self.select(**held, **{name: fixed[name] for name in fixed if name not in held})
        rows = part.to_frame()
        frame = (rows.set_index(x)[["value"]] if by is None else
                 rows.pivot(index=x, columns=by, values="value").loc[list(self.axis(x).points)])
        where = ", ".join(f"{name}={point:g}" if isinstance(point, float) else f"{name}={point}"
                          for name, point in fixed.items())
        heading = f"{self.name}, {self.origin.pdk}"
        styles = [f"{marker}-" for marker, _ in zip(itertools.cycle(_MARKERS), frame.columns, strict=False)]
        try:
            axes = frame.plot(style=styles, title=f"{heading}\n{where}" if where else heading,
                              xlabel=_labelled(x, self.axis(x).unit), ylabel=_labelled(self.name, self.unit),
                              legend=by is not None)
        except ImportError as error:
            raise BadInput("plot: matplotlib is not installed; run 'pip install matplotlib'") from error
        for drawn, unit in ((axes.xaxis, self.axis(x).unit), (axes.yaxis, self.unit)):
            if unit in _PREFIXED:
                drawn.set_major_formatter(_prefixed(unit))
        return axes

    @classmethod
    def from_records(
        cls, name: str, unit: str, axis_units: Mapping[str, str], records: Sequence[Mapping[str, Any]],
        origin: Origin, conventions: Mapping[str, str] | None = None,
    ) -> Table:
        """Build from rows of coordinates with keys "value", "run" and, optionally, "spread".

        axis_units: axis name -> SI symbol, in axis order. Category labels keep their first-seen order. A combination
        without a row is a hole. Raises BadInput naming a doubled point.
        """
        if not records:
            raise BadInput(f"Table '{name}': no records; the campaign holds no finished run for it")
        axes = tuple(_axis_from_records(axis, unit_, records) for axis, unit_ in axis_units.items())
        shape = tuple(len(axis.points) for axis in axes)
        positions = [{point: i for i, point in enumerate(axis.points)} for axis in axes]
        values = np.full(shape, np.nan)
        spread = np.full(shape, np.nan) if any("spread" in r for r in records) else None
        runs = np.empty(shape, dtype=object)
        for record in records:
            index = tuple(position[_key(record[a.name])] for a, position in zip(axes, positions, strict=True))
            if runs[index] is not None:
                raise BadInput(f"Table '{name}': two values at "
                               f"{', '.join(f'{a}={record[a]}' for a in axis_units)}")
            values[index], runs[index] = _finite(name, record), str(record["run"])
            if spread is not None:
                spread[index] = float(record.get("spread", 0.0))
        runs[np.isnan(values)] = ""
        return cls(name, unit, axes, values, runs, origin, dict(conventions or {}), spread)

    def to_json(self) -> dict[str, Any]:
        """The stored form; run ids are listed once and referred to by number."""
        ids: dict[str, int] = {}
        cells = [ids.setdefault(str(cell), len(ids)) for cell in self.runs.ravel()]
        data = {
            "schema": SCHEMA, "name": self.name, "unit": self.unit, "conventions": dict(self.conventions),
            "origin": {k: v for k, v in vars(self.origin).items() if k != "derived" or v},
            "axes": [{"name": a.name, "unit": a.unit, "points": list(a.points)} for a in self.axes],
            "values": [None if math.isnan(v) else float(f"{v:.10g}") for v in self.values.ravel()],
            "spread": None if self.spread is None else [float(f"{v:.6g}") for v in self.spread.ravel()],
            "run_ids": list(ids), "runs": cells,
            **({"interpolation_error": dict(self.interpolation_error)} if self.interpolation_error else {}),
        }
        return data | {CHECKSUM: checksum(data)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "table", unchecked: bool = False) -> Table:
        """Inverse of :meth:`to_json`; BadInput naming `where` if the data does not fit, or not its checksum.

        unchecked: take what is edited, to sign it.
        """
        if data.get("schema") != SCHEMA:
            raise BadInput(f"{where}: schema must be '{SCHEMA}', got {data.get('schema')!r}; "
                           "regenerate the table")
        check_form(data, where)
        if not unchecked:
            check_checksum(data, where)
        try:
            axes = tuple(Axis(a["name"], a["unit"], tuple(a["points"])) for a in data["axes"])
            shape = tuple(len(axis.points) for axis in axes)
            values = np.asarray(data["values"], dtype=float).reshape(shape)
            runs = np.asarray([data["run_ids"][i] for i in data["runs"]], dtype=object).reshape(shape)
            spread = data.get("spread")
            return cls(data["name"], data["unit"], axes, values, runs, Origin(**data["origin"]),
                       data["conventions"],
                       None if spread is None else np.asarray(spread, dtype=float).reshape(shape),
                       data.get("interpolation_error", {}))
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise BadInput(f"{where}: not a whole table ({error}); regenerate it") from error

    def save(self, path: Path) -> None:
        """Write JSON, whole or not at all."""
        temporary = path.with_name(path.name + f".{os.getpid()}.tmp")
        temporary.write_text(table_text(self.to_json()), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Table:
        """Read one table; BadInput naming the file if it is missing, broken, or edited and not signed."""
        return cls.from_json(read_data(path), str(path))

    @classmethod
    def sign(cls, path: Path) -> bool:
        """Take a file that was edited by hand: its checksum is written again, its origin says "edited".

        False, and nothing is written, where the checksum is right already. BadInput where it is no table at all.
        """
        data = read_data(path)
        table = cls.from_json(data, str(path), unchecked=True)
        if data.get(CHECKSUM) == checksum(data):
            return False
        replace(table, origin=replace(table.origin, status=EDITED)).save(path)
        return True


def _finite(name: str, record: Mapping[str, Any]) -> float:
    value = float(record["value"])
    if not np.isfinite(value):
        raise BadInput(f"Table '{name}': value {value} of run {record['run']} is not finite; rerun that point")
    return value


def _prefixed(unit: str) -> Callable[[float, float], str]:
    """A formatter of an axis' ticks."""
    return lambda value, _: format_si(value, unit)


def _usual_point(axis: Axis) -> float | str:
    """tt and 25 °C where the axis has them, else its first point."""
    return next((point for point in axis.points if point in ("tt", 25.0)), axis.points[0])


def _labelled(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _key(point: Any) -> float | str:
    return point if isinstance(point, str) else float(point)


def _axis_from_records(name: str, unit: str, records: Sequence[Mapping[str, Any]]) -> Axis:
    seen = list(dict.fromkeys(_key(record[name]) for record in records))
    if all(isinstance(point, str) for point in seen):
        return Axis(name, unit, cast("tuple[str, ...]", tuple(seen)))
    return Axis(name, unit, cast("tuple[float, ...]", tuple(sorted(cast("list[float]", seen)))))


class TableSet(Mapping[str, Table]):
    """Tables by name; asking for one that is missing says which exist."""

    def __init__(self, tables: Sequence[Table], where: str = "") -> None:
        self._tables = {table.name: table for table in tables}
        self.where = where

    def __getitem__(self, name: str) -> Table:
        if name not in self._tables:
            raise BadInput(f"Table '{name}': not in {self.where or 'this set'}; "
                           f"it holds {', '.join(sorted(self._tables)) or 'nothing'}")
        return self._tables[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._tables))

    def __len__(self) -> int:
        return len(self._tables)


def load_tables(directory: Path) -> TableSet:
    """All `*.json` tables in a folder; BadInput if there is no such folder or no table in it."""
    files = sorted(directory.glob("*.json")) if directory.is_dir() else []
    if not files:
        raise BadInput(f"{directory}: no tables there; give a folder that 'himc characterize --pdk KIT --out FOLDER' "
                       "wrote")
    tables = [Table.load(path) for path in files]
    for path, table in zip(files, tables, strict=True):
        if path.stem != table.name:
            raise BadInput(f"{path}: it holds the table '{table.name}'; a file is named as its table, so rename it "
                           f"to {table.name}.json or take it out of the folder")
        mine, first = table.origin, tables[0].origin
        if (mine.pdk, mine.pdk_sha256) != (first.pdk, first.pdk_sha256):
            raise BadInput(f"{path}: made with {_kit(mine)}, while {files[0].name} beside it was made with "
                           f"{_kit(first)}; keep one kit's tables in a folder, and run 'himc characterize' again "
                           "where its cards have changed")
    return TableSet(tables, str(directory))


def _kit(origin: Origin) -> str:
    return f"pdk '{origin.pdk}' (sha256 {origin.pdk_sha256[:12]})"


def save_tables(directory: Path, tables: Sequence[Table]) -> None:
    """Write each table as NAME.json, creating the folder."""
    directory.mkdir(parents=True, exist_ok=True)
    for table in tables:
        table.save(directory / f"{table.name}.json")
