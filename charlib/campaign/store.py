"""The store: one SQLite file that holds every run for good.

A row is a whole run: the complete deck, its measures, what made it, and, where it failed, why. Rows are
keyed by content (see :mod:`charlib.campaign.plan`), so the same question is never simulated twice. What
decks have in common (cards and subcircuits, up to the last `.ends`) is kept once. The file
is in WAL mode and each result is one transaction: a killed process loses at most the runs in flight. A new
file is made under another name and linked into place, so no half-made database is ever met; a file that
is damaged, or is something else, is refused and left as it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from charlib.errors import BadInput, HimcError

#: PRAGMA application_id of our files: "himc" in ASCII
APPLICATION_ID = 0x68696D63
#: PRAGMA user_version; raise it when the columns change
SCHEMA_VERSION = 2
#: seconds to wait for another process that holds the file's write lock
BUSY_TIMEOUT_S = 30.0
OK, FAILED = "ok", "failed"
_HEADS_HELD = 64  # heads remembered as written
_CHUNK = 500  # ids per SELECT, below SQLite's limit of bound values

_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, point TEXT NOT NULL, pdk TEXT NOT NULL, corner TEXT NOT NULL,
    temp_c REAL NOT NULL, vdd_v REAL NOT NULL, deck BLOB NOT NULL, deck_sha256 TEXT NOT NULL,
    measures TEXT NOT NULL, steps INTEGER NOT NULL, solver_s REAL NOT NULL, engine TEXT NOT NULL,
    cards TEXT NOT NULL, revision TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
    reason TEXT NOT NULL, log_tail TEXT NOT NULL, looser TEXT NOT NULL, created TEXT NOT NULL
);
CREATE TABLE heads (sha256 TEXT PRIMARY KEY, text BLOB NOT NULL);
CREATE INDEX runs_by_kind ON runs (kind, status);
"""


@dataclass(frozen=True)
class RunRow:
    """One simulation, finished or failed."""

    id: str  #: content key
    kind: str  #: bench kind
    point: Mapping[str, Any]  #: all fields of the bench's point
    pdk: str
    corner: str
    temp_c: float
    vdd_v: float
    deck: str  #: the complete text that ran; "" for a confidential kit
    deck_sha256: str
    measures: Mapping[str, float]  #: SI values by name; empty where the run failed
    steps: int  #: points of the simulator's time axis
    solver_s: float  #: wall time of the analysis alone
    engine: str
    cards: Mapping[str, str]  #: model card file -> sha256
    revision: str  #: git revision, else package version
    status: str  #: "ok" or "failed"
    reason: str = ""  #: why it failed, one line
    log_tail: str = ""
    looser: Mapping[str, str] = field(default_factory=dict)  #: options loosened in a retry; empty: none
    created: str = ""  #: UTC, ISO 8601

    def __post_init__(self) -> None:
        if self.status not in (OK, FAILED):
            raise BadInput(f"run {self.id}: status must be '{OK}' or '{FAILED}', got '{self.status}'")


_COLUMNS = tuple(f.name for f in fields(RunRow))
_JSON_COLUMNS = frozenset({"point", "measures", "cards", "looser"})
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM runs"


def _encode(row: RunRow, tail: bytes) -> tuple[Any, ...]:
    values: list[Any] = []
    for name in _COLUMNS:
        value = getattr(row, name)
        if name in _JSON_COLUMNS:
            value = json.dumps(dict(value), allow_nan=False)
        elif name == "deck":
            value = tail
        values.append(value)
    return tuple(values)


def _divide(deck: str) -> tuple[str, str]:
    """(what it shares with other decks, the rest): parted after the last subcircuit."""
    cut = deck.rfind("\n.ends")
    cut = deck.find("\n", cut + 1) + 1 if cut >= 0 else 0
    return deck[:cut], deck[cut:]


class Store:
    """The runs of a database file. Open with :meth:`open`; use as a context manager."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self.path = path
        self._heads: dict[str, str] = {}  # text -> hash of those that are surely in the file

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Store:
        """Open a database, making it if it is not there and `create` holds.

        Raises BadInput, in one line, for a file that is missing, damaged or of another kind.
        """
        if not path.exists():
            if not create:
                raise BadInput(f"database {path}: there is no such file; give the --db of a campaign that ran")
            _make(path)
        store = cls(_connect(path), path)
        try:
            store._verify()
        except BaseException:
            store.close()
            raise
        return store

    def _verify(self) -> None:
        if self.path.stat().st_size == 0:
            raise BadInput(f"database {self.path}: the file is empty; it was left as it is, "
                           "move it away or give another --db")
        with self._guard():
            (ours,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if ours == APPLICATION_ID and version < SCHEMA_VERSION:
            raise BadInput(f"database {self.path}: made by an earlier version (schema {version}, now "
                           f"{SCHEMA_VERSION}), whose runs this one would not reuse; it was left as it is, move it "
                           "away or give another --db")
        if ours != APPLICATION_ID or version != SCHEMA_VERSION:
            raise BadInput(f"database {self.path}: not a campaign database of schema {SCHEMA_VERSION} "
                           f"(application {ours:#x}, schema {version}); it was left as it is, give another --db")
        if verdict != "ok":
            raise _damaged(self.path, " ".join(str(verdict).split()))

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn SQLite's errors into ours: damage is bad input, a full or locked disk a failure."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise HimcError(f"database {self.path}: {error}; finished runs are kept, "
                            "make room or access and run again") from error
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, str(error)) from error

    def put(self, row: RunRow) -> None:
        """Write one run. A failed run may be replaced, a finished one is never replaced by a failure."""
        marks = ", ".join("?" * len(_COLUMNS))
        updates = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "id")
        head, tail = _divide(row.deck)
        with self._guard(), self._db:
            packed = self._head(head).encode() + b"\n" + zlib.compress(tail.encode(), 1)
            self._db.execute(
                f"INSERT INTO runs ({', '.join(_COLUMNS)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE "
                f"SET {updates} WHERE excluded.status = 'ok' OR runs.status = 'failed'", _encode(row, packed))
        if len(self._heads) < _HEADS_HELD:
            self._heads[head] = packed[:64].decode()

    def _head(self, text: str) -> str:
        """The hash of a head, which is in the file when the transaction ends."""
        if text not in self._heads:
            key = hashlib.sha256(text.encode()).hexdigest()
            self._db.execute("INSERT OR IGNORE INTO heads (sha256, text) VALUES (?, ?)",
                             (key, zlib.compress(text.encode(), 6)))
            return key
        return self._heads[text]

    def _decode(self, values: tuple[Any, ...]) -> RunRow:
        named = dict(zip(_COLUMNS, values, strict=True))
        for name in _JSON_COLUMNS:
            named[name] = json.loads(named[name])
        key, _, tail = named["deck"].partition(b"\n")
        found = self._db.execute("SELECT text FROM heads WHERE sha256 = ?", (key.decode(),)).fetchone()
        if found is None:
            raise _damaged(self.path, f"run {named['id']} lacks the head of its deck")
        named["deck"] = zlib.decompress(found[0]).decode() + zlib.decompress(tail).decode()
        return RunRow(**named)

    def get(self, run_id: str) -> RunRow:
        """The run of that id, or of the one id that starts with it (at least 6 characters)."""
        with self._guard():
            found = self._db.execute(f"{_SELECT} WHERE id = ?", (run_id,)).fetchall()
            if not found and len(run_id) >= 6:
                found = self._db.execute(f"{_SELECT} WHERE substr(id, 1, ?) = ? LIMIT 2",
                                         (len(run_id), run_id)).fetchall()
        if len(found) != 1:
            what = "several runs start so" if found else "there is no such run"
            raise BadInput(f"run '{run_id}': {what} in {self.path}; it holds {self.count()} runs, "
                           "give a whole id or another --db")
        return self._decode(found[0])

    def status(self, ids: Iterable[str]) -> dict[str, str]:
        """id -> "ok" or "failed" for those of `ids` that are present."""
        return dict(self._select("id, status", ids))

    def rows(self, ids: Iterable[str]) -> dict[str, RunRow]:
        """id -> whole row, for those of `ids` that are present."""
        found = (self._decode(values) for values in self._select(", ".join(_COLUMNS), ids))
        return {row.id: row for row in found}

    def _select(self, columns: str, ids: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start:start + _CHUNK]
            with self._guard():
                yield from self._db.execute(
                    f"SELECT {columns} FROM runs WHERE id IN ({', '.join('?' * len(chunk))})", chunk).fetchall()

    def ids(self) -> list[str]:
        """The ids of all runs, in order."""
        with self._guard():
            return [str(run) for run, in self._db.execute("SELECT id FROM runs ORDER BY id")]

    def count(self, status: str | None = None) -> int:
        """Number of runs, of one status or of both."""
        with self._guard():
            (number,) = self._db.execute(
                "SELECT count(*) FROM runs WHERE ?1 IS NULL OR status = ?1", (status,)).fetchone()
        return int(number)

    def solver_times(self) -> list[tuple[str, dict[str, Any], float]]:
        """(kind, point, solver seconds) of every finished run, for estimates from experience."""
        with self._guard():
            found = self._db.execute("SELECT kind, point, solver_s FROM runs WHERE status = 'ok'").fetchall()
        return [(kind, json.loads(point), float(solver_s)) for kind, point, solver_s in found]

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)
        connection.execute("PRAGMA synchronous = NORMAL")  # WAL: a killed process loses nothing committed
    except sqlite3.OperationalError as error:
        raise BadInput(f"database {path}: cannot be opened ({error}); give another --db") from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    return connection


def _damaged(path: Path, detail: str) -> BadInput:
    return BadInput(f"database {path}: damaged or not a database ({detail}); it was left as it is, "
                    "restore it or give another --db")


def _make(path: Path) -> None:
    """Make an empty database beside `path` and link it into place; an existing file always wins."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        temporary.unlink(missing_ok=True)
        connection = sqlite3.connect(temporary)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        finally:
            connection.close()
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            temporary.rename(path)
    except (OSError, sqlite3.OperationalError) as error:
        raise BadInput(f"database {path}: cannot be made there ({error}); give another --db") from error
    finally:
        temporary.unlink(missing_ok=True)
