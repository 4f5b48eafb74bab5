"""The pre-aligned tree against integers."""

from __future__ import annotations

import numpy as np
import pytest

from charlib.errors import BadInput
from charlib.gates import simulate
from charlib.gates.clocked import run_cycles
from charlib.gates.operands import OperandStatistics, draw
from charlib.gates.prealigned import PreAligned, pre_aligned_tree, pre_aligned_value, pre_aligned_vectors


@pytest.mark.parametrize("p", [PreAligned(4, 4, 1), PreAligned(9, 8, 1), PreAligned(32, 0, 1)])
def test_the_circuit_is_the_integers(p: PreAligned) -> None:
    x, w = (draw(OperandStatistics(3.0, 0.1), (400, p.lanes), seed) for seed in (1, 2))
    out = simulate(pre_aligned_tree(p), pre_aligned_vectors(p, x, w))
    got = (out.astype(np.int64) << np.arange(32)).sum(axis=1).astype(np.uint32).view(np.float32)
    assert np.array_equal(got, pre_aligned_value(p, x, w).astype(np.float32))


def test_the_pipeline_gives_the_same_four_clocks_later() -> None:
    p = PreAligned(4)
    x, w = (draw(OperandStatistics(2.0), (40, p.lanes), seed) for seed in (1, 2))
    out = run_cycles(pre_aligned_tree(p), pre_aligned_vectors(p, x, w)).outputs
    got = (out.astype(np.int64) << np.arange(32)).sum(axis=1).astype(np.uint32).view(np.float32)
    assert np.array_equal(got[4:], pre_aligned_value(p, x, w).astype(np.float32)[:-4])


def test_bad_parameters_are_named() -> None:
    with pytest.raises(BadInput, match=r"^lanes: 2 to 1024 are allowed, got 1$"):
        PreAligned(1)
    with pytest.raises(BadInput, match=r"^guard_bits: 0 to 16 are allowed, got 17$"):
        PreAligned(4, 17)
