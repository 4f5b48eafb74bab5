"""Joining databases: each run once, a finished one never replaced, sources left as they are."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from fake_bench import BENCHES, FakeEngine, kit, points
from typer.testing import CliRunner

from charlib.campaign import Job, Store, merge, run_campaign
from charlib.campaign.merge import content
from charlib.campaign.merge import merge as join
from charlib.cli_db import db_app
from charlib.errors import BadInput, HimcError
from charlib.terminal import HimcGroup


def made(folder: Path, name: str, modes: list[str]) -> Path:
    path = folder / name
    with Store.open(path) as store:
        run_campaign([Job("fake", point) for point in points(modes)], store, kit(folder / "kit"), BENCHES, FakeEngine,
                     workers=1)
    return path


def changed(path: Path, was: str, **values: object) -> str:
    """Give the one run of that status other values; its id."""
    with Store.open(path) as store:
        (row,) = (row for row in store.rows(store.ids()).values() if row.status == was)
        store._db.execute("DELETE FROM runs WHERE id = ?", (row.id,))
        store.put(replace(row, **values))  # type: ignore[arg-type]
    return row.id


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.sqlite*") if not path.name.endswith("-shm")}


def dump(path: Path) -> list[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return sorted(database.iterdump())


def test_runs_of_two_places_come_together_once(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok", "ok"]), made(tmp_path, "2.sqlite", ["ok", "ok", "ok", "never"])
    before = two.read_bytes()
    (first,) = join(one, [two])
    assert (first.added, first.known, first.mended, first.disagree) == (2, 2, 0, ())
    whole = dump(one)
    (again,) = join(one, [two])
    assert (again.added, again.known) == (0, 4)
    assert dump(one) == whole
    assert two.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("2.sqlite*")) == ["2.sqlite"]  # nor a file beside it
    assert content(one) == [("fake", "failed", "fake-1", 1), ("fake", "ok", "fake-1", 3)]
    with Store.open(one) as a, Store.open(two) as b:
        taken, given = a.rows(b.ids()), b.rows(b.ids())
    assert {id: replace(row, created="", revision="") for id, row in taken.items()} == {
        id: replace(row, created="", revision="") for id, row in given.items()}
    assert sum(taken[id] == given[id] for id in given) >= 2  # those that were added, whole


def test_a_target_that_is_not_there_becomes_the_sum_of_its_sources(tmp_path: Path) -> None:
    sources = [made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok", "stall"])]
    results = join(tmp_path / "all.sqlite", sources)
    assert [(r.added, r.known) for r in results] == [(1, 0), (1, 1)]
    assert dump(tmp_path / "all.sqlite")
    with Store.open(tmp_path / "all.sqlite") as store:
        assert store.count("ok") == 2


def test_a_failed_run_is_mended_and_a_finished_one_kept(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["never", "ok"]), made(tmp_path, "2.sqlite", ["never", "ok"])
    finished = changed(two, "ok", status="failed", reason="odd", measures={})
    with Store.open(two) as b:
        (failed,) = (row for row in b.rows(b.ids()).values() if row.reason == "timestep too small")
        b.put(replace(failed, status="ok", reason="", measures={"out_v": 1.0}))
    (result,) = join(one, [two])
    assert (result.added, result.mended, result.known, result.disagree) == (0, 1, 1, ())
    with Store.open(one) as a:
        assert (a.get(failed.id).status, a.get(failed.id).measures) == ("ok", {"out_v": 1.0})
        assert (a.get(finished).status, a.get(finished).measures) == ("ok", {"out_v": 2.0})


@pytest.mark.parametrize(("factor", "agrees"), [(1 + 5e-10, True), (1 + 2e-9, False)])
def test_values_that_differ_are_reported_and_the_target_s_kept(tmp_path: Path, factor: float, agrees: bool) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok"])
    run = changed(two, "ok", measures={"out_v": 1.0 * factor})
    (result,) = join(one, [two])
    assert result.disagree == (() if agrees else ((run, "out_v"),))
    with Store.open(one) as a:
        assert a.get(run).measures == {"out_v": 1.0}


def test_another_set_of_measures_is_a_difference(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok"])
    run = changed(two, "ok", measures={"out_v": 1.0, "more_v": 2.0})
    assert join(one, [two])[0].disagree == ((run, "the set of measures"),)


_KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_merge import made
from charlib.campaign import Store
from charlib.campaign.store import Store as S
S.close = lambda self: os._exit(9)
made(Path({folder!r}), "2.sqlite", ["ok", "ok", "never"])
"""


def test_a_source_that_was_killed_is_read_with_its_log_which_stays(tmp_path: Path) -> None:
    program = _KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    before = files(tmp_path)
    assert before["2.sqlite-wal"]
    (result,) = join(tmp_path / "all.sqlite", [tmp_path / "2.sqlite"])
    assert result.added == 3
    assert content(tmp_path / "2.sqlite") == [("fake", "failed", "fake-1", 1), ("fake", "ok", "fake-1", 2)]
    assert {name: data for name, data in files(tmp_path).items() if name.startswith("2.")} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only to this user")
def test_a_source_that_cannot_be_written_is_joined(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    source = made(tmp_path / "kept", "1.sqlite", ["ok"])
    source.chmod(0o444)
    (tmp_path / "kept").chmod(0o555)
    try:
        assert join(tmp_path / "all.sqlite", [source])[0].added == 1
    finally:
        (tmp_path / "kept").chmod(0o755)


def test_what_cannot_be_joined_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    one, good = made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok", "ok"])
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 100)
    (tmp_path / "cut.sqlite").write_bytes(good.read_bytes()[:6000])
    (tmp_path / "link.sqlite").hardlink_to(good)
    with sqlite3.connect(made(tmp_path, "old.sqlite", ["ok"])) as old:
        old.execute("PRAGMA user_version = 1")
    old.close()
    before = files(tmp_path)
    for sources, message in (
        ([good, one], rf"^database {one}: it is named twice; give each file once$"),
        ([good, good], rf"^database {good}: it is named twice; give each file once$"),
        ([good, tmp_path / "link.sqlite"], r"^database \S+link.sqlite: it is named twice; give each file once$"),
        ([good, tmp_path / "bad.sqlite"], r"^database \S+bad.sqlite: damaged or not a database \([^\n]+$"),
        ([good, tmp_path / "cut.sqlite"], r"^database \S+cut.sqlite: damaged or not a database \([^\n]+$"),
        ([good, tmp_path / "old.sqlite"], r"^database \S+old.sqlite: made by an earlier version \([^\n]+$"),
        ([good, tmp_path / "none.sqlite"],
         r"^database \S+none.sqlite: there is no such file; give one that a campaign made$"),
    ):
        with pytest.raises(BadInput, match=message):
            join(one, sources)
        with pytest.raises(BadInput):
            join(tmp_path / "new.sqlite", [one, *sources, *sources[:1]])
    assert files(tmp_path) == before


def test_a_source_that_is_being_written_is_not_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok", "ok"])
    whole, stamps = dump(one), iter(range(9))
    monkeypatch.setattr(merge, "_stamp", lambda path: next(stamps))
    with pytest.raises(HimcError, match=rf"^database {two}: it changed while it was read; nothing of it was "):
        join(one, [two])
    assert dump(one) == whole


def test_a_full_disk_keeps_the_target_as_it_was(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok"]), made(tmp_path, "2.sqlite", ["ok"] * 30)
    whole = dump(one)
    program = ("import resource, sys; from pathlib import Path; from charlib.campaign.merge import merge\n"
               "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
               f"resource.setrlimit(resource.RLIMIT_FSIZE, ({one.stat().st_size + 512},) * 2)\n"
               f"try: merge(Path({str(one)!r}), [Path({str(two)!r})])\n"
               "except Exception as error: sys.exit(f'{type(error).__name__} {error}')\n")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.startswith(f"HimcError database {one}: ")
    assert "was not joined, make room or access and run again" in done.stderr
    assert done.stderr.count("\n") == 1
    assert dump(one) == whole


def test_the_commands_say_what_they_did_and_end_with_1_on_a_difference(tmp_path: Path) -> None:
    app = typer.Typer(cls=HimcGroup)
    app.add_typer(db_app, name="db")
    one, two = made(tmp_path, "1.sqlite", ["ok", "never"]), made(tmp_path, "2.sqlite", ["ok", "ok", "ok"])
    merged = CliRunner().invoke(app, ["db", "merge", str(one), str(two)])
    assert (merged.exit_code, merged.stdout) == (0, f"{two}: 2 added, 0 failed ones mended, 1 known\n")
    shown = CliRunner().invoke(app, ["db", "show", "--db", str(one)])
    assert shown.stdout == f"fake: 1 failed (fake-1)\nfake: 3 ok (fake-1)\n4 runs in {one}\n"
    three = made(tmp_path, "3.sqlite", ["ok"])
    run = changed(three, "ok", measures={"out_v": 7.0})
    unlike = CliRunner().invoke(app, ["db", "merge", str(one), str(three)])
    assert unlike.exit_code == 1
    assert f"run {run}: out_v differs; the target's value was kept" in unlike.output
    assert "himc: merge: 1 runs have different values" in unlike.output
    refused = CliRunner().invoke(app, ["db", "merge", str(one), str(one)])
    assert refused.exit_code == 2
    assert refused.output.count("\n") == 1
