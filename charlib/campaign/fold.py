"""Fold: rows to tables. Each bench folds its own runs; the campaign says where they came from.

A table is made only where every one of its points has a finished run. What is missing is named, with the
reason, and never filled in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charlib.benches.base import Bench, Run
from charlib.campaign.plan import Job
from charlib.campaign.store import OK, RunRow, Store
from charlib.errors import HimcError
from charlib.pdk import Pdk
from charlib.table import Origin, Table


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
    """Tables of the bench kinds that are whole, and the holes of those that are not."""

    tables: tuple[Table, ...]
    holes: tuple[Hole, ...]

    def whole(self) -> tuple[Table, ...]:
        """The tables; HimcError naming the first hole if there is any."""
        if self.holes:
            raise HimcError(f"tables: {len(self.holes)} points have no result, the first is {self.holes[0]}; "
                            "see 'himc characterize --retry-failed'")
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
        if missing:
            holes += missing
            continue
        runs = [Run(ids[job], job.point, rows[ids[job]].measures) for job in jobs]
        for table in benches[kind].fold(runs, _origin(list(rows.values()), pdk, status)):
            known = tables.get(table.name)
            tables[table.name] = table if known is None else join(known, table)
    return Folded(tuple(tables[name] for name in sorted(tables)), tuple(holes))


def _finished(rows: Mapping[str, RunRow], run: str) -> bool:
    return run in rows and rows[run].status == OK


def _hole(job: Job, run: str, row: RunRow | None) -> Hole:
    return Hole(job.kind, describe(job), run, row.reason if row else "not simulated yet")


def _origin(rows: Sequence[RunRow], pdk: Pdk, status: str) -> Origin:
    """Made of the rows alone, so that folding the same runs again gives the same files."""
    latest = max(rows, key=lambda row: (row.created, row.id))
    return Origin(pdk=pdk.name, pdk_sha256=pdk.sha256, engine=latest.engine, revision=latest.revision,
                  status=status, created=latest.created)


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
