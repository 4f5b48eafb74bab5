"""What training needs of the arithmetic: accuracy and gradients over lane width, alignment, accumulator and update.

MobileNetV1 (width 0.25) on the digits at 32 px, the recipe of `himc train`'s defaults, one row a setting and seed;
settings that only the loops compute have one seed.
Accuracy is of the held-out fifth after the last epoch. Gradients are compared with FP64's on one batch, with weights
that five epochs of FP32 training left. Rows already in the file are kept, so a run that was stopped goes on.
Run: python tools/ablation.py; it writes system/data/ablation.csv.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import torch

from system.numerics.arithmetic import Arithmetic
from system.train import Plan, Run, mobilenet_v1
from system.train.datasets import Dataset, open_dataset
from system.train.gradients import nearness

OUT = Path(__file__).resolve().parents[1] / "system" / "data" / "ablation.csv"
WIDTH, SEEDS, WARM_EPOCHS, BATCH = 0.25, (0, 1, 2), 5, 64
PRODUCT_BITS = 16
LANE_BITS = (4, 6, 7, 8, 9, 10, 12, 16, 20, 24)


@dataclass(frozen=True)
class Setting:
    """One way to compute; `numerics` is "imc", "bf16" or "fp32"."""

    numerics: str = "imc"
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    weights: str = "master"
    weight_gradient: str = "batched"

    def columns(self) -> dict[str, Any]:
        """The setting as it stands in the file; what an arithmetic without arrays has not is empty."""
        a = self.arithmetic
        own = {"lane_bits": a.lane_bits, "lanes": a.lanes, "align_mode": a.align_mode, "alignment": a.alignment,
               "accumulator": a.accumulator, "fixed_bits": a.fixed_bits if a.accumulator == "fixed" else "",
               "weight_gradient": self.weight_gradient}
        return {"numerics": self.numerics, **(own if self.numerics == "imc" else dict.fromkeys(own, "")),
                "weights": self.weights}


def settings() -> Iterator[Setting]:
    """Every setting of the study: one thing is varied at a time, lane width under each way to align."""
    yield Setting("fp32")
    yield Setting("bf16")
    for mode in ("magnitude", "floor", "sticky"):
        for bits in LANE_BITS:
            yield Setting(arithmetic=Arithmetic(guard_bits=bits - PRODUCT_BITS, align_mode=mode))
    for rule in ("bf16", "stochastic", "kahan"):
        yield Setting(weights=rule)
    yield Setting(weight_gradient="outer")
    for bits in (8, 12, 20):
        yield Setting(arithmetic=Arithmetic(guard_bits=bits - PRODUCT_BITS, accumulator="bf16"))
    for fixed_bits, guard in ((12, -6), (16, -4), (24, 4), (32, 4)):
        yield Setting(arithmetic=Arithmetic(accumulator="fixed", fixed_bits=fixed_bits, fixed_guard=guard))
    for guard in (0, 4):
        yield Setting(arithmetic=Arithmetic(guard_bits=guard, alignment="pre"))
    for lanes in (9, 16, 64):
        yield Setting(arithmetic=Arithmetic(lanes=lanes))


def fast(setting: Setting) -> bool:
    """Whether the vector kernels take it; what they leave to the loops is some twenty times slower."""
    return setting.arithmetic.alignment == "post" and setting.arithmetic.accumulator == "fp32"


def measure(setting: Setting, seed: int) -> dict[str, Any]:
    """One row."""
    torch.set_num_threads(1)
    data = open_dataset("digits", None, seed)
    plan = Plan(setting.numerics, setting.arithmetic, setting.weight_gradient, setting.weights, seed=seed)
    curve = Run(lambda: mobilenet_v1(WIDTH, data.classes, data.channels), data, plan).train()
    found = nearness(_warm(data, seed), *data.train_batch(torch.arange(BATCH)),
                     setting.numerics if setting.numerics != "imc" else setting.arithmetic, setting.weight_gradient)
    return setting.columns() | {
        "seed": seed, "status": curve.status, "steps": len(curve.loss),
        "accuracy": f"{curve.accuracy[-1]:.4f}" if curve.status == "done" else "",
        "cosine_median": f"{median(n.cosine for n in found):.6f}",
        "cosine_least": f"{min(n.cosine for n in found):.6f}",
        "bias_median": f"{median(abs(n.bias) for n in found):.3e}",
        "error_median": f"{median(n.error for n in found):.3e}"}


def _warm(data: Dataset, seed: int) -> torch.nn.Module:
    """The network after a few epochs of FP32."""
    run = Run(lambda: mobilenet_v1(WIDTH, data.classes, data.channels), data,
              replace(Plan("fp32", seed=seed), epochs=WARM_EPOCHS))
    run.train()
    model: torch.nn.Module = run.model
    return model


def main() -> None:
    """Measure what the file does not hold yet, a row at a time."""
    rows = list(csv.DictReader(OUT.read_text().splitlines()[1:])) if OUT.exists() else []
    wanted = [(setting, seed) for seed in SEEDS for setting in settings() if seed == SEEDS[0] or fast(setting)]

    def key(row: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in (*Setting().columns(), "seed"))

    done = {key(row) for row in rows}
    jobs = [(s, seed) for s, seed in wanted if key(s.columns() | {"seed": seed}) not in done]
    order = {key(s.columns() | {"seed": seed}): k for k, (s, seed) in enumerate(wanted)}
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        futures = {pool.submit(measure, *job): job for job in jobs}
        for count, future in enumerate(as_completed(futures), start=1):
            row = future.result()
            rows.append(row)
            write(sorted(rows, key=lambda r: order.get(key(r), len(order))))
            print(f"{count}/{len(jobs)}", *(f"{k}={v}" for k, v in row.items() if v != ""), file=sys.stderr)


def write(rows: list[dict[str, Any]]) -> None:
    """The whole file, with its origin in the first line."""
    plan = {k: v for k, v in asdict(Plan()).items()
            if k in ("epochs", "batch", "rate", "momentum", "decay", "schedule", "shift")}
    with OUT.with_suffix(".part").open("w", newline="", encoding="utf-8") as file:
        file.write(f"# tools/ablation.py: mobilenet_v1 width {WIDTH}, digits at 32 px, {plan}\n")
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    OUT.with_suffix(".part").replace(OUT)


if __name__ == "__main__":
    main()
