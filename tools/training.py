"""Training curves and the ablation study as a page: docs/training.md, training.svg, ablation.svg.

Curves: `himc train mobilenet_v1` with its defaults under FP32, plain BF16 and the arrays' arithmetic, three seeds
each; runs that docs/training.json already holds are not made again. The study: system/data/ablation.csv, of
tools/ablation.py. Run: python tools/training.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from system.explore.accuracy import rows

matplotlib.rcParams["svg.hashsalt"] = "himc"
DOCS = Path(__file__).resolve().parents[1] / "docs"
RECORD = DOCS / "training.json"
SEEDS = (0, 1, 2)
NUMERICS = {"fp32": "FP32", "bf16": "BF16, FP32 sums", "imc": "in-memory BF16"}
COLOURS = {"fp32": "#000000", "bf16": "#0072B2", "imc": "#D55E00"}
MODES = {"magnitude": ("#0072B2", "o"), "sticky": ("#009E73", "s"), "floor": ("#D55E00", "^")}
KEPT = ("network", "width", "dataset", "image_px", "parameters", "train_images", "test_images", "settings", "status",
        "steps", "versions")
Row = Mapping[str, str]
BASE = {"numerics": "imc", "lane_bits": "20", "lanes": "32", "align_mode": "magnitude", "alignment": "post",
        "accumulator": "fp32", "fixed_bits": "", "weight_gradient": "batched", "weights": "master"}


def train(numerics: str, seed: int) -> dict[str, Any]:
    """A run of the command, its curve rounded to what a plot shows."""
    himc = str(Path(sys.executable).parent / "himc")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([himc, "train", "mobilenet_v1", "--numerics", numerics, "--seed", str(seed), "--out",
                               folder, "--json", "-", "--quiet"], check=True, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "OMP_NUM_THREADS": "1"})
    found = json.loads(done.stdout)
    return {key: found[key] for key in KEPT} | {"loss": [round(x, 4) for x in found["loss"]],
                                                "accuracy": [round(x, 5) for x in found["accuracy"]]}


def curves() -> dict[str, dict[str, Any]]:
    """Every run, from the record or made now; "numerics/seed" -> record."""
    found: dict[str, dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for numerics in NUMERICS:
        for seed in SEEDS:
            if f"{numerics}/{seed}" not in found:
                found[f"{numerics}/{seed}"] = train(numerics, seed)
                RECORD.write_text(json.dumps(found, separators=(",", ":")) + "\n")
                print(f"{numerics}, seed {seed}: {found[f'{numerics}/{seed}']['accuracy'][-1]:.2%}", flush=True)
    return found


def finals(found: Mapping[str, Mapping[str, Any]], numerics: str) -> list[float]:
    """Test accuracy after the last epoch, by seed."""
    return [found[f"{numerics}/{seed}"]["accuracy"][-1] for seed in SEEDS]


def draw_curves(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Loss by step (running mean of an epoch) and test accuracy by epoch: a line a mean, a band a range of seeds."""
    figure, (loss, accuracy) = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    for numerics, name in NUMERICS.items():
        runs = [found[f"{numerics}/{seed}"] for seed in SEEDS]
        window = len(runs[0]["loss"]) // len(runs[0]["accuracy"])
        smooth = np.array([np.convolve(run["loss"], np.ones(window) / window, "valid") for run in runs])
        right = np.array([run["accuracy"] for run in runs])
        for axes, values, first in ((loss, smooth, window), (accuracy, right, 1)):
            x = np.arange(first, first + values.shape[1])
            axes.plot(x, values.mean(axis=0), color=COLOURS[numerics], label=name, linewidth=1.2)
            axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=COLOURS[numerics], alpha=0.18, lw=0)
    loss.set(yscale="log", xlabel="step", ylabel="training loss, mean of an epoch")
    accuracy.set(ylim=(0.8, 1.0), xticks=(1, 5, 10, 15, 20), xlabel="epoch", ylabel="test accuracy (share right)")
    accuracy.legend(loc="lower right")
    save(figure, "training.svg")


def save(figure: Any, name: str) -> None:
    """Without a date, so that the same figures give the same file."""
    figure.savefig(DOCS / name, metadata={"Date": None, "Creator": None})
    plt.close(figure)


@dataclass(frozen=True)
class Result:
    """A setting over its seeds. accuracy: None where a run diverged."""

    seeds: int
    diverged: int
    accuracy: float | None
    worst: float | None
    cosine: float
    least: float
    bias: float


def result(study: Sequence[Row], **setting: str) -> Result | None:
    """Of the rows that are like the base but for `setting`."""
    wanted = {**BASE, **setting}
    same = [row for row in study if all(row[name] == value for name, value in wanted.items())]
    return summary(same) if same else None


def summary(same: Sequence[Row]) -> Result:
    """Means over seeds; bias and cosines are each seed's median (and least) layer's."""
    right = [float(row["accuracy"]) for row in same if row["status"] == "done"]
    every = len(right) == len(same)
    return Result(len(same), len(same) - len(right), mean(right) if every else None, min(right) if every else None,
                  *(mean(float(row[name]) for row in same) for name in ("cosine_median", "cosine_least",
                                                                        "bias_median")))


def draw_study(study: Sequence[Row]) -> None:
    """Accuracy and gradients over lane width by way to align; what diverged stands at a guess among ten digits."""
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.4), layout="constrained")
    widths = sorted({int(row["lane_bits"]) for row in study if row["lane_bits"]})
    for mode, (colour, marker) in MODES.items():
        found = [(w, r) for w in widths if (r := result(study, align_mode=mode, lane_bits=str(w))) is not None]
        get: tuple[Callable[[Result], float], ...] = (
            lambda r: 0.1 if r.accuracy is None else r.accuracy, lambda r: r.cosine, lambda r: r.bias)
        for axis, value in zip(axes, get, strict=True):
            axis.plot([w for w, _ in found], [value(r) for _, r in found], color=colour, marker=marker, label=mode)
    titles = ("test accuracy (diverged: 0.1)", "cosine to FP64's gradient, median layer", "bias of the gradient")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xlabel="lane width (bits)", ylabel=title, xticks=widths)
        axis.tick_params(axis="x", labelsize=7)
    axes[2].set_yscale("log")
    axes[0].legend()
    save(figure, "ablation.svg")


def line(name: str, r: Result) -> str:
    """A table's row."""
    accuracy = "—" if r.accuracy is None else f"{r.accuracy:.1%}"
    worst = f"{r.diverged} of {r.seeds} diverge" if r.worst is None else f"{r.worst:.1%}"
    return f"| {name} | {r.seeds} | {accuracy} | {worst} | {r.cosine:.4f} | {r.least:.3f} | {r.bias:.2g} |"


def table(named: Sequence[tuple[str, Result | None]]) -> list[str]:
    """Settings with their results; settings without rows are left out."""
    return ["| setting | seeds | accuracy, mean | worst seed | cosine, median layer | least layer | bias |",
            "|---|---:|---:|---:|---:|---:|---:|", *(line(name, r) for name, r in named if r is not None), ""]


def page(found: Mapping[str, Mapping[str, Any]], study: Sequence[Row]) -> str:
    """The whole page."""
    first = found["imc/0"]
    widths = sorted({int(row["lane_bits"]) for row in study if row["lane_bits"]})
    plain = [(name, summary([row for row in study if row["numerics"] == key]))
             for key, name in NUMERICS.items() if key != "imc"]
    apart = 100 * (mean(finals(found, "imc")) - mean(finals(found, "fp32")))
    return "\n".join([
        "# Training on the arrays' arithmetic", "",
        f"Made by `python tools/training.py`. MobileNetV1 at width {first['width']:g} ({first['parameters']:,} "
        f"parameters) on scikit-learn's digits at {first['image_px']} px, {first['train_images']} images to train "
        f"and {first['test_images']} held out, `himc train`'s defaults: {first['steps']} steps of SGD with momentum, "
        f"32 lanes of 20 bits, torch {first['versions']['torch']}. The digits are an easy task; what training needs "
        "of an arithmetic shows in its gradients before it shows here.", "",
        "## Curves", "", "![loss and accuracy, mean and range of three seeds](training.svg)", "",
        "| arithmetic | " + " | ".join(f"seed {seed}" for seed in SEEDS) + " | mean |",
        "|---|" + "---:|" * (len(SEEDS) + 1),
        *(f"| {name} | " + " | ".join(f"{x:.2%}" for x in finals(found, key)) + f" | {mean(finals(found, key)):.2%} |"
          for key, name in NUMERICS.items()), "",
        f"Under the arrays' arithmetic the mean is {abs(apart):.2f} points {'above' if apart >= 0 else 'below'} "
        "FP32's, less than seeds differ.", "",
        "## What training needs of the arithmetic", "",
        "`tools/ablation.py` varies one thing at a time about 20-bit lanes, magnitude alignment after the product, "
        "FP32 sums and master weights (`system/data/ablation.csv`). Cosine and bias compare each layer's weight "
        "gradient with FP64's on one batch, on weights that five epochs of FP32 left; bias is the mean error over "
        "the root mean square. Settings that only the scalar loops compute have one seed.", "",
        "![accuracy, cosine and bias over lane width](ablation.svg)", "",
        "### References", "", *table(plain),
        *(text for mode in MODES for text in (f"### Lane width, {mode}", "", *table(
            [(f"{w} bits", result(study, align_mode=mode, lane_bits=str(w))) for w in widths]))),
        "### Everything else", "", *table([
            ("the base", result(study)),
            *((f"{n} lanes", result(study, lanes=str(n))) for n in (9, 16, 64)),
            ("weights in BF16 alone", result(study, weights="bf16")),
            ("BF16, stochastic rounding", result(study, weights="stochastic")),
            ("BF16, Kahan sums", result(study, weights="kahan")),
            ("weight gradient by outer products", result(study, weight_gradient="outer")),
            ("aligned before the product, 16 bits", result(study, alignment="pre", lane_bits="16")),
            ("aligned before the product, 20 bits", result(study, alignment="pre")),
            *((f"BF16 accumulators, {w}-bit lanes", result(study, accumulator="bf16", lane_bits=str(w)))
              for w in (8, 12, 20)),
            *((f"fixed-point accumulators of {w} bits", result(study, accumulator="fixed", fixed_bits=str(w)))
              for w in (12, 16, 24, 32))]),
        "Truncation toward minus infinity (`floor`, what dropping two's complement bits does) biases every sum "
        "the same way: where lanes are narrow it diverges or learns next to nothing, and it needs one to two bits"
        " more than truncation of the magnitude for the same direction of the gradient, four more for the same "
        "bias. Narrow lanes under `magnitude` lose the direction of single layers' gradients long before they "
        "lose accuracy on this task, so accuracy alone cannot choose a lane width.", ""])


def texts() -> dict[Path, str]:
    """The page from what was recorded; nothing is trained."""
    return {DOCS / "training.md": page(json.loads(RECORD.read_text(encoding="utf-8")), rows())}


def main() -> None:
    """Train what is missing, draw, write."""
    found = curves()
    draw_curves(found)
    draw_study(rows())
    for file, text in texts().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
