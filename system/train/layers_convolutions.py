"""torch's convolutions by way of an engine, one to three dimensions, forward and transposed.

A convolution of one dimension is one over images of height 1. One of three dimensions is one over frames: the
kernel's depth is folded into the channels, so that a result is one sum over channels, depth, rows and columns.

A transposed convolution sends each input pixel to a patch of outputs. Its product is patch-wise: a pixel's channels
stream past the words of one kernel position and output channel, and the fused tree sums the input channels; what
lands on one output from several patches, each rounded to BF16, the near-memory adder sums in FP32, as it does for the
input gradient of a convolution. Its own input gradient is a lane accumulation over output channels and kernel
positions, its weight gradient a sum over samples and pixels, as of any product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from system.numerics.depthwise import Window
from system.train.functions import Engine
from system.train.layers_products import Misfit

Sizes = int | Sequence[int]


def conv1d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
           stride: Sizes = 1, padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1) -> torch.Tensor:
    """input (n, c, l) or (c, l), weight (j, c/groups, k): a convolution over images of height 1."""
    _check(input, weight, bias, groups, 1)
    around = padding if isinstance(padding, str) else (0, _sizes(padding, 1)[0])
    z = conv2d(engine, input.unsqueeze(-2), weight.unsqueeze(-2), bias, (1, _sizes(stride, 1)[0]), around,
               (1, _sizes(dilation, 1)[0]), groups)
    return z.squeeze(-2)


def conv2d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
           stride: Sizes = 1, padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1) -> torch.Tensor:
    """input (n, c, h, w) or (c, h, w), weight (j, c/groups, kh, kw)."""
    _check(input, weight, bias, groups, 2)
    if input.dim() == 3:
        return conv2d(engine, input[None], weight, bias, stride, padding, dilation, groups)[0]
    kernel, spread = (weight.shape[2], weight.shape[3]), _pair(dilation)
    input, around = _bordered(input, kernel, spread, padding)
    window = Window(kernel, _pair(stride), (around[0], around[1]), spread)
    _check_window(input, kernel, around, spread)
    z = engine.conv2d(input, weight, window, groups)
    return z if bias is None else z + bias.reshape(1, -1, 1, 1)


def conv3d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
           stride: Sizes = 1, padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1) -> torch.Tensor:
    """input (n, c, d, h, w) or (c, d, h, w), weight (j, c/groups, kd, kh, kw)."""
    _check(input, weight, bias, groups, 3)
    if input.dim() == 4:
        return conv3d(engine, input[None], weight, bias, stride, padding, dilation, groups)[0]
    kernel, step, spread = tuple(weight.shape[2:]), _sizes(stride, 3), _sizes(dilation, 3)
    input, around = _bordered(input, kernel, spread, padding)
    _check_window(input, kernel, around, spread)
    input = functional.pad(input, (0, 0, 0, 0, around[0], around[0])) if around[0] else input
    depth = (input.shape[2] - spread[0] * (kernel[0] - 1) - 1) // step[0] + 1
    frames = torch.stack([input[:, :, k * spread[0]:k * spread[0] + (depth - 1) * step[0] + 1:step[0]]
                          for k in range(kernel[0])], dim=2)  # (n, c, kd, d', h, w)
    frames = frames.permute(0, 3, 1, 2, 4, 5).reshape(-1, input.shape[1] * kernel[0], *input.shape[3:])
    words = weight.reshape(len(weight), -1, *kernel[1:])
    z = conv2d(engine, frames, words, None, step[1:], around[1:], spread[1:], groups)
    z = z.reshape(len(input), depth, *z.shape[1:]).transpose(1, 2)
    return z if bias is None else z + bias.reshape(1, -1, 1, 1, 1)


def conv_transpose1d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
                     stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1,
                     dilation: Sizes = 1) -> torch.Tensor:
    """input (n, c, l) or (c, l), weight (c, j/groups, k)."""
    return _transposed(engine, input, weight, bias, groups, 1, stride, padding, output_padding, dilation)


def conv_transpose2d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
                     stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1,
                     dilation: Sizes = 1) -> torch.Tensor:
    """input (n, c, h, w) or (c, h, w), weight (c, j/groups, kh, kw)."""
    return _transposed(engine, input, weight, bias, groups, 2, stride, padding, output_padding, dilation)


def conv_transpose3d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
                     stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0, groups: int = 1,
                     dilation: Sizes = 1) -> torch.Tensor:
    """input (n, c, d, h, w) or (c, d, h, w), weight (c, j/groups, kd, kh, kw)."""
    return _transposed(engine, input, weight, bias, groups, 3, stride, padding, output_padding, dilation)


def convolution(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                stride: Sizes, padding: Sizes, dilation: Sizes, transposed: bool, output_padding: Sizes,
                groups: int) -> torch.Tensor:
    """torch.convolution: any of the above, by the weight's axes."""
    kind = weight.dim() - 2
    if transposed:
        return _transposed(engine, input, weight, bias, groups, kind, stride, padding, output_padding, dilation)
    form = {1: conv1d, 2: conv2d, 3: conv3d}[kind]
    return form(engine, input, weight, bias, stride, padding, dilation, groups)


def _transposed(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, groups: int,
                kind: int, *sizes: Sizes) -> torch.Tensor:
    """Any transposed convolution, as one of three dimensions. sizes: stride, padding, output padding, dilation."""
    _check(input, weight, bias, groups, kind, transposed=True)
    if input.dim() == kind + 1:
        return _transposed(engine, input[None], weight, bias, groups, kind, *sizes)[0]
    step, border, more, spread = ((*(rest,) * (3 - kind), *_sizes(size, kind))
                                  for size, rest in zip(sizes, (1, 0, 0, 1), strict=True))
    if any(m >= max(s, d) for m, s, d in zip(more, step, spread, strict=True)):
        raise Misfit(f"an output_padding below stride or dilation is expected, got {more[-kind:]} with stride "
                     f"{step[-kind:]} and dilation {spread[-kind:]}; lower it")
    lone = (1,) * (3 - kind)
    x = input.reshape(*input.shape[:2], *lone, *input.shape[2:])
    words = weight.reshape(*weight.shape[:2], *lone, *weight.shape[2:])
    whole = _landed(_patches(engine, x, words, groups), x.shape, words.shape[2:], step, spread)
    cut = [edge for p, m in zip(reversed(border), reversed(more), strict=True) for edge in (-p, m - p)]
    z = functional.pad(whole, cut).reshape(*whole.shape[:2], *(
        size + m - 2 * p for size, m, p in list(zip(whole.shape[2:], more, border, strict=True))[-kind:]))
    return z if bias is None else z + bias.reshape(1, -1, *(1,) * kind)


def _patches(engine: Engine, x: torch.Tensor, w: torch.Tensor, groups: int) -> torch.Tensor:
    """x (n, c, d, h, w), w (c, j/g, kd, kh, kw) -> the patch of every pixel (n, j, kd, kh·kw, d, h·w)."""
    n, c, depth, height, width = x.shape
    _, out, deep, tall, wide = w.shape
    rows = x.reshape(n, groups, c // groups, -1).permute(1, 0, 3, 2).reshape(groups, -1, c // groups)
    words = w.reshape(groups, c // groups, -1).transpose(1, 2)
    z = engine.product(rows, words).reshape(groups, n, depth, height * width, out, deep, tall * wide)
    return z.permute(1, 0, 4, 5, 6, 2, 3).reshape(n, groups * out, deep, tall * wide, depth, height * width)


def _landed(patches: torch.Tensor, size: torch.Size, kernel: Sequence[int], step: Sequence[int],
            spread: Sequence[int]) -> torch.Tensor:
    """Patches summed where they land, in FP32 and in ascending kernel position: (n, j, d', h', w')."""
    n, out, deep, _, depth, _ = patches.shape
    whole = [(length - 1) * s + d * (k - 1) + 1
             for length, s, d, k in zip(size[2:], step, spread, kernel, strict=True)]
    columns = patches.permute(0, 2, 4, 1, 3, 5).reshape(n * deep * depth, out * kernel[1] * kernel[2], -1)
    frames = functional.fold(columns, tuple(whole[1:]), tuple(kernel[1:]), tuple(spread[1:]), 0, tuple(step[1:]))
    frames = frames.reshape(n, deep, depth, out, *whole[1:]).transpose(1, 3)  # (n, j, d, kd, h', w')
    if deep == 1 and step[0] == 1:
        return frames[:, :, :, 0]
    found = frames.new_zeros(n, out, *whole)
    for k in range(deep):
        first = k * spread[0]
        found[:, :, first:first + (depth - 1) * step[0] + 1:step[0]] += frames[:, :, :, k]
    return found


def _sizes(size: Sizes, count: int) -> tuple[int, ...]:
    """As many sizes as given, or as the one that stands for all."""
    given = (size,) if isinstance(size, int) else tuple(size)
    return given * count if len(given) == 1 else given


def _pair(size: Sizes) -> tuple[int, int]:
    given = _sizes(size, 2)
    return given[0], given[1]


def _bordered(x: torch.Tensor, kernel: Sequence[int], spread: Sequence[int], padding: str | Sizes
              ) -> tuple[torch.Tensor, tuple[int, ...]]:
    """The input and the padding that is left to do. "same" pads so that a stride of 1 keeps the size; an odd pixel
    goes to the end, as torch has it."""
    if not isinstance(padding, str):
        return x, _sizes(padding, len(kernel))
    if padding == "same":
        borders = [d * (k - 1) for k, d in zip(kernel, spread, strict=True)]
        x = functional.pad(x, [edge for b in reversed(borders) for edge in (b // 2, b - b // 2)])
    return x, (0,) * len(kernel)


def _check(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None, groups: int, kind: int,
           transposed: bool = False) -> None:
    """Misfit where input, weight, bias and groups do not belong together."""
    channels = w.shape[0] if transposed else w.shape[1] * groups
    outputs = w.shape[1] * groups if transposed else w.shape[0]
    axes = ", ".join(("d", "h", "w")[3 - kind:] if kind > 1 else "l")
    if w.dim() != kind + 2 or x.dim() not in (kind + 1, kind + 2) or x.shape[-kind - 1] != channels:
        raise Misfit(f"an input of shape (n, {channels}, {axes}) is expected by the weight {tuple(w.shape)} with "
                     f"groups {groups}, got {tuple(x.shape)}; give the input that many channels or the layer these")
    if (channels if transposed else outputs) % groups:
        raise Misfit(f"channels that groups divide are expected, got the weight {tuple(w.shape)} with groups "
                     f"{groups}; give such groups")
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise Misfit(f"a bias of shape ({outputs},) is expected by the weight {tuple(w.shape)}, got "
                     f"{tuple(bias.shape)}")


def _check_window(x: torch.Tensor, kernel: Sequence[int], around: Sequence[int], spread: Sequence[int]) -> None:
    sizes = [size + 2 * p for size, p in zip(x.shape[2:], around, strict=True)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, spread, strict=True)]
    if any(span > size for span, size in zip(spans, sizes, strict=True)):
        raise Misfit(f"an input of at least {tuple(spans)} is expected by the kernel, got {tuple(x.shape[2:])} with "
                     f"padding {tuple(around)}; give larger inputs or fewer strides before")
