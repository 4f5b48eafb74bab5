"""One training step on images drawn on the device: what a card does when nothing feeds it.

Forward, loss, backward and SGD with momentum, of a named network, in FP32 (TF32 off), TF32, AMP (FP16 with a scaled
loss) or BF16 (autocast), the last two with FP32 weights.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from charlib.errors import BadInput, HimcError
from system.train.torch_networks import build

AUTOCAST = {"amp": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = ("fp32", "tf32", "amp", "bf16")


class DoesNotFit(HimcError):
    """The step needs more memory than the card has."""


class SyntheticStep:
    """A network, a batch of images and labels, and the optimiser, on one device."""

    def __init__(self, network: str, image_px: int, width: float, batch: int, precision: str, channels_last: bool,
                 device: str = "cuda", classes: int = 1000) -> None:
        if precision not in PRECISIONS:
            raise BadInput(f"precision: '{precision}' is not allowed; choose {', '.join(PRECISIONS)}")
        if batch < 1:
            raise BadInput(f"batch: must be at least 1, got {batch}")
        self.device = torch.device(device)
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        layout = torch.channels_last if channels_last else torch.contiguous_format
        draw = torch.Generator(device=self.device).manual_seed(0)
        self.images = torch.randn(batch, 3, image_px, image_px, device=self.device, generator=draw
                                  ).to(memory_format=layout)
        self.labels = torch.randint(classes, (batch,), device=self.device, generator=draw)
        model = build(network, width=width, classes=classes, image_px=image_px, channels=3)
        self.model: nn.Module = model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]
        self.model.train()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "amp")
        self.autocast = AUTOCAST.get(precision)
        self.last = torch.tensor(math.nan)

    def step(self) -> None:
        """Enqueue one step; on a card it may still run when this returns."""
        context: AbstractContextManager[object] = nullcontext()
        if self.autocast is not None:
            context = torch.autocast(self.device.type, dtype=self.autocast)
        try:
            self.optimiser.zero_grad(set_to_none=True)
            with context:
                loss = nn.functional.cross_entropy(self.model(self.images), self.labels)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimiser)
            self.scaler.update()
        except torch.OutOfMemoryError as error:
            raise DoesNotFit(str(error).split(". ")[0]) from error
        self.last = loss.detach()

    def synchronise(self) -> None:
        """Return when every enqueued step is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def loss(self) -> float:
        """Loss of the last step."""
        return float(self.last)


def make_step(network: str, image_px: int, width: float, batch: int, precision: str, channels_last: bool,
              device: str = "cuda") -> SyntheticStep:
    """A step with a card's memory freed before; DoesNotFit where its tensors do not fit."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    try:
        return SyntheticStep(network, image_px, width, batch, precision, channels_last, device)
    except torch.OutOfMemoryError as error:
        raise DoesNotFit(str(error).split(". ")[0]) from error


def cuda_identity(device: int) -> tuple[str, str]:
    """(UUID as NVML writes it or "", torch's version); HimcError where torch sees no such card."""
    if not torch.cuda.is_available():
        raise HimcError("gpu: no NVIDIA card that torch can use is here; run this on a machine with one, with its "
                        "driver and a CUDA build of torch")
    if not 0 <= device < torch.cuda.device_count():
        raise BadInput(f"device: '{device}' does not exist; give 0 to {torch.cuda.device_count() - 1}")
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return ("" if uuid is None else f"GPU-{uuid}"), torch.__version__
