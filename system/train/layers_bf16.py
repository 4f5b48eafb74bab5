"""The plain BF16 of a GPU as an engine: operands rounded to BF16, products summed in FP32 by torch.

Operands and the gradient that comes in are rounded to nearest even; so are the result and the input gradient. A
weight gradient stays FP32. Torch's own kernels add, so the order of addition, unlike the arrays', is the machine's.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch.nn import functional

from system.numerics.depthwise import Window


class _Rounding(torch.autograd.Function):
    """Rounds what passes forward, and the gradient that passes back where `back` is set."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, back: bool) -> torch.Tensor:
        ctx.back = back
        return x.to(torch.bfloat16).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0]
        return (gradient.to(torch.bfloat16).to(gradient.dtype) if ctx.back else gradient), None


def rounded(x: torch.Tensor, back: bool = True) -> torch.Tensor:
    """x rounded to BF16; with `back`, its gradient too."""
    return cast(torch.Tensor, _Rounding.apply(x, back))  # type: ignore[no-untyped-call]


class PlainBfloat16:
    """Products of rounded operands; see :class:`system.train.functions.Engine`."""

    def product(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return rounded(torch.bmm(rounded(a), rounded(w, back=False).transpose(1, 2)))

    def conv2d(self, x: torch.Tensor, w: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
        return rounded(functional.conv2d(rounded(x), rounded(w, back=False), None, window.stride, window.padding,
                                         window.dilation, groups))
