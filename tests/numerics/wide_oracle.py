"""The wide oracle (wide_oracle.cpp) as functions of arrays; compiled for the tests alone, with plain flags."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from system.numerics import native
from system.numerics.arithmetic import ACCUMULATORS, ALIGN_MODES, STORED_GUARD_BITS, Arithmetic
from system.numerics.formats import Codes

Patterns = npt.NDArray[np.uint32]
SOURCE = Path(__file__).with_name("wide_oracle.cpp")


@cache
def library() -> ctypes.CDLL:
    """Built once a process; needs a compiler."""
    path = native.compiler()
    assert path is not None
    with tempfile.TemporaryDirectory() as folder:
        made = str(Path(folder) / "oracle.so")
        subprocess.run([path, "-O2", "-std=gnu++17", "-shared", "-fPIC", "-o", made, str(SOURCE)], check=True)
        return ctypes.CDLL(made)


def products(x: Codes, w: Codes, a: Arithmetic, lanes_alone: bool) -> Patterns:
    """x (g, m, k), w (g, n, k) -> FP32 patterns (g, m, n): the fused tree, or lane accumulation."""
    left, right = np.ascontiguousarray(x), np.ascontiguousarray(w)
    rules = np.array([a.lanes, a.guard_bits, ALIGN_MODES.index(a.align_mode), a.tile_type == "bf16",
                      ACCUMULATORS.index(a.accumulator), a.alignment == "pre", STORED_GUARD_BITS, a.fixed_bits,
                      a.fixed_guard], np.int32)
    out = np.empty((len(x), x.shape[1], w.shape[1]), np.uint32)
    library().oracle_products(_at(left), _at(right), *map(ctypes.c_int64, (*out.shape, x.shape[2])), _at(rules),
                              int(lanes_alone), _at(out))
    return out


def bf16(patterns: Patterns, saturate: bool) -> Patterns:
    """FP32 patterns as BF16 results, widened to FP32 patterns."""
    held, out = np.ascontiguousarray(patterns), np.empty(patterns.shape, np.uint32)
    library().oracle_bf16(_at(held), ctypes.c_int64(held.size), int(saturate), _at(out))
    return out


def add(a: Patterns, b: Patterns) -> Patterns:
    """Sums in FP32, element by element."""
    left, right, out = np.ascontiguousarray(a), np.ascontiguousarray(b), np.empty(a.shape, np.uint32)
    library().oracle_add(_at(left), _at(right), ctypes.c_int64(left.size), _at(out))
    return out


def _at(array: npt.NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
