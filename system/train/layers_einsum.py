"""Sums of products by subscripts: einsum and tensordot as matrix products on an engine.

Of two operands, axes in both and in the result are a batch, axes in both alone are summed; what is left of the first
are the rows that stream, of the second the columns that are stored. Three and more are taken from left to right, each
step's result rounded as any product's; axes that nothing later names are summed before, in FP32. Where a step sums
nothing, it is an element-by-element product as `*` is, the vector unit's and in FP32, as torch has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch

from system.train.functions import Engine
from system.train.layers_products import Misfit, NoForm, matmul

_DOTS = "..."
#: letters that stand for an ellipsis's axes; none can be a subscript
_HIDDEN = "αβγδεζηθικλμνξοπρστυφχψω"


def einsum(engine: Engine, *arguments: Any) -> torch.Tensor:
    """torch's function of this name, for any number of operands; sizes of one broadcast, as there."""
    equation, *operands = arguments
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    if not isinstance(equation, str):
        raise NoForm
    parts, output = _subscripts(equation, operands)
    terms = [_diagonal(x, part) for x, part in zip(operands, parts, strict=True)]
    size: dict[str, int] = {}
    for x, part in terms:
        for letter, length in zip(part, x.shape, strict=True):
            if length != 1 and size.get(letter, 1) not in (1, length):
                raise Misfit(f"one size for each subscript is expected, got {size[letter]} and {length} for "
                             f"'{letter}' in '{equation}'; operands are of shapes "
                             f"{', '.join(str(tuple(x.shape)) for x in operands)}")
            size[letter] = max(length, size.get(letter, 1))
    spread = [(x.expand([size[s] for s in part]), part) for x, part in terms]
    (found, left), *rest = spread
    for step, (x, part) in enumerate(rest):
        later = set(output).union(*(p for _, p in rest[step + 1:]))
        found, left = _summed(found, left, later | set(part))
        x, part = _summed(x, part, later | set(left))
        found, left = _contract(engine, found, left, x, part, later, size)
    found, left = _summed(found, left, set(output))
    return found.permute([left.index(s) for s in output])


def tensordot(engine: Engine, a: torch.Tensor, b: torch.Tensor, dims: Any = 2, out: None = None) -> torch.Tensor:
    """torch's function of this name: sums over `dims` axes, or over the axes of each operand that it lists."""
    if out is not None:
        raise NoForm
    if isinstance(dims, torch.Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        mine, other = list(range(a.dim() - dims, a.dim())), list(range(dims))
    else:
        mine, other = ([k % x.dim() for k in ([part] if isinstance(part, int) else part)]
                       for x, part in zip((a, b), dims, strict=True))
    if [a.shape[k] for k in mine] != [b.shape[k] for k in other]:
        raise Misfit(f"equal sizes along the summed axes are expected, got {tuple(a.shape)} along {mine} and "
                     f"{tuple(b.shape)} along {other}; name the axes that belong together in dims")
    rows, columns = ([k for k in range(x.dim()) if k not in gone] for x, gone in ((a, mine), (b, other)))
    depth = prod(a.shape[k] for k in mine)
    left = a.permute(rows + mine).reshape(-1, depth)
    right = b.permute(other + columns).reshape(depth, -1)
    return matmul(engine, left, right).reshape([a.shape[k] for k in rows] + [b.shape[k] for k in columns])


def _subscripts(equation: str, operands: Sequence[torch.Tensor]) -> tuple[list[str], str]:
    """Each operand's letters and the result's, an ellipsis written out in letters of its own."""
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    parts = inputs.split(",")
    if len(parts) != len(operands):
        raise Misfit(f"an operand for each part of '{equation}' is expected: {len(parts)}, got {len(operands)}")
    widths = [x.dim() - len(part.replace(_DOTS, "")) for x, part in zip(operands, parts, strict=True)]
    if any(width < 0 or (width > 0 and _DOTS not in part) for width, part in zip(widths, parts, strict=True)):
        raise Misfit(f"a subscript for each axis is expected by '{equation}', got operands of shapes "
                     f"{', '.join(str(tuple(x.shape)) for x in operands)}")
    most = max((width for width, part in zip(widths, parts, strict=True) if _DOTS in part), default=0)
    hidden = _HIDDEN[:most]
    written = [part.replace(_DOTS, hidden[most - width:]) for width, part in zip(widths, parts, strict=True)]
    letters = "".join(parts).replace(".", "")
    if not arrow:
        output = (_DOTS if most else "") + "".join(sorted(s for s in set(letters) if letters.count(s) == 1))
    output = output.replace(_DOTS, hidden)
    if len(set(output)) < len(output) or not set(output) <= set("".join(written)):
        raise Misfit(f"each subscript of the result once, and in an operand, is expected, got '{equation}'")
    return written, output


def _diagonal(x: torch.Tensor, part: str) -> tuple[torch.Tensor, str]:
    """Along the diagonal of axes that bear one letter."""
    for letter in dict.fromkeys(part):
        while part.count(letter) > 1:
            first, second = part.index(letter), part.rindex(letter)
            x = x.diagonal(dim1=first, dim2=second)
            part = part[:first] + part[first + 1:second] + part[second + 1:] + letter
    return x, part


def _summed(x: torch.Tensor, subscripts: str, wanted: set[str]) -> tuple[torch.Tensor, str]:
    """Without the axes that nothing else names."""
    alone = [k for k, letter in enumerate(subscripts) if letter not in wanted]
    return (x.sum(dim=alone) if alone else x), "".join(s for s in subscripts if s in wanted)


def _contract(engine: Engine, a: torch.Tensor, left: str, b: torch.Tensor, right: str, later: set[str],
              size: dict[str, int]) -> tuple[torch.Tensor, str]:
    """One product of two operands; later: letters that are not to be summed yet."""
    batch = [s for s in left if s in right and s in later]
    inner = [s for s in left if s in right and s not in later]
    rows, columns = ([s for s in part if s not in batch + inner] for part in (left, right))

    def arranged(x: torch.Tensor, subscripts: str, *parts: list[str]) -> torch.Tensor:
        order = [subscripts.index(s) for part in parts for s in part]
        return x.permute(order).reshape([prod(size[s] for s in part) for part in parts])

    x, y = arranged(a, left, batch, rows, inner), arranged(b, right, batch, inner, columns)
    z = matmul(engine, x, y) if inner else x * y
    found = batch + rows + columns
    return z.reshape([size[s] for s in found]), "".join(found)
