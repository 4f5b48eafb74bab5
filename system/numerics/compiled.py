"""The same arithmetic compiled by numba: one loop nest over outputs, threads over rows, bits as in the others.

Operands carry a leading group axis, so that depthwise and grouped convolutions are one call:
x (g, m, k), w (g, n, k), result (g, m, n) float32. Every output is summed by one thread in a fixed order, so
the thread count changes nothing. Compiled code is kept in numba's cache; the first call of a process may
take seconds.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from system.numerics.arithmetic import ALIGN_MODES, PRODUCT_FRACTION, Arithmetic
from system.numerics.formats import F32, Codes, round_to_bf16, split

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
        return -small if x < 0 else small
    scale = 2.0 ** (np.floor(np.log2(magnitude)) - 7)
    if magnitude / scale >= 256.0:  # log2 may round up or down at a power of two
        scale *= 2.0
    elif magnitude / scale < 128.0:
        scale *= 0.5
    rounded = np.rint(magnitude / scale) * scale
    if rounded >= 2.0**128:
        rounded = np.inf
    return -rounded if x < 0 else rounded


@numba.njit(cache=True, parallel=True)
def _fused(xm: Any, xe: Any, wm: Any, we: Any, lanes: int, guard: int, mode: int, tile_bf16: bool,
           sum_bf16: bool) -> Any:
    groups, rows, depth = xm.shape
    columns = wm.shape[1]
    result = np.empty((groups, rows, columns), dtype=np.float64)
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for n in range(columns):
            total = 0.0
            for start in range(0, depth, lanes):
                stop = min(start + lanes, depth)
                top = _MASKED
                for k in range(start, stop):
                    top = max(top, xe[g, m, k] + we[g, n, k])
                if top < _MASKED // 4:
                    continue  # all lanes masked: the tile is +0
                acc = np.int64(0)
                for k in range(start, stop):
                    value = np.int64(xm[g, m, k]) * np.int64(wm[g, n, k])
                    drop = top - xe[g, m, k] - we[g, n, k] - guard
                    if drop > 62:
                        drop = 62
                    if drop <= 0:
                        acc += value << -drop
                    elif mode == 1:
                        acc += value >> drop
                    else:
                        kept = abs(value) >> drop
                        if mode == 2 and (kept << drop) != abs(value):
                            kept |= 1
                        acc += -kept if value < 0 else kept
                tile = np.float64(acc) * 2.0 ** np.float64(top - _BIAS - guard)
                total = _round(total + _round(tile, tile_bf16), sum_bf16)
            result[g, m, n] = total
    return result


@numba.njit(cache=True, parallel=True)
def _lanes(delta: Any, w: Any, sum_bf16: bool) -> Any:
    rows, words = delta.shape[1], delta.shape[2]
    groups, compartments = w.shape[0], w.shape[1]
    result = np.zeros((groups, rows, compartments), dtype=np.float64)
    for flat in numba.prange(groups * rows):
        g, m = flat // rows, flat % rows
        for j in range(words):
            left = delta[g, m, j]
            if left == 0.0:
                continue
            for i in range(compartments):
                term = left * w[g, i, j]
                if term != 0.0:
                    result[g, m, i] = _round(result[g, m, i] + term, sum_bf16)
    return result


def _checked(x: Codes, w: Codes) -> None:
    if x.ndim != 3 or w.ndim != 3 or x.shape[0] != w.shape[0] or x.shape[2] != w.shape[2]:
        raise BadInput(f"operands: (g, m, k) and (g, n, k) are needed, got {x.shape} and {w.shape}")
    for codes in (x, w):
        if codes.dtype != np.uint16:
            raise BadInput(f"operands: BF16 codes are uint16, got {codes.dtype}")
        if np.any((codes & np.uint16(0x7F80)) == 0x7F80):
            raise BadInput("operands: the compiled kernel takes finite codes; use system.numerics.vectorised "
                           "for NaN and infinities")


def _finish(total: npt.NDArray[np.float64], arithmetic: Arithmetic, result: str) -> F32 | Codes:
    if result == "fp32":
        with np.errstate(over="ignore"):
            return total.astype(np.float32)
    if result != "bf16":
        raise BadInput(f"result: fp32 or bf16 is allowed, got '{result}'")
    return round_to_bf16(total, arithmetic.saturate)


def _operands(codes: Codes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    significand, exponent = split(codes)
    exponent = np.where(significand == 0, _MASKED, exponent)
    return significand.astype(np.int32), exponent.astype(np.int32)


def dot(x: Codes, w: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Fused-tree matrix products: x (g, m, k) by w (g, n, k), result (g, m, n). Finite operands only."""
    _checked(x, w)
    (xm, xe), (wm, we) = _operands(x), _operands(w)
    total = _fused(xm, xe, wm, we, arithmetic.lanes, arithmetic.guard_bits, ALIGN_MODES.index(arithmetic.align_mode),
                   arithmetic.tile_type == "bf16", arithmetic.accumulator == "bf16")
    return _finish(total, arithmetic, result)


def lane_dot(w: Codes, delta: Codes, arithmetic: Arithmetic, result: str = "bf16") -> F32 | Codes:
    """Input gradients: w (g, i, j), delta (g, m, j), result (g, m, i), added in ascending j. Finite only."""
    _checked(delta, w)
    total = _lanes(_values(delta), _values(w), arithmetic.accumulator == "bf16")
    return _finish(total, arithmetic, result)


def _values(codes: Codes) -> npt.NDArray[np.float64]:
    value = (codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return np.where((codes & np.uint16(0x7F80)) == 0, 0.0, value)
