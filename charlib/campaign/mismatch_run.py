"""Failure rates at a campaign's operating points: importance sampling through the store, folded into one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from charlib.benches.base import PVT_UNITS
from charlib.benches.bitcell_mismatch import BENCH, CONVENTIONS, METRICS, MismatchPoint
from charlib.campaign.failure import BATCH, FailureRate, failure_rate
from charlib.campaign.plan import Job
from charlib.campaign.pool import EngineFactory
from charlib.campaign.run import run_campaign
from charlib.campaign.store import OK, Store
from charlib.errors import HimcError
from charlib.pdk import Pdk
from charlib.table import Origin, Table

RATE_CONVENTIONS = {
    **CONVENTIONS,
    "failure": "a negative margin; importance sampling, one mean a failure region and a defensive tenth",
    "interval": "95 %, log-normal; effective: effective sample size of the failing samples",
    "distance": "of the nearest failure region's most probable deviation from the origin, in sigmas",
}
#: called with a line about what is being estimated
Say = Callable[[str], None]


@dataclass(frozen=True)
class Rate:
    """A metric's failure rate at an operating point; rate None where it is out of reach, with the reason."""

    point: MismatchPoint
    rate: FailureRate | None
    reason: str
    run_ids: tuple[str, ...]


def estimate_rates(store: Store, pdk: Pdk, operating: Sequence[tuple[str, float, float]],
                   make_engine: EngineFactory, *, seed: int, workers: int, metrics: Sequence[str] = METRICS,
                   say: Say | None = None) -> list[Rate]:
    """One :class:`Rate` for every metric at every (corner, temperature, supply)."""
    rates = []
    for corner, temp_c, vdd_v in operating:
        for metric in metrics:
            point = MismatchPoint(corner, temp_c, vdd_v, metric, seed, 0)
            if say:
                say(f"{metric} failures at {corner}, {temp_c:g} °C, {vdd_v:g} V")
            runner = _Runner(store, pdk, make_engine, workers)
            try:
                rate, reason = failure_rate(point, BENCH.size(pdk, corner), runner), ""
            except HimcError as error:
                rate, reason = None, str(error)
            rates.append(Rate(point, rate, reason, tuple(runner.ids[-BATCH:])))
    return rates


class _Runner:
    """Runs points through the campaign and hands back their measures, in order."""

    def __init__(self, store: Store, pdk: Pdk, make_engine: EngineFactory, workers: int) -> None:
        self._store, self._pdk, self._make_engine, self._workers = store, pdk, make_engine, workers
        self.ids: list[str] = []

    def __call__(self, points: Sequence[MismatchPoint]) -> Sequence[Mapping[str, float]]:
        jobs = [Job(BENCH.kind, point) for point in points]
        summary = run_campaign(jobs, self._store, self._pdk, {BENCH.kind: BENCH}, self._make_engine,
                               workers=self._workers)
        rows = self._store.rows(summary.ids.values())
        if summary.accidents:
            _, run, reason = summary.accidents[0]
            raise HimcError(f"mismatch: run {run} was ended by an accident, so the rate is not known: {reason}; give "
                            "the same command again")
        found = [rows[summary.ids[job]] for job in jobs]
        bad = next((row for row in found if row.status != OK), None)
        if bad is not None:
            raise HimcError(f"mismatch: run {bad.id} failed, so the rate is not known: {bad.reason}")
        self.ids += [row.id for row in found]
        return [row.measures for row in found]


def rates_table(rates: Sequence[Rate], origin: Origin) -> Table | None:
    """The rates as a table; None where none is within reach."""
    records = []
    for found in rates:
        if found.rate is None:
            continue
        base = {name: getattr(found.point, name) for name in (*PVT_UNITS, "metric")}
        base["run"] = ",".join(found.run_ids)
        values = {"estimate": found.rate.estimate, "low": found.rate.low, "high": found.rate.high,
                  "effective": found.rate.effective, "samples": float(found.rate.samples),
                  "distance": min(found.rate.distances)}
        records += [{**base, "statistic": name, "value": value} for name, value in values.items()]
    if not records:
        return None
    axes = {**PVT_UNITS, "metric": "", "statistic": ""}
    return Table.from_records("bitcell_failure_rate", "1", axes, records, origin, RATE_CONVENTIONS)
