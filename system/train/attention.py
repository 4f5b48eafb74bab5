"""Attention on the arrays: two products of activations, with a softmax in FP32 between them.

Scores Q·Kᵀ: the keys are stored, a key a word j, a channel a compartment i; queries stream. Output P·V: the values
are stored, a channel a word j, a key position a compartment i; rows of the softmax stream. Scale, mask, softmax and
dropout are the vector unit's. Both stored operands are written anew for every head of every sample.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from charlib.errors import BadInput
from system.train.functions import Engine
from system.train.layers_products import matmul


def scaled_dot_product_attention(engine: Engine, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                                 attn_mask: torch.Tensor | None = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, *, scale: float | None = None,
                                 enable_gqa: bool = False) -> torch.Tensor:
    """torch's function of this name: query (…, l, e), key (…, s, e), value (…, s, v) -> (…, l, v).

    A query that may look nowhere gives zeros, as in torch. enable_gqa: query heads share key and value heads.
    """
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    if is_causal and attn_mask is not None:
        raise BadInput("attention: is_causal or attn_mask is allowed, got both; put the causal mask into attn_mask")
    scores = matmul(engine, query, key.transpose(-1, -2))
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        shut = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask == -math.inf
        scores = scores.masked_fill(shut, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        nowhere = shut.expand(scores.shape).all(dim=-1, keepdim=True)
        share = functional.softmax(scores.masked_fill(nowhere, 0.0), dim=-1).masked_fill(nowhere, 0.0)
    else:
        share = functional.softmax(scores, dim=-1)
    return matmul(engine, functional.dropout(share, dropout_p, dropout_p > 0.0).to(query.dtype), value)
