"""Parameters and MACs of every network against published figures, and records of shapes beyond square images."""

from __future__ import annotations

import itertools

import pytest

from charlib.errors import BadInput
from system.networks import NETWORKS, build_network
from system.workload import MacLayer, Network, VectorLayer


@pytest.mark.parametrize(
    ("name", "parameters"),
    [  # as torchvision's models, timm's vit_tiny_patch16_224 and Hugging Face's gpt2 have them
        ("mobilenet_v1", 4_231_976), ("mobilenet_v2", 3_504_872), ("resnet18", 11_689_512), ("resnet50", 25_557_032),
        ("vgg16", 138_357_544), ("vit_tiny", 5_717_416), ("gpt2", 124_439_808),
    ],
)
def test_parameters_are_those_published(name: str, parameters: int) -> None:
    assert build_network(name).parameters == parameters


@pytest.mark.parametrize(
    ("name", "px", "macs_g", "tolerance"),
    [
        ("mobilenet_v1", 224, 0.56874, 1e-5), ("mobilenet_v2", 224, 0.3008, 2e-4),
        # He et al. 2015, table 1, says 1.8e9 and 3.8e9; with the stride in the 3 × 3 it is 4.089 G (torchvision).
        ("resnet18", 224, 1.814, 1e-4), ("resnet50", 224, 4.089, 1e-4),
        ("vgg16", 224, 15.47, 1e-4),
        ("vit_tiny", 224, 1.26, 6e-3),  # Touvron et al. 2021 and timm, with scores and values of attention
    ],
)
def test_macs_are_those_published(name: str, px: int, macs_g: float, tolerance: float) -> None:
    assert build_network(name, px).macs_forward / 1e9 == pytest.approx(macs_g, rel=tolerance)


def test_vit_tiny_without_products_of_activations() -> None:
    """fvcore and others leave scores and values out: 1.07 G."""
    macs = sum(layer.macs for layer in build_network("vit_tiny").mac_layers if layer.kind != "matmul")
    assert macs / 1e9 == pytest.approx(1.07, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "px", "width", "macs_m", "parameters_m"),
    [  # Sandler et al. 2018 and the reference implementation's README (multiply-adds and parameters in millions)
        ("mobilenet_v2", 224, 0.75, 209, 2.61), ("mobilenet_v2", 224, 0.5, 97, 1.95),
        ("mobilenet_v2", 192, 1.0, 221, 3.47), ("mobilenet_v2", 160, 1.0, 154, 3.47),
        ("mobilenet_v2", 128, 1.0, 99, 3.47), ("mobilenet_v2", 224, 1.3, 509, 5.34),
        ("mobilenet_v2", 224, 1.4, 582, 6.06),
    ],
)
def test_mobilenet_v2_at_other_sizes(name: str, px: int, width: float, macs_m: float, parameters_m: float) -> None:
    network = build_network(name, px, width)
    assert network.macs_forward / 1e6 == pytest.approx(macs_m, rel=0.012)
    assert network.parameters / 1e6 == pytest.approx(parameters_m, rel=0.015)


def test_gpt2_macs_by_hand() -> None:
    """A token meets every weight but positions and norms once; attention meets each pair of tokens twice."""
    tokens, size = 128, 768
    network = build_network("gpt2", tokens)
    weights = 12 * 12 * size * size + 50_257 * size
    assert network.macs_forward == tokens * weights + 12 * 2 * tokens * tokens * size
    assert network.classes == 50_257
    assert build_network("gpt2", 1024).parameters == network.parameters


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("width", "classes", "channels"), [(0.5, 10, 1), (2.0, 7, 4)])
def test_any_width_and_head(name: str, width: float, classes: int, channels: int) -> None:
    network = build_network(name, 64, width, classes, channels)
    last = network.mac_layers[-1]
    assert last.out_channels == network.classes
    assert name == "gpt2" or last.out_channels == classes
    assert name == "gpt2" or network.mac_layers[0].in_channels == channels
    assert network.vector_layers[-1].kind == "softmax_loss"
    assert all(layer.needs_input_gradient for layer in network.mac_layers[1:])


def test_layers_between_fit() -> None:
    """Each convolution takes as many elements as the one before it leaves (pooling aside)."""
    layers = build_network("mobilenet_v2", 97).mac_layers
    assert all(b.in_elements == a.out_elements for a, b in itertools.pairwise(layers[:-1]))


@pytest.mark.parametrize(
    ("layer", "out_size", "macs", "weights"),
    [
        (MacLayer("a", "conv", 4, 6, 3, 2, (9, 17), padding=1), (5, 9), 45 * 6 * 36, 216),
        (MacLayer("a", "conv", 4, 6, (1, 3), 1, 8, padding=(0, 1)), (8, 8), 64 * 6 * 12, 72),
        (MacLayer("a", "conv", 4, 6, (5,), 1, (20,), padding=0), (16,), 16 * 6 * 20, 120),
        (MacLayer("a", "conv", 4, 6, 3, 1, 9, padding=0, dilation=2), (5, 5), 25 * 6 * 36, 216),
        (MacLayer("a", "conv", 4, 6, 3, 1, 9, groups=2), (9, 9), 81 * 6 * 18, 108),
        (MacLayer("a", "conv", 2, 2, (3, 3, 3), 1, (4, 5, 6)), (4, 5, 6), 120 * 2 * 54, 108),
        (MacLayer("a", "linear", 7, 5, 1, 1, (11,)), (11,), 11 * 35, 35),
        # two products of 6 × 3 by 3 × 4 a sample
        (MacLayer("a", "matmul", 6, 8, 1, 1, (6,), groups=2), (6,), 2 * 6 * 3 * 4, 0),
    ],
)
def test_shapes(layer: MacLayer, out_size: tuple[int, ...], macs: int, weights: int) -> None:
    assert (layer.out_size, layer.macs, layer.weights) == (out_size, macs, weights)
    assert layer.parameters == weights


def test_overlaps_in_the_input() -> None:
    assert MacLayer("a", "conv", 1, 1, 3, 2, 8).overlaps
    assert not MacLayer("a", "conv", 1, 1, 2, 2, 8).overlaps
    assert not MacLayer("a", "conv", 1, 1, 1, 1, 8).overlaps
    assert MacLayer("a", "conv", 1, 1, 2, 2, 8, dilation=2).overlaps


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "conv", 4, 6, 3, 1, 8, False, True, 3), "groups must divide both channels, got 3 for 4 in and 6 out"),
        (("x", "conv", 4, 6, (3, 3), 1, (8,)),
         "kernel, stride, in_px, padding and dilation need as many axes as each other"),
        (("x", "linear", 4, 6, 3, 1, 8), "a linear layer has kernel and stride 1, got 3, 1"),
        (("x", "conv", 4, 6, 9, 1, 8, False, True, 1, 0), "kernel 9 does not fit in_px 8; add padding"),
        (("x", "conv", 4, 6, 3, 1, 8, False, True, 1, -1), "padding must be a whole number of at least 0, got -1"),
    ],
)
def test_shapes_that_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        MacLayer(*arguments)  # type: ignore[arg-type]
    assert str(caught.value) == f"Layer 'x': {message}"


def test_networks_are_checked() -> None:
    conv, relu = MacLayer("a", "conv", 3, 3, 1, 1, 4), VectorLayer("a", "relu", 3, 4)
    with pytest.raises(BadInput, match=r"^network: 'n' has two layers named 'a'$"):
        Network("n", 4, 1.0, 2, (conv, relu))
    with pytest.raises(BadInput, match=r"^network: 'n' has no layer with multiply-accumulates$"):
        Network("n", 4, 1.0, 2, (relu,))


def test_operators_before_the_first_layer_belong_to_it() -> None:
    network = build_network("gpt2", 8)
    first = network.mac_layers[0]
    assert [v.kind for v in network.followers(first)] == ["embedding", "position_add", "layer_norm", "bias"]
    assert sum(len(network.followers(layer)) for layer in network.mac_layers) == len(network.vector_layers)
