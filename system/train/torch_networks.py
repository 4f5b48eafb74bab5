"""The networks by name as torch modules.

Each follows its paper, at any width (where it has one), image size, class count and channel count, with fresh random
weights. Parameter counts at the papers' sizes are those published (a test holds them).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from charlib.errors import BadInput
from system.networks import V2_STAGES, round_channels
from system.train.mobilenet import mobilenet_v1

Tensor = torch.Tensor


def _conv(inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1, activation: type[nn.Module] | None
          = nn.ReLU) -> list[nn.Module]:
    """Convolution, batch norm and, unless None, an activation."""
    layers: list[nn.Module] = [nn.Conv2d(inside, out, kernel, stride, kernel // 2, groups=groups, bias=False),
                               nn.BatchNorm2d(out)]
    return layers if activation is None else [*layers, activation(inplace=True)]


class Residual(nn.Module):
    """inner(x) plus x, or plus shortcut(x); then an activation, if there is one."""

    def __init__(self, inner: nn.Module, shortcut: nn.Module | None = None, activation: nn.Module | None = None
                 ) -> None:
        super().__init__()
        self.inner, self.shortcut, self.activation = inner, shortcut, activation

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.shortcut is None else self.shortcut(x)
        total: Tensor = self.inner(x) + kept
        return total if self.activation is None else self.activation(total)


def mobilenet_v2(width: float = 1.0, classes: int = 1000, channels: int = 3) -> nn.Sequential:
    """Sandler et al., 2018, arXiv 1801.04381; without its dropout."""
    size = round_channels(32 * width)
    layers = _conv(channels, size, 3, 2, activation=nn.ReLU6)
    for expansion, nominal, repeats, first_stride in V2_STAGES:
        for repeat in range(repeats):
            stride, out = first_stride if repeat == 0 else 1, round_channels(nominal * width)
            inside = size * expansion
            inner = nn.Sequential(*(_conv(size, inside, 1, activation=nn.ReLU6) if expansion != 1 else ()),
                                  *_conv(inside, inside, 3, stride, inside, nn.ReLU6),
                                  *_conv(inside, out, 1, activation=None))
            layers.append(Residual(inner) if stride == 1 and size == out else inner)
            size = out
    last = round_channels(1280 * max(1.0, width))
    return nn.Sequential(*layers, *_conv(size, last, 1, activation=nn.ReLU6), *_classifier(last, classes))


def _classifier(size: int, classes: int) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, classes)


def resnet(blocks: tuple[int, ...], bottleneck: bool, width: float = 1.0, classes: int = 1000, channels: int = 3
           ) -> nn.Sequential:
    """He et al., 2015, arXiv 1512.03385; the stride of a bottleneck in its 3 × 3 convolution, as is usual now."""
    size = max(8, int(64 * width))
    layers = [*_conv(channels, size, 7, 2), nn.MaxPool2d(3, 2, 1)]
    for stage, repeats in enumerate(blocks):
        inside = max(8, int(64 * 2**stage * width))
        out = inside * (4 if bottleneck else 1)
        for repeat in range(repeats):
            stride = 2 if stage and repeat == 0 else 1
            if bottleneck:
                inner = [*_conv(size, inside, 1), *_conv(inside, inside, 3, stride),
                         *_conv(inside, out, 1, activation=None)]
            else:
                inner = [*_conv(size, out, 3, stride), *_conv(out, out, 3, activation=None)]
            shortcut = nn.Sequential(*_conv(size, out, 1, stride, activation=None)) if (size, stride) != (out, 1) \
                else None
            layers.append(Residual(nn.Sequential(*inner), shortcut, nn.ReLU(inplace=True)))
            size = out
    return nn.Sequential(*layers, *_classifier(size, classes))


#: channels of VGG-16's convolutions, column D; 0 is a pooling
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def vgg16(width: float = 1.0, classes: int = 1000, channels: int = 3, image_px: int = 224) -> nn.Sequential:
    """Simonyan and Zisserman, 2014, arXiv 1409.1556, column D; without its dropout."""
    layers: list[nn.Module] = []
    size, px = channels, image_px
    for nominal in VGG16:
        if nominal:
            out = max(8, int(nominal * width))
            layers += [nn.Conv2d(size, out, 3, 1, 1), nn.ReLU(inplace=True)]
            size = out
        else:
            layers.append(nn.MaxPool2d(2))
            px //= 2
    if px < 1:
        raise BadInput(f"image_px: vgg16 halves its image five times, so at least 32 is needed, got {image_px}")
    hidden = max(8, int(4096 * width))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(size * px * px, hidden), nn.ReLU(inplace=True),
                         nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, classes))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, size: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(size, eps=1e-6), nn.LayerNorm(size, eps=1e-6)
        self.attention = nn.MultiheadAttention(size, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        x = x + self.attention(normal, normal, normal, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """Dosovitskiy et al., 2020, arXiv 2010.11929, with a class token and learned positions."""

    def __init__(self, size: int, heads: int, depth: int, patch: int, image_px: int, classes: int, channels: int
                 ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, size, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, size))
        self.positions = nn.Parameter(torch.randn(1, (image_px // patch)**2 + 1, size) * 0.02)
        self.blocks = nn.Sequential(*(EncoderBlock(size, heads, 4 * size) for _ in range(depth)))
        self.norm = nn.LayerNorm(size, eps=1e-6)
        self.head = nn.Linear(size, classes)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.patches(x).flatten(2).transpose(1, 2)
        rows = torch.cat([self.token.expand(len(rows), -1, -1), rows], dim=1) + self.positions
        scores: Tensor = self.head(self.norm(self.blocks(rows))[:, 0])
        return scores


def vit_tiny(width: float = 1.0, classes: int = 1000, channels: int = 3, image_px: int = 224) -> VisionTransformer:
    """ViT-Ti/16 (Touvron et al., 2021, arXiv 2012.12877): 192 wide, 3 heads, 12 deep; below 64 px, patches of 4."""
    patch = 16 if image_px >= 64 else 4
    if image_px % patch:
        raise BadInput(f"image_px: vit_tiny needs a multiple of its patch of {patch} px, got {image_px}")
    heads = max(1, round(3 * width))
    return VisionTransformer(64 * heads, heads, 12, patch, image_px, classes, channels)


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mobilenet_v1": lambda image_px, **sizes: mobilenet_v1(**sizes),
    "mobilenet_v2": lambda image_px, **sizes: mobilenet_v2(**sizes),
    "resnet18": lambda image_px, **sizes: resnet((2, 2, 2, 2), False, **sizes),
    "resnet50": lambda image_px, **sizes: resnet((3, 4, 6, 3), True, **sizes),
    "vgg16": vgg16,
    "vit_tiny": vit_tiny,
}


def build(name: str, *, width: float, image_px: int, classes: int, channels: int) -> nn.Module:
    """A network by name, with weights from torch's generator."""
    if name not in BUILDERS:
        raise BadInput(f"network: '{name}' does not exist; choose {', '.join(BUILDERS)} or file.py:build")
    if not 0 < width <= 8:
        raise BadInput(f"width: above 0 and at most 8 is allowed, got {width:g}")
    return BUILDERS[name](image_px=image_px, width=width, classes=classes, channels=channels)
