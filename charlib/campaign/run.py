"""Run: jobs to rows. What the store holds is not run again; what finishes is written at once, by one writer.

The longest jobs start first, so that no core waits at the end. A failed job is a row too, with its deck, its
log and its reason; a later campaign leaves it alone unless told to retry, since the same deck on the same
engine fails in the same way. What an accident ended (a killed worker, a temporary folder that went) is no row and no
claim: the same command runs it again. Campaigns on one database at the same time share the work: each begins
elsewhere and takes what another has finished meanwhile.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from charlib.benches.base import Bench
from charlib.campaign.plan import Job, deck_of, revision, run_id
from charlib.campaign.pool import EngineFactory, Pool
from charlib.campaign.store import FAILED, OK, RunRow, Store
from charlib.campaign.task import Result, Task, loosened, stands
from charlib.errors import BadInput, Stopped
from charlib.pdk import Pdk

if TYPE_CHECKING:
    from charlib.campaign.cluster import ClusterPool

#: a run that takes longer is given up: 20 times the longest bench run of the presets
TIMEOUT_S = 1200.0
#: a worker is replaced after so many runs, so that memory which the simulator does not give back stays small
RECYCLE_AFTER = 1000
#: its multiples fall far from one another between 0 and 1
GOLDEN = 0.618033988749895
#: more processes than any one machine runs; a larger number is a slip of the hand
MOST_WORKERS = 4096
#: on_result(done runs, runs to do, expected solver seconds done, expected solver seconds in all)
OnResult = Callable[[int, int, float, float], None]


@dataclass(frozen=True)
class Planned:
    """A job with its key and its expected solver time."""

    id: str
    job: Job
    cost_s: float


@dataclass(frozen=True)
class Summary:
    """What a campaign did. Counts are runs; the times are seconds."""

    ids: Mapping[Job, str]
    total: int
    reused: int
    ran: int
    retried: int  #: finished only with looser options
    failures: tuple[tuple[Job, str, str], ...]  #: (job, run id, reason), old ones included
    accidents: tuple[tuple[Job, str, str], ...]  #: the same of runs that an accident ended; they are not stored
    wall_s: float
    solver_s: float
    rss_b: tuple[tuple[int, int], ...]  #: (runs finished, resident memory of a worker) now and then

    def headline(self) -> str:
        """One line for people."""
        text = f"{self.total} runs: {self.ran} simulated, {self.reused} reused, {len(self.failures)} failed"
        if self.accidents:
            text += f", {len(self.accidents)} ended by accident"
        if self.retried:
            text += f", {self.retried} with looser options"
        return f"{text}; {self.wall_s:.1f} s, solver {self.solver_s:.1f} s"


def plan_runs(jobs: Sequence[Job], pdk: Pdk, benches: Mapping[str, Bench], engine_version: str) -> list[Planned]:
    """Key and expected time of every job: the longest first, among equals neighbours that share a circuit."""
    planned = []
    for job in jobs:
        bench = benches[job.kind]
        deck = deck_of(bench, pdk, job.point)
        key = run_id(bench, job, deck, pdk.card_hashes(job.point.corner), engine_version)
        planned.append(Planned(key, job, float(bench.estimated_cost_s(job.point))))
    return sorted(planned, key=lambda p: (-p.cost_s, p.job.kind, p.job.point.corner, p.job.point.temp_c,
                                          _structure(p.job.point.coordinates())))


def _structure(coordinates: Mapping[str, Any]) -> str:
    skip = ("corner", "temp_c", "vdd_v")
    return ",".join(f"{name}={value}" for name, value in coordinates.items() if name not in skip)


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_workers(workers: int) -> int:
    """The number itself; BadInput unless it is at least 1."""
    if workers < 1:
        raise BadInput(f"jobs: at least 1 worker is needed, got {workers}")
    if workers > MOST_WORKERS:
        raise BadInput(f"jobs: at most {MOST_WORKERS} workers are possible, got {workers}")
    return workers


def run_campaign(
    jobs: Sequence[Job], store: Store, pdk: Pdk, benches: Mapping[str, Bench], make_engine: EngineFactory, *,
    workers: int | None = None, retry_failed: bool = False, on_result: OnResult | None = None,
    timeout_s: float = TIMEOUT_S, recycle_after: int = RECYCLE_AFTER, scheduler: str | None = None,
    on_plan: Callable[[Sequence[Planned]], None] | None = None, say: Callable[[str], None] | None = None,
) -> Summary:
    """Run the jobs that the store does not hold and write each result as it finishes.

    make_engine: a picklable callable (such as the class LiveEngine) that each worker process calls once.
    scheduler: address of a Dask scheduler whose workers simulate, instead of `workers` processes here.
    on_plan: told what is planned, before anything runs. say: told what a person should know besides.
    Returns a Summary that names every failed point. Raises BadInput before anything runs where a job
    cannot make its deck, HimcError where the engine cannot start.
    """
    begin = time.perf_counter()
    workers = check_workers(default_workers() if workers is None else workers)
    engine_version = make_engine().version
    planned = plan_runs(jobs, pdk, benches, engine_version)
    if on_plan is not None:
        on_plan(planned)
    tell = say or (lambda text: None)
    if retry_failed and (dropped := store.drop_damaged(p.id for p in planned)):
        tell(f"{dropped} runs of {store.path} were edited or damaged; they are simulated again")
    kept = settled(store, [p.id for p in planned], retry_failed=retry_failed, timeout_s=timeout_s)
    if unsigned := store.unsigned(kept):
        tell(f"{unsigned} runs of {store.path} are of an earlier version and carry no checksum; they are taken as "
             "they are")
    todo = [p for p in planned if p.id not in kept]
    writer = _Writer(store, pdk, benches, engine_version, {p.id: p for p in todo}, on_result)
    if todo:
        with _said_when_stopped(store, writer), store.at_work() as others:
            if others:
                tell(f"other campaigns at work in {store.path}: {others}; what one finishes, none repeats")
            some = min(workers, len(todo))
            with _pool(benches, pdk, make_engine, some, scheduler, timeout_s, recycle_after) as pool:
                for result in pool.results(writer.tasks(_from(others, todo))):
                    writer.write(result)
            store.confirm(p.id for p in todo if p.id not in writer.accidents)
    return writer.summary(planned, time.perf_counter() - begin)


@contextmanager
def _said_when_stopped(store: Store, writer: _Writer) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{store.count()} runs are kept in {store.path}, {writer.ran} of them new"
        raise Stopped(f"stopped by the user: {kept}; the same command goes on with the rest") from None


def _pool(benches: Mapping[str, Bench], pdk: Pdk, make_engine: EngineFactory, workers: int, scheduler: str | None,
          timeout_s: float, recycle_after: int) -> Pool | ClusterPool:
    if scheduler is None:
        return Pool(benches, pdk, make_engine, workers, timeout_s=timeout_s, recycle_after=recycle_after)
    from charlib.campaign.cluster import ClusterPool  # an optional dependency, slow to import

    return ClusterPool(benches, pdk, make_engine, scheduler, timeout_s=timeout_s)


def settled(store: Store, ids: Sequence[str], *, retry_failed: bool, timeout_s: float = TIMEOUT_S) -> set[str]:
    """Those of `ids` that the store holds and that are not to be run again."""
    present = store.status(ids)
    failed = [run for run, status in present.items() if status == FAILED]
    again = set(failed) if retry_failed else {
        run for run, reason in store.reasons(failed).items() if not stands(reason, timeout_s)}
    return present.keys() - again


def _from(others: int, todo: Sequence[Planned]) -> Sequence[Planned]:
    """The same runs in another order for each number of other campaigns at work in the store: two go towards each
    other, further ones begin elsewhere."""
    if others == 1:
        return todo[::-1]
    start = int(len(todo) * (others * GOLDEN % 1.0))
    return [*todo[start:], *todo[:start]]


def _failures(planned: Sequence[Planned], store: Store) -> tuple[tuple[Job, str, str], ...]:
    failed = {key for key, status in store.status(p.id for p in planned).items() if status == FAILED}
    rows = store.rows(failed)
    return tuple((p.job, p.id, rows[p.id].reason) for p in planned if p.id in failed)


class _Writer:
    """The one place where results become rows. """

    def __init__(self, store: Store, pdk: Pdk, benches: Mapping[str, Bench], engine_version: str,
                 planned: Mapping[str, Planned], on_result: OnResult | None) -> None:
        self._store, self._pdk, self._benches = store, pdk, benches
        self._engine_version, self._on_result = engine_version, on_result
        self._planned = planned
        self._revision = revision()
        self._in_flight: dict[str, Task] = {}
        self._cost_s, self._cost_done_s = sum(p.cost_s for p in planned.values()), 0.0
        self._before = store.status(planned)
        self.done, self.ran, self.retried, self.solver_s = 0, 0, 0, 0.0
        self.accidents: dict[str, str] = {}  #: run id -> what happened to it
        self.rss_b: list[tuple[int, int]] = []

    def tasks(self, todo: Sequence[Planned]) -> Iterator[Task]:
        """Decks are made again when a result is written, so that a long campaign does not hold them all."""
        for p in todo:
            if self._was_done_elsewhere(p):
                self._count(p.cost_s)
                continue
            self._in_flight[p.id] = task = Task(p.id, p.job, p.cost_s)
            yield task

    def _was_done_elsewhere(self, planned: Planned) -> bool:
        """Whether another campaign has made the run since this one began."""
        now = self._store.status([planned.id]).get(planned.id)
        return now is not None and (now == OK or planned.id not in self._before)

    def write(self, result: Result) -> None:
        task = self._in_flight.pop(result.id)
        self.ran += 1
        if result.accident:
            self.accidents[result.id] = result.reason
        else:
            self._put(task, result)
        self.retried += bool(result.looser) and not result.reason
        self.solver_s += result.solver_s
        self._count(task.cost_s)
        if result.rss_b:
            self.rss_b.append((self.done, result.rss_b))

    def _put(self, task: Task, result: Result) -> None:
        point = task.job.point
        deck = deck_of(self._benches[task.job.kind], self._pdk, point)
        if result.looser:
            deck = loosened(deck, result.looser)
        reason = result.reason
        if result.first_reason and reason and result.first_reason != reason:
            reason = f"{reason} (first: {result.first_reason})"
        self._store.put(RunRow(
            id=result.id, kind=task.job.kind, point=point.coordinates(), pdk=self._pdk.name, corner=point.corner,
            temp_c=point.temp_c, vdd_v=point.vdd_v, deck="" if self._pdk.confidential else deck.text(),
            deck_sha256=deck.sha256(),
            measures=result.measures, steps=result.steps, solver_s=result.solver_s, engine=self._engine_version,
            cards=self._pdk.card_hashes(point.corner), revision=self._revision, status=FAILED if reason else OK,
            reason=reason, log_tail=result.log_tail, looser=result.looser,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ))

    def _count(self, cost_s: float) -> None:
        self.done += 1
        self._cost_done_s += cost_s
        if self._on_result:
            self._on_result(self.done, len(self._planned), self._cost_done_s, self._cost_s)

    def summary(self, planned: Sequence[Planned], wall_s: float) -> Summary:
        return Summary(
            ids={p.job: p.id for p in planned}, total=len(planned), reused=len(planned) - self.ran, ran=self.ran,
            retried=self.retried,
            failures=_failures([p for p in planned if p.id not in self.accidents], self._store),
            accidents=tuple((p.job, p.id, self.accidents[p.id]) for p in planned if p.id in self.accidents),
            wall_s=wall_s, solver_s=self.solver_s, rss_b=tuple(self.rss_b),
        )
