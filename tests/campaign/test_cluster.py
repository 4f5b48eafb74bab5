"""A Dask cluster gives the rows that local workers give, and a lost worker costs a retry."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_bench import BENCHES, FakeEngine, kit, points

from charlib.campaign import Job, Store, run_campaign
from charlib.errors import BadInput

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.validate


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as made:
        yield made


def rows_of(folder: Path, jobs: list[Job], **how: Any) -> dict[str, Any]:
    with Store.open(folder / f"{len(os.listdir(folder))}.sqlite") as store:
        summary = run_campaign(jobs, store, kit(folder / "kit"), BENCHES, FakeEngine, **how)
        assert set(store.ids()) == set(summary.ids.values())
        return {key: (row.measures, row.status, row.deck, row.point, row.looser)
                for key, row in store.rows(summary.ids.values()).items()}


def test_two_dask_workers_give_the_same_database(cluster: Any, tmp_path: Path) -> None:
    jobs = [Job("fake", point) for point in points(["ok", "stall", "never", "wrong", "bug", "nan", *["ok"] * 14])]
    local = rows_of(tmp_path, jobs, workers=2)
    assert rows_of(tmp_path, jobs, scheduler=cluster.scheduler_address) == local


def test_a_killed_worker_costs_a_retry_and_no_result(cluster: Any, tmp_path: Path) -> None:
    jobs = [Job("fake", point) for point in points(["slow"] * 60)]
    victims: list[int] = []

    def kill() -> None:
        time.sleep(0.8)
        while not cluster.workers:
            time.sleep(0.05)
        victims.append(next(iter(cluster.workers.values())).process.pid)
        os.kill(victims[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = rows_of(tmp_path, jobs, scheduler=cluster.scheduler_address)
    killer.join()
    assert victims
    assert len(found) == 60
    assert {status for _, status, *_ in found.values()} == {"ok"}


def test_a_scheduler_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlib.campaign.cluster.ANSWER_S", 0.5)
    jobs = [Job("fake", point) for point in points(["ok"])]
    with pytest.raises(BadInput, match=r"^scheduler: 'tcp://127\.0\.0\.1:9' does not answer within 0\.5 s"):
        rows_of(tmp_path, jobs, scheduler="tcp://127.0.0.1:9")
