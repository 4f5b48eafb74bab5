"""MobileNetV1 and V2 as layer records, from their papers, for any image size, width and class count.

V1 (Howard et al. 2017, arXiv 1704.04861): a stem and 13 depthwise-separable blocks; channels are the integer
part of width × nominal. V2 (Sandler et al. 2018, arXiv 1801.04381): inverted residuals; channels are rounded
to multiples of 8, never down by more than 10 %. The stem's input needs no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from charlib.errors import BadInput
from system.workload import Layer, MacLayer, Network, VectorLayer

#: (output channels, stride) of V1's separable blocks
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1),
             (512, 1), (1024, 2), (1024, 1))
#: (expansion, output channels, repeats, first stride) of V2's stages
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
             (6, 320, 1, 1))
#: names of the contract whose records come with a later issue
PLANNED = ("resnet18", "resnet50", "vgg16", "vit_tiny")


class _Builder:
    """Collects layers while following channels and image size."""

    def __init__(self, image_px: int) -> None:
        self.px = image_px
        self.channels = 3
        self.layers: list[Layer] = []

    def conv(self, name: str, kind: str, out_channels: int, kernel: int, stride: int, activation: str) -> None:
        """Convolution, batch norm and, where named, an activation."""
        layer = MacLayer(name, kind, self.channels, out_channels, kernel, stride, self.px,
                         needs_input_gradient=bool(self.layers))
        self.px, self.channels = layer.out_px, out_channels
        self.layers.append(layer)
        self.vector(f"{name}.bn", "batch_norm")
        if activation:
            self.vector(f"{name}.{activation}", activation)

    def vector(self, name: str, kind: str) -> None:
        self.layers.append(VectorLayer(name, kind, self.channels, self.px))

    def classifier(self, classes: int) -> None:
        """Global average pool, linear layer with bias, softmax and loss."""
        self.vector("pool", "average_pool")
        self.px = 1
        self.layers.append(MacLayer("fc", "linear", self.channels, classes, 1, 1, 1, bias=True))
        self.channels = classes
        self.vector("fc.bias", "bias")
        self.vector("loss", "softmax_loss")


def _mobilenet_v1(image_px: int, width: float, classes: int) -> tuple[Layer, ...]:
    def scaled(channels: int) -> int:
        return max(1, int(channels * width))

    builder = _Builder(image_px)
    builder.conv("conv1", "conv", scaled(32), 3, 2, "relu")
    for index, (channels, stride) in enumerate(V1_BLOCKS, start=1):
        builder.conv(f"dw{index}", "depthwise", builder.channels, 3, stride, "relu")
        builder.conv(f"pw{index}", "conv", scaled(channels), 1, 1, "relu")
    builder.classifier(classes)
    return tuple(builder.layers)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, at least one, and not more than 10 % below."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _mobilenet_v2(image_px: int, width: float, classes: int) -> tuple[Layer, ...]:
    builder = _Builder(image_px)
    builder.conv("conv1", "conv", round_channels(32 * width), 3, 2, "relu6")
    index = 0
    for expansion, nominal, repeats, first_stride in V2_STAGES:
        for repeat in range(repeats):
            index += 1
            stride = first_stride if repeat == 0 else 1
            inside, out = builder.channels, round_channels(nominal * width)
            if expansion != 1:
                builder.conv(f"block{index}.expand", "conv", inside * expansion, 1, 1, "relu6")
            builder.conv(f"block{index}.dw", "depthwise", builder.channels, 3, stride, "relu6")
            builder.conv(f"block{index}.project", "conv", out, 1, 1, "")
            if stride == 1 and inside == out:
                builder.vector(f"block{index}.add", "residual")
    builder.conv("conv_last", "conv", round_channels(1280 * max(1.0, width)), 1, 1, "relu6")
    builder.classifier(classes)
    return tuple(builder.layers)


NETWORKS: dict[str, Callable[[int, float, int], tuple[Layer, ...]]] = {
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
}


def build_network(name: str, image_px: int = 224, width: float = 1.0, classes: int = 1000) -> Network:
    """The network's records; BadInput for a name without records or a size that is not allowed."""
    if name not in NETWORKS:
        later = " (planned, not built yet)" if name in PLANNED else ""
        raise BadInput(f"network: '{name}'{later} does not exist; choose {' or '.join(NETWORKS)}")
    if not 8 <= image_px <= 4096:
        raise BadInput(f"image_px: 8 to 4096 is allowed, got {image_px}")
    if not (math.isfinite(width) and 0.05 <= width <= 8.0):
        raise BadInput(f"width: 0.05 to 8.0 is allowed, got {width:g}")
    if not 2 <= classes <= 1_000_000:
        raise BadInput(f"classes: 2 to 1000000 is allowed, got {classes}")
    return Network(name, image_px, width, classes, NETWORKS[name](image_px, width, classes))
