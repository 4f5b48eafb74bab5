"""Accumulators, the Hadamard lane, the update and its rounding as circuits, against the system's arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from charlib.errors import BadInput
from charlib.gates import simulate
from charlib.gates.clocked import run_cycles
from charlib.gates.compound import connect, fed_back
from charlib.gates.floatadd import float_adder, lane_accumulator, stochastic_rounder, update_adder
from charlib.gates.hadamard import hadamard_rounder, relu_gradient
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of, lane_bits, products_of
from system.numerics import scalar, update
from system.numerics.arithmetic import Arithmetic

COUNT = 4000


def number(bits: Bits) -> np.ndarray:
    return np.asarray((bits.astype(np.int64) << np.arange(bits.shape[1])).sum(axis=1))


def patterns(count: int, seed: int) -> np.ndarray:
    """FP32 patterns: ordinary, subnormal, zero, infinite, NaN, and ties at BF16's rounding."""
    rng = np.random.Generator(np.random.Philox(seed))
    exponent = np.where(rng.random(count) < 0.5, rng.integers(100, 130, count), rng.integers(0, 256, count))
    exponent = np.where(rng.random(count) < 0.15, rng.choice([0, 1, 2, 254, 255], count), exponent)
    ties = rng.choice([0, 1, 0x400000, 0x7FFFFF, 0x008000, 0x018000], count)
    fraction = np.where(rng.random(count) < 0.2, ties, rng.integers(0, 1 << 23, count))
    return np.asarray((rng.integers(0, 2, count) << 31) | (exponent << 23) | fraction)


def neighbours(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs, many that cancel and many whose exponents lie near each other."""
    rng = np.random.Generator(np.random.Philox(seed))
    a, b = patterns(count, seed), patterns(count, seed + 1)
    part = count // 4
    b[:part] = a[:part] ^ (1 << 31)
    b[:part // 2] ^= rng.integers(0, 4, part // 2)
    near = slice(part, 3 * part)
    exponent = np.clip((a[near] >> 23 & 255) + rng.integers(-27, 5, 2 * part), 0, 254)
    b[near] = (b[near] & 0x807FFFFF) | (exponent << 23)
    return a, b


def products(acc: np.ndarray, seed: int) -> tuple[Codes, Codes]:
    """Operand codes whose products lie near the accumulators, and others."""
    rng = np.random.Generator(np.random.Philox(seed))
    x, w = (rng.integers(0, 1 << 16, len(acc)) for _ in range(2))
    ex = rng.integers(1, 255, len(acc))
    ew = np.clip((acc >> 23 & 255) + 127 - ex + rng.integers(-28, 7, len(acc)), 0, 255)
    near = rng.random(len(acc)) < 0.7
    return (np.where(near, x & 0x807F | ex << 7, x).astype(np.uint16),
            np.where(near, w & 0x807F | ew << 7, w).astype(np.uint16))


def step(total: int, x: int, w: int, bits: int) -> int:
    """One step of the scalar lane accumulation, from any accumulator."""
    special = scalar.special_product(x, w)
    if special is not None or total & 0x7F800000 == scalar.FP32_INF:
        return scalar.add(total, 0 if special is None else special << 16, bits)
    (sx, ex, mx), (sw, ew, mw) = scalar.decode(x), scalar.decode(w)
    if not mx * mw:
        return total
    return scalar.add_exact(*scalar.as_integer(total), sx ^ sw, mx * mw, ex + ew - 254 - 14, bits)


def added(bits: int, adder: str, count: int, seed: int) -> None:
    a, b = neighbours(count, seed)
    got = number(simulate(float_adder(bits, adder), np.hstack([bits_of(a, 32), bits_of(b, 32)]))) << (24 - bits)
    assert np.array_equal(got, [scalar.add(int(p), int(q), bits) for p, q in zip(a, b, strict=True)])


def accumulated(bits: int, adder: str, count: int, seed: int) -> None:
    acc = patterns(count, seed) & (0xFFFFFFFF << (24 - bits))
    acc = np.where((acc & 0x7FFFFFFF) > 0x7F800000, 0x7FC00000, acc)
    x, w = products(acc, seed)
    vectors = np.hstack([bits_of(acc >> (24 - bits), 8 + bits), lane_bits(products_of(x[:, None], w[:, None]))])
    got = number(simulate(lane_accumulator(bits, adder), vectors)) << (24 - bits)
    assert np.array_equal(got, [step(int(t), int(p), int(q), bits) for t, p, q in zip(acc, x, w, strict=True)])


@pytest.mark.parametrize("bits", [24, 8])
@pytest.mark.parametrize("adder", ["ripple", "carry_select", "prefix"])
def test_accumulators_are_the_arithmetic(bits: int, adder: str) -> None:
    added(bits, adder, COUNT, 5)
    accumulated(bits, adder, COUNT, 6)


@pytest.mark.validate
@pytest.mark.parametrize("bits", [24, 8])
def test_accumulators_are_the_arithmetic_on_many(bits: int) -> None:
    for seed in range(10):
        added(bits, "ripple", 50_000, 1000 + 3 * seed)
        accumulated(bits, "carry_select", 50_000, 2000 + 3 * seed)


def test_a_pipelined_adder_answers_a_clock_later() -> None:
    a, b = neighbours(50, 9)
    cycles = run_cycles(float_adder(adder="carry_select", stages=2), np.hstack([bits_of(a, 32), bits_of(b, 32)]))
    assert np.array_equal(number(cycles.outputs)[1:],
                          [scalar.add(int(p), int(q), 24) for p, q in zip(a[:-1], b[:-1], strict=True)])


def test_two_sums_interleave_in_a_fed_back_accumulator() -> None:
    rng = np.random.Generator(np.random.Philox(11))
    x, w = (rng.integers(0x3E00, 0x4200, 24).astype(np.uint16) for _ in range(2))
    block = fed_back(lane_accumulator(adder="carry_select", stages=2), "y", "acc", 32)
    cycles = run_cycles(block, lane_bits(products_of(x[:, None], w[:, None])))
    found = number(cycles.outputs)
    for start in (0, 1):
        total = 0
        for k in range(start, 22, 2):
            total = step(total, int(x[k]), int(w[k]), 24)
            assert found[k + 1] == total


@pytest.mark.parametrize("saturate", [False, True])
def test_the_hadamard_lane_is_the_arithmetic(saturate: bool) -> None:
    x = (patterns(COUNT, 20) >> 16).astype(np.uint16)
    rng = np.random.Generator(np.random.Philox(21))
    away = rng.integers(-3, 131, COUNT) * rng.choice([-1, 1], COUNT)
    near = np.clip(254 - (x >> 7 & 255).astype(int) + away, 0, 255)
    w = (near << 7 | rng.integers(0, 128, COUNT)).astype(np.uint16)
    got = number(simulate(hadamard_rounder(saturate), lane_bits(products_of(x[:, None], w[:, None]))))
    wanted = [scalar.product(int(p), int(q), Arithmetic(saturate=saturate)) for p, q in zip(x, w, strict=True)]
    assert np.array_equal(got, wanted)


def test_the_update_adds_and_rounds_for_the_array() -> None:
    a, b = neighbours(COUNT, 30)
    outputs = simulate(update_adder(), np.hstack([bits_of(a, 32), bits_of(b, 32)]))
    wanted = [scalar.add(int(p), int(q), 24) for p, q in zip(a, b, strict=True)]
    assert np.array_equal(number(outputs[:, :32]), wanted)
    assert np.array_equal(number(outputs[:, 32:]), [scalar.fp32_to_bf16(p) for p in wanted])


def test_stochastic_rounding_is_the_update_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    a = patterns(COUNT, 40)
    random = np.random.Generator(np.random.Philox(41)).integers(0, 1 << 16, COUNT)
    monkeypatch.setattr(update, "random_bits", lambda count, seed, number, tensor: random.astype(np.uint16))
    wanted = update.round_stochastic(a.astype(np.uint32).view(np.float32), 0, 0)
    got = number(simulate(stochastic_rounder(), np.hstack([bits_of(a, 32), bits_of(random, 16)])))
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("six", [0, 1])
def test_the_gradient_passes_where_the_activation_rises(six: int) -> None:
    z = np.concatenate([(patterns(COUNT, 50) >> 16), [0x40C0, 0x40BF, 0x40C1, 0, 0x8000, 0x0080, 0x0001]])
    d = np.random.Generator(np.random.Philox(51)).integers(0, 1 << 16, len(z))
    with np.errstate(invalid="ignore"):
        values = (z << 16).astype(np.uint32).view(np.float32).astype(np.float64)
        rises = (values >= 2.0**-126) & ((values < 6) if six else True)
    vectors = np.hstack([bits_of(z, 16), bits_of(d, 16), np.full((len(z), 1), six, np.uint8)])
    assert np.array_equal(number(simulate(relu_gradient(), vectors)), np.where(rises, d, 0))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: float_adder(11), "out_bits: 8 or 24 are allowed, got 11"),
    (lambda: lane_accumulator(stages=3), "stages: 1 or 2 are allowed, got 3"),
    (lambda: fed_back(float_adder(), "z", "a", 32), "Block 'float_adder_24_ripple_1': no output 'z0' or input 'a0'"),
    (lambda: connect("t", {"p": relu_gradient()}, {"p_q": "x"}), "Block 't': 'p_q' is no input of its blocks"),
])
def test_bad_parameters_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}"):
        make()
