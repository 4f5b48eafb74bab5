"""A pool of simulator processes that outlives what ngspice does to them.

Each worker is a process with one engine, one thread, and a pipe. It is handed two bundles of tasks at a time, so that
it never waits for the parent; short tasks travel by the bundle, long ones alone. A worker that dies or
overruns its time is replaced, and the tasks of its bundle run again one by one. One that overruns so by itself is a
failed result. One whose worker died runs once more at the end, with the machine to itself: the deck is at fault only
where it crashes there too. A worker that is killed is an accident, and so is what it never finished. A worker that
dies before its first task says that the machine is at fault; a few of them end the campaign. When the parent dies,
the workers end by themselves.

On Linux a worker is forked from a parent that has loaded the simulator already and runs no other thread: it
starts in milliseconds instead of a second. Elsewhere it is a fresh interpreter (spawn).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from charlib.benches.base import Bench
from charlib.campaign.process import (
    LOOK_S,
    AwakeClock,
    die_with_parent,
    is_stopped,
    leave_no_core,
    prove,
    was_killed,
)
from charlib.campaign.task import Result, Task, attempt, resident_b
from charlib.errors import HimcError
from charlib.pdk import Pdk
from charlib.spice import Engine

EngineFactory = Callable[[], Engine]
Bundle = list[Task]

#: One thread a worker. ngspice-39 sets its own thread count (2) over OMP_NUM_THREADS, and two workers with two
#: spinning threads each on two cores were 30 times slower; only the limit holds it.
ONE_THREAD: Mapping[str, str] = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
#: bundles in a worker's hands: one running, one waiting
_DEPTH = 2
#: a bundle's most expected seconds, and most tasks
BUNDLE_S, BUNDLE_TASKS = 0.1, 16
#: resident memory is read after every so many runs
_RSS_EVERY = 16
#: a task is handed over ahead only where both it and the running one are expected to be shorter than this
PREFETCH_S = 1.0
#: this many workers in a row that died before their first task end the campaign: the machine is at fault
MAX_SILENT_DEATHS = 5
#: times that a task may run by itself at the end where its worker is killed
MOST_ALONE = 2
#: a worker's first message: it has an engine that runs
_READY = "ready"


def start_method() -> str:
    """"fork" where that is safe and quick, else "spawn"."""
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


def _worker(pipe: Connection, benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory) -> None:
    """A worker's life: take a task, send its result, until None or the end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    die_with_parent()
    leave_no_core()
    try:
        engine = make_engine()
    except HimcError as error:
        pipe.send(error)
        return
    runs = 0
    try:
        prove(engine)
        pipe.send(_READY)
        while (bundle := pipe.recv()) is not None:
            results = []
            for task in bundle:
                result = attempt(task, benches[task.job.kind], pdk, engine)
                if runs % _RSS_EVERY == 0:
                    result = replace(result, rss_b=resident_b())
                runs += 1
                results.append(result)
            pipe.send(results)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


@dataclass
class _Member:
    """A worker process as the parent sees it. hand: its bundles, the running one first."""

    process: BaseProcess
    pipe: Connection
    hand: deque[Bundle] = field(default_factory=deque)
    since: float = 0.0  #: when the running bundle began, by the pool's clock
    runs: int = 0
    ready: bool = False  #: it has run something

    def room_for(self, bundle: Bundle) -> bool:
        """Whether to hand it over now: an idle worker takes anything, a busy one short tasks ahead."""
        if not self.hand:
            return True
        return len(self.hand) < _DEPTH and all(b[0].cost_s < PREFETCH_S for b in (bundle, *self.hand))


class Pool:
    """Workers that run tasks; iterate over :meth:`results`. Close it (or use `with`) to end the workers."""

    def __init__(self, benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory, workers: int, *,
                 timeout_s: float, recycle_after: int) -> None:
        self._start_arguments = (dict(benches), pdk, make_engine)
        self._timeout_s = timeout_s
        self._recycle_after = recycle_after
        self._clock = AwakeClock()
        self._looked_s = 0.0
        self._members = [self._start() for _ in range(workers)]
        self._again: deque[Bundle] = deque()
        self._suspects: deque[Task] = deque()  # tasks whose worker died under them alone
        self._tries: dict[str, int] = {}  # suspect's id -> how often it ran with the machine to itself
        self._silent_deaths = 0  # workers in a row that died before their first task

    def _start(self) -> _Member:
        context: Any = multiprocessing.get_context(start_method())
        ours, theirs = context.Pipe()
        with _environment(ONE_THREAD):
            process = context.Process(target=_worker, args=(theirs, *self._start_arguments), daemon=True)
            process.start()
        theirs.close()
        return _Member(process, ours)

    def results(self, tasks: Iterator[Task]) -> Iterator[Result]:
        """Run all tasks; yield each result as it comes, in no fixed order."""
        bundles = _bundles(tasks)
        following = _take(self._again, bundles)
        while True:
            following = self._hand_out(following, bundles)
            busy = [member for member in self._members if member.hand]
            if not busy and self._suspects:
                self._give(self._members[0], [self._suspects.popleft()])
                busy = self._members[:1]
            if not busy:
                return
            ready = wait([member.pipe for member in busy], timeout=self._patience(busy))
            self._look(busy)
            for member in busy:
                if member.pipe in ready:
                    yield from self._receive(member)
                elif self._clock() - member.since > self._timeout_s:
                    yield from self._overdue(member)

    def _look(self, busy: list[_Member]) -> None:
        """Now and then: a worker that is stopped gets its time back."""
        now = self._clock()
        if now - self._looked_s < LOOK_S / 2:
            return
        for member in busy:
            if is_stopped(member.process.pid):
                member.since += now - max(self._looked_s, member.since)
        self._looked_s = now

    def _hand_out(self, following: Bundle | None, bundles: Iterator[Bundle]) -> Bundle | None:
        """Give bundles to idle workers first, then one ahead to each; return the bundle that is left over."""
        for depth in range(_DEPTH):
            for member in self._members:
                if following is None:
                    following = _take(self._again, bundles)
                if following is None:
                    return None
                if len(member.hand) == depth and member.runs < self._recycle_after and member.room_for(following):
                    self._give(member, following)
                    following = None
        return following

    def _give(self, member: _Member, bundle: Bundle) -> None:
        if not member.hand:
            member.since = self._clock()
        member.hand.append(bundle)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # seen as a death when received
            member.pipe.send(bundle)

    def _patience(self, busy: list[_Member]) -> float:
        return max(0.0, min(LOOK_S, min(m.since for m in busy) + self._timeout_s - self._clock()))

    def _receive(self, member: _Member) -> Iterator[Result]:
        try:
            message = member.pipe.recv()
        except (EOFError, ConnectionResetError):
            member.process.join(timeout=1.0)
            yield from self._died(member, member.process.exitcode)
            return
        member.since = self._clock()
        if message == _READY:
            member.ready, self._silent_deaths = True, 0
            return
        if isinstance(message, HimcError):  # no engine on this machine
            raise message
        member.hand.popleft()
        member.runs += len(message)
        yield from message
        if member.runs >= self._recycle_after and not member.hand:
            _stop(member)
            self._replace(member)

    def _died(self, member: _Member, exit_code: int | None) -> Iterator[Result]:
        """A worker ended by itself or was ended. Its task is a suspect, or, on its last try, a result."""
        if not member.ready:
            self._silent_deaths += 1
            self._again.extend(member.hand)
            self._replace(member)
            if self._silent_deaths >= MAX_SILENT_DEATHS:
                raise HimcError(f"workers: {self._silent_deaths} died one after the other before their first run "
                                f"(last exit {exit_code}); finished runs are kept, run 'himc doctor'")
            return
        running = self._lose(member)
        if running is None:
            return
        accident, tries = was_killed(exit_code), self._tries.get(running.id, 0)
        if tries < (MOST_ALONE if accident else 1):
            self._tries[running.id] = tries + 1
            self._suspects.append(running)
        else:
            yield Result(running.id, reason=f"the simulator's process died (exit {exit_code})", accident=accident)

    def _overdue(self, member: _Member) -> Iterator[Result]:
        running = self._lose(member)
        if running is not None:
            yield Result(running.id, reason=f"the simulation took more than {self._timeout_s:g} s")

    def _lose(self, member: _Member) -> Task | None:
        """Give up on a worker. The task that was alone in its hands; all others start again, a bundle's singly."""
        running = member.hand.popleft()
        if len(running) > 1:
            self._again.extend([task] for task in running)
        self._again.extend(member.hand)
        member.process.kill()
        self._replace(member)
        return running[0] if len(running) == 1 else None

    def _replace(self, member: _Member) -> None:
        member.pipe.close()
        self._members[self._members.index(member)] = self._start()

    def close(self) -> None:
        """End the workers: idle ones are told to stop, busy ones are killed."""
        for member in self._members:
            if member.hand:
                member.process.kill()
            else:
                _stop(member)
        for member in self._members:
            member.process.join(timeout=5.0)
            member.pipe.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _bundles(tasks: Iterator[Task]) -> Iterator[Bundle]:
    """Short tasks that follow one another, together; others alone."""
    bundle: Bundle = []
    for task in tasks:
        if bundle and (len(bundle) == BUNDLE_TASKS or sum(t.cost_s for t in (task, *bundle)) > BUNDLE_S):
            yield bundle
            bundle = []
        bundle.append(task)
    if bundle:
        yield bundle


def _take(first: deque[Bundle], then: Iterator[Bundle]) -> Bundle | None:
    return first.popleft() if first else next(then, None)


def _stop(member: _Member) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        member.pipe.send(None)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables while a child starts; they must be there before its libraries are loaded."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
