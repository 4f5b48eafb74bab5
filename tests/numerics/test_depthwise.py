"""Depthwise kernels against matrix products of unfolded patches, bit for bit: the vectorised ones, and the oracle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import wide_oracle
from drawn import values

from system.numerics import depthwise, native, vectorised
from system.numerics.arithmetic import ALIGN_MODES, Arithmetic
from system.numerics.depthwise import Window, frame
from system.numerics.formats import F32, Codes, round_to_bf16, values_of

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler here")
WINDOWS = [Window((3, 3), (1, 1), (1, 1), (1, 1)), Window((3, 3), (2, 2), (1, 1), (1, 1)),
           Window((5, 3), (1, 2), (2, 0), (1, 1)), Window((3, 3), (1, 1), (2, 2), (2, 2))]
ARITHMETICS = [Arithmetic(), Arithmetic(align_mode="floor"), Arithmetic(align_mode="sticky", guard_bits=-3),
               Arithmetic(lanes=16, guard_bits=8)]


def patches(x: F32, window: Window) -> F32:
    """(n, h, w, c) -> (n, oh, ow, c, taps), taps row by row."""
    (top, left), (sy, sx), (dy, dx) = window.padding, window.stride, window.dilation
    framed = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    oh, ow = window.out(x.shape[1], x.shape[2])
    taken = [framed[:, i * dy:i * dy + (oh - 1) * sy + 1:sy, j * dx:j * dx + (ow - 1) * sx + 1:sx]
             for i in range(window.kernel[0]) for j in range(window.kernel[1])]
    return np.stack(taken, axis=-1)


def case(window: Window, seed: int = 1, channels: int = 18) -> tuple[F32, F32, F32]:
    rng = np.random.default_rng(seed)
    size = (3, 9, 8, channels)
    x = (rng.standard_normal(size) * 2.0 ** rng.integers(-9, 9, size)).astype(np.float32)
    x[rng.random(x.shape) < 0.4] = 0
    w = rng.standard_normal((channels, *window.kernel)).astype(np.float32)
    delta = (rng.standard_normal((3, *window.out(9, 8), channels)) * 2.0**-20).astype(np.float32)
    return x, w, delta


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_three_passes(window: Window, arithmetic: Arithmetic) -> None:
    x, w, delta = case(window)
    cut = round_to_bf16(patches(x, window))
    weights, errors = round_to_bf16(w.reshape(len(w), -1)), round_to_bf16(delta)
    forward = depthwise.forward(frame(x, window.padding), w, window, arithmetic)
    backward = depthwise.weight_gradient(frame(x, window.padding), frame(delta), window, arithmetic)
    inputs = depthwise.input_gradient(w, frame(delta), (9, 8), window, arithmetic)
    if weights.shape[1] > arithmetic.lanes:
        assert forward is None
        return
    assert forward is not None
    assert backward is not None
    assert inputs is not None
    wanted = np.zeros_like(patches(np.zeros_like(x), window))
    for c in range(len(w)):
        found = vectorised.dot(cut[..., c, :].reshape(-1, weights.shape[1]), weights[c:c + 1], arithmetic)
        np.testing.assert_array_equal(forward[..., c].ravel(), values_of(found.astype(np.uint16)).ravel())
        left = np.ascontiguousarray(errors[..., c].reshape(1, -1))
        right = np.ascontiguousarray(cut[..., c, :].reshape(-1, weights.shape[1]).T)
        np.testing.assert_array_equal(backward[c].ravel(), vectorised.dot(left, right, arithmetic, "fp32").ravel())
        d = vectorised.lane_dot(np.ascontiguousarray(weights[c:c + 1].T), errors[..., c].reshape(-1, 1), arithmetic)
        wanted[..., c, :] = values_of(d.astype(np.uint16)).reshape(*errors.shape[:3], -1)
    np.testing.assert_array_equal(inputs, folded(wanted, window))


def folded(products: F32, window: Window) -> F32:
    """Input gradients of each tap added in FP32, in ascending tap."""
    (top, left), (sy, sx), (dy, dx) = window.padding, window.stride, window.dilation
    n, oh, ow, c, _ = products.shape
    framed = np.zeros((n, 9 + 2 * top, 8 + 2 * left, c), np.float32)
    for i in range(window.kernel[0]):
        for j in range(window.kernel[1]):
            framed[:, i * dy:i * dy + (oh - 1) * sy + 1:sy, j * dx:j * dx + (ow - 1) * sx + 1:sx] += \
                products[..., i * window.kernel[1] + j]
    return framed[:, top:top + 9, left:left + 8]


def test_where_it_does_not_apply() -> None:
    window = WINDOWS[0]
    x, w, delta = case(window)
    assert depthwise.forward(frame(x, window.padding), w, window, Arithmetic(lanes=8)) is None
    assert depthwise.forward(frame(x, window.padding), w, window, Arithmetic(tile_type="bf16")) is None
    assert depthwise.forward(frame(x, window.padding), w, window, Arithmetic(accumulator="bf16")) is None
    far = x.copy()
    far[0, 0, 0, 0], far[0, 0, 0, 1] = 2.0**-100, 2.0**100
    assert depthwise.forward(frame(far, window.padding), w * np.float32(2.0**-20), window, Arithmetic()) is None
    far[0, 0, 0, 0] = np.inf
    assert depthwise.forward(frame(far, window.padding), w, window, Arithmetic()) is None
    assert depthwise.weight_gradient(frame(far, window.padding), frame(delta), window, Arithmetic()) is None
    assert depthwise.input_gradient(np.full_like(w, np.nan), frame(delta), (9, 8), window, Arithmetic()) is None


def test_nothing_but_zeros() -> None:
    window = WINDOWS[0]
    x, w, _ = case(window)
    zero = depthwise.forward(frame(np.zeros_like(x), window.padding), w, window, Arithmetic())
    assert zero is not None
    assert not zero.any()


def by_channel(x: F32) -> Codes:
    """(n, h, w, c) or (n, h, w, c, taps) as codes (c, n·h·w, 1 or taps)."""
    wide = x if x.ndim == 5 else x[..., None]
    codes = round_to_bf16(np.ascontiguousarray(wide.transpose(3, 0, 1, 2, 4)))
    return codes.reshape(x.shape[3], -1, wide.shape[4])


def exact_passes(x: F32, w: F32, delta: F32, window: Window, a: Arithmetic) -> dict[str, wide_oracle.Patterns]:
    """What the oracle makes of the three passes, as FP32 patterns."""
    cut, errors, words = by_channel(patches(x, window)), by_channel(delta), round_to_bf16(w.reshape(len(w), 1, -1))
    forward = wide_oracle.bf16(wide_oracle.products(cut, words, a, False), a.saturate)
    weights = wide_oracle.products(errors.transpose(0, 2, 1), cut.transpose(0, 2, 1), a, False)
    each = wide_oracle.products(errors, words.transpose(0, 2, 1), a, True)
    each = wide_oracle.bf16(each, a.saturate).reshape(len(w), *delta.shape[:3], -1)
    (top, left), (sy, sx), (dy, dx) = window.padding, window.stride, window.dilation
    (n, height, width, c), (oh, ow) = x.shape, delta.shape[1:3]
    framed = np.zeros((c, n, height + 2 * top, width + 2 * left), np.uint32)
    for tap in range(each.shape[-1]):
        i, j = divmod(tap, window.kernel[1])
        part = framed[:, :, i * dy:i * dy + (oh - 1) * sy + 1:sy, j * dx:j * dx + (ow - 1) * sx + 1:sx]
        part[...] = wide_oracle.add(part, each[..., tap])
    inputs = framed[:, :, top:top + height, left:left + width]
    forward = forward.reshape(c, *delta.shape[:3])
    return {"forward": np.ascontiguousarray(forward.transpose(1, 2, 3, 0)),
            "weights": weights.reshape(c, *window.kernel),
            "inputs": np.ascontiguousarray(inputs.transpose(1, 2, 3, 0))}


def found_passes(x: F32, w: F32, delta: F32, window: Window, a: Arithmetic) -> Iterator[tuple[str, F32]]:
    """Of the three passes those that the kernels take."""
    framed, errors = frame(x, window.padding), frame(delta)
    for name, found in (("forward", depthwise.forward(framed, w, window, a)),
                        ("weights", depthwise.weight_gradient(framed, errors, window, a)),
                        ("inputs", depthwise.input_gradient(w, errors, x.shape[1:3], window, a))):
        if found is not None:
            yield name, found


def drawn(rng: np.random.Generator, mode: str) -> tuple[F32, F32, F32, Window, Arithmetic]:
    """A convolution whose exponents are often as far apart as the kernels take, and a little farther."""
    window = WINDOWS[rng.integers(len(WINDOWS))] if rng.random() < 0.6 else Window((1, 2), (1, 1), (0, 0), (1, 1))
    lanes = int(rng.choice((16, 32, 64)))
    a = Arithmetic(lanes, int(rng.integers(-15, 10)), mode, saturate=bool(rng.integers(2)))
    n, h, width, c = (int(rng.integers(low, high)) for low, high in ((1, 4), (5, 12), (5, 12), (1, 35)))
    spread = int(rng.choice((0, 4, 20, 40, 60)))
    middle = int(rng.integers(40, 210))
    other = int(np.clip(rng.integers(150, 360) - middle, 1, 254))
    x = values(rng, (n, h, width, c), middle, spread)
    return (x, values(rng, (c, *window.kernel), other, spread),
            values(rng, (n, *window.out(h, width), c), other, spread), window, a)


def compare(mode: str, count: int, seed: int) -> Counter[str]:
    """Sums of lanes compared with the oracle's, pass by pass, until each has seen `count`."""
    rng, seen = np.random.default_rng(seed), Counter[str]()
    while min(seen[name] for name in ("forward", "weights", "inputs")) < count:
        x, w, delta, window, a = drawn(rng, mode)
        wanted = None
        for name, found in found_passes(x, w, delta, window, a):
            if seen[name] >= count:
                continue
            wanted = exact_passes(x, w, delta, window, a) if wanted is None else wanted
            np.testing.assert_array_equal(found.view(np.uint32), wanted[name], f"{name} under {a}, {window}")
            seen[name] += delta.size if name != "weights" else w.size * -(-delta[..., 0].size // a.lanes)
    return seen


@pytest.mark.parametrize("mode", ALIGN_MODES)
def test_some_sums_against_the_oracle(mode: str) -> None:
    assert min(compare(mode, 30_000, 1).values()) >= 30_000


@pytest.mark.validate
@pytest.mark.parametrize("mode", ALIGN_MODES)
def test_ten_million_sums_against_the_oracle(mode: str) -> None:
    seen = compare(mode, 10_000_000, 2)
    print(f"depthwise, {mode}: 0 bits off in", ", ".join(f"{n:,} sums of {name}" for name, n in seen.items()))


@pytest.mark.parametrize("mode", ALIGN_MODES)
@pytest.mark.parametrize("guard", [-15, -10, -4, 0, 4, 9])
def test_what_lies_far_below_the_largest_leaves_its_trace(mode: str, guard: int) -> None:
    """2^(2e) and -2^-104 in one group: floor takes one step off, sticky sets its bit, however far apart they are."""
    window, a = Window((1, 2), (1, 1), (0, 0), (1, 1)), Arithmetic(guard_bits=guard, align_mode=mode)
    for e in (-40, -10, 0, 10, 20, 30, 40, 50):
        x = np.array([2.0**e, -(2.0**-52)], np.float32).reshape(1, 1, 2, 1)
        w = np.array([2.0**e, 2.0**-52], np.float32).reshape(1, 1, 2)
        delta = np.ones((1, 1, 1, 1), np.float32)
        wanted = exact_passes(x, w, delta, window, a)
        for name, found in found_passes(x, w, delta, window, a):
            np.testing.assert_array_equal(found.view(np.uint32), wanted[name], f"{name}, 2^{2 * e}")
