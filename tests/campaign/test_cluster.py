"""A Dask cluster gives the rows that local workers give; what it loses costs a retry, what is wrong no row."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_kit
import pytest
from fake_bench import BENCHES, FakeEngine, ParentOnlyEngine, kit, points

from charlib.benches import BENCHES as REAL_BENCHES
from charlib.campaign import Campaign, Job, Store, cluster_worker, enumerate_jobs, plan_runs, run_campaign
from charlib.campaign.cluster import ClusterPool
from charlib.campaign.cluster_worker import setup_of
from charlib.campaign.task import Task
from charlib.errors import BadInput, HimcError
from charlib.pdk.user_kit import read_user_kit
from charlib.spice.live import LiveEngine

StartCluster = Callable[[int], Any]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartCluster]:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    started: list[Any] = []

    def cluster(workers: int) -> Any:
        started.append(distributed.LocalCluster(n_workers=workers, threads_per_worker=1, processes=True,
                                                dashboard_address=None))
        return started[-1]

    yield cluster
    for one in started:
        one.close()


def jobs_of(modes: list[str], size: float = 1.0) -> list[Job]:
    """size: what multiplies each point's size, which is also its expected time; small ones travel by the bundle."""
    return [Job("fake", replace(point, size=point.size * size)) for point in points(modes)]


def rows_of(folder: Path, jobs: list[Job], **how: Any) -> dict[str, Any]:
    path = folder / f"{len(os.listdir(folder))}.sqlite"
    try:
        with Store.open(path) as store:
            run_campaign(jobs, store, kit(folder / "kit"), BENCHES, how.pop("engine", FakeEngine), **how)
    finally:
        found = stored(path)
    return found


def stored(path: Path) -> dict[str, Any]:
    """Everything of a database but times, the revision and the simulator's chatter."""
    with Store.open(path) as store:
        return {key: replace(row, solver_s=0.0, created="", revision="", log_tail="")
                for key, row in store.rows(store.ids()).items()}


def reasons(rows: dict[str, Any]) -> Counter[str]:
    return Counter(row.reason for row in rows.values())


def kill_one(cluster: Any, after_s: float) -> list[int]:
    """Kill a worker process soon; its id appears in the list when it is done."""
    victims: list[int] = []

    def kill() -> None:
        time.sleep(after_s)
        pid = next(iter(cluster.workers.values())).process.pid
        os.kill(pid, signal.SIGKILL)
        victims.append(pid)

    threading.Thread(target=kill).start()
    return victims


@pytest.mark.validate
@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_two_dask_workers_give_the_same_database(start: StartCluster, tmp_path: Path, size: float) -> None:
    jobs = jobs_of(["ok", "stall", "never", "wrong", "bug", "nan", *["ok"] * 14], size)
    local = rows_of(tmp_path, jobs, workers=2)
    assert len(local) == 20
    assert rows_of(tmp_path, jobs, scheduler=start(2).scheduler_address) == local


@pytest.mark.validate
@pytest.mark.ngspice
def test_the_command_gives_the_same_database_with_ngspice(start: StartCluster, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "preset: quick\nbenches:\n  - kind: cell\n    grid: {cell: [inv, nand2], slew_s: [10ps, 40ps], "
        "load_f: [0.5fF, 2fF, 4fF]}\n  - kind: cell_leakage\n    grid: {cell: [inv, nand2]}\n")
    found = []
    for name, how in (("local", ["--jobs", "2"]), ("dask", ["--scheduler", start(2).scheduler_address])):
        done = subprocess.run([str(Path(sys.executable).parent / "himc"), "characterize", "c.yaml", "--db", name,
                               "--out", f"t-{name}", "--quiet", *how], cwd=tmp_path, capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found.append(stored(tmp_path / name))
    local, dask = found
    assert local.keys() == dask.keys()
    assert len(local) >= 36
    for key, row in local.items():
        other = dask[key]
        assert other.measures == pytest.approx(row.measures, rel=1e-9)  # a resident circuit keeps the last few bits
        assert replace(other, measures=row.measures, steps=row.steps) == row


@pytest.mark.validate
@pytest.mark.parametrize("workers", [1, 2])  # one: nothing on the cluster outlives it
def test_a_killed_worker_costs_a_retry_and_no_result(start: StartCluster, tmp_path: Path, workers: int) -> None:
    cluster = start(workers)
    victims = kill_one(cluster, 0.7)
    found = rows_of(tmp_path, jobs_of(["slow"] * 60), scheduler=cluster.scheduler_address)
    assert len(victims) == 1
    assert reasons(found) == {"": 60}


@pytest.mark.validate
@pytest.mark.parametrize("drops", [1, 3])
def test_a_result_that_the_scheduler_drops_runs_again(start: StartCluster, tmp_path: Path, drops: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    submit = ClusterPool._submit
    dropped: list[str] = []

    def dropping(self: ClusterPool, bundle: list[Task]) -> None:
        submit(self, bundle)
        if len(dropped) < drops and bundle[0].id == (dropped or [bundle[0].id])[0]:
            dropped.append(bundle[0].id)
            next(future for future, own in self._running.items() if own is bundle).cancel()

    monkeypatch.setattr(ClusterPool, "_submit", dropping)
    found = rows_of(tmp_path, jobs_of(["ok"] * 6), scheduler=start(1).scheduler_address)
    assert reasons(found) == {"": 6}
    assert len(dropped) == drops


@pytest.mark.validate
def test_a_task_that_ends_its_workers_is_one_failed_row(start: StartCluster, tmp_path: Path) -> None:
    jobs = jobs_of([*["ok"] * 12, "die", *["ok"] * 12], 1e-3)
    found = rows_of(tmp_path, jobs, scheduler=start(2).scheduler_address)
    assert reasons(found) == {
        "": 24, "the simulator's process died on every worker of the cluster that tried": 1}
    assert {row.point["mode"] for row in found.values() if row.reason} == {"die"}


@pytest.mark.validate
@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_a_hung_simulator_is_one_failed_row(start: StartCluster, tmp_path: Path, size: float) -> None:
    jobs = jobs_of([*["slow"] * 8, "hang", *["slow"] * 8], size)
    found = rows_of(tmp_path, jobs, scheduler=start(2).scheduler_address, timeout_s=1.5)
    assert reasons(found) == {"": 16, "the simulation took more than 1.5 s": 1}
    assert {row.point["mode"] for row in found.values() if row.reason} == {"hang"}


@pytest.mark.validate
def test_a_scheduler_that_ends_ends_the_campaign_and_costs_no_row(start: StartCluster, tmp_path: Path) -> None:
    cluster, jobs = start(2), jobs_of(["slow"] * 100)
    threading.Timer(1.5, cluster.close).start()
    with pytest.raises(HimcError, match=rf"^scheduler: '{cluster.scheduler_address}' has ended or dropped the "
                                        r"campaign; finished runs are kept, start it and run again$"):
        rows_of(tmp_path, jobs, scheduler=cluster.scheduler_address)
    found = stored(tmp_path / "0.sqlite")
    assert 0 < len(found) < 100
    assert reasons(found) == {"": len(found)}


@pytest.mark.validate
def test_workers_that_are_unfit_end_the_campaign_and_cost_no_row(start: StartCluster, tmp_path: Path) -> None:
    cluster = start(1)
    with pytest.raises(HimcError, match=r"^worker on \S+: ngspice: libngspice is not on this machine$"):
        rows_of(tmp_path, jobs_of(["ok"]), scheduler=cluster.scheduler_address, engine=ParentOnlyEngine)
    assert stored(tmp_path / "0.sqlite") == {}
    planned = plan_runs(jobs_of(["ok"]), kit(tmp_path / "kit"), BENCHES, "fake-1")
    other = kit(tmp_path / "kit", "* another card\n")
    with (ClusterPool(BENCHES, other, FakeEngine, cluster.scheduler_address, timeout_s=9.0) as pool,
          pytest.raises(HimcError, match=r"^worker on \S+: its package, kit 'toy' or simulator \(fake-1\) differs "
                                         r"from those of the campaign; install the same there$")):
        list(pool.results(Task(p.id, p.job, p.cost_s) for p in planned))


@pytest.mark.validate
def test_a_cluster_without_workers_is_said(
    start: StartCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlib.campaign.cluster.NO_WORKER_S", 1.0)
    address = start(0).scheduler_address
    with pytest.raises(HimcError, match=rf"^scheduler: '{address}' has had no worker for 1 s; finished runs are "
                                        rf"kept, start workers with 'dask worker {address}' and run again$"):
        rows_of(tmp_path, jobs_of(["ok"]), scheduler=address)


@pytest.mark.validate
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://"])
def test_a_scheduler_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr("charlib.campaign.cluster.ANSWER_S", 0.5)
    with pytest.raises(BadInput, match=rf"^scheduler: '{address}' does not answer within 0\.5 s \(\w+\); start one "
                                       r"with 'dask scheduler'$"):
        rows_of(tmp_path, jobs_of(["ok"]), scheduler=address)


def test_without_dask_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"^scheduler: Dask is not installed; "
                                       r"run 'pip install \"hadamard-imc\[cluster\]\"'$"):
        rows_of(tmp_path, jobs_of(["ok"]), scheduler="tcp://127.0.0.1:9")


def test_nothing_confidential_travels(tmp_path: Path) -> None:
    secret = read_user_kit(made_up_kit.make(tmp_path / "kits", confidential=True))
    jobs = enumerate_jobs(Campaign.from_preset("quick", benches=["cell"], nominal_vdd_v=secret.nominal_vdd_v), secret,
                          REAL_BENCHES)
    tasks = [Task("0" * 16, job, 0.1) for job in jobs]
    parcel = setup_of(REAL_BENCHES, secret, LiveEngine) + pickle.dumps(tasks)
    assert secret.name.encode() in parcel
    assert not [word for word in (*made_up_kit.CANARIES, "FOUNDRY_INV", str(tmp_path)) if word.encode() in parcel]


def test_a_worker_that_has_loaded_openmp_with_several_threads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    monkeypatch.setattr(cluster_worker, "_openmp_is_loaded", lambda: True)
    with pytest.raises(HimcError, match=r"^OMP_THREAD_LIMIT must be 1 when it starts; start it with "
                                        r"'OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1 dask worker …'$"):
        cluster_worker._hold_to_one_thread()
    monkeypatch.setattr(cluster_worker, "_openmp_is_loaded", lambda: False)
    cluster_worker._hold_to_one_thread()
    assert os.environ["OMP_THREAD_LIMIT"] == "1"
