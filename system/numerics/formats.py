"""BF16 and FP32 as arrays: bits, values, and rounding to nearest even.

BF16 codes are uint16, the upper half of a binary32. Subnormal codes count as zero, NaN is canonical
(0x7FC0). Only a BF16 *result* flushes what lies below 2^-126; FP32 is IEEE binary32 with gradual underflow.
Scalar twins: :mod:`system.numerics.scalar`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

NAN_CODE = 0x7FC0
MAX_CODE = 0x7F7F
INF_CODE = 0x7F80
SIGN = 0x8000
#: smallest normal exponent of both formats, and the weight of FP32's lowest subnormal bit
MIN_EXPONENT = -126
BF16_BITS, FP32_BITS = 8, 24


def values_of(codes: Codes) -> F32:
    """The float32 value of each code (subnormal codes keep their value here; kernels count them as zero)."""
    return (codes.astype(np.uint32) << np.uint32(16)).view(np.float32)


def round_to_bf16(x: F32 | F64, saturate: bool = False) -> Codes:
    """Round a result to BF16 codes: nearest even, then flush below 2^-126 (sign kept), overflow to ±inf or ±max.

    x: float32 or float64, any shape. Returns uint16 of that shape. NaN becomes 0x7FC0. What is infinite
    already stays so: saturation catches the rounding of a finite value only.
    """
    if x.dtype == np.float32:
        return _round_fp32(np.asarray(x, dtype=np.float32), saturate)
    with np.errstate(invalid="ignore"):
        wide = np.asarray(x, dtype=np.float64)
    bits = wide.view(np.uint64) if wide.flags.c_contiguous else np.ascontiguousarray(wide).view(np.uint64)
    sign = ((bits >> np.uint64(48)) & np.uint64(SIGN)).astype(np.uint16)
    rounded = np.abs(round_f64(wide, BF16_BITS))
    with np.errstate(over="ignore", invalid="ignore"):
        code = (rounded.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    code = np.where(rounded < 2.0**MIN_EXPONENT, np.uint16(0), code)
    if saturate:
        code = np.where((code == INF_CODE) & np.isfinite(wide), np.uint16(MAX_CODE), code)
    return np.where(np.isnan(wide), np.uint16(NAN_CODE), code | sign).astype(np.uint16)


def _round_fp32(x: F32, saturate: bool) -> Codes:
    """The same for float32, on its bit pattern: the upper half, plus one where the lower half rounds up."""
    pattern = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
    lowest = (pattern >> np.uint32(16)) & np.uint32(1)
    code = ((pattern + np.uint32(0x7FFF) + lowest) >> np.uint32(16)).astype(np.uint16)
    code = np.where((code & np.uint16(INF_CODE)) == 0, code & np.uint16(SIGN), code)
    if saturate:
        overflow = ((code & np.uint16(0x7FFF)) == INF_CODE) & np.isfinite(x)
        code = np.where(overflow, (code & np.uint16(SIGN)) | np.uint16(MAX_CODE), code)
    return np.where(np.isnan(x), np.uint16(NAN_CODE), code).astype(np.uint16)


def round_f64(x: F64, bits: int) -> F64:
    """Round float64 to `bits` significant bits, nearest even, with gradual underflow below 2^-126, no overflow.

    Exact inputs of up to 53 bits are rounded once; the exponent range of float64 stands in for "unbounded".
    """
    drop = np.uint64(53 - bits)
    one = np.uint64(1)
    pattern = np.ascontiguousarray(x).view(np.uint64)
    lowest = (pattern >> drop) & one
    kept = (pattern + ((one << (drop - one)) - one) + lowest) & ~((one << drop) - one)
    normal = kept.view(np.float64).reshape(np.shape(x))
    magic = 1.5 * 2.0 ** (52 + MIN_EXPONENT - (bits - 1))
    small = (x + magic) - magic
    result = np.where(np.abs(x) < 2.0**MIN_EXPONENT, np.copysign(small, x), normal)
    return np.where(np.isfinite(x), result, x)


def round_sum(exact: F64, kind: str) -> F64:
    """Round an exact float64 to "fp32" or "bf16" (unflushed), as float64; overflow becomes ±inf."""
    if kind == "fp32":
        with np.errstate(over="ignore"):
            return exact.astype(np.float32).astype(np.float64)
    rounded = round_f64(exact, BF16_BITS)
    return np.where(np.abs(rounded) >= 2.0**128, np.copysign(np.inf, rounded), rounded)


def add_rounded(a: F64, b: F64, kind: str) -> F64:
    """a + b of FP32-valued (or exact product) float64 arrays, rounded once to "fp32" or "bf16" (unflushed).

    For fp32 the float64 sum is innocent: 53 >= 2·24 + 2. For bf16 it is not: an operand may itself be a tie of 8
    bits, which a far smaller operand breaks although float64 drops it. The lost part (TwoSum) then nudges a sum
    that fits 24 bits, as every tie does, off the tie.
    """
    total = a + b
    if kind != "fp32":
        part = total - a
        lost = (a - (total - part)) + (b - part)
        with np.errstate(over="ignore"):
            nudged = (lost != 0) & (total.astype(np.float32) == total) & np.isfinite(total)
        total = np.where(nudged, np.nextafter(total, np.copysign(np.inf, lost)), total)
    return round_sum(total, kind)


def canonical_fp32(x: F64) -> F32:
    """FP32 values held in float64 as float32; every NaN becomes the canonical one, 0x7FC00000."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isnan(x), np.float32(np.nan), x.astype(np.float32))


def split(codes: Codes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(signed significand, exponent field) of finite codes; a zero or subnormal has significand 0.

    The value is significand × 2^(exponent − 127 − 7), |significand| in [128, 256).
    """
    exponent = ((codes >> np.uint16(7)) & np.uint16(0xFF)).astype(np.int64)
    significand = np.where(exponent == 0, 0, (codes & np.uint16(0x7F)).astype(np.int64) | 128)
    return np.where(codes & np.uint16(SIGN), -significand, significand), exponent
