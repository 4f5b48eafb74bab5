"""Random operands that go where kernels break: every exponent, zeros in runs and whole tiles of them, specials, pairs
that cancel, ties, sides far apart, and any layout in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from system.numerics import native
from system.numerics.arithmetic import MAX_FIXED_BITS, MAX_GUARD_BITS, MAX_PRE_GUARD_BITS, PRODUCT_BITS, Arithmetic
from system.numerics.formats import F32, Codes, values_of

LANES = (1, 2, 4, 9, 16, 32, 64)
SIZES = (1, 5, 33, 64, 70, 130)
SPREADS = (0, 2, 12, 40, 110, 254)
#: the arithmetics that differ in kind; what else they hold is drawn
KINDS = {"magnitude": Arithmetic(), "floor": Arithmetic(align_mode="floor"),
         "sticky": Arithmetic(align_mode="sticky"), "pre-aligned": Arithmetic(alignment="pre"),
         "lanes in fp32": Arithmetic(), "lanes in bf16": Arithmetic(accumulator="bf16"),
         "lanes in fixed point": Arithmetic(accumulator="fixed")}


def arithmetic(rng: np.random.Generator, kind: str) -> Arithmetic:
    """One of its kind: lanes, guard bits, types and overflow by chance; three in four fit the vector kernels."""
    base = replace(KINDS[kind], lanes=int(rng.choice(LANES)), saturate=bool(rng.integers(2)))
    if kind == "lanes in fixed point":
        guard = int(rng.integers(1 - PRODUCT_BITS, 25))
        return replace(base, fixed_guard=guard,
                       fixed_bits=int(rng.integers(max(3, PRODUCT_BITS + guard + 1), MAX_FIXED_BITS + 1)))
    if kind.startswith("lanes"):
        return base
    types = ("fp32", "bf16")
    base = replace(base, tile_type=types[rng.integers(2)], accumulator=types[rng.integers(2)])
    if kind == "pre-aligned":
        return replace(base, guard_bits=int(rng.integers(0, MAX_PRE_GUARD_BITS + 1)))
    fitting = native.SUM_BITS - PRODUCT_BITS - max(1, base.lanes - 1).bit_length()
    most = MAX_GUARD_BITS if rng.random() < 0.25 else min(MAX_GUARD_BITS, fitting)
    return replace(base, guard_bits=int(rng.integers(1 - PRODUCT_BITS, most + 1)))


def depth(rng: np.random.Generator, lanes: int) -> int:
    """Up to three tiles, as a rule not whole ones; short enough that millions are soon done."""
    return int(rng.integers(1, min(3 * lanes, 72) + 1))


def rows(rng: np.random.Generator, count: int, k: int, lanes: int) -> Codes:
    """(count, k) codes."""
    spread = int(rng.choice(SPREADS))
    low = int(rng.integers(1, 255))
    centre = rng.integers(low, min(254, low + int(rng.choice((0, 3, 30, 110, 253)))) + 1, (count, 1))
    field = np.clip(centre + rng.integers(-spread, spread + 1, (count, k)), 1, 254)
    rest = rng.integers(0, 128, (count, k)) if rng.random() < 0.6 else rng.choice((0, 64, 127), (count, k))
    codes = field << 7 | rest | rng.integers(0, 2, (count, k)) << 15
    if rng.random() < 0.2 and k > 1:  # neighbours that cancel where the other side repeats itself
        codes[:, 1::2] = codes[:, :k // 2 * 2:2] ^ (0x8000 if rng.random() < 0.5 else 0)
    return _with_holes(rng, codes, lanes)


def _with_holes(rng: np.random.Generator, codes: npt.NDArray[np.int64], lanes: int) -> Codes:
    """Zeros of both signs and subnormals, alone and by tiles; now and then a NaN or an infinity."""
    shape = codes.shape
    zero = rng.random(shape) < rng.choice((0.0, 0.3, 0.95))
    tile = rng.random((shape[0], -(-shape[1] // lanes))) < rng.choice((0.0, 0.2))
    zero |= np.repeat(tile, lanes, axis=1)[:, :shape[1]]
    nothing = rng.choice((0, 0x8000, 0x0001, 0x807F), shape)
    codes = np.where(zero, nothing, codes)
    if rng.random() < 0.1:
        codes = np.where(rng.random(shape) < 0.02, rng.choice((0x7F80, 0xFF80, 0x7FC1, 0xFF81), shape), codes)
    return codes.astype(np.uint16)


def laid_out(rng: np.random.Generator, codes: Codes) -> Codes:
    """The same (g, m, k) codes in another order of memory, now and then with gaps."""
    way = rng.integers(4)
    if way == 1:
        return np.ascontiguousarray(codes.transpose(0, 2, 1)).transpose(0, 2, 1)
    if way == 2:
        return np.repeat(codes, 2, axis=2)[:, :, ::2]
    if way == 3:
        return np.ascontiguousarray(codes.transpose(1, 0, 2)).transpose(1, 0, 2)
    return codes


def operands(rng: np.random.Generator, a: Arithmetic) -> tuple[Codes, Codes]:
    """x (g, m, k) and w (g, n, k)."""
    k, groups = depth(rng, a.lanes), int(rng.integers(1, 3))
    sides = [np.stack([rows(rng, int(size), k, a.lanes) for _ in range(groups)]) for size in rng.choice(SIZES, 2)]
    return laid_out(rng, sides[0]), laid_out(rng, sides[1])


def values(rng: np.random.Generator, shape: tuple[int, ...], middle: int, spread: int) -> F32:
    """BF16 values with exponent fields about `middle`, a share of zeros."""
    field = np.clip(middle + rng.integers(-spread, spread + 1, shape), 1, 254)
    codes = field << 7 | rng.integers(0, 128, shape) | rng.integers(0, 2, shape) << 15
    zero = rng.random(shape) < rng.choice((0.0, 0.3, 0.9))
    return values_of(np.where(zero, 0, codes).astype(np.uint16))
