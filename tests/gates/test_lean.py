"""The lean forms of or, and, increment and the two shifts against Python integers, exhaustively in small widths."""

from __future__ import annotations

import numpy as np
import pytest

from charlib.gates import Builder, simulate
from charlib.gates import arithmetic as a
from charlib.gates.logic import bits_to_integers, integers_to_bits


@pytest.mark.parametrize("width", range(1, 12))
def test_or_and_and_by_turns(width: int) -> None:
    b = Builder("turns")
    x = b.word("x", width)
    block = b.block(any=a.any_by_turns(b, [*x, "0"]), all=a.all_by_turns(b, ["1", *x]))
    codes = np.arange(1 << width)
    got = simulate(block, integers_to_bits(codes.tolist(), width))
    assert np.array_equal(got, np.stack([codes != 0, codes == codes[-1]], axis=1))


def test_or_and_and_of_nothing() -> None:
    b = Builder("nothing")
    assert (a.any_by_turns(b, []), a.any_by_turns(b, ["0"]), a.all_by_turns(b, ["1"])) == ("0", "0", "1")


def test_turns_halve_the_cells() -> None:
    counts = []
    for form in (a.any_of, a.any_by_turns):
        b = Builder("or")
        counts.append(len(b.block(y=form(b, b.word("x", 64))).instances))
    assert counts == [126, 63]


@pytest.mark.parametrize("adder", a.ADDERS)
@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_increment_within(width: int, adder: str) -> None:
    b = Builder("increment")
    block = b.block(y=a.increment_within(b, b.word("x", width), b.input("by"), adder))
    got = bits_to_integers(simulate(block, integers_to_bits(range(2 << width), width + 1)))
    assert got == [(k % (1 << width) + (k >> width)) % (1 << width) for k in range(2 << width)]


@pytest.mark.parametrize(("width", "distance"), [(3, 2), (5, 3), (6, 5), (7, 4)])
def test_a_jamming_shift_keeps_what_is_lost_in_its_lowest_bit(width: int, distance: int) -> None:
    b = Builder("jam")
    block = b.block(y=a.shift_right_jamming(b, b.word("x", width), b.word("by", distance)))
    got = bits_to_integers(simulate(block, integers_to_bits(range(1 << (width + distance)), width + distance)))
    pairs = [(code % (1 << width), code >> width) for code in range(1 << (width + distance))]
    assert got == [x >> by | (x & ((1 << by) - 1) != 0) for x, by in pairs]


@pytest.mark.parametrize("adder", a.ADDERS)
def test_a_limited_normaliser_stops(adder: str) -> None:
    b = Builder("limit")
    shifted, rest = a.shift_left_limited(b, b.word("x", 6), b.word("zeros", 3), b.word("limit", 4), adder)
    got = simulate(b.block(y=shifted, rest=rest), integers_to_bits(range(1 << 13), 13))
    fields = [(code & 63, code >> 6 & 7, code >> 9) for code in range(1 << 13)]
    assert bits_to_integers(got[:, :6]) == [x << min(zeros, limit) & 63 for x, zeros, limit in fields]
    assert bits_to_integers(got[:, 6:]) == [max(0, limit - zeros) for _, zeros, limit in fields]
