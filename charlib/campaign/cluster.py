"""Workers on other machines, through a Dask scheduler: the same tasks, the same results, one writer here.

Each Dask worker keeps one engine between tasks, as a local worker does. A worker that is lost costs a retry: Dask
gives its tasks to another one; a task that has lost more than three workers is a failed result. Start workers with a
nanny (`dask worker --nanny`, the default), so that a crashed one comes back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from charlib.benches.base import Bench
from charlib.campaign.pool import ONE_THREAD, EngineFactory
from charlib.campaign.task import Result, Task, run_task
from charlib.errors import BadInput, HimcError
from charlib.pdk import Pdk

#: seconds that the scheduler has to answer
ANSWER_S = 10.0
#: tasks in flight for each worker
IN_FLIGHT = 4
#: workers that a task may lose
RETRIES = 3

_engines: dict[int, Any] = {}
_lock = threading.Lock()  # ngspice is not re-entrant, whatever number of threads the worker was given


def _simulate(task: Task, bench: Bench, pdk: Pdk, make_engine: EngineFactory) -> Result:
    """Run one task in a Dask worker, on the engine that this process keeps."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    with _lock:
        try:
            key = hash(make_engine)
            if key not in _engines:
                _engines[key] = make_engine()
            return run_task(task, bench, pdk, _engines[key])
        except HimcError as error:
            return Result(task.id, reason=f"worker: {error}")


class ClusterPool:
    """Runs tasks on the workers of a Dask scheduler; used like :class:`charlib.campaign.pool.Pool`."""

    def __init__(self, benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory, scheduler: str, *,
                 timeout_s: float) -> None:
        try:
            import distributed
        except ImportError as error:
            raise BadInput("scheduler: Dask is not installed; run pip install 'hadamard-imc[cluster]'") from error
        try:
            connect: Any = distributed.Client
            self._client = connect(scheduler, timeout=ANSWER_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise BadInput(f"scheduler: '{scheduler}' does not answer within {ANSWER_S:g} s "
                           f"({type(error).__name__}); start one with 'dask scheduler'") from error
        self._benches, self._make_engine, self._timeout_s = dict(benches), make_engine, timeout_s
        self._pdk = self._client.scatter(pdk, broadcast=False, hash=False)

    def results(self, tasks: Iterator[Task]) -> Iterator[Result]:
        """Run all tasks; yield each result as it comes, in no fixed order."""
        from distributed import wait

        await_first: Any = wait
        running: dict[Any, tuple[Task, float]] = {}  # future -> (task, when it must be back)
        more = True
        while True:
            while more and len(running) < IN_FLIGHT * self._workers():
                task = next(tasks, None)
                if task is None:
                    more = False
                    break
                running[self._submit(task)] = (task, time.monotonic() + IN_FLIGHT * self._timeout_s)
            if not running:
                return
            patience_s = max(0.0, min(back for _, back in running.values()) - time.monotonic())
            try:
                with self._client.as_current():
                    done = await_first(list(running), timeout=patience_s, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
                yield from self._overdue(running)
            for future in done:
                task, _ = running.pop(future)
                yield future.result() if future.status == "finished" else Result(task.id, reason=_reason(future))

    def _workers(self) -> int:
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def _submit(self, task: Task) -> Any:
        return self._client.submit(_simulate, task, self._benches[task.job.kind], self._pdk, self._make_engine,
                                   key=f"himc-{id(self)}-{task.id}", retries=RETRIES, pure=False)

    def _overdue(self, running: dict[Any, tuple[Task, float]]) -> Iterator[Result]:
        """Give up on tasks that are past their time, and restart the workers that hold them."""
        late = [future for future, (_, back) in running.items() if back <= time.monotonic()]
        holding = [worker for worker, keys in self._client.processing().items()
                   if any(future.key in keys for future in late)]
        for future in late:
            task, _ = running.pop(future)
            future.cancel()
            allowed_s = IN_FLIGHT * self._timeout_s
            yield Result(task.id, reason=f"the simulation took more than {allowed_s:g} s on the cluster")
        if holding:
            self._client.restart_workers(holding, raise_for_error=False)

    def close(self) -> None:
        """Leave the scheduler; its workers go on."""
        self._client.close()

    def __enter__(self) -> ClusterPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _reason(future: Any) -> str:
    """One line for a task that came back without a result."""
    if future.status == "cancelled":
        return "the cluster cancelled the task"
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return f"the simulator's process died on {RETRIES + 1} workers of the cluster"
    return f"the cluster's worker failed: {type(error).__name__}: {error}"
