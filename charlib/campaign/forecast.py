"""What a campaign would cost: runs that are stored, runs to do, and their time, learnt from past runs of the bench.

Past runs of equal estimate say what a run takes; where there is none, all past runs of its kind do, scaled by the
bench's estimates. Without a past run the time is not known, and no guess stands in for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean as mean

from charlib.benches.base import Bench, make_point
from charlib.campaign.run import Planned, settled
from charlib.campaign.store import Store
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


@dataclass
class _Past:
    """Finished runs of a kind: estimate of the bench in seconds -> solver times of the runs that have it."""

    times_s: defaultdict[float, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def count(self) -> int:
        return sum(map(len, self.times_s.values()))

    def expected_s(self, cost_s: float) -> float:
        """The mean of runs of equal estimate; without one, of all runs, scaled by the estimates."""
        if cost_s in self.times_s:
            return mean(self.times_s[cost_s])
        estimated_s = sum(cost_s * len(times) for cost_s, times in self.times_s.items())
        return cost_s * sum(map(sum, self.times_s.values())) / estimated_s


def forecast(planned: Sequence[Planned], store: Store | None, benches: Mapping[str, Bench], *,
             retry_failed: bool = False) -> list[Forecast]:
    """A :class:`Forecast` for each kind, in the order in which the benches are listed."""
    done = settled(store, [p.id for p in planned], retry_failed=retry_failed) if store else set()
    past = _past(store, benches) if store else {}
    found = []
    for kind in (kind for kind in benches if any(p.job.kind == kind for p in planned)):
        own = [p for p in planned if p.job.kind == kind]
        costs = [p.cost_s for p in own if p.id not in done]
        known = past.get(kind)
        times_s = {cost_s: known.expected_s(cost_s) for cost_s in set(costs)} if known else {}
        found.append(Forecast(kind, len(own), len(own) - len(costs), known.count if known else 0,
                              sum(times_s[cost_s] for cost_s in costs) if known else None,
                              max(times_s.values(), default=0.0) if known else None))
    return found


def wall_s(forecasts: Sequence[Forecast], workers: int) -> float | None:
    """Expected wall time: solver time shared by the workers, at least the longest run. None where it is not known."""
    todo = [f for f in forecasts if f.todo]
    known = [(f.solver_s, f.longest_s) for f in todo if f.solver_s is not None and f.longest_s is not None]
    if len(known) < len(todo):
        return None
    shared_s = sum(solver_s for solver_s, _ in known) / workers
    return max([shared_s, *(longest_s for _, longest_s in known)])


def forecast_sentence(found: Sequence[Forecast], path: Path, workers: int) -> str:
    """Runs, those that are stored, and the time of the others where past runs tell it."""
    runs, todo = sum(one.runs for one in found), sum(one.todo for one in found)
    text = f"{runs} runs, {runs - todo} of them in {path}; {todo} to simulate"
    if not todo:
        return text
    expected_s = wall_s(found, workers)
    if expected_s is None:
        missing = [one.kind for one in found if one.todo and one.solver_s is None]
        every = len(missing) == len(found)
        return f"{text}, time not known yet (no past runs{'' if every else ' of ' + ', '.join(missing)})"
    past = sum(one.past for one in found if one.todo)
    return f"{text}, about {spoken_time(expected_s)} on {workers} workers (from {past} past runs)"


def spoken_time(seconds: float) -> str:
    """As people say it: 0.02 s, 34 s, 12 min, 3.4 h."""
    for unit_s, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.2g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def announcement(store: Store, benches: Mapping[str, Bench], workers: int, say: Callable[[str], None], *,
                 retry_failed: bool = False) -> Callable[[Sequence[Planned]], None]:
    """To be told a campaign's plan: says what is about to run and that it may be stopped, unless all is stored."""
    def tell(planned: Sequence[Planned]) -> None:
        found = forecast(planned, store, benches, retry_failed=retry_failed)
        if any(one.todo for one in found):
            say(f"{forecast_sentence(found, store.path, workers)}; stop it when you like, the same command goes on")

    return tell


def _past(store: Store, benches: Mapping[str, Bench]) -> dict[str, _Past]:
    """Kind -> its finished runs, whatever their kit, corner, temperature and supply."""
    found: defaultdict[str, _Past] = defaultdict(_Past)
    for kind, coordinates, solver_s in store.solver_times():
        bench = benches.get(kind)
        if bench is None:
            continue
        try:
            cost_s = float(bench.estimated_cost_s(make_point(bench.point_type, coordinates)))
        except (BadInput, TypeError, ValueError, LookupError, ArithmeticError, AttributeError):
            # a point of an older version, with other fields, or of a damaged row
            continue
        if cost_s > 0:
            found[kind].times_s[cost_s].append(solver_s)
    return dict(found)
