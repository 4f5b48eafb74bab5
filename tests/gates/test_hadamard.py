"""The element-wise product's rounding and the f' gate at gate level, against the system's numerics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from charlib.gates import simulate
from charlib.gates.arithmetic import ADDERS
from charlib.gates.hadamard import hadamard_rounder, relu_gradient
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of, lane_bits, products_of
from system.numerics import scalar, vectorised
from system.numerics.arithmetic import Arithmetic

I64 = npt.NDArray[np.int64]
COUNT, MANY, CHUNK = 100_000, 2_000_000, 200_000
SIX = 0x40C0


def number(bits: Bits) -> I64:
    return np.asarray(bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[1])))


def rounded(x: Codes, w: Codes, saturate: bool, adder: str = "ripple") -> I64:
    return number(simulate(hadamard_rounder(saturate, adder), lane_bits(products_of(x[:, None], w[:, None]))))


def codes_of(sign: I64, exponent: I64, significand: I64) -> Codes:
    return (sign << 15 | exponent << 7 | significand & 0x7F).astype(np.uint16)


def distinct() -> tuple[I64, I64]:
    """A pair of significands for every value that their product takes."""
    left, right = (grid.ravel() for grid in np.meshgrid(np.arange(128, 256), np.arange(128, 256)))
    _, first = np.unique(left * right, return_index=True)
    return left[first], right[first]


def every_product(sums: I64, seed: int) -> tuple[Codes, Codes]:
    """Each product of significands at each sum of exponent fields, the sum divided at random, signs even."""
    mx, mw = (np.repeat(one, len(sums)) for one in distinct())
    total = np.tile(sums, len(mx) // len(sums))
    rng = np.random.Generator(np.random.Philox(seed))
    ex = np.clip(rng.integers(1, 255, len(total)), total - 254, total - 1)
    signs = rng.integers(0, 2, (2, len(total)))
    return codes_of(signs[0], ex, mx), codes_of(signs[1], total - ex, mw)


def drawn(count: int, seed: int) -> tuple[Codes, Codes]:
    """Codes whose product lies near an end of the range, near 1 or anywhere; some of them anything at all."""
    rng = np.random.Generator(np.random.Philox(seed))
    total = np.choose(rng.integers(0, 4, count), [rng.integers(120, 132, count), rng.integers(378, 386, count),
                                                  rng.integers(250, 258, count), rng.integers(2, 509, count)])
    ex = np.clip(rng.integers(1, 255, count), np.maximum(total - 254, 1), np.minimum(total - 1, 254))
    sign, significand = rng.integers(0, 2, (2, count)), rng.integers(0, 128, (2, count))
    x, w = codes_of(sign[0], ex, significand[0]), codes_of(sign[1], total - ex, significand[1])
    anything = rng.integers(0, 1 << 16, (2, count)).astype(np.uint16)
    free = rng.random(count) < 0.1
    return np.where(free, anything[0], x), np.where(free, anything[1], w)


# -- the rounder --------------------------------------------------------------------------------------


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("adder", ADDERS)
def test_every_pair_of_corner_codes(saturate: bool, adder: str) -> None:
    magnitudes = [0, 1, 0x7F, 0x80, 0x81, 0xFF, 0x100, 0x1FFF, 0x2000, 0x3F00, 0x3F7F, 0x3F80, 0x3F81, 0x3FC0, 0x3FFF,
                  0x4000, 0x5F80, 0x7E80, 0x7F00, 0x7F7F, 0x7F80, 0x7F81, 0x7FC0, 0x7FFF]
    codes = np.array([sign | one for one in magnitudes for sign in (0, 0x8000)], dtype=np.uint16)
    x, w = np.repeat(codes, len(codes)), np.tile(codes, len(codes))
    arithmetic = Arithmetic(saturate=saturate)
    wanted = [scalar.product(int(p), int(q), arithmetic) for p, q in zip(x, w, strict=True)]
    assert rounded(x, w, saturate, adder).tolist() == wanted


@pytest.mark.parametrize(("x", "w", "wanted"), [
    (0x3F81, 0x3FC0, 0x3FC2), (0x3F83, 0x3FC0, 0x3FC4),  # ties: 193.5 and 196.5 go to even
    (0x3FB5, 0x3FB5, 0x4000), (0x3FFF, 0x3FFF, 0x407E),  # 181² rounds up to 2; 255² carries no further
    (0x0080, 0x3F00, 0), (0x8080, 0x3F7F, 0x8080), (0x00FF, 0x3F00, 0x0080),  # 2^-127; ties at 2^-126 round up to it
    (0x00FE, 0xBF00, 0x8000), (0x00C0, 0x3F29, 0), (0x00C0, 0x3F2A, 0x0080), (0x0080, 0x8080, 0x8000),
    (0x7F7F, 0x4000, 0x7F80), (0x7F00, 0xC000, 0xFF80), (0x7F35, 0x3FB5, 0x7F80), (0x7F00, 0x3FFF, 0x7F7F),
    (0x7F80, 0x0001, 0x7FC0), (0xFF80, 0x3F80, 0xFF80), (0x7F81, 0x0000, 0x7FC0), (0x0000, 0x8000, 0x8000),
])
def test_products_by_hand(x: int, w: int, wanted: int) -> None:
    one, other = (np.array([code], dtype=np.uint16) for code in (x, w))
    assert rounded(one, other, False).tolist() == rounded(other, one, False).tolist() == [wanted]


def test_saturation_keeps_infinite_operands() -> None:
    x, w = (np.array(codes, dtype=np.uint16) for codes in ((0x7F7F, 0xFF00, 0x7F80), (0x4000, 0x4000, 0xBF80)))
    assert rounded(x, w, True).tolist() == [0x7F7F, 0xFF7F, 0xFF80]


@pytest.mark.parametrize("saturate", [False, True])
def test_every_product_at_the_ends_of_the_range(saturate: bool) -> None:
    sums = [2, 118, 125, 126, 127, 128, 129, 131, 135, 143, 159, 191, 254, 255, 379, 380, 381, 382, 383, 508]
    x, w = every_product(np.array(sums), 1)
    assert np.array_equal(rounded(x, w, saturate), vectorised.product(x, w, Arithmetic(saturate=saturate)))


def test_products_near_the_ends() -> None:
    x, w = drawn(COUNT, 2)
    wanted = vectorised.product(x, w, Arithmetic())
    size = wanted & 0x7FFF
    for hard in (size == 0, size == 0x80, size == 0x7F80, size == 0x7FC0, size == 0x7F7F):
        assert hard.sum() > 10
    assert wanted[:2000].tolist() == [scalar.product(int(p), int(q), Arithmetic())
                                      for p, q in zip(x[:2000], w[:2000], strict=True)]
    assert np.array_equal(rounded(x, w, False), wanted)


@pytest.mark.validate
def test_every_product_at_every_exponent() -> None:
    """All that the rounder can meet but the specials: products of significands by sums of fields."""
    for sums in np.array_split(np.arange(2, 509), 20):
        x, w = every_product(sums, int(sums[0]))
        assert np.array_equal(rounded(x, w, False), vectorised.product(x, w, Arithmetic()))


@pytest.mark.validate
@pytest.mark.parametrize("saturate", [False, True])
def test_two_million_products(saturate: bool) -> None:
    for seed in range(MANY // CHUNK):
        x, w = drawn(CHUNK, 10 + seed)
        assert np.array_equal(rounded(x, w, saturate), vectorised.product(x, w, Arithmetic(saturate=saturate)))


# -- the f' gate --------------------------------------------------------------------------------------


def gated(z: I64, d: I64, six: bool) -> I64:
    vectors = np.hstack([bits_of(z, 16), bits_of(d, 16), np.full((len(z), 1), six, np.uint8)])
    return number(simulate(relu_gradient(), vectors))


@pytest.mark.parametrize("six", [False, True])
def test_every_pre_activation(six: bool) -> None:
    z = np.arange(1 << 16)
    d = np.random.Generator(np.random.Philox(3)).integers(0, 1 << 16, len(z))
    rising = (z >= 0x80) & (z < (SIX if six else 0x7F81))  # positive codes are ordered as their values
    for gradient in (d, d ^ 0xFFFF):
        assert np.array_equal(gated(z, gradient, six), np.where(rising, gradient, 0))


@pytest.mark.train
@pytest.mark.parametrize("six", [False, True])
def test_the_ends_belong_to_the_flat_part_as_in_torch(six: bool) -> None:
    """All codes but NaN, which torch passes, and subnormals, which count as zero here."""
    import torch

    z = np.arange(1 << 16)
    z = z[((z & 0x7FFF) <= 0x7F80) & ((z & 0x7F80 > 0) | (z & 0x7F == 0))]
    d = 0x3F80 | z & 0x7F
    function: Callable[[torch.Tensor], torch.Tensor] = torch.nn.functional.relu6 if six else torch.relu
    at = torch.from_numpy((z << 16).astype(np.uint32).view(np.float32).copy()).requires_grad_()
    arriving = torch.from_numpy((d << 16).astype(np.uint32).view(np.float32).copy())
    (passed,) = torch.autograd.grad(function(at), at, arriving)
    assert np.array_equal(gated(z, d, six), passed.numpy().view(np.uint32) >> 16)
