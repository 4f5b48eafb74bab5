"""How often a cell fails, beyond what plain sampling can see: importance sampling with an interval.

One mean shift a failure region: its most probable failing deviation, found by Newton steps on the margin's
linearisation (Hasofer-Lind-Rackwitz-Fiessler). Samples come from a mixture of normals around these means and, with a
share of its own, around the origin (the defensive component, which bounds every weight). Sampling goes on batch by
batch until the interval's half-width is 20 % of the estimate. Every sample is a run of the campaign, so it is stored
and resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from charlib.benches.bitcell_mismatch import CONFIDENCE, MismatchPoint
from charlib.errors import HimcError
from charlib.spice.engine import FloatArray

#: share of samples around the origin
DEFENSIVE = 0.1
#: relative half-width of the interval at which sampling stops
WANTED = 0.2
BATCH, MOST_SAMPLES = 200, 6000
#: failing samples that are needed before an interval is believed
LEAST_EFFECTIVE = 30.0
NEWTON_STEPS, GRADIENT_STEP = 5, 0.5
#: a region farther out than this adds nothing that a double could show
FARTHEST = 9.0

#: the measures of points, in their order; simulated or reused
Measure = Callable[[Sequence[MismatchPoint]], Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class FailureRate:
    """An estimate with its 95 % interval. effective: effective sample size of the failing samples.

    distances: of each region's most probable failing deviation from the origin, in sigmas.
    """

    estimate: float
    low: float
    high: float
    effective: float
    samples: int
    distances: tuple[float, ...]


def failure_rate(point: MismatchPoint, size: int, measure: Measure, *, wanted: float = WANTED,
                 most: int = MOST_SAMPLES) -> FailureRate:
    """The probability of a negative margin at an operating point and metric.

    point: gives operating point, metric and seed; size: deviations a cell. Raises HimcError where no failing
    deviation is within reach.
    """
    means = [mean for mean in design_points(point, size, measure) if np.linalg.norm(mean) <= FARTHEST]
    if not means:
        raise HimcError(f"mismatch: no {point.metric} failure within {FARTHEST:g} sigma at corner={point.corner} "
                        f"temp_c={point.temp_c:g} vdd_v={point.vdd_v:g}; its rate is below 1e-18")
    shifted = replace(point, means=tuple(tuple(mean) for mean in means), defensive=DEFENSIVE, spread=1.0)
    weights: list[float] = []
    while True:
        batch = [replace(shifted, sample=len(weights) + k) for k in range(BATCH)]
        weights += [found["weight"] * (found["margin_v"] < 0) for found in measure(batch)]
        rate = summarise(np.array(weights), tuple(float(np.linalg.norm(mean)) for mean in means))
        settled = rate.effective >= LEAST_EFFECTIVE and rate.high - rate.low <= 2 * wanted * rate.estimate
        if settled or len(weights) >= most:
            return rate


def design_points(point: MismatchPoint, size: int, measure: Measure) -> list[FloatArray]:
    """The most probable failing deviation of each region, in sigmas."""
    origin = _margins(point, [np.zeros(size)], measure)[0]
    found = []
    for region in range(len(origin)):
        z = np.zeros(size)
        for _ in range(NEWTON_STEPS):
            steps = [z, *(z + GRADIENT_STEP * axis for axis in np.eye(size))]
            margins = np.array([values[region] for values in _margins(point, steps, measure)])
            gradient = (margins[1:] - margins[0]) / GRADIENT_STEP
            square = float(gradient @ gradient)
            if square == 0:
                break
            following = gradient * (float(gradient @ z) - margins[0]) / square
            length = float(np.linalg.norm(following))
            following *= min(1.0, 1.5 * FARTHEST / max(length, 1e-12))
            close = float(np.linalg.norm(following - z)) < 0.05
            z = following
            if close:
                break
        found.append(z)
    return found


def _margins(point: MismatchPoint, deviations: Sequence[FloatArray], measure: Measure) -> list[list[float]]:
    """The margin of each region at each deviation."""
    points = [replace(point, sample=0, means=(tuple(float(x) for x in z),), defensive=0.0, spread=0.0)
              for z in deviations]
    return [[values[name] for name in ("region0_v", "region1_v") if name in values] for values in measure(points)]


def summarise(weights: FloatArray, distances: tuple[float, ...]) -> FailureRate:
    """The estimate from the samples' weights, zero where the cell works. Interval: log-normal, hence positive."""
    from scipy import stats

    count, total, squares = len(weights), float(weights.sum()), float((weights**2).sum())
    if total == 0:
        return FailureRate(0.0, 0.0, float(stats.beta.ppf(CONFIDENCE, 1, count)), 0.0, count, distances)
    estimate = total / count
    relative = math.sqrt(max(squares / count - estimate**2, 0.0) / count) / estimate
    factor = math.exp(float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * math.sqrt(math.log1p(relative**2)))
    return FailureRate(estimate, estimate / factor, estimate * factor, total**2 / squares, count, distances)
