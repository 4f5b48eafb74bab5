"""A user's `file.py:function` as records, for the estimate.

The function builds a torch module and gets those of classes, image_px, channels and width that it names. One sample's
shape is (channels, image_px, image_px), unless the module says `input_shape`, and `input_dtype` where it takes
indices. The file's OPERATOR_COUNTS count operators that have no count here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from charlib.errors import BadInput
from system.train.own_file import beside, load_network
from system.train.tracing import trace
from system.workload import Network


def network_of_file(text: str, image_px: int, width: float, classes: int, channels: int) -> Network:
    """Its records; followed once for each state of the file. BadInput for what cannot be loaded or has no count."""
    path = Path(text.rpartition(":")[0])
    return _followed(text, _state(path), image_px, width, classes, channels)


def _state(path: Path) -> tuple[tuple[str, int], ...]:
    """When the file and what may be imported from beside it were written."""
    folder = path.resolve().parent
    files = [*folder.glob("*.py"), *folder.glob("*/*.py")] if path.is_file() else []
    return tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files if file.is_file()))


@lru_cache(maxsize=8)
def _followed(text: str, _changed: tuple[tuple[str, int], ...], image_px: int, width: float, classes: int,
              channels: int) -> Network:
    module, counts = load_network(text, classes=classes, image_px=image_px, channels=channels, width=width)
    shape = getattr(module, "input_shape", (channels, image_px, image_px))
    dtype = getattr(module, "input_dtype", torch.float32)
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise BadInput(f"network: input_shape of {text} must be a tuple of whole numbers, got {shape!r}")
    if not isinstance(dtype, torch.dtype):
        raise BadInput(f"network: input_dtype of {text} must be a torch.dtype, got {dtype!r}")
    with beside(Path(text.rpartition(":")[0])):
        network = trace(module, shape, text, dtype, counts=counts)
    return replace(network, image_px=image_px, width=width)
