"""What a campaign would cost: runs that are stored, runs to do, and their time, learnt from past runs of the bench.

A bench's own estimate says how its runs compare with one another; past runs of its kind say what they take. Without
a past run the time is not known, and no guess stands in for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charlib.benches.base import Bench, make_point
from charlib.campaign.run import Planned
from charlib.campaign.store import FAILED, Store
from charlib.errors import BadInput


@dataclass(frozen=True)
class Forecast:
    """One kind of bench in a campaign. Counts are runs."""

    kind: str
    runs: int
    stored: int  #: in the database, and not to be run again
    past: int  #: finished runs of this kind, at any point, that the time rests on
    solver_s: float | None  #: expected solver time of the runs to do; None without a past run
    longest_s: float | None  #: of the longest of them

    @property
    def todo(self) -> int:
        return self.runs - self.stored


def forecast(planned: Sequence[Planned], store: Store | None, benches: Mapping[str, Bench], *,
             retry_failed: bool = False) -> list[Forecast]:
    """A :class:`Forecast` for each kind, in the order in which the benches are listed."""
    present = store.status(p.id for p in planned) if store else {}
    done = {key for key, status in present.items() if not (retry_failed and status == FAILED)}
    rates = _rates(store, benches) if store else {}
    found = []
    for kind in (kind for kind in benches if any(p.job.kind == kind for p in planned)):
        own = [p for p in planned if p.job.kind == kind]
        costs = [p.cost_s for p in own if p.id not in done]
        past, rate = rates.get(kind, (0, None))
        found.append(Forecast(kind, len(own), len(own) - len(costs), past,
                              None if rate is None else rate * sum(costs),
                              None if rate is None else rate * max(costs, default=0.0)))
    return found


def wall_s(forecasts: Sequence[Forecast], workers: int) -> float | None:
    """Expected wall time: solver time shared by the workers, at least the longest run. None where it is not known."""
    todo = [f for f in forecasts if f.todo]
    known = [(f.solver_s, f.longest_s) for f in todo if f.solver_s is not None and f.longest_s is not None]
    if len(known) < len(todo):
        return None
    shared_s = sum(solver_s for solver_s, _ in known) / workers
    return max([shared_s, *(longest_s for _, longest_s in known)])


def _rates(store: Store, benches: Mapping[str, Bench]) -> dict[str, tuple[int, float]]:
    """Kind -> (past runs, solver seconds for a second that the bench estimates)."""
    counts: defaultdict[str, int] = defaultdict(int)
    taken_s: defaultdict[str, float] = defaultdict(float)
    estimated_s: defaultdict[str, float] = defaultdict(float)
    for kind, coordinates, solver_s in store.solver_times():
        bench = benches.get(kind)
        if bench is None:
            continue
        try:
            cost_s = float(bench.estimated_cost_s(make_point(bench.point_type, coordinates)))
        except BadInput:  # a point of an older version, with other fields
            continue
        counts[kind] += 1
        taken_s[kind] += solver_s
        estimated_s[kind] += cost_s
    return {kind: (counts[kind], taken_s[kind] / estimated_s[kind]) for kind in counts if estimated_s[kind] > 0}
