"""The arithmetic one number at a time, in exact integers: what the circuit computes, readable.

Every vectorised and compiled kernel equals these functions bit for bit; tests hold them to each other and to
an oracle in exact rationals. Codes are BF16 bit patterns, FP32 values are given as 32-bit patterns.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

from system.numerics.arithmetic import PRODUCT_FRACTION, STORED_GUARD_BITS, Arithmetic, tiles

NAN, INF, MAX, SIGN = 0x7FC0, 0x7F80, 0x7F7F, 0x8000
FP32_NAN, FP32_INF = NAN << 16, INF << 16


def decode(code: int) -> tuple[int, int, int]:
    """(sign, exponent field, significand) of a code; zeros and subnormals have significand 0."""
    sign, exponent = code >> 15, code >> 7 & 0xFF
    return sign, exponent, (code & 0x7F | 0x80) if exponent else 0


def is_nan(code: int) -> bool:
    """Whether a BF16 code is a NaN."""
    return code & 0x7FFF > INF


def is_inf(code: int) -> bool:
    """Whether a BF16 code is an infinity."""
    return code & 0x7FFF == INF


def round_integer(value: int, exponent: int, bits: int) -> tuple[int, int]:
    """value × 2^exponent rounded to nearest even at `bits` significant bits, or at 2^(-126-bits+1) if smaller.

    Returns (integer, exponent of its lowest bit); value >= 0.
    """
    lowest = max(exponent + value.bit_length() - bits, -126 - bits + 1)
    shift = lowest - exponent
    if shift <= 0:
        return value << -shift, lowest
    kept, lost = value >> shift, value & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    return kept + (lost > half or (lost == half and kept & 1)), lowest


def encode(sign: int, value: int, exponent: int, bits: int) -> int:
    """The pattern of ±value × 2^exponent in a format of binary32's exponent range: 32 bits for 24, 16 for 8."""
    width = 8 + bits
    infinity = 0xFF << (bits - 1)
    rounded, lowest = round_integer(value, exponent, bits)
    if rounded.bit_length() > bits:
        rounded, lowest = rounded >> 1, lowest + 1
    if rounded >> (bits - 1) == 0:  # subnormal or zero
        field = rounded
    else:
        field = (lowest + bits - 1 + 127 << (bits - 1)) + (rounded - (1 << (bits - 1)))
    return sign << (width - 1) | min(field, infinity)


def finish_bf16(code: int, saturate: bool) -> int:
    """A rounded BF16 pattern as a result: subnormals flush with their sign, overflow saturates if asked."""
    if is_nan(code):
        return NAN
    if code & 0x7F80 == 0:
        return code & SIGN
    return code & SIGN | MAX if saturate and is_inf(code) else code


def product(x: int, w: int, arithmetic: Arithmetic) -> int:
    """The element-wise (Hadamard) product as a BF16 code."""
    special = special_product(x, w)
    if special is not None:
        return finish_bf16(special, arithmetic.saturate and not (is_inf(x) or is_inf(w)))
    (sx, ex, mx), (sw, ew, mw) = decode(x), decode(w)
    return finish_bf16(encode(sx ^ sw, mx * mw, ex + ew - 254 - PRODUCT_FRACTION, 8), arithmetic.saturate)


def special_product(x: int, w: int) -> int | None:
    """NaN or a signed infinity where the operands make one, else None. A subnormal counts as zero."""
    if is_nan(x) or is_nan(w):
        return NAN
    if is_inf(x) or is_inf(w):
        if decode(x)[2] == 0 or decode(w)[2] == 0:
            return NAN
        return INF | (x ^ w) & SIGN
    return None


def align(magnitude: int, sign: int, shift: int, guard_bits: int, mode: str = "magnitude") -> int:
    """A product's integer at the tree's weight: guard bits appended, shifted right, signed."""
    drop = shift - guard_bits
    if drop <= 0:
        wide = magnitude << -drop
        return -wide if sign else wide
    if mode == "floor":
        return (-magnitude if sign else magnitude) >> drop
    kept = magnitude >> drop
    if mode == "sticky" and magnitude & ((1 << drop) - 1):
        kept |= 1
    return -kept if sign else kept


Operand = tuple[int, int, int]  #: (sign, exponent field, significand), see decode


def post_aligned(lanes: Sequence[tuple[Operand, Operand]], arithmetic: Arithmetic) -> tuple[int, int]:
    """Products, then alignment: (integer sum, exponent of its lowest bit). A masked lane has no exponent."""
    valid = [(a, b) for a, b in lanes if a[2] and b[2]]
    top = max((a[1] + b[1] for a, b in valid), default=0)
    total = sum(align(a[2] * b[2], a[0] ^ b[0], top - a[1] - b[1], arithmetic.guard_bits, arithmetic.align_mode)
                for a, b in valid)
    return total, top - 254 - PRODUCT_FRACTION - arithmetic.guard_bits


def pre_aligned(lanes: Sequence[tuple[Operand, Operand]], arithmetic: Arithmetic) -> tuple[int, int]:
    """Alignment of each side's significands, then integer products: (integer sum, exponent of its lowest bit)."""
    guards = (arithmetic.guard_bits, STORED_GUARD_BITS)
    tops = [max((lane[side][1] for lane in lanes if lane[side][2]), default=0) for side in (0, 1)]
    total = 0
    for lane in lanes:
        x, w = (align(operand[2], operand[0], top - operand[1], guard)
                for operand, top, guard in zip(lane, tops, guards, strict=True))
        total += x * w
    return total, sum(tops) - 254 - PRODUCT_FRACTION - sum(guards)


def tree(xs: Sequence[int], ws: Sequence[int], arithmetic: Arithmetic) -> int:
    """One fused sum of up to `lanes` products, as the pattern of tile_type widened to FP32."""
    specials = [s for x, w in zip(xs, ws, strict=True) if (s := special_product(x, w)) is not None]
    if specials:
        return specials[0] << 16 if len(set(specials)) == 1 else FP32_NAN
    lanes = [(decode(x), decode(w)) for x, w in zip(xs, ws, strict=True)]
    total, weight = (pre_aligned if arithmetic.alignment == "pre" else post_aligned)(lanes, arithmetic)
    if total == 0:
        return 0
    if arithmetic.tile_type == "fp32":
        return encode(int(total < 0), abs(total), weight, 24)
    return encode(int(total < 0), abs(total), weight, 8) << 16


def as_integer(pattern: int) -> tuple[int, int, int]:
    """(sign, integer, exponent of its lowest bit) of a finite FP32 pattern."""
    sign, field, fraction = pattern >> 31, pattern >> 23 & 0xFF, pattern & 0x7FFFFF
    return (sign, fraction | 0x800000, field - 150) if field else (sign, fraction, -149)


def add(a: int, b: int, bits: int) -> int:
    """Sum of two FP32 patterns rounded once to `bits` significant bits (24 or 8), as an FP32 pattern."""
    if a & 0x7FFFFFFF > FP32_INF or b & 0x7FFFFFFF > FP32_INF:
        return FP32_NAN
    infinite = [p for p in (a, b) if p & 0x7FFFFFFF == FP32_INF]
    if infinite:
        return infinite[0] if len(set(infinite)) == 1 else FP32_NAN
    return add_exact(*as_integer(a), *as_integer(b), bits)


def add_exact(sa: int, na: int, ea: int, sb: int, nb: int, eb: int, bits: int) -> int:
    """±na·2^ea ± nb·2^eb rounded once; an exact zero is +0 unless both are −0."""
    lowest = min(ea, eb)
    total = (-1) ** sa * (na << ea - lowest) + (-1) ** sb * (nb << eb - lowest)
    if total == 0:
        return (sa & sb) << 31
    return encode(int(total < 0), abs(total), lowest, bits) << (0 if bits == 24 else 16)


def dot(xs: Sequence[int], ws: Sequence[int], arithmetic: Arithmetic, result: str = "bf16") -> int:
    """Forward: tiles of fused sums, accumulated from +0 in ascending k. A BF16 code, or the FP32 pattern."""
    bits = 24 if arithmetic.tile_accumulator == "fp32" else 8
    total = 0
    for tile in tiles(len(xs), arithmetic.lanes):
        total = add(total, tree([xs[k] for k in tile], [ws[k] for k in tile], arithmetic), bits)
    return total if result == "fp32" else fp32_to_bf16(total, arithmetic.saturate)


def lane_dot(ws: Sequence[int], deltas: Sequence[int], arithmetic: Arithmetic, result: str = "bf16") -> int:
    """Input gradient of one compartment: exact products added one by one, in ascending address, from +0."""
    if arithmetic.accumulator == "fixed":
        total = fixed_sum(ws, deltas, arithmetic)
        return total if result == "fp32" else fp32_to_bf16(total, arithmetic.saturate)
    bits = 24 if arithmetic.accumulator == "fp32" else 8
    total = 0
    for w, delta in zip(ws, deltas, strict=True):
        special = special_product(w, delta)
        if special is not None or total & 0x7F800000 == FP32_INF:
            total = add(total, 0 if special is None else special << 16, bits)
            continue
        (sw, ew, mw), (sd, ed, md) = decode(w), decode(delta)
        exponent = ew + ed - 254 - PRODUCT_FRACTION
        if mw * md:
            total = add_exact(*as_integer(total), sw ^ sd, mw * md, exponent, bits)
    return total if result == "fp32" else fp32_to_bf16(total, arithmetic.saturate)


def fixed_sum(ws: Sequence[int], deltas: Sequence[int], arithmetic: Arithmetic) -> int:
    """A fixed-point accumulator's sum, as an FP32 pattern."""
    specials = {s for w, delta in zip(ws, deltas, strict=True) if (s := special_product(w, delta)) is not None}
    if specials:
        return specials.pop() << 16 if len(specials) == 1 else FP32_NAN
    valid = [(a, b) for a, b in ((decode(w), decode(delta)) for w, delta in zip(ws, deltas, strict=True))
             if a[2] and b[2]]
    top = max((a[1] + b[1] for a, b in valid), default=0)
    largest = (1 << arithmetic.fixed_bits - 1) - 1
    total = 0
    for a, b in valid:
        total += align(a[2] * b[2], a[0] ^ b[0], top - a[1] - b[1], arithmetic.fixed_guard)
        total = max(-largest - 1, min(total, largest))
    return encode(int(total < 0), abs(total), top - 254 - PRODUCT_FRACTION - arithmetic.fixed_guard, 24)


def weight_gradient(activations: Sequence[int], deltas: Sequence[int], arithmetic: Arithmetic, mode: str,
                    result: str = "fp32") -> int:
    """Gradient of one weight over samples and positions b: "batched", fused sums with b on the lanes; "outer", one
    product at a time added in FP32 in the gradient buffer, in ascending b."""
    if mode == "batched":
        return dot(deltas, activations, arithmetic, result)
    return lane_dot(activations, deltas, replace(arithmetic, accumulator="fp32"), result)


def fp32_to_bf16(pattern: int, saturate: bool = False) -> int:
    """An FP32 pattern as a BF16 result."""
    if pattern & 0x7FFFFFFF > FP32_INF:
        return NAN
    if pattern & 0x7FFFFFFF == FP32_INF:
        return pattern >> 16
    sign, integer, exponent = as_integer(pattern)
    return finish_bf16(encode(sign, integer, exponent, 8), saturate)


def fp32_value(pattern: int) -> float:
    """The value of an FP32 pattern."""
    return float(struct.unpack("<f", struct.pack("<I", pattern))[0])
