"""Depthwise kernels against matrix products of unfolded patches, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from system.numerics import depthwise, native, vectorised
from system.numerics.arithmetic import Arithmetic
from system.numerics.depthwise import Window, frame
from system.numerics.formats import F32, round_to_bf16, values_of

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
