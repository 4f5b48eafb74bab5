"""An accident is not a result: what the machine did to a run is never kept as the deck's failure.

Killed workers, a stopped campaign, a temporary folder that went, a database that was moved away, two campaigns at
once, Ctrl-C. Each is done to a running campaign, which then ends whole or says what it does not claim.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fake_bench import BENCHES, FakeBench, FakeEngine, kit, points

from charlib.campaign import Job, Store, Summary, fold_tables, run_campaign
from charlib.campaign.process import AwakeClock, is_stopped, leave_no_core, was_killed
from charlib.campaign.run import settled
from charlib.campaign.task import WITHHELD, stands
from charlib.errors import Accident, BadInput, HimcError, SimulationFailed, Stopped
from charlib.pdk import installed
from charlib.pdk.install import MOST_FINER, step_factors
from charlib.spice import Deck, OperatingPoint, Waveforms
from charlib.spice.ngspice_batch import NgspiceBatchEngine

TESTS = str(Path(__file__).parent)


def jobs_of(*modes: str, **fixed: object) -> list[Job]:
    return [Job("fake", point) for point in points(modes, **fixed)]


@dataclass(frozen=True)
class Marked:
    """An engine that does something to its own process, so many times in all processes together."""

    marks: Path  #: folder with a file a deed
    deed: str
    times: int

    version = "fake-1"

    def __call__(self) -> Marked:
        return self

    def run(self, deck: Deck) -> Waveforms:
        if "mode slow" in deck.body and len(os.listdir(self.marks)) < self.times:
            (self.marks / f"{time.monotonic_ns()}").touch()
            if self.deed == "folder":
                raise FileNotFoundError(2, "No such file or directory", str(self.marks / "gone"))
            os.kill(os.getpid(), getattr(signal, self.deed))
            time.sleep(0.2)
        waves: Waveforms = FakeEngine().run(deck)
        return waves


def run(folder: Path, engine: Any, jobs: list[Job], **how: Any) -> tuple[Summary, dict[str, str]]:
    (folder / "marks").mkdir(exist_ok=True)
    with Store.open(folder / "runs.sqlite") as store:
        summary = run_campaign(jobs, store, kit(folder / "kit"), BENCHES, engine, **{"workers": 2, **how})
        return summary, store.status(store.ids())


@pytest.mark.parametrize("deed", ["SIGKILL", "SIGTERM", "SIGSEGV"])
def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, deed: str) -> None:
    summary, kept = run(tmp_path, Marked(tmp_path / "marks", deed, 1), jobs_of("ok", "slow", "ok", "slow"))
    assert list(kept.values()) == ["ok"] * 4
    assert (summary.failures, summary.accidents) == ((), ())


@pytest.mark.parametrize(("deed", "reason"), [
    ("SIGKILL", "the simulator's process died (exit -9)"),
    ("folder", "the machine failed: FileNotFoundError: [Errno 2] No such file or directory: "),
])
def test_an_accident_without_end_is_told_and_not_kept(tmp_path: Path, deed: str, reason: str) -> None:
    jobs = jobs_of("ok", "slow", "ok")
    summary, kept = run(tmp_path, Marked(tmp_path / "marks", deed, 99), jobs)
    assert list(kept.values()) == ["ok", "ok"]
    ((job, run_id, why),) = summary.accidents
    assert (job, run_id in kept) == (jobs[1], False)
    assert why.startswith(reason)
    assert summary.headline().startswith("3 runs: 3 simulated, 0 reused, 0 failed, 1 ended by accident; ")
    with Store.open(tmp_path / "runs.sqlite") as store, pytest.raises(HimcError, match=(
            rf"the first is fake at [^\n]+: it did not finish \(run {run_id}\); an accident ended them, give the "
            r"same command again$")):
        fold_tables(store, summary.ids, kit(tmp_path / "kit"), BENCHES).whole()
    again, kept = run(tmp_path, FakeEngine, jobs)  # a plain resume
    assert (again.ran, list(kept.values())) == (1, ["ok"] * 3)


def test_a_deck_that_crashes_alone_too_stays_a_failure(tmp_path: Path) -> None:
    jobs = jobs_of("ok", "slow")
    summary, kept = run(tmp_path, Marked(tmp_path / "marks", "SIGSEGV", 99), jobs)
    assert [why for *_, why in summary.failures] == ["the simulator's process died (exit -11)"]
    assert sorted(kept.values()) == ["failed", "ok"]
    assert run(tmp_path, FakeEngine, jobs)[0].ran == 0


def test_a_campaign_that_was_stopped_longer_than_the_limit_goes_on(tmp_path: Path) -> None:
    script = tmp_path / "campaign.py"
    script.write_text(f"""import sys
sys.path.insert(0, {TESTS!r})
from pathlib import Path
from fake_bench import BENCHES, FakeEngine, kit, points
from charlib.campaign import Job, Store, run_campaign
with Store.open(Path({str(tmp_path / "runs.sqlite")!r})) as store:
    run_campaign([Job("fake", p) for p in points(["slow"] * 30)], store, kit(Path({str(tmp_path / "kit")!r})),
                 BENCHES, FakeEngine, workers=2, timeout_s=1.5)
""")
    campaign = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    wait_for(tmp_path / "runs.sqlite", 3)
    os.killpg(campaign.pid, signal.SIGSTOP)
    time.sleep(2.5)
    os.killpg(campaign.pid, signal.SIGCONT)
    assert campaign.wait(timeout=30) == 0
    with Store.open(tmp_path / "runs.sqlite") as store:
        assert (store.count("ok"), store.count("failed")) == (30, 0)


def wait_for(path: Path, runs: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists():
            with sqlite3.connect(path) as database:
                if database.execute("SELECT count(*) FROM runs").fetchone()[0] >= runs:
                    return
        time.sleep(0.02)
    raise AssertionError(f"{runs} runs did not come")


def test_a_stopped_process_is_seen_and_its_time_is_no_time() -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert not is_stopped(sleeper.pid)
        sleeper.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        assert is_stopped(sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    clock = AwakeClock()
    time.sleep(1.3)  # as if stopped: nobody looked
    assert 0.9 < clock() <= 1.0


@pytest.mark.parametrize(("reason", "timeout_s", "stays"), [
    ("timestep too small", 1200.0, True),
    ("the simulation took more than 20 s", 20.0, True),
    ("the simulation took more than 20 s", 1200.0, False),  # a longer limit is another question
    ("the simulator's process died (exit -11)", 1200.0, True),
    ("the simulator's process died (exit -9)", 1200.0, False),
    ("internal error: TypeError: a bench's own mistake", 1200.0, True),
    ("internal error: FileNotFoundError: [Errno 2] No such file or directory: '/tmp/x'", 1200.0, False),
    ("internal error: MemoryError: ", 1200.0, False),
    ("internal error: print: odd", 1200.0, True),
])
def test_what_earlier_versions_kept_of_accidents_runs_again(tmp_path: Path, reason: str, timeout_s: float,
                                                            stays: bool) -> None:
    assert stands(reason, timeout_s) is stays
    summary, _ = run(tmp_path, FakeEngine, jobs_of("never"))
    (run_id,) = summary.ids.values()
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.put(replace(store.get(run_id), reason=reason))
        assert settled(store, [run_id], retry_failed=False, timeout_s=timeout_s) == ({run_id} if stays else set())


def test_signals_from_outside_are_told_from_crashes() -> None:
    assert [was_killed(-s) for s in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)] == [True] * 3
    assert [was_killed(code) for code in (-signal.SIGSEGV, -signal.SIGABRT, 1, 0, None)] == [False] * 5


class Tampering(FakeBench):  # type: ignore[misc]
    """At its third deck in the campaign's process, the test's deed is done."""

    done = 0
    deed: Any = staticmethod(lambda: None)

    def deck(self, pdk: Any, point: Any) -> Deck:
        Tampering.done += 1
        if Tampering.done == 8:
            Tampering.deed()
        made: Deck = super().deck(pdk, point)
        return made


@pytest.fixture
def tampering() -> Iterator[type[Tampering]]:
    Tampering.done = 0
    yield Tampering
    Tampering.deed = staticmethod(lambda: None)


@pytest.mark.parametrize("deed", ["deleted", "moved", "replaced"])
def test_a_database_that_goes_while_in_use_ends_the_campaign(tmp_path: Path, deed: str,
                                                             tampering: type[Tampering]) -> None:
    path = tmp_path / "runs.sqlite"
    Store.open(tmp_path / "other.sqlite").close()
    deeds: dict[str, Any] = {"deleted": path.unlink, "moved": lambda: path.rename(tmp_path / "elsewhere.sqlite"),
             "replaced": lambda: (tmp_path / "other.sqlite").replace(path)}
    tampering.deed = staticmethod(deeds[deed])
    with Store.open(path) as store, pytest.raises(HimcError, match=(
            rf"^database {path}: it was moved, deleted or replaced while it was in use; what was being done is not "
            r"kept, put the file back or give another --db and run again$")):
        run_campaign(jobs_of(*["slow"] * 6), store, kit(tmp_path / "kit"), {"fake": tampering()}, FakeEngine,
                     workers=1)


def test_runs_that_vanish_from_the_file_are_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with Store.open(path) as store:
        summary = run_campaign(jobs_of("ok", "ok"), store, kit(tmp_path / "kit"), BENCHES, FakeEngine, workers=1)
        store.confirm(summary.ids.values())
        with sqlite3.connect(path) as other:
            other.execute("DELETE FROM runs WHERE rowid = 1")
        with pytest.raises(HimcError, match=rf"^database {path}: 1 of 2 runs just made are not in it; it was "):
            store.confirm(summary.ids.values())


def test_two_campaigns_on_one_database_share_the_work(tmp_path: Path) -> None:
    said: list[str] = []
    script = tmp_path / "other.py"
    script.write_text(f"""import sys
sys.path.insert(0, {TESTS!r})
from pathlib import Path
from fake_bench import BENCHES, FakeEngine, kit, points
from charlib.campaign import Job, Store, run_campaign
with Store.open(Path({str(tmp_path / "runs.sqlite")!r})) as store:
    jobs, pdk = [Job("fake", p) for p in points(["slow"] * 60)], kit(Path({str(tmp_path / "kit")!r}))
    print(run_campaign(jobs, store, pdk, BENCHES, FakeEngine, workers=1).ran)
""")
    other = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    wait_for(tmp_path / "runs.sqlite", 2)
    with Store.open(tmp_path / "runs.sqlite") as store:
        summary = run_campaign(jobs_of(*["slow"] * 60), store, kit(tmp_path / "kit"), BENCHES, FakeEngine,
                               workers=1, say=said.append)
        theirs = int(other.communicate(timeout=30)[0])
        assert store.count("ok") == 60
        assert [tuple(row) for row in store._db.execute("SELECT * FROM campaigns")] == []
    assert said == [f"other campaigns at work in {tmp_path / 'runs.sqlite'}: 1; what one finishes, none repeats"]
    assert summary.ran + theirs <= 60 + 6  # at most what was in both's hands when they met
    assert min(summary.ran, theirs) >= 10


def test_a_campaign_that_was_killed_is_not_taken_for_one_at_work(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.sqlite") as store:
        with store.at_work() as others:
            assert others == 0
        host = os.uname().nodename
        store._db.executemany("INSERT INTO campaigns VALUES (?, ?, ?, ?)", [
            (2**22 + 1, "17", host, time.time()),  # no such process
            (os.getppid(), "1", host, time.time()),  # its number is another's now
            (7, "1", "elsewhere", time.time() - 1e6),  # long ago, on another machine
            (7, "1", "elsewhere", time.time()),
        ])
        with store.at_work() as others:
            assert others == 1


def test_ctrl_c_says_what_is_kept(tmp_path: Path) -> None:
    def stop(done: int, *_: object) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with Store.open(tmp_path / "runs.sqlite") as store:
        with pytest.raises(Stopped, match=(rf"^stopped by the user: 2 runs are kept in {tmp_path / 'runs.sqlite'}, "
                                           r"2 of them new; the same command goes on with the rest$")):
            run_campaign(jobs_of(*["slow"] * 6), store, kit(tmp_path / "kit"), BENCHES, FakeEngine, workers=1,
                         on_result=stop)
        assert run_campaign(jobs_of(*["slow"] * 6), store, kit(tmp_path / "kit"), BENCHES, FakeEngine,
                            workers=1).reused == 2


@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.skipif("freepdk45" not in installed(), reason="freepdk45 is not installed")
def test_ctrl_c_ends_the_command_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    words = [str(Path(sys.executable).parent / "himc"), "characterize", "--bench", "cell", "--vdd-v", "0.97", "--db",
             "runs.sqlite", "--out", "t", "--jobs", "2", "--quiet"]
    campaign = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True,
                                env={**os.environ, "TMPDIR": str(tmp_path / "temporary")})
    wait_for(tmp_path / "runs.sqlite", 3)
    os.killpg(campaign.pid, signal.SIGINT)
    said = campaign.communicate(timeout=30)[1]
    assert campaign.returncode == 130
    assert re.fullmatch(r"himc: stopped by the user: (\d+) runs are kept in runs.sqlite, \1 of them new; the same "
                        r"command goes on with the rest\n", said)
    assert os.listdir(tmp_path / "temporary") == []
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("mode", ["bug", "leaks"])
def test_a_confidential_kit_s_words_stay_in_the_worker(tmp_path: Path, mode: str) -> None:
    class Telling(FakeBench):  # type: ignore[misc]
        def measure(self, pdk: Any, point: Any, waves: Waveforms) -> dict[str, float]:
            if mode == "leaks":
                raise OSError(5, "Input/output error", "/kits/secret_nmos.inc")
            raise TypeError("vth0 = 0.4321 of secret_nmos")

    pdk = replace(kit(tmp_path / "kit"), confidential=True)
    with Store.open(tmp_path / "runs.sqlite") as store:
        summary = run_campaign(jobs_of("ok"), store, pdk, {"fake": Telling()}, FakeEngine, workers=1)
        kept = store.rows(store.ids()).values()
    assert [why for *_, why in (*summary.failures, *summary.accidents)] == [WITHHELD]
    assert all("secret" not in row.reason + row.log_tail for row in kept)
    assert b"secret_nmos" not in b"".join(file.read_bytes() for file in tmp_path.glob("runs.sqlite*"))


def test_workers_leave_no_core_file() -> None:
    reader, writer = os.pipe()
    if os.fork() == 0:
        leave_no_core()
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # PR_GET_DUMPABLE
        os.write(writer, repr((resource.getrlimit(resource.RLIMIT_CORE), dumpable)).encode())
        os.kill(os.getpid(), signal.SIGSEGV)
    _, status = os.wait()
    assert os.read(reader, 100) == b"((0, 0), 0)"
    assert os.WTERMSIG(status) == signal.SIGSEGV
    assert not os.WCOREDUMP(status)


@pytest.mark.ngspice
def test_the_scratch_folder_is_made_again_and_removed(tmp_path: Path) -> None:
    """The temporary folder goes while the engine is in use, with all that is in it; nothing is left at the end."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = ("import shutil, sys, tempfile\n"
              "from charlib.spice import Deck, OperatingPoint\n"
              "from charlib.spice.live import LiveEngine, _scratch\n"
              "deck = lambda r: Deck('d', f'v1 a 0 1\\nr1 a 0 {r}\\n', 25.0, OperatingPoint(), save=('v(a)',))\n"
              "engine = LiveEngine(); engine.run(deck(1)); first = _scratch()\n"
              "shutil.rmtree(first); engine.run(deck(2))\n"
              "shutil.rmtree(sys.argv[1]); engine.run(deck(3)); print(_scratch())\n")
    done = subprocess.run([sys.executable, "-c", script, str(temporary)], capture_output=True, text=True, check=False,
                          env={**os.environ, "TMPDIR": str(temporary)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()
    assert not temporary.exists()


@pytest.mark.parametrize(("status", "error", "says"), [
    ("kill -9 $$", Accident, r"^ngspice was killed \(exit -9\); run it again$"),
    ("exit 3", SimulationFailed, r"^ngspice ended with exit status 3$"),
])
def test_a_simulator_command_that_is_killed_is_an_accident(tmp_path: Path, status: str, error: type[Exception],
                                                           says: str) -> None:
    program = tmp_path / "ngspice"
    program.write_text(f"#!/bin/sh\n{status}\n")
    program.chmod(0o755)
    deck = Deck("d", "v1 a 0 1\nr1 a 0 1k\n", 25.0, OperatingPoint(), save=("v(a)",))
    with pytest.raises(error, match=says):
        NgspiceBatchEngine(str(program)).run(deck)


@pytest.mark.parametrize(("text", "says"), [
    ("{", "it is no such record (JSONDecodeError)"), ("[]", "it is no such record (TypeError)"),
    ('{"kinds": {}}', "it is no such record (KeyError)"), ("[" * 90000, "it is no such record (RecursionError)"),
    ('{"kinds": {"cell": {"factor": "2"}}, "pdk_sha256": ""}',
     f"kinds.cell.factor: a whole number in 1..{MOST_FINER} is allowed, got '2'"),
    ('{"kinds": {"cell": {"factor": 2000000000}}, "pdk_sha256": ""}',
     f"kinds.cell.factor: a whole number in 1..{MOST_FINER} is allowed, got 2000000000"),
])
def test_a_convergence_record_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str,
                                                      says: str) -> None:
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    record = tmp_path / "convergence" / "freepdk45.json"
    record.parent.mkdir()
    record.write_text(text)
    with pytest.raises(BadInput, match=re.escape(f"convergence {record}: {says}; remove it, 'himc pdk check "
                                                 "--convergence' makes another")):
        step_factors("freepdk45")
