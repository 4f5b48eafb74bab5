"""Campaigns end to end on a fake engine: resume, failures, crashes, kill -9, keys, folding."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_bench import BENCH, BENCHES, FakeEngine, ParentOnlyEngine, StillbornEngine, kit, points

from charlib.campaign import Campaign, Job, Store, Summary, enumerate_jobs, fold_tables, plan_runs, run_campaign
from charlib.campaign.task import LOOSER_OPTIONS
from charlib.errors import BadInput, HimcError


def jobs_of(*modes: str, **fixed: object) -> list[Job]:
    return [Job("fake", point) for point in points(modes, **fixed)]


def run(store: Store, root: Path, jobs: list[Job], **options: object) -> Summary:
    return run_campaign(jobs, store, kit(root), BENCHES, FakeEngine, workers=1, **options)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.sqlite") as opened:
        yield opened


def test_rows_hold_the_whole_run(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of("ok"))
    (run_id,) = summary.ids.values()
    row = store.get(run_id)
    assert row.status == "ok"
    assert row.measures == {"out_v": 1.0}
    assert row.steps == 11
    assert row.solver_s == 0.001
    assert row.engine == "fake-1"
    assert list(row.cards) == ["tt.inc"]
    assert row.deck == BENCH.deck(kit(tmp_path / "kit"), points(["ok"])[0]).text()
    assert row.point == {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0, "size": 1, "mode": "ok"}
    assert row.revision
    assert store.get(run_id[:8]) == row


def test_resume_runs_only_the_rest(store: Store, tmp_path: Path) -> None:
    first = run(store, tmp_path / "kit", jobs_of("ok", "ok"))
    second = run(store, tmp_path / "kit", jobs_of("ok", "ok", "ok"))
    assert (first.ran, first.reused) == (2, 0)
    assert (second.ran, second.reused) == (1, 2)
    assert store.count() == 3


def test_failures_are_rows_and_do_not_stop_the_rest(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of("never", "wrong", "bug", "nan", "ok", "die", "ok"))
    reasons = {job.point.mode: reason for job, _, reason in summary.failures}  # type: ignore[attr-defined]
    assert reasons == {
        "never": "timestep too small", "wrong": "read 0, expected 1",
        "bug": "internal error: TypeError: a bench's own mistake", "nan": "measure out_v is nan",
        "die": "the simulator's process died (exit 9)",
    }
    assert (store.count("ok"), store.count("failed")) == (2, 5)
    ids = {job.point.mode: run_id for job, run_id, _ in summary.failures}  # type: ignore[attr-defined]
    row = store.get(ids["never"])
    assert row.log_tail == "the last line of the log"
    assert "method=gear" in row.deck  # the deck that ran last, complete
    assert "mode die" in store.get(ids["die"]).deck
    assert summary.headline().startswith("7 runs: 7 simulated, 0 reused, 5 failed; ")


def test_a_failed_run_is_retried_once_with_looser_options(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of("stall"))
    (run_id,) = summary.ids.values()
    row = store.get(run_id)
    assert (summary.retried, row.status, row.looser) == (1, "ok", dict(LOOSER_OPTIONS))
    assert "itl4=100" in row.deck


def test_a_wrong_answer_is_not_retried(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of("wrong"))
    assert store.get(summary.failures[0][1]).looser == {}


def test_failed_runs_are_left_alone_unless_asked(store: Store, tmp_path: Path) -> None:
    run(store, tmp_path / "kit", jobs_of("never"))
    assert run(store, tmp_path / "kit", jobs_of("never")).ran == 0
    again = run(store, tmp_path / "kit", jobs_of("never"), retry_failed=True)
    assert (again.ran, len(again.failures)) == (1, 1)


def test_a_hung_simulator_is_given_up(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of("ok", "hang"), timeout_s=3.0)
    assert [reason for _, _, reason in summary.failures] == ["the simulation took more than 3 s"]
    assert store.count("ok") == 1


def test_workers_are_recycled_without_loss(store: Store, tmp_path: Path) -> None:
    summary = run(store, tmp_path / "kit", jobs_of(*["ok"] * 7), recycle_after=2)
    assert store.count("ok") == summary.ran == 7


def test_several_workers_give_the_same_rows(tmp_path: Path) -> None:
    jobs = jobs_of(*["ok"] * 6, "stall", "wrong")
    contents = []
    for workers in (1, 3):
        with Store.open(tmp_path / f"{workers}.sqlite") as store:
            summary = run_campaign(jobs, store, kit(tmp_path / "kit"), BENCHES, FakeEngine, workers=workers)
            rows = store.rows(summary.ids.values())
            contents.append({key: (row.measures, row.status, row.deck) for key, row in rows.items()})
    assert contents[0] == contents[1]


def test_a_crashing_corner_does_not_block_the_others(store: Store, tmp_path: Path) -> None:
    jobs = [*jobs_of(*["die"] * 8, corner="ff"), *jobs_of("ok", "ok")]
    summary = run(store, tmp_path / "kit", jobs)
    assert {reason for _, _, reason in summary.failures} == {"the simulator's process died (exit 9)"}
    assert (store.count("failed"), store.count("ok")) == (8, 2)
    assert run(store, tmp_path / "kit", jobs).ran == 0  # the deck's own failures stay


def test_workers_that_die_before_their_first_run_end_the_campaign(store: Store, tmp_path: Path) -> None:
    with pytest.raises(HimcError, match=r"^workers: 5 died one after the other before their first run "
                                        r"\(last exit 7\); finished runs are kept, run 'himc doctor'$"):
        run_campaign(jobs_of(*["ok"] * 8), store, kit(tmp_path / "kit"), BENCHES, StillbornEngine, workers=1)
    assert store.count() == 0


def test_a_worker_without_engine_says_so(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^ngspice: libngspice is not on this machine$"):
        run_campaign(jobs_of("ok"), store, kit(tmp_path / "kit"), BENCHES, ParentOnlyEngine, workers=1)


_CAMPAIGN = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from fake_bench import BENCHES, FakeEngine, kit, points
from charlib.campaign import Job, Store, run_campaign
if __name__ == "__main__":
    with Store.open(Path({db!r})) as store:
        run_campaign([Job("fake", p) for p in points(["slow"] * 40)], store, kit(Path({root!r})), BENCHES,
                     FakeEngine, workers=2)
"""


def test_kill_9_in_the_middle_loses_nothing_that_finished(tmp_path: Path) -> None:
    db, root = tmp_path / "runs.sqlite", tmp_path / "kit"
    script = tmp_path / "campaign.py"
    script.write_text(_CAMPAIGN.format(tests=str(Path(__file__).parent), db=str(db), root=str(root)))
    for wanted in (3, 9):
        process = subprocess.Popen([sys.executable, str(script)])
        deadline = time.monotonic() + 30
        while _count(db) < wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert wanted <= _count(db) < 40
    with Store.open(db) as store:
        before = store.count("ok")
        jobs = [Job("fake", point) for point in points(["slow"] * 40)]
        summary = run_campaign(jobs, store, kit(root), BENCHES, FakeEngine, workers=2)
        assert summary.reused == before
        assert store.count() == store.count("ok") == 40


def _count(db: Path) -> int:
    if not db.exists():
        return 0
    connection = sqlite3.connect(db)
    try:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    finally:
        connection.close()


def test_a_changed_corner_card_or_engine_misses_the_cache(tmp_path: Path) -> None:
    def ids(text: str, version: str, **fixed: object) -> set[str]:
        return {p.id for p in plan_runs(jobs_of("ok", "ok", **fixed), kit(tmp_path / "kit", text), BENCHES, version)}

    base = ids("* a card\n", "fake-1")
    assert base == ids("* a card\n", "fake-1")
    assert not base & ids("* a card\n", "fake-1", corner="ss")
    assert not base & ids("* a card \n", "fake-1")
    assert not base & ids("* a card\n", "fake-2")


def test_longest_run_first(tmp_path: Path) -> None:
    planned = plan_runs(jobs_of("ok", "ok", "ok"), kit(tmp_path), BENCHES, "fake-1")
    assert [p.cost_s for p in planned] == [3.0, 2.0, 1.0]


def test_enumerate_is_structure_times_operating_points(tmp_path: Path) -> None:
    pdk = kit(tmp_path)
    assert len(enumerate_jobs(Campaign.from_preset("quick"), pdk, BENCHES)) == 2 * 3
    assert len(enumerate_jobs(Campaign.from_preset("full"), pdk, BENCHES)) == 3 * 27
    one = enumerate_jobs(Campaign.from_preset("quick", corners=["ss"], temps_c=[-40.0], vdds_v=[0.7]), pdk, BENCHES)
    assert [(j.point.corner, j.point.temp_c, j.point.vdd_v) for j in one] == [("ss", -40.0, 0.7)] * 2


@pytest.mark.parametrize(("options", "message"), [
    ({"corners": ["sf"]}, r"^corner: 'sf' is not in PDK 'toy'; it has tt, ss, ff$"),
    ({"vdds_v": [-1.0]}, r"^vdd_v: -1 V is outside 0.5..1.2 V of PDK 'toy'$"),
    ({"vdds_v": [1.0, 1.0]}, r"^vdd_v: 1.0, 1.0 names one twice; give each once$"),
    ({"benches": ["nose"]}, r"^bench: 'nose' is unknown; known are fake$"),
])
def test_bad_campaigns_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        enumerate_jobs(Campaign.from_preset("quick", **options), kit(tmp_path), BENCHES)  # type: ignore[arg-type]


def test_unknown_preset_and_no_workers(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^preset: 'big' is unknown; known are quick, pvt, full, mismatch$"):
        Campaign.from_preset("big")
    with pytest.raises(BadInput, match=r"^corner: the campaign has none; give at least one$"):
        Campaign("quick", (), (25.0,), (1.0,))
    with pytest.raises(BadInput, match=r"^jobs: at least 1 worker is needed, got 0$"):
        run_campaign([], store, kit(tmp_path), BENCHES, FakeEngine, workers=0)


def test_fold_fills_origin_and_runs(store: Store, tmp_path: Path) -> None:
    pdk = kit(tmp_path / "kit")
    jobs = enumerate_jobs(Campaign.from_preset("quick"), pdk, BENCHES)
    summary = run_campaign(jobs, store, pdk, BENCHES, FakeEngine, workers=2)
    (table,) = fold_tables(store, summary.ids, pdk, BENCHES).whole()
    assert table.at(corner="tt", temp_c=25.0, vdd_v=0.85, size=2) == pytest.approx(1.7)
    assert (table.origin.pdk, table.origin.pdk_sha256, table.origin.status) == ("toy", pdk.sha256, "fresh")
    assert set(table.runs.ravel()) == set(summary.ids.values())
    assert fold_tables(store, summary.ids, pdk, BENCHES, "shipped").whole()[0].origin.status == "shipped"


def test_a_hole_is_named_and_never_folded(store: Store, tmp_path: Path) -> None:
    jobs = jobs_of("ok", "never")
    summary = run(store, tmp_path / "kit", jobs)
    folded = fold_tables(store, summary.ids, kit(tmp_path / "kit"), BENCHES)
    assert folded.tables == ()
    failed = summary.ids[jobs[1]]
    with pytest.raises(HimcError, match=(
        r"^tables: 1 points have no result, the first is fake at corner=tt temp_c=25.0 vdd_v=1.0 size=2 mode=never: "
        rf"timestep too small \(run {failed}\); 'himc db show {failed}' prints its log, with the campaign's "
        r"--db; to try again, give the same command with --retry-failed$"
    )):
        folded.whole()
