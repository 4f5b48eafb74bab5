"""The store: one SQLite file that holds every run for good.

A row is a whole run: the complete deck, its measures, what made it, and, where it failed, why. Rows are
keyed by content (see :mod:`charlib.campaign.plan`), so the same question is never simulated twice. What
decks have in common (cards and subcircuits, up to the last `.ends`) is kept once. The file
is in WAL mode and each result is one transaction: a killed process loses at most the runs in flight. A new
file is made under another name and linked into place, so no half-made database is ever met; a file that
is damaged, or is something else, is refused and left as it is, and so is one that was moved or replaced while in use.

A row carries a checksum of all that stands in it: a flipped bit or an edit by hand is refused where the row is read.
Rows of earlier versions carry none. They stay unsigned, since a checksum made today would vouch for what nobody
looked at; :meth:`Store.unsigned` counts them, and a campaign that uses them says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from charlib.campaign.process import birth_of
from charlib.errors import BadInput, HimcError

#: PRAGMA application_id of our files: "himc" in ASCII
APPLICATION_ID = 0x68696D63
#: PRAGMA user_version; raise it when the columns change
SCHEMA_VERSION = 3
#: the last schema whose rows are still read; they carry no checksum
UNSIGNED_VERSION = 2
#: seconds to wait for another process that holds the file's write lock
BUSY_TIMEOUT_S = 30.0
OK, FAILED = "ok", "failed"
_HEADS_HELD = 64  # heads remembered as written
#: SQLite's words for what the machine lacks; all other errors are damage
_MACHINE = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH,
})
_BELIEVED_S = 86400.0
_CHUNK = 500  # ids per SELECT, below SQLite's limit of bound values

_SCHEMA = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, point TEXT NOT NULL, pdk TEXT NOT NULL, corner TEXT NOT NULL,
    temp_c REAL NOT NULL, vdd_v REAL NOT NULL, deck BLOB NOT NULL, deck_sha256 TEXT NOT NULL,
    measures TEXT NOT NULL, steps INTEGER NOT NULL, solver_s REAL NOT NULL, engine TEXT NOT NULL,
    cards TEXT NOT NULL, revision TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('ok', 'failed')),
    reason TEXT NOT NULL, log_tail TEXT NOT NULL, looser TEXT NOT NULL, created TEXT NOT NULL,
    checksum TEXT NOT NULL DEFAULT ''
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
_STORED = (*_COLUMNS, "checksum")
#: what stands for it in a file whose schema has none
_NO_CHECKSUM = "''"
_JSON_COLUMNS = frozenset({"point", "measures", "cards", "looser"})
#: columns as SQLite hands them back, where that is no text
_TYPES: Mapping[str, type] = {"temp_c": float, "vdd_v": float, "solver_s": float, "steps": int, "deck": bytes}


def _encode(row: RunRow, tail: bytes) -> tuple[Any, ...]:
    """The row's values as they lie in the file, its checksum last."""
    values: list[Any] = []
    for name in _COLUMNS:
        value = getattr(row, name)
        if name in _JSON_COLUMNS:
            value = json.dumps(dict(value), allow_nan=False)
        elif name == "deck":
            value = tail
        values.append(_TYPES.get(name, str)(value))
    return (*values, checksum(values))


def checksum(values: Sequence[Any]) -> str:
    """Of a row's values as they lie in the file."""
    return hashlib.sha256(repr(tuple(values)).encode()).hexdigest()[:32]


def _parsed(values: Sequence[Any]) -> dict[str, Any]:
    """A row's columns with its JSON read. ValueError where one is not what it must be, whatever it looks like."""
    named = dict(zip(_COLUMNS, values, strict=True))
    for name, value in named.items():
        if type(value) is not _TYPES.get(name, str):
            raise ValueError(f"{name} is {value!r:.40}")
    for name in _JSON_COLUMNS:
        named[name] = json.loads(named[name])
        if not isinstance(named[name], dict):
            raise ValueError(f"{name} is {named[name]!r:.40}")
    for name, value in named["measures"].items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"measure {name} is {value!r:.40}")
    return named


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
        self._file = _identity(path)
        self._signed = True  # whether the file has a column for checksums
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
            store.verify()
        except BaseException:
            store.close()
            raise
        return store

    def verify(self) -> None:
        """BadInput where the file is not a whole database of a schema that can be read."""
        if self.path.stat().st_size == 0:
            raise BadInput(f"database {self.path}: the file is empty; it was left as it is, "
                           "move it away or give another --db")
        with self.guard():
            (ours,) = self._db.execute("PRAGMA application_id").fetchone()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        self._signed = version != UNSIGNED_VERSION
        if ours == APPLICATION_ID and version < UNSIGNED_VERSION:
            raise BadInput(f"database {self.path}: made by an earlier version (schema {version}, now "
                           f"{SCHEMA_VERSION}), whose runs this one would not reuse; it was left as it is, move it "
                           "away or give another --db")
        if ours != APPLICATION_ID or version not in (SCHEMA_VERSION, UNSIGNED_VERSION):
            raise BadInput(f"database {self.path}: not a campaign database of schema {SCHEMA_VERSION} "
                           f"(application {ours:#x}, schema {version}); it was left as it is, give another --db")
        if verdict != "ok":
            raise _damaged(self.path, " ".join(str(verdict).split()))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn SQLite's errors into ours: damage is bad input, a full or locked disk a failure.

        HimcError also where the path leads to another file than the one that was opened: what is read or written
        would be nobody's.
        """
        if _identity(self.path) != self._file:
            raise HimcError(f"database {self.path}: it was moved, deleted or replaced while it was in use; what was "
                            "being done is not kept, put the file back or give another --db and run again")
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # names in the file come as text, too
            explain(self.path, error)

    def put(self, row: RunRow) -> None:
        """Write one run. A failed run may be replaced, a finished one is never replaced by a failure."""
        marks = ", ".join("?" * len(_STORED))
        updates = ", ".join(f"{name} = excluded.{name}" for name in _STORED if name != "id")
        head, tail = _divide(row.deck)
        self.make_room_for_checksums()
        with self.guard(), self._db:
            packed = self._head(head).encode() + b"\n" + zlib.compress(tail.encode(), 1)
            self._db.execute(
                f"INSERT INTO runs ({', '.join(_STORED)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE "
                f"SET {updates} WHERE excluded.status = 'ok' OR runs.status = 'failed'", _encode(row, packed))
        if len(self._heads) < _HEADS_HELD:
            self._heads[head] = packed[:64].decode()

    def make_room_for_checksums(self) -> None:
        """Bring a file of the schema without them to today's; its rows stay unsigned."""
        if self._signed:
            return
        with self.guard(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            if self._db.execute("PRAGMA user_version").fetchone() == (UNSIGNED_VERSION,):
                self._db.execute("ALTER TABLE runs ADD COLUMN checksum TEXT NOT NULL DEFAULT ''")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._signed = True

    def _head(self, text: str) -> str:
        """The hash of a head, which is in the file when the transaction ends."""
        if text not in self._heads:
            key = hashlib.sha256(text.encode()).hexdigest()
            self._db.execute("INSERT OR IGNORE INTO heads (sha256, text) VALUES (?, ?)",
                             (key, zlib.compress(text.encode(), 6)))
            return key
        return self._heads[text]

    def _decode(self, values: tuple[Any, ...]) -> RunRow:
        try:
            if values[-1] and values[-1] != checksum(values[:-1]):
                raise ValueError("it differs from its checksum")
            named = _parsed(values[:-1])
            key, _, tail = named["deck"].partition(b"\n")
            (packed,) = self._db.execute("SELECT text FROM heads WHERE sha256 = ?", (key.decode(),)).fetchone()
            head = zlib.decompress(packed)
            if hashlib.sha256(head).hexdigest() != key.decode():
                raise ValueError("the head of its deck differs from its hash")
            named["deck"] = head.decode() + zlib.decompress(tail).decode()
            return RunRow(**named)
        except (ValueError, TypeError, OverflowError, RecursionError, zlib.error, BadInput) as error:
            what = str(error) if type(error) is ValueError else f"it cannot be read ({type(error).__name__})"
            raise BadInput(f"database {self.path}: run {values[0]!s:.40} was edited or damaged: {what}; restore the "
                           "file, or have the campaign simulate it again with --retry-failed") from error

    def get(self, run_id: str) -> RunRow:
        """The run of that id, or of the one id that starts with it (at least 6 characters)."""
        with self.guard():
            found = self._db.execute(f"{self._whole} WHERE id = ?", (run_id,)).fetchall()
            if not found and len(run_id) >= 6:
                found = self._db.execute(f"{self._whole} WHERE substr(id, 1, ?) = ? LIMIT 2",
                                         (len(run_id), run_id)).fetchall()
        if len(found) != 1:
            what = "several runs start so" if found else "there is no such run"
            raise BadInput(f"run '{run_id}': {what} in {self.path}; it holds {self.count()} runs, "
                           "give a whole id or another --db")
        with self.guard():
            return self._decode(found[0])

    @property
    def _whole(self) -> str:
        return f"SELECT {', '.join(_COLUMNS)}, {'checksum' if self._signed else _NO_CHECKSUM} FROM runs"

    def status(self, ids: Iterable[str]) -> dict[str, str]:
        """id -> "ok" or "failed" for those of `ids` that are present."""
        return dict(self._select("SELECT id, status FROM runs", ids))

    def reasons(self, ids: Iterable[str]) -> dict[str, str]:
        """id -> why it failed, for those of `ids` that did."""
        return {run: str(reason) for run, status, reason in
                self._select("SELECT id, status, reason FROM runs", ids) if status != OK}

    def rows(self, ids: Iterable[str]) -> dict[str, RunRow]:
        """id -> whole row, for those of `ids` that are present. BadInput for one that differs from its checksum."""
        with self.guard():
            return {row.id: row for row in map(self._decode, self._select(self._whole, ids))}

    def unsigned(self, ids: Iterable[str]) -> int:
        """How many of `ids` are rows of an earlier version, without a checksum."""
        column = "checksum" if self._signed else _NO_CHECKSUM
        return sum(not signed for signed, in self._select(f"SELECT {column} FROM runs", ids))

    @contextmanager
    def at_work(self) -> Iterator[int]:
        """Enter a campaign into the file while it runs; how many others are at work in it."""
        with self.guard(), self._db:
            self._db.execute("CREATE TABLE IF NOT EXISTS campaigns (pid INTEGER, birth TEXT, host TEXT, began REAL)")
            known = self._db.execute("SELECT rowid, pid, birth, host, began FROM campaigns").fetchall()
            over = [(row,) for row, pid, birth, host, began in known if not _is_at_work(pid, birth, host, began)]
            self._db.executemany("DELETE FROM campaigns WHERE rowid = ?", over)
            own = self._db.execute("INSERT INTO campaigns VALUES (?, ?, ?, ?)",
                                   (os.getpid(), birth_of(os.getpid()), socket.gethostname(), time.time())).lastrowid
        try:
            yield len(known) - len(over)
        finally:
            with suppress(HimcError), self.guard(), self._db:  # what went wrong is said already
                self._db.execute("DELETE FROM campaigns WHERE rowid = ?", (own,))

    def confirm(self, ids: Iterable[str]) -> None:
        """HimcError unless all of `ids` are there for whoever opens the file now: what is claimed can be read."""
        wanted = set(ids)
        with self.guard():
            fresh = Store(_connect(self.path), self.path)
        try:
            lost = wanted - fresh.status(wanted).keys()
        finally:
            fresh.close()
        if lost:
            raise HimcError(f"database {self.path}: {len(lost)} of {len(wanted)} runs just made are not in it; it "
                            "was changed by someone else while in use, run again on a whole file or another --db")

    def verify_rows(self) -> None:
        """Read every row; BadInput for the first that differs from its checksum."""
        with self.guard():
            for values in self._db.execute(self._whole):
                self._decode(values)

    def drop_damaged(self, ids: Iterable[str]) -> int:
        """Remove those of `ids` that differ from their checksum, so that they are simulated again; their number."""
        bad = []
        for values in list(self._select(self._whole, ids)):
            try:
                self._decode(values)
            except BadInput:
                bad.append(values[:1])
        with self.guard(), self._db:
            self._db.executemany("DELETE FROM runs WHERE id = ?", bad)
        return len(bad)

    def _select(self, query: str, ids: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start:start + _CHUNK]
            with self.guard():
                yield from self._db.execute(
                    f"{query} WHERE id IN ({', '.join('?' * len(chunk))})", chunk).fetchall()

    def ids(self) -> list[str]:
        """The ids of all runs, in order."""
        with self.guard():
            return [str(run) for run, in self._db.execute("SELECT id FROM runs ORDER BY id")]

    def count(self, status: str | None = None) -> int:
        """Number of runs, of one status or of both."""
        with self.guard():
            (number,) = self._db.execute(
                "SELECT count(*) FROM runs WHERE ?1 IS NULL OR status = ?1", (status,)).fetchone()
        return int(number)

    def content(self) -> list[tuple[str, str, str, int]]:
        """(kind, status, engine, number of runs), in order."""
        with self.guard():
            found = self._db.execute("SELECT kind, status, engine, count(*) FROM runs "
                                     "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3").fetchall()
        return [(str(kind), str(status), str(engine), int(count)) for kind, status, engine, count in found]

    def solver_times(self) -> list[tuple[str, dict[str, Any], float]]:
        """(kind, point, solver seconds) of every finished run, for estimates from experience."""
        with self.guard():
            found = self._db.execute("SELECT kind, point, solver_s FROM runs WHERE status = 'ok'").fetchall()
        times = []
        for kind, point, solver_s in found:
            with suppress(ValueError, RecursionError):  # a damaged row: it is refused where its measures are read
                if isinstance(known := json.loads(point), dict) and isinstance(solver_s, float):
                    times.append((str(kind), known, solver_s))
        return times

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
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if _is_machine_s(error):
            raise BadInput(f"database {path}: cannot be opened ({error}); give another --db") from error
        explain(path, error)
    return connection


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file the path leads to."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_at_work(pid: int, birth: str, host: str, began: float) -> bool:
    """Whether a campaign that was entered still runs; one on another host is believed for a day."""
    if host != socket.gethostname():
        return time.time() - began < _BELIEVED_S
    return pid != os.getpid() and birth != "" and birth == birth_of(pid)


def _is_machine_s(error: Exception) -> bool:
    """Whether room, access or a lock is missing, rather than sense in the file."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _MACHINE


def explain(path: Path, error: sqlite3.DatabaseError | UnicodeDecodeError, kept: str = "finished runs are kept",
            instead: str = "give another --db") -> NoReturn:
    """Say an error of SQLite's in one line: a HimcError for what the machine lacks, BadInput for damage."""
    if _is_machine_s(error):
        raise HimcError(f"database {path}: {error}; {kept}, make room or access and run again") from error
    raise _damaged(path, " ".join(str(error).split()), instead) from error


def _damaged(path: Path, detail: str, instead: str = "give another --db") -> BadInput:
    return BadInput(f"database {path}: damaged or not a database ({detail}); it was left as it is, "
                    f"restore it or {instead}")


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
