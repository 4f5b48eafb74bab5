"""Convolutional networks as layer records, from their papers.

MobileNetV1 (Howard et al. 2017, arXiv 1704.04861): a stem and 13 depthwise-separable blocks; channels are the integer
part of width × nominal, at least 8. MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381): inverted residuals; channels
are rounded to multiples of 8, never down by more than 10 %. ResNet (He et al. 2015, arXiv 1512.03385), a bottleneck's
stride in its 3 × 3 convolution, as is usual now. VGG-16 (Simonyan and Zisserman 2014, arXiv 1409.1556), column D.
No dropout. The stem's input needs no gradient.
"""

from __future__ import annotations

from charlib.errors import BadInput
from system.networks_builder import Builder
from system.workload import Layer

#: (output channels, stride) of V1's separable blocks
V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1),
             (512, 1), (1024, 2), (1024, 1))
#: (expansion, output channels, repeats, first stride) of V2's stages
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
             (6, 320, 1, 1))
#: channels of VGG-16's convolutions; 0 is a pooling
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def scaled_channels(channels: int, width: float) -> int:
    """The integer part of channels × width, at least 8."""
    return max(8, int(channels * width))


def mobilenet_v1(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Thirteen depthwise separable blocks (Howard et al., 2017)."""
    builder = Builder(image_px, channels)
    builder.conv("conv1", "conv", scaled_channels(32, width), 3, 2, "relu")
    for index, (out, stride) in enumerate(V1_BLOCKS, start=1):
        builder.conv(f"dw{index}", "depthwise", builder.channels, 3, stride, "relu")
        builder.conv(f"pw{index}", "conv", scaled_channels(out, width), 1, 1, "relu")
    builder.classifier(classes)
    return tuple(builder.layers)


def round_channels(channels: float, divisor: int = 8) -> int:
    """Nearest multiple of `divisor`, at least one, and not more than 10 % below."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def mobilenet_v2(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Inverted residuals with linear bottlenecks (Sandler et al., 2018)."""
    builder = Builder(image_px, channels)
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


def _resnet(blocks: tuple[int, ...], bottleneck: bool, image_px: int, width: float, classes: int, channels: int
            ) -> tuple[Layer, ...]:
    builder = Builder(image_px, channels)
    builder.conv("conv1", "conv", scaled_channels(64, width), 7, 2, "relu")
    assert isinstance(builder.px, int)
    builder.max_pool("conv1.pool", 3, (builder.px - 1) // 2 + 1)
    for stage, repeats in enumerate(blocks):
        inner = scaled_channels(64 * 2**stage, width)
        for repeat in range(repeats):
            name, stride = f"block{stage + 1}_{repeat + 1}", 2 if stage and repeat == 0 else 1
            _residual_block(builder, name, inner, inner * 4 if bottleneck else inner, stride, bottleneck)
    builder.classifier(classes)
    return tuple(builder.layers)


def _residual_block(builder: Builder, name: str, inner: int, out: int, stride: int, bottleneck: bool) -> None:
    inside, px = builder.channels, builder.px
    if (inside, stride) != (out, 1):
        builder.conv(f"{name}.shortcut", "conv", out, 1, stride, "")
        builder.channels, builder.px = inside, px
    if bottleneck:
        builder.conv(f"{name}.conv1", "conv", inner, 1, 1, "relu")
        builder.conv(f"{name}.conv2", "conv", inner, 3, stride, "relu")
        last = f"{name}.conv3"
        builder.conv(last, "conv", out, 1, 1, "")
    else:
        builder.conv(f"{name}.conv1", "conv", out, 3, stride, "relu")
        last = f"{name}.conv2"
        builder.conv(last, "conv", out, 3, 1, "")
    builder.vector(f"{last}.add", "residual")
    builder.vector(f"{last}.relu", "relu")


def resnet18(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Residual network of basic blocks (He et al., 2016)."""
    return _resnet((2, 2, 2, 2), False, image_px, width, classes, channels)


def resnet50(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Residual network of bottlenecks (He et al., 2016)."""
    return _resnet((3, 4, 6, 3), True, image_px, width, classes, channels)


def vgg16(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Configuration D (Simonyan and Zisserman, 2015). BadInput below 32 px."""
    if image_px < 32:
        raise BadInput(f"image_px: vgg16 halves its image five times, so at least 32 is needed, got {image_px}")
    builder, px, index, name = Builder(image_px, channels), image_px, 0, ""
    for nominal in VGG16:
        if nominal:
            index, name = index + 1, f"conv{index + 1}"
            builder.conv(name, "conv", scaled_channels(nominal, width), 3, 1, "relu", norm=False)
        else:
            px //= 2
            builder.max_pool(f"{name}.pool", 2, px)
    builder.channels, builder.px = builder.channels * px * px, 1
    for name, out in (("fc1", scaled_channels(4096, width)), ("fc2", scaled_channels(4096, width)), ("fc3", classes)):
        builder.linear(name, out)
        builder.vector(*(("loss", "softmax_loss") if name == "fc3" else (f"{name}.relu", "relu")))
    return tuple(builder.layers)
