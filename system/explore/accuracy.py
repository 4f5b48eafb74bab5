"""What a lane's width costs in accuracy, from the ablation study of training on the digits.

Loss = mean accuracy in FP32 less mean accuracy of the width, over the seeds of `system/data/ablation.csv` (magnitude
alignment, FP32 accumulators, master weights), never below zero and never more than a narrower lane's: what differs
so between seeds is no effect of the arithmetic [inferred]. Widths between two measured ones are interpolated; below
or above all, the nearest stands.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

METRIC = "accuracy_loss"
_DEFAULT = {"numerics": "imc", "lanes": "32", "align_mode": "magnitude", "alignment": "post", "accumulator": "fp32",
            "weights": "master", "weight_gradient": "batched"}


def rows() -> list[dict[str, str]]:
    """The study, a row a setting and seed."""
    text = resources.files("system.data").joinpath("ablation.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@lru_cache
def _curve() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(lane widths, losses). A run that diverged counts as a guess among the digits."""
    study = rows()
    reference = np.mean([float(row["accuracy"]) for row in study if row["numerics"] == "fp32"])
    found: dict[float, list[float]] = {}
    for row in study:
        if all(row[name] == value for name, value in _DEFAULT.items()):
            found.setdefault(float(row["lane_bits"]), []).append(float(row["accuracy"] or 0.1))
    widths = sorted(found)
    losses = np.minimum.accumulate([max(0.0, float(reference - np.mean(found[width]))) for width in widths])
    return tuple(widths), tuple(float(loss) for loss in losses)


def accuracy_loss(lane_bits: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Share of test images, for each width."""
    widths, losses = _curve()
    return np.asarray(np.interp(np.asarray(lane_bits, dtype=float), widths, losses))
