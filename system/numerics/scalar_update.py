"""The update of one weight in exact integers: twin of :mod:`system.numerics.update`. FP32 values are 32-bit patterns.

    v' = µ·v + (g + λ·w),  change = −η·v'   (Hadamard product by η),  w' = rule(w + change)   (near-memory add)

Every product and every sum rounds to FP32; only what goes back into the array rounds to BF16.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from system.numerics.scalar import FP32_INF, FP32_NAN, INF, NAN, SIGN, add, as_integer, encode, fp32_to_bf16
from system.numerics.update import Sgd


@dataclass(frozen=True)
class Weight:
    """code: BF16 in the array. velocity, extra (master copy or compensation): FP32 patterns."""

    code: int
    velocity: int
    extra: int


def pattern(value: float) -> int:
    """The FP32 pattern nearest to a number."""
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def negative(a: int) -> int:
    """−a."""
    return a ^ 1 << 31


def multiply(a: int, b: int) -> int:
    """Product of two FP32 patterns, rounded to FP32; an infinity times zero is NaN."""
    magnitudes = a & 0x7FFFFFFF, b & 0x7FFFFFFF
    if max(magnitudes) > FP32_INF or (max(magnitudes) == FP32_INF and min(magnitudes) == 0):
        return FP32_NAN
    sign = (a ^ b) >> 31
    if max(magnitudes) == FP32_INF:
        return sign << 31 | FP32_INF
    (_, na, ea), (_, nb, eb) = as_integer(a), as_integer(b)
    return encode(sign, na * nb, ea + eb, 24)


def step(weight: Weight, gradient: int, sgd: Sgd, random_bits: int) -> Weight:
    """One update; random_bits: 16 of them, for stochastic rounding."""
    held = weight.extra if sgd.rule == "master" else weight.code << 16
    pull = add(gradient, multiply(pattern(sgd.decay), held), 24)
    velocity = add(multiply(pattern(sgd.momentum), weight.velocity), pull, 24)
    change = multiply(negative(pattern(sgd.rate)), velocity)
    if sgd.rule == "kahan":
        wanted = add(change, negative(weight.extra), 24)
        code = fp32_to_bf16(add(held, wanted, 24))
        lost = add(add(code << 16, negative(held), 24), negative(wanted), 24)
        return Weight(code, velocity, fp32_to_bf16(lost) << 16)
    total = add(held, change, 24)
    if sgd.rule == "master":
        return Weight(fp32_to_bf16(total), velocity, total)
    if sgd.rule == "stochastic":
        return Weight(stochastic(total, random_bits), velocity, weight.extra)
    return Weight(fp32_to_bf16(total), velocity, weight.extra)


def stochastic(total: int, random_bits: int) -> int:
    """BF16 code of an FP32 pattern, rounded away from zero with the probability of the 16 bits that are lost."""
    if total & 0x7FFFFFFF > FP32_INF:
        return NAN
    if total & 0x7FFFFFFF == FP32_INF:
        return total >> 16
    code = (total + random_bits) >> 16
    return code & SIGN if code & INF == 0 else code
