"""The reformulated back-propagation as torch functions, each pass in its own arithmetic.

W_ij lies in compartment i at word address j (dossier of the paper, section "reformulated back-propagation"):

    forward          z_j  = Σ_i a_i · W_ij        serial a_i into compartment i, Hadamard, fused tree over i
    input gradient   d_i  = Σ_j W_ij · δ_j        δ_j broadcast; compartment i adds for itself, in ascending j
    weight gradient  ΔW_ij = Σ_b a_i^b · δ_j^b    batched: a lane is a (sample, position), fused tree over b

The factor f'(z_i) of the input gradient is the activation's own backward, an element-wise product that torch
applies. Operands enter as BF16; results are BF16, but for the weight gradient, which stays in the FP32 gradient
buffer. Convolutions are matrix products over unfolded patches, one group of channels each. An input under several
kernel positions gets one input gradient, rounded to BF16, from each; the near-memory adder sums them in FP32
[inferred], which torch's fold does here.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional

from system.numerics import compiled
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import Codes, round_to_bf16, values_of
from system.train.activity import Recorder


def codes(x: torch.Tensor) -> Codes:
    """BF16 codes of a float tensor, contiguous."""
    return round_to_bf16(np.ascontiguousarray(x.detach().numpy()))


def _tensor(x: Any) -> torch.Tensor:
    array = values_of(x) if x.dtype == np.uint16 else x
    return torch.from_numpy(np.ascontiguousarray(array))


def forward_pass(a: Codes, w: Codes, arithmetic: Arithmetic) -> torch.Tensor:
    """a (g, m, i), w (g, j, i) -> z (g, m, j)."""
    return _tensor(compiled.dot(a, w, arithmetic))


def input_gradient(w: Codes, delta: Codes, arithmetic: Arithmetic) -> torch.Tensor:
    """w (g, j, i), delta (g, m, j) -> d (g, m, i): no transposed copy in the array, an accumulator a compartment."""
    return _tensor(compiled.lane_dot(np.ascontiguousarray(w.transpose(0, 2, 1)), delta, arithmetic))


def weight_gradient(a: Codes, delta: Codes, arithmetic: Arithmetic) -> torch.Tensor:
    """a (g, b, i), delta (g, b, j) -> ΔW (g, j, i) in FP32; tiles of lanes over b accumulate in ascending b."""
    left = np.ascontiguousarray(delta.transpose(0, 2, 1))
    right = np.ascontiguousarray(a.transpose(0, 2, 1))
    return _tensor(compiled.dot(left, right, arithmetic, "fp32"))


class ArrayProduct(torch.autograd.Function):
    """z = a · Wᵀ for every group: a (g, m, i), w (g, j, i), all three passes on the arrays."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, w: torch.Tensor, arithmetic: Arithmetic,
                recorder: Recorder | None) -> torch.Tensor:
        a_codes, w_codes = codes(a), codes(w)
        ctx.operands, ctx.arithmetic, ctx.recorder = (a_codes, w_codes), arithmetic, recorder
        if recorder is not None:
            recorder.see("forward", a_codes, w_codes)
        return forward_pass(a_codes, w_codes, arithmetic)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a_codes, w_codes = ctx.operands
        delta = codes(gradients[0])
        if ctx.recorder is not None:
            ctx.recorder.see("input_gradient", delta, w_codes)
            ctx.recorder.see("weight_gradient", delta, a_codes)
        d_a = input_gradient(w_codes, delta, ctx.arithmetic) if ctx.needs_input_grad[0] else None
        d_w = weight_gradient(a_codes, delta, ctx.arithmetic) if ctx.needs_input_grad[1] else None
        return d_a, d_w, None, None


def array_product(a: torch.Tensor, w: torch.Tensor, arithmetic: Arithmetic,
                  recorder: Recorder | None = None) -> torch.Tensor:
    """The differentiable product; see :class:`ArrayProduct`."""
    return cast(torch.Tensor, ArrayProduct.apply(a, w, arithmetic, recorder))  # type: ignore[no-untyped-call]


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, arithmetic: Arithmetic,
           recorder: Recorder | None = None) -> torch.Tensor:
    """x (…, i), weight (j, i), bias (j,) added by the vector unit."""
    flat = x.reshape(1, -1, x.shape[-1])
    z = array_product(flat, weight[None], arithmetic, recorder).reshape(*x.shape[:-1], len(weight))
    return z if bias is None else z + bias


def conv2d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: tuple[int, int],
           padding: tuple[int, int], dilation: tuple[int, int], groups: int, arithmetic: Arithmetic,
           recorder: Recorder | None = None) -> torch.Tensor:
    """x (n, c, h, w), weight (j, c/groups, kh, kw): pointwise, depthwise, ordinary, strided and grouped alike."""
    n, _, height, width = x.shape
    kernel = (weight.shape[2], weight.shape[3])
    out = [(size + 2 * p - d * (k - 1) - 1) // s + 1
           for size, p, d, k, s in zip((height, width), padding, dilation, kernel, stride, strict=True)]
    patches = functional.unfold(x, kernel, dilation, padding, stride)  # (n, c·kh·kw, positions)
    positions = patches.shape[-1]
    a = patches.reshape(n, groups, -1, positions).permute(1, 0, 3, 2).reshape(groups, n * positions, -1)
    w = weight.reshape(groups, weight.shape[0] // groups, -1)
    z = array_product(a, w, arithmetic, recorder).reshape(groups, n, positions, -1)
    z = z.permute(1, 0, 3, 2).reshape(n, weight.shape[0], out[0], out[1])
    return z if bias is None else z + bias.reshape(1, -1, 1, 1)
