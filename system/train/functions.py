"""The reformulated back-propagation as torch functions, each pass in its own arithmetic.

W_ij lies in compartment i at word address j (the paper's reformulated back-propagation):

    forward          z_j  = Σ_i a_i · W_ij        serial a_i into compartment i, Hadamard, fused tree over i
    input gradient   d_i  = Σ_j W_ij · δ_j        δ_j broadcast; compartment i adds for itself, in ascending j
    weight gradient  ΔW_ij = Σ_b a_i^b · δ_j^b    a_i^b written into an array, δ_j^b serial:
                     batched: lane b is a (sample, position), fused tree over b, tiles in FP32
                     outer:   one (sample, position) b at a time, compartment i adds a_i^b · δ_j^b to the FP32
                              gradient buffer, in ascending b; no tree

The factor f'(z_i) of the input gradient is the activation's own backward, an element-wise product that torch
applies. Operands enter as BF16; results are BF16, but for the weight gradient, which stays in the FP32 gradient
buffer. Where both operands are activations (attention), the stored one takes the weight's place. Convolutions are
matrix products over unfolded patches, one group of channels each; :mod:`system.train.channels_last` makes the same
bits without the patches where it can. An input under several kernel positions gets one input gradient, rounded to
BF16, from each; the near-memory adder sums them in FP32 [inferred], which torch's fold does here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import torch
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics import compiled, gpu
from system.numerics.arithmetic import Arithmetic
from system.numerics.depthwise import Window
from system.numerics.formats import F32, Codes
from system.train import channels_last
from system.train.activity import Probe
from system.train.saved import codes, first_order, held, keep, kept

WEIGHT_GRADIENTS = ("batched", "outer")


class Engine(Protocol):
    """What computes the products of a layer, differentiably."""

    def product(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """a (g, m, i), w (g, j, i) -> (g, m, j): a is streamed, w is stored."""

    def conv2d(self, x: torch.Tensor, w: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
        """x (n, c, h, w), w (j, c/groups, kh, kw) -> (n, j, h', w')."""


@dataclass(frozen=True)
class Arrays:
    """The in-memory arithmetic as an engine. weight_gradient: "batched" or "outer"; probe: who looks on, if any."""

    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    weight_gradient: str = "batched"
    probe: Probe | None = None

    def __post_init__(self) -> None:
        if self.weight_gradient not in WEIGHT_GRADIENTS:
            raise BadInput(f"weight_gradient: {' or '.join(WEIGHT_GRADIENTS)} is allowed, got "
                           f"'{self.weight_gradient}'")

    def product(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, ArrayProduct.apply(a, w, self))  # type: ignore[no-untyped-call]

    def conv2d(self, x: torch.Tensor, w: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
        if gpu.takes(x):
            return over_patches(self, x, w, window, groups)
        found = channels_last.conv2d(x, w, window, groups, self.arithmetic, self.weight_gradient, self.probe)
        return over_patches(self, x, w, window, groups) if found is None else found


def forward_pass(a: Codes, w: Codes, arithmetic: Arithmetic) -> F32:
    """a (g, m, i), w (g, j, i) -> z (g, m, j): BF16 values, z_j = Σ_i a_i · W_ij by the fused tree over i."""
    return compiled.dot_values(a, w, arithmetic)


def input_gradient(w: Codes, delta: Codes, arithmetic: Arithmetic) -> F32:
    """w (g, j, i), delta (g, m, j) -> d (g, m, i): BF16 values, d_i = Σ_j W_ij · δ_j.

    No transposed copy lies in the array: compartment i adds exact products in its own accumulator, ascending j.
    """
    return compiled.lane_values(w.transpose(0, 2, 1), delta, arithmetic)


def weight_gradient(a: Codes, delta: Codes, arithmetic: Arithmetic, mode: str = "batched") -> F32:
    """a (g, b, i), delta (g, b, j) -> ΔW (g, j, i) in FP32: ΔW_ij = Σ_b a_i^b · δ_j^b.

    batched: lanes over b, fused tree, tiles accumulate in ascending b. outer: exact products, added one b after
    another in the FP32 gradient buffer.
    """
    serial, stored = delta.transpose(0, 2, 1), a.transpose(0, 2, 1)
    if mode == "outer":
        return compiled.lanes_fp32(stored, serial, replace(arithmetic, accumulator="fp32"))
    return compiled.fused_fp32(serial, stored, arithmetic)


def _show(probe: Probe | None, pass_name: str, serial: torch.Tensor, stored: torch.Tensor) -> None:
    """Let the probe look at codes that lie on a card."""
    if probe is not None:
        probe.see(pass_name, gpu.to_numpy(serial), gpu.to_numpy(stored))


def _backward_on_card(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    """Both gradients of a product by the card's kernels; the same bits as on the CPU."""
    (a, w), arrays, delta = ctx.saved_tensors, ctx.arrays, gpu.codes(gradient)
    w = gpu.codes(w) if ctx.as_given and w is not None else w
    found: list[torch.Tensor | None] = [None, None, None]
    if w is not None:
        _show(arrays.probe, "input_gradient", delta, w)
        found[0] = gpu.lane_values(w.transpose(1, 2), delta, arrays.arithmetic).to(ctx.types[0])
    if a is not None:
        _show(arrays.probe, "weight_gradient", delta, a)
        serial, stored = delta.transpose(1, 2), a.transpose(1, 2)
        if arrays.weight_gradient == "outer":
            exact = replace(arrays.arithmetic, accumulator="fp32")
            found[1] = gpu.lanes_fp32(stored, serial, exact).to(ctx.types[1])
        else:
            found[1] = gpu.fused_fp32(serial, stored, arrays.arithmetic).to(ctx.types[1])
    return tuple(found)


class ArrayProduct(torch.autograd.Function):
    """z = a · Wᵀ for every group: a (g, m, i), w (g, j, i), all three passes on the arrays."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, w: torch.Tensor, arrays: Arrays) -> torch.Tensor:
        ctx.on_card = gpu.takes(a)
        ctx.arrays, ctx.types = arrays, (a.dtype, w.dtype)
        if ctx.on_card:
            serial, stored = gpu.codes(a), gpu.codes(w)
            keep(ctx, serial, stored, w)
            _show(arrays.probe, "forward", serial, stored)
            return gpu.dot_values(serial, stored, arrays.arithmetic).to(a.dtype)
        a_codes, w_codes = codes(a), codes(w)
        keep(ctx, held(a_codes), held(w_codes), w)
        if arrays.probe is not None:
            arrays.probe.see("forward", a_codes, w_codes)
        return torch.from_numpy(forward_pass(a_codes, w_codes, arrays.arithmetic)).to(a)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if ctx.on_card:
            return _backward_on_card(ctx, gradients[0])
        (a_codes, w_codes), arrays = kept(ctx), ctx.arrays
        delta, place = codes(gradients[0]), gradients[0].device
        found: list[torch.Tensor | None] = [None, None, None]
        if w_codes is not None:
            if arrays.probe is not None:
                arrays.probe.see("input_gradient", delta, w_codes)
            d_a = input_gradient(w_codes, delta, arrays.arithmetic)
            found[0] = torch.from_numpy(d_a).to(place, ctx.types[0])
        if a_codes is not None:
            if arrays.probe is not None:
                arrays.probe.see("weight_gradient", delta, a_codes)
            d_w = weight_gradient(a_codes, delta, arrays.arithmetic, arrays.weight_gradient)
            found[1] = torch.from_numpy(d_w).to(place, ctx.types[1])
        return tuple(found)


def over_patches(engine: Engine, x: torch.Tensor, w: torch.Tensor, window: Window, groups: int) -> torch.Tensor:
    """Any convolution as matrix products of unfolded patches; shapes as :meth:`Engine.conv2d`."""
    n, _, height, width = x.shape
    patches = functional.unfold(x, window.kernel, window.dilation, window.padding, window.stride)
    positions = patches.shape[-1]
    a = patches.reshape(n, groups, -1, positions).permute(1, 0, 3, 2).reshape(groups, n * positions, -1)
    z = engine.product(a, w.reshape(groups, w.shape[0] // groups, -1)).reshape(groups, n, positions, -1)
    return z.permute(1, 0, 3, 2).reshape(n, w.shape[0], *window.out(height, width))
