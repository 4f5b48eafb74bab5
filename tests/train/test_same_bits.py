"""Training in the arrays' arithmetic: the same bits with and without a compiler, and no NaN where layers go quiet."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from system.numerics import depthwise, native
from system.numerics.arithmetic import Arithmetic
from system.train import convert

pytestmark = pytest.mark.train


def network() -> nn.Module:
    """Every kind of convolution that has a way of its own, batch norm after each."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, stride=2, groups=16), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, (5, 1), groups=16), nn.BatchNorm2d(16), nn.Flatten(), nn.Linear(16 * 2 * 6, 5))


def trained(memory: torch.memory_format, mode: str) -> list[bytes]:
    """Bits of every parameter, buffer and gradient after two steps."""
    torch.manual_seed(0)
    model = convert(network(), Arithmetic(align_mode=mode)).to(memory_format=memory)  # type: ignore[call-overload]
    images, labels = torch.randn(6, 3, 12, 12).contiguous(memory_format=memory), torch.arange(6) % 5
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for _ in range(2):
        optimiser.zero_grad()
        functional.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    kept = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    return [np.ascontiguousarray(t.detach().numpy()).tobytes() for t in kept]


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")
@pytest.mark.parametrize("mode", ["magnitude", "floor"])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format], ids=str)
def test_no_bit_depends_on_a_compiler(memory: torch.memory_format, mode: str,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor on which passes the depthwise kernels take, which their operands decide."""
    wanted = trained(memory, mode)
    for passes in (("weight_gradient",), ("input_gradient",), ("forward", "weight_gradient", "input_gradient")):
        with monkeypatch.context() as patch:
            for name in passes:
                patch.setattr(depthwise, name, lambda *given: None)
            assert trained(memory, mode) == wanted, passes
    monkeypatch.setattr(native, "library", lambda: None)
    assert trained(memory, mode) == wanted


@pytest.mark.parametrize("guard", [-13, -12, -4, 0, 4, 8])
def test_dead_inputs_of_a_confident_batch_have_no_gradient(guard: int) -> None:
    """Inputs that a ReLU holds at zero beside errors of every size: their weights' gradient is zero, not NaN."""
    for exponent in range(-120, 60):
        layer = nn.Linear(4, 3, bias=False)
        convert(layer, Arithmetic(guard_bits=guard))
        x = torch.zeros(32, 4)
        x[:, 0] = 1.0
        z = layer(x)
        z.backward(torch.full_like(z, 2.0**exponent))
        assert layer.weight.grad is not None
        assert layer.weight.grad[:, 0].tolist() == [32 * 2.0**exponent] * 3
        assert not layer.weight.grad[:, 1:].any(), exponent


@pytest.mark.validate
@pytest.mark.parametrize("seed", range(5))
def test_a_plain_network_trains_on_the_digits_without_a_nan(seed: int) -> None:
    """Convolutions, ReLU and Adam without batch norm: channels die, images become certain, errors tiny."""
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    torch.manual_seed(seed)
    chosen = torch.randperm(len(digits.target))[:1438]
    images = torch.tensor(digits.images, dtype=torch.float32)[chosen, None] / 16
    labels = torch.tensor(digits.target)[chosen]
    model = convert(nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1),
                                  nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10)))
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        for batch in torch.randperm(len(images)).split(32):  # type: ignore[no-untyped-call]
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
            optimiser.step()
    with torch.no_grad():
        assert (model(images).argmax(1) == labels).float().mean() > 0.99
