"""The Triton kernels against the CPU's, bit for bit: on a card where there is one, else in Triton's interpreter.

The interpreter is chosen when Triton is imported, so the comparison runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from system.numerics import gpu
from system.numerics.formats import round_to_bf16, values_of

pytestmark = pytest.mark.train
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

COMPARE = """
import itertools, sys
import numpy as np, torch
from system.numerics import compiled, gpu
from system.numerics.arithmetic import Arithmetic

device = "cuda" if torch.cuda.is_available() else "cpu"
rng = np.random.default_rng(int(sys.argv[1]))

def some(shape, low, high, zeros):
    codes = rng.integers(low, high, shape) | rng.integers(0, 2, shape) << 15
    return np.where(rng.random(shape) < zeros, 0, codes).astype(np.uint16)

def there(codes):
    return torch.from_numpy(codes.view(np.int16)).to(device)

SPANS = {"near": (0x3E00, 0x4100), "wide": (0x2000, 0x5F00), "all": (0x0001, 0x7F80), "special": (0x7E00, 0x7FFF)}
runs = 0
for lanes, guard, mode, (name, span) in itertools.product((9, 16, 32, 64), (-12, -4, 0, 4, 8),
                                                           ("magnitude", "floor", "sticky"), SPANS.items()):
    if rng.random() > float(sys.argv[2]):
        continue
    a = Arithmetic(lanes, guard, mode, saturate=bool(rng.integers(2)))
    groups, m, n = (int(v) for v in rng.integers(1, (3, 40, 40)))
    k = int(rng.integers(1, 150))
    x, w = some((groups, m, k), *span, 0.1), some((groups, n, k), *span, 0.1)
    for theirs, ours in ((gpu.fused_fp32(there(x), there(w), a), compiled.fused_fp32(x, w, a)),
                         (gpu.dot_values(there(x), there(w), a), compiled.dot_values(x, w, a)),
                         (gpu.lane_values(there(w), there(x), a), compiled.lane_values(w, x, a)),
                         (gpu.lanes_fp32(there(w), there(x), a), compiled.lanes_fp32(w, x, a))):
        got = theirs.cpu().numpy().view(np.uint32)
        assert np.array_equal(got, ours.view(np.uint32)), (name, a, groups, m, n, k)
    runs += 1
fields = np.arange(1, 255, 5, dtype=np.uint16)
beside = there(np.repeat(fields[:, None] << np.uint16(7), 4, axis=1)[None])
nothing = gpu.fused_fp32(there(np.zeros((1, 2, 4), np.uint16)), beside, Arithmetic(4))
assert not nothing.cpu().numpy().view(np.uint32).any(), "a tile of zeros beside one exponent is not +0"
turned = there(x).transpose(1, 2).contiguous().transpose(1, 2)
assert torch.equal(gpu.fused_fp32(turned, there(w), a).isnan(), gpu.fused_fp32(there(x), there(w), a).isnan())

from torch import nn
from system.train import convert, functions
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 4)).to(device)
convert(net, weight_gradient=("batched", "outer")[int(sys.argv[1]) % 2])
image = torch.randn(2, 3, 5, 5).to(device)
grads = []
for there_too in (True, False):
    if not there_too:
        functions.gpu.takes = lambda x: False
    net.zero_grad()
    seen = image.clone().requires_grad_()
    net(seen).square().sum().backward()
    grads.append([seen.grad.cpu(), *(p.grad.cpu() for p in net.parameters())])
assert all(torch.equal(p, q) for p, q in zip(*grads)), "a network's gradients differ"
print(runs)
"""


def compare(seed: int, share: float) -> int:
    """How many arithmetics were compared."""
    here = {} if torch.cuda.is_available() else {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", COMPARE, str(seed), str(share)], capture_output=True, text=True,
                          env={**os.environ, **here}, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


@needs_triton
def test_a_sample_of_arithmetics_gives_the_same_bits() -> None:
    assert compare(0, 0.05) >= 5


@needs_triton
@pytest.mark.validate
def test_every_arithmetic_gives_the_same_bits() -> None:
    assert compare(1, 1.0) == 4 * 5 * 3 * 4


def test_rounding_on_the_device_is_the_cpus() -> None:
    bits = np.random.default_rng(2).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    bits[:8] = (0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x80000000, 0x00000001, 0x007FFFFF, 0x7FC00001, 0x3F808000)
    x = bits.view(np.float32)
    for saturate in (False, True):
        wanted = values_of(round_to_bf16(x, saturate))
        found = gpu.values(torch.from_numpy(x), saturate).numpy()
        assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))
    assert np.array_equal(gpu.to_numpy(gpu.codes(torch.from_numpy(x))), round_to_bf16(x))


def test_without_a_card_or_triton_nothing_goes_there() -> None:
    if not torch.cuda.is_available() and not gpu.interpreted():
        assert not gpu.takes(torch.zeros(2))
