"""kill -9 at random moments, twenty times: the database always opens, and ends as that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from charlib.campaign import Store
from charlib.pdk import installed

pytestmark = [pytest.mark.validate, pytest.mark.ngspice, pytest.mark.pdk,
              pytest.mark.skipif("freepdk45" not in installed(), reason="freepdk45 is not installed")]
KILLS = 20
CAMPAIGN = """preset: quick
vdd_v: [0.8, 0.85, 0.9, 0.95, 1.0]
benches:
  - kind: cell
    grid: {cell: [inv, nand2, nor2], slew_s: [10ps, 20ps, 40ps, 60ps], load_f: [0.5fF, 1fF, 2fF, 4fF]}
"""


def start(folder: Path, database: str) -> subprocess.Popen[str]:
    return subprocess.Popen([str(Path(sys.executable).parent / "himc"), "characterize", "c.yaml", "--db", database,
                             "--out", f"t-{database}", "--jobs", "2", "--quiet"], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def rows(path: Path) -> dict[str, Any]:
    with Store.open(path, create=False) as store:
        return {key: (row.measures, row.status, row.deck, row.point) for key, row in store.rows(store.ids()).items()}


def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    calm = start(tmp_path, "calm.sqlite")
    assert calm.wait(timeout=300) == 0, calm.communicate()
    rng, kept, kills = random.Random(20), 0, 0
    while kills < KILLS:
        run = start(tmp_path, "killed.sqlite")
        time.sleep(rng.uniform(0.5, 1.4))
        if run.poll() is not None:  # done early: begin again from nothing
            for file in tmp_path.glob("killed.sqlite*"):
                file.unlink()
            kept = 0
            continue
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        kills += 1
        if (tmp_path / "killed.sqlite").exists():
            with sqlite3.connect(tmp_path / "killed.sqlite") as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                (now,) = database.execute("SELECT count(*) FROM runs").fetchone()
            assert now >= kept  # no finished run is lost
            kept = now
    last = start(tmp_path, "killed.sqlite")
    out, err = last.communicate(timeout=300)
    assert last.returncode == 0, err
    assert f"{kept} reused" in out  # and none is repeated
    assert rows(tmp_path / "killed.sqlite") == rows(tmp_path / "calm.sqlite")
