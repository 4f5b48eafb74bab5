"""The tools as processes: each in an environment of its own, each run from nothing, with its wall time and memory."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from benchmarks import peers_cases
from benchmarks.peers_cases import Case
from charlib.errors import HimcError
from charlib.paths import cache_dir
from charlib.pdk import Pdk
from charlib.spice.live import library_path
from charlib.table import TableSet, load_tables

T = TypeVar("T")
RUNS = 3
#: a run, or an installation, that takes longer is stopped
TIMEOUT_S = 300.0
#: no further run of a peer is begun once its runs of a case have taken so long together
PATIENCE_S = 60.0
CHARLIB = ("charlib==1.0.0", "PySpice==1.5", "numpy==1.26.4")
LCTIME = ("lctime==0.0.26", "klayout==0.30.12", "liberty-parser==0.0.29")
#: the file with a peer's results
LIBERTY = {"charlib": "results/peer.lib", "lctime": "out.lib"}
#: runs its arguments from a small process, since a child's peak memory is at first that of the process that starts it
LAUNCHER = """
import json, os, sys, time
begin = time.perf_counter()
_, status, usage = os.wait4(os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
with open(sys.argv[1], "w") as file:
    json.dump([time.perf_counter() - begin, usage.ru_maxrss, os.waitstatus_to_exitcode(status)], file)
"""


@dataclass(frozen=True)
class Process:
    """A finished run: wall seconds and largest resident memory of it or of a process that it waited for."""

    wall_s: float
    peak_mb: float


@dataclass(frozen=True)
class Timed:
    """The runs of a tool on a case. seconds: what counts."""

    seconds: float
    runs: tuple[Process, ...]

    @property
    def peak_mb(self) -> float:
        return max(run.peak_mb for run in self.runs)


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Process:
    """Run a command to its end; it and all that it started are killed after TIMEOUT_S. HimcError where it fails."""
    log, report = folder / "log.txt", folder / "report.json"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", LAUNCHER, str(report), *command], cwd=folder,
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                   env={**os.environ, **(environment or {})})
        try:
            process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise HimcError(f"stopped after {TIMEOUT_S:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):  # the session is gone where all went well
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    wall_s, peak_kb, status = json.loads(report.read_text()) if report.exists() else (0.0, 0, process.returncode)
    if status != 0:
        lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
        raise HimcError(f"exit status {status}: {lines[-1][-160:]}")
    return Process(wall_s, peak_kb / 1024)


def environment(pins: Sequence[str]) -> Path:
    """The folder of a virtual environment that holds these packages, made where it is not there. HimcError if not."""
    made_of = hashlib.sha256("\n".join((sys.version, *pins)).encode()).hexdigest()[:12]
    place = cache_dir() / "peers" / f"{pins[0].replace('==', '-')}-{made_of}"
    if not (place / "complete").exists():
        print(f"installing {pins[0]} into {place}", flush=True)
        with tempfile.TemporaryDirectory() as name:
            try:
                timed([sys.executable, "-m", "venv", "--clear", str(place)], Path(name))
                timed([str(place / "bin" / "pip"), "install", "--quiet", *pins], Path(name))
            except HimcError as error:
                raise HimcError(f"{pins[0]} could not be installed: {error}") from None
        (place / "complete").touch()
    return place


def run_ours(case: Case) -> tuple[Timed, float, TableSet]:
    """(median of three runs, seconds with an empty cache, tables) of `himc characterize` on an empty database."""
    himc = [str(Path(sys.executable).parent / "himc"), "characterize", "campaign.yaml", "--quiet"]
    with tempfile.TemporaryDirectory() as name:  # pruned cards are kept in the cache; here it holds the kits alone
        (Path(name) / "pdk").symlink_to(cache_dir() / "pdk")
        first, _ = _in_fresh_folder(himc, {"campaign.yaml": peers_cases.campaign(case)}, lambda folder: None,
                                    {"HIMC_CACHE": name})
    runs: list[Process] = []
    for _ in range(RUNS):
        run, tables = _in_fresh_folder(himc, {"campaign.yaml": peers_cases.campaign(case)},
                                       lambda folder: load_tables(folder / "tables"))
        runs.append(run)
    runs.sort(key=lambda run: run.wall_s)
    return Timed(runs[RUNS // 2].wall_s, tuple(runs)), first.wall_s, tables


def run_charlib(case: Case, pdk: Pdk) -> tuple[Timed, str]:
    """CharLib on the case: the fastest of its runs, and the Liberty file it wrote."""
    python = environment(CHARLIB) / "bin" / "python"
    entry = Path(__file__).with_name("peers_charlib_entry.py")
    extra = {"NGSPICE_LIBRARY_PATH": library_path() or "", "PYTHONHASHSEED": "0", "MPLBACKEND": "Agg"}
    command = [str(python), str(entry), "run", "."]
    return _peer(command, peers_cases.charlib_files(case, pdk), LIBERTY["charlib"], extra)


def run_lctime(case: Case, pdk: Pdk, step_s: float | None) -> tuple[Timed, str]:
    """lctime on the case: the fastest of its runs, and the Liberty file it wrote."""
    if any(device.wrapped for device in pdk.devices.values()):
        raise HimcError(f"{LCTIME[0]} resolves no subcircuits, and the devices of {pdk.name} are subcircuits")
    lctime = environment(LCTIME) / "bin" / "lctime"
    return _peer([str(lctime), *peers_cases.lctime_arguments(case, step_s)], peers_cases.lctime_files(case, pdk),
                 LIBERTY["lctime"])


def _peer(command: Sequence[str], files: Mapping[str, str], result: str,
          extra: Mapping[str, str] | None = None) -> tuple[Timed, str]:
    runs: list[Process] = []
    while not runs or (len(runs) < RUNS and sum(run.wall_s for run in runs) < PATIENCE_S):
        run, text = _in_fresh_folder(command, files, lambda folder: (folder / result).read_text(), extra)
        runs.append(run)
    return Timed(min(run.wall_s for run in runs), tuple(runs)), text


def _in_fresh_folder(command: Sequence[str], files: Mapping[str, str], read: Callable[[Path], T],
                        extra: Mapping[str, str] | None = None) -> tuple[Process, T]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        run = timed(command, folder, extra)
        return run, read(folder)
