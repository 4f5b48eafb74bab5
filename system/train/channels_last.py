"""Pointwise and depthwise convolutions with channels last in memory: no unfolded patches, no copies of activations.

The same passes, and the same bits, as :mod:`system.train.functions` gives over patches; a convolution that neither
fits goes that way. Tensors keep torch's shape (n, c, h, w); in memory the channels of a pixel are neighbours, so the
rows of the matrix products are pixels and a vector of the depthwise kernels is sixteen channels.

Where the depthwise kernels take no part (no compiler, operands far apart), what went over patches is laid out the
same way: torch's batch norm sums in memory's order, so another layout would train to other bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from system.numerics import compiled, depthwise
from system.numerics.arithmetic import Arithmetic
from system.numerics.depthwise import Window
from system.numerics.formats import F32, Codes
from system.train.activity import Probe
from system.train.saved import first_order, held, keep, kept


@dataclass(frozen=True)
class Setting:
    """What a convolution's passes share."""

    window: Window
    arithmetic: Arithmetic
    outer: bool
    probe: Probe | None


def conv2d(x: torch.Tensor, w: torch.Tensor, window: Window, groups: int, arithmetic: Arithmetic,
           weight_gradient: str, probe: Probe | None) -> torch.Tensor | None:
    """The convolution without its bias, or None where it must go over patches."""
    if not all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, w)):
        return None
    setting = Setting(window, arithmetic, weight_gradient == "outer", probe)
    if groups == 1 and window.kernel == (1, 1) and window.padding == (0, 0):
        return cast(torch.Tensor, Pointwise.apply(x, w, setting))  # type: ignore[no-untyped-call]
    if groups == x.shape[1] == len(w) and groups > 1 and not setting.outer:
        try:
            return cast(torch.Tensor, Depthwise.apply(x, w, setting))  # type: ignore[no-untyped-call]
        except _NotHere:
            return _over_patches(x, w, setting)
    return None


class _NotHere(Exception):
    """The depthwise kernels do not take these operands."""


def _pixels(x: torch.Tensor) -> F32:
    """(n, c, h, w) as an array (n, h, w, c); no copy where the tensor is channels last."""
    return np.ascontiguousarray(x.detach().permute(0, 2, 3, 1).numpy())


def _tensor(pixels: F32) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class LaidOut(torch.autograd.Function):
    """x (n, c, h, w) with channels last in memory, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return _tensor(_pixels(x))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return _tensor(_pixels(gradients[0]))


def _rows(pixels: F32) -> Codes:
    """BF16 codes of (n, h, w, c) as one group of rows (1, n·h·w, c)."""
    return compiled.codes_of(np.ascontiguousarray(pixels)).reshape(1, -1, pixels.shape[3])


class Pointwise(torch.autograd.Function):
    """A 1 × 1 convolution: x (n, i, h, w), w (j, i, 1, 1) -> (n, j, h', w')."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, setting: Setting) -> torch.Tensor:
        pixels = _pixels(x)[:, ::setting.window.stride[0], ::setting.window.stride[1]]
        a, words = _rows(pixels), compiled.codes_of(w.detach().numpy()).reshape(1, len(w), -1)
        keep(ctx, held(a), held(words.reshape(w.shape)), w)
        ctx.size, ctx.setting, ctx.words = x.shape, setting, len(w)
        if setting.probe is not None:
            setting.probe.see("forward", a, words)
        return _tensor(compiled.dot_values(a, words, setting.arithmetic).reshape(*pixels.shape[:3], -1))

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (a, stored), setting = kept(ctx), ctx.setting
        delta = _rows(_pixels(gradients[0]))
        d_x, d_w = None, None
        if stored is not None:
            words = stored.reshape(1, ctx.words, -1)
            if setting.probe is not None:
                setting.probe.see("input_gradient", delta, words)
            found = compiled.lane_values(words.transpose(0, 2, 1), delta, setting.arithmetic)
            d_x = _tensor(_spread(found, ctx.size, setting.window.stride))
        if a is not None:
            if setting.probe is not None:
                setting.probe.see("weight_gradient", delta, a)
            serial, stored = delta.transpose(0, 2, 1), a.transpose(0, 2, 1)
            if setting.outer:
                total = compiled.lanes_fp32(stored, serial, replace(setting.arithmetic, accumulator="fp32"))
            else:
                total = compiled.fused_fp32(serial, stored, setting.arithmetic)
            d_w = torch.from_numpy(total.reshape(total.shape[1], -1, 1, 1))
        return d_x, d_w, None


def _spread(rows: F32, size: torch.Size, stride: tuple[int, int]) -> F32:
    """Rows of the pixels that a strided 1 × 1 kernel saw, among zeros elsewhere: (n, h, w, c)."""
    n, channels, height, width = size
    if stride == (1, 1):
        return rows.reshape(n, height, width, channels)
    whole = np.zeros((n, height, width, channels), dtype=np.float32)
    part = whole[:, ::stride[0], ::stride[1]]
    part[...] = rows.reshape(part.shape)
    return whole


class Depthwise(torch.autograd.Function):
    """A depthwise convolution: x (n, c, h, w), w (c, 1, kh, kw) -> (n, c, h', w')."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor, setting: Setting) -> torch.Tensor:
        pixels, words = _pixels(x), w.detach().numpy()[:, 0]
        framed = depthwise.frame(pixels, setting.window.padding)
        found = depthwise.forward(framed, words, setting.window, setting.arithmetic)
        if found is None:
            raise _NotHere
        ctx.save_for_backward(x, w)
        ctx.setting = setting
        if setting.probe is not None:
            setting.probe.see_part("forward", found.size * words[0].size,
                                   lambda turn: (_patches(x, setting, turn), _words(words)))
        return _tensor(found)

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, w), setting = ctx.saved_tensors, ctx.setting
        words, delta = w.detach().numpy()[:, 0], _pixels(gradients[0])
        _look(setting, x, words, delta, ctx.needs_input_grad)
        d_x, d_w, errors = None, None, depthwise.frame(delta)
        if ctx.needs_input_grad[0]:
            size = (x.shape[2], x.shape[3])
            found = depthwise.input_gradient(words, errors, size, setting.window, setting.arithmetic)
            d_x = _patchwise(x, w, gradients[0], setting, 0) if found is None else _tensor(found)
        if ctx.needs_input_grad[1]:
            framed = depthwise.frame(_pixels(x), setting.window.padding)  # again: held since forward it takes memory
            found = depthwise.weight_gradient(framed, errors, setting.window, setting.arithmetic)
            d_w = _patchwise(x, w, gradients[0], setting, 1) if found is None else torch.from_numpy(found[:, None])
        return d_x, d_w, None


def _look(setting: Setting, x: torch.Tensor, words: F32, delta: F32, wanted: tuple[bool, ...]) -> None:
    """Show the backward passes' operands to the probe, if there is one."""
    if setting.probe is None:
        return

    def errors(turn: int) -> Codes:
        part = delta[turn % len(delta)]
        return compiled.codes_of(np.ascontiguousarray(part.reshape(-1, part.shape[2]).T))[:, :, None]

    macs = delta.size * words[0].size
    if wanted[0]:
        setting.probe.see_part("input_gradient", macs, lambda turn: (errors(turn), _words(words)))
    if wanted[1]:
        setting.probe.see_part("weight_gradient", macs, lambda turn: (errors(turn), _patches(x, setting, turn)))


def _words(words: F32) -> Codes:
    """(c, 1, taps) codes of the kernels."""
    return compiled.codes_of(words).reshape(len(words), 1, -1)


def _patches(x: torch.Tensor, setting: Setting, turn: int) -> Codes:
    """(c, positions, taps) codes of one image of the batch."""
    window, image = setting.window, x.detach()[turn % len(x)]
    cut = torch.nn.functional.unfold(image[:, None], window.kernel, window.dilation, window.padding, window.stride)
    return compiled.codes_of(np.ascontiguousarray(cut.transpose(1, 2).numpy()))


def _over_patches(x: torch.Tensor, w: torch.Tensor, setting: Setting) -> torch.Tensor:
    """The depthwise convolution over patches, its output and its input's gradient laid out as the kernels' are."""
    from system.train.functions import Arrays, over_patches

    arrays = Arrays(setting.arithmetic, probe=setting.probe)
    laid_out = cast(torch.Tensor, LaidOut.apply(x))  # type: ignore[no-untyped-call]
    z = over_patches(arrays, laid_out, w, setting.window, x.shape[1])
    return cast(torch.Tensor, LaidOut.apply(z))  # type: ignore[no-untyped-call]


def _patchwise(x: torch.Tensor, w: torch.Tensor, delta: torch.Tensor, setting: Setting, which: int) -> torch.Tensor:
    """The input's (0) or the kernel's (1) gradient over patches, where a pass does not take its operands. The probe
    has seen them."""
    inputs = [t.detach().requires_grad_(k == which) for k, t in enumerate((x, w))]
    with torch.enable_grad():
        z = _over_patches(inputs[0], inputs[1], replace(setting, probe=None))
    return torch.autograd.grad(z, inputs[which], delta)[0]
