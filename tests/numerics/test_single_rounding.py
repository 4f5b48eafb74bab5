"""Hazards of computing the arithmetic in float64: ties that a far smaller operand breaks, and signs of zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from system.numerics import compiled, scalar, vectorised
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import Codes


def agree(xs: list[int], ws: list[int], arithmetic: Arithmetic) -> tuple[int, int]:
    """Forward and lane sums as FP32 patterns, the same from all three implementations."""
    x, w = np.array([xs], dtype=np.uint16), np.array([ws], dtype=np.uint16)
    want = scalar.dot(xs, ws, arithmetic, "fp32"), scalar.lane_dot(ws, xs, arithmetic, "fp32")
    for got in ((vectorised.dot(x, w, arithmetic, "fp32"), vectorised.lane_dot(w, x, arithmetic, "fp32")),
                (compiled.dot(x[None], w[None], arithmetic, "fp32"),
                 compiled.lane_dot(w[None], x[None], arithmetic, "fp32"))):
        assert tuple(int(np.asarray(g).view(np.uint32).item()) for g in got) == want
    return want


@pytest.mark.parametrize("sign", [0, 0x8000])
def test_a_far_smaller_operand_breaks_a_tie(sign: int) -> None:
    """bf16 accumulation of 2^-100, then (1 + 2^-7)(1 + 2^-1): its nine bits are a tie, which 2^-100 decides."""
    arithmetic = Arithmetic(lanes=1, accumulator="bf16")
    small = 0x3F80 - (100 << 7)
    tie = [0x3F81, 0x3FC0]  # (1 + 2^-7) * 1.5 = 1.5 + 1.5 * 2^-7: the bf16 neighbours differ by 2^-7
    up = agree([small, tie[0] | sign], [0x3F80, tie[1]], arithmetic)
    down = agree([small | 0x8000, tie[0] | sign], [0x3F80, tie[1]], arithmetic)
    assert up != down
    assert up[0] == up[1]


def test_signs_of_zero() -> None:
    """A negative tile that underflows is −0; an all-masked tile after it makes +0, a further −0 keeps it."""
    arithmetic = Arithmetic(lanes=1, accumulator="bf16")
    least, low = 0x0080, 0x3F80 - (8 << 7)  # 2^-126 × 2^-8 = 2^-134: half of bf16's lowest bit, a tie to even zero
    assert agree([least | 0x8000], [low], arithmetic)[0] == 0x80000000
    assert agree([least | 0x8000, 0], [low, low], arithmetic)[0] == 0
    assert agree([least | 0x8000, least | 0x8000], [low, least], arithmetic)[0] == 0x80000000


def test_three_implementations_on_narrow_bands_of_exponents() -> None:
    """Random operands around the under- and overflow of FP32 and in the middle, with masked runs, in all modes."""
    rng = np.random.default_rng(7)
    bands = ((1, 70), (48, 62), (55, 66), (120, 134), (185, 200), (1, 255))
    shapes = ((1, 0), (4, 24), (9, -15), (32, 4))

    def draw(low: int, high: int, depth: int) -> Codes:
        exponent, rest = rng.integers(low, high, (3, depth)), rng.integers(0, 256, (3, depth))
        drawn = (exponent << 7 | rest & 0x7F | (rest & 0x80) << 8).astype(np.uint16)
        drawn[:, rng.random(depth) < rng.choice([0.0, 0.5])] = 0x8000
        return drawn

    for (lanes, guard), mode, tile, kept in itertools.product(shapes, ("magnitude", "floor", "sticky"),
                                                              ("fp32", "bf16"), ("fp32", "bf16")):
        arithmetic = Arithmetic(lanes, guard, mode, tile, kept)
        for low, high in bands:
            depth = int(rng.integers(1, 60))
            for x, w in zip(draw(low, high, depth), draw(low, high, depth), strict=True):
                agree(x.tolist(), w.tolist(), arithmetic)
