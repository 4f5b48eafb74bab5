"""Matrix products in the arithmetic of the arrays on a CUDA card, by Triton; bits as in scalar.py.

Operands are torch tensors of int16 that hold BF16 codes, with a leading group axis and any strides: x (g, m, k),
w (g, n, k); result (g, m, n), FP32. What the kernels do not take (NaN and infinity, products that FP32 does not hold
exactly in a lane, sums wider than 31 bits, other accumulators) is computed on the CPU by
:mod:`system.numerics.compiled`, and comes back to the card.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from system.numerics import compiled
from system.numerics.arithmetic import ALIGN_MODES, PRODUCT_BITS, Arithmetic
from system.numerics.formats import Codes

Tensor = torch.Tensor
#: outputs of one program, rows and columns
BLOCK = 32
#: sums of lanes are 32-bit integers
_SUM_BITS = 31
#: exponent fields whose sum is below this can make a product that FP32 does not hold exactly
_SMALLEST_SUM = 2 * 127 - 149 + 14
_INFINITE = 0x7F80


@cache
def available() -> bool:
    """Whether Triton is here, and a card for it or its interpreter (TRITON_INTERPRET=1)."""
    return find_spec("triton") is not None and (torch.cuda.is_available() or interpreted())


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on the CPU: slow, for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def takes(x: Tensor) -> bool:
    """Whether products of this tensor belong here."""
    return available() and (x.is_cuda or interpreted())


def codes(x: Tensor) -> Tensor:
    """BF16 codes of a tensor as int16: nearest even, flush below 2⁻¹²⁶, canonical NaN."""
    return (values(x.detach().to(torch.float32).contiguous()).view(torch.int32) >> 16).to(torch.int16)


def values(x: Tensor, saturate: bool = False) -> Tensor:
    """FP32 rounded to BF16 values."""
    bits = x.contiguous().view(torch.int32)
    code = (bits + 0x7FFF + ((bits >> 16) & 1)) & -0x10000
    sign, field = bits & -0x80000000, code & 0x7F800000
    code = torch.where(field == 0, sign, code)
    if saturate:
        finite = (bits & 0x7FFFFFFF) < 0x7F800000
        code = torch.where((field == 0x7F800000) & finite, sign | 0x7F7F0000, code)
    code = torch.where((bits & 0x7FFFFFFF) > 0x7F800000, 0x7FC00000, code)
    return code.to(torch.int32).view(torch.float32)


def fused_fp32(x: Tensor, w: Tensor, arithmetic: Arithmetic) -> Tensor:
    """FP32 totals of the fused tree; see :func:`system.numerics.compiled.fused_fp32`."""
    bits = PRODUCT_BITS + arithmetic.guard_bits + max(1, arithmetic.lanes - 1).bit_length()
    plain = (arithmetic.alignment == "post" and arithmetic.tile_type == "fp32"
             and arithmetic.tile_accumulator == "fp32" and bits <= _SUM_BITS)
    if not plain or _special(x) or _special(w):
        return _on_cpu(compiled.fused_fp32, x, w, arithmetic)
    from system.numerics import gpu_kernel

    return _run(gpu_kernel.fused, x, w, lanes=arithmetic.lanes, guard=arithmetic.guard_bits,
                mode=ALIGN_MODES.index(arithmetic.align_mode))


def lanes_fp32(w: Tensor, delta: Tensor, arithmetic: Arithmetic) -> Tensor:
    """FP32 totals of lane accumulation: w (g, i, j), delta (g, m, j), result (g, m, i), added in ascending j."""
    if (arithmetic.accumulator != "fp32" or _special(w) or _special(delta)
            or _smallest(w) + _smallest(delta) < _SMALLEST_SUM):
        return _on_cpu(compiled.lanes_fp32, w, delta, arithmetic)
    from system.numerics import gpu_kernel

    return _run(gpu_kernel.lanes, delta, w)


def dot_values(x: Tensor, w: Tensor, arithmetic: Arithmetic) -> Tensor:
    """BF16 results of the fused tree as FP32 values."""
    return values(fused_fp32(x, w, arithmetic), arithmetic.saturate)


def lane_values(w: Tensor, delta: Tensor, arithmetic: Arithmetic) -> Tensor:
    """BF16 results of lane accumulation as FP32 values."""
    return values(lanes_fp32(w, delta, arithmetic), arithmetic.saturate)


def to_numpy(x: Tensor) -> Codes:
    """Codes as the CPU's modules take them."""
    return np.asarray(x.cpu().numpy()).view(np.uint16)


def _special(x: Tensor) -> bool:
    return bool(((x & _INFINITE) == _INFINITE).any())


def _smallest(x: Tensor) -> int:
    """Smallest exponent field of codes that are not zero; 255 where all are."""
    field = (x.to(torch.int32) >> 7) & 0xFF
    return int(torch.where(field == 0, 255, field).min()) if x.numel() else 255


def _on_cpu(kernel: Any, a: Tensor, b: Tensor, arithmetic: Arithmetic) -> Tensor:
    found = kernel(np.ascontiguousarray(to_numpy(a)), np.ascontiguousarray(to_numpy(b)), arithmetic)
    return torch.from_numpy(found).to(a.device)


def _run(kernel: Any, x: Tensor, w: Tensor, **choices: int) -> Tensor:
    groups, rows, depth = x.shape
    columns = w.shape[1]
    out = torch.zeros((groups, rows, columns), dtype=torch.float32, device=x.device)
    if out.numel() and depth:
        grid = (-(-rows // BLOCK), -(-columns // BLOCK), groups)
        kernel[grid](x, w, out, rows, columns, depth, *x.stride(), *w.stride(), **choices, bm=BLOCK, bn=BLOCK)
    return torch.where(out.isnan(), torch.nan, out)  # the canonical NaN, where infinities met
