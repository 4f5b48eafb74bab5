"""What cannot follow products onto the arrays is refused by name: torch's tracers, compilers and transforms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from charlib.errors import BadInput
from system.train import convert

pytestmark = pytest.mark.train


class Weighted(nn.Module):
    """A product in the forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x @ self.w)


NET = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
X = torch.randn(3, 4)
BY_HAND = (r"cannot follow products onto the arrays; call the converted module and backward\(\) directly, or take "
           r"the conversion back with convert\(module, 'fp32'\) first")


@pytest.mark.parametrize(("ask", "name"), [
    (lambda m: torch.func.grad(lambda x: m(x).sum())(X), "a transform of torch.func"),
    (lambda m: torch.func.vmap(m)(X), "a transform of torch.func"),
    (lambda m: torch.func.jvp(m, (X,), (X,)), "a transform of torch.func"),
    (lambda m: torch.jit.trace(m, (X,)), "torch.jit.trace"),  # type: ignore[no-untyped-call]
    (lambda m: torch.fx.symbolic_trace(Outer(m)), "torch.fx"),
    (torch.fx.symbolic_trace, "torch.fx"),
])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transforms_and_tracers_are_refused_by_name(ask: Callable[[nn.Module], Any], name: str) -> None:
    with pytest.raises(BadInput, match=f"^module: {name} {BY_HAND}$"):
        ask(convert(copy.deepcopy(NET) if name != "torch.fx" else Weighted()))


class Mapped(nn.Module):
    """Maps samples over a product in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = torch.vmap(lambda row: row @ self.w)(x)
        return z


def test_a_transform_inside_a_module_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=f"^module: a transform of torch.func {BY_HAND}$"):
        convert(Mapped())(X)


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.inner(x)
        return z


@pytest.mark.parametrize("ask", [torch.jit.script, lambda m: torch.export.export(m, (X,))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compilers_of_source_are_refused(ask: Callable[[nn.Module], Any]) -> None:
    with pytest.raises(BadInput, match=r"^module: a compiler that reads the source of 'forward' goes round the arrays"
                       r"; take the conversion back with convert\(module, 'fp32'\) before torch.jit.script, "
                       r"torch.export and their like$"):
        ask(convert(copy.deepcopy(NET)))


def test_compiling_is_refused() -> None:
    model = convert(copy.deepcopy(NET))
    with pytest.raises(BadInput, match=f"^module: torch.compile {BY_HAND}$"):
        torch.compile(model, backend="eager")(X)
    torch._dynamo.reset()
    wanted = model(X)
    assert torch.equal(torch.func.functional_call(model, dict(model.named_parameters()), (X,)), wanted)
