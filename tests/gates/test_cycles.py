"""The cycle-accurate logic model, and the clocked blocks in it against plain Python over many sequences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from charlib.errors import BadInput
from charlib.gates import Block, Builder, Instance, adder_tree, shift_accumulator
from charlib.gates import serial as s
from charlib.gates.clocked import run_cycles
from charlib.gates.cycles import cycle_activity, simulate_cycles
from charlib.gates.fused import FusedTree, fused_tree
from charlib.gates.logic import Bits
from charlib.gates.operands import bits_of

I64 = npt.NDArray[np.int64]
RNG_SEED = 11


def number(bits: Bits) -> I64:
    """Words on the last axis as integers."""
    return np.asarray(bits.astype(np.int64) @ (np.int64(1) << np.arange(bits.shape[-1])))


def random_bits(*shape: int, seed: int = RNG_SEED) -> Bits:
    return np.random.Generator(np.random.Philox(seed)).integers(0, 2, shape).astype(np.uint8)


def words(values: I64, width: int) -> Bits:
    """Integers of any shape as bits on a new last axis."""
    return bits_of(values.ravel(), width).reshape(*values.shape, width)


# -- the model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [s.operand_register(5), s.control_counter(11), s.input_serialiser(6),
                                   s.partial_sum_register(3), s.registers(1), shift_accumulator(4)])
def test_each_sequence_is_a_run_of_its_own(block: Block) -> None:
    bits = random_bits(20, 70, len(block.inputs) - 1)
    outputs, activity = simulate_cycles(block, bits), cycle_activity(block, bits)
    runs = [run_cycles(block, bits[:, k]) for k in range(70)]
    assert np.array_equal(outputs, np.stack([run.outputs for run in runs], axis=1))
    assert activity.flip_flops == block.cell_counts()["dff"]
    assert activity.state_toggles.mean() == pytest.approx(np.mean([run.state_toggles for run in runs]), rel=1e-12)


def test_a_pipeline_is_the_same_by_both_ways() -> None:
    block = fused_tree(FusedTree(4, 20, stages=5))
    bits = random_bits(12, 3, len(block.inputs) - 1)
    outputs = simulate_cycles(block, bits)
    assert outputs.any()
    assert all(np.array_equal(outputs[:, k], run_cycles(block, bits[:, k]).outputs) for k in range(3))


def test_activity_counts_settled_values() -> None:
    """Two flip-flops in a row behind an inverter: their data are not x, and the first one's output."""
    b = Builder("two")
    clock, x = b.input("clk"), b.input("x")
    block = b.block(y=b.dff(b.dff(b.inv(x), clock), clock))
    bits = np.array([[[0], [1]], [[1], [1]], [[1], [1]], [[0], [1]]], np.uint8)  # x: 0110 and 1111
    activity = cycle_activity(block, bits)
    # first sequence: d1 = 1001, q1 = d2 = 0100, q2 = 0010; the second rests
    assert activity.flip_flops == 2
    assert activity.state_toggles.tolist() == [0.5, 1.0, 0.5]
    assert activity.data_toggles.tolist() == [1.0, 0.5, 0.5]


def test_a_start_is_what_the_flip_flops_hold() -> None:
    block = s.control_counter(16)
    bits = np.ones((4, 16, 1), np.uint8)
    each = simulate_cycles(block, bits, bits_of(np.arange(16), 4))
    assert np.array_equal(number(each[..., :4]), (np.arange(4)[:, None] + np.arange(16)) % 16)
    alike = simulate_cycles(block, bits, np.array([1, 0, 1, 0], np.uint8))
    assert np.array_equal(number(alike[..., :4]), (np.arange(4)[:, None] + np.full(16, 5)) % 16)


# -- the blocks ---------------------------------------------------------------------------------------


def test_the_serial_accumulator_multiplies_all_pairs() -> None:
    """Two rounds: the second starts over accumulators that hold the first one's products."""
    w, x = np.divmod(np.arange(1 << 16), 256)
    serial = words(x, 8)[:, ::-1].T  # (8 cycles, sequences), highest bit first
    rows = np.concatenate([np.broadcast_to(np.arange(8)[:, None, None] > 0, (8, 1 << 16, 1)),
                           serial[..., None] & words(w, 8)], axis=2).astype(np.uint8)
    bits = np.concatenate([rows, rows[:, ::-1], np.zeros((1, 1 << 16, 9), np.uint8)])
    found = number(simulate_cycles(shift_accumulator(8), bits)[[8, 16]])
    assert np.array_equal(found, [x * w, (x * w)[::-1]])


def test_the_serialiser_sends_every_word() -> None:
    bits = np.zeros((10, 256, 9), np.uint8)
    bits[0, :, 0], bits[1:, :, 1:] = 1, random_bits(9, 256, 8)
    bits[0, :, 1:] = words(np.arange(256), 8)
    found = simulate_cycles(s.input_serialiser(8), bits)[..., 0]
    assert np.array_equal(number(found[8:0:-1].T), np.arange(256))
    assert not found[[0, 9]].any()


@pytest.mark.parametrize("bits", [1, 8, 24])
def test_the_serialiser_loads_at_any_time(bits: int) -> None:
    steps = random_bits(40, 300, 1 + bits)
    found, held = simulate_cycles(s.input_serialiser(bits), steps)[..., 0], np.zeros(300, np.int64)
    for step, out in zip(steps, found, strict=True):
        assert np.array_equal(out, held >> (bits - 1))
        held = np.where(step[:, 0], number(step[:, 1:]), held << 1 & ((1 << bits) - 1))


def test_registers_load_hold_and_clear() -> None:
    steps = random_bits(40, 300, 34)
    clear_n, load, d = steps[..., 0], steps[..., 1], number(steps[..., 2:])
    partial = number(simulate_cycles(s.partial_sum_register(), steps))
    operand = number(simulate_cycles(s.operand_register(32), steps[..., 1:]))
    plain = number(simulate_cycles(s.registers(32), steps[..., 2:]))
    sums, operands = np.zeros((2, 300), np.int64)
    for cycle in range(40):
        assert np.array_equal(partial[cycle], sums)
        assert np.array_equal(operand[cycle], operands)
        assert np.array_equal(plain[cycle], d[cycle - 1] if cycle else np.zeros(300))
        operands = np.where(load[cycle], d[cycle], operands)
        sums = np.where(clear_n[cycle], np.where(load[cycle], d[cycle], sums), 0)


@pytest.mark.parametrize("states", [2, 3, 8, 9, 64])
def test_counters_clear_at_any_time(states: int) -> None:
    keep = np.random.Generator(np.random.Philox(RNG_SEED)).random((3 * states, 200)) < 0.97
    found = simulate_cycles(s.control_counter(states), keep[..., None].astype(np.uint8))
    count = np.zeros(200, np.int64)
    for kept, out in zip(keep, found, strict=True):
        assert np.array_equal(number(out[:, :-1]), count)
        assert np.array_equal(out[:, -1], count == states - 1)
        count = np.where(kept, (count + 1) % states, 0)


# -- random bits --------------------------------------------------------------------------------------


def steps_of(state: I64, bits: int, count: int) -> I64:
    """The plain shift register, `count` steps on."""
    for _ in range(count):
        feedback = 1 ^ np.bitwise_xor.reduce([state >> (tap - 1) & 1 for tap in s.LFSR_TAPS[bits]])
        state = (state << 1 | feedback) & ((1 << bits) - 1)
    return state


@pytest.mark.parametrize("bits", [8, 10, 16])
def test_the_circuit_has_the_full_period(bits: int) -> None:
    """From every state at once, a word a clock: gcd(bits, 2^bits − 1) is 1, so its steps too visit all states but
    all ones, which stays.
    """
    assert math.gcd(bits, (1 << bits) - 1) == 1
    every = np.arange(1 << bits)
    nothing = np.zeros((2, len(every), 0), np.uint8)
    following = number(simulate_cycles(s.lfsr(bits, bits), nothing, words(every, bits)))
    assert np.array_equal(following[0], every)
    assert np.array_equal(following[1], steps_of(every, bits, bits))
    state, period = int(following[1, 0]), 1
    while state:
        state, period = int(following[1, state]), period + 1
    assert period == (1 << bits) - 1
    assert following[1, -1] == every[-1]


def test_the_rounding_source_is_its_plain_twin() -> None:
    """Sixteen bits a clock of the 32-bit register, from 300 states, over 40 clocks."""
    state = np.random.Generator(np.random.Philox(RNG_SEED)).integers(0, 1 << 32, 300)
    found = number(simulate_cycles(s.lfsr(32, 16), np.zeros((40, 300, 0), np.uint8), words(state, 32)))
    for out in found:
        assert np.array_equal(out, state & 0xFFFF)
        state = steps_of(state, 32, 16)


def power_of_x(exponent: int, polynomial: int) -> int:
    """x^exponent modulo a polynomial over GF(2), coefficients as bits."""
    def product(p: int, q: int) -> int:
        total = 0
        while q:
            total, q = total ^ (p if q & 1 else 0), q >> 1
            p <<= 1
            if p.bit_length() == polynomial.bit_length():
                p ^= polynomial
        return total

    result, square = 1, 2
    while exponent:
        result, square = product(result, square) if exponent & 1 else result, product(square, square)
        exponent >>= 1
    return result


@pytest.mark.parametrize(("bits", "primes"), [(8, (3, 5, 17)), (10, (3, 11, 31)), (12, (3, 5, 7, 13)),
                                              (16, (3, 5, 17, 257)), (32, (3, 5, 17, 257, 65537))])
def test_the_taps_make_primitive_polynomials(bits: int, primes: tuple[int, ...]) -> None:
    """The order of x is 2^bits − 1 and no divisor of it; the XNOR form only inverts every state."""
    period = (1 << bits) - 1
    rest = period
    for prime in primes:
        while rest % prime == 0:
            rest //= prime
    assert rest == 1
    polynomial = 1 << bits | sum(1 << (bits - tap) for tap in s.LFSR_TAPS[bits])
    assert power_of_x(period, polynomial) == 1
    assert all(power_of_x(period // prime, polynomial) != 1 for prime in primes)


# -- refusals -----------------------------------------------------------------------------------------


def odd(name: str, *instances: Instance, outputs: tuple[str, ...] = ("q",)) -> Block:
    return Block(name, ("clk", "x"), outputs, instances)


@pytest.mark.parametrize(("run", "message"), [
    (lambda: simulate_cycles(adder_tree(2, 2), np.zeros((1, 1, 4), np.uint8)),
     "Block 'adder_tree_2x2': it has no input 'clk'; use simulate for a combinational block"),
    (lambda: simulate_cycles(odd("none", Instance("inv", ("x",), ("q",))), np.zeros((1, 1, 1), np.uint8)),
     "Block 'none': it holds no flip-flop; use simulate for a combinational block"),
    (lambda: simulate_cycles(odd("gated", Instance("dff", ("x", "x"), ("q",))), np.zeros((1, 1, 1), np.uint8)),
     "Block 'gated': flip-flop 'q' is clocked by 'x'; only 'clk' is allowed"),
    (lambda: simulate_cycles(odd("toggle", Instance("dff", ("clk", "clk"), ("q",))), np.zeros((1, 1, 1), np.uint8)),
     "Block 'toggle': 'clk' is used as data; it may only clock flip-flops"),
    (lambda: simulate_cycles(odd("out", Instance("dff", ("x", "clk"), ("q",)), outputs=("q", "clk")),
                             np.zeros((1, 1, 1), np.uint8)),
     "Block 'out': 'clk' is used as data; it may only clock flip-flops"),
    (lambda: simulate_cycles(odd("open", Instance("dff", ("y", "clk"), ("q",))), np.zeros((1, 1, 1), np.uint8)),
     "Block 'open': net 'y' on a flip-flop is driven by nothing"),
    (lambda: simulate_cycles(s.registers(2), np.zeros((3, 2), np.uint8)),
     r"Block 'registers_2': vectors must be \(cycles, sequences, 2\) with at least one cycle and one sequence, "
     r"got \(3, 2\)"),
    (lambda: simulate_cycles(s.registers(2), np.zeros((0, 1, 2), np.uint8)),
     r"Block 'registers_2': vectors must be \(cycles, sequences, 2\) with at least one cycle and one sequence, "
     r"got \(0, 1, 2\)"),
    (lambda: simulate_cycles(s.registers(2), np.zeros((3, 5, 2), np.uint8), np.zeros((4, 2), np.uint8)),
     r"Block 'registers_2': start must be \(2,\) or \(5, 2\), got \(4, 2\)"),
    (lambda: cycle_activity(s.registers(2), np.zeros((1, 5, 2), np.uint8)),
     "Block 'registers_2': activity needs at least 2 cycles, got 1"),
])
def test_what_cannot_run_is_named(run: Callable[[], object], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{message}$"):
        run()
