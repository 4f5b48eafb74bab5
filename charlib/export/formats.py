"""The formats by name, and what a request may ask of each."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from charlib.errors import BadInput
from charlib.export.data import part, to_csv, to_parquet
from charlib.export.hwcomponents import to_hwcomponents
from charlib.export.netcdf import to_netcdf
from charlib.export.neurosim import to_neurosim
from charlib.export.point import OperatingPoint, Point, Reader, typical_point
from charlib.export.zigzag import to_zigzag
from charlib.table import Table, TableSet
from charlib.units import MICRO

ALL = "all"


@dataclass(frozen=True)
class Request:
    """What is asked for. table: a name or "all". corner, temp_c, vdd_v: None where not given.

    areas_um2: cell -> area in µm², for tools that want one. node_nm: for kits whose name does not say it.
    """

    table: str = ALL
    corner: str | None = None
    temp_c: float | None = None
    vdd_v: float | None = None
    areas_um2: Mapping[str, float] = field(default_factory=dict)
    node_nm: float | None = None
    library_name: str | None = None

    def __post_init__(self) -> None:
        for cell, area in self.areas_um2.items():
            if not area > 0:
                raise BadInput(f"area: '{cell}={area:g}' must be above 0 µm²")
        if self.node_nm is not None and not 0 < self.node_nm < 1e5:
            raise BadInput(f"node_nm: above 0 and below 1e5 is allowed, got {self.node_nm:g}")

    @property
    def held(self) -> dict[str, Point]:
        """The axes that are held at a point that the user gave."""
        asked = {"corner": self.corner, "temp_c": self.temp_c, "vdd_v": self.vdd_v}
        return {name: point for name, point in asked.items() if point is not None}

    @property
    def areas_m2(self) -> dict[str, float]:
        return {cell: area * MICRO**2 for cell, area in self.areas_um2.items()}


@dataclass(frozen=True)
class Format:
    """render: tables and request to text, or to bytes where `binary`. model: made from all tables at one point."""

    render: Callable[[TableSet, Request], str | bytes]
    binary: bool = False
    model: bool = False


def render(name: str, tables: TableSet, request: Request) -> str | bytes:
    """An export's content. BadInput for an unknown format, a point that is not covered, and holes in the slice."""
    chosen = find_format(name)
    if chosen.model and request.table != ALL:
        raise BadInput(f"table: '{request.table}' cannot be exported alone as {name}, which is made from all tables; "
                       "leave it out")
    return chosen.render(tables, request)


def find_format(name: str) -> Format:
    """The format of that name; BadInput listing those that exist otherwise."""
    if name not in FORMATS:
        raise BadInput(f"format: '{name}' is unknown; known are {', '.join(FORMATS)}")
    return FORMATS[name]


def _parts(tables: TableSet, request: Request) -> list[Table]:
    """The chosen tables, cut down to the point that was asked for; whole where none was."""
    chosen = list(tables.values()) if request.table == ALL else [tables[request.table]]
    return [part(table, request.held) for table in chosen]


def _json(tables: Sequence[Table]) -> str:
    return json.dumps([table.to_json() for table in tables], indent=1, ensure_ascii=False) + "\n"


def _data(write: Callable[[Sequence[Table]], str | bytes]) -> Callable[[TableSet, Request], str | bytes]:
    return lambda tables, request: write(_parts(tables, request))


def _point(tables: TableSet, request: Request) -> OperatingPoint:
    return typical_point(tables, request.corner, request.temp_c, request.vdd_v)


def _reader(tables: TableSet, request: Request) -> Reader:
    return Reader(tables, _point(tables, request))


def _liberty(tables: TableSet, request: Request) -> str:
    point, reader = _point(tables, request), _reader(tables, request)
    name = request.library_name or re.sub(r"\W", "_", f"{reader.pdk}_{point.corner}_{point.temp_c:g}c_"
                                          f"{point.vdd_v:g}v".replace("-", "m").replace(".", "p"), flags=re.ASCII)
    module = importlib.import_module("charlib.export.liberty")
    return str(module.to_liberty(tables, corner=point.corner, temp_c=point.temp_c, vdd_v=point.vdd_v,
                                 library_name=name))


FORMATS: Mapping[str, Format] = {
    "csv": Format(_data(to_csv)),
    "parquet": Format(_data(to_parquet), binary=True),
    "netcdf": Format(_data(to_netcdf), binary=True),
    "json": Format(_data(_json)),
    "liberty": Format(_liberty, model=True),
    "hwcomponents": Format(lambda tables, request: to_hwcomponents(_reader(tables, request), request.areas_m2),
                           model=True),
    "zigzag": Format(lambda tables, request: to_zigzag(_reader(tables, request), request.areas_m2, request.node_nm),
                     model=True),
    "neurosim": Format(lambda tables, request: to_neurosim(_reader(tables, request), request.node_nm), model=True),
}
