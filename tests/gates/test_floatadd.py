"""Float addition at gate level against the system's numerics: every pair of corners, and many near pairs."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from charlib.gates import Block, simulate
from charlib.gates.arithmetic import ADDERS
from charlib.gates.clocked import run_cycles
from charlib.gates.floatadd import float_adder, lane_accumulator, stochastic_rounder, update_adder
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of, lane_bits, products_of
from system.numerics import scalar, update, vectorised
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import add_rounded, canonical_fp32, round_to_bf16, split

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
COUNT, MANY, CHUNK = 100_000, 2_000_000, 200_000
KINDS = {24: "fp32", 8: "bf16"}
INF, NAN, SIGN = 0x7F800000, 0x7FC00000, 1 << 31
MAGNITUDES = (
    0, 1, 2, 3, 0x8000, 0x10000, 0x18000, 0x3FFFFF, 0x400000, 0x7F8000, 0x7FFFFF,  # zero and subnormals
    0x800000, 0x800001, 0x808000, 0x80FFFF, 0xFFFFFF, 0x1000000, 0x1000001, 0x1800000,  # smallest normals
    0x33000000, 0x33800000, 0x33800001, 0x34000000, 0x3A800000, 0x3B000000, 0x3B800000,  # near the last bits of 1
    0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x3F807FFF, 0x3F808000, 0x3F808001, 0x3F818000, 0x3FFFFFFF, 0x40000000,
    0x4B000000, 0x4B800000, 0x4C000000, 0x4C000001, 0x72FFFFFF, 0x73000000, 0x73800000,  # far above; near the largest
    0x7E800000, 0x7F000000, 0x7F7F0000, 0x7F7F7FFF, 0x7F7F8000, 0x7F7FFFFE, 0x7F7FFFFF,
    INF, 0x7F800001, NAN, 0x7FFFFFFF,
)
CORNERS = np.array([sign | one for one in MAGNITUDES for sign in (0, SIGN)])


def number(bits: Bits) -> I64:
    return np.asarray(bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[1])))


def answers(block: Block, *words: tuple[I64, int]) -> Bits:
    return simulate(block, np.hstack([bits_of(values, width) for values, width in words]))


def values_of(patterns: I64) -> F64:
    with np.errstate(invalid="ignore"):
        return patterns.astype(np.uint32).view(np.float32).astype(np.float64)


def patterns_of(values: F64) -> I64:
    return canonical_fp32(values).view(np.uint32).astype(np.int64)


def sums(a: I64, b: I64, bits: int) -> I64:
    """The vectorised twin of scalar.add."""
    with np.errstate(invalid="ignore"):
        return patterns_of(add_rounded(values_of(a), values_of(b), KINDS[bits]))


def steps(acc: I64, x: Codes, w: Codes, bits: int) -> I64:
    """The vectorised twin of one step of scalar.lane_dot."""
    with np.errstate(invalid="ignore", over="ignore"):
        left, right = (np.where((c & 0x7F80) == 0x7F80, values_of(c.astype(np.int64) << 16), np.ldexp(
            split(c)[0].astype(np.float64), split(c)[1] - 134)) for c in (x, w))
        term = left * right
        kept = (term == 0) & ~np.isnan(values_of(acc))
        return np.where(kept, acc, patterns_of(add_rounded(values_of(acc), term, KINDS[bits])))


def scalar_step(total: int, x: int, w: int, bits: int) -> int:
    """One turn of the loop of scalar.lane_dot, in its own functions."""
    special = scalar.special_product(x, w)
    if special is not None or total & INF == INF:
        return scalar.add(total, 0 if special is None else special << 16, bits)
    (sx, ex, mx), (sw, ew, mw) = scalar.decode(x), scalar.decode(w)
    return scalar.add_exact(*scalar.as_integer(total), sx ^ sw, mx * mw, ex + ew - 268, bits) if mx * mw else total


def fractions(count: int, rng: np.random.Generator) -> I64:
    """Even bits, few ones, few zeros, and runs of ones up to the top or down to the bottom: ties and long carries."""
    drawn = rng.integers(0, 1 << 23, (4, count))
    few = drawn[0] & drawn[1] & drawn[2] & drawn[3]
    run = (1 << rng.integers(0, 24, count)) - 1
    every = np.stack([drawn[0], few, few ^ 0x7FFFFF, run, run ^ 0x7FFFFF])
    return np.asarray(every[rng.integers(0, len(every), count), np.arange(count)])


def near(exponent: I64, rng: np.random.Generator) -> I64:
    """A field at most 28 away, mostly at most 2."""
    away = np.where(rng.random(len(exponent)) < 0.5, rng.integers(-2, 3, len(exponent)),
                    rng.integers(-28, 29, len(exponent)))
    return np.clip(exponent + away, 0, 254)


def fields(count: int, rng: np.random.Generator) -> I64:
    """Exponent fields: the whole range, the subnormals' end and the infinities'."""
    return np.choose(rng.integers(0, 4, count), [rng.integers(0, 256, count), rng.integers(100, 150, count),
                                                 rng.integers(0, 6, count), rng.integers(250, 256, count)])


def pairs(count: int, seed: int) -> tuple[I64, I64]:
    """Two patterns whose exponents are near each other; a quarter cancel down to a few last bits."""
    rng = np.random.Generator(np.random.Philox(seed))
    exponent = fields(count, rng)
    a, b = (rng.integers(0, 2, count) << 31 | field << 23 | fractions(count, rng)
            for field in (exponent, near(exponent, rng)))
    cancels = np.clip((a & ~SIGN) + rng.integers(-3, 4, count), 0, INF) | (a & SIGN ^ SIGN)
    return a, np.where(rng.random(count) < 0.25, cancels, b)


def lanes(count: int, bits: int, seed: int) -> tuple[I64, Codes, Codes]:
    """An accumulator and the operands of a product near it; some far below and above, some special."""
    rng = np.random.Generator(np.random.Philox(seed))
    exponent = fields(count, rng)
    acc = (rng.integers(0, 2, count) << 31 | exponent << 23 | fractions(count, rng)) & (0xFFFFFFFF << (24 - bits))
    ex = np.clip(exponent // 2 + 63 + rng.integers(-20, 21, count), 1, 254)
    ew = np.clip(near(exponent, rng) - ex + 127, 0, 254)
    x, w = (rng.integers(0, 2, count) << 15 | e << 7 | fractions(count, rng) >> 16 for e in (ex, ew))
    # a product that takes the accumulator's upper bits away
    opposite = (acc >> 16) & 0x7FFF | (acc >> 16 & 0x8000 ^ 0x8000)
    cancels = rng.random(count) < 0.2
    x, w = np.where(cancels, opposite, x), np.where(cancels, 127 << 7, w)
    anything = rng.integers(0, 1 << 16, (2, count))
    x, w = (np.where(rng.random(count) < 0.05, free, own) for free, own in zip(anything, (x, w), strict=True))
    return acc, x.astype(np.uint16), w.astype(np.uint16)


def accumulated(block: Block, bits: int, acc: I64, x: Codes, w: Codes) -> I64:
    vectors = np.hstack([bits_of(acc >> (24 - bits), 8 + bits), lane_bits(products_of(x[:, None], w[:, None]))])
    return number(simulate(block, vectors)) << (24 - bits)


def every_pair(values: npt.NDArray[np.int64]) -> tuple[I64, I64]:
    return np.repeat(values, len(values)), np.tile(values, len(values))


# -- two floats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "adder"), list(itertools.product((24, 8), ADDERS)))
def test_every_pair_of_corners(bits: int, adder: str) -> None:
    a, b = every_pair(CORNERS)
    got = number(answers(float_adder(bits, adder), (a, 32), (b, 32))) << (24 - bits)
    assert got.tolist() == [scalar.add(int(p), int(q), bits) for p, q in zip(a, b, strict=True)]


@pytest.mark.parametrize(("a", "b", "wanted"), [
    (0x80000000, 0x80000000, 0x80000000), (0x80000000, 0, 0), (0x3F800000, 0xBF800000, 0),  # zeros
    (0x00000001, 0x007FFFFF, 0x00800000), (0x00800000, 0x80000001, 0x007FFFFF),  # across the subnormals' edge
    (0x3F800000, 0x33800000, 0x3F800000), (0x3F800001, 0x33800000, 0x3F800002),  # ties go to even
    (0x3F800000, 0x33800001, 0x3F800001), (0x3F800000, 0xB3000001, 0x3F7FFFFF),  # just off a tie; a far borrow
    (0x7F7FFFFF, 0x72FFFFFF, 0x7F7FFFFF), (0x7F7FFFFF, 0x73000000, 0x7F800000),  # at the largest
    (0x7F800000, 0xFF800000, 0x7FC00000), (0xFF800001, 0x3F800000, 0x7FC00000), (0xFF800000, 0x7F7FFFFF, 0xFF800000),
])
def test_sums_by_hand(a: int, b: int, wanted: int) -> None:
    got = answers(float_adder(), (np.array([a, b]), 32), (np.array([b, a]), 32))
    assert number(got).tolist() == [wanted, wanted]


def test_every_bit_of_a_fraction_makes_a_nan() -> None:
    nan = INF | (1 << np.arange(23))
    a, b = (np.repeat(one, len(nan)) for one in ([0, 0x3F800000, INF], [0x80000000, 0xBF800000, INF]))
    for left, right in ((np.tile(nan, 3), b), (a, np.tile(nan, 3))):
        assert set(number(answers(float_adder(), (left, 32), (right, 32))).tolist()) == {NAN}
    codes = np.zeros(len(nan), dtype=np.uint16)
    assert set(accumulated(lane_accumulator(), 24, nan, codes, codes).tolist()) == {NAN}


def test_the_pairs_meet_what_is_hard() -> None:
    """The random operands are no tame ones: each sort of result is there in numbers."""
    a, b = pairs(COUNT, 1)
    total, size = sums(a, b, 24), sums(a, b, 24) & ~SIGN
    with np.errstate(invalid="ignore"):
        exact = values_of(a) + values_of(b) == values_of(total)
    assert np.sum(np.abs((a >> 23 & 255) - (b >> 23 & 255)) <= 2) > COUNT / 2
    for hard in (size == 0, (size > 0) & (size < 0x800000), size == INF, size == NAN, ~exact & (size < INF)):
        assert hard.sum() > COUNT / 100


@pytest.mark.parametrize("bits", [24, 8])
def test_sums_of_near_pairs(bits: int) -> None:
    a, b = pairs(COUNT, 2)
    wanted = sums(a, b, bits)
    assert wanted[:2000].tolist() == [scalar.add(int(p), int(q), bits)
                                      for p, q in zip(a[:2000], b[:2000], strict=True)]
    assert np.array_equal(number(answers(float_adder(bits), (a, 32), (b, 32))) << (24 - bits), wanted)


def test_two_stages_answer_a_clock_later() -> None:
    a, b = pairs(20_000, 7)
    vectors = np.hstack([bits_of(a, 32), bits_of(b, 32)])
    outputs = run_cycles(float_adder(adder="carry_select", stages=2), vectors).outputs
    assert np.array_equal(number(outputs)[1:], sums(a, b, 24)[:-1])
    acc, x, w = lanes(20_000, 24, 8)
    vectors = np.hstack([bits_of(acc, 32), lane_bits(products_of(x[:, None], w[:, None]))])
    outputs = run_cycles(lane_accumulator(adder="carry_select", stages=2), vectors).outputs
    assert np.array_equal(number(outputs)[1:], steps(acc, x, w, 24)[:-1])


@pytest.mark.validate
@pytest.mark.parametrize(("bits", "adder"), [(24, "ripple"), (8, "ripple"), (24, "carry_select"), (24, "prefix")])
def test_sums_of_two_million_pairs(bits: int, adder: str) -> None:
    block = float_adder(bits, adder)
    for seed in range(MANY // CHUNK):
        a, b = pairs(CHUNK, 100 + seed)
        assert np.array_equal(number(answers(block, (a, 32), (b, 32))) << (24 - bits), sums(a, b, bits))


# -- a float and an exact product ---------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "adder"), [(24, "ripple"), (8, "ripple"), (24, "carry_select"), (8, "prefix")])
def test_accumulators_meet_products_of_corners(bits: int, adder: str) -> None:
    codes = np.array([0, 0x8000, 1, 0x0080, 0x00FF, 0x1F80, 0x3380, 0x3F80, 0xBF81, 0x3FFF, 0x7F7F, 0xFF00, 0x7F80,
                      0xFF80, 0x7F81])
    left, right = every_pair(codes)
    held = np.unique(CORNERS & (0xFFFFFFFF << (24 - bits)))
    acc = np.repeat(held, len(left))
    x, w = (np.tile(one, len(held)).astype(np.uint16) for one in (left, right))
    wanted = [scalar_step(int(t), int(p), int(q), bits) for t, p, q in zip(acc, x, w, strict=True)]
    assert accumulated(lane_accumulator(bits, adder), bits, acc, x, w).tolist() == wanted


@pytest.mark.parametrize(("bits", "acc", "x", "w", "wanted"), [
    (24, 0x80000000, 0x0000, 0x8080, 0x80000000), (24, 0x80000000, 0x8000, 0xFF7F, 0x80000000),  # a zero product
    (24, 0, 0x8080, 0x0080, 0x80000000), (24, 0, 0x0080, 0x0080, 0),  # 2^-252 rounds to a zero of its sign
    (8, 0, 0x3F81, 0x3FC0, 0x3FC20000), (8, 0x80010000, 0x3F81, 0x3FC0, 0x3FC10000),  # 193.5: a tie, and just below
    (8, 0, 0x3F83, 0x3FC0, 0x3FC40000), (8, 0x00010000, 0x3F83, 0x3FC0, 0x3FC50000),  # 196.5: a tie, and just above
    (24, 0x3F800000, 0x7F7F, 0x7F7F, 0x7F800000), (24, 0xFF7FFFFF, 0x7F7F, 0x3F80, 0xFB7FFF00),
    (24, 0x7C7F7FE0, 0x7F7F, 0x3FFF, INF),  # 2^129 − 2^103 carries past the field 255
    (24, 0x7FFFFFFF, 0, 0, NAN), (24, 0xFF800001, 0x3F80, 0x3F80, NAN),
    (24, 0x7F800000, 0xFF80, 0x3F80, NAN), (24, 0x3F800000, 0x7F80, 0x0001, NAN), (24, NAN, 0, 0, NAN),
])
def test_steps_by_hand(bits: int, acc: int, x: int, w: int, wanted: int) -> None:
    codes = np.array([[x], [w]], dtype=np.uint16)
    assert accumulated(lane_accumulator(bits), bits, np.array([acc]), *codes).tolist() == [wanted]


@pytest.mark.parametrize("bits", [24, 8])
def test_accumulators_meet_near_products(bits: int) -> None:
    acc, x, w = lanes(COUNT, bits, 3)
    wanted = steps(acc, x, w, bits)
    assert wanted[:2000].tolist() == [scalar_step(int(t), int(p), int(q), bits)
                                      for t, p, q in zip(acc[:2000], x[:2000], w[:2000], strict=True)]
    assert np.array_equal(accumulated(lane_accumulator(bits), bits, acc, x, w), wanted)


@pytest.mark.parametrize("bits", [24, 8])
def test_a_chain_of_steps_is_the_lane_sum(bits: int) -> None:
    """The block stepped through whole lanes, against lane_dot itself."""
    _, x, w = lanes(200 * 24, bits, 4)
    ordinary = ((x & 0x7F80) != 0x7F80) & ((w & 0x7F80) != 0x7F80)
    x, w = (np.where(ordinary, one, 0x3F80).astype(np.uint16).reshape(200, 24) for one in (x, w))
    block, total = lane_accumulator(bits), np.zeros(200, dtype=np.int64)
    for k in range(24):
        total = accumulated(block, bits, total, x[:, k], w[:, k])
    arithmetic = Arithmetic(accumulator=KINDS[bits])
    assert total.tolist() == [scalar.lane_dot(p.tolist(), q.tolist(), arithmetic, "fp32")
                              for p, q in zip(x, w, strict=True)]
    assert total[:1].tolist() == np.asarray(vectorised.lane_dot(x[:1], w[:1], arithmetic, "fp32")).view(
        np.uint32).ravel().tolist()


@pytest.mark.validate
@pytest.mark.parametrize(("bits", "adder"), [(24, "ripple"), (8, "ripple"), (24, "carry_select")])
def test_two_million_accumulations(bits: int, adder: str) -> None:
    block = lane_accumulator(bits, adder)
    for seed in range(MANY // CHUNK):
        acc, x, w = lanes(CHUNK, bits, 200 + seed)
        assert np.array_equal(accumulated(block, bits, acc, x, w), steps(acc, x, w, bits))


# -- the update ---------------------------------------------------------------------------------------


def updated(a: I64, b: I64, adder: str) -> None:
    outputs = answers(update_adder(adder), (a, 32), (b, 32))
    wanted = sums(a, b, 24)
    assert np.array_equal(number(outputs[:, :32]), wanted)
    assert np.array_equal(number(outputs[:, 32:]), round_to_bf16(wanted.astype(np.uint32).view(np.float32)))


@pytest.mark.parametrize("adder", ["ripple", "prefix"])
def test_updates_of_corners(adder: str) -> None:
    a, b = every_pair(CORNERS)
    updated(a, b, adder)
    outputs = answers(update_adder(adder), (a, 32), (b, 32))
    assert number(outputs[:, 32:]).tolist() == [scalar.fp32_to_bf16(int(p)) for p in number(outputs[:, :32])]


def test_updates_of_near_pairs() -> None:
    updated(*pairs(COUNT, 5), "ripple")


@pytest.mark.validate
def test_two_million_updates() -> None:
    for seed in range(MANY // CHUNK):
        updated(*pairs(CHUNK, 300 + seed), "ripple")


def stochastic(a: I64, seed: int) -> None:
    """The random bits that the update draws go into the circuit."""
    got = number(answers(stochastic_rounder(), (a, 32), (update.random_bits(len(a), seed, 7).astype(np.int64), 16)))
    assert np.array_equal(got, update.round_stochastic(a.astype(np.uint32).view(np.float32), seed, 7))


def test_stochastic_rounding_of_near_patterns() -> None:
    stochastic(np.concatenate([np.tile(CORNERS, 200), pairs(COUNT, 6)[0]]), 9)


def test_stochastic_rounding_carries_where_the_lost_part_and_the_random_bits_do() -> None:
    low = np.arange(1 << 16)
    for high in (0x3F80, 0xBFFF, 0x7F7F, 0x007F, 0x0080, 0x8000):
        a, rng = high << 16 | low, np.random.Generator(np.random.Philox(high))
        for random in (np.zeros_like(low), np.full_like(low, 0xFFFF), 0xFFFF - low, 0x10000 - np.maximum(low, 1),
                       rng.integers(0, 1 << 16, len(low))):
            code = high + (low + random >= 1 << 16)
            wanted = np.where((code & 0x7F80) == 0, code & 0x8000, code)
            assert np.array_equal(number(answers(stochastic_rounder(), (a, 32), (random, 16))), wanted)


@pytest.mark.validate
def test_stochastic_rounding_of_two_million_patterns() -> None:
    for seed in range(MANY // CHUNK):
        stochastic(pairs(CHUNK, 400 + seed)[0], seed)
