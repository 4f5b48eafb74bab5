"""The structural generator and its logic model against Python integers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlib.errors import BadInput
from charlib.gates import (
    Block,
    Instance,
    adder_tree,
    decoder,
    evaluate_cell,
    full_adders_closed_form,
    random_vectors,
    shift_accumulator,
    simulate,
    toggles_unit_delay,
)
from charlib.gates.logic import bits_to_integers, integers_to_bits, pack, unpack


@given(st.integers(2, 9), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_trees_add(lanes: int, bits: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.lists(st.integers(0, 2**bits - 1), min_size=lanes, max_size=lanes),
                              min_size=1, max_size=70))
    vectors = np.hstack([integers_to_bits([row[lane] for row in rows], bits) for lane in range(lanes)])
    assert bits_to_integers(simulate(adder_tree(lanes, bits), vectors)) == [sum(row) for row in rows]


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_adder_count_is_the_closed_form(lanes: int, bits: int) -> None:
    counts = adder_tree(lanes, bits).cell_counts()
    assert counts["half_adder"] == lanes - 1
    assert counts["half_adder"] + counts.get("full_adder", 0) == full_adders_closed_form(lanes, bits)


def test_closed_form_refuses_other_lane_counts() -> None:
    with pytest.raises(BadInput, match=r"^lanes: the closed form needs a power of two, got 9$"):
        full_adders_closed_form(9, 8)


def test_decoder_is_one_hot() -> None:
    vectors = integers_to_bits(range(16), 4)
    assert np.array_equal(simulate(decoder(16), vectors), np.eye(16, dtype=np.uint8))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_shift_accumulator_multiplies(bits: int) -> None:
    """Its combinational part, clocked here by hand, gives the product of two numbers."""
    block = shift_accumulator(bits)
    state = [i for i in block.instances if i.cell == "dff"]
    inputs = tuple(net for net in (*block.inputs, *block.outputs) if net != "clk")
    logic = Block("logic", inputs, tuple(i.inputs[0] for i in state),
                  tuple(i for i in block.instances if i.cell != "dff"))
    rng = np.random.default_rng(1)
    for word, serial in rng.integers(0, 2**bits, size=(8, 2)):
        acc = 2 ** (2 * bits) - 1  # what was there before must not matter
        for cycle in range(bits):
            pp = int(word) * (int(serial) >> (bits - 1 - cycle) & 1)
            vector = np.hstack([integers_to_bits([int(cycle > 0)], 1), integers_to_bits([pp], bits),
                                integers_to_bits([acc], 2 * bits)])
            acc = bits_to_integers(simulate(logic, vector))[0]
        assert acc == int(word) * int(serial)


@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**32))
def test_packing_round_trips(vectors: int, signals: int, seed: int) -> None:
    bits = random_vectors(signals, vectors, 0.5, seed)
    np.testing.assert_array_equal(unpack(pack(bits), vectors), bits)


def test_unit_delay_toggles_by_hand() -> None:
    """x and its inverse through a NAND: a rising x makes one glitch pulse, that is three toggles in all."""
    block = Block("glitch", ("x",), ("y",), (Instance("inv", ("x",), ("n",)), Instance("nand2", ("x", "n"), ("y",))))
    assert toggles_unit_delay(block, np.array([[0], [1], [0]], dtype=np.uint8)).tolist() == [3, 1]


def test_toggles_hold_the_settled_changes() -> None:
    """Glitches only add: unit-delay toggles have the parity of, and are at least, the settled changes."""
    block = adder_tree(4, 6)
    bits = random_vectors(24, 130, 0.5, 3)
    nets = [net for instance in block.instances for net in instance.outputs]
    every = Block("probe", block.inputs, tuple(nets), block.instances)
    settled = (simulate(every, bits)[1:] != simulate(every, bits)[:-1]).sum(axis=1)
    unit = toggles_unit_delay(block, bits)
    assert np.all(unit >= settled)
    assert np.all((unit - settled) % 2 == 0)
    assert unit.sum() > settled.sum()


def test_activity_is_the_toggle_rate() -> None:
    bits = random_vectors(100, 1001, 0.2, 7)
    assert np.mean(bits[1:] != bits[:-1]) == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 1e5))


def test_levels_count_cells() -> None:
    block = adder_tree(2, 4)
    assert max(block.levels()[net] for net in block.outputs) == 4


@pytest.mark.parametrize("build", [
    lambda: Block("b", ("a",), ("y",), (Instance("inv", ("z",), ("y",)),)),
    lambda: Block("b", ("a",), ("y",), (Instance("inv", ("a",), ("a",)),)),
    lambda: Block("b", ("a",), ("y",), ()),
    lambda: adder_tree(1, 4), lambda: adder_tree(2, 0), lambda: decoder(6), lambda: shift_accumulator(0),
    lambda: random_vectors(1, 2, 1.5, 0), lambda: simulate(adder_tree(2, 2), np.zeros((1, 3), dtype=np.uint8)),
    lambda: simulate(shift_accumulator(2), np.zeros((1, 4), dtype=np.uint8)),
])
def test_refuses(build: object) -> None:
    assert callable(build)
    with pytest.raises(BadInput):
        build()


def test_cells_are_arithmetic() -> None:
    for a, b, c in itertools.product((0, 1), repeat=3):
        total = a + b + c
        assert evaluate_cell("full_adder", a, b, c) == (total & 1, total >> 1)
