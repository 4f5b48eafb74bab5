"""A 4096³ product of each kind stays within 2 GB: no Hadamard tensor (128 GB in BF16) is ever laid out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.validate

GB = 1 << 30
PROGRAM = """
import json, resource
import numpy as np
from system.numerics import compiled
from system.numerics.arithmetic import Arithmetic
edge = 4096
codes = (np.random.default_rng(0).integers(0, 1 << 7, (2, 1, edge, edge)) + 0x3F80).astype(np.uint16)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
total = {call}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"peak": peak, "finite": bool(np.isfinite(total).all()), "shape": total.shape}}))
"""


@pytest.mark.parametrize("call", ["compiled.fused_fp32(codes[0], codes[1], Arithmetic())",
                                  "compiled.lanes_fp32(codes[0], codes[1], Arithmetic())"])
def test_4096_cubed_within_2_gb(call: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(call=call)], capture_output=True, text=True,
                          check=True)
    found = json.loads(done.stdout)
    print(f"{call}: {found['peak'] / GB:.2f} GB")
    assert found["peak"] < 2 * GB
    assert found["finite"]
    assert found["shape"] == [1, 4096, 4096]
