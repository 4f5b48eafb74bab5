"""The fused tree and lane accumulation as Triton kernels, imported only where Triton is (:mod:`system.numerics.gpu`).

A program makes a tile of outputs, one lane after another. Of the tree everything up to the lane's sum is integers, so
no compiler's choice of fused or split float operations changes a bit: significands of 8 bits, products of 16, the
shift to the group's largest exponent, sums of at most 31 bits. The sum times its power of two is exact in FP64 and is
rounded once to FP32; the additions of tiles that follow are plain FP32 additions without a product that could be
fused. A lane's products are exact in FP32 (:mod:`gpu` sends operands for which they are not elsewhere), so a fused
and a split multiply-add give the same bits.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _field(code):  # type: ignore[no-untyped-def]
    """Exponent field of BF16 codes in int32."""
    return (code >> 7) & 0xFF


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _significand(code):  # type: ignore[no-untyped-def]
    """Eight bits, 0 where the exponent field is."""
    return tl.where(_field(code) == 0, 0, 128 | (code & 0x7F))


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _largest(x, w, m, n, x_row, x_k, w_row, w_k, rows, columns, first, last, bm: tl.constexpr,  # type: ignore
             bn: tl.constexpr):
    """Largest exponent sum of the group's products that are not zero; -1 where all are."""
    top = tl.full((bm, bn), -1, tl.int32)
    for k in range(first, last):
        a = tl.load(x + m * x_row + k * x_k, mask=m < rows, other=0).to(tl.int32)
        b = tl.load(w + n * w_row + k * w_k, mask=n < columns, other=0).to(tl.int32)
        ea, eb = _field(a)[:, None], _field(b)[None, :]
        top = tl.maximum(top, tl.where((ea == 0) | (eb == 0), -1, ea + eb))
    return top


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _kept(a, b, top, guard: tl.constexpr, mode: tl.constexpr):  # type: ignore[no-untyped-def]
    """What a lane keeps of a product: an integer in units of 2^(top - 268 - guard)."""
    negative = (((a >> 15) & 1)[:, None] ^ ((b >> 15) & 1)[None, :]) != 0
    product = _significand(a)[:, None] * _significand(b)[None, :]
    shift = top - (_field(a)[:, None] + _field(b)[None, :]) - guard
    right = tl.minimum(tl.maximum(shift, 0), 31)
    left = tl.minimum(tl.maximum(-shift, 0), 15)
    moved = product << left
    size = moved >> right
    lost = (size << right) != moved
    if mode == 1:  # floor
        size = size + tl.where(negative & lost, 1, 0)
    elif mode == 2:  # sticky
        size = size | tl.where(lost, 1, 0)
    return tl.where(negative, -size, size)


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def fused(x, w, out, rows, columns, depth, x_group, x_row, x_k, w_group, w_row, w_k,  # type: ignore[no-untyped-def]
          lanes: tl.constexpr, guard: tl.constexpr, mode: tl.constexpr, bm: tl.constexpr, bn: tl.constexpr):
    """out (groups, rows, columns), FP32 = x (groups, rows, depth) · w (groups, columns, depth), codes in int16."""
    group = tl.program_id(2)
    m, n = tl.program_id(0) * bm + tl.arange(0, bm), tl.program_id(1) * bn + tl.arange(0, bn)
    x += group * x_group
    w += group * w_group
    total = tl.zeros((bm, bn), tl.float32)
    for first in range(0, depth, lanes):
        last = tl.minimum(first + lanes, depth)
        top = _largest(x, w, m, n, x_row, x_k, w_row, w_k, rows, columns, first, last, bm, bn)
        found = tl.zeros((bm, bn), tl.int32)
        for k in range(first, last):
            a = tl.load(x + m * x_row + k * x_k, mask=m < rows, other=0).to(tl.int32)
            b = tl.load(w + n * w_row + k * w_k, mask=n < columns, other=0).to(tl.int32)
            found += _kept(a, b, top, guard, mode)
        weight = tl.where(top < 0, 0, top - 268 - guard)
        power = ((weight + 1023).to(tl.int64) << 52).to(tl.float64, bitcast=True)
        total += (found.to(tl.float64) * power).to(tl.float32)
    at = group.to(tl.int64) * rows * columns + m[:, None].to(tl.int64) * columns + n[None, :]
    tl.store(out + at, total, mask=(m < rows)[:, None] & (n < columns)[None, :])


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def lanes(x, w, out, rows, columns, depth, x_group, x_row, x_k, w_group, w_row, w_k,  # type: ignore[no-untyped-def]
          bm: tl.constexpr, bn: tl.constexpr):
    """The same shapes: exact products added one by one in ascending k, FP32."""
    group = tl.program_id(2)
    m, n = tl.program_id(0) * bm + tl.arange(0, bm), tl.program_id(1) * bn + tl.arange(0, bn)
    x += group * x_group
    w += group * w_group
    total = tl.zeros((bm, bn), tl.float32)
    for k in range(depth):
        a = tl.load(x + m * x_row + k * x_k, mask=m < rows, other=0).to(tl.int32)
        b = tl.load(w + n * w_row + k * w_k, mask=n < columns, other=0).to(tl.int32)
        left = tl.where(_field(a) == 0, 0, a << 16).to(tl.float32, bitcast=True)[:, None]
        right = tl.where(_field(b) == 0, 0, b << 16).to(tl.float32, bitcast=True)[None, :]
        total = tl.fma(tl.broadcast_to(left, (bm, bn)), tl.broadcast_to(right, (bm, bn)), total)
    at = group.to(tl.int64) * rows * columns + m[:, None].to(tl.int64) * columns + n[None, :]
    tl.store(out + at, total, mask=(m < rows)[:, None] & (n < columns)[None, :])
