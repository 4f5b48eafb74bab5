"""Every kind of layer under `convert`: near torch's FP32 in another arithmetic, and exact in its derivatives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from system.numerics import scalar
from system.numerics.arithmetic import Arithmetic
from system.numerics.depthwise import Window
from system.train import convert, functions, layers_convolutions, layers_einsum, layers_products, saved
from system.train.functions import Arrays

pytestmark = pytest.mark.train

#: two operands and the result are rounded to BF16 (2^-9 each, relative); errors of many terms partly cancel
TOLERANCE = 3 * 2.0**-9

IMAGE, LINE, ROWS = (3, 6, 9, 10), (3, 6, 11), (5, 4, 24)
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(24, 7), ROWS),
    "linear, one vector": (lambda: nn.Linear(24, 7), (24,)),
    "pointwise": (lambda: nn.Conv2d(6, 8, 1), IMAGE),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), IMAGE),
    "depthwise, two outputs a channel": (lambda: nn.Conv2d(6, 12, 3, padding=1, groups=6), IMAGE),
    "ordinary": (lambda: nn.Conv2d(6, 5, 3, padding=1), IMAGE),
    "strided": (lambda: nn.Conv2d(6, 5, (3, 2), stride=(2, 3), padding=(1, 0)), IMAGE),
    "dilated": (lambda: nn.Conv2d(6, 5, 3, dilation=(2, 3)), IMAGE),
    "grouped": (lambda: nn.Conv2d(6, 8, 3, groups=2), IMAGE),
    "same": (lambda: nn.Conv2d(6, 5, (4, 3), padding="same", dilation=(1, 2)), IMAGE),
    "valid": (lambda: nn.Conv2d(6, 5, 3, padding="valid"), IMAGE),
    "reflecting border": (lambda: nn.Conv2d(6, 5, 3, padding=1, padding_mode="reflect"), IMAGE),
    "one image, no batch": (lambda: nn.Conv2d(6, 5, 3), IMAGE[1:]),
    "conv1d": (lambda: nn.Conv1d(6, 5, 3, stride=2, padding=1, dilation=2, bias=False), LINE),
    "conv1d, depthwise, same": (lambda: nn.Conv1d(6, 6, 4, padding="same", groups=6), LINE),
}


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(functional.cosine_similarity(a.detach().flatten().double(), b.detach().flatten().double(), dim=0))


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.detach() - b.detach()).norm() / b.detach().norm())


def results(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Output, input gradient and every parameter's gradient, for one fixed incoming gradient."""
    x = x.clone().requires_grad_()
    z = layer(x)
    z.backward(torch.randn(z.shape, generator=torch.Generator().manual_seed(9)))
    found = [z, x.grad, *(p.grad for p in layer.parameters())]
    return [f for f in found if f is not None]


@pytest.mark.parametrize(("numerics", "mode"), [("imc", "batched"), ("imc", "outer"), ("bf16", "batched")])
@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS.keys())
def test_every_layer_is_near_fp32(make: Callable[[], nn.Module], shape: tuple[int, ...], numerics: str,
                                  mode: str) -> None:
    torch.manual_seed(0)
    plain, x = make(), torch.randn(shape)
    wanted = results(plain, x)
    got = results(convert(copy.deepcopy(plain), numerics, weight_gradient=mode), x)
    assert len(got) == len(wanted) >= 3
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape
        assert error(one, other) < TOLERANCE
        assert cosine(one, other) > 0.999
    assert error(got[0], wanted[0]) > 0  # it is another arithmetic


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Arrays:
    """An engine whose three passes are sums in float64, so that finite differences can look at the rest."""

    def plain(a: np.ndarray, w: np.ndarray, arithmetic: Arithmetic) -> np.ndarray:
        return np.asarray(np.einsum("gmi,gji->gmj", a, w))

    for module in (functions, saved):
        monkeypatch.setattr(module, "codes", lambda x: x.detach().numpy())
    monkeypatch.setattr(functions, "held", torch.from_numpy)
    monkeypatch.setattr(saved, "codes_in", lambda x: x.numpy())
    monkeypatch.setattr(functions, "forward_pass", plain)
    monkeypatch.setattr(functions, "input_gradient",
                        lambda w, d, arithmetic: plain(d, w.transpose(0, 2, 1), arithmetic))
    monkeypatch.setattr(functions, "weight_gradient",
                        lambda a, d, arithmetic, mode: plain(d.transpose(0, 2, 1), a.transpose(0, 2, 1), arithmetic))
    return Arrays()


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS.keys())
def test_layers_agree_with_finite_differences(make: Callable[[], nn.Module], shape: tuple[int, ...],
                                              exact: Arrays) -> None:
    """The passes joined to a layer: a lost stride, group or border would show at 1e-6, far below any rounding."""
    torch.manual_seed(0)
    plain = make().double()
    layer = convert(copy.deepcopy(plain))
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    assert error(layer(x), plain(x)) < 1e-12
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def loss(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        z = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return (z * torch.linspace(-1, 2, z.numel(), dtype=torch.float64).reshape(z.shape)).tanh().sum()  # type: ignore[no-any-return]

    assert torch.autograd.gradcheck(loss, (x, *parameters), fast_mode=True)


EQUATIONS = {"ij,kj->ik": ((3, 5), (4, 5)), "bij,bkj->bik": ((2, 3, 5), (2, 4, 5)), "ij,jk": ((3, 5), (5, 4)),
             "bhid,bhjd->bhij": ((2, 3, 4, 5), (2, 3, 6, 5)), "bcij,dc->bdij": ((2, 5, 3, 4), (6, 5)),
             "ijm,jk->ki": ((3, 5, 2), (5, 4)), "i,j->ji": ((3,), (4,)), "abc,cba->": ((2, 3, 4), (4, 3, 2))}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_of_two_operands(equation: str, exact: Arrays) -> None:
    a, b = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in EQUATIONS[equation])
    assert torch.allclose(layers_einsum.einsum(exact, equation, a, b), torch.einsum(equation, a, b), atol=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: layers_einsum.einsum(exact, equation, [a, b]), (a, b))


@pytest.mark.parametrize(("left", "right"), [((5,), (5,)), ((5,), (5, 4)), ((3, 5), (5,)), ((3, 5), (5, 4)),
                                             ((2, 3, 5), (5, 4)), ((3, 5), (2, 5, 4)), ((2, 1, 3, 5), (6, 5, 4)),
                                             ((2, 3, 5), (5,)), ((5,), (2, 5, 4))])
@pytest.mark.parametrize("weight", ["left", "right", "neither"])
def test_matmul_of_any_ranks(left: tuple[int, ...], right: tuple[int, ...], weight: str, exact: Arrays) -> None:
    """Whichever operand is stored, the product is torch's."""
    a, b = (nn.Parameter(x) if weight == side else x.requires_grad_() for side, x in
            (("left", torch.randn(left, dtype=torch.float64)), ("right", torch.randn(right, dtype=torch.float64))))
    z = layers_products.matmul(exact, a, b)
    assert z.shape == (a @ b).shape
    assert torch.allclose(z, a @ b, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a, b: layers_products.matmul(exact, a, b), (a, b))


def test_outer_weight_gradient_is_a_sum_in_fp32_one_sample_after_another() -> None:
    """Exact products, ascending b, whatever the accumulator of the arrays; batched gives other bits."""
    torch.manual_seed(3)
    x = torch.randn(200, 5) * 2.0 ** torch.randint(-9, 10, (200, 5))
    delta = torch.randn(200, 4) * 2.0 ** torch.randint(-9, 10, (200, 4))
    gradients = {}
    for mode in ("outer", "batched"):
        layer = nn.Linear(5, 4)
        convert(layer, Arithmetic(accumulator="bf16" if mode == "outer" else "fp32"), weight_gradient=mode)
        layer(x).backward(delta)
        assert layer.weight.grad is not None
        gradients[mode] = layer.weight.grad
    a, d = saved.codes(x).astype(int), saved.codes(delta).astype(int)
    for j in range(4):
        for i in range(5):
            want = scalar.lane_dot(a[:, i].tolist(), d[:, j].tolist(), Arithmetic(), "fp32")
            assert float(gradients["outer"][j, i]) == scalar.fp32_value(want)
    assert not torch.equal(gradients["outer"], gradients["batched"])
    assert error(gradients["outer"], gradients["batched"]) < 1e-3


def test_bf16_rounds_operands_results_and_gradients_but_the_weights() -> None:
    torch.manual_seed(4)
    layer = convert(nn.Linear(33, 4, bias=False), "bf16")
    x, delta = torch.randn(8, 33, requires_grad=True), torch.randn(8, 4)
    z = layer(x)
    z.backward(delta)

    def cut(t: torch.Tensor) -> torch.Tensor:
        return t.detach().bfloat16().float()

    weight = next(layer.parameters())
    assert torch.equal(z, cut(functional.linear(cut(x), cut(weight))))
    assert x.grad is not None
    assert weight.grad is not None
    assert torch.equal(x.grad, cut(cut(delta) @ cut(weight)))
    assert torch.equal(weight.grad, cut(delta).T @ cut(x))
    assert not torch.equal(weight.grad, cut(weight.grad))


def test_half_types_and_double_keep_their_type() -> None:
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        layer = convert(nn.Linear(6, 3).to(kind))
        x = torch.randn(2, 6, dtype=kind, requires_grad=True)
        z = layer(x)
        z.sum().backward()
        assert z.dtype == kind
        assert x.grad is not None
        assert x.grad.dtype == kind


def test_a_window_tells_its_output_size() -> None:
    z = layers_convolutions.conv2d(Arrays(), torch.randn(1, 2, 9, 8), torch.randn(3, 2, 3, 2), None, 2, 1, 2)
    assert z.shape[2:] == Window((3, 2), (2, 2), (1, 1), (2, 2)).out(9, 8)
