"""Importance sampling against half-spaces of known probability, and against plain sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from charlib.benches.bitcell_mismatch import MismatchPoint, clopper_pearson
from charlib.campaign.failure import design_points, failure_rate, summarise
from charlib.errors import BadInput, HimcError

SIZE = 6
AXIS = np.array([1.0, -2.0, 0.5, 0.0, 1.5, -1.0]) / np.linalg.norm([1.0, -2.0, 0.5, 0.0, 1.5, -1.0])
POINT = MismatchPoint("tt", 25.0, 0.8, "read_snm", 3, 0)


def half_spaces(*distances: float, bend: float = 0.0) -> Any:
    """A margin that is negative beyond a plane at each distance, on opposite sides; `bend` curves the planes."""
    def measure(points: Sequence[MismatchPoint]) -> list[Mapping[str, float]]:
        found: list[Mapping[str, float]] = []
        for point in points:
            z = point.draw(SIZE)
            along = float(AXIS @ z)
            across = float(z @ z) - along**2
            regions = [d - sign * along + bend * across for d, sign in zip(distances, (1, -1), strict=False)]
            found.append({"margin_v": min(regions), "weight": point.weight(z)}
                         | {f"region{k}_v": value for k, value in enumerate(regions)})
        return found
    return measure


@pytest.mark.parametrize("distance", [2.0, 3.0, 4.5, 6.0])
def test_one_half_space(distance: float) -> None:
    rate = failure_rate(POINT, SIZE, half_spaces(distance))
    truth = float(stats.norm.sf(distance))
    assert rate.low <= truth <= rate.high
    assert rate.estimate == pytest.approx(truth, rel=0.3)
    assert rate.distances == pytest.approx((distance,), rel=1e-6)
    assert rate.effective >= 30


def test_two_regions_are_both_counted() -> None:
    """Negative control: with one mean only, the other region's share is missed or comes with a wide interval."""
    rate = failure_rate(POINT, SIZE, half_spaces(4.0, 4.2))
    truth = float(stats.norm.sf(4.0) + stats.norm.sf(4.2))
    assert rate.low <= truth <= rate.high
    assert len(rate.distances) == 2


def test_intervals_hold_their_confidence() -> None:
    truth = float(stats.norm.sf(4.0))
    hits = 0
    for seed in range(60):
        point = MismatchPoint("tt", 25.0, 0.8, "read_snm", 100 + seed, 0)
        rate = failure_rate(point, SIZE, half_spaces(4.0))
        hits += rate.low <= truth <= rate.high
    assert hits >= 51  # 95 % of 60 is 57; fewer than 51 has a chance of 2 %


def test_agrees_with_plain_sampling_where_both_can_see() -> None:
    measure = half_spaces(2.2, bend=0.02)
    plain = [MismatchPoint("tt", 25.0, 0.8, "read_snm", 9, k) for k in range(20000)]
    failed = sum(found["margin_v"] < 0 for found in measure(plain))
    low, high = clopper_pearson(failed, len(plain))
    rate = failure_rate(POINT, SIZE, measure)
    assert rate.low <= high
    assert low <= rate.high


def test_out_of_reach_is_said() -> None:
    with pytest.raises(HimcError, match=r"no read_snm failure within 9 sigma"):
        failure_rate(POINT, SIZE, half_spaces(12.0))


def test_the_design_point_of_a_plane_is_its_foot() -> None:
    (foot,) = design_points(POINT, SIZE, half_spaces(5.0))
    assert foot == pytest.approx(5.0 * AXIS, abs=1e-6)


def test_weights_are_the_ratio_of_densities() -> None:
    mean = tuple(3.0 * AXIS)
    point = MismatchPoint("tt", 25.0, 0.8, "hold_snm", 1, 5, (mean,), 0.1)
    z = point.draw(SIZE)
    plain = stats.multivariate_normal.pdf(z, np.zeros(SIZE))
    mixed = 0.1 * plain + 0.9 * stats.multivariate_normal.pdf(z, np.asarray(mean))
    assert point.weight(z) == pytest.approx(plain / mixed, rel=1e-9)
    assert point.weight(z) <= 10.0  # bounded by the defensive share


def test_no_failure_seen_gives_an_upper_bound() -> None:
    rate = summarise(np.zeros(300), (5.0,))
    assert (rate.estimate, rate.low) == (0.0, 0.0)
    assert rate.high == pytest.approx(0.01, rel=0.02)  # the rule of three: 3/300


def test_a_point_is_its_sample() -> None:
    assert np.array_equal(POINT.draw(SIZE), MismatchPoint("tt", 25.0, 0.8, "read_snm", 3, 0).draw(SIZE))
    assert not np.array_equal(POINT.draw(SIZE), MismatchPoint("tt", 25.0, 0.8, "read_snm", 4, 0).draw(SIZE))
    with pytest.raises(BadInput, match=r"^metric: 'snm' is unknown; known are read_snm"):
        MismatchPoint("tt", 25.0, 0.8, "snm", 3, 0)
    with pytest.raises(BadInput, match=r"^defensive: a share in 0..1"):
        MismatchPoint("tt", 25.0, 0.8, "write", 3, 0, defensive=0.5)
