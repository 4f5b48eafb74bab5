"""What `convert` does to a module that is the user's: nothing but where its products are made."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics.arithmetic import Arithmetic
from system.train import Recorder, audit_of, convert, fp32

pytestmark = pytest.mark.train

#: two operands and the result are rounded to BF16 (2^-9 each, relative)
TOLERANCE = 3 * 2.0**-9


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


def test_numerics_and_modes_by_name_alone() -> None:
    with pytest.raises(BadInput, match=r"^numerics: imc, bf16, fp32 or an Arithmetic are allowed, got 'int8'$"):
        convert(nn.Linear(2, 2), "int8")
    with pytest.raises(BadInput, match=r"^numerics: imc, bf16, fp32 or an Arithmetic are allowed, got 'None'$"):
        convert(nn.Linear(2, 2), None)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"^weight_gradient: batched or outer is allowed, got 'inner'$"):
        convert(nn.Linear(2, 2), weight_gradient="inner")
    with pytest.raises(BadInput, match=r"^weight_gradient: 'outer' is for numerics imc, got numerics 'bf16'$"):
        convert(nn.Linear(2, 2), "bf16", weight_gradient="outer")
    scripted = nn.Sequential(torch.jit.script(nn.Linear(2, 2)))
    with pytest.raises(BadInput, match=r"^module '0': a scripted module goes round the arrays; convert it before"):
        convert(scripted)


@pytest.mark.parametrize(("module", "got"), [(None, "a NoneType"), (nn.Linear, "the class Linear"),
                                             ([nn.Linear(2, 2)], "a list")])
def test_only_a_module_is_converted(module: object, got: str) -> None:
    with pytest.raises(BadInput, match=f"^module: a torch.nn.Module is allowed, got {got}; build the network first$"):
        convert(module)  # type: ignore[arg-type]


def test_imc_by_name_is_the_default_arithmetic() -> None:
    x, plain = torch.randn(3, 40), nn.Linear(40, 5)
    named, given = (convert(copy.deepcopy(plain), numerics) for numerics in ("imc", Arithmetic()))
    assert torch.equal(named(x), given(x))


def test_second_derivatives_are_refused() -> None:
    """Torch alone would lose the weights' share in silence where what comes back does not depend on them."""
    x = torch.randn(3, 4, 5, 5, requires_grad=True)
    for layer in (nn.Linear(5, 2), nn.Conv2d(4, 2, 3), nn.Conv2d(4, 2, 1), nn.Conv2d(4, 4, 3, groups=4)):
        model: Any = convert(copy.deepcopy(layer))
        with pytest.raises(BadInput, match=r"^gradients of gradients \(create_graph=True, as for a gradient penalty"
                                           r"\) cannot be had of products on the arrays; make those of the penalty "
                                           r"under fp32\(\) of system.train, or train with numerics bf16 or fp32$"):
            torch.autograd.grad(model(x).sum(), x, create_graph=True)
        with fp32():
            gradient, = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        gradient.pow(2).sum().backward()  # type: ignore[no-untyped-call]
        assert model.weight.grad is not None
        assert model.weight.grad.abs().sum() > 0


def network() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(),
                         nn.Linear(4 * 36, 3))


def test_conversion_leaves_state_copies_and_pickles_alone() -> None:
    plain, x = network(), torch.randn(5, 1, 6, 6)
    model = network()
    convert(model, recorder=Recorder())
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [type(a) for a in model.modules()] == [type(a) for a in plain.modules()]
    assert inspect.signature(model[0].forward) == inspect.signature(plain[0].forward)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        twin.eval(), model.eval()
        assert torch.equal(twin(x), model(x))
        with torch.no_grad():
            list(twin.parameters())[-2].zero_()
        assert not torch.equal(twin(x), model(x))  # its own weights, not the first one's
        assert not torch.equal(twin(x) * 0, plain.eval()(x))
    plain.load_state_dict(model.state_dict())


def test_layers_can_be_chosen_mixed_and_taken_back() -> None:
    x = torch.randn(5, 1, 6, 6)
    model, plain = network(), network()
    convert(model, choose=lambda name, layer: name == "0")
    first = plain[0](x)
    assert not torch.equal(model[0](x), first)
    assert torch.equal(model[4](first.flatten(1)), plain[4](first.flatten(1)))
    convert(model, "bf16", choose=lambda name, layer: name == "4")
    assert not torch.equal(model[4](first.flatten(1)), plain[4](first.flatten(1)))
    assert not torch.equal(model[0](x), first)
    convert(model, "fp32")
    assert torch.equal(model(x), plain(x))
    assert not any("forward" in layer.__dict__ for layer in model.modules())


def test_a_forward_of_the_instance_is_kept() -> None:
    layer = nn.Linear(4, 2)
    layer.forward = lambda input: functional.linear(input, layer.weight) * 2  # type: ignore[method-assign]
    own, x = layer.forward, torch.randn(3, 4)
    plain = layer(x)
    assert error(convert(layer)(x), plain) > 0
    assert error(layer(x), plain) < TOLERANCE
    assert convert(layer, "fp32").forward is own


class Exotic(nn.Module):
    """A user's module of odd structure: shared weights, functions, operators, methods, a subclass, a dictionary."""

    class Scaled(nn.Linear):
        def forward(self, x: torch.Tensor, *, by: float = 1.0) -> torch.Tensor:
            return functional.linear(x, self.weight * by, self.bias)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 8) * 0.2)
        self.parts = nn.ModuleDict({"scaled": self.Scaled(16, 16), "last": nn.Linear(16, 3)})
        self.again = self.parts["scaled"]  # the same module twice

    def mix(self, h: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,bj->bij", h, h).relu() @ h.unsqueeze(-1)

    def forward(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
        h = (inputs["x"] @ self.weight.T).tanh()
        h = h + self.parts["scaled"](h, by=0.5)
        h = self.again(h).relu() + self.mix(h).squeeze(-1) * 0.1
        return self.parts["last"](functional.layer_norm(h, (16,))), len(h)


def train(model: nn.Module, steps: int, rate: float = 0.05) -> list[float]:
    """Losses of a few steps on a task that a network this small can learn."""
    make = torch.Generator().manual_seed(7)
    x = torch.randn(64, 8, generator=make)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model({"x": x})[0], y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("numerics", ["imc", "bf16"])
def test_a_module_of_ones_own_trains_unchanged(numerics: str) -> None:
    torch.manual_seed(6)
    model = Exotic()
    plain = train(copy.deepcopy(model), 30)
    recorder = Recorder(every=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = train(convert(model, numerics, recorder), 30)
    assert losses[-1] < 0.3 * losses[0]
    assert losses[-1] == pytest.approx(plain[-1], rel=0.2)
    assert losses != plain
    assert set(recorder.seen) == ({"", "parts.scaled", "parts.last"} if numerics == "imc" else set())


def test_an_operator_without_a_form_says_so_once() -> None:
    class Distant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.near = nn.PairwiseDistance()
            self.near.forward = lambda a, b: torch.cdist(a, b)  # type: ignore[method-assign, assignment]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.mm(self.near(x, x), x, out=torch.empty(4, 2))

    model, x = convert(Distant()), torch.randn(4, 2)
    with pytest.warns(UserWarning, match="has no form on the arrays") as told:
        model(x), model(x)
    assert [str(w.message) for w in told][:2] == [
        "layer 'near': operator 'cdist', as it is used here, has no form on the arrays and runs in FP32; "
        "write it with linear, convolution or matmul",
        "module: operator 'mm', as it is used here, has no form on the arrays and runs in FP32; "
        "write it with linear, convolution or matmul"]
    assert [str(w.message)[:25] for w in told][2:] == ["outside the arrays, in FP"]


def test_integers_and_other_modules_pass_in_silence() -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ones(2, 2, dtype=torch.int64) @ x.long()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert convert(Counts())(torch.full((2, 2), 3.0)).tolist() == [[6, 6], [6, 6]]


def test_a_diverging_run_goes_on_and_says_so_once() -> None:
    torch.manual_seed(8)
    model = convert(Exotic())
    with pytest.warns(UserWarning, match=r"^(module|layer '.*'): its weights are not finite any more, so the "
                      r"training has diverged; lower the learning rate or go back to a checkpoint$") as told:
        losses = train(model, 8, rate=1e30)
    assert np.isnan(losses[-1])
    assert len(told) == 1


def test_an_error_inside_leaves_torch_as_it_was() -> None:
    layer, x = convert(nn.Linear(4, 2)), torch.randn(3, 4)
    with pytest.raises((RuntimeError, BadInput)):
        layer(torch.randn(3, 5))
    weight = torch.randn(2, 4)
    assert torch.equal(functional.linear(x, weight), x @ weight.T)  # no mode is left on
    assert not torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("before", [True, False])
def test_hooks_are_part_of_the_call(before: bool) -> None:
    """Of the outermost module too: spectral norm's old form makes its products in one."""
    torch.manual_seed(0)
    model, mix = nn.Linear(6, 6), torch.randn(6, 6)
    if before:
        model.register_forward_pre_hook(lambda m, x: (x[0] @ mix,))
    else:
        model.register_forward_hook(lambda m, x, y: y @ mix)
    x = torch.randn(4, 6)
    plain = model(x)
    converted = convert(model)
    got = converted(x)
    got.sum().backward()
    products = [(4 * 36, 1), (4 * 36, 0 if before else 1)]  # forward, and the weight's or the hook's input's gradient
    assert audit_of(model).total == sum(macs * (1 + gradients) for macs, gradients in products)
    assert audit_of(model).share == 0
    torch.testing.assert_close(got, plain, rtol=0.05, atol=0.05)
    assert torch.equal(convert(model, "fp32")(x), plain)
