"""The arithmetic on arrays, in NumPy: the same bits as :mod:`system.numerics.scalar`, a tile at a time.

Shapes follow a matrix product: x (m, k), w (n, k), result (m, n). Memory is bounded: the lane arrays of one
step hold at most CHUNK elements.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from system.numerics.arithmetic import PRODUCT_FRACTION, STORED_GUARD_BITS, Arithmetic, tiles
from system.numerics.formats import (
    F32,
    F64,
    INF_CODE,
    Codes,
    add_rounded,
    canonical_fp32,
    round_sum,
    round_to_bf16,
    split,
)

I64 = npt.NDArray[np.int64]
#: lane elements of one step: eight arrays of them stay below 200 MB
CHUNK = 3_000_000
#: an exponent sum below any real one: a masked lane
_MASKED = -(10**6)
#: no product or lane has more bits than this, so a longer shift changes nothing
_LONGEST_SHIFT = 62


def check_operands(x: Codes, w: Codes) -> None:
    """BadInput unless x is (m, k) and w (n, k), both uint16."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1] or x.dtype != np.uint16 or w.dtype != np.uint16:
        raise BadInput("operands: uint16 (m, k) and (n, k) are needed, "
                       f"got {x.dtype} {x.shape} and {w.dtype} {w.shape}")


def product(x: Codes, w: Codes, arithmetic: Arithmetic) -> Codes:
    """Element-wise (Hadamard) product of codes of one shape, as BF16 codes."""
    (mx, ex), (mw, ew) = split(x), split(w)
    sign = (x ^ w) & np.uint16(0x8000)
    exact = np.ldexp((mx * mw).astype(np.float64), ex + ew - 254 - PRODUCT_FRACTION)
    code = round_to_bf16(np.abs(exact), arithmetic.saturate) | sign
    special, value = _specials(x, w)
    return np.where(special, round_to_bf16(value), code).astype(np.uint16)


def _specials(x: Codes, w: Codes) -> tuple[npt.NDArray[np.bool_], F64]:
    """Where a product is NaN or infinite, and its value there (0 elsewhere). Subnormals count as zero."""
    special = ((x & np.uint16(INF_CODE)) == INF_CODE) | ((w & np.uint16(INF_CODE)) == INF_CODE)
    with np.errstate(invalid="ignore", over="ignore"):
        value = _plain(x) * _plain(w)
    return special, np.where(special, value, 0.0)


def _plain(codes: Codes) -> F64:
    """Values as float64, subnormals as zero."""
    with np.errstate(invalid="ignore"):
        value = (codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return np.where((codes & np.uint16(INF_CODE)) == 0, 0.0, value)


def tree(x: Codes, w: Codes, arithmetic: Arithmetic) -> F64:
    """Fused sums over the last axis of codes that broadcast against each other; tile_type values as float64."""
    x, w = np.broadcast_arrays(x, w)
    total, weight = (_pre_aligned if arithmetic.alignment == "pre" else _post_aligned)(x, w, arithmetic)
    result = round_sum(np.ldexp(total.astype(np.float64), weight), arithmetic.tile_type)
    special, value = _specials(x, w)
    if special.any():
        with np.errstate(invalid="ignore"):
            result = np.where(special.any(axis=-1), value.sum(axis=-1), result)
    return result


def _post_aligned(x: Codes, w: Codes, arithmetic: Arithmetic) -> tuple[I64, I64]:
    """(integer sums over the last axis, exponents of their lowest bits), products aligned."""
    (mx, ex), (mw, ew) = split(x), split(w)
    product = mx * mw
    exponent = np.where(product == 0, _MASKED, ex + ew)
    top = exponent.max(axis=-1, initial=_MASKED)
    lanes = _align(product, top[..., np.newaxis] - exponent, arithmetic.guard_bits, arithmetic.align_mode)
    return lanes.sum(axis=-1), np.where(top == _MASKED, 0, top - 254 - PRODUCT_FRACTION - arithmetic.guard_bits)


def _pre_aligned(x: Codes, w: Codes, arithmetic: Arithmetic) -> tuple[I64, I64]:
    """The same with each operand aligned to the largest exponent of its side."""
    aligned, weight = [], np.int64(-254 - PRODUCT_FRACTION - arithmetic.guard_bits - STORED_GUARD_BITS)
    for codes, guard in ((x, arithmetic.guard_bits), (w, STORED_GUARD_BITS)):
        significand, exponent = split(codes)
        top = np.where(significand == 0, 0, exponent).max(axis=-1, initial=0)
        aligned.append(_align(significand, top[..., np.newaxis] - exponent, guard, "magnitude"))
        weight = weight + top
    return (aligned[0] * aligned[1]).sum(axis=-1), np.asarray(weight)


def _align(value: I64, shift: I64, guard_bits: int, mode: str) -> I64:
    """Signed integers with their guard bits, shifted right by `shift`; zero stays zero."""
    magnitude, negative = np.abs(value), value < 0
    drop = np.where(value == 0, 0, shift - guard_bits)
    right = np.clip(drop, 0, _LONGEST_SHIFT)
    wide = magnitude << np.clip(-drop, 0, _LONGEST_SHIFT)
    if mode == "floor":
        return np.asarray(np.where(negative, -wide, wide) >> right)
    kept = wide >> right
    if mode == "sticky":
        kept |= (kept << right) != wide
    return np.asarray(np.where(negative, -kept, kept))


def _finish(total: F64, arithmetic: Arithmetic, result: str) -> F32 | Codes:
    if result == "fp32":
        return canonical_fp32(total)
    if result != "bf16":
        raise BadInput(f"result: fp32 or bf16 is allowed, got '{result}'")
    return round_to_bf16(total, arithmetic.saturate)


def dot(x: Codes, w: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Fused-tree matrix product: x (m, k) by w (n, k), result (m, n) as BF16 codes or float32."""
    check_operands(x, w)
    total = np.zeros((len(x), len(w)))
    rows = max(1, CHUNK // max(1, len(w) * min(arithmetic.lanes, max(1, x.shape[1]))))
    for tile in tiles(x.shape[1], arithmetic.lanes):
        span = slice(tile.start, tile.stop)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            added = tree(x[part, np.newaxis, span], w[np.newaxis, :, span], arithmetic)
            with np.errstate(invalid="ignore"):
                total[part] = add_rounded(total[part], added, arithmetic.tile_accumulator)
    return _finish(total, arithmetic, result)


def lane_dot(w: Codes, delta: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Input gradient: w (compartments i, words j), delta (m, words j); result (m, i), added in ascending j.

    Each step adds an exact product (16 bits) to the accumulator and rounds once.
    """
    check_operands(delta, w)
    if arithmetic.accumulator == "fixed":
        return _finish(_fixed_sum(w, delta, arithmetic), arithmetic, result)
    total = np.zeros((len(delta), len(w)))
    left, right = _plain(delta), _plain(w)
    for j in range(delta.shape[1]):
        with np.errstate(invalid="ignore", over="ignore"):
            term = left[:, j, np.newaxis] * right[np.newaxis, :, j]
            rounded = add_rounded(total, term, arithmetic.accumulator)
        total = np.where(term == 0, total, rounded)  # a zero product is gated: not even a −0 changes
    return _finish(total, arithmetic, result)


def _fixed_sum(w: Codes, delta: Codes, arithmetic: Arithmetic) -> F64:
    """Totals (m, i) of fixed-point accumulators, rounded to FP32."""
    def product(j: int) -> tuple[I64, I64]:
        (md, ed), (mw, ew) = split(delta[:, j, np.newaxis]), split(w[np.newaxis, :, j])
        return md * mw, np.where(md * mw == 0, _MASKED, ed + ew)

    words = range(delta.shape[1])
    top = np.full((len(delta), len(w)), _MASKED)
    for j in words:
        top = np.maximum(top, product(j)[1])
    largest = (1 << arithmetic.fixed_bits - 1) - 1
    total = np.zeros(top.shape, dtype=np.int64)
    special = np.zeros(top.shape)
    for j in words:
        value, exponent = product(j)
        total = np.clip(total + _align(value, top - exponent, arithmetic.fixed_guard, "magnitude"), -largest - 1,
                        largest)
        with np.errstate(invalid="ignore"):
            special = special + _specials(delta[:, j, np.newaxis], w[np.newaxis, :, j])[1]
    weight = np.where(top == _MASKED, 0, top - 254 - PRODUCT_FRACTION - arithmetic.fixed_guard)
    return np.where(special != 0, special, round_sum(np.ldexp(total.astype(np.float64), weight), "fp32"))


def error_bound(x: Codes, w: Codes, arithmetic: Arithmetic) -> F64:
    """Bound on |fused sum − exact sum| of each row of lanes: half an ulp of the result and what alignment drops.

    ½ ulp(result) + L·2^(e_max − kept bits), kept bits counted from the product's upper weight. Pre-aligned operands
    lose up to a bit of their own each, times the other operand, which lies below 2^(e + 1).
    """
    x, w = np.broadcast_arrays(x, w)
    (mx, ex), (mw, ew) = split(x), split(w)
    if arithmetic.alignment == "pre":
        tops = [np.where(m == 0, 0, e).max(axis=-1) - 127 for m, e in ((mx, ex), (mw, ew))]
        quantum = sum((np.ldexp(1.0, tops[0] + tops[1] + 1 - 7 - guard)
                       for guard in (arithmetic.guard_bits, STORED_GUARD_BITS)), np.zeros(len(x)))
    else:
        top = np.where(mx * mw == 0, _MASKED, ex + ew).max(axis=-1)
        quantum = np.where(top == _MASKED, 0.0, np.ldexp(1.0, np.maximum(top, -400) - 254 - PRODUCT_FRACTION
                                                         - arithmetic.guard_bits))
    result = np.abs(tree(x, w, arithmetic))
    bits = 24 if arithmetic.tile_type == "fp32" else 8
    with np.errstate(divide="ignore"):
        exponent = np.maximum(np.floor(np.log2(np.where(result == 0, 1.0, result))), -126)
    return np.asarray(0.5 * np.ldexp(1.0, (exponent - bits + 1).astype(np.int64)) + x.shape[-1] * quantum)
