"""Device-to-device mismatch: it averages out of energy and sets the clock by its tail (method rule 14).

All compartments of a chip must meet one clock, so the cycle is the quantile of the slowest of N: with a normal cycle
of mean μ and deviation σ (relative to the circuit without mismatch), the chip's yield Y asks each for Y^(1/N), so
factor = μ + σ·Φ⁻¹(Y^(1/N)). The interval comes from σ's own. A step's energy is a sum over N compartments: σ_E/√N; an
array's leakage is the mean over them.
Where the tables hold no Monte Carlo, nothing is known and the factor is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from system.assumptions import constant
from system.readings import Reader

TABLE = "compartment_mismatch"


@dataclass(frozen=True)
class Tail:
    """compartments: N. factor: the chip's cycle over the nominal one, with its 95 % interval. energy_sigma: relative
    standard deviation of the summed energy. leakage: mean over the nominal one. run_ids: of the Monte Carlo."""

    compartments: int
    sigmas: float
    factor: float
    low: float
    high: float
    energy_sigma: float
    leakage: float = 1.0
    run_ids: tuple[str, ...] = ()


def tail(reader: Reader, compartments: int) -> Tail:
    """Of a chip with so many compartments. The samples' relative spread is taken at the table's operating point that
    lies nearest to the reader's supply [inferred: a relative spread carries over]."""
    if not reader.has(TABLE):
        return Tail(compartments, 0.0, 1.0, 1.0, 1.0, 0.0)
    table, _ = reader.table(TABLE)
    at = {axis.name: axis.points[0] for axis in table.axes if axis.name not in ("metric", "statistic")}
    at["vdd_v"] = min((float(v) for v in table.axis("vdd_v").points), key=lambda v: abs(v - reader.point.vdd_v))

    def value(metric: str, statistic: str) -> float:
        return reader.read(TABLE, **at, metric=metric, statistic=statistic).value

    sigmas = -NormalDist().inv_cdf(-_log_share(constant("clock_yield").value, compartments))
    mean = value("cycle_s", "mean")
    factor, low, high = (mean + sigmas * value("cycle_s", name) for name in ("sigma", "sigma_low", "sigma_high"))
    return Tail(compartments, sigmas, factor, low, high, value("energy_j", "sigma") / compartments**0.5,
                value("leakage_w", "mean"), reader.read(TABLE, **at, metric="cycle_s", statistic="sigma").run_ids)


def _log_share(share: float, count: int) -> float:
    """share^(1/count) − 1, without losing the small difference."""
    return math.expm1(math.log(share) / count)
