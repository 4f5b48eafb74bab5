"""Where the exported numbers are read: one operating point, and readings that remember where they came from."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np

from charlib.advice import RETRY
from charlib.errors import BadInput
from charlib.pdk import KITS
from charlib.table import Axis, Table, TableSet

TYPICAL_CORNER = "tt"
ROOM_C = 25.0
#: more missing points than this are counted, not named
_NAMED_HOLES = 20

Point = float | str
#: a coordinate, or several to take the mean over
Where = Point | Sequence[float] | Sequence[str]


@dataclass(frozen=True)
class OperatingPoint:
    """Corner, temperature in °C and supply in V."""

    corner: str
    temp_c: float
    vdd_v: float

    def __str__(self) -> str:
        return f"corner {self.corner}, {self.temp_c:g} °C, {self.vdd_v:g} V"


@dataclass(frozen=True)
class Reading:
    """A value of one table, in SI. at: coordinates beside the operating point. runs: ids of the runs behind it."""

    value: float
    unit: str
    table: str
    at: Mapping[str, Where]
    runs: tuple[str, ...]

    def __str__(self) -> str:
        words = []
        for name, point in self.at.items():
            if isinstance(point, Sequence) and not isinstance(point, str):
                words.append(f"{name}=mean of {', '.join(_text(each) for each in point)}")
            else:
                words.append(f"{name}={_text(point)}")
        where = f" at {', '.join(words)}" if words else ""
        return f"{self.table}{where} ({self.value:.6g} {self.unit}; runs {', '.join(self.runs)})"


@dataclass(frozen=True)
class Value:
    """A number in another tool's unit. how: formula and source, or, where `value` is None, why there is none."""

    value: float | None
    unit: str
    how: str
    readings: tuple[Reading, ...] = field(default=())

    def notes(self) -> list[str]:
        """The lines of a comment: unit and formula, then each reading."""
        if self.value is None:
            return [f"{self.unit}; no value: {self.how}"]
        return [f"{self.unit}; {self.how}", *(f"  {reading}" for reading in self.readings)]


def number(value: float) -> float:
    """Ten significant digits, as many as a stored table has."""
    return float(f"{value:.10g}")


def typical_point(
    tables: TableSet, corner: str | None = None, temp_c: float | None = None, vdd_v: float | None = None,
) -> OperatingPoint:
    """What is asked for; where nothing is, corner tt, 25 °C and the kit's nominal supply.

    Where the tables lack that point, it is the first corner, the nearest temperature, the supply in the middle.
    """
    table = next((t for t in tables.values() if {"corner", "temp_c", "vdd_v"} <= {a.name for a in t.axes}), None)
    if table is None:
        raise BadInput(f"tables: none in {tables.where or 'this set'} has the axes corner, temp_c and vdd_v; "
                       "give the folder of a campaign")
    corners, temps_c, vdds_v = (table.axis(name) for name in ("corner", "temp_c", "vdd_v"))
    kit = KITS.get(table.origin.pdk)
    nominal_v = kit.nominal_vdd_v if kit else float("nan")
    middle_v = float(vdds_v.points[len(vdds_v.points) // 2])
    chosen = corner if corner is not None else TYPICAL_CORNER
    if chosen not in corners.points:
        if corner is not None:
            known = ", ".join(map(str, corners.points))
            raise BadInput(f"corner: '{corner}' is not in the tables; they have {known}")
        chosen = str(corners.points[0])
    return OperatingPoint(
        chosen, temp_c if temp_c is not None else _nearest(temps_c, ROOM_C),
        vdd_v if vdd_v is not None else nominal_v if table.covers(vdd_v=nominal_v) else middle_v)


class Reader:
    """Reads tables at one operating point; refuses next to a hole, naming every point that is missing there."""

    def __init__(self, tables: TableSet, point: OperatingPoint) -> None:
        self.tables = tables
        self.point = point
        kits = sorted({table.origin.pdk for table in tables.values()})
        if len(kits) != 1:
            raise BadInput(f"tables: {tables.where or 'this set'} comes from the kits {', '.join(kits) or 'none'}; "
                           "export one kit at a time")
        self.pdk = kits[0]

    def lacks(self, *names: str) -> str:
        """Why these tables cannot be read, or "" where all are there."""
        missing = [name for name in names if name not in self.tables]
        return f"table {', '.join(missing)} is not in {self.tables.where or 'this set'}" if missing else ""

    def axis(self, table: str, name: str) -> Axis:
        return self.tables[table].axis(name)

    def read(self, name: str, **at: Where) -> Reading:
        """The value at the operating point and `at`; the mean over a coordinate that is a sequence.

        Raises BadInput outside the table and next to its holes.
        """
        table = self.tables[name]
        own = {a.name for a in table.axes}
        held = {k: v for k, v in vars(self.point).items() if k in own} | at
        refuse_holes(table, held)
        lists = [v if isinstance(v, Sequence) and not isinstance(v, str) else (v,) for v in held.values()]
        combos = [dict(zip(held, combo, strict=True)) for combo in itertools.product(*lists)]
        found = [table.point(**combo) for combo in combos]
        return Reading(float(np.mean([one.value for one in found])), table.unit, name, at,
                       tuple(sorted({run for one in found for run in one.runs})))

    def header(self) -> list[str]:
        """The lines that every export begins with: operating point, kit, engine, revisions."""
        origins = [table.origin for table in self.tables.values()]

        def all_of(name: str) -> str:
            return ", ".join(sorted({str(getattr(origin, name)) for origin in origins}))

        derived = {origin.derived[self.point.corner] for origin in origins if self.point.corner in origin.derived}
        return [
            f"Made by 'himc tables export' of hadamard-imc {metadata.version('hadamard-imc')} from SPICE tables.",
            f"Operating point: {self.point}.",
            *(f"Corner {self.point.corner} is {text}." for text in sorted(derived)),
            f"Kit {self.pdk}, cards sha256 {all_of('pdk_sha256')}.",
            f"Engine {all_of('engine')}; revision {all_of('revision')}; tables {all_of('status')}.",
        ]


def refuse_holes(table: Table, held: Mapping[str, Where]) -> None:
    """BadInput that names the points without a value beside the held coordinates, all along the other axes."""
    missing = table.holes_beside(**dict(held))
    if missing:
        more = f"; and {len(missing) - _NAMED_HOLES} more" if len(missing) > _NAMED_HOLES else ""
        raise BadInput(f"Table '{table.name}': {len(missing)} points of the export have no value: "
                       f"{'; '.join(missing[:_NAMED_HOLES])}{more}; {RETRY}")


def node_of(name: str) -> float | None:
    """The node in nm that a kit of the catalogue has in its name, else None."""
    found = re.search(r"\d+", name) if name in KITS else None
    return float(found.group()) if found else None


def _nearest(axis: Axis, wanted: float) -> float:
    numbers = [float(point) for point in axis.points]
    return wanted if numbers[0] <= wanted <= numbers[-1] else min(numbers, key=lambda point: abs(point - wanted))


def _text(point: object) -> str:
    return f"{point:g}" if isinstance(point, float) else str(point)
