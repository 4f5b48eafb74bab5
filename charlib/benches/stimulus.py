"""What benches share: how long to wait for a circuit at a corner, where leakage is read, table helpers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run
from charlib.errors import LogicError
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Edge
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings
from charlib.table import Origin, Table
from charlib.units import ZERO_CELSIUS_K

_CORNER = {"ss": 1.6, "tt": 1.0, "ff": 0.8}
#: a node within this share of a rail counts as at that rail
RAIL_SHARE = 0.1
EDGES: tuple[Edge, ...] = ("rise", "fall")


def window_unit_s(pdk: Pdk, point: Point) -> float:
    """A generous full-adder delay at the point: stimulus timing only, never a result.

    The corner's factor, times a power of nominal over actual supply, times the mobility's fall with
    temperature (exponent -1.5 in BSIM4's default, and some threshold). A bench whose windows prove too short
    fails its own logic check.
    """
    corner = _CORNER.get(point.corner, max(_CORNER.values()))
    hot = max(1.0, ((point.temp_c + ZERO_CELSIUS_K) / 298.15) ** 1.8)
    return float(pdk.unit_s * corner * hot * (pdk.nominal_vdd_v / point.vdd_v) ** 2)


def read_bit(volt: float, vdd_v: float, what: str) -> int:
    """The logic value of a settled node; LogicError where it is not within 10 % of a rail."""
    if volt > (1 - RAIL_SHARE) * vdd_v:
        return 1
    if volt < RAIL_SHARE * vdd_v:
        return 0
    raise LogicError(f"{what} settles at {volt:.3f} V, neither 0 nor {vdd_v:g} V")


def expect(what: str, got: object, wanted: object, deck: Deck, waves: Waveforms) -> None:
    """LogicError naming both values unless they are equal."""
    if got != wanted:
        tail = "\n".join(waves.log[-20:])
        raise LogicError(f"{what}: the circuit gives {got}, right is {wanted}", deck.text(), tail)


def last_crossing(waves: Waveforms, nets: Sequence[str], level_v: float, begin_s: float,
                  window_s: float) -> float | None:
    """Time of the last crossing of any of the nets within the window, either edge; None if there is none."""
    times = np.concatenate([crossings(waves.axis, waves.signal(f"v({net})"), level_v, edge)
                            for net in nets for edge in EDGES])
    inside = times[(times > begin_s) & (times <= begin_s + window_s)]
    return float(inside.max()) if len(inside) else None


def table_of(
    name: str, unit: str, axis_units: Mapping[str, str], runs: Sequence[Run], origin: Origin,
    rows: Callable[[Run], Sequence[Mapping[str, Any]]], conventions: Mapping[str, str],
) -> Table:
    """A table from rows a run, PVT axes first. rows(run): mappings with the other axes and "value"."""
    records = [
        {"corner": run.point.corner, "temp_c": run.point.temp_c, "vdd_v": run.point.vdd_v, "run": run.id, **row}
        for run in runs for row in rows(run)
    ]
    return Table.from_records(name, unit, {**PVT_UNITS, **axis_units}, records, origin, conventions)


def grouped(runs: Sequence[Run], *fields: str) -> dict[tuple[Any, ...], list[Run]]:
    """Runs by operating point and the named structural fields, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        key = (run.point.corner, run.point.temp_c, run.point.vdd_v, *(getattr(run.point, f) for f in fields))
        groups.setdefault(key, []).append(run)
    return groups


def ids(runs: Sequence[Run]) -> str:
    """Run ids as one table cell."""
    return ",".join(sorted({run.id for run in runs}))
