"""Depthwise convolutions on the vector kernels, channels last: three passes, each the same bits as matrix products
of unfolded patches give (:mod:`system.numerics.compiled`), without the patches.

A pass answers None where it does not apply: no compiler, another tile or accumulator type, more than TAPS taps or
lanes, special operands, or exponents so far apart that a product, a product scaled to the largest one's lane or a sum
would not be a normal FP32 number. The caller then takes the way over patches.
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
#: exponents of normal FP32 numbers, one above left to what floor adds
_LOWEST, _HIGHEST = -126, 126


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
    """An operand (n, h, w, c) as BF16 values in FP32, inside its zero padding, channels in whole vectors; exponent
    fields from `least` to `most` where not zero."""

    values: F32
    channels: int
    padding: tuple[int, int]
    least: int
    most: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width without the padding."""
        height, width = self.values.shape[1:3]
        return height - 2 * self.padding[0], width - 2 * self.padding[1]


def frame(x: F32, padding: tuple[int, int] = (0, 0)) -> Frame | None:
    """x (n, h, w, c) framed for the kernels; None where they cannot be had."""
    found = native.library()
    if found is None:
        return None
    n, h, w, c = x.shape
    source = np.ascontiguousarray(x)
    framed = np.empty((n, h + 2 * padding[0], w + 2 * padding[1], -(-c // VECTOR) * VECTOR), dtype=np.float32)
    ranges = np.full((n, 2), (_NONE, 0), dtype=np.int32)

    def one(k: int) -> int:
        found.himc_frame(source[k].ctypes.data, h, w, c, *padding, framed[k].ctypes.data, ranges[k].ctypes.data)
        return 0

    native.in_threads([partial(one, k) for k in range(n)], x.size)
    return Frame(framed, c, padding, int(ranges[:, 0].min()), int(ranges[:, 1].max()))


def _ready(a: Frame | None, b: Frame | None, window: Window, arithmetic: Arithmetic, summed: int) -> bool:
    """Whether the kernels take these operands under this arithmetic; summed: products that an output adds up."""
    if a is None or b is None or max(a.most, b.most) == _NONE:
        return False
    plain = arithmetic == Arithmetic(arithmetic.lanes, arithmetic.guard_bits, arithmetic.align_mode,
                                     saturate=arithmetic.saturate)
    taps = window.kernel[0] * window.kernel[1]
    least, most = a.least + b.least - 254, a.most + b.most - 254
    fraction = PRODUCT_FRACTION + arithmetic.guard_bits
    return (plain and taps <= min(TAPS, arithmetic.lanes) and native.fits(arithmetic)
            and least - max(PRODUCT_FRACTION, fraction) >= _LOWEST and least - most + fraction >= _LOWEST
            and most + 2 + summed.bit_length() <= _HIGHEST)


def _shape(framed: tuple[int, ...], out: tuple[int, int], window: Window) -> npt.NDArray[np.int64]:
    """What the kernels know as Shape; framed: images, padded height and width, channels in whole vectors."""
    sizes = (*framed, *out, *window.kernel, *window.stride, *window.dilation)
    return np.array(sizes, np.int64)


def _taps(w: F32) -> Frame | None:
    """(channels, rows, columns) framed as (1, 1, taps, channels): taps take the place of positions."""
    return frame(np.ascontiguousarray(w.reshape(1, 1, len(w), -1).transpose(0, 1, 3, 2)))


def forward(x: Frame | None, w: F32, window: Window, arithmetic: Arithmetic) -> F32 | None:
    """x framed in its padding, w (c, rows, columns) -> BF16 values (n, oh, ow, c)."""
    taps = _taps(w)
    if not _ready(x, taps, window, arithmetic, w[0].size):
        return None
    assert x is not None
    assert taps is not None
    out = np.empty((len(x.values), *window.out(*x.size), x.channels), dtype=np.float32)
    shape, mode = _shape((1, *x.values.shape[1:]), out.shape[1:3], window), ALIGN_MODES.index(arithmetic.align_mode)
    kernel = native.library()
    assert kernel is not None
    native.in_threads([partial(kernel.himc_depthwise, x.values[k].ctypes.data, taps.values.ctypes.data,
                               shape.ctypes.data, arithmetic.guard_bits, mode, x.channels, int(arithmetic.saturate),
                               out[k].ctypes.data) for k in range(len(out))], out.size * w[0].size)
    return out


def input_gradient(w: F32, delta: Frame | None, size: tuple[int, int], window: Window, arithmetic: Arithmetic
                   ) -> F32 | None:
    """delta (n, oh, ow, c) framed, w (c, rows, columns) -> FP32 (n, *size, c): BF16 products added in FP32."""
    taps = _taps(w)
    if not _ready(delta, taps, window, arithmetic, w[0].size):
        return None
    assert delta is not None
    assert taps is not None
    (top, left), (n, _, _, wide) = window.padding, delta.values.shape
    out = np.empty((n, *size, delta.channels), dtype=np.float32)
    framed = (1, size[0] + 2 * top, size[1] + 2 * left, wide)
    shape = _shape(framed, delta.size, window)
    kernel = native.library()
    assert kernel is not None
    native.in_threads([partial(kernel.himc_depthwise_inputs, delta.values[k].ctypes.data, taps.values.ctypes.data,
                               shape.ctypes.data, top, left, delta.channels, out[k].ctypes.data) for k in range(n)],
                      delta.values.size * w[0].size)
    return out


def weight_gradient(x: Frame | None, delta: Frame | None, window: Window, arithmetic: Arithmetic) -> F32 | None:
    """x framed in its padding, delta (n, oh, ow, c) framed -> FP32 (c, rows, columns); tiles of lanes over ascending
    positions."""
    positions = 0 if delta is None else delta.values.size // delta.values.shape[3]
    if not _ready(x, delta, window, arithmetic, positions):
        return None
    assert x is not None
    assert delta is not None
    shape = _shape(x.values.shape, delta.size, window)
    wide, taps = x.values.shape[3], window.kernel[0] * window.kernel[1]
    out = np.empty((taps, wide), dtype=np.float32)
    kernel, mode = native.library(), ALIGN_MODES.index(arithmetic.align_mode)
    assert kernel is not None
    native.in_threads([partial(kernel.himc_depthwise_weights, x.values.ctypes.data, delta.values.ctypes.data,
                               shape.ctypes.data, arithmetic.lanes, arithmetic.guard_bits, mode, v, v + 1,
                               out.ctypes.data) for v in range(wide // VECTOR)], delta.values.size * taps)
    return np.ascontiguousarray(out.T[:x.channels]).reshape(-1, *window.kernel)
