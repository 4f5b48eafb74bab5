"""A database whose bytes or rows someone else changed gives a refusal that names the run, or the old numbers."""

from __future__ import annotations

import dataclasses
import os
import random
import sqlite3
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest
from fake_bench import BENCHES, FakeEngine, kit, points

from charlib.campaign import Job, Store, explain_run, run_campaign
from charlib.campaign.forecast import _past
from charlib.campaign.merge import content, merge
from charlib.campaign.run import plan_runs
from charlib.campaign.store import SCHEMA_VERSION, RunRow
from charlib.errors import BadInput, HimcError

HIMC = str(Path(sys.executable).parent / "himc")
MODES = ("ok", "never", "stall", "wrong", *["ok"] * 14)


def campaign(path: Path, *, retry_failed: bool = False, say: list[str] | None = None) -> list[Job]:
    jobs = [Job("fake", point) for point in points(MODES)]
    with Store.open(path) as store:
        run_campaign(jobs, store, kit(path.parent / "kit"), BENCHES, FakeEngine, workers=1, retry_failed=retry_failed,
                     say=(say if say is not None else []).append)
    return jobs


def rows(path: Path) -> dict[str, RunRow]:
    with Store.open(path, create=False) as store:
        return store.rows(store.ids())


def measures(kept: dict[str, RunRow]) -> dict[str, object]:
    return {key: row.measures for key, row in kept.items()}


def alter(path: Path, change: str, *values: object) -> None:
    with sqlite3.connect(path) as database:
        database.execute(change, values)
    database.close()


def make_earlier(path: Path) -> None:
    """What the version before checksums would have written."""
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE runs DROP COLUMN checksum")
        database.execute("DROP TABLE campaigns")
        database.execute("PRAGMA user_version = 2")
    database.close()


@pytest.mark.parametrize(("column", "change"), [
    ("measures", "replace(measures, '1', '2')"), ("measures", "'{\"out_v\": -3.5e-15}'"), ("measures", "'{'"),
    ("vdd_v", "vdd_v * 1.01"), ("temp_c", "'warm'"), ("point", "replace(point, 'tt', 'ss')"), ("deck", "x'00'"),
    ("cards", "'[]'"), ("engine", "'fake-2'"), ("status", "'failed'"), ("looser", "'{\"method\": \"gear\"}'"),
    ("created", "'2031-01-01'"), ("steps", "steps + 1"), ("checksum", "'0'"),
])
def test_an_edited_row_is_refused_by_name_and_simulated_again_when_asked(tmp_path: Path, column: str,
                                                                         change: str) -> None:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    before = rows(path)
    run_id = next(key for key, row in before.items() if row.status == "ok" and "1" in str(row.measures))
    alter(path, f"UPDATE runs SET {column} = {change} WHERE id = ?", run_id)
    refusal = rf"^database {path}: run {run_id} was edited or damaged: [^\n]+; restore the file, or have the "
    with pytest.raises(BadInput, match=refusal):
        rows(path)
    with Store.open(path) as store, pytest.raises(BadInput, match=refusal):
        explain_run(store, run_id)
    with pytest.raises(BadInput, match=refusal):
        merge(tmp_path / "all.sqlite", [path])
    assert not (tmp_path / "all.sqlite").exists()
    said: list[str] = []
    campaign(path, retry_failed=True, say=said)
    assert said == [f"1 runs of {path} were edited or damaged; they are simulated again"]
    assert measures(rows(path)) == measures(before)


def test_a_row_under_another_s_id_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    one, other = list(rows(path))[:2]
    alter(path, "DELETE FROM runs WHERE id = ?", other)
    alter(path, "UPDATE runs SET id = ? WHERE id = ?", other, one)
    with pytest.raises(BadInput, match=rf"^database {path}: run {other} was edited or damaged: it differs from its "):
        rows(path)


def test_a_head_of_decks_is_held_to_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    run_id, row = next(iter(rows(path).items()))
    with Store.open(path) as store:
        store.put(dataclasses.replace(row, deck=".subckt a b\nr1 b 0 5k\n.ends\nx1 b a\n.end\n"))
    alter(path, "UPDATE heads SET text = ?", zlib.compress(b".subckt a b\nr1 b 0 7k\n.ends\n"))
    with pytest.raises(BadInput, match=rf"run {run_id} was edited or damaged: the head of its deck differs from "):
        rows(path)


@pytest.mark.parametrize("text", ['{"out_v": NaN}', '{"out_v": 1e999}', '{"out_v": true}', '{"out_v": null}', "[1]",
                                  '{"out_v": 1' + "0" * 400 + "}", '{"out_v": 1' + "0" * 5000 + "}", "[" * 90000])
def test_a_row_without_checksum_is_still_looked_at(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    alter(path, "UPDATE runs SET measures = ?, checksum = ''", text)
    with pytest.raises(BadInput, match=r"was edited or damaged: "):
        rows(path)


def test_an_earlier_database_is_read_said_once_and_signs_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    jobs = campaign(path)
    before = rows(path)
    make_earlier(path)
    held = path.read_bytes()
    said: list[str] = []
    assert rows(path) == before
    campaign(path, say=said)
    assert path.read_bytes() == held  # nothing to write: it stays as it is
    assert said == [f"18 runs of {path} are of an earlier version and carry no checksum; they are taken as they are"]
    with Store.open(path) as store:
        store.put(dataclasses.replace(before[next(iter(before))], id="f" * 16))
        assert store.unsigned(store.ids()) == 18
        assert store._db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        store.put(dataclasses.replace(before[next(iter(before))]))
        assert store.unsigned(store.ids()) == 17
    assert len(jobs) == 18


def test_an_earlier_database_is_merged_from_and_into(tmp_path: Path) -> None:
    old, new = tmp_path / "old.sqlite", tmp_path / "new.sqlite"
    campaign(old)
    campaign(new)
    whole = rows(old)
    make_earlier(old)
    alter(new, "DELETE FROM runs WHERE status = 'failed'")
    (joined,) = merge(new, [old])
    assert (joined.added, joined.known) == (2, 16)
    with Store.open(new) as store:
        assert store.unsigned(store.ids()) == 2
    merge(old, [new])
    assert measures(rows(old)) == measures(whole)


def read_all(path: Path, ids: list[str], whole: dict[str, RunRow]) -> str:
    """Every reader on one file: "refused", or how many of the rows were found, all with the right content."""
    try:
        content(path)
        with Store.open(path, create=False) as store:
            store.status(ids), store.reasons(ids), store.unsigned(ids), _past(store, BENCHES)
            found = store.rows(ids)
            explain_run(store, ids[0])
        target = path.with_name("merged.sqlite")
        target.unlink(missing_ok=True)
        merge(target, [path])
    except HimcError as error:
        return "two lines" if "\n" in str(error) else "refused"
    assert all(row == whole[key] for key, row in found.items())
    return "whole" if len(found) == len(ids) else "rows missing"


def flips(tmp_path: Path, number: int, seed: int, stride: int) -> Counter[str]:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    whole = rows(path)
    data, rng, found = path.read_bytes(), random.Random(seed), Counter[str]()
    for k in range(number):
        place = k * stride if k * stride < 100 else rng.randrange(len(data))  # through SQLite's header, then anywhere
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.randrange(8)
        for file in tmp_path.glob("runs.sqlite*"):
            file.unlink()
        path.write_bytes(flipped)
        found[read_all(path, list(whole), whole)] += 1
    assert found["two lines"] == 0
    return found


def test_a_flipped_byte_gives_a_refusal_or_the_right_numbers(tmp_path: Path) -> None:
    found = flips(tmp_path, 45, 16, stride=7)
    assert found["refused"] >= 12
    assert found["rows missing"] <= 3  # a flipped id: the run is simulated again


@pytest.mark.validate
def test_a_thousand_flipped_bytes(tmp_path: Path) -> None:
    found = flips(tmp_path, 1000, 3, stride=1)
    assert found["refused"] >= 300
    assert found["rows missing"] <= 40


def test_a_flipped_byte_of_the_command_s_database_ends_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    campaign(path)
    run_id = next(iter(rows(path)))
    data = path.read_bytes()
    place = data.index(b'"out_v"') + 1
    path.write_bytes(data[:place] + b"\xff" + data[place + 1:])
    for words in (["db", "show", run_id], ["db", "show"]):
        done = subprocess.run([HIMC, *words, "--db", str(path)], capture_output=True, text=True, check=False,
                              env={**os.environ, "NO_COLOR": "1"})
        assert done.returncode in (0, 2)
        assert "Traceback" not in done.stderr


def test_a_rerun_of_the_same_plan_finds_the_same_ids(tmp_path: Path) -> None:
    """Checksums are beside the key, not in it: what was stored before them is reused."""
    jobs = campaign(tmp_path / "runs.sqlite")
    ids = {p.id for p in plan_runs(jobs, kit(tmp_path / "kit"), BENCHES, FakeEngine.version)}
    assert ids == set(rows(tmp_path / "runs.sqlite"))
