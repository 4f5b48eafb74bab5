"""The store refuses what is damaged or not ours, in one line, and never touches it."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest

from charlib.campaign.store import RunRow, Store
from charlib.errors import BadInput, HimcError

ROW = RunRow(
    id="abcdef0123456789", kind="fake", point={"corner": "tt", "size": 2}, pdk="toy", corner="tt", temp_c=25.0,
    vdd_v=1.0, deck="* deck µ\n.end\n", deck_sha256="00", measures={"out_v": 0.1 + 0.2}, steps=3, solver_s=0.5,
    engine="fake-1", cards={"tt.inc": "11"}, revision="r", status="ok", created="2020-01-01T00:00:00+00:00",
)


def filled(path: Path, rows: int = 200) -> bytes:
    with Store.open(path) as store:
        for k in range(rows):
            store.put(dataclasses.replace(ROW, id=f"{k:016x}", deck="* deck\n" + f"r{k} a b 1\n" * 50))
    return path.read_bytes()


def test_a_row_comes_back_whole_to_the_last_bit(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.sqlite") as store:
        store.put(ROW)
    with Store.open(tmp_path / "a.sqlite", create=False) as store:
        assert store.get(ROW.id) == ROW
        assert store.rows([ROW.id, "missing"]) == {ROW.id: ROW}


def test_a_failure_never_replaces_a_finished_run(tmp_path: Path) -> None:
    failed = dataclasses.replace(ROW, status="failed", reason="no", measures={})
    with Store.open(tmp_path / "a.sqlite") as store:
        store.put(failed)
        store.put(ROW)
        store.put(failed)
        assert store.get(ROW.id) == ROW


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_truncated_database_is_refused_and_left_alone(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.sqlite"
    whole = filled(path)
    path.write_bytes(whole[: int(len(whole) * keep)])
    before = path.read_bytes()
    with pytest.raises(BadInput, match=(rf"^database {path}: damaged or not a database \([^\n]+\); "
                                        r"it was left as it is, restore it or give another --db$")):
        Store.open(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, " * 100, b"SQLite format 3\0 and then nothing"])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"^database {path}: damaged or not a database \([^\n]+\); it was left"):
        Store.open(path)
    assert path.read_bytes() == content


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.touch()
    with pytest.raises(BadInput, match=rf"^database {path}: the file is empty; it was left as it is, "
                                       r"move it away or give another --db$"):
        Store.open(path)
    assert path.read_bytes() == b""


def test_an_earlier_version_s_database_is_refused_and_left(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Store.open(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 1")
    database.close()
    before = path.read_bytes()
    with pytest.raises(BadInput, match=r"made by an earlier version \(schema 1, now 3\).* move it away"):
        Store.open(path)
    assert path.read_bytes() == before


def test_another_application_s_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE notes (text TEXT)").connection.close()
    with pytest.raises(BadInput, match=rf"^database {path}: not a campaign database of schema 3 "
                                       r"\(application 0x0, schema 0\); it was left as it is, give another --db$"):
        Store.open(path)


def test_missing_and_unreachable_files(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"
    with pytest.raises(BadInput, match=rf"^database {path}: there is no such file; "
                                       r"give the --db of a campaign that ran$"):
        Store.open(path, create=False)
    assert not path.exists()
    nowhere = tmp_path / "no" / "folder.sqlite"
    with pytest.raises(BadInput, match=rf"^database {nowhere}: cannot be made there \([^\n]+\); give another --db$"):
        Store.open(nowhere)


def test_a_locked_or_full_disk_is_a_failure_not_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    filled(path, rows=1)
    with Store.open(path) as store:
        store._db.execute("PRAGMA max_page_count = 1")  # as good as a full disk
        large = dataclasses.replace(ROW, id="large", deck_sha256="f" * 500_000)
        with pytest.raises(HimcError, match=rf"^database {path}: database or disk is full; finished runs are kept, "
                                            r"make room or access and run again$"):
            store.put(large)
        assert store.count() == 1


def test_ids_are_found_by_their_start(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with Store.open(path) as store:
        store.put(ROW)
        store.put(dataclasses.replace(ROW, id="abcdef9999999999"))
        assert store.get("abcdef01") == ROW
        with pytest.raises(BadInput, match=rf"^run 'abcdef': several runs start so in {path}; it holds 2 runs, "
                                           r"give a whole id or another --db$"):
            store.get("abcdef")
        with pytest.raises(BadInput, match=rf"^run 'zz': there is no such run in {path}; it holds 2 runs, "):
            store.get("zz")


def test_status_of_a_row_is_checked() -> None:
    with pytest.raises(BadInput, match=r"^run abcdef0123456789: status must be 'ok' or 'failed', got 'odd'$"):
        dataclasses.replace(ROW, status="odd")
