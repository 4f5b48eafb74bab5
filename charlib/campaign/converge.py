"""Convergence: is a bench's time step fine enough, and are its tolerances? Measured per bench kind, on one kit.

Each kind's cheapest point is run as it is, at a tenth of its time step, at a tenth of gmin, and at a tenth of
abstol, chgtol
and reltol. What counts are the headline measures: energies, delays, leakages, margins. Where the step misses by more
than 1 %, it is halved until it does not; the factor is kept with the kit and applies to every deck of that kind (see
:func:`charlib.campaign.plan.deck_of`). The result is a JSON file that ships for the kits of the catalogue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from charlib.benches.base import Bench
from charlib.campaign.plan import finer
from charlib.errors import SimulationFailed
from charlib.paths import cache_dir
from charlib.pdk import Pdk
from charlib.pdk.install import MOST_FINER
from charlib.spice import Deck, Engine

#: largest relative change that counts as converged
LIMIT = 0.01
#: how much finer the reference is
TENTH = 10
#: a measure below this share of the largest of its unit is compared with that share
FLOOR = 0.05
SUFFIXES = ("_j", "_s", "_w", "_v", "_f")
VARIANTS: Mapping[str, tuple[str, ...]] = {"gmin": ("gmin",), "tolerances": ("abstol", "chgtol", "reltol")}
#: kinds that are not checked: their runs are those of another bench with other devices
SKIPPED = frozenset({"bitcell_mismatch", "compartment_mismatch"})


@dataclass(frozen=True)
class Convergence:
    """One kind's result. worst: variant -> (measure, relative change); None where the simulator gave up.

    factor: how many times finer the step is.
    """

    kind: str
    point: Mapping[str, Any]
    factor: int
    worst: Mapping[str, tuple[str, float | None]]
    converged: bool


def headline(bench: Bench, measures: Mapping[str, float]) -> dict[str, float]:
    """The measures that become table values: the bench's own choice, else those that end in a unit."""
    own: Callable[[Mapping[str, float]], dict[str, float]] | None = getattr(bench, "headline", None)
    if own is not None:
        return own(measures)
    return {name: value for name, value in measures.items() if name.endswith(SUFFIXES)}


def largest_change(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[str, float]:
    """(measure, relative change) of the measure that changes most, small ones against a floor of their unit."""
    worst = ("", 0.0)
    for name, value in other.items():
        unit = name.rpartition("_")[2]
        floor = FLOOR * max(abs(v) for n, v in other.items() if n.rpartition("_")[2] == unit)
        change = abs(one[name] - value) / max(abs(value), floor, 1e-30)
        worst = max(worst, (name, change), key=lambda pair: pair[1])
    return worst


def check_kind(bench: Bench, pdk: Pdk, engine: Engine, vdd_v: float) -> Convergence | None:
    """Convergence of one bench kind at tt, 25 °C and `vdd_v`; None for a kind without points in preset quick."""
    grid = [] if bench.kind in SKIPPED else list(bench.grid("quick")) or list(bench.grid("full"))
    if not grid:
        return None
    points = [bench.point_type(corner="tt", temp_c=25.0, vdd_v=vdd_v, **structure) for structure in grid]
    point = min(points, key=bench.estimated_cost_s)
    deck = bench.deck(pdk, point)

    def measured(altered: Deck) -> dict[str, float]:
        return headline(bench, bench.measure(pdk, point, engine.run(altered)))

    factor, step = 1, ("", 0.0)
    if not getattr(bench, "stepless", False):
        reference = measured(finer(deck, TENTH))
        step = largest_change(measured(deck), reference)
    while step[1] > LIMIT and factor < MOST_FINER:
        factor *= 2
        step = largest_change(measured(finer(deck, factor)), reference)
    worst: dict[str, tuple[str, float | None]] = {"step": step}
    base = finer(deck, factor)
    own = measured(base)
    for variant, names in VARIANTS.items():
        tighter = {name: f"{float(base.options[name]) / TENTH:g}" for name in names if name in base.options}
        try:
            worst[variant] = largest_change(own, measured(replace(base, options={**base.options, **tighter})))
        except SimulationFailed as error:  # so tight that the solver gives up: said, not hidden
            worst[variant] = (f"no result: {error.reason[:80]}", None)
    return Convergence(bench.kind, point.coordinates(), factor, worst,
                       all(change is not None and change <= LIMIT for _, change in worst.values()))


def kept_path(pdk: str) -> Path:
    """Where `himc pdk check --convergence` keeps a result for this user."""
    return cache_dir() / "convergence" / f"{pdk}.json"


def save(path: Path, pdk: Pdk, engine_version: str, results: list[Convergence]) -> None:
    """Write a kit's results, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"pdk": pdk.name, "pdk_sha256": pdk.sha256, "engine": engine_version, "limit": LIMIT,
            "kinds": {result.kind: asdict(result) for result in results}}
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
