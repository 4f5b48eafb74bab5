"""The compiled kernel is called from several Python threads at once: same bits, no crash."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from system.numerics import compiled
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import round_to_bf16


def test_concurrent_callers() -> None:
    rng = np.random.default_rng(0)
    x, w = (round_to_bf16(rng.standard_normal((1, 60, 90))) for _ in range(2))
    want, lanes = compiled.dot(x, w, Arithmetic()), compiled.lane_dot(w, x, Arithmetic())
    with ThreadPoolExecutor(4) as pool:
        fused = [pool.submit(compiled.dot, x, w, Arithmetic()) for _ in range(10)]
        added = [pool.submit(compiled.lane_dot, w, x, Arithmetic()) for _ in range(10)]
    for one, other in zip(fused, added, strict=True):
        np.testing.assert_array_equal(one.result(), want)
        np.testing.assert_array_equal(other.result(), lanes)
