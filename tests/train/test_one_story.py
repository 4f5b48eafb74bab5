"""What the estimate prices on the arrays is what a converted module computes there, and no more and no less."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from charlib.errors import BadInput
from system.train import audit_of, convert
from system.train.tracing import trace

pytestmark = pytest.mark.train
Tensor = torch.Tensor
BATCH = 4


class Own(nn.Module):
    """A weight, a function of it and the input, and a layer after it."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w, self.v = nn.Parameter(torch.randn(6, 6) / 3), nn.Parameter(torch.randn(6))
        self.function, self.layers, self.first = function, nn.ModuleList(layers), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, self.first(x))


def three(equation: str) -> Callable[[Any, Tensor], Tensor]:
    return lambda m, x: torch.einsum(equation, x, m.w, x)


#: functions of a module and (n, 6, 6)
STORIES: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[nn.Module, ...]]] = {
    "einsum": (lambda m, x: torch.einsum("bij,jk->bik", x, m.w), ()),
    "einsum, ellipsis": (lambda m, x: torch.einsum("...i,ij->...j", x, m.w), ()),
    "einsum of three": (three("bij,jk,bik->bi"), ()),
    "einsum, nothing summed": (lambda m, x: torch.einsum("bij,j->bij", x, m.v), ()),
    "einsum, outer": (lambda m, x: torch.einsum("bi,bj->bij", x[:, 0], x[:, 1]), ()),
    "einsum, a diagonal": (lambda m, x: torch.einsum("bii,ij->bj", x, m.w), ()),
    "bilinear": (lambda m, x: m.layers[0](x[:, 0], x[:, 1]), (nn.Bilinear(6, 6, 5),)),
    "addr": (lambda m, x: x @ torch.addr(m.w, m.v, m.v), ()),
    "matrix_power": (lambda m, x: x @ torch.linalg.matrix_power(m.w, 5), ()),
    "vecdot": (lambda m, x: torch.linalg.vecdot(x, x.flip(1)), ()),
    "inner": (lambda m, x: torch.inner(x, m.w), ()),
    "tensordot": (lambda m, x: torch.tensordot(x, m.w, ([1], [0])), ()),
    "outer": (lambda m, x: x @ torch.outer(m.v, m.v), ()),
    "lstm": (lambda m, x: m.layers[0](x)[0], (nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True),)),
    "lstm, projected": (lambda m, x: m.layers[0](x)[0], (nn.LSTM(6, 5, proj_size=3, batch_first=True),)),
    "gru": (lambda m, x: m.layers[0](x)[0], (nn.GRU(6, 5, batch_first=True),)),
    "cells": (lambda m, x: m.layers[0](x[:, 1], m.layers[0](x[:, 0])), (nn.RNNCell(6, 6),)),
    "transposed": (lambda m, x: m.layers[0](x[:, None]), (nn.ConvTranspose2d(1, 3, 3, 2, 1, 1),)),
    "transposed, groups": (lambda m, x: m.layers[0](x), (nn.ConvTranspose1d(6, 4, 3, 2, groups=2, dilation=2),)),
    "3-d": (lambda m, x: m.layers[0](x.view(-1, 1, 4, 3, 3)), (nn.Conv3d(1, 4, (3, 2, 2), padding=(1, 0, 0)),)),
    "depthwise": (lambda m, x: m.layers[0](x), (nn.Conv1d(6, 6, 3, padding=1, groups=6),)),
    "attention": (lambda m, x: m.layers[0](x, x, x)[0], (nn.MultiheadAttention(6, 2, batch_first=True),)),
}


def both(function: Callable[[Any, Tensor], Tensor], layers: tuple[nn.Module, ...]) -> tuple[float, int, float]:
    """MACs of a step by the estimate, and by the audit of a converted module, and their share outside."""
    module = Own(function, *layers)
    network = trace(copy.deepcopy(module), (6, 6), "own", loss=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = convert(module)
        model(torch.randn(BATCH, 6, 6)).sum().backward()
    return network.macs_per_sample(BATCH, training=True) * BATCH, audit_of(model).total, audit_of(model).share or 0


@pytest.mark.parametrize(("function", "layers"), STORIES.values(), ids=STORIES.keys())
def test_every_product_that_is_priced_is_computed_on_the_arrays(function: Callable[[Any, Tensor], Tensor],
                                                                layers: tuple[nn.Module, ...]) -> None:
    priced, computed, outside = both(function, layers)
    assert priced == computed > 0
    assert outside == 0


def test_bilinear_by_hand() -> None:
    """x streams past 5 · 6 words of 6 channels; what comes out is multiplied with y, anew for each sample."""
    network = trace(Own(STORIES["bilinear"][0], *STORIES["bilinear"][1]), (6, 6), "bilinear", loss=False)
    assert [(x.kind, x.macs, x.weights) for x in network.mac_layers] == [
        ("linear", 216, 36), ("linear", 180, 180), ("matmul", 30, 0)]


@pytest.mark.parametrize("rows", [5, 40])
def test_distances_are_the_vector_units_however_many(rows: int) -> None:
    """From 26 rows on torch makes them of a product."""
    module = Own(lambda m, x: torch.cdist(x, m.layers[0].weight), nn.Linear(6, rows, bias=False))
    network = trace(module, (6, 6), "distances", loss=False)
    assert [x.name for x in network.mac_layers] == ["first"]
    assert [x.elements for x in network.vector_layers if x.kind == "norm"] == [6 * rows * 6]


def test_products_of_complex_numbers_are_refused() -> None:
    module = Own(lambda m, x: (x.to(torch.complex64) @ m.w.to(torch.complex64)).abs())
    with pytest.raises(BadInput, match=r"^trace: the module itself uses mm of complex numbers, which the arrays do "
                                       r"not multiply; write it of real and imaginary parts$"):
        trace(module, (6, 6), "complex")


def test_complex_numbers_of_the_vector_unit_are_counted_by_their_parts() -> None:
    """Rotary angles as many write them: four products and two sums a pair."""
    turns = torch.polar(torch.ones(6, 3), torch.rand(6, 3))
    module = Own(lambda m, x: torch.view_as_real(torch.view_as_complex(x.view(-1, 6, 3, 2)) * turns).flatten(2))
    network = trace(module, (6, 6), "rotary", loss=False)
    assert [(x.kind, x.elements) for x in network.vector_layers] == [
        ("bias", 36), ("scale", 36), ("scale", 36), ("residual", 36)]
    module = Own(lambda m, x: torch.view_as_complex(x.view(-1, 6, 3, 2)).exp().real)
    with pytest.raises(BadInput, match=r"^trace: the module itself uses exp of complex numbers, which has no count; "
                                       r"write it of real and imaginary parts$"):
        trace(module, (6, 6), "complex")


def test_a_scripted_function_keeps_its_gradients_however_often_it_ran() -> None:
    """torch compiles it after its first run, and then shows no gradients inside."""
    scripted = torch.jit.script(relu_of_product)
    module = Own(lambda m, x: scripted(x, m.w))
    plain = trace(Own(lambda m, x: relu_of_product(x, m.w)), (6, 6), "plain")
    for _ in range(3):
        found = trace(module, (6, 6), "scripted")
        assert (found.macs_forward, found.macs_training) == (plain.macs_forward, plain.macs_training) == (432, 1080)
    for _ in range(3):
        module(torch.randn(BATCH, 6, 6)).sum().backward()
    with pytest.raises(BadInput, match=r"^trace: scripted runs a function that torch.jit has compiled, and gradients "
                                       r"inside it cannot be followed; give the function as it was before it was "
                                       r"scripted$"):
        trace(module, (6, 6), "scripted")


def relu_of_product(x: Tensor, w: Tensor) -> Tensor:
    return torch.relu(x @ w)


