"""Join databases: the runs of several places in one file, each kept once."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlib.campaign.store import FAILED, OK, RunRow, Store
from charlib.errors import BadInput

#: measures of one run that differ by more than this, relative, are two results
AGREE = 1e-9
_CHUNK = 200


@dataclass(frozen=True)
class Merged:
    """What joining one source did. disagree: (run id, measure) where values differ; the target's were kept."""

    source: Path
    added: int
    known: int
    mended: int  #: failed runs of the target for which the source had a result
    disagree: tuple[tuple[str, str], ...]


def merge(target: Path, sources: Sequence[Path]) -> list[Merged]:
    """Put the runs of `sources` into `target`, which is made where it is not there. Sources are only read.

    A finished run is never replaced. Raises BadInput for a source that is the target, stands twice, or is damaged.
    """
    paths = [path.resolve() for path in (target, *sources)]
    for k, path in enumerate(paths):
        if path in paths[:k]:
            raise BadInput(f"database {path}: it is named twice; give each file once")
    for source in sources:
        with Store.open(source, create=False):  # every source is looked at before anything is written
            pass
    with Store.open(target) as store:
        return [_join(store, source) for source in sources]


def _join(store: Store, path: Path) -> Merged:
    added = known = mended = 0
    disagree: list[tuple[str, str]] = []
    with Store.open(path, create=False) as source:
        for rows in _chunks(source):
            present = store.rows(row.id for row in rows)
            for row in rows:
                old = present.get(row.id)
                if old is None:
                    store.put(row)
                    added += 1
                elif old.status == FAILED and row.status == OK:
                    store.put(row)
                    mended += 1
                else:
                    known += 1
                    if old.status == row.status == OK and (name := _difference(old, row)):
                        disagree.append((row.id, name))
    return Merged(path, added, known, mended, tuple(disagree))


def _chunks(source: Store) -> Iterator[list[RunRow]]:
    ids = source.ids()
    for start in range(0, len(ids), _CHUNK):
        yield list(source.rows(ids[start:start + _CHUNK]).values())


def _difference(one: RunRow, other: RunRow) -> str:
    """The first measure in which two results of a run differ, "" where there is none."""
    if one.measures.keys() != other.measures.keys():
        return "the set of measures"
    return next((name for name, value in one.measures.items()
                 if not math.isclose(value, other.measures[name], rel_tol=AGREE, abs_tol=0.0)), "")


def content(path: Path) -> list[tuple[str, str, str, int]]:
    """(kind, status, engine, number of runs) of a database, in order."""
    with Store.open(path, create=False):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            found = connection.execute("SELECT kind, status, engine, count(*) FROM runs "
                                       "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3").fetchall()
        finally:
            connection.close()
    return [(str(kind), str(status), str(engine), int(count)) for kind, status, engine, count in found]
