"""Joining databases: each run once, a finished one never replaced, sources left as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_bench import BENCHES, FakeEngine, kit, points

from charlib.campaign import Job, Store, run_campaign
from charlib.campaign.merge import content, merge
from charlib.errors import BadInput


def made(folder: Path, name: str, modes: list[str]) -> Path:
    path = folder / name
    with Store.open(path) as store:
        run_campaign([Job("fake", point) for point in points(modes)], store, kit(folder / "kit"), BENCHES, FakeEngine,
                     workers=1)
    return path


def test_runs_of_two_places_come_together_once(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["ok", "ok"]), made(tmp_path, "2.sqlite", ["ok", "ok", "ok", "never"])
    before = two.read_bytes()
    (first,) = merge(one, [two])
    assert (first.added, first.known, first.mended, first.disagree) == (2, 2, 0, ())
    (again,) = merge(one, [two])
    assert (again.added, again.known) == (0, 4)
    assert two.read_bytes() == before
    assert content(one) == [("fake", "failed", "fake-1", 1), ("fake", "ok", "fake-1", 3)]
    with Store.open(one) as a, Store.open(two) as b:
        assert a.rows(b.ids()) == b.rows(b.ids())


def test_a_failed_run_is_mended_and_a_finished_one_kept(tmp_path: Path) -> None:
    one, two = made(tmp_path, "1.sqlite", ["never", "ok"]), made(tmp_path, "2.sqlite", ["ok"])
    with Store.open(one) as a, Store.open(two) as b:
        failed = next(row for row in a.rows(a.ids()).values() if row.status == "failed")
        finished = next(row for row in a.rows(a.ids()).values() if row.status == "ok")
        b.put(replace(failed, status="ok", reason="", measures={"out_v": 1.0}))
        b.put(replace(finished, measures={"out_v": 7.0}))
    (result,) = merge(one, [two])
    assert (result.mended, result.disagree) == (1, ((finished.id, "out_v"),))
    with Store.open(one) as a:
        assert a.get(failed.id).status == "ok"
        assert a.get(finished.id).measures == finished.measures


def test_what_cannot_be_joined_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    one = made(tmp_path, "1.sqlite", ["ok"])
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 100)
    before = one.read_bytes()
    for sources, message in (([one], "named twice"), ([tmp_path / "bad.sqlite"], "damaged or not a database"),
                             ([tmp_path / "none.sqlite"], "there is no such file")):
        with pytest.raises(BadInput, match=message):
            merge(one, sources)
    assert one.read_bytes() == before
