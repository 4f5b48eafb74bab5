"""Join databases: the runs of several places in one file, each kept once.

Rows are copied as they lie in the files, a source in one transaction: it is joined whole or not at all. A source is
only read. One that a killed campaign left with a write-ahead log beside it is read with that log, which stays.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from charlib.campaign.store import BUSY_TIMEOUT_S, Store, explain
from charlib.errors import BadInput, HimcError

#: measures of one run that differ by more than this, relative, are two results
AGREE = 1e-9
_HEADS = "INSERT OR IGNORE INTO main.heads SELECT * FROM source.heads"
_NEW = ("INSERT INTO main.runs ({columns}) SELECT {columns} FROM source.runs WHERE id NOT IN "
        "(SELECT id FROM main.runs)")
_MENDED = ("REPLACE INTO main.runs ({columns}) SELECT {columns} FROM source.runs WHERE status = 'ok' AND id IN "
           "(SELECT id FROM main.runs WHERE status = 'failed')")
_UNLIKE = ("SELECT id, ours.measures, theirs.measures FROM source.runs AS theirs JOIN main.runs AS ours USING (id) "
           "WHERE theirs.status = 'ok' AND ours.status = 'ok' AND ours.measures <> theirs.measures ORDER BY id")


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

    A finished run is never replaced, a failed one only by a finished one; joining again changes nothing. Raises
    BadInput, before anything is written, for a source that is the target, stands twice, is damaged, edited or of
    another schema; HimcError where a source changes under the reader or the disk is full.
    """
    _each_once([target, *sources])
    for source in sources:
        with _reading(source) as store:
            store.verify_rows()
    with Store.open(target) as store:
        store.verify_rows()
        store.make_room_for_checksums()
    with _guarded(target):
        database = sqlite3.connect(f"{target.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S,
                                   isolation_level=None)
        try:
            return [_join(database, source) for source in sources]
        finally:
            database.close()


def _each_once(paths: Sequence[Path]) -> None:
    """BadInput where two paths lead to one file, by links too."""
    seen: set[Path | tuple[int, int]] = set()
    for path in paths:
        names: set[Path | tuple[int, int]] = {path.resolve()}
        if path.exists():
            names.add((path.stat().st_dev, path.stat().st_ino))
        if names & seen:
            raise BadInput(f"database {path}: it is named twice; give each file once")
        seen |= names


def _join(database: sqlite3.Connection, path: Path) -> Merged:
    before = _stamp(path)
    with _attached(database, path):
        database.execute("BEGIN IMMEDIATE")
        try:
            (total,) = database.execute("SELECT count(*) FROM source.runs").fetchone()
            disagree = tuple((run, name) for run, ours, theirs in database.execute(_UNLIKE)
                             if (name := _difference(ours, theirs)))
            database.execute(_HEADS)
            # a source of an earlier version has no checksums; its rows stay unsigned
            columns = ", ".join(column[1] for column in database.execute("PRAGMA source.table_info(runs)"))
            mended = database.execute(_MENDED.format(columns=columns)).rowcount
            added = database.execute(_NEW.format(columns=columns)).rowcount
            if _stamp(path) != before:
                raise HimcError(f"database {path}: it changed while it was read; nothing of it was joined, "
                                "wait until its campaign is done and run again")
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
    return Merged(path, added, total - added - mended, mended, disagree)


@contextmanager
def _attached(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    database.execute("ATTACH ? AS source", (_address(path),))
    try:
        yield
    finally:
        database.execute("DETACH source")


def _difference(ours: str, theirs: str) -> str:
    """The first measure in which two results (JSON objects) of a run differ, "" where there is none."""
    one, other = json.loads(ours), json.loads(theirs)
    if one.keys() != other.keys():
        return "the set of measures"
    return next((name for name, value in one.items()
                 if not math.isclose(value, other[name], rel_tol=AGREE, abs_tol=0.0)), "")


def _log_of(path: Path) -> Path:
    """Where SQLite keeps what is not yet in the file itself."""
    resolved = path.resolve()
    return resolved.with_name(resolved.name + "-wal")


def _address(path: Path) -> str:
    """How a database is opened without a trace: immutable, unless its write-ahead log must be read with it."""
    log = _log_of(path)
    how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    return f"{path.resolve().as_uri()}?{how}"


def _stamp(path: Path) -> tuple[tuple[int, int], ...]:
    """Size and time of the file and of its log; it tells whether someone writes."""
    return tuple((file.stat().st_size, file.stat().st_mtime_ns) for file in (path, _log_of(path)) if file.exists())


@contextmanager
def _reading(path: Path) -> Iterator[Store]:
    """A store that is only read. BadInput for what Store.open refuses: missing, damaged, of another kind."""
    if not path.exists():
        raise BadInput(f"database {path}: there is no such file; give one that a campaign made")
    with _guarded(path):
        database = sqlite3.connect(_address(path), uri=True)
        try:
            store = Store(database, path)
            store.verify()
            yield store
        finally:
            database.close()


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Say SQLite's errors in one line."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        explain(path, error, kept="the source at hand was not joined", instead="leave it out")


def content(path: Path) -> list[tuple[str, str, str, int]]:
    """(kind, status, engine, number of runs) of a database, in order."""
    with _reading(path) as store:
        return store.content()
