"""What a product leaves for its backward: through torch, so that checkpointing and saved-tensor hooks reach it.

Of an activation its codes, half of FP32's size. Of a weight nothing: it lies there anyway, torch watches that it does
not change before backward, and its codes are made again. Of an operand that no wanted gradient needs, nothing either.
What is left is codes, so that no gradient of a gradient can be had of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import nn

from charlib.errors import BadInput
from system.numerics import compiled
from system.numerics.formats import Codes, round_to_bf16

Backward = Callable[..., tuple[torch.Tensor | None, ...]]


def first_order(backward: Backward) -> Backward:
    """A backward that torch may not differentiate again: what it gives does not remember its operands."""
    @wraps(backward)
    def checked(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise BadInput("gradients of gradients (create_graph=True, as for a gradient penalty) cannot be had of "
                           "products on the arrays; make those of the penalty under fp32() of system.train, or train "
                           "with numerics bf16 or fp32")
        return backward(ctx, *gradients)
    return checked


def codes(x: torch.Tensor) -> Codes:
    """BF16 codes of a floating-point tensor, contiguous, on the CPU."""
    held = x.detach().cpu()
    values = np.ascontiguousarray((held if held.dtype == torch.float64 else held.float()).numpy())
    return compiled.codes_of(values) if values.dtype == np.float32 else round_to_bf16(values)


def is_weight(x: torch.Tensor) -> bool:
    """A parameter, or a view of one."""
    return isinstance(x, nn.Parameter) or isinstance(getattr(x, "_base", None), nn.Parameter)


def keep(ctx: Any, a: torch.Tensor, w: torch.Tensor, given: torch.Tensor) -> None:
    """Save the codes of a product's operands, `a` the streamed and `w` the stored, which was made of `given`; an
    autograd.Function's first two arguments are these operands."""
    for_a, for_w = ctx.needs_input_grad[:2]
    ctx.as_given = is_weight(given)
    ctx.save_for_backward(a if for_w else None, (given if ctx.as_given else w) if for_a else None)


def held(x: Codes) -> torch.Tensor:
    """Codes as a tensor; int16 is what every hook and device takes."""
    return torch.from_numpy(x.view(np.int16))


def codes_in(x: torch.Tensor) -> Codes:
    """Codes from such a tensor."""
    found: Codes = x.cpu().numpy().view(np.uint16)
    return found


def kept(ctx: Any) -> tuple[Codes | None, Codes | None]:
    """What :func:`keep` saved, on the CPU; None where nothing was."""
    a, w = ctx.saved_tensors
    return (None if a is None else codes_in(a),
            None if w is None else codes(w) if ctx.as_given else codes_in(w))
