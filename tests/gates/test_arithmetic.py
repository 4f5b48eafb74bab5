"""Integer circuits against Python integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from charlib.errors import BadInput
from charlib.gates import Block, Builder, Word, simulate
from charlib.gates import arithmetic as a
from charlib.gates.fan_out import FAN_OUT_LIMIT, buffered
from charlib.gates.operands import bits_of

RNG = np.random.Generator(np.random.Philox(7))
COUNT = 1500


def values(width: int, count: int = COUNT) -> np.ndarray:
    """Random words, the corners first."""
    found = RNG.integers(0, 1 << width, count)
    corners = [0, (1 << width) - 1, *(1 << k for k in range(width))]
    found[:len(corners)] = corners[:count]
    return found


def number(bits: np.ndarray) -> np.ndarray:
    return np.asarray((bits.astype(np.int64) << np.arange(bits.shape[1])).sum(axis=1))


def run(make: Callable[[Builder, Word, Word], str | Word], x: np.ndarray, y: np.ndarray, wx: int,
        wy: int) -> np.ndarray:
    """The circuit's answer on words x and y."""
    b = Builder("t")
    block = b.block(z=make(b, b.word("x", wx), b.word("y", wy)))
    return number(simulate(block, np.hstack([bits_of(x, wx), bits_of(y, wy)])))


@pytest.mark.parametrize("adder", a.ADDERS)
@pytest.mark.parametrize("width", [1, 4, 7, 16, 27])
def test_adders_add_and_subtract(adder: str, width: int) -> None:
    x, y = values(width), RNG.permutation(values(width))
    assert np.array_equal(run(lambda b, p, q: a.add(b, p, q, "1", adder), x, y, width, width), x + y + 1)
    wanted = (x - y) % (1 << width) + ((x >= y).astype(np.int64) << width)
    got = run(lambda b, p, q: [*(found := a.subtract(b, p, q, adder))[0], found[1]], x, y, width, width)
    assert np.array_equal(got, wanted)
    assert np.array_equal(run(lambda b, p, q: a.increment(b, p, q[0], adder), x, y, width, width), x + (y & 1))


@pytest.mark.parametrize("width", [1, 2, 5, 16, 20])
def test_shifting_counting_and_comparing(width: int) -> None:
    x, by = values(width), RNG.integers(0, 64, COUNT)
    assert np.array_equal(run(lambda b, p, q: a.shift_right(b, p, q)[0], x, by, width, 6), x >> by)
    lost = (x & ((1 << by) - 1)) != 0
    assert np.array_equal(run(lambda b, p, q: a.shift_right(b, p, q, sticky=True)[1], x, by, width, 6), lost)
    assert np.array_equal(run(lambda b, p, q: a.shift_left(b, p, q), x, by, width, 6), (x << by) & ((1 << width) - 1))
    signed = x - ((x >> (width - 1)) << width)
    assert np.array_equal(run(lambda b, p, q: a.shift_right(b, p, q, fill=p[-1])[0], x, by, width, 6),
                          (signed >> by) & ((1 << width) - 1))
    some = x > 0
    zeros = run(lambda b, p, q: a.leading_zeros(b, p)[0], x, by, width, 6)
    assert np.array_equal(zeros[some], width - 1 - np.floor(np.log2(x[some])).astype(int))
    assert np.array_equal(run(lambda b, p, q: a.leading_zeros(b, p)[1], x, by, width, 6), x == 0)
    y = RNG.permutation(x)
    assert np.array_equal(run(a.maximum, x, y, width, width), np.maximum(x, y))
    assert np.array_equal(run(lambda b, p, q: a.at_least(b, p, q), x, y, width, width), x >= y)


@pytest.mark.parametrize("tree", ["ripple", "carry_save"])
@pytest.mark.parametrize("lanes", [2, 3, 9, 16])
@pytest.mark.parametrize("adder", a.ADDERS)
def test_signed_trees_sum(tree: str, lanes: int, adder: str) -> None:
    width, total = 9, 14
    x = RNG.integers(-(1 << (width - 1)), 1 << (width - 1), (400, lanes))
    b = Builder("t")
    block = b.block(s=a.sum_signed(b, [b.word(f"x{k}_", width) for k in range(lanes)], total, tree, adder))
    vectors = np.hstack([bits_of(x[:, k] % (1 << width), width) for k in range(lanes)])
    assert np.array_equal(number(simulate(block, vectors)), x.sum(axis=1) % (1 << total))


def test_rounding_is_to_nearest_even() -> None:
    x = np.arange(1 << 9)
    got = run(lambda b, p, q: a.round_nearest_even(b, p[3:], p[2], a.any_of(b, p[:2])), x, x, 9, 9)
    assert np.array_equal(got, np.rint(x / 8).astype(int))


def test_constants_cost_nothing() -> None:
    b = Builder("t")
    x = b.word("x", 4)
    total = a.add(b, x, a.constant(0, 4))
    assert total == [*x, "0"]
    assert b.mux(x[0], "1", "1") == "1"
    assert b.full("0", "0", x[1]) == (x[1], "0")


def test_buffers_keep_the_function_and_the_limit() -> None:
    b = Builder("t")
    x, s = b.word("x", 60), b.input("s")
    plain = b.block(y=[b.xor(bit, s) for bit in x])
    made = buffered(plain)
    counts: dict[str, int] = {}
    for instance in made.instances:
        for net in instance.inputs:
            counts[net] = counts.get(net, 0) + 1
    assert max(counts.values()) <= FAN_OUT_LIMIT
    vectors = RNG.integers(0, 2, (200, 61)).astype(np.uint8)
    assert np.array_equal(simulate(made, vectors), simulate(plain, vectors))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: a.add(Builder("t"), ["0"], ["1"], adder="fast"), "adder: ripple, carry_select, prefix are allowed"),
    (lambda: a.sum_signed(Builder("t"), [["0"]], 2, tree="wallace"), "tree: ripple, carry_save are allowed"),
    (lambda: buffered(Block("t", (), (), ()), 1), "limit: a buffer tree needs at least 2, got 1"),
])
def test_bad_parameters_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()
