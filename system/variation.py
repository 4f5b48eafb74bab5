"""Device-to-device mismatch: it averages out of energy and sets the clock by its tail.

All compartments of a chip must meet one clock, so the cycle is the quantile of the slowest of N: with a normal cycle
of mean μ and deviation σ (relative to the circuit without mismatch), the chip's yield Y asks each for Y^(1/N), so
factor = μ + σ·Φ⁻¹(Y^(1/N)). The interval comes from σ's own. A step's energy is a sum over N compartments: σ_E/√N; an
array's leakage is the mean over them.
The spreads are relative and carried from the operating point where they were simulated to any other, which is said.
Where the tables hold no Monte Carlo, nothing is known of it: the clock is then that of a chip without mismatch, the
tail says so (`known`), and its time stands in no range beside times that hold mismatch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from system.assumptions import constant
from system.readings import Reader

TABLE = "compartment_mismatch"


@dataclass(frozen=True)
class Tail:
    """compartments: N. factor: the chip's cycle over the nominal one, with its 95 % interval. energy_sigma: relative
    standard deviation of the summed energy. leakage: mean over the nominal one. run_ids, at: of the Monte Carlo, and
    where it was simulated. known: whether there is one; without it the factor is 1, which is said wherever the clock
    is."""

    compartments: int
    sigmas: float
    factor: float
    low: float
    high: float
    energy_sigma: float
    leakage: float = 1.0
    run_ids: tuple[str, ...] = ()
    known: bool = True
    at: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """Statistics of a compartment's cycle, energy and leakage relative to those without mismatch."""

    mean: float
    sigma: float
    sigma_low: float
    sigma_high: float
    energy_sigma: float
    leakage: float
    run_ids: tuple[str, ...]
    at: Mapping[str, float | str]


def samples(reader: Reader) -> Samples | None:
    """What the tables hold of them, None if nothing. Relative spreads are taken at the table's operating point that
    lies nearest to the reader's supply [inferred: they carry over]."""
    if not reader.has(TABLE):
        return None
    table, _ = reader.table(TABLE)
    at = {axis.name: axis.points[0] for axis in table.axes if axis.name not in ("metric", "statistic")}
    at["vdd_v"] = min((float(v) for v in table.axis("vdd_v").points), key=lambda v: abs(v - reader.point.vdd_v))

    def value(metric: str, statistic: str) -> float:
        return reader.read(TABLE, **at, metric=metric, statistic=statistic).value

    return Samples(value("cycle_s", "mean"), value("cycle_s", "sigma"), value("cycle_s", "sigma_low"),
                   value("cycle_s", "sigma_high"), value("energy_j", "sigma"), value("leakage_w", "mean"),
                   reader.read(TABLE, **at, metric="cycle_s", statistic="sigma").run_ids, at)


def sigmas(compartments: int) -> float:
    """Standard deviations that the slowest of so many is allowed: Φ⁻¹(Y^(1/N)), from its small difference to 1."""
    return -NormalDist().inv_cdf(-math.expm1(math.log(constant("clock_yield").value) / compartments))


def tail(reader: Reader, compartments: int) -> Tail:
    """Of a chip with so many compartments."""
    s = samples(reader)
    if s is None:
        return Tail(compartments, 0.0, 1.0, 1.0, 1.0, 0.0, known=False)
    z = sigmas(compartments)
    return Tail(compartments, z, s.mean + z * s.sigma, s.mean + z * s.sigma_low, s.mean + z * s.sigma_high,
                s.energy_sigma / compartments**0.5, s.leakage, s.run_ids, at=s.at)
