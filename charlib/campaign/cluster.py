"""Workers on other machines, through a Dask scheduler: the same tasks, the same results, one writer here.

Tasks travel by the bundle, as to local workers. Dask gives the bundle of a lost worker to another one. A bundle that
was there when more workers were lost than the scheduler allows (its `allowed-failures`, 3) may be blameless, since
others waited on those workers too: its tasks run again at the end, each alone on the cluster, and one that ends its
workers then is a failed result, where any run has shown that the cluster works; else it is an accident. What is wrong
with the cluster itself, such as a worker with another ngspice or a scheduler that is gone, ends the campaign and is
no row. Start workers with a nanny (`dask worker`'s default), so that a crashed one comes back.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from charlib.benches.base import Bench
from charlib.campaign.cluster_worker import setup_of, simulate
from charlib.campaign.pool import MAX_SILENT_DEATHS, Bundle, EngineFactory, _bundles
from charlib.campaign.task import Result, Task
from charlib.errors import BadInput, HimcError
from charlib.pdk import Pdk

#: seconds that the scheduler has to answer
ANSWER_S = 10.0
#: seconds that a cluster may be without any worker
NO_WORKER_S = 60.0
#: bundles in flight for each worker
IN_FLIGHT = 4
#: times that a bundle may be dropped
MOST_DROPS = 3
#: seconds between looks at the cluster, and those that a finished result has to come over
_LOOK_S, _FETCH_S = 1.0, 60.0


class ClusterPool:
    """Runs tasks on the workers of a Dask scheduler; used like :class:`charlib.campaign.pool.Pool`."""

    def __init__(self, benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory, scheduler: str, *,
                 timeout_s: float) -> None:
        self._client = _connect(scheduler)
        self._scheduler, self._timeout_s = scheduler, timeout_s
        self._setup = setup_of(benches, pdk, make_engine)
        self._topic = f"himc-{uuid.uuid4().hex}"
        self._running: dict[Any, Bundle] = {}  # future -> its bundle
        self._again: deque[Bundle] = deque()
        self._suspects: deque[Task] = deque()  # tasks of bundles that lost too many workers
        self._inbox: SimpleQueue[Any] = SimpleQueue()  # finished futures, and ids of tasks that hang
        self._answered = False  # whether any result has come
        self._lost = 0
        self._drops: dict[str, int] = {}  # a bundle's first task -> how often the scheduler dropped it
        self._workers, self._looked, self._seen = 0, 0.0, time.monotonic()
        self._client.subscribe_topic(self._topic, lambda event: self._inbox.put(event[1]))

    def results(self, tasks: Iterator[Task]) -> Iterator[Result]:
        """Run all tasks; yield each result as it comes, in no fixed order.

        Raises HimcError where the cluster cannot do them: its scheduler or all its workers gone, or a worker whose
        package, kit or simulator is not the campaign's.
        """
        bundles = _bundles(tasks)
        while True:
            self._look()
            self._hand_out(bundles)
            if not self._running:
                return
            try:
                message = self._inbox.get(timeout=_LOOK_S)
            except Empty:
                continue
            yield from self._overdue(message) if isinstance(message, str) else self._finished(message)

    def _hand_out(self, bundles: Iterator[Bundle]) -> None:
        """Keep every worker busy; a suspect goes out when nothing else is left and nothing is running."""
        if self._suspects and [self._suspects[0]] in self._running.values():
            return
        while len(self._running) < IN_FLIGHT * max(1, self._workers):
            bundle = self._again.popleft() if self._again else next(bundles, None)
            if bundle is None:
                break
            self._submit(bundle)
        if self._suspects and not self._running:
            self._submit([self._suspects[0]])

    def _submit(self, bundle: Bundle) -> None:
        future = self._client.submit(simulate, self._setup, bundle, self._timeout_s, self._topic, pure=False)
        self._running[future] = bundle
        future.add_done_callback(self._inbox.put)

    def _finished(self, future: Any) -> Iterator[Result]:
        bundle = self._running.pop(future, None)
        if bundle is None:  # given up as overdue
            return
        if future.status in ("cancelled", "lost"):
            yield from self._dropped(bundle)
            return
        try:
            results = future.result(timeout=_FETCH_S)
        except TimeoutError:  # its worker went away with it
            self._again.append(bundle)
            return
        except Exception as error:
            if "Cancelled" in type(error).__name__:  # the scheduler went just now
                yield from self._dropped(bundle)
                return
            if type(error).__name__ != "KilledWorker":
                what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise HimcError(f"scheduler: a worker of '{self._scheduler}' cannot run the campaign ({what}); "
                                "install the same package there") from error
            yield from self._blame(bundle)
            return
        if isinstance(results, HimcError):
            raise results
        self._answered = True
        self._acquit(bundle)
        yield from results

    def _dropped(self, bundle: Bundle) -> Iterator[Result]:
        """A scheduler that is there drops a result with the last worker that held it: the bundle runs again, and is
        blamed when it has been dropped too often. HimcError where the scheduler is gone."""
        self._looked = 0.0
        self._look()
        first = bundle[0].id
        self._drops[first] = self._drops.get(first, 0) + 1
        if self._drops[first] > MOST_DROPS:
            yield from self._blame(bundle)
        else:
            self._again.append(bundle)

    def _blame(self, bundle: Bundle) -> Iterator[Result]:
        """A bundle has lost too many workers: a task that ran alone failed, others will run alone."""
        if not self._acquit(bundle):
            self._suspects.extend(bundle)
            return
        self._lost += 1
        yield Result(bundle[0].id, reason="the simulator's process died on every worker of the cluster that tried",
                     accident=not self._answered)
        if self._lost >= MAX_SILENT_DEATHS and not self._answered:
            raise HimcError(f"workers: {self._lost} runs ended them one after the other; run 'himc doctor' there")

    def _acquit(self, bundle: Bundle) -> bool:
        """Whether it was the suspect that ran alone, which is then none any more."""
        if self._suspects and bundle == [self._suspects[0]]:
            self._suspects.popleft()
            return True
        return False

    def _overdue(self, task_id: str) -> Iterator[Result]:
        """A task hangs, and its worker is ending itself: the rest of its bundle runs again."""
        future = next((f for f, bundle in self._running.items() if any(t.id == task_id for t in bundle)), None)
        if future is None:
            return
        bundle = self._running.pop(future)
        future.cancel()
        self._acquit(bundle)
        rest = [task for task in bundle if task.id != task_id]
        if rest:
            self._again.append(rest)
        yield Result(task_id, reason=f"the simulation took more than {self._timeout_s:g} s")

    def _look(self) -> None:
        """See now and then whether the scheduler and workers are there; HimcError where they are not."""
        if self._looked and time.monotonic() - self._looked < _LOOK_S:
            return
        try:
            if self._client.status != "running":
                raise self._gone()
            self._workers = len(self._client.nthreads())
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._gone() from error
        self._looked = time.monotonic()
        if self._workers:
            self._seen = self._looked
        elif self._looked - self._seen > NO_WORKER_S:
            raise HimcError(f"scheduler: '{self._scheduler}' has had no worker for {NO_WORKER_S:g} s; finished runs "
                            f"are kept, start workers with 'dask worker {self._scheduler}' and run again")

    def _gone(self) -> HimcError:
        return HimcError(f"scheduler: '{self._scheduler}' has ended or dropped the campaign; finished runs are kept, "
                         "start it and run again")

    def close(self) -> None:
        """Leave the scheduler, which drops what has not run; its workers go on."""
        for future in self._running:
            future.release()
        self._client.close()

    def __enter__(self) -> ClusterPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _connect(scheduler: str) -> Any:
    """A client of the scheduler; BadInput where Dask is missing or nothing answers."""
    try:
        import distributed
    except ImportError as error:
        raise BadInput("scheduler: Dask is not installed; run 'pip install \"hadamard-imc[cluster]\"'") from error
    connect: Any = distributed.Client
    try:
        return connect(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"scheduler: '{scheduler}' does not answer within {ANSWER_S:g} s "
                       f"({type(error).__name__}); start one with 'dask scheduler'") from error
