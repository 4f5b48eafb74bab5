"""Matrix products in the arithmetic of the arrays, at the speed of the machine; bits as in scalar.py.

Operands carry a leading group axis, so that grouped convolutions are one call: x (g, m, k), w (g, n, k), BF16
codes with any strides; result (g, m, n). The vector kernels of :mod:`system.numerics.native` compute what they
take; numba's loops the rest; outputs that touch a NaN or an infinity are computed by
:mod:`system.numerics.vectorised`. Neither the kernel nor the thread count changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from charlib.errors import BadInput
from system.numerics import loops, native, vectorised
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import F32, Codes, canonical_fp32, round_to_bf16, values_of

#: exponent fields whose sum is below this can make a product that FP32 does not hold exactly
_SMALLEST_SUM = 2 * 127 - 149 + 14
_INFINITE = np.uint16(0x7F80)


def dot(x: Codes, w: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Fused-tree matrix products: x (g, m, k) by w (g, n, k), result (g, m, n), FP32 or BF16 codes."""
    return _finish(_fused(x, w, arithmetic), arithmetic, result)


def lane_dot(w: Codes, delta: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Input gradients: w (g, i, j), delta (g, m, j), result (g, m, i), added in ascending j."""
    return _finish(_lanes(w, delta, arithmetic), arithmetic, result)


def dot_values(x: Codes, w: Codes, arithmetic: Arithmetic) -> F32:
    """:func:`dot`'s BF16 results as FP32 values."""
    return _fused(x, w, arithmetic, rounded=True)


def lane_values(w: Codes, delta: Codes, arithmetic: Arithmetic) -> F32:
    """:func:`lane_dot`'s BF16 results as FP32 values."""
    return _lanes(w, delta, arithmetic, rounded=True)


def codes_of(values: F32, saturate: bool = False) -> Codes:
    """BF16 codes of FP32 values; see formats.round_to_bf16."""
    return native.codes_of(values, saturate) if native.library() is not None else round_to_bf16(values, saturate)


def fused_fp32(x: Codes, w: Codes, arithmetic: Arithmetic) -> F32:
    """The FP32 totals of :func:`dot`."""
    return _canonical(_fused(x, w, arithmetic))


def lanes_fp32(w: Codes, delta: Codes, arithmetic: Arithmetic) -> F32:
    """The FP32 totals of :func:`lane_dot`."""
    return _canonical(_lanes(w, delta, arithmetic))


def _canonical(total: F32) -> F32:
    """Every NaN the canonical one, in place."""
    if np.isnan(total).any():
        total[np.isnan(total)] = np.nan
    return total


def _fused(x: Codes, w: Codes, arithmetic: Arithmetic, rounded: bool = False) -> F32:
    """FP32 totals, or BF16 values."""
    _check(x, w)

    def one(left: Codes, right: Codes) -> F32:
        return np.asarray(vectorised.dot(left, right, arithmetic, "fp32"), dtype=np.float32)

    if native.library() is not None and native.fits(arithmetic):
        done = native.fused(x, w, arithmetic, rounded)
        return _mended(done.total, x, w, done.special, one, arithmetic if rounded else None)
    total = _plain(x, w, lambda a, b: canonical_fp32(loops.fused(a, b, arithmetic)), one)
    return _rounded(total, arithmetic) if rounded else total


def _lanes(w: Codes, delta: Codes, arithmetic: Arithmetic, rounded: bool = False) -> F32:
    """FP32 totals, or BF16 values."""
    _check(delta, w)

    def one(left: Codes, right: Codes) -> F32:
        return np.asarray(vectorised.lane_dot(right, left, arithmetic, "fp32"), dtype=np.float32)

    if native.library() is None or arithmetic.accumulator != "fp32":
        total = _plain(delta, w, lambda a, b: canonical_fp32(loops.lanes(a, b, arithmetic)), one)
        return _rounded(total, arithmetic) if rounded else total
    done = native.lanes(delta, w, arithmetic, rounded)
    special = done.special
    if native.smallest_exponent(delta) + native.smallest_exponent(w) < _SMALLEST_SUM:
        zero = (done.total == 0).any(axis=2)
        special = (special[0] | zero, special[1])  # a sum that passed through -0 may have lost the sign of zero
    return _mended(done.total, delta, w, special, one, arithmetic if rounded else None)


def _mended(total: F32, x: Codes, w: Codes, special: tuple[native.Flags, native.Flags],
            one: Callable[[Codes, Codes], F32], rounding: Arithmetic | None) -> F32:
    """What the vector kernels gave, special rows and columns computed again, and rounded where the rest is."""
    if special[0].any() or special[1].any():
        total = _repair(total, x, w, *special, one)
        return total if rounding is None else _rounded(total, rounding)
    return total


def _check(x: Codes, w: Codes) -> None:
    if x.ndim != 3 or w.ndim != 3 or x.shape[0] != w.shape[0] or x.shape[2] != w.shape[2]:
        raise BadInput(f"operands: (g, m, k) and (g, n, k) are needed, got {x.shape} and {w.shape}")
    for codes in (x, w):
        if codes.dtype != np.uint16:
            raise BadInput(f"operands: BF16 codes are uint16, got {codes.dtype}")


def _plain(x: Codes, w: Codes, kernel: Callable[[Codes, Codes], F32], one: Callable[[Codes, Codes], F32]) -> F32:
    """By numba's loops, which take finite operands: special codes are zeroed first and their outputs mended."""
    bad = [((codes & _INFINITE) == _INFINITE) for codes in (x, w)]
    clean = [np.ascontiguousarray(np.where(b, np.uint16(0), codes) if b.any() else codes)
             for b, codes in zip(bad, (x, w), strict=True)]
    return _repair(kernel(clean[0], clean[1]), x, w, bad[0].any(axis=2), bad[1].any(axis=2), one)


def _repair(total: F32, x: Codes, w: Codes, rows: native.Flags, columns: native.Flags,
            one: Callable[[Codes, Codes], F32]) -> F32:
    """Compute the flagged rows (g, m) and columns (g, n) again, by `one` (two-dimensional operands)."""
    if rows.any() or columns.any():
        nan_rows, nan_columns = (_nan_rows(codes) for codes in (x, w))
        rows, columns = rows & ~nan_rows, columns & ~nan_columns
        for g in range(len(total)):
            if rows[g].any() and not nan_columns[g].all():
                total[g, rows[g]] = one(np.ascontiguousarray(x[g, rows[g]]), np.ascontiguousarray(w[g]))
            if columns[g].any() and not nan_rows[g].all():
                total[g][:, columns[g]] = one(np.ascontiguousarray(x[g]), np.ascontiguousarray(w[g, columns[g]]))
        total[nan_rows] = np.nan
        total.transpose(0, 2, 1)[nan_columns] = np.nan
    return total


def _finish(total: F32, arithmetic: Arithmetic, result: str) -> F32 | Codes:
    if result == "fp32":
        return _canonical(total)
    if result != "bf16":
        raise BadInput(f"result: fp32 or bf16 is allowed, got '{result}'")
    return codes_of(total, arithmetic.saturate)


def _rounded(total: F32, arithmetic: Arithmetic) -> F32:
    """In place where the vector kernels are."""
    if native.library() is None:
        return values_of(round_to_bf16(total, arithmetic.saturate))
    native.round_values(total, arithmetic.saturate)
    return total


def _nan_rows(codes: Codes) -> native.Flags:
    """(g, rows) of (g, rows, k): whether a row holds a NaN."""
    found: native.Flags = np.any((codes & np.uint16(0x7FFF)) > _INFINITE, axis=2)
    return found
