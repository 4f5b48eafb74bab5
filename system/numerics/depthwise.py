"""Depthwise convolutions on the vector kernels, channels last: three passes, each the same bits as matrix products
of unfolded patches give (:mod:`system.numerics.compiled`), without the patches.

A pass answers None where it does not apply: no compiler, another tile or accumulator type, more than TAPS taps or
lanes, special operands, or exponents so far apart that a product would not be a normal FP32 number. The caller then
takes the way over patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from system.numerics import native
from system.numerics.arithmetic import ALIGN_MODES, PRODUCT_FRACTION, Arithmetic
from system.numerics.formats import F32

TAPS, VECTOR = 64, 16
_NONE = 255


@dataclass(frozen=True)
class Window:
    """The kernel (rows, columns), and its stride, zero padding and dilation, each (vertical, horizontal)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]

    def out(self, height: int, width: int) -> tuple[int, int]:
        """Output size of an image of this size."""
        sizes = [(size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in
                 zip((height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True)]
        return sizes[0], sizes[1]


@dataclass(frozen=True)
class Frame:
    """An operand as BF16 values in FP32, inside its padding, channels in whole vectors; exponent fields from
    `least` to `most` where not zero."""

    values: F32
    least: int
    most: int


def _frame(x: F32, padding: tuple[int, int] = (0, 0)) -> Frame:
    found = native.library()
    assert found is not None
    n, h, w, c = x.shape
    source = np.ascontiguousarray(x)
    wide = -(-c // VECTOR) * VECTOR
    framed = np.zeros((n, h + 2 * padding[0], w + 2 * padding[1], wide), dtype=np.float32)
    ranges = np.zeros((n, 2), dtype=np.int32)

    def one(k: int) -> int:
        found.himc_frame(source[k].ctypes.data, 1, h, w, c, padding[0], padding[1], *framed.shape[1:3],
                         framed[k].ctypes.data, ranges[k].ctypes.data)
        return 0

    native.in_threads([partial(one, k) for k in range(n)], x.size)
    return Frame(framed, int(ranges[:, 0].min()), int(ranges[:, 1].max()))


def _fits(a: Frame, b: Frame, arithmetic: Arithmetic) -> bool:
    if max(a.most, b.most) == _NONE:
        return False
    lowest = a.least + b.least - 254 - PRODUCT_FRACTION - max(0, arithmetic.guard_bits)
    return lowest >= -126 and a.most + b.most - 254 + 2 <= 126


def _applies(arithmetic: Arithmetic, window: Window) -> bool:
    plain = arithmetic == Arithmetic(arithmetic.lanes, arithmetic.guard_bits, arithmetic.align_mode,
                                     saturate=arithmetic.saturate)
    taps = window.kernel[0] * window.kernel[1]
    return plain and taps <= min(TAPS, arithmetic.lanes) and native.fits(arithmetic) and native.library() is not None


def _shape(framed: Frame, images: int, out: tuple[int, int], window: Window) -> npt.NDArray[np.int64]:
    height, width, channels = framed.values.shape[1:]
    sizes = (images, height, width, channels, *out, *window.kernel, *window.stride, *window.dilation)
    return np.array(sizes, np.int64)


def _taps(w: F32) -> F32:
    """(channels, rows, columns) as (1, 1, taps, channels): taps take the place of positions."""
    return np.ascontiguousarray(w.reshape(1, 1, len(w), -1).transpose(0, 1, 3, 2))


def forward(x: F32, w: F32, window: Window, arithmetic: Arithmetic) -> F32 | None:
    """x (n, h, w, c), w (c, rows, columns) -> BF16 values (n, oh, ow, c)."""
    if not _applies(arithmetic, window):
        return None
    framed, taps = _frame(x, window.padding), _frame(_taps(w))
    if not _fits(framed, taps, arithmetic):
        return None
    n, h, width, c = x.shape
    out = np.empty((n, *window.out(h, width), c), dtype=np.float32)
    shape, mode = _shape(framed, 1, out.shape[1:3], window), ALIGN_MODES.index(arithmetic.align_mode)
    kernel = native.library()
    assert kernel is not None
    native.in_threads([partial(kernel.himc_depthwise, framed.values[k].ctypes.data, taps.values.ctypes.data,
                               shape.ctypes.data, arithmetic.guard_bits, mode, c, out[k].ctypes.data)
                       for k in range(n)], out.size * len(w[0]) ** 2)
    native.round_values(out, arithmetic.saturate)
    return out


def input_gradient(w: F32, delta: F32, size: tuple[int, int], window: Window, arithmetic: Arithmetic) -> F32 | None:
    """delta (n, oh, ow, c), w (c, rows, columns) -> FP32 (n, *size, c): one BF16 product a tap, added in FP32."""
    if not _applies(arithmetic, window):
        return None
    framed, taps = _frame(delta), _frame(_taps(w))
    if not _fits(framed, taps, arithmetic):
        return None
    n, c = delta.shape[0], delta.shape[3]
    (top, left), wide = window.padding, framed.values.shape[3]
    whole = np.zeros((n, size[0] + 2 * top, size[1] + 2 * left, wide), dtype=np.float32)
    shape = _shape(Frame(whole, 0, 0), 1, (delta.shape[1], delta.shape[2]), window)
    kernel = native.library()
    assert kernel is not None
    native.in_threads([partial(kernel.himc_depthwise_inputs, framed.values[k].ctypes.data, taps.values.ctypes.data,
                               shape.ctypes.data, int(arithmetic.saturate), whole[k].ctypes.data)
                       for k in range(n)], delta.size * len(w[0]) ** 2)
    return np.ascontiguousarray(whole[:, top:top + size[0], left:left + size[1], :c])


def weight_gradient(x: F32, delta: F32, window: Window, arithmetic: Arithmetic) -> F32 | None:
    """x (n, h, w, c), delta (n, oh, ow, c) -> FP32 (c, rows, columns); tiles of lanes over ascending positions."""
    if not _applies(arithmetic, window):
        return None
    framed, errors = _frame(x, window.padding), _frame(delta)
    if not _fits(framed, errors, arithmetic):
        return None
    shape = _shape(framed, len(x), (delta.shape[1], delta.shape[2]), window)
    wide, taps = framed.values.shape[3], window.kernel[0] * window.kernel[1]
    out = np.empty((taps, wide), dtype=np.float32)
    kernel, mode = native.library(), ALIGN_MODES.index(arithmetic.align_mode)
    assert kernel is not None
    vectors = wide // VECTOR
    native.in_threads([partial(kernel.himc_depthwise_weights, framed.values.ctypes.data, errors.values.ctypes.data,
                               shape.ctypes.data, arithmetic.lanes, arithmetic.guard_bits, mode, v, v + 1,
                               out.ctypes.data) for v in range(vectors)], delta.size * taps)
    return np.ascontiguousarray(out.T[:x.shape[3]]).reshape(-1, *window.kernel)
