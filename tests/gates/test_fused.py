"""The fused tree as a circuit against the system's arithmetic, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charlib.compose.design import tree_vectors
from charlib.errors import BadInput
from charlib.gates import simulate
from charlib.gates.clocked import run_cycles
from charlib.gates.fused import STAGES, FusedTree, fused_tree
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes
from system.numerics import scalar, vectorised
from system.numerics.arithmetic import Arithmetic

SETS = (
    FusedTree(4), FusedTree(9, 0, "floor"), FusedTree(16, -3, "sticky"), FusedTree(8, 8, "sticky", 8),
    FusedTree(5, -10, "floor"), FusedTree(32, 4, "magnitude", 24, 0, "prefix", "carry_save"),
    FusedTree(4, 4, "magnitude", 8, 0, "carry_select"), FusedTree(64, 0, "magnitude"), FusedTree(2, 24, "sticky"),
)


def operands(p: FusedTree, count: int, seed: int) -> tuple[Codes, Codes]:
    """Codes of all kinds: exponents near each other, cancelling pairs, zeros, subnormals, infinities, NaN."""
    rng = np.random.Generator(np.random.Philox(seed))
    shape = (count, p.lanes)

    def codes() -> Codes:
        centre = np.where(rng.random((count, 1)) < 0.3, rng.integers(1, 255, (count, 1)), 127)
        exponent = np.clip(centre + np.rint(rng.normal(0, 5, shape)), 0, 254).astype(int)
        exponent = np.where(rng.random(shape) < 0.01, rng.choice([0, 1, 254, 255], shape), exponent)
        fraction = rng.integers(0, 128, shape) * (rng.random(shape) < 0.9)
        return ((rng.integers(0, 2, shape) << 15) | (exponent << 7) | fraction).astype(np.uint16)

    x, w = codes(), codes()
    pairs, part = p.lanes // 2 * 2, count // 4
    x[:part, 1:pairs:2], w[:part, 1:pairs:2] = x[:part, 0:pairs:2] ^ 0x8000, w[:part, 0:pairs:2]
    x[:part:7, 0] ^= 1
    x[part:part + 8] = 0  # all masked
    w[part + 8:part + 16, 1:] = 0x0080  # one huge lane among tiny ones
    x[part + 8:part + 16, 0], w[part + 8:part + 16, 0] = 0x7F7F, 0x7F7F
    return x, w


def reference(p: FusedTree, x: Codes, w: Codes) -> np.ndarray:
    """The system's answer as FP32 patterns."""
    arithmetic = Arithmetic(lanes=p.lanes, guard_bits=p.guard_bits, align_mode=p.align_mode,
                            tile_type="fp32" if p.tile_bits == 24 else "bf16")
    found = vectorised.tree(x, w, arithmetic)
    return np.array([scalar.FP32_NAN if np.isnan(v) else int(np.float32(v).view(np.uint32)) for v in found])


def patterns(p: FusedTree, outputs: Bits) -> np.ndarray:
    """FP32 patterns of the first result among the outputs."""
    width = 8 + p.tile_bits
    found = (outputs[:, :width].astype(np.int64) << np.arange(width)).sum(axis=1)
    return np.asarray(found << (32 - width))


@pytest.mark.parametrize("p", SETS, ids=lambda p: p.name)
def test_the_circuit_is_the_arithmetic(p: FusedTree) -> None:
    x, w = operands(p, 4000, 1)
    got = patterns(p, simulate(fused_tree(p), tree_vectors(p, x, w)))
    wanted = reference(p, x, w)
    assert ((wanted & 0x7F800000) == 0x7F800000).any()
    assert (wanted == 0).any()
    assert np.array_equal(got, wanted)


@pytest.mark.validate
@pytest.mark.parametrize("p", [*SETS, FusedTree(32), FusedTree(32, 4, "floor"), FusedTree(32, 4, "sticky")],
                         ids=lambda p: p.name)
def test_the_circuit_is_the_arithmetic_on_millions(p: FusedTree) -> None:
    block = fused_tree(p)
    for seed in range(10):
        x, w = operands(p, 100_000, 100 + seed)
        assert np.array_equal(patterns(p, simulate(block, tree_vectors(p, x, w))), reference(p, x, w))


def test_tap_groups_are_trees_of_their_own() -> None:
    p = FusedTree(32, taps=9)
    x, w = operands(p, 1500, 2)
    block, vectors = fused_tree(p), tree_vectors(p, x, w)
    assert np.array_equal(patterns(p, simulate(block, vectors)), reference(p, x, w))
    vectors[:, 0] = 1
    outputs = simulate(block, vectors)
    for group in range(3):
        lanes = slice(9 * group, 9 * group + 9)
        own = replace(p, lanes=9, taps=0)
        assert np.array_equal(patterns(p, outputs[:, 32 * (group + 1):]), reference(own, x[:, lanes], w[:, lanes]))


def test_the_pipeline_gives_the_same_four_clocks_later() -> None:
    p = FusedTree(9, stages=STAGES)
    x, w = operands(p, 60, 3)
    cycles = run_cycles(fused_tree(p), tree_vectors(p, x, w))
    assert np.array_equal(patterns(p, cycles.outputs)[4:], reference(p, x, w)[:-4])


@pytest.mark.parametrize(("settings", "message"), [
    ({"lanes": 1}, "lanes: 2 to 1024 are allowed, got 1"), ({"guard_bits": 25}, "guard_bits: -15 to 24 are allowed"),
    ({"taps": 32}, "taps: 0, or 2 to 31, got 32"), ({"align_mode": "up"}, "align_mode: magnitude, floor, sticky are"),
    ({"tile_bits": 11}, "tile_bits: 24, 8 are allowed, got '11'"), ({"stages": 2}, "stages: 1, 5 are allowed"),
])
def test_bad_parameters_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}"):
        FusedTree(**settings)  # type: ignore[arg-type]
