"""How far an arithmetic's gradients lie from FP64's, layer by layer: what tells modes apart where accuracy cannot.

One batch, one set of weights (BF16 values, as an array holds them), no update. FP64 computes the same network with
the same operands as far as an array would hold them: its only difference is the arithmetic of sums and roundings.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from system.numerics.arithmetic import Arithmetic
from system.train.convert import convert
from system.train.weights import in_array


@dataclass(frozen=True)
class Nearness:
    """Of a layer's weight gradient g against FP64's r. cosine: g·r / |g||r|. bias: mean(g − r) / rms(r), what does
    not average out. error: rms(g − r) / rms(r)."""

    layer: str
    cosine: float
    bias: float
    error: float


def nearness(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, numerics: str | Arithmetic,
             weight_gradient: str = "batched") -> list[Nearness]:
    """Of every weight that lies in an array, in the module's order. The model itself is left as it is."""
    exact = _gradients(copy.deepcopy(model).double(), images.double(), labels)
    other = convert(copy.deepcopy(model), numerics, weight_gradient=weight_gradient)
    return [_compare(name, gradient.double(), exact[name])
            for name, gradient in _gradients(other, images, labels).items()]


def _gradients(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    model.train()
    with torch.no_grad():
        for p in model.parameters():
            if in_array(p):
                p.copy_(p.bfloat16())
    model.zero_grad()
    functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if in_array(p) and p.grad is not None}


def _compare(name: str, found: torch.Tensor, exact: torch.Tensor) -> Nearness:
    scale = exact.square().mean().sqrt()
    difference = found - exact
    return Nearness(name, float(functional.cosine_similarity(found.flatten(), exact.flatten(), dim=0)),
                    float(difference.mean() / scale), float(difference.square().mean().sqrt() / scale))
