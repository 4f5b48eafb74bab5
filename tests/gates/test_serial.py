"""Clocked blocks and what stands around the products, cycle by cycle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from charlib.errors import BadInput
from charlib.gates import serial as s
from charlib.gates import shift_accumulator, simulate
from charlib.gates.clocked import core_of, run_cycles
from charlib.gates.logic import Bits
from charlib.gates.operands import bits_of, products_of
from system.numerics import scalar


def number(bits: Bits) -> np.ndarray:
    return np.asarray((bits.astype(np.int64) << np.arange(bits.shape[1])).sum(axis=1))


def test_every_pair_of_exponents_adds() -> None:
    x, w = np.divmod(np.arange(1 << 16), 256)
    for adder in ("ripple", "prefix"):
        got = number(simulate(s.exponent_adder(adder), np.hstack([bits_of(x, 8), bits_of(w, 8)])))
        assert np.array_equal(got, (x + w - 127) % 1024)


@pytest.mark.parametrize("carry", [0, 1])
def test_a_finished_exponent_overflows_and_flushes(carry: int) -> None:
    e = np.arange(-512, 512)
    out = simulate(s.exponent_finish(), np.hstack([bits_of(e, 10), np.full((1024, 1), carry, np.uint8)]))
    total = e + carry
    assert np.array_equal(number(out[:, :8]), np.where(total >= 255, 255, np.where(total <= 0, 0, total)))
    assert np.array_equal(out[:, 8], total >= 255)
    assert np.array_equal(out[:, 9], total <= 0)


def test_hidden_bits_and_flags_are_the_arithmetic() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    directed = [0, 0x8000, 1, 0x7F, 0x80, 0x7F80, 0xFF80, 0x7FC0, 0x7F81, 0x3F80, 0x7F7F]
    codes = np.concatenate([rng.integers(0, 1 << 16, 120), directed])
    x, w = (grid.ravel() for grid in np.meshgrid(codes, codes))
    out = simulate(s.hidden_bit_generator(), np.hstack([bits_of(x, 16), bits_of(w, 16)]))
    found = products_of(x.astype(np.uint16)[:, None], w.astype(np.uint16)[:, None])
    assert np.array_equal(number(out[:, :8]) * number(out[:, 8:16]), found.product[:, 0])
    for k, wanted in enumerate((found.sign, found.valid, found.nan, found.inf)):
        assert np.array_equal(out[:, 16 + k], wanted[:, 0])
    for p, q, nan, inf in zip(x, w, out[:, 18], out[:, 19], strict=True):
        special = scalar.special_product(int(p), int(q))
        assert (nan, inf) == ((0, 0) if special is None else (1, 0) if special == scalar.NAN else (0, 1))


def test_the_serialiser_sends_the_highest_bit_first() -> None:
    load = np.array([[1, *(0xA5 >> k & 1 for k in range(8))], *[[0] * 9] * 9], np.uint8)
    assert run_cycles(s.input_serialiser(8), load).outputs[:, 0].tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 1, 0]


def test_a_register_holds_until_it_is_loaded() -> None:
    steps = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0] * 5], np.uint8)
    assert number(run_cycles(s.operand_register(4), steps).outputs).tolist() == [0, 5, 5, 5, 15]
    plain = run_cycles(s.registers(3), np.array([[1, 0, 1], [0, 1, 1]], np.uint8))
    assert plain.outputs.tolist() == [[0, 0, 0], [1, 0, 1]]
    assert plain.state_toggles == 2.0


@pytest.mark.parametrize("states", [2, 5, 8, 64])
def test_counters_wrap_and_clear(states: int) -> None:
    cycles = run_cycles(s.control_counter(states), np.ones((states + 3, 1), np.uint8))
    assert np.array_equal(number(cycles.outputs[:, :-1]), np.arange(states + 3) % states)
    assert np.array_equal(cycles.outputs[:, -1], np.arange(states + 3) % states == states - 1)
    cleared = run_cycles(s.control_counter(states), np.zeros((4, 1), np.uint8))
    assert not cleared.outputs[:, :-1].any()


def test_one_column_is_selected_while_enabled() -> None:
    address = np.arange(16) % 8
    out = simulate(s.column_select(8), np.hstack([bits_of(address, 3), bits_of(np.arange(16) // 8, 1)]))
    assert np.array_equal(out, (np.arange(8) == address[:, None]) & (np.arange(16)[:, None] >= 8))


def feedback(state: int, bits: int) -> int:
    bit = 1
    for tap in s.LFSR_TAPS[bits]:
        bit ^= state >> (tap - 1) & 1
    return (state << 1 | bit) & ((1 << bits) - 1)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_cited_taps_have_the_longest_period(bits: int) -> None:
    state, period = feedback(0, bits), 1
    while state:
        state, period = feedback(state, bits), period + 1
    assert period == (1 << bits) - 1


@pytest.mark.parametrize(("bits", "leap"), [(8, 1), (8, 5), (32, 16)])
def test_a_leap_is_so_many_steps(bits: int, leap: int) -> None:
    found = number(run_cycles(s.lfsr(bits, leap), np.zeros((20, 0), np.uint8)).outputs)
    state = 0
    for value in found:
        assert value == state & ((1 << leap) - 1)
        for _ in range(leap):
            state = feedback(state, bits)


def test_the_serial_accumulator_multiplies() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    pairs = np.vstack([rng.integers(0, 256, (25, 2)), [[255, 255], [0, 255], [255, 0], [1, 1]]])
    rows = [[int(k > 0), *(int(x >> (7 - k) & 1) * (w >> j & 1) for j in range(8))]
            for x, w in pairs for k in range(8)]
    found = number(run_cycles(shift_accumulator(8), np.array([*rows, [0] * 9], np.uint8)).outputs)[8::8]
    assert np.array_equal(found, pairs[:, 0] * pairs[:, 1])


def test_the_clock_tree_grows_with_its_flip_flops() -> None:
    small, large = s.clock_tree(16, 2e-6), s.clock_tree(1000, 2e-6)
    assert small.buffers == (1,)
    assert large.buffers == (63, 4, 1)
    assert large.wire_m > 10 * small.wire_m


@pytest.mark.parametrize(("make", "message"), [
    (lambda: s.registers(0), "bits: must be at least 1, got 0"),
    (lambda: s.control_counter(1), "states: a counter needs at least 2, got 1"),
    (lambda: s.column_select(6), "words: a select needs a power of two from 2 on, got 6"),
    (lambda: s.lfsr(9), "bits: taps are cited for 8, 10, 12, 16, 32, got 9"),
    (lambda: s.lfsr(8, 9), "leap: 1 to 8 are allowed, got 9"),
    (lambda: s.clock_tree(4, 0.0), "clock_tree: fan_out of at least 2 and a positive pitch_m are needed"),
    (lambda: run_cycles(s.registers(2), np.zeros((3, 3), np.uint8)), "Block 'registers_2': vectors must be"),
])
def test_bad_parameters_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}"):
        make()


def test_a_core_has_the_registers_as_ports() -> None:
    core = core_of(s.operand_register(2))
    assert core.block.inputs == ("load", "d0", "d1", *core.states)
    assert set(core.data) == set(core.block.outputs)
