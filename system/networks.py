"""Networks by name as layer records, for any image size, width, class count and number of image channels."""

from __future__ import annotations

import math
from collections.abc import Callable

from charlib.errors import BadInput
from system.networks_cnn import V2_STAGES, mobilenet_v1, mobilenet_v2, resnet18, resnet50, round_channels, vgg16
from system.networks_transformer import GPT2_WORDS, gpt2, vit_tiny
from system.workload import Layer, Network

__all__ = ["NETWORKS", "V2_STAGES", "build_network", "is_file", "open_files_with", "round_channels"]

#: gives the records of `file.py:function` for an image size, width, class count and number of image channels
Opener = Callable[[str, int, float, int, int], Network]

NETWORKS: dict[str, Callable[[int, float, int, int], tuple[Layer, ...]]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
    "vit_tiny": vit_tiny,
    "gpt2": gpt2,
}


_openers: list[Opener] = []


def open_files_with(opener: Opener) -> None:
    """Let `build_network` take a user's `file.py:function`. What follows a module's operators knows torch, which is
    above this layer."""
    _openers[:] = [opener]


def is_file(name: str) -> bool:
    """Whether a network's name is a user's `file.py:function`."""
    return ":" in name


#: networks whose image_px is a number of tokens
TEXT = ("gpt2",)


def build_network(name: str, image_px: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3
                  ) -> Network:
    """The network's records, of a name or of a user's `file.py:function`; BadInput for a name without records or a
    size that is not allowed.

    Those of TEXT take image_px for their number of tokens, and their own words for classes.
    """
    if name not in NETWORKS and not (is_file(name) and _openers):
        raise BadInput(f"network: '{name}' does not exist; choose {', '.join(NETWORKS)}, or file.py:function")
    if not 8 <= image_px <= 4096:
        raise BadInput(f"image_px: 8 to 4096 is allowed, got {image_px}")
    if not (math.isfinite(width) and 0.05 <= width <= 8.0):
        raise BadInput(f"width: 0.05 to 8.0 is allowed, got {width:g}")
    if not 2 <= classes <= 1_000_000:
        raise BadInput(f"classes: 2 to 1000000 is allowed, got {classes}")
    if not 1 <= channels <= 4096:
        raise BadInput(f"channels: 1 to 4096 is allowed, got {channels}")
    if is_file(name):
        return _openers[0](name, image_px, width, classes, channels)
    layers = NETWORKS[name](image_px, width, classes, channels)
    return Network(name, image_px, width, GPT2_WORDS if name == "gpt2" else classes, layers)
