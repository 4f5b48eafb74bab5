"""pymoo's NSGA-II over whole numbers. Imported only for a search, since pymoo is an extra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import ElementwiseProblem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

#: objective of a design that cannot be: worse than any
WORST = 1e30


def minimise(sizes: Sequence[int], look: Callable[[tuple[int, ...]], list[float]], population: int, generations: int,
             seed: int) -> None:
    """Let NSGA-II ask `look` for the objectives of indices, each below its size."""
    objectives = len(look(tuple(0 for _ in sizes)))

    class Problem(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=len(sizes), n_obj=objectives, xl=0, xu=np.array(sizes) - 1, vtype=int)

        def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            found = np.array(look(tuple(int(k) for k in x)))
            out["F"] = np.where(np.isfinite(found), found, WORST)

    algorithm = NSGA2(pop_size=population, sampling=IntegerRandomSampling(), eliminate_duplicates=True,
                      crossover=SBX(prob=0.9, eta=10, vtype=float, repair=RoundingRepair()),
                      mutation=PM(prob=1.0, eta=10, vtype=float, repair=RoundingRepair()))
    minimize(Problem(), algorithm, ("n_gen", generations), seed=seed, verbose=False)
