"""Scalar twin, NumPy and compiled kernel against each other and against exact rationals, bit for bit."""

from __future__ import annotations

import itertools
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from exact_oracle import oracle_round, oracle_tree, toward_zero, value
from hypothesis import given, settings
from hypothesis import strategies as st

from charlib.errors import BadInput
from system.numerics import compiled, scalar, scalar_update, update, vectorised
from system.numerics.arithmetic import Arithmetic, tiles
from system.numerics.formats import Codes, round_to_bf16, values_of

MODES = [
    Arithmetic(lanes, guard, mode, tile, acc, sat)
    for (lanes, guard), mode, tile, acc, sat in itertools.product(
        [(4, 8), (9, -4), (32, 4)], ["magnitude", "floor", "sticky"], ["fp32", "bf16"], ["fp32", "bf16"], [False])
] + [
    Arithmetic(saturate=True), Arithmetic(alignment="pre"), Arithmetic(9, 0, alignment="pre", tile_type="bf16"),
    Arithmetic(4, 16, alignment="pre", accumulator="bf16"), Arithmetic(accumulator="fixed"),
    Arithmetic(accumulator="fixed", fixed_bits=19, fixed_guard=2, saturate=True),
    Arithmetic(accumulator="fixed", fixed_bits=48, fixed_guard=16),
    Arithmetic(accumulator="fixed", fixed_bits=12, fixed_guard=-5),
]
IDS = [f"{a.lanes}-{a.guard_bits}-{a.align_mode}-{a.tile_type}-{a.accumulator}-{a.saturate}-{a.alignment}-"
       f"{a.fixed_bits}" for a in MODES]
INF, NAN, MAX, ZERO, TINY = 0x7F80, 0x7FC0, 0x7F7F, 0x0000, 0x0001
ONE, MINUS = 0x3F80, 0x8000


def code(value: float) -> int:
    return int(round_to_bf16(np.array([value]))[0])


def operands(kind: str, rows: int, depth: int, seed: int) -> Codes:
    rng = np.random.default_rng(seed)
    if kind == "near":  # exponents close together: cancellation and ties
        values = rng.integers(-8, 9, (rows, depth)) * 2.0 ** rng.integers(-2, 3, (rows, depth))
        return round_to_bf16(values)
    if kind == "wide":
        return round_to_bf16(rng.standard_normal((rows, depth)) * 2.0 ** rng.integers(-60, 60, (rows, depth)))
    if kind == "edge":  # over- and underflow of FP32 and BF16
        scales = 2.0 ** rng.choice([-76, -63, -1, 62, 66], (rows, depth))
        return round_to_bf16(rng.standard_normal((rows, depth)) * scales)
    if kind == "cancel":
        values = round_to_bf16(rng.standard_normal((rows, depth)) * 2.0 ** rng.integers(-6, 6, (rows, depth)))
        values[:, 1::2] = values[:, ::2][:, : depth // 2] ^ 0x8000
        return values
    codes = rng.integers(0, 1 << 16, (rows, depth)).astype(np.uint16)  # "any": every pattern
    finite = (codes & 0x7F80) != 0x7F80
    return codes if kind == "any" else np.where(finite, codes, 0).astype(np.uint16)


def pairs(kind: str, depth: int, seed: int) -> tuple[Codes, Codes]:
    x, w = operands(kind, 5, depth, seed), operands("near" if kind == "cancel" else kind, 4, depth, seed + 1)
    if kind == "cancel":
        w[:, 1::2] = w[:, ::2][:, : depth // 2]
    return x, w


def scalar_dot(x: Codes, w: Codes, arithmetic: Arithmetic, result: str) -> np.ndarray:
    rows = [[scalar.dot(list(map(int, a)), list(map(int, b)), arithmetic, result) for b in w] for a in x]
    return np.array(rows, dtype=np.uint32 if result == "fp32" else np.uint16)


def scalar_lanes(w: Codes, delta: Codes, arithmetic: Arithmetic, result: str) -> np.ndarray:
    rows = [[scalar.lane_dot(list(map(int, b)), list(map(int, a)), arithmetic, result) for b in w] for a in delta]
    return np.array(rows, dtype=np.uint32 if result == "fp32" else np.uint16)


def bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.float32:
        pattern = array.view(np.uint32)
        return np.where(np.isnan(array), np.uint32(NAN << 16), pattern)
    return array


@pytest.mark.parametrize("arithmetic", MODES, ids=IDS)
@pytest.mark.parametrize("kind", ["near", "wide", "edge", "cancel", "finite", "any"])
def test_twins_agree(arithmetic: Arithmetic, kind: str) -> None:
    for depth, result in itertools.product((1, 7, 33), ("bf16", "fp32")):
        x, w = pairs(kind, depth, depth)
        want, lanes = scalar_dot(x, w, arithmetic, result), scalar_lanes(w, x, arithmetic, result)
        np.testing.assert_array_equal(bits(vectorised.dot(x, w, arithmetic, result)), want)
        np.testing.assert_array_equal(bits(vectorised.lane_dot(w, x, arithmetic, result)), lanes)
        if kind != "any":
            np.testing.assert_array_equal(bits(compiled.dot(x[None], w[None], arithmetic, result)[0]), want)
            np.testing.assert_array_equal(bits(compiled.lane_dot(w[None], x[None], arithmetic, result)[0]), lanes)


@pytest.mark.parametrize("arithmetic", [a for a in MODES if a.lanes != 9], ids=[i for i in IDS if i[0] != "9"])
def test_tree_against_exact_rationals(arithmetic: Arithmetic) -> None:
    for kind in ("near", "wide", "cancel", "edge"):
        x, w = pairs(kind, arithmetic.lanes, 11)
        got = vectorised.tree(x, w[0], arithmetic)
        assert got.tolist() == [oracle_tree(row, w[0], arithmetic) for row in x]


@pytest.mark.parametrize("arithmetic", MODES[::3], ids=IDS[::3])
def test_the_error_bound_holds(arithmetic: Arithmetic) -> None:
    for kind in ("near", "wide", "cancel"):
        x, w = pairs(kind, arithmetic.lanes, 5)
        got, bound = vectorised.tree(x, w[0], arithmetic), vectorised.error_bound(x, w[0], arithmetic)
        for row, value_got, limit in zip(x, got, bound, strict=True):
            exact = sum((value(int(a)) * value(int(b)) for a, b in zip(row, w[0], strict=True)), Fraction(0))
            assert abs(Fraction(float(value_got)) - exact) <= Fraction(float(limit))


def test_lane_accumulation_against_exact_rationals() -> None:
    for kind in ("near", "wide"):
        x, w = pairs(kind, 40, 3)
        total = Fraction(0)
        for a, b in zip(x[0], w[0], strict=True):
            rounded = oracle_round(total + value(int(a)) * value(int(b)), 24)
            if abs(rounded) == float("inf"):
                pytest.fail("the case overflows; choose another seed")
            total = Fraction(rounded)
        got = vectorised.lane_dot(w[:1], x[:1], Arithmetic(), "fp32")
        assert float(got[0, 0]) == float(total)


@pytest.mark.parametrize("a", [a for a in MODES if a.accumulator == "fixed"], ids=lambda a: f"{a.fixed_bits}")
def test_fixed_accumulation_against_exact_rationals(a: Arithmetic) -> None:
    held = 0
    for kind, words in (("near", 9), ("wide", 40), ("cancel", 40), ("same", 400)):
        x, w = pairs(kind, words, 3) if kind != "same" else (np.full((1, words), MAX - 0x2000, np.uint16),) * 2
        products = [value(int(p)) * value(int(q)) for p, q in zip(x[0], w[0], strict=True)]
        fields = [(int(p) >> 7 & 0xFF) + (int(q) >> 7 & 0xFF) for p, q in zip(x[0], w[0], strict=True)]
        quantum = Fraction(2) ** (max(f for f, p in zip(fields, products, strict=True) if p) - 268 - a.fixed_guard)
        total = 0
        for p in products:
            total += toward_zero(p / quantum)
            if not -(2 ** (a.fixed_bits - 1)) <= total < 2 ** (a.fixed_bits - 1):
                held += 1
                total = -(2 ** (a.fixed_bits - 1)) if total < 0 else 2 ** (a.fixed_bits - 1) - 1
        got = vectorised.lane_dot(w[:1], x[:1], a, "fp32")
        assert float(got[0, 0]) == oracle_round(total * quantum, 24)
    assert held > 0 or a.fixed_bits >= 32


def test_pre_alignment_loses_what_products_would_need() -> None:
    """A small serial operand at a large stored one: its bits are gone before the product is known."""
    xs, ws = [ONE, code(2.0**-14)], [code(2.0**-14), ONE]
    assert scalar.fp32_value(scalar.dot(xs, ws, Arithmetic(), "fp32")) == 2.0**-13
    assert scalar.dot(xs, ws, Arithmetic(alignment="pre"), "fp32") == 0


def test_the_weight_gradient_of_both_modes() -> None:
    """"outer" adds exact products in FP32 whatever the accumulator; "batched" is the tree over samples."""
    x, w = pairs("wide", 50, 8)
    a = Arithmetic(accumulator="bf16")
    samples, deltas = list(map(int, w[0])), list(map(int, x[0]))
    outer, batched = (scalar.weight_gradient(samples, deltas, a, mode) for mode in ("outer", "batched"))
    assert outer == scalar.lane_dot(samples, deltas, Arithmetic(), "fp32")
    assert batched == scalar.dot(deltas, samples, a, "fp32")


def test_every_code_rounds_to_itself_and_ties_as_ml_dtypes() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    values = values_of(codes)
    normal = np.isfinite(values) & ((codes & 0x7F80) != 0)
    np.testing.assert_array_equal(round_to_bf16(values)[normal], codes[normal])
    patterns = (codes.astype(np.uint32) << 16)[normal]
    for low in (0x7FFF, 0x8000, 0x8001, 0xFFFF):
        x = (patterns | low).view(np.float32)
        with np.errstate(over="ignore"):
            want = x.astype(ml_dtypes.bfloat16).view(np.uint16)
        np.testing.assert_array_equal(round_to_bf16(x), want)
        sample = x[::97]
        assert [scalar.fp32_to_bf16(int(p)) for p in sample.view(np.uint32)] == want[::97].tolist()
    assert set(round_to_bf16(values[np.isnan(values)])) == {NAN}


@pytest.mark.parametrize("saturate", [False, True])
def test_products(saturate: bool) -> None:
    """A stride over all pairs, against the scalar twin and, where nothing is subnormal, against ml_dtypes."""
    arithmetic = Arithmetic(saturate=saturate)
    x, w = (a.ravel() for a in np.meshgrid(np.arange(0, 1 << 16, 257, dtype=np.uint16),
                                           np.arange(3, 1 << 16, 311, dtype=np.uint16)))
    got = vectorised.product(x, w, arithmetic)
    want = [scalar.product(int(a), int(b), arithmetic) for a, b in zip(x[::7], w[::7], strict=True)]
    assert got[::7].tolist() == want
    if not saturate:
        with np.errstate(all="ignore"):
            other = (x.view(ml_dtypes.bfloat16) * w.view(ml_dtypes.bfloat16)).view(np.uint16)
        plain = ((x & 0x7F80) != 0) & ((w & 0x7F80) != 0) & ((other & 0x7F80) != 0) & ((other & 0x7FFF) <= INF)
        plain &= (got & 0x7F80) != 0
        np.testing.assert_array_equal(got[plain], other[plain])


def one(xs: list[int], ws: list[int], arithmetic: Arithmetic) -> int:
    x, w = np.array([xs], dtype=np.uint16), np.array([ws], dtype=np.uint16)
    got = int(vectorised.dot(x, w, arithmetic)[0, 0])
    assert got == scalar.dot(xs, ws, arithmetic)
    return got


def test_directed_cases() -> None:
    a = Arithmetic()
    huge, small = code(2.0**100), code(2.0**-20)
    assert one([ZERO, small], [huge, small], a) == code(2.0**-40)  # 0 × 2^100 does not shift real lanes away
    assert one([TINY, small], [huge, small], a) == code(2.0**-40)  # nor does a subnormal
    assert one([ONE, ONE | MINUS], [huge, huge], a) == 0
    assert one([ZERO] * 5, [huge] * 5, a) == 0
    assert one([INF], [ONE], a) == INF
    assert one([INF | MINUS, ONE], [ONE, huge], a) == INF | MINUS
    assert one([INF, INF | MINUS], [ONE, ONE], a) == NAN
    assert one([INF], [ZERO], a) == NAN
    assert one([INF], [TINY], a) == NAN
    assert one([NAN, ONE], [ONE, ONE], a) == NAN
    assert one([MAX] * 2, [MAX] * 2, a) == INF
    assert one([MAX] * 2, [ONE] * 2, Arithmetic(saturate=True, tile_type="bf16")) == INF  # the tile overflowed
    half_ulp = [MAX, code(2.0**119)]  # a tie that rounds to even, which is infinity
    assert one(half_ulp, [ONE, ONE], Arithmetic(guard_bits=8)) == INF
    assert one(half_ulp, [ONE, ONE], Arithmetic(guard_bits=8, saturate=True)) == MAX
    assert scalar.product(MAX, MAX, Arithmetic(saturate=True)) == MAX
    assert one([code(2.0**-70)], [code(-(2.0**-70))], a) == MINUS  # flushes, keeping its sign
    assert one([], [], a) == 0


def test_magnitude_and_floor_differ() -> None:
    xs, ws = [ONE, code(-(2.0**-20))], [ONE, code(1.5)]
    magnitude = scalar.dot(xs, ws, Arithmetic(guard_bits=0), "fp32")
    floor = scalar.dot(xs, ws, Arithmetic(guard_bits=0, align_mode="floor"), "fp32")
    assert scalar.fp32_value(magnitude) == 1.0
    assert scalar.fp32_value(floor) == 1.0 - 2.0**-14


def test_lane_accumulation_is_not_a_fused_tree() -> None:
    """One large product first: the accumulator keeps small ones that the tree's alignment drops."""
    ws = [code(2.0**12), *[code(2.0**-8)] * 31]
    deltas = [ONE] * 32
    lanes = scalar.lane_dot(ws, deltas, Arithmetic(), "fp32")
    fused = scalar.dot(deltas, ws, Arithmetic(), "fp32")
    assert scalar.fp32_value(lanes) != scalar.fp32_value(fused)


@given(st.integers(0, 300), st.integers(1, 64))
def test_tiles_cover_in_order(depth: int, lanes: int) -> None:
    assert [k for tile in tiles(depth, lanes) for k in tile] == list(range(depth))
    assert all(len(tile) <= lanes for tile in tiles(depth, lanes))


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=32))
@settings(max_examples=50)
def test_small_integers_sum_exactly(numbers: list[int]) -> None:
    got = scalar.dot([code(n) for n in numbers], [ONE] * len(numbers), Arithmetic(guard_bits=8), "fp32")
    assert scalar.fp32_value(got) == sum(numbers)


def test_threads_do_not_change_bits() -> None:
    import numba

    x, w = operands("wide", 40, 70, 1)[None], operands("wide", 30, 70, 2)[None]
    many = compiled.dot(x, w, Arithmetic(), "fp32")
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        np.testing.assert_array_equal(compiled.dot(x, w, Arithmetic(), "fp32"), many)
    finally:
        numba.set_num_threads(before)


@pytest.mark.parametrize("build", [
    lambda: Arithmetic(lanes=0), lambda: Arithmetic(guard_bits=25), lambda: Arithmetic(align_mode="up"),
    lambda: Arithmetic(tile_type="fp64"), lambda: Arithmetic(accumulator="fp64"), lambda: Arithmetic(alignment="mid"),
    lambda: Arithmetic(alignment="pre", align_mode="floor"), lambda: Arithmetic(alignment="pre", guard_bits=-1),
    lambda: Arithmetic(fixed_bits=20), lambda: Arithmetic(fixed_bits=49), lambda: Arithmetic(tile_type="fixed"),
    lambda: tiles(1, 0),
    lambda: vectorised.dot(np.zeros((1, 2), np.uint16), np.zeros((1, 3), np.uint16), Arithmetic()),
    lambda: compiled.dot(np.zeros((1, 1, 1), np.int32), np.zeros((1, 1, 1), np.uint16), Arithmetic()),
    lambda: vectorised.dot(np.zeros((1, 2), np.uint16), np.zeros((1, 2), np.uint16), Arithmetic(), "fp64"),
    lambda: update.Sgd(0.1, rule="none"), lambda: update.Sgd(-1.0),
    lambda: update.step(update.start(np.zeros(3, np.float32), update.Sgd(0.1)), np.zeros(2, np.float32),
                        update.Sgd(0.1), 0),
])
def test_refuses(build: object) -> None:
    assert callable(build)
    with pytest.raises(BadInput):
        build()


def test_update_rules() -> None:
    """Many steps far below half an ulp: rounding to nearest stands still, the other rules move."""
    gradient = np.full(4096, 1e-4, dtype=np.float32)
    moved = {}
    for rule in update.RULES:
        sgd = update.Sgd(rate=1.0, momentum=0.0, rule=rule, seed=3)
        state = update.start(np.ones(4096, dtype=np.float32), sgd)
        for number in range(50):
            state = update.step(state, gradient, sgd, number)
        moved[rule] = 1 - float(values_of(state.weight).mean())
    assert moved["bf16"] == 0.0
    for rule in ("master", "stochastic", "kahan"):
        assert moved[rule] == pytest.approx(50e-4, rel=0.25), rule


@pytest.mark.parametrize("rule", update.RULES)
@pytest.mark.parametrize("kind", ["near", "wide", "edge"])
def test_the_scalar_update_is_the_vectorised_one(rule: str, kind: str) -> None:
    sgd = update.Sgd(0.07, 0.9, 1e-3, rule, 11)
    rng = np.random.default_rng(2)
    state = update.start(values_of(operands(kind, 1, 60, 4))[0], sgd)
    ones = [scalar_update.Weight(int(c), int(v), int(e)) for c, v, e in
            zip(state.weight, state.velocity.view(np.uint32), state.extra.view(np.uint32), strict=True)]
    for number in range(6):
        gradient = values_of(operands(kind, 1, 60, 20 + number))[0] * np.float32(1 + rng.random())
        state = update.step(state, gradient, sgd, number)
        random = update.random_bits(60, 11, number)
        ones = [scalar_update.step(w, int(g), sgd, int(r))
                for w, g, r in zip(ones, gradient.view(np.uint32), random, strict=True)]
        assert [w.code for w in ones] == state.weight.tolist()
        np.testing.assert_array_equal(np.array([w.velocity for w in ones], np.uint32), bits(state.velocity))
        np.testing.assert_array_equal(np.array([w.extra for w in ones], np.uint32), bits(state.extra))


def test_random_bits_depend_on_seed_and_step_alone() -> None:
    first = update.random_bits(1000, 1, 2)
    np.testing.assert_array_equal(first[:10], update.random_bits(10, 1, 2))
    assert not np.array_equal(first, update.random_bits(1000, 1, 3))
    assert not np.array_equal(first, update.random_bits(1000, 2, 2))
