"""What a Dask worker does with a bundle of tasks: the same as a local worker, in a process that is not ours.

The process keeps one engine. It proves before its first task of a kind and corner that it would give the result asked
for: the run's key, made again from its own package, kit and simulator, must be the one that it was sent. A run
that overruns its time cannot be stopped from outside, so the process says which one it was and ends itself.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from charlib.benches.base import Bench
from charlib.campaign.plan import deck_of, run_id
from charlib.campaign.pool import ONE_THREAD, EngineFactory
from charlib.campaign.process import LOOK_S, AwakeClock, leave_no_core
from charlib.campaign.task import Result, Task, attempt, resident_b
from charlib.errors import HimcError
from charlib.pdk import Pdk
from charlib.spice import Engine

#: seconds for the last message of a process that ends itself
_GOODBYE_S = 1.0


@dataclass
class _Kept:
    """What a worker process keeps from one bundle to the next."""

    benches: Mapping[str, Bench]
    pdk: Pdk
    make_engine: EngineFactory
    engine: Engine
    proven: set[tuple[str, str]] = field(default_factory=set)  #: (kind, corner)


_kept: dict[bytes, _Kept] = {}  # the one campaign of this process, by its setup
_lock = threading.Lock()  # ngspice is not re-entrant, whatever number of threads the worker was given


def setup_of(benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory) -> bytes:
    """What a worker needs besides the tasks; of a confidential kit the name and hash alone."""
    return pickle.dumps((dict(benches), pdk, make_engine))


def simulate(setup: bytes, bundle: list[Task], timeout_s: float, topic: str) -> list[Result] | HimcError:
    """Run a bundle; its results, or the error that makes this worker unfit for the campaign.

    topic: where the id of a task that took more than timeout_s is told.
    """
    from distributed import get_worker

    tell: Any = get_worker().log_event
    with _lock:
        try:
            kept = _keep(setup)
            for task in bundle:
                _prove(task, kept)
        except HimcError as error:
            return HimcError(f"worker on {socket.gethostname()}: {error}")
        results = []
        for task in bundle:
            done = threading.Event()
            threading.Thread(target=_watch, args=(done, timeout_s, tell, topic, task.id), daemon=True).start()
            try:
                results.append(attempt(task, kept.benches[task.job.kind], kept.pdk, kept.engine))
            finally:
                done.set()
        results[-1] = replace(results[-1], rss_b=resident_b())
        return results


def _keep(setup: bytes) -> _Kept:
    """This process's engine and campaign, made where they are not there yet."""
    if setup not in _kept:
        _hold_to_one_thread()
        leave_no_core()
        benches, pdk, make_engine = pickle.loads(setup)
        engine = next((old.engine for old in _kept.values() if old.make_engine == make_engine), None)
        _kept.clear()
        _kept[setup] = _Kept(benches, pdk, make_engine, engine if engine is not None else make_engine())
    return _kept[setup]


def _hold_to_one_thread() -> None:
    """Set the limit of threads before ngspice is loaded; HimcError where OpenMP has read another one already."""
    unlike = [name for name, value in ONE_THREAD.items() if os.environ.get(name) != value]
    if unlike and not _kept and _openmp_is_loaded():
        raise HimcError(f"{' and '.join(unlike)} must be 1 when it starts; start it with "
                        f"'{' '.join(f'{name}={value}' for name, value in ONE_THREAD.items())} dask worker …'")
    os.environ.update(ONE_THREAD)


def _openmp_is_loaded() -> bool:
    try:
        return "/libgomp.so.1" in Path("/proc/self/maps").read_text(encoding="utf-8")
    except OSError:
        return False


def _prove(task: Task, kept: _Kept) -> None:
    """HimcError where this machine would simulate something else under the task's key."""
    kind, point = task.job.kind, task.job.point
    if (kind, point.corner) in kept.proven:
        return
    bench = kept.benches[kind]
    key = run_id(bench, task.job, deck_of(bench, kept.pdk, point), kept.pdk.card_hashes(point.corner),
                 kept.engine.version)
    if key != task.id:
        raise HimcError(f"its package, kit '{kept.pdk.name}' or simulator ({kept.engine.version}) differs from those "
                        "of the campaign; install the same there")
    kept.proven.add((kind, point.corner))


def _watch(done: threading.Event, timeout_s: float, tell: Any, topic: str, task_id: str) -> None:
    """End the process where a task takes too long; time in which it was stopped does not count."""
    clock = AwakeClock()
    while not done.wait(min(LOOK_S, max(0.0, timeout_s - clock()))):
        if clock() >= timeout_s:
            _end(tell, topic, task_id)


def _end(tell: Any, topic: str, task_id: str) -> None:
    """Say which task hangs and end this process; the nanny starts another."""
    tell(topic, task_id)
    time.sleep(_GOODBYE_S)
    os._exit(1)
