"""Fold: rows to tables. Each bench folds its own runs; the campaign says where they came from.

A bench kind is folded at the operating points (corner, temperature, supply) where every one of its runs finished; at
the others its tables have holes. What is missing is named, with the reason, and never filled in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Bench, Run
from charlib.campaign.plan import Job
from charlib.campaign.store import OK, RunRow, Store
from charlib.errors import HimcError
from charlib.pdk import Pdk
from charlib.table import Axis, Origin, Table

#: the reason of a point that has no row
NOT_STORED = "it did not finish"


@dataclass(frozen=True)
class Hole:
    """A point without a finished run."""

    kind: str
    point: str
    run: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} at {self.point}: {self.reason} (run {self.run})"


@dataclass(frozen=True)
class Folded:
    """Tables, and the points without a finished run that are holes in them."""

    tables: tuple[Table, ...]
    holes: tuple[Hole, ...]

    def whole(self) -> tuple[Table, ...]:
        """The tables; HimcError naming the first hole if there is any."""
        if self.holes:
            if all(hole.reason == NOT_STORED for hole in self.holes):
                raise HimcError(f"tables: {len(self.holes)} points have no result, the first is {self.holes[0]}; an "
                                "accident ended them, give the same command again")
            raise HimcError(f"tables: {len(self.holes)} points have no result, the first is {self.holes[0]}; "
                            f"'himc db show {self.holes[0].run}' prints its log, with the campaign's --db; to try "
                            "again, give the same command with --retry-failed")
        return self.tables


def describe(job: Job) -> str:
    """A point as `field=value` words."""
    return " ".join(f"{name}={value}" for name, value in job.point.coordinates().items())


def fold_tables(store: Store, ids: Mapping[Job, str], pdk: Pdk, benches: Mapping[str, Bench],
                status: str = "fresh") -> Folded:
    """Tables of the given runs (`Summary.ids` of a campaign), one fold a bench kind.

    status: "fresh", or "shipped" for tables that go into the package. Tables of one name from several
    kinds are joined.
    """
    by_kind: defaultdict[str, list[Job]] = defaultdict(list)
    for job in sorted(ids, key=lambda j: list(benches).index(j.kind)):
        by_kind[job.kind].append(job)
    tables: dict[str, Table] = {}
    holes: list[Hole] = []
    for kind, jobs in by_kind.items():
        rows = store.rows(ids[job] for job in jobs)
        missing = [_hole(job, ids[job], rows.get(ids[job])) for job in jobs if not _finished(rows, ids[job])]
        holes += missing
        broken = {_operating(job) for job in jobs if not _finished(rows, ids[job])}
        whole = [job for job in jobs if _operating(job) not in broken]
        if not whole:
            continue
        runs = [Run(ids[job], job.point, rows[ids[job]].measures) for job in whole]
        points = {axis: list(dict.fromkeys(_operating(job)[k] for job in jobs)) for k, axis in enumerate(PVT_UNITS)}
        for folded in benches[kind].fold(runs, _origin(list(rows.values()), pdk, status)):
            table = with_points(folded, points) if broken else folded
            known = tables.get(table.name)
            tables[table.name] = table if known is None else join(known, table)
    return Folded(tuple(tables[name] for name in sorted(tables)), tuple(holes))


def _operating(job: Job) -> tuple[str, float, float]:
    return job.point.corner, job.point.temp_c, job.point.vdd_v


def with_points(table: Table, points: Mapping[str, Sequence[float | str]]) -> Table:
    """The table with all of these points on its axes, holes where it has no value."""
    axes = tuple(Axis(axis.name, axis.unit, _union(axis, points.get(axis.name, ()))) for axis in table.axes)
    shape = tuple(len(axis.points) for axis in axes)
    values, runs = np.full(shape, np.nan), np.full(shape, "", dtype=object)
    place = np.ix_(*([axes[k].points.index(point) for point in axis.points] for k, axis in enumerate(table.axes)))
    values[place], runs[place] = table.values, table.runs
    return replace(table, axes=axes, values=values, runs=runs, spread=None)


def _union(axis: Axis, points: Sequence[float | str]) -> Any:
    everything = dict.fromkeys([*axis.points, *points])
    return tuple(everything) if axis.is_category else tuple(sorted(everything, key=float))


def _finished(rows: Mapping[str, RunRow], run: str) -> bool:
    return run in rows and rows[run].status == OK


def _hole(job: Job, run: str, row: RunRow | None) -> Hole:
    return Hole(job.kind, describe(job), run, row.reason if row else NOT_STORED)


def _origin(rows: Sequence[RunRow], pdk: Pdk, status: str) -> Origin:
    """Made of the rows alone, so that folding the same runs again gives the same files."""
    latest = max(rows, key=lambda row: (row.created, row.id))
    return Origin(pdk=pdk.name, pdk_sha256=pdk.sha256, engine=latest.engine, revision=latest.revision,
                  status=status, created=latest.created,
                  derived={name: pdk.corners[name].derived for name in dict.fromkeys(row.corner for row in rows)
                           if pdk.corners[name].derived})


def join(first: Table, second: Table) -> Table:
    """One table of two with the same name, unit and axes, holding disjoint points of a whole grid."""
    axes = {axis.name: axis.unit for axis in first.axes}
    if first.unit != second.unit or axes != {axis.name: axis.unit for axis in second.axes}:
        raise HimcError(f"Table '{first.name}': two benches fold it with different units or axes; mend the benches")
    records = [{str(key): value for key, value in record.items()}
               for table in (first, second) for record in table.to_frame().to_dict("records")]
    return Table.from_records(first.name, first.unit, axes, records, max(first.origin, second.origin, key=_when),
                              {**first.conventions, **second.conventions})


def _when(origin: Origin) -> str:
    return origin.created
