"""Published MAC and parameter counts, and the refusals."""

from __future__ import annotations

import pytest

from charlib.errors import BadInput
from system.networks import build_network, round_channels
from system.workload import MacLayer, VectorLayer


@pytest.mark.parametrize(
    ("name", "px", "width", "macs_m", "parameters_m", "tolerance"),
    [
        ("mobilenet_v1", 224, 1.0, 568.74, 4.232, 2e-4),
        # Howard et al. 2017, tables 6 and 7: M multiply-adds and M parameters, as rounded there.
        ("mobilenet_v1", 224, 0.75, 325, 2.6, 0.02),
        ("mobilenet_v1", 224, 0.5, 149, 1.3, 0.03),
        ("mobilenet_v1", 224, 0.25, 41, 0.5, 0.07),
        ("mobilenet_v1", 192, 1.0, 418, 4.2, 0.01),
        ("mobilenet_v1", 160, 1.0, 290, 4.2, 0.01),
        ("mobilenet_v1", 128, 1.0, 186, 4.2, 0.01),
        # Sandler et al. 2018, table 4.
        ("mobilenet_v2", 224, 1.0, 300, 3.4, 0.04),
        ("mobilenet_v2", 224, 1.4, 585, 6.9, 0.16),
    ],
)
def test_published_counts(name: str, px: int, width: float, macs_m: float, parameters_m: float,
                          tolerance: float) -> None:
    network = build_network(name, px, width)
    assert network.macs_forward / 1e6 == pytest.approx(macs_m, rel=tolerance)
    assert network.parameters / 1e6 == pytest.approx(parameters_m, rel=tolerance)


def test_v1_exact() -> None:
    network = build_network("mobilenet_v1")
    assert network.macs_forward == 568_740_352
    assert network.parameters == 4_231_976
    assert network.macs_training == 1_695_383_040
    conv1 = network.mac_layers[0]
    assert network.macs_training == 3 * network.macs_forward - conv1.macs


def test_v2_exact() -> None:
    """torchvision's mobilenet_v2 has 3,504,872 parameters."""
    assert build_network("mobilenet_v2").parameters == 3_504_872


def test_channels_round_as_in_v2() -> None:
    assert [round_channels(c) for c in (3, 11.2, 12, 24, 33.6)] == [8, 16, 16, 24, 32]


@pytest.mark.parametrize("px", [32, 33, 97, 224])
def test_any_size_follows_same_padding(px: int) -> None:
    network = build_network("mobilenet_v1", px, 0.25, 10)
    assert network.mac_layers[0].out_px == (px + 1) // 2
    assert network.mac_layers[-1].out_channels == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lenet",), "network: 'lenet' does not exist; choose mobilenet_v1, mobilenet_v2, resnet18, resnet50, vgg16, "
                     "vit_tiny, gpt2, or file.py:function"),
        (("mobilenet_v1", 224, 1.0, 10, 0), "channels: 1 to 4096 is allowed, got 0"),
        (("vgg16", 31), "image_px: vgg16 halves its image five times, so at least 32 is needed, got 31"),
        (("vit_tiny", 100), "image_px: vit_tiny needs a multiple of its patch of 16 px, got 100"),
        (("gpt2", 1025), "image_px: gpt2 takes it for its number of tokens, at most 1024, got 1025"),
        (("mobilenet_v1", 0), "image_px: 8 to 4096 is allowed, got 0"),
        (("mobilenet_v1", 224, -1.0), "width: 0.05 to 8.0 is allowed, got -1"),
        (("mobilenet_v1", 224, float("nan")), "width: 0.05 to 8.0 is allowed, got nan"),
        (("mobilenet_v1", 224, 1.0, 1), "classes: 2 to 1000000 is allowed, got 1"),
    ],
)
def test_refusals(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        build_network(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_an_operator_without_a_count_is_an_error() -> None:
    with pytest.raises(BadInput, match=r"^Layer 'x': operator 'fft' has no operation count; counted are "):
        VectorLayer("x", "fft", 4, 4)


def test_layer_records_are_checked() -> None:
    with pytest.raises(BadInput, match=r"^Layer 'x': stride must be a whole number of at least 1, got 0$"):
        MacLayer("x", "conv", 3, 3, 3, 0, 8)
    with pytest.raises(BadInput, match=r"^Layer 'x': a depthwise layer keeps its channels, got 3 in and 4 out$"):
        MacLayer("x", "depthwise", 3, 4, 3, 1, 8)
    with pytest.raises(BadInput, match=r"^Layer 'x': kind must be one of .*, linear, matmul, got 'dense'$"):
        MacLayer("x", "dense", 3, 4, 3, 1, 8)
