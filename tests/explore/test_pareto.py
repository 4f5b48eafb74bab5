"""The front, by comparison of every pair."""

from __future__ import annotations

import numpy as np
import pytest

from system.explore.pareto import front


def dominated(values: np.ndarray, k: int) -> bool:
    """Whether some row beats row k, or is equal and stands before it."""
    no_worse = (values <= values[k]).all(axis=1)
    better = no_worse & (values < values[k]).any(axis=1)
    equal_before = (values[:k] == values[k]).all(axis=1)
    return bool(better.any() or equal_before.any())


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_front_is_what_no_other_beats(seed: int, objectives: int) -> None:
    source = np.random.default_rng(seed)
    values = source.integers(0, 12, (300, objectives)).astype(float)
    values[source.random(300) < 0.1] = np.nan
    usable = np.isfinite(values).all(axis=1)
    wanted = {k for k in range(300) if usable[k] and not dominated(values, k)}
    found = front(values)
    assert set(found.tolist()) == wanted
    assert (np.diff(values[found, 0]) >= 0).all()


def test_no_design_no_front() -> None:
    assert len(front(np.full((4, 2), np.nan))) == 0
