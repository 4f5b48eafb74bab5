"""Every kernel against the oracle, bit for bit: a stride here, ten million sums a kind and kernel in `make validate`.

The wide oracle judges, since it is fast; exact fractions judge the wide oracle and the scalar twin on a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import wide_oracle
from drawn import KINDS, arithmetic, operands
from exact_oracle import bf16_pattern, dot, fp32_pattern, lane_dot

from system.numerics import compiled, native, scalar, vectorised
from system.numerics.arithmetic import ALIGN_MODES, Arithmetic
from system.numerics.formats import F32, Codes, values_of

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here, and the oracle needs one")
SOME, ALL = 20_000, 10_000_000
Patterns = npt.NDArray[np.uint32]
Kernel = Callable[[Codes, Codes, Arithmetic, bool, bool], F32]


def by_vectors(x: Codes, w: Codes, a: Arithmetic, lanes_alone: bool, rounded: bool) -> F32:
    """What :mod:`compiled` gives; the C++ kernels where they take the arithmetic."""
    if lanes_alone:
        return compiled.lane_values(w, x, a) if rounded else compiled.lanes_fp32(w, x, a)
    return compiled.dot_values(x, w, a) if rounded else compiled.fused_fp32(x, w, a)


def by_loops(x: Codes, w: Codes, a: Arithmetic, lanes_alone: bool, rounded: bool) -> F32:
    """The same with numba's loops, as where no compiler is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "library", lambda: None)
        return by_vectors(x, w, a, lanes_alone, rounded)


def by_numpy(x: Codes, w: Codes, a: Arithmetic, lanes_alone: bool, rounded: bool) -> F32:
    result = "bf16" if rounded else "fp32"
    found = [vectorised.lane_dot(w[g], x[g], a, result) if lanes_alone else vectorised.dot(x[g], w[g], a, result)
             for g in range(len(x))]
    return np.stack([values_of(f.astype(np.uint16)) if rounded else np.asarray(f, np.float32) for f in found])


KERNELS: dict[str, Kernel] = {"C++": by_vectors, "numba": by_loops, "NumPy": by_numpy}


def patterns(found: F32) -> Patterns:
    bits = np.ascontiguousarray(found).view(np.uint32)
    assert set(bits[np.isnan(found)].tolist()) <= {0x7FC00000}, "a NaN that is not the canonical one"
    return bits


def in_vectors(a: Arithmetic, lanes_alone: bool) -> bool:
    """Whether the C++ kernels take it themselves."""
    return a.accumulator == "fp32" if lanes_alone else native.fits(a)


def compare(kind: str, count: int, seed: int) -> Counter[str]:
    """Sums of a kind compared, kernel by kernel, until each has seen `count`; no bit may differ."""
    rng, seen, lanes_alone = np.random.default_rng(seed), Counter[str](), kind.startswith("lanes")
    due = {name for name in KERNELS if name != "C++" or in_vectors(KINDS[kind], lanes_alone)}
    while any(seen[name] < count for name in due):
        a = arithmetic(rng, kind)
        x, w = operands(rng, a)
        rounded = bool(rng.integers(2))
        wanted = wide_oracle.products(x, w, a, lanes_alone)
        wanted = wide_oracle.bf16(wanted, a.saturate) if rounded else wanted
        for name in due:
            if seen[name] >= count or (name == "C++" and not in_vectors(a, lanes_alone)):
                continue
            found = patterns(KERNELS[name](x, w, a, lanes_alone, rounded))
            for g, i, j in np.argwhere(found != wanted)[:1]:
                pytest.fail(f"{name} under {a}: {found[g, i, j]:#010x}, the oracle has {wanted[g, i, j]:#010x} for "
                            f"{x[g, i].tolist()} and {w[g, j].tolist()}, in a product of {x.shape} by {w.shape}")
            seen[name] += wanted.size
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_some_sums_of_each_kind(kind: str) -> None:
    assert min(compare(kind, SOME, 1).values()) >= SOME


@pytest.mark.validate
@pytest.mark.parametrize("kind", KINDS)
def test_ten_million_sums_of_each_kind(kind: str) -> None:
    seen = compare(kind, ALL, 2)
    print(f"{kind}: 0 bits off in", ", ".join(f"{n:,} sums by {name}" for name, n in sorted(seen.items())))
    assert min(seen.values()) >= ALL


@pytest.mark.parametrize("kind", KINDS)
def test_the_wide_oracle_and_the_scalar_twin_hold_to_fractions(kind: str) -> None:
    rng, lanes_alone, checked = np.random.default_rng(3), kind.startswith("lanes"), 0
    while checked < 250:
        a = arithmetic(rng, kind)
        x, w = operands(rng, a)
        wide = wide_oracle.products(x, w, a, lanes_alone)
        results = wide_oracle.bf16(wide, a.saturate)
        for _ in range(5):
            g, i, j = (int(rng.integers(size)) for size in wide.shape)
            exact = lane_dot(w[g, j], x[g, i], a) if lanes_alone else dot(x[g, i], w[g, j], a)
            assert int(wide[g, i, j]) == fp32_pattern(exact), (a, x[g, i].tolist(), w[g, j].tolist())
            assert int(results[g, i, j]) == bf16_pattern(exact, a.saturate)
            codes = x[g, i].tolist(), w[g, j].tolist()
            twin = scalar.lane_dot(codes[1], codes[0], a, "fp32") if lanes_alone else scalar.dot(*codes, a, "fp32")
            assert twin == fp32_pattern(exact), (a, *codes)
            assert scalar.fp32_to_bf16(twin, a.saturate) << 16 == results[g, i, j]
            checked += 1


@pytest.mark.parametrize("mode", ALIGN_MODES)
def test_zeros_beside_every_exponent_at_every_guard(mode: str) -> None:
    """A tile of zeros beside one of a single exponent field: whatever the two make of the exponent, the sum is +0."""
    fields = np.arange(1, 255, dtype=np.uint16)
    one = np.repeat(fields[:, None] << np.uint16(7), 32, axis=1)[None]
    zero = np.zeros((1, 3, 32), np.uint16)
    half = one.copy()
    half[:, :, 16:] = 0
    for guard in range(-15, 11):
        a = Arithmetic(guard_bits=guard, align_mode=mode)
        assert native.fits(a)
        for x, w in ((zero, one), (one, zero), (zero, zero), (half, one[:, ::17]), (one[:, ::19], half)):
            wanted = wide_oracle.products(x, w, a, False)
            np.testing.assert_array_equal(patterns(compiled.fused_fp32(x, w, a)), wanted, f"guard {guard}")
            np.testing.assert_array_equal(patterns(by_loops(x, w, a, False, False)), wanted, f"guard {guard}")


@pytest.mark.parametrize("tile", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulator", ["fp32", "bf16"])
def test_a_tile_that_overflows_is_infinite_beside_one_that_would_call_it_back(tile: str, accumulator: str) -> None:
    """-1.5 * 2^127, then a tile of 2^128: rounded to FP32 it is infinite, although both add up to a number."""
    a = Arithmetic(lanes=4, tile_type=tile, accumulator=accumulator)
    big, half = 0x7F00, 0x7E80  # 2^127, 2^126
    x = np.array([[[half | 0x8000] * 3 + [0] + [big, big, 0, 0]]], np.uint16)
    w = np.full((1, 20, 8), 0x3F80, np.uint16)
    for kernel in KERNELS.values():
        assert (patterns(kernel(x, w, a, False, False)) == 0x7F800000).all()
