"""MobileNetV1 (Howard et al., 2017, arXiv 1704.04861) as a torch module, for any width and image size."""

from __future__ import annotations

from torch import nn

from charlib.errors import BadInput

#: (output channels at width 1, stride) of the thirteen depthwise-separable layers
LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
FIRST_CHANNELS = 32


def scaled(channels: int, width: float) -> int:
    """Channels at a width multiplier, at least 8."""
    return max(8, int(channels * width))


def mobilenet_v1(width: float = 1.0, classes: int = 1000, channels: int = 3) -> nn.Sequential:
    """The network: convolution, thirteen depthwise-separable layers, mean pooling, a linear layer."""
    if not width > 0 or classes < 2 or channels < 1:
        raise BadInput("mobilenet_v1: width > 0, classes >= 2 and channels >= 1 are needed, "
                       f"got {width:g}, {classes}, {channels}")
    size = scaled(FIRST_CHANNELS, width)
    layers: list[nn.Module] = _block(nn.Conv2d(channels, size, 3, 2, 1, bias=False), size)
    for base, stride in LAYERS:
        out = scaled(base, width)
        layers += _block(nn.Conv2d(size, size, 3, stride, 1, groups=size, bias=False), size)
        layers += _block(nn.Conv2d(size, out, 1, bias=False), out)
        size = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, classes))


def _block(convolution: nn.Conv2d, size: int) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
