"""torch's product operators by way of an engine: each function takes what the operator of its name takes.

Every one comes down to :meth:`Engine.product` or :meth:`Engine.conv2d`; biases, scales and sums beside the product
are the vector unit's, in FP32. A weight is the stored operand wherever it stands; of two activations the right-hand
one is stored. NoForm is raised where a use of an operator has no product here, and the caller decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from system.numerics.depthwise import Window
from system.train.functions import Engine

Sizes = int | Sequence[int]


class NoForm(Exception):
    """An operator, as it is used, cannot be made of an engine's products."""


def linear(engine: Engine, input: torch.Tensor, weight: torch.Tensor,
           bias: torch.Tensor | None = None) -> torch.Tensor:
    """input (…, i), weight (j, i) or (i,) -> (…, j) or (…)."""
    if weight.dim() == 1:
        z = linear(engine, input, weight[None])[..., 0]
    else:
        z = engine.product(input.reshape(1, -1, input.shape[-1]), weight[None])
        z = z.reshape(*input.shape[:-1], len(weight))
    return z if bias is None else z + bias


def conv2d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
           stride: Sizes = 1, padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1) -> torch.Tensor:
    """input (n, c, h, w) or (c, h, w), weight (j, c/groups, kh, kw)."""
    if input.dim() == 3:
        return conv2d(engine, input[None], weight, bias, stride, padding, dilation, groups)[0]
    kernel, spread = (weight.shape[2], weight.shape[3]), _pair(dilation)
    if isinstance(padding, str):
        input, around = _same(input, kernel, spread) if padding == "same" else input, (0, 0)
    else:
        around = _pair(padding)
    z = engine.conv2d(input, weight, Window(kernel, _pair(stride), around, spread), groups)
    return z if bias is None else z + bias.reshape(1, -1, 1, 1)


def conv1d(engine: Engine, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
           stride: Sizes = 1, padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1) -> torch.Tensor:
    """input (n, c, l) or (c, l), weight (j, c/groups, k): a convolution over images of height 1."""
    around = padding if isinstance(padding, str) else (0, _pair(padding)[0])
    z = conv2d(engine, input.unsqueeze(-2), weight.unsqueeze(-2), bias, (1, _pair(stride)[0]), around,
               (1, _pair(dilation)[0]), groups)
    return z.squeeze(-2)


def _pair(size: Sizes) -> tuple[int, int]:
    """Both sizes of what is given once or twice."""
    given = (size,) if isinstance(size, int) else tuple(size)
    return given[0], given[-1]


def _same(x: torch.Tensor, kernel: tuple[int, int], dilation: tuple[int, int]) -> torch.Tensor:
    """Padded so that a stride of 1 keeps the size; an odd pixel goes to the end, as torch has it."""
    (top, left), (low, right) = zip(*((d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2)
                                      for k, d in zip(kernel, dilation, strict=True)), strict=True)
    return functional.pad(x, (left, right, top, low))


def matmul(engine: Engine, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """torch.matmul for any ranks: vectors, matrices, and batches that broadcast."""
    if left.dim() == 1:
        return matmul(engine, left[None], right).squeeze(-2 if right.dim() > 1 else -1)
    if right.dim() == 1:
        return matmul(engine, left, right[:, None]).squeeze(-1)
    if right.dim() == 2:
        return _many_rows(engine, left, right)
    if left.dim() == 2 and _is_weight(left) and not _is_weight(right):
        return _many_rows(engine, right.transpose(-1, -2), left.transpose(-1, -2)).transpose(-1, -2)
    batch = torch.broadcast_shapes(  # type: ignore[no-untyped-call]
        left.shape[:-2], right.shape[:-2])
    a = left.expand(*batch, *left.shape[-2:]).reshape(-1, *left.shape[-2:])
    w = right.expand(*batch, *right.shape[-2:]).reshape(-1, *right.shape[-2:])
    return _stored(engine, a, w).reshape(*batch, left.shape[-2], right.shape[-1])


def _many_rows(engine: Engine, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left (…, m, k) by one matrix (k, n): all rows stream past it."""
    z = _stored(engine, left.reshape(1, -1, left.shape[-1]), right[None])
    return z.reshape(*left.shape[:-1], right.shape[-1])


def _stored(engine: Engine, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """a (g, m, k) by w (g, k, n); a lone weight on the left is the stored one."""
    if _is_weight(a) and not _is_weight(w):
        return engine.product(w.transpose(1, 2), a).transpose(1, 2)
    return engine.product(a, w.transpose(1, 2))


def _is_weight(x: torch.Tensor) -> bool:
    """A parameter, or a view of one."""
    return isinstance(x, nn.Parameter) or isinstance(getattr(x, "_base", None), nn.Parameter)


def addmm(engine: Engine, input: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float = 1,
          alpha: float = 1) -> torch.Tensor:
    """beta · input + alpha · left @ right; also addmv and baddbmm. A beta of 0 ignores the input, as torch does."""
    z = matmul(engine, left, right)
    z = z if alpha == 1 else z * alpha
    return z if beta == 0 else (input if beta == 1 else input * beta) + z


def einsum(engine: Engine, *arguments: Any) -> torch.Tensor:
    """Sums over two operands with letters as subscripts, no letter twice in one operand and no ellipsis."""
    equation, *operands = arguments
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    if not isinstance(equation, str) or "." in equation or len(operands) != 2:
        raise NoForm
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    left, _, right = inputs.partition(",")
    if not arrow:
        output = "".join(sorted(s for s in set(left + right) if (left + right).count(s) == 1))
    if any(len(set(part)) < len(part) for part in (left, right, output)):
        raise NoForm
    a, left = _summed(operands[0], left, right + output)
    b, right = _summed(operands[1], right, left + output)
    return _contract(engine, a, left, b, right, output)


def _summed(x: torch.Tensor, subscripts: str, wanted: str) -> tuple[torch.Tensor, str]:
    """Without the axes that nothing else names."""
    alone = [k for k, letter in enumerate(subscripts) if letter not in wanted]
    return (x.sum(dim=alone) if alone else x), "".join(s for s in subscripts if s in wanted)


def _contract(engine: Engine, a: torch.Tensor, left: str, b: torch.Tensor, right: str, output: str) -> torch.Tensor:
    """Axes in both and the output are a batch, axes in both alone are summed."""
    batch = [s for s in left if s in right and s in output]
    inner = [s for s in left if s in right and s not in output]
    rows, columns = ([s for s in part if s not in batch + inner] for part in (left, right))
    size = dict(zip(left + right, (*a.shape, *b.shape), strict=True))
    if any(size[s] != a.shape[left.index(s)] for s in batch + inner):
        raise NoForm

    def arranged(x: torch.Tensor, subscripts: str, *parts: list[str]) -> torch.Tensor:
        order = [subscripts.index(s) for part in parts for s in part]
        return x.permute(order).reshape([_volume(size, part) for part in parts])

    z = matmul(engine, arranged(a, left, batch, rows, inner), arranged(b, right, batch, inner, columns))
    found = batch + rows + columns
    return z.reshape([size[s] for s in found]).permute([found.index(s) for s in output])


def _volume(size: dict[str, int], letters: list[str]) -> int:
    result = 1
    for letter in letters:
        result *= size[letter]
    return result
