"""The vector kernels in C++: compiled on first use by the machine's own compiler, kept in the cache.

Nothing depends on them: where no compiler is found, where it fails (that is said), or where HIMC_NATIVE is 0,
:mod:`system.numerics.compiled` computes the same bits with numba, some thirty times slower. The library's file name
is a hash of the source, the compiler, its flags and the processor, so a change of any of them compiles again (a few
seconds); :mod:`system.numerics.kept` says when a library that lies there is run. Where the cache cannot keep one, it
is compiled for the process alone, which is said. No flag changes a bit: what a processor's fused multiply-add decides
is written out in native.h, and the compiler is told to fuse nothing of its own accord.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

from charlib.paths import cache_dir
from system.numerics import kept
from system.numerics.arithmetic import ALIGN_MODES, PRODUCT_BITS, Arithmetic
from system.numerics.formats import F32, Codes

SOURCES = ("native.h", "native.cpp", "depthwise.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O3", "-ffp-contract=off", "-std=gnu++17", "-shared", "-fPIC", "-Wno-psabi")
#: how compilers are asked for this machine's own registers; the last works everywhere, on fewer of them
MACHINES = (("-march=native",), ("-mcpu=native",), ())
#: rows of a panel in native.cpp: flags are written in whole panels
PANEL = 64
#: a sum of lanes is a 32-bit integer
SUM_BITS = 31
#: multiply-accumulates below which a second thread does not pay
SMALL_MACS = 200_000
_P, _L, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_OPERANDS = (_P, _L, _L, _P, _L, _L, _L, _L, _L)
Flags = npt.NDArray[np.bool_]


def compiler() -> str | None:
    """The C++ compiler that would be used: $CXX, or the first of COMPILERS on the path."""
    chosen = os.environ.get("CXX", "")
    return shutil.which(chosen) if chosen else next((p for name in COMPILERS if (p := shutil.which(name))), None)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they cannot be had; a compiler that fails is told of."""
    found, why = attempt()
    if why:
        warnings.warn(f"vector kernels: {compiler()} could not build them ({why}); numba's loops give the same bits, "
                      "some 20 times more slowly; set CXX to another compiler (GCC 12 or later), or HIMC_NATIVE=0",
                      stacklevel=2)
    return found


def attempt() -> tuple[ctypes.CDLL | None, str]:
    """The compiled kernels, or None and why they could not be built; no reason where they were not asked for."""
    path, why = compiler(), ""
    if path is None or os.environ.get("HIMC_NATIVE", "1") == "0":
        return None, ""
    for machine in MACHINES:
        try:
            return _declared(_opened(path, (*machine, *FLAGS))), ""
        except (OSError, subprocess.SubprocessError) as error:
            why = why or _reason(error)
    return None, why


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    """The compiler's own complaint where there is one."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    said = bytes(error.stderr or b"").decode(errors="replace").splitlines()
    return next((line.strip() for line in said if "error" in line), f"exit status {error.returncode}")


def _opened(path: str, flags: Sequence[str]) -> ctypes.CDLL:
    """The library that this compiler makes with these flags, compiled where the cache has none that may be run."""
    folder = resources.files("system.numerics")
    sources = {name: folder.joinpath(name).read_bytes() for name in SOURCES}
    digest = hashlib.sha256(b"\0".join(sources.values()))
    for text in (path, str(Path(path).stat().st_mtime_ns), *flags, platform.machine(), _processor()):
        digest.update(text.encode() + b"\0")
    folder, name = cache_dir() / "native", f"kernels-{digest.hexdigest()[:16]}.so"
    unusable = kept.usable_folder(folder)
    if not unusable and kept.is_whole(folder / name):
        return ctypes.CDLL(str(folder / name))
    try:
        if unusable:
            raise OSError(0, unusable)
        _build(path, flags, sources, folder / name)
        return ctypes.CDLL(str(folder / name))
    except OSError as error:
        warnings.warn(f"vector kernels: {folder} cannot keep them ({error.strerror or error}), so they are compiled "
                      "for this process alone, some seconds each time; set HIMC_CACHE to a folder of your own",
                      stacklevel=4)
    with tempfile.TemporaryDirectory(prefix="himc-kernels-") as own:
        _build(path, flags, sources, Path(own) / name)
        return ctypes.CDLL(str(Path(own) / name))  # once it is loaded, its file may go


def _declared(found: ctypes.CDLL) -> ctypes.CDLL:
    """With its functions' types."""
    found.himc_fused.argtypes = (*_OPERANDS, _I, _I, _I, _I, _I, _I, _P, _L, _P, _P)
    found.himc_lanes.argtypes = (*_OPERANDS, _I, _P, _L, _P, _P)
    found.himc_codes.argtypes, found.himc_codes.restype = (_P, _P, _L, _I), None
    found.himc_round.argtypes, found.himc_round.restype = (_P, _L, _I), None
    found.himc_smallest.argtypes = (_P, _L)
    found.himc_frame.argtypes, found.himc_frame.restype = (_P, *[_L] * 5, _P, _P), None
    found.himc_depthwise.argtypes = (_P, _P, _P, _I, _I, _L, _I, _P)
    found.himc_depthwise_weights.argtypes = (_P, _P, _P, _I, _I, _I, _L, _L, _P)
    found.himc_depthwise_inputs.argtypes = (_P, _P, _P, _L, _L, _L, _P)
    return found


def _build(path: str, flags: Sequence[str], sources: Mapping[str, bytes], target: Path) -> None:
    """Compile beside the target and rename, so that two processes do not meet."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        for name, source in sources.items():
            (Path(folder) / name).write_bytes(source)
        units = [str(Path(folder) / name) for name in sources if name.endswith(".cpp")]
        command = [path, *flags, "-o", str(made), *units, "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        kept.keep(made, target)


def fits(arithmetic: Arithmetic) -> bool:
    """Whether the fused kernel takes this arithmetic: aligned products whose sum is a 32-bit integer."""
    bits = PRODUCT_BITS + arithmetic.guard_bits + max(1, arithmetic.lanes - 1).bit_length()
    return bits <= SUM_BITS and arithmetic.alignment == "post"


def threads() -> int:
    """Threads of the kernels: numba's setting, so that one call or variable governs both."""
    return int(numba.get_num_threads())


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="himc-kernel")


def in_threads(jobs: Sequence[Callable[[], int]], macs: int) -> None:
    """Run kernel calls, each of which returns 0; the calls write to places of their own. MemoryError otherwise."""
    workers = min(threads(), len(jobs))
    if workers < 2 or macs < SMALL_MACS:
        codes = [job() for job in jobs]
    else:
        codes = list(_pool(workers).map(lambda job: job(), jobs))
    if any(codes):
        raise MemoryError("the kernel found no memory for its panels")


def _strides(codes: Codes) -> tuple[int, int]:
    """Of the last two axes, in codes."""
    return codes.strides[-2] // 2, codes.strides[-1] // 2


def _spans(count: int, parts: int) -> list[tuple[int, int]]:
    """Cut `count` rows into at most `parts` runs of whole panels."""
    panels = -(-count // PANEL)
    edges = [min(count, (panels * k // parts) * PANEL) for k in range(parts)] + [count]
    return [(a, b) for a, b in pairwise(edges) if b > a]


class Operands:
    """x (g, m, k) and w (g, n, k), any strides; calls of one kernel over groups and spans of rows."""

    def __init__(self, x: Codes, w: Codes) -> None:
        self.x, self.w = x, w
        self.groups, self.m, self.depth = x.shape
        self.n = w.shape[1]
        self.total = np.zeros((self.groups, self.m, self.n), dtype=np.float32)
        self._bad_x = np.zeros((self.groups, self.m + PANEL), dtype=np.uint8)
        self._bad_w = np.zeros((self.groups, self.n + PANEL), dtype=np.uint8)

    @property
    def special(self) -> tuple[Flags, Flags]:
        """Rows of x (g, m) and of w (g, n) that hold a NaN or an infinity; known after :meth:`run`."""
        return self._bad_x[:, :self.m] != 0, self._bad_w[:, :self.n] != 0

    def run(self, kernel: Callable[..., int], *rules: int) -> None:
        """Call himc_fused or himc_lanes with its rules, the longer side cut between threads."""
        by_rows = self.m >= self.n
        spans = _spans(self.m if by_rows else self.n, max(1, threads() // self.groups))
        jobs = []
        for g in range(self.groups):
            for span in spans:
                rows, columns = (span, (0, self.n)) if by_rows else ((0, self.m), span)
                jobs.append(self._job(kernel, g, rows, columns, rules))
        in_threads(jobs, self.groups * self.m * self.n * self.depth)

    def _job(self, kernel: Callable[..., int], g: int, rows: tuple[int, int], columns: tuple[int, int],
             rules: tuple[int, ...]) -> Callable[[], int]:
        x, w = self.x[g, rows[0]:rows[1]], self.w[g, columns[0]:columns[1]]
        out = self.total[g, rows[0]:rows[1], columns[0]:columns[1]]
        bad_x, bad_w = self._bad_x[g, rows[0]:], self._bad_w[g, columns[0]:]
        return lambda: kernel(x.ctypes.data, *_strides(x), w.ctypes.data, *_strides(w), len(x), len(w), self.depth,
                              *rules, out.ctypes.data, self.n, bad_x.ctypes.data, bad_w.ctypes.data)


def _rounding(arithmetic: Arithmetic, rounded: bool) -> int:
    return 0 if not rounded else 2 if arithmetic.saturate else 1


def fused(x: Codes, w: Codes, arithmetic: Arithmetic, rounded: bool = False) -> Operands:
    """Fused-tree products into `total`, FP32 or rounded to BF16 values; needs :func:`library` and :func:`fits`."""
    found = library()
    assert found is not None
    operands = Operands(x, w)
    operands.run(found.himc_fused, arithmetic.lanes, arithmetic.guard_bits, ALIGN_MODES.index(arithmetic.align_mode),
                 int(arithmetic.tile_type == "bf16"), int(arithmetic.tile_accumulator == "bf16"),
                 _rounding(arithmetic, rounded))
    return operands


def lanes(delta: Codes, w: Codes, arithmetic: Arithmetic, rounded: bool = False) -> Operands:
    """Lane accumulation in FP32: delta (g, m, j), w (g, i, j); `total` may be rounded to BF16 values; needs
    :func:`library`."""
    found = library()
    assert found is not None
    operands = Operands(delta, w)
    operands.run(found.himc_lanes, _rounding(arithmetic, rounded))
    return operands


def smallest_exponent(codes: Codes) -> int:
    """Smallest exponent field among the codes that are not zero; 255 where all are."""
    found = library()
    assert found is not None
    flat = np.ascontiguousarray(codes)
    return int(found.himc_smallest(flat.ctypes.data, flat.size))


def codes_of(values: F32, saturate: bool = False) -> Codes:
    """BF16 codes of contiguous FP32 values; see formats.round_to_bf16."""
    found = library()
    assert found is not None
    flat = np.ascontiguousarray(values)
    result = np.empty(flat.shape, dtype=np.uint16)
    found.himc_codes(flat.ctypes.data, result.ctypes.data, flat.size, int(saturate))
    return result


def round_values(values: F32, saturate: bool = False) -> None:
    """Round contiguous FP32 values to BF16 values in place."""
    found = library()
    assert found is not None
    assert values.flags.c_contiguous
    found.himc_round(values.ctypes.data, values.size, int(saturate))
