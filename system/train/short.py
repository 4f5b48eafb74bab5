"""The short, real training of `himc run`: MobileNetV1 on digits, once in FP32 and once on the arrays.

The same seed gives the same initial weights, the same order of images and the same schedule; only the arithmetic of
the products differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from system.train.datasets import Dataset, open_dataset
from system.train.loop import Curve, Moment, Plan, Run
from system.train.mobilenet import mobilenet_v1

NUMERICS = ("fp32", "imc")
#: what `himc run` trains; about half a minute
SHORT = Plan(epochs=12)
WIDTH = 0.25
#: progress(name of the arithmetic, steps done, steps in all)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainingRecord:
    """Both curves, what they were made with, and the activity that the arrays saw (mean by pass)."""

    plan: Plan
    width: float
    data: Dataset
    fp32: Curve
    imc: Curve

    def to_json(self) -> dict[str, Any]:
        """Plain data: {"fp32": {"loss": […], "accuracy": […], …}, "imc": {…}, "activity", "settings", …}."""
        settings = {k: v for k, v in asdict(self.plan).items() if k != "numerics"}
        return {
            "network": "mobilenet_v1", "dataset": self.data.name, "image_px": self.data.image_px,
            "settings": {"width": self.width, **settings}, "train_images": self.data.train_count,
            "test_images": self.data.test_count, "activity": self.imc.activity.get("passes", {}),
            **{name: {"loss": list(curve.loss), "accuracy": list(curve.accuracy), "seconds": curve.seconds}
               for name, curve in (("fp32", self.fp32), ("imc", self.imc))},
        }


def train_digits(plan: Plan = SHORT, width: float = WIDTH, progress: Progress | None = None) -> TrainingRecord:
    """Both runs."""
    data = open_dataset("digits", None, plan.seed)
    curves = {}
    for name in NUMERICS:
        def watch(moment: Moment, name: str = name) -> None:
            if progress is not None:
                progress(name, moment.step, moment.steps)

        run = Run(lambda: mobilenet_v1(width, data.classes, data.channels), data, replace(plan, numerics=name))
        curves[name] = run.train(watch)
    return TrainingRecord(plan, width, data, curves["fp32"], curves["imc"])
