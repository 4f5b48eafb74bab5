"""A short, real training run: MobileNetV1 at reduced width on scikit-learn's digits, 32 × 32, in two arithmetics.

The same seed gives the same initial weights, the same order of images and the same schedule; only the
arithmetic of the products differs. The data travel with scikit-learn (UCI optical digits, 1,797 images of
8 × 8, enlarged here without interpolation).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics.arithmetic import Arithmetic
from system.train.activity import Recorder
from system.train.convert import convert
from system.train.mobilenet import mobilenet_v1

NUMERICS = ("fp32", "imc")
IMAGE_PX, TEST_SHARE = 32, 0.2
#: progress(name of the arithmetic, steps done, steps in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on."""

    width: float = 0.125
    epochs: int = 5
    batch: int = 64
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 1e-4
    seed: int = 0
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "batch", "rate"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name}: must be above 0, got {getattr(self, name):g}")


@dataclass(frozen=True)
class Curve:
    """loss: mean of each step's batch. accuracy: share of right test images after each epoch."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class TrainingRecord:
    """Both curves, the settings, and the activity that the arrays saw (mean by pass)."""

    settings: Settings
    fp32: Curve
    imc: Curve
    activity: dict[str, dict[str, float]]
    train_images: int
    test_images: int

    def to_json(self) -> dict[str, Any]:
        """Plain data: {"fp32": {"loss": […], "accuracy": […], …}, "imc": {…}, "activity", "settings", …}."""
        return {
            "network": "mobilenet_v1", "dataset": "digits", "image_px": IMAGE_PX, "settings": asdict(self.settings),
            "train_images": self.train_images, "test_images": self.test_images, "activity": self.activity,
            **{name: {"loss": list(curve.loss), "accuracy": list(curve.accuracy), "seconds": curve.seconds}
               for name, curve in (("fp32", self.fp32), ("imc", self.imc))},
        }


def digits(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(train images, train labels, test images, test labels); images (n, 1, 32, 32), mean 0 and deviation 1."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = np.repeat(np.repeat(data.images, IMAGE_PX // 8, axis=1), IMAGE_PX // 8, axis=2)
    images = ((images - images.mean()) / images.std()).astype(np.float32)[:, None]
    order = np.random.default_rng(seed).permutation(len(images))
    test = int(len(images) * TEST_SHARE)
    x, y = torch.from_numpy(images[order]), torch.from_numpy(data.target[order].astype(np.int64))
    return x[test:], y[test:], x[:test], y[:test]


def train_one(numerics: str, settings: Settings, recorder: Recorder | None = None,
              progress: Progress | None = None) -> Curve:
    """Train once under "fp32" or "imc". Deterministic by the seed."""
    if numerics not in NUMERICS:
        raise BadInput(f"numerics: {', '.join(NUMERICS)} are allowed, got '{numerics}'")
    torch.set_num_threads(1)  # layers this small lose time to a second thread; the arrays' kernel has its own
    begin = time.perf_counter()
    torch.manual_seed(settings.seed)
    model: nn.Module = mobilenet_v1(settings.width, classes=10, channels=1)
    if numerics == "imc":
        convert(model, settings.arithmetic, recorder)
    x, y, x_test, y_test = digits(settings.seed)
    batches = len(x) // settings.batch
    if batches < 1:
        raise BadInput(f"batch: at most {len(x)} images are there, got {settings.batch}")
    steps = settings.epochs * batches
    optimiser = torch.optim.SGD(model.parameters(), settings.rate, settings.momentum, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.rate, total_steps=steps)
    order = torch.Generator().manual_seed(settings.seed)
    loss_curve, accuracy_curve = [], []
    for _ in range(settings.epochs):
        model.train()
        shuffled = torch.randperm(len(x), generator=order)
        for batch in range(batches):
            chosen = shuffled[batch * settings.batch:(batch + 1) * settings.batch]
            optimiser.zero_grad()
            loss = functional.cross_entropy(model(x[chosen]), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            loss_curve.append(float(loss.detach()))
            if progress is not None:
                progress(numerics, len(loss_curve), steps)
        model.eval()
        with torch.no_grad():
            right = (model(x_test).argmax(dim=1) == y_test).float().mean()
        accuracy_curve.append(float(right))
    return Curve(tuple(loss_curve), tuple(accuracy_curve), time.perf_counter() - begin)


def train_digits(settings: Settings | None = None, progress: Progress | None = None) -> TrainingRecord:
    """Both runs: FP32, and the in-memory arithmetic with its activity recorded."""
    chosen = settings or Settings()
    recorder = Recorder()
    plain = train_one("fp32", chosen, progress=progress)
    array = train_one("imc", chosen, recorder, progress)
    x, _, x_test, _ = digits(chosen.seed)
    return TrainingRecord(chosen, plain, array, recorder.summary(), len(x), len(x_test))
