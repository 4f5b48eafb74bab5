"""torch's product operators by way of an engine: each function takes what the operator of its name takes.

Every one comes down to :meth:`Engine.product` or :meth:`Engine.conv2d`; biases, scales and sums beside the product
are the vector unit's, in FP32. A weight is the stored operand wherever it stands; of two activations the right-hand
one is stored. NoForm is raised where a use of an operator has no product here, and the caller decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from system.train.functions import Engine
from system.train.saved import is_weight


class NoForm(Exception):
    """An operator, as it is used, cannot be made of an engine's products."""


class Misfit(Exception):
    """Operands whose shapes do not fit each other; the message says what is expected."""


def linear(engine: Engine, input: torch.Tensor, weight: torch.Tensor,
           bias: torch.Tensor | None = None) -> torch.Tensor:
    """input (…, i), weight (j, i) or (i,) -> (…, j) or (…)."""
    if input.dim() == 0 or input.shape[-1] != weight.shape[-1]:
        raise Misfit(f"an input of shape (…, {weight.shape[-1]}) is expected by the weight {tuple(weight.shape)}, "
                     f"got {tuple(input.shape)}; give the input that many features or the layer these")
    if weight.dim() == 1:
        z = linear(engine, input, weight[None])[..., 0]
    else:
        z = engine.product(input.reshape(1, -1, input.shape[-1]), weight[None])
        z = z.reshape(*input.shape[:-1], len(weight))
    return z if bias is None else z + bias


def matmul(engine: Engine, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """torch.matmul for any ranks: vectors, matrices, and batches that broadcast."""
    if left.dim() == 1:
        return matmul(engine, left[None], right).squeeze(-2 if right.dim() > 1 else -1)
    if right.dim() == 1:
        return matmul(engine, left, right[:, None]).squeeze(-1)
    if left.shape[-1] != right.shape[-2]:
        raise Misfit(f"shapes (…, m, k) and (…, k, n) are expected, got {tuple(left.shape)} and "
                     f"{tuple(right.shape)}; transpose or reshape one")
    if right.dim() == 2:
        return _many_rows(engine, left, right)
    if left.dim() == 2 and is_weight(left) and not is_weight(right):
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
    if is_weight(a) and not is_weight(w):
        return engine.product(w.transpose(1, 2), a).transpose(1, 2)
    return engine.product(a, w.transpose(1, 2))


def addmm(engine: Engine, input: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float = 1,
          alpha: float = 1) -> torch.Tensor:
    """beta · input + alpha · left @ right; also addmv and baddbmm. A beta of 0 ignores the input, as torch does."""
    return _added(input, matmul(engine, left, right), beta, alpha)


def _added(input: torch.Tensor, z: torch.Tensor, beta: float, alpha: float) -> torch.Tensor:
    z = z if alpha == 1 else z * alpha
    return z if beta == 0 else (input if beta == 1 else input * beta) + z


def addbmm(engine: Engine, input: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float = 1,
           alpha: float = 1) -> torch.Tensor:
    """beta · input + alpha · Σ_b left_b @ right_b: one product, its sum over b and k."""
    if left.shape[0] != right.shape[0]:
        raise Misfit(f"batches of one size are expected, got {tuple(left.shape)} and {tuple(right.shape)}; give "
                     "as many matrices on both sides")
    rows = left.transpose(0, 1).reshape(left.shape[1], -1)
    return _added(input, matmul(engine, rows, right.reshape(-1, right.shape[-1])), beta, alpha)


def addr(engine: Engine, input: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, beta: float = 1,
         alpha: float = 1) -> torch.Tensor:
    """beta · input + alpha · left ⊗ right: a product with a sum of one term."""
    return _added(input, matmul(engine, left[:, None], right[None]), beta, alpha)


def rmatmul(engine: Engine, right: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """left @ right, asked of the right one."""
    return matmul(engine, left, right)


def inner(engine: Engine, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Sums over both last axes: left (…, k), right (…', k) -> (…, …')."""
    if left.dim() == 0 or right.dim() == 0:
        raise NoForm  # a scaling
    rows = right.reshape(-1, right.shape[-1])
    return matmul(engine, left, rows.transpose(0, 1)).reshape(*left.shape[:-1], *right.shape[:-1])


def vecdot(engine: Engine, left: torch.Tensor, right: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
    """Σ left · right along `dim`. Of two vectors a product; of more, as torch has it, element by element and summed
    on the vector unit, in FP32."""
    return matmul(engine, left, right) if left.dim() == right.dim() == 1 else (left * right).sum(dim)


def bilinear(engine: Engine, input1: torch.Tensor, input2: torch.Tensor, weight: torch.Tensor,
             bias: torch.Tensor | None = None) -> torch.Tensor:
    """Σ_ij x_i · W_oij · y_j: x streams past W (o·j words), what comes out is multiplied with y."""
    out, _, columns = weight.shape
    halves = linear(engine, input1, weight.transpose(1, 2).reshape(out * columns, -1))
    z = matmul(engine, halves.reshape(*input1.shape[:-1], out, columns), input2[..., None])[..., 0]
    return z if bias is None else z + bias


def matrix_power(engine: Engine, input: torch.Tensor, n: int) -> torch.Tensor:
    """input @ … @ input by squaring, as torch does it. A power of zero or below one is no product."""
    if n < 2:
        raise NoForm
    found, square = None, input
    while n:
        if n & 1:
            found = square if found is None else matmul(engine, found, square)
        n >>= 1
        square = matmul(engine, square, square) if n else square
    assert found is not None
    return found


def multi_dot(engine: Engine, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """A chain of matrices in the order of the fewest MACs; the first and the last may be vectors."""
    return _chained(engine, list(tensors))


def chain_matmul(engine: Engine, *matrices: torch.Tensor) -> torch.Tensor:
    """As :func:`multi_dot`."""
    return _chained(engine, list(matrices))


def _chained(engine: Engine, chain: list[torch.Tensor]) -> torch.Tensor:
    sizes = [1 if chain[0].dim() == 1 else chain[0].shape[0], *(x.shape[-1] for x in chain)]
    sizes[-1] = 1 if chain[-1].dim() == 1 else sizes[-1]
    sizes[1] = chain[0].shape[-1]

    @cache
    def best(first: int, last: int) -> tuple[int, int]:
        """MACs of a part of the chain, and the matrix after which it is split."""
        return min(((best(first, k)[0] + best(k + 1, last)[0] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                    for k in range(first, last)), default=(0, first))

    def product(first: int, last: int) -> torch.Tensor:
        if first == last:
            return chain[first]
        split = best(first, last)[1]
        return matmul(engine, product(first, split), product(split + 1, last))

    return product(0, len(chain) - 1)
