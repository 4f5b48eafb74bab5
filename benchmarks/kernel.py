"""How fast the arrays' arithmetic runs beside the same machine's FP32 matrix product, multiply-accumulates a second.

Each kernel and NumPy's BLAS take turns on the same shape with the same number of threads; a figure is the median
over turns of the ratio of one turn. Shapes: squares, and MobileNetV1's pointwise layers (positions of four images ×
outputs × inputs). Run: python benchmarks/kernel.py; OMP_NUM_THREADS sets the threads (1). The last line is one JSON
object:

cpu_ratio_to_blas: fused tree, 32 lanes, magnitude, median over shapes; `..._9`, `..._16`, `..._64`: other lanes.
dx_ratio_to_blas: lane accumulation, median over shapes. gpu_ratio_to_matmul: the GPU kernel against the card's own
FP32 product, null without a card.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numba
import numpy as np

from system.numerics import compiled, gpu, native
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import round_to_bf16

SQUARES = ((512, 512, 512), (1024, 1024, 1024))
#: m = positions of four 224-px images, n = outputs, k = inputs
POINTWISE = ((12544, 128, 64), (3136, 256, 256), (784, 512, 512), (196, 1024, 1024))
THREADS = int(os.environ["OMP_NUM_THREADS"])
LANES = (32, 9, 16, 64)
TURNS = 7
#: seconds that one turn should take at least; short calls are repeated
TURN_S = 0.05


def seconds(call: Callable[[], object]) -> float:
    """Of one call, averaged over as many as fill a turn."""
    calls, begin = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        taken = time.perf_counter() - begin
        if taken > TURN_S:
            return taken / calls


def ratios(kernels: Mapping[str, Callable[[], object]], reference: Callable[[], object]) -> dict[str, float]:
    """Median over turns of reference time / kernel time: the kernel's rate as a share of the reference's."""
    for call in (reference, *kernels.values()):
        call()
    found: dict[str, list[float]] = {name: [] for name in kernels}
    for _ in range(TURNS):
        for name, call in kernels.items():
            found[name].append(seconds(reference) / seconds(call))
    return {name: median(values) for name, values in found.items()}


def on_shape(m: int, n: int, k: int) -> dict[str, float]:
    """Ratios of every kernel on one shape, and BLAS's rate in GMAC/s."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((m, k), np.float32), rng.standard_normal((n, k), np.float32)
    x, w = round_to_bf16(left)[None], round_to_bf16(right)[None]

    def product() -> object:
        return left @ right.T

    choices = {**{str(lanes): Arithmetic(lanes=lanes) for lanes in LANES},
               **{mode: Arithmetic(align_mode=mode) for mode in ("floor", "sticky")}}
    kernels: dict[str, Callable[[], object]] = {name: partial(compiled.fused_fp32, x, w, arithmetic)
                                                for name, arithmetic in choices.items()}
    kernels["dx"] = lambda: compiled.lanes_fp32(w, x, Arithmetic())
    found = ratios(kernels, product)
    return {"blas": m * n * k / seconds(product) / 1e9, **found}


def on_card() -> float | None:
    """The card's fused kernel as a share of its FP32 matrix product's rate (no TF32), median over the squares; None
    without a card. Bits are held to the CPU's first."""
    import torch

    if not torch.cuda.is_available() or not gpu.available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    found = []
    for m, n, k in SQUARES:
        left, right = torch.randn(m, k, device="cuda"), torch.randn(n, k, device="cuda")
        x, w = gpu.codes(left)[None], gpu.codes(right)[None]
        mine = gpu.fused_fp32(x, w, Arithmetic()).cpu().numpy()
        assert np.array_equal(mine, compiled.fused_fp32(gpu.to_numpy(x), gpu.to_numpy(w), Arithmetic()))
        calls = {"fused": partial(gpu.fused_fp32, x, w, Arithmetic()), "matmul": partial(torch.matmul, left, right.T)}
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(TURNS):
            for name, call in calls.items():
                torch.cuda.synchronize()
                begin = time.perf_counter()
                call()
                torch.cuda.synchronize()
                times[name].append(time.perf_counter() - begin)
        found.append(median(times["matmul"]) / median(times["fused"]))
        print(f"card, {m} × {n} × {k}: {found[-1]:.1%} of FP32 matrix product, same bits as the CPU's")
    return round(median(found), 4)


def main() -> None:
    numba.set_num_threads(THREADS)
    if native.library() is None:
        print("no C++ compiler: numba's loops are measured")
    print(f"{THREADS} thread(s); shares of BLAS's rate, medians of {TURNS} turns")
    columns = [*map(str, LANES), "floor", "sticky", "dx"]
    heads = " ".join(f"{c + ' lanes' if c.isdigit() else c:>9}" for c in columns)
    print(f"{'m × n × k':>20} {'BLAS GMAC/s':>12} {heads}")
    rows = []
    for shape in SQUARES + POINTWISE:
        row = on_shape(*shape)
        rows.append(row)
        print(f"{' × '.join(map(str, shape)):>20} {row['blas']:12.1f} " + " ".join(f"{row[c]:9.1%}" for c in columns))
    middle = {c: round(median(row[c] for row in rows), 4) for c in columns}
    result: dict[str, Any] = {"cpu_ratio_to_blas": middle["32"], "dx_ratio_to_blas": middle["dx"],
                              "gpu_ratio_to_matmul": on_card(), "threads": THREADS}
    result |= {f"cpu_ratio_to_blas_{c}": middle[c] for c in columns if c not in ("32", "dx")}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
