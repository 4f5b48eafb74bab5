"""The vector kernels hold to the vectorised arithmetic bit for bit, in every mode, shape, stride and special."""

from __future__ import annotations

import itertools
import platform
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import wide_oracle
from numba import get_num_threads, set_num_threads

from system.numerics import compiled, native, vectorised
from system.numerics.arithmetic import ALIGN_MODES, Arithmetic
from system.numerics.formats import Codes, round_to_bf16

needs_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")
MODES = [Arithmetic(lanes=lanes, guard_bits=guard, align_mode=mode)
         for lanes, guard, mode in itertools.product((4, 9, 32, 64), (-12, 0, 4, 9), ALIGN_MODES)]
TYPES = [Arithmetic(tile_type=tile, accumulator=accumulator, saturate=saturate)
         for tile, accumulator, saturate in itertools.product(("fp32", "bf16"), ("fp32", "bf16"), (False, True))]


def random_codes(rng: np.random.Generator, shape: tuple[int, ...], octaves: int, zeros: float = 0.3) -> Codes:
    values = rng.standard_normal(shape) * 2.0 ** rng.integers(-octaves, octaves + 1, shape)
    return round_to_bf16(np.where(rng.random(shape) < zeros, 0.0, values))


def same(found: npt.NDArray[np.generic], wanted: npt.NDArray[np.generic]) -> None:
    kind = np.uint16 if found.dtype == np.uint16 else np.uint32
    np.testing.assert_array_equal(found.view(kind), np.asarray(wanted).view(kind))


@needs_compiler
@pytest.mark.parametrize("arithmetic", MODES + TYPES)
def test_fused(arithmetic: Arithmetic) -> None:
    assert native.library() is not None
    assert native.fits(arithmetic)
    rng = np.random.default_rng(3)
    for m, n, k, octaves in ((5, 66, 70, 2), (65, 3, 9, 20), (9, 17, 33, 100)):
        x, w = random_codes(rng, (m, k), octaves), random_codes(rng, (n, k), octaves)
        for result in ("fp32", "bf16"):
            same(compiled.dot(x[None], w[None], arithmetic, result)[0], vectorised.dot(x, w, arithmetic, result))


@needs_compiler
def test_depth_beyond_a_packed_block() -> None:
    rng = np.random.default_rng(4)
    x, w = random_codes(rng, (3, 1300), 3), random_codes(rng, (70, 1300), 3)
    for arithmetic in (Arithmetic(), Arithmetic(lanes=9)):
        same(compiled.fused_fp32(x[None], w[None], arithmetic)[0], vectorised.dot(x, w, arithmetic, "fp32"))
    same(compiled.lanes_fp32(w[None], x[None], Arithmetic())[0], vectorised.lane_dot(w, x, Arithmetic(), "fp32"))


@needs_compiler
@pytest.mark.parametrize("octaves", [3, 60, 120])
def test_lanes(octaves: int) -> None:
    """At 120 octaves sums pass through subnormals, zeros of both signs and infinities."""
    rng = np.random.default_rng(5)
    x, w = random_codes(rng, (13, 150), octaves), random_codes(rng, (70, 150), octaves)
    same(compiled.lanes_fp32(w[None], x[None], Arithmetic())[0], vectorised.lane_dot(w, x, Arithmetic(), "fp32"))


@needs_compiler
def test_sign_of_a_zero_that_underflowed() -> None:
    """-0 by underflow, then a gated zero product: the sum stays -0, where an FMA would make it +0."""
    tiny = round_to_bf16(np.array([[2.0**-100, 0.0]]))
    w = round_to_bf16(np.array([[-(2.0**-100), 1.0]]))
    found = compiled.lanes_fp32(w[None], tiny[None], Arithmetic())
    assert np.signbit(found[0, 0, 0])
    same(found[0], vectorised.lane_dot(w, tiny, Arithmetic(), "fp32"))


@needs_compiler
def test_specials_touch_their_own_outputs() -> None:
    rng = np.random.default_rng(6)
    x, w = random_codes(rng, (2, 20, 40), 3), random_codes(rng, (2, 30, 40), 3)
    x[0, 3, 5], x[1, 7, 1], w[0, 2, 5], w[1, 4, 4] = 0x7F80, 0x7FC1, 0xFF80, 0xFFC0
    for g in range(2):
        same(compiled.fused_fp32(x, w, Arithmetic())[g], vectorised.dot(x[g], w[g], Arithmetic(), "fp32"))
        same(compiled.lanes_fp32(w, x, Arithmetic())[g], vectorised.lane_dot(w[g], x[g], Arithmetic(), "fp32"))


@needs_compiler
def test_any_strides() -> None:
    rng = np.random.default_rng(7)
    x, w = random_codes(rng, (70, 50), 3), random_codes(rng, (70, 40), 3)
    wanted = vectorised.dot(np.ascontiguousarray(x.T), np.ascontiguousarray(w.T), Arithmetic(), "fp32")
    same(compiled.fused_fp32(x.T[None], w.T[None], Arithmetic())[0], wanted)
    every_other = random_codes(rng, (1, 30, 140), 3)[:, :, ::2]
    same(compiled.fused_fp32(every_other, w.T[None], Arithmetic())[0],
         vectorised.dot(np.ascontiguousarray(every_other[0]), np.ascontiguousarray(w.T), Arithmetic(), "fp32"))


def test_thread_count_and_fallback_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    x, w = random_codes(rng, (1, 300, 64), 3), random_codes(rng, (1, 80, 64), 3)
    many = (compiled.fused_fp32(x, w, Arithmetic()), compiled.lanes_fp32(w, x, Arithmetic()))
    before = get_num_threads()
    set_num_threads(1)
    try:
        one = (compiled.fused_fp32(x, w, Arithmetic()), compiled.lanes_fp32(w, x, Arithmetic()))
    finally:
        set_num_threads(before)
    monkeypatch.setattr(native, "library", lambda: None)
    x[0, 3, 4] = 0x7F80
    without = (compiled.fused_fp32(x, w, Arithmetic()), compiled.lanes_fp32(w, x, Arithmetic()))
    for a, b, c in zip(many, one, without, strict=True):
        same(a, b)
        rest = np.arange(300) != 3
        same(a[:, rest], c[:, rest])
        assert not np.isfinite(c[0, 3]).all()


@needs_compiler
def test_rounding_of_elements() -> None:
    rng = np.random.default_rng(9)
    directed = np.array([0x7F7FFFFF, 0x7F800000, 0xFFC00001, 0x007FFFFF, 0x80000001, 0x3F808000], np.uint32)
    bits = np.concatenate([rng.integers(0, 2**32, 20_000, dtype=np.uint64).astype(np.uint32), directed])
    values = bits.view(np.float32)
    for saturate in (False, True):
        same(native.codes_of(values, saturate), round_to_bf16(values, saturate))


@needs_compiler
def test_a_compiler_that_fails_leaves_the_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'fatal error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(subprocess.SubprocessError):
        native._build(str(broken), native.FLAGS, {"native.cpp": b""}, tmp_path / "made.so")
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    native.library.cache_clear()
    try:
        with pytest.warns(UserWarning, match=r"^vector kernels: .*c\+\+ could not build them \(fatal error: no such "
                                             r"thing\); numba's loops give the same bits, .* HIMC_NATIVE=0$"):
            assert native.library() is None
    finally:
        native.library.cache_clear()


def hold_to_the_oracle() -> None:
    """Products in the middle, and where they overflow or lie among FP32's subnormals."""
    rng, a = np.random.default_rng(10), Arithmetic()
    for octaves in (3, 64, 74, 120):
        x, w = random_codes(rng, (1, 50, 60), octaves), random_codes(rng, (1, 70, 60), octaves)
        same(compiled.lanes_fp32(w, x, a), wide_oracle.products(x, w, a, True))
        same(compiled.fused_fp32(x, w, a), wide_oracle.products(x, w, a, False))


@needs_compiler
def test_a_compiler_that_does_not_know_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It builds for a plain processor, on x86 one without fused multiply-add: the same bits."""
    picky = tmp_path / "c++"
    picky.write_text(f'#!/bin/sh\ncase "$*" in *=native*) echo "error: unknown machine" >&2; exit 1;; esac\n'
                     f'exec {native.compiler()} "$@"\n')
    picky.chmod(0o755)
    monkeypatch.setenv("CXX", str(picky))
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    native.library.cache_clear()
    try:
        assert native.library() is not None
        hold_to_the_oracle()
    finally:
        native.library.cache_clear()


@needs_compiler
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="flags of x86")
@pytest.mark.parametrize("machine", [
    ("-march=haswell",),  # fused multiply-add on half the register
    pytest.param(("-march=haswell", "-mno-fma"), marks=pytest.mark.validate),
    pytest.param(("-march=native", "-mno-fma"), marks=pytest.mark.validate),
    pytest.param(("-march=native", "-O0"), marks=pytest.mark.validate)], ids=" ".join)
def test_no_flag_changes_a_bit(machine: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    path = native.compiler()
    assert path is not None
    made = native._declared(native._opened(path, (*native.FLAGS, *machine)))
    monkeypatch.setattr(native, "library", lambda: made)
    hold_to_the_oracle()
