"""The same arithmetic compiled by numba: one loop nest over outputs, threads over rows, bits as in the others.

What :mod:`system.numerics.compiled` uses where the vector kernels cannot be had. Every output is summed by one
thread in a fixed order, so the thread count changes nothing. Compiled code is kept in numba's cache; the first
call of a process may take seconds.

The threads are numba's own pool: OpenMP's wait by spinning, which on a machine with other work makes a call many
times slower. That pool takes one caller at a time, so a lock guards it. An environment that names
NUMBA_THREADING_LAYER is respected.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from system.numerics.arithmetic import ALIGN_MODES, PRODUCT_FRACTION, STORED_GUARD_BITS, Arithmetic
from system.numerics.formats import F64, Codes, split

if numba.config.THREADING_LAYER == "default":  # type: ignore[attr-defined]
    numba.config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]
_ONE_CALLER = threading.Lock()

_MASKED = -(10**6)
_BIAS = 254 + PRODUCT_FRACTION


@numba.njit(cache=True, inline="always")
def _round(x: Any, to_bf16: bool) -> Any:
    """float64 to fp32, or directly to bf16 (8 bits, gradual underflow), as float64."""
    if not to_bf16:
        return np.float64(np.float32(x))
    magnitude = abs(x)
    if not magnitude < np.inf:
        return x
    if magnitude < 2.0**-126:
        magic = 1.5 * 2.0 ** (52 - 133)
        small = (magnitude + magic) - magic
        return np.copysign(small, x)
    scale = 2.0 ** (np.floor(np.log2(magnitude)) - 7)
    if magnitude / scale >= 256.0:  # log2 may round up or down at a power of two
        scale *= 2.0
    elif magnitude / scale < 128.0:
        scale *= 0.5
    rounded = np.rint(magnitude / scale) * scale
    if rounded >= 2.0**128:
        rounded = np.inf
    return -rounded if x < 0 else rounded


@numba.njit(cache=True, inline="always")
def _add(a: Any, b: Any, to_bf16: bool) -> Any:
    """a + b rounded once; for bf16 the part that float64 lost breaks a tie (see formats.add_rounded)."""
    total = a + b
    if to_bf16 and np.float64(np.float32(total)) == total and abs(total) < np.inf:
        part = total - a
        lost = (a - (total - part)) + (b - part)
        if lost != 0.0:
            total = np.nextafter(total, np.inf if lost > 0.0 else -np.inf)
    return _round(total, to_bf16)


@numba.njit(cache=True)
def _top(xe: Any, we: Any) -> Any:
    """Largest exponent sum of a tile."""
    top = xe[0] + we[0]
    for k in range(1, len(xe)):
        top = max(top, xe[k] + we[k])
    return top


# The three sums below add integers below 2^53 held in float64: exact in any order, so reassociation is safe and
# lets the compiler use vector registers. Scaling by a power of two is exact too.


@numba.njit(cache=True, fastmath={"reassoc"})
def _sum_magnitude(x: Any, w: Any, scale: float) -> Any:
    total = 0.0
    for k in range(len(x)):
        total += np.trunc(x[k] * w[k] * scale)
    return total


@numba.njit(cache=True, fastmath={"reassoc"})
def _sum_floor(x: Any, w: Any, scale: float) -> Any:
    total = 0.0
    for k in range(len(x)):
        total += np.floor(x[k] * w[k] * scale)
    return total


@numba.njit(cache=True, fastmath={"reassoc"})
def _sum_sticky(x: Any, w: Any, scale: float) -> Any:
    total = 0.0
    for k in range(len(x)):
        lane = abs(x[k] * w[k] * scale)
        kept = np.floor(lane)
        if kept != lane and kept == 2.0 * np.floor(0.5 * kept):
            kept += 1.0
        total += kept if x[k] * w[k] > 0 else -kept
    return total


@numba.njit(cache=True, parallel=True)
def _fused(x: Any, xe: Any, w: Any, we: Any, lanes: int, guard: int, mode: int, tile_bf16: bool,
           sum_bf16: bool) -> Any:
    """Values (float64) and exponent fields (masked where zero) of both operands; see `dot` for shapes."""
    groups, rows, depth = x.shape
    columns = w.shape[1]
    result = np.empty((groups, rows, columns), dtype=np.float64)
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for n in range(columns):
            total = 0.0
            for start in range(0, depth, lanes):
                stop = min(start + lanes, depth)
                top = _top(xe[g, m, start:stop], we[g, n, start:stop])
                if top < _MASKED // 4:
                    total += 0.0  # all lanes masked: the tile is +0, and -0 + 0 is +0
                    continue
                weight = np.float64(top - _BIAS - guard)
                scale = 2.0 ** -weight
                if mode == 0:
                    acc = _sum_magnitude(x[g, m, start:stop], w[g, n, start:stop], scale)
                elif mode == 1:
                    acc = _sum_floor(x[g, m, start:stop], w[g, n, start:stop], scale)
                else:
                    acc = _sum_sticky(x[g, m, start:stop], w[g, n, start:stop], scale)
                total = _add(total, _round(acc * 2.0**weight, tile_bf16), sum_bf16)
            result[g, m, n] = total
    return result


@numba.njit(cache=True)
def _top_of(values: Any, exponents: Any) -> Any:
    """Largest exponent of one side of a tile, 0 where all are zero."""
    top = 0
    for k in range(len(values)):
        if values[k] != 0.0:
            top = max(top, exponents[k])
    return top


@numba.njit(cache=True, parallel=True)
def _pre_fused(x: Any, xe: Any, w: Any, we: Any, lanes: int, guard: int, stored_guard: int, tile_bf16: bool,
               sum_bf16: bool) -> Any:
    """As _fused, each operand aligned to the largest exponent of its side."""
    groups, rows, depth = x.shape
    columns = w.shape[1]
    result = np.empty((groups, rows, columns), dtype=np.float64)
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for n in range(columns):
            total = 0.0
            for start in range(0, depth, lanes):
                stop = min(start + lanes, depth)
                left, right = np.float64(_top_of(x[g, m, start:stop], xe[g, m, start:stop]) - 134 - guard), \
                    np.float64(_top_of(w[g, n, start:stop], we[g, n, start:stop]) - 134 - stored_guard)
                acc = 0.0
                for k in range(start, stop):
                    acc += np.trunc(x[g, m, k] * 2.0**-left) * np.trunc(w[g, n, k] * 2.0**-right)
                total = _add(total, _round(acc * 2.0**left * 2.0**right, tile_bf16), sum_bf16)
            result[g, m, n] = total
    return result


@numba.njit(cache=True, parallel=True)
def _fixed_lanes(delta: Any, de: Any, w: Any, we: Any, bits: int, guard: int) -> Any:
    """delta (g, m, j), w (g, i, j): two's complement sums, exact in float64 below 2^53, held at ±2^(bits−1)."""
    groups, rows, words = delta.shape
    compartments = w.shape[1]
    result = np.zeros((groups, rows, compartments), dtype=np.float64)
    largest = 2.0 ** np.float64(bits - 1) - 1.0
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for i in range(compartments):
            top = _top(de[g, m], we[g, i]) if words else _MASKED
            if top < _MASKED // 4:
                continue
            weight = np.float64(top - _BIAS - guard)
            scale, total = 2.0**-weight, 0.0
            for j in range(words):
                total += np.trunc(delta[g, m, j] * w[g, i, j] * scale)
                total = max(-largest - 1.0, min(total, largest))
            result[g, m, i] = _round(total * 2.0**weight, False)
    return result


@numba.njit(cache=True)
def _add_words(accumulators: Any, words: Any, left: float) -> None:
    """One δ_j broadcast: every compartment adds its exact product and rounds to fp32; a zero is gated."""
    for i in range(len(accumulators)):
        term = left * words[i]
        rounded = np.float64(np.float32(accumulators[i] + term))
        accumulators[i] = rounded if term != 0.0 else accumulators[i]


@numba.njit(cache=True, parallel=True)
def _lanes(delta: Any, w: Any, sum_bf16: bool) -> Any:
    rows, words = delta.shape[1], delta.shape[2]
    groups, compartments = w.shape[0], w.shape[2]  # words first: the inner loop runs over compartments
    result = np.zeros((groups, rows, compartments), dtype=np.float64)
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for j in range(words):
            left = delta[g, m, j]
            if left == 0.0:
                continue
            if sum_bf16:
                for i in range(compartments):
                    term = left * w[g, j, i]
                    if term != 0.0:
                        result[g, m, i] = _add(result[g, m, i], term, True)
            else:
                _add_words(result[g, m], w[g, j], left)
    return result


def _operands(codes: Codes) -> tuple[F64, npt.NDArray[np.int32]]:
    return _values(codes), np.take(_tables()[1], codes)


@cache
def _tables() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Value (subnormals as zero) and exponent field (masked where zero) of each of the 65,536 codes."""
    codes = np.arange(1 << 16, dtype=np.uint16)
    significand, exponent = split(codes)
    values = (codes.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(invalid="ignore"):
        wide = np.where(significand == 0, 0.0, values.astype(np.float64))
    return wide, np.where(significand == 0, _MASKED, exponent).astype(np.int32)


def fused(x: Codes, w: Codes, arithmetic: Arithmetic) -> F64:
    """Fused-tree totals of x (g, m, k) by w (g, n, k), finite: FP32 or BF16 values (g, m, n) as float64."""
    (xv, xe), (wv, we) = _operands(x), _operands(w)
    kinds = arithmetic.tile_type == "bf16", arithmetic.tile_accumulator == "bf16"
    with _ONE_CALLER:
        if arithmetic.alignment == "pre":
            total: F64 = _pre_fused(xv, xe, wv, we, arithmetic.lanes, arithmetic.guard_bits, STORED_GUARD_BITS,
                                    *kinds)
        else:
            total = _fused(xv, xe, wv, we, arithmetic.lanes, arithmetic.guard_bits,
                           ALIGN_MODES.index(arithmetic.align_mode), *kinds)
    return total


def lanes(delta: Codes, w: Codes, arithmetic: Arithmetic) -> F64:
    """Lane-accumulated totals of delta (g, m, j) by w (g, i, j), finite: (g, m, i) as float64, ascending j."""
    if arithmetic.accumulator == "fixed":
        (dv, de), (wv, we) = _operands(delta), _operands(w)
        with _ONE_CALLER:
            fixed: F64 = _fixed_lanes(dv, de, wv, we, arithmetic.fixed_bits, arithmetic.fixed_guard)
        return fixed
    words_first = np.ascontiguousarray(_values(w).transpose(0, 2, 1))
    with _ONE_CALLER:
        total: F64 = _lanes(_values(delta), words_first, arithmetic.accumulator == "bf16")
    return total


def _values(codes: Codes) -> F64:
    return np.take(_tables()[0], codes)
