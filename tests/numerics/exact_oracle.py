"""The oracle: one sum at a time in exact fractions, from the definition of the arithmetic alone.

Nothing here knows how a kernel goes about it: a lane's quantum, a floor, a rounding are said as such. Slow; it holds
the scalar twin, the vectorised kernels on samples, and the wide oracle that checks millions.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import Codes

INF, NAN = 0x7F80, 0x7FC0


def value(pattern: int) -> Fraction:
    """Exact value of a finite BF16 code, subnormals as zero."""
    sign, exponent, significand = pattern >> 15, pattern >> 7 & 0xFF, pattern & 0x7F | 0x80
    return Fraction(0) if exponent == 0 else (-1) ** sign * Fraction(significand) * Fraction(2) ** (exponent - 134)


def oracle_round(x: Fraction, precision: int) -> float:
    """Nearest even at `precision` bits with binary32's exponent range, by search over neighbours."""
    if x == 0:
        return 0.0
    exponent = max(_floor_log2(abs(x)), -126)
    quantum = Fraction(2) ** (exponent - precision + 1)
    steps = x / quantum
    low = steps.numerator // steps.denominator
    rest = steps - low
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2 == 1)
    rounded = (low + up) * quantum
    if rounded == 0:
        return math.copysign(0.0, x)
    return float(rounded) if abs(rounded) < Fraction(2) ** 128 else float("inf") * (1 if x > 0 else -1)


def _floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if Fraction(2) ** guess <= x else guess - 1


def toward_zero(steps: Fraction) -> int:
    return abs(steps.numerator) // steps.denominator * (1 if steps > 0 else -1)


def oracle_pre_aligned(xs: Codes, ws: Codes, a: Arithmetic) -> float:
    total = [[], []]  # type: ignore[var-annotated]
    for side, codes, guard in ((0, xs, a.guard_bits), (1, ws, 4)):
        exact = [value(int(c)) for c in codes]
        quantum = Fraction(2) ** (max((_floor_log2(abs(v)) for v in exact if v), default=0) - 7 - guard)
        total[side] = [toward_zero(v / quantum) * quantum for v in exact]
    return oracle_round(sum((x * w for x, w in zip(*total, strict=True)), Fraction(0)),
                        24 if a.tile_type == "fp32" else 8)


def oracle_tree(xs: Codes, ws: Codes, a: Arithmetic) -> float:
    if a.alignment == "pre":
        return oracle_pre_aligned(xs, ws, a)
    products = [value(int(x)) * value(int(w)) for x, w in zip(xs, ws, strict=True)]
    fields = [(int(x) >> 7 & 0xFF) + (int(w) >> 7 & 0xFF) for x, w in zip(xs, ws, strict=True)]
    valid = [(p, e) for p, e in zip(products, fields, strict=True) if p]
    if not valid:
        return 0.0
    quantum = Fraction(2) ** (max(e for _, e in valid) - 254 - 14 - a.guard_bits)
    total = Fraction(0)
    for p, _ in valid:
        steps = p / quantum
        floor = steps.numerator // steps.denominator
        truncated = floor if p > 0 or steps == floor else floor + 1
        lane = floor if a.align_mode == "floor" else truncated
        if a.align_mode == "sticky" and steps != truncated and lane % 2 == 0:
            lane += 1 if p > 0 else -1
        total += lane * quantum
    return oracle_round(total, 24 if a.tile_type == "fp32" else 8)


def special(x: int, w: int) -> float | None:
    """NaN or a signed infinity where the product is one; a subnormal is a zero."""
    if INF not in (x & INF, w & INF):
        return None
    factors = [math.nan if p & 0x7FFF > INF else math.copysign(math.inf, -(p >> 15) or 1) if p & INF == INF
               else float(value(p)) for p in (x, w)]
    return factors[0] * factors[1]


def add(a: float, b: float | Fraction, precision: int) -> float:
    """a + b rounded once; an exact zero is +0 unless both are -0."""
    if not (math.isfinite(a) and (isinstance(b, Fraction) or math.isfinite(b))):
        return a + float(b)
    total = Fraction(a) + Fraction(b)
    if total == 0:
        return -0.0 if isinstance(b, float) and math.copysign(1, a) + math.copysign(1, b) == -2 else 0.0
    return oracle_round(total, precision)


def specials(xs: Codes, ws: Codes) -> list[float]:
    """Of all products, those that are no numbers."""
    found = (special(int(x), int(w)) for x, w in zip(xs, ws, strict=True))
    return [s for s in found if s is not None]


def dot(xs: Codes, ws: Codes, a: Arithmetic) -> float:
    """The fused tree, tile by tile: an FP32 value."""
    total, precision = 0.0, 8 if a.accumulator == "bf16" else 24
    for start in range(0, len(xs), a.lanes):
        x, w = xs[start:start + a.lanes], ws[start:start + a.lanes]
        found = specials(x, w)
        total = add(total, sum(found) if found else oracle_tree(x, w, a), precision)
    return total


def fixed_sum(xs: Codes, ws: Codes, a: Arithmetic) -> float:
    """A fixed-point accumulator, held at its ends."""
    products = [value(int(x)) * value(int(w)) for x, w in zip(xs, ws, strict=True)]
    fields = [(int(x) >> 7 & 0xFF) + (int(w) >> 7 & 0xFF) for x, w in zip(xs, ws, strict=True)]
    quantum = Fraction(2) ** (max((f for f, p in zip(fields, products, strict=True) if p), default=0) - 268
                              - a.fixed_guard)
    most, total = 2 ** (a.fixed_bits - 1) - 1, 0
    for p in products:
        total = max(-most - 1, min(most, total + toward_zero(p / quantum)))
    return oracle_round(total * quantum, 24)


def lane_dot(ws: Codes, deltas: Codes, a: Arithmetic) -> float:
    """Lane accumulation: an FP32 value."""
    found = specials(ws, deltas)
    if a.accumulator == "fixed":
        return sum(found) if found else fixed_sum(ws, deltas, a)
    total, precision = 0.0, 8 if a.accumulator == "bf16" else 24
    for w, delta in zip(ws, deltas, strict=True):
        s = special(int(w), int(delta))
        exact = None if s is not None else value(int(w)) * value(int(delta))
        if s is not None:
            total += s
        elif exact:
            total = add(total, exact, precision) if math.isfinite(total) else total
    return total


def fp32_pattern(x: float) -> int:
    """The bits of an FP32 value; the one NaN is 0x7FC00000."""
    return NAN << 16 if math.isnan(x) else int.from_bytes(struct.pack(">f", x), "big")


def bf16_pattern(x: float, saturate: bool) -> int:
    """A BF16 result, widened to FP32 bits: rounded, flushed below 2^-126, held at the largest number if asked."""
    if not math.isfinite(x) or x == 0:
        return fp32_pattern(x)
    rounded = oracle_round(Fraction(x), 8)
    if abs(rounded) < 2.0**-126:
        rounded = math.copysign(0.0, x)
    if saturate and math.isinf(rounded):
        rounded = math.copysign(2.0**127 * (2 - 2**-7), x)
    return fp32_pattern(rounded)
