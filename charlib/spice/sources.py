"""Source cards: supplies, piecewise-linear waves, and logic stimulus made of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from charlib.errors import BadInput


def dc(name: str, node: str, volt: float) -> str:
    """A DC source `vNAME` from `node` to ground."""
    return f"v{name} {node} 0 dc {volt:.10g}\n"


def pwl(name: str, node: str, points: Sequence[tuple[float, float]]) -> str:
    """A piecewise-linear source `vNAME` through (seconds, volts) points, times strictly increasing."""
    if not points:
        raise BadInput(f"source v{name}: it needs at least one point")
    times = [t for t, _ in points]
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise BadInput(f"source v{name}: times must increase strictly, got {times}")
    words = [f"{t:.10g} {v:.10g}" for t, v in points]
    chunks = [" ".join(words[i:i + 8]) for i in range(0, len(words), 8)]
    return f"v{name} {node} 0 pwl(" + "\n+ ".join(chunks) + ")\n"


def logic_points(
    values: Sequence[int], period_s: float, slew_s: float, vdd_v: float, start_s: float = 0.0
) -> list[tuple[float, float]]:
    """Points of a bit stream: bit k holds from start_s + k·period_s; an edge starts then and lasts slew_s."""
    if not values or not 0 < slew_s < period_s:
        raise BadInput(f"logic stimulus: needs bits and 0 < slew_s < period_s, got {len(values)} bits, "
                       f"slew_s={slew_s:g}, period_s={period_s:g}")
    points = [(0.0, values[0] * vdd_v)]
    for k, (before, after) in enumerate(itertools.pairwise(values), start=1):
        if before != after:
            edge_s = start_s + k * period_s
            points += [(edge_s, before * vdd_v), (edge_s + slew_s, after * vdd_v)]
    return points


def logic(
    name: str, node: str, values: Sequence[int], period_s: float, slew_s: float, vdd_v: float,
    start_s: float = 0.0,
) -> str:
    """A source that plays bits; see :func:`logic_points`."""
    return pwl(name, node, logic_points(values, period_s, slew_s, vdd_v, start_s))
