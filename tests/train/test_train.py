"""Training on the arrays: a layer's three passes are the scalar twin's bits, and a converted network is torch's own.

The oracle unfolds patches in plain NumPy, so that a wrong lane order, group or stride cannot hide in a shared helper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics import scalar
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import values_of
from system.train import Recorder, convert, mobilenet_v1, saved
from system.train.activity import statistics

pytestmark = pytest.mark.train
SAMPLES = 24


@dataclass(frozen=True)
class Case:
    """A convolution: channels in and out, kernel, stride, padding, groups."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    groups: int


CASES = {
    "pointwise": Case(40, 6, 1, 1, 0, 1),
    "depthwise": Case(5, 5, 3, 1, 1, 5),
    "depthwise strided": Case(5, 5, 3, 2, 1, 5),
    "ordinary": Case(5, 4, 3, 1, 1, 1),
    "ordinary strided": Case(5, 4, 3, 2, 1, 1),
    "grouped": Case(8, 6, 3, 1, 0, 2),
}
MODES = [Arithmetic(), Arithmetic(lanes=9, guard_bits=-2, align_mode="floor", accumulator="bf16"),
         Arithmetic(lanes=4, align_mode="sticky", tile_type="bf16", saturate=True)]


def codes(x: torch.Tensor) -> npt.NDArray[np.uint16]:
    return np.asarray(saved.codes(x))


def ints(x: npt.NDArray[np.uint16]) -> list[int]:
    return [int(v) for v in x.reshape(-1)]


def patch(x: npt.NDArray[np.uint16], case: Case, image: int, group: int, row: int,
          column: int) -> npt.NDArray[np.uint16]:
    """Channels of one group under the kernel at one output position; padding is +0. Order: channel, row, column."""
    wide = np.pad(x, ((0, 0), (0, 0), (case.padding,) * 2, (case.padding,) * 2))
    channels = case.inputs // case.groups
    top, left = row * case.stride, column * case.stride
    return wide[image, group * channels:(group + 1) * channels, top:top + case.kernel, left:left + case.kernel]


def converted(case: Case, arithmetic: Arithmetic) -> tuple[nn.Conv2d, torch.Tensor]:
    """A layer on the arrays, and an input of mixed magnitudes with zeros among them."""
    torch.manual_seed(1)
    layer = nn.Conv2d(case.inputs, case.outputs, case.kernel, case.stride, case.padding, groups=case.groups,
                      bias=False)
    convert(layer, arithmetic)
    x = torch.randn(3, case.inputs, 7, 7) * 2.0 ** torch.randint(-6, 7, (3, case.inputs, 7, 7))
    return layer, (x * (torch.rand_like(x) > 0.2)).requires_grad_()


def positions(z: torch.Tensor) -> Iterator[tuple[int, int, int, int]]:
    """SAMPLES seeded (image, channel, row, column) of an output."""
    rng = np.random.default_rng(3)
    for _ in range(SAMPLES):
        n, c, h, w = (int(rng.integers(0, size)) for size in z.shape)
        yield n, c, h, w


@pytest.mark.parametrize("arithmetic", MODES, ids=["default", "floor-bf16", "sticky-bf16-tile"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_forward_is_the_scalar_twin(case: Case, arithmetic: Arithmetic) -> None:
    layer, x = converted(case, arithmetic)
    z, x_codes, w_codes = layer(x), codes(x), codes(layer.weight)
    expected = functional.conv2d(x, layer.weight, None, case.stride, case.padding, 1, case.groups)
    assert z.shape == expected.shape
    for n, c, row, column in positions(z):
        lanes = patch(x_codes, case, n, c // (case.outputs // case.groups), row, column)
        want = scalar.dot(ints(lanes), ints(w_codes[c]), arithmetic)
        assert codes(z)[n, c, row, column] == want
        assert float(z[n, c, row, column].detach()) == float(values_of(np.array(want, dtype=np.uint16)))


@pytest.mark.parametrize("arithmetic", MODES, ids=["default", "floor-bf16", "sticky-bf16-tile"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_weight_gradient_is_the_scalar_twin(case: Case, arithmetic: Arithmetic) -> None:
    """A lane is a (sample, position) in ascending order; the sum stays in FP32."""
    layer, x = converted(case, arithmetic)
    z = layer(x)
    delta = torch.randn_like(z)
    z.backward(delta)
    assert layer.weight.grad is not None
    x_codes, d_codes = codes(x), codes(delta)
    where = [(n, r, c) for n in range(len(z)) for r in range(z.shape[2]) for c in range(z.shape[3])]
    rng = np.random.default_rng(4)
    for _ in range(6):
        out, channel, top, left = (int(rng.integers(0, size)) for size in layer.weight.shape)
        group = out // (case.outputs // case.groups)
        stored = [int(patch(x_codes, case, n, group, r, c)[channel, top, left]) for n, r, c in where]
        serial = [int(d_codes[n, out, r, c]) for n, r, c in where]
        want = scalar.dot(serial, stored, arithmetic, "fp32")
        assert float(layer.weight.grad[out, channel, top, left]) == scalar.fp32_value(want)


@pytest.mark.parametrize("arithmetic", MODES, ids=["default", "floor-bf16", "sticky-bf16-tile"])
def test_input_gradient_accumulates_lane_by_lane(arithmetic: Arithmetic) -> None:
    """Pointwise and linear layers: one patch an input, so the gradient is the lane accumulation itself."""
    case = CASES["pointwise"]
    layer, x = converted(case, arithmetic)
    z = layer(x)
    delta = torch.randn_like(z) * 2.0 ** torch.randint(-8, 9, z.shape)
    z.backward(delta)
    assert x.grad is not None
    w_codes, d_codes = codes(layer.weight)[:, :, 0, 0], codes(delta)
    for n, i, row, column in positions(x):
        want = scalar.lane_dot(ints(w_codes[:, i]), ints(d_codes[n, :, row, column]), arithmetic)
        assert codes(x.grad)[n, i, row, column] == want


def test_linear_layer_with_bias() -> None:
    torch.manual_seed(2)
    layer, arithmetic = nn.Linear(50, 7), Arithmetic()
    convert(layer, arithmetic)
    x = torch.randn(2, 3, 50, requires_grad=True)
    z = layer(x)
    z.backward(torch.ones_like(z))
    assert layer.bias.grad is not None
    assert x.grad is not None
    assert z.shape == (2, 3, 7)
    x_codes, w_codes = codes(x), codes(layer.weight)
    for j in range(7):
        product = values_of(np.array(scalar.dot(ints(x_codes[1, 2]), ints(w_codes[j]), arithmetic), dtype=np.uint16))
        assert float(z[1, 2, j].detach()) == float(np.float32(product) + np.float32(layer.bias[j].detach()))
    one = [0x3F80] * 7
    assert [int(v) for v in codes(x.grad[0, 0])] == [scalar.lane_dot(ints(w_codes[:, i]), one, arithmetic)
                                                    for i in range(50)]
    assert layer.bias.grad.tolist() == [6.0] * 7


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_gradient_is_near_torch(case: Case) -> None:
    """Against float64 convolution of the same BF16 operands; the tolerance is a few BF16 roundings (2^-9 each)."""
    layer, x = converted(case, Arithmetic())
    z = layer(x)
    delta = torch.randn_like(z)
    z.backward(delta)

    def exact(t: torch.Tensor) -> torch.Tensor:
        return t.detach().bfloat16().double()

    x64, w64 = exact(x).requires_grad_(), exact(layer.weight).requires_grad_()
    z64 = functional.conv2d(x64, w64, None, case.stride, case.padding, 1, case.groups)
    z64.backward(exact(delta))  # type: ignore[no-untyped-call]
    for got, want in ((x.grad, x64.grad), (layer.weight.grad, w64.grad)):
        assert got is not None
        assert want is not None
        assert float((got - want).norm() / want.norm()) < 2.0**-8


def test_convert_keeps_parameters_and_leaves_the_rest() -> None:
    model = mobilenet_v1(0.25, classes=10, channels=1)
    before = dict(model.named_parameters())
    assert convert(model, Arithmetic(), choose=lambda name, layer: isinstance(layer, nn.Conv2d)) is model
    after = dict(model.named_parameters())
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)
    kinds = [type(layer) for layer in model]
    assert kinds.count(nn.Conv2d) == 27
    assert kinds[-1] is nn.Linear
    assert kinds.count(nn.BatchNorm2d) == 27


def test_network_takes_any_image_size_and_has_the_papers_size() -> None:
    assert sum(p.numel() for p in mobilenet_v1(1.0).parameters()) == pytest.approx(4.232e6, rel=1e-3)
    model = mobilenet_v1(0.125, classes=10, channels=3).eval()
    for px in (32, 50):
        assert model(torch.zeros(1, 3, px, px)).shape == (1, 10)
    with pytest.raises(BadInput, match=r"^mobilenet_v1: width > 0"):
        mobilenet_v1(0.0)


def test_recorder_sees_all_three_passes() -> None:
    recorder = Recorder(every=1)
    layer = nn.Conv2d(3, 4, 3)
    convert(layer, Arithmetic(), recorder)
    layer(torch.randn(2, 3, 8, 8).relu().requires_grad_()).sum().backward()
    summary = recorder.summary()
    assert set(summary) == {"forward", "input_gradient", "weight_gradient"}
    assert 0.3 < summary["forward"]["serial_zero_share"] < 0.7  # a rectified normal: half are zero
    assert all(0 <= v <= 1 for found in summary.values() for name, v in found.items() if "exponent" not in name)


def test_statistics_of_known_operands() -> None:
    """Significands 80, 00, FF, FF, one after another in one lane."""
    found = statistics(np.array([[[0x3F80], [0x0000], [0x3FFF], [0x3FFF]]], dtype=np.uint16))
    assert found["bit_density"] == (1 + 0 + 8 + 8) / 32
    assert found["zero_share"] == 0.25
    assert found["toggle_rate"] == (1 + 8 + 0) / 24
