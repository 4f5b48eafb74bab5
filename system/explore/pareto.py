"""Which designs no other beats, and how an objective answers to each axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def front(objectives: F64) -> npt.NDArray[np.intp]:
    """Indices of the rows (designs, objectives), all to be minimised, that no row dominates; NaN rows never are.

    Sorted by the first objective. Of equal rows the first stands. Rows go through in order of their sum of ranks, so
    that most are beaten by an early member of the front.
    """
    usable = np.flatnonzero(np.isfinite(objectives).all(axis=1))
    values = objectives[usable]
    if not len(values):
        return usable
    _, first = np.unique(values, axis=0, return_index=True)
    values, usable = values[np.sort(first)], usable[np.sort(first)]
    order = np.argsort(_rank_sums(values), kind="stable")
    values, usable = values[order], usable[order]
    kept: list[int] = []
    alive = np.ones(len(values), dtype=bool)
    for k in range(len(values)):
        if not alive[k]:
            continue
        kept.append(k)
        rest = np.flatnonzero(alive[k + 1:]) + k + 1
        alive[rest[(values[rest] >= values[k]).all(axis=1)]] = False
    found = usable[kept]
    return np.asarray(found[np.argsort(objectives[found, 0], kind="stable")])


def _rank_sums(values: F64) -> npt.NDArray[np.intp]:
    """Equal values share a rank, so that a row that beats another always has the smaller sum."""
    return np.asarray(np.sum([np.unique(column, return_inverse=True)[1] for column in values.T], axis=0))
