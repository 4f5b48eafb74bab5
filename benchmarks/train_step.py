"""A training step under the arrays' arithmetic, activity recorded, beside the same step in FP32.

MobileNetV1 at width 0.5 on 32-px images and width 1.0 on 64-px images, batch 64, on random data: forward, loss,
backward, SGD with momentum. The steps take turns; a ratio is the median over turns. FP32 runs in both of torch's
memory layouts and the faster one is the reference. Run: python benchmarks/train_step.py; OMP_NUM_THREADS sets the
threads (1). The last line is one JSON object: step_ratio is the worse of the two sizes' ratios, recorder_share the
share of a step that recording takes, by turns with and without.
"""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numba
import torch
from torch import nn
from torch.nn import functional

from system.numerics import compiled, depthwise
from system.train import Recorder, convert, mobilenet_v1

THREADS = int(os.environ["OMP_NUM_THREADS"])
SIZES = ((0.5, 32), (1.0, 64))
BATCH, CLASSES, TURNS = 64, 10, 9
#: kernels by pass: who is called -> the pass whose time it is
KERNELS = {(compiled, "dot_values"): "forward", (depthwise, "forward"): "forward",
           (compiled, "lane_values"): "input gradient", (depthwise, "input_gradient"): "input gradient",
           (compiled, "fused_fp32"): "weight gradient", (depthwise, "weight_gradient"): "weight gradient"}


class Step:
    """One network with its optimiser and its batch; a call is one training step and gives its seconds."""

    def __init__(self, model: nn.Module, px: int, layout: torch.memory_format) -> None:
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload]
        self.x = torch.randn(BATCH, 3, px, px, generator=torch.Generator().manual_seed(1)).to(memory_format=layout)
        self.y = torch.arange(BATCH) % CLASSES
        self.optimiser = torch.optim.SGD(model.parameters(), 0.01, 0.9)

    def __call__(self) -> float:
        begin = time.perf_counter()
        self.optimiser.zero_grad()
        functional.cross_entropy(self.model(self.x), self.y).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return time.perf_counter() - begin


@contextmanager
def by_pass() -> Iterator[dict[str, float]]:
    """Seconds spent in the kernels of each pass meanwhile."""
    spent = dict.fromkeys(KERNELS.values(), 0.0)
    plain = {(module, name): getattr(module, name) for module, name in KERNELS}

    def timed(call: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            begin = time.perf_counter()
            result = call(*args)
            spent[kind] += time.perf_counter() - begin
            return result
        return run

    for (module, name), kind in KERNELS.items():
        setattr(module, name, timed(plain[module, name], kind))
    try:
        yield spent
    finally:
        for (module, name), call in plain.items():
            setattr(module, name, call)


def measure(width: float, px: int) -> dict[str, float]:
    """Median seconds and ratios of one size."""
    torch.manual_seed(0)
    model = mobilenet_v1(width, CLASSES)
    last, first = torch.channels_last, torch.contiguous_format
    steps = {
        "fp32": Step(copy.deepcopy(model), px, first),
        "fp32, channels last": Step(copy.deepcopy(model), px, last),
        "imc": Step(convert(copy.deepcopy(model), recorder=Recorder()), px, last),
        "imc, not recorded": Step(convert(copy.deepcopy(model)), px, last),
    }
    for step in steps.values():
        step()
    turns = [{name: step() for name, step in steps.items()} for _ in range(TURNS)]
    with by_pass() as spent:
        whole = steps["imc"]()
    taken = {name: median(turn[name] for turn in turns) for name in steps}
    for name, seconds in taken.items():
        print(f"  {name:20} {seconds * 1e3:8.1f} ms")
    parts = ", ".join(f"{kind} {seconds * 1e3:.1f}" for kind, seconds in spent.items())
    print(f"  of one imc step, ms: {parts}, all else {(whole - sum(spent.values())) * 1e3:.1f}")
    plain = min("fp32", "fp32, channels last", key=lambda name: taken[name])
    return {"ratio": median(turn["imc"] / turn[plain] for turn in turns),
            "ratio_default": median(turn["imc"] / turn["fp32"] for turn in turns),
            "recorder": median(1 - turn["imc, not recorded"] / turn["imc"] for turn in turns)}


def main() -> None:
    torch.set_num_threads(THREADS)
    numba.set_num_threads(THREADS)
    rows = []
    for width, px in SIZES:
        print(f"MobileNetV1, width {width:g}, {px} px, batch {BATCH}, {THREADS} thread(s)")
        rows.append(measure(width, px))
        print(f"  ratio to the faster FP32 layout {rows[-1]['ratio']:.2f}, to torch's default "
              f"{rows[-1]['ratio_default']:.2f}")
    print(json.dumps({"step_ratio": round(max(r["ratio"] for r in rows), 3),
                      "step_ratio_default_layout": round(max(r["ratio_default"] for r in rows), 3),
                      "recorder_share": round(max(r["recorder"] for r in rows), 4), "threads": THREADS}))


if __name__ == "__main__":
    main()
