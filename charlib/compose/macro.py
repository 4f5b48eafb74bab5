"""The macro's blocks by name, as the cost model's enumeration has them: circuit, operands, accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from charlib.compose.design import MacroBlock, Vectors, macro_tree
from charlib.errors import BadInput
from charlib.gates.block import Block
from charlib.gates.compound import connect, fed_back, pruned
from charlib.gates.floatadd import float_adder, lane_accumulator, stochastic_rounder, update_adder
from charlib.gates.fused import PRODUCT_BITS
from charlib.gates.generate import decoder
from charlib.gates.hadamard import hadamard_rounder, relu_gradient
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of, lane_bits, products_of
from charlib.gates.serial import (
    column_select,
    control_counter,
    exponent_adder,
    hidden_bit_generator,
    input_serialiser,
    lfsr,
    operand_register,
)

#: lanes and bits of the trees that are tabulated, and the lanes of a depthwise tap group
TREES = ((16, 20), (32, 20), (64, 20))
TAPS = 9
SIGNIFICAND, SERIAL_CYCLES, ROWS, WORDS = 8, 8, 16, 4
FP32_BITS, BF16_BITS = 32, 16
#: adders of the accumulators, whose cycle is short
FAST = "carry_select"
#: an update is this much smaller than its weight, in octaves [inferred]
UPDATE_OCTAVES = 8


def _significands(codes: Codes) -> np.ndarray:
    """Significands with their hidden bit, 0 for zeros and subnormals."""
    return np.where(codes >> 7 & 0xFF, codes & 0x7F | 0x80, 0).astype(np.int64)


def _pair(x: Codes, w: Codes, seed: int) -> Bits:
    return np.hstack([bits_of(x[:, 0].astype(np.int64), BF16_BITS), bits_of(w[:, 0].astype(np.int64), BF16_BITS)])


def _exponents(x: Codes, w: Codes, seed: int) -> Bits:
    return np.hstack([bits_of((codes[:, 0] >> 7 & 0xFF).astype(np.int64), 8) for codes in (x, w)])


def _loads(x: Codes, w: Codes, seed: int) -> Bits:
    return np.hstack([np.ones((len(x), 1), np.uint8), bits_of(x[:, 0].astype(np.int64), BF16_BITS)])


def _serial(x: Codes, w: Codes, seed: int) -> Bits:
    """The load, then the cycles that shift it out."""
    bits = np.zeros((len(x), SERIAL_CYCLES, 1 + SIGNIFICAND), np.uint8)
    bits[:, 0, 0], bits[:, 0, 1:] = 1, bits_of(_significands(x[:, 0]), SIGNIFICAND)
    return bits.reshape(-1, 1 + SIGNIFICAND)


def _product(x: Codes, w: Codes, seed: int) -> Bits:
    return lane_bits(products_of(x[:, :1], w[:, :1]))


def _floats(codes: Codes) -> np.ndarray:
    return (codes.astype(np.uint32) << 16).view(np.float32)


def _patterns(values: np.ndarray) -> Bits:
    return bits_of(np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).astype(np.int64), FP32_BITS)


def _tile_sums(x: Codes, w: Codes, seed: int) -> Bits:
    return _patterns((_floats(x).astype(np.float64) * _floats(w)).sum(axis=1))


def _updates(x: Codes, w: Codes, seed: int) -> Bits:
    """Master weights with all of their bits, and changes UPDATE_OCTAVES below."""
    rng = np.random.Generator(np.random.Philox(seed))
    low = rng.random((2, len(x)))
    held, change = (_floats(codes[:, 0]) * (1 + share / 128) for codes, share in zip((x, w), low, strict=True))
    return np.hstack([_patterns(held), _patterns(change * 2.0**-UPDATE_OCTAVES)])


def _sums(x: Codes, w: Codes, seed: int) -> Bits:
    rng = np.random.Generator(np.random.Philox(seed))
    return _patterns(_floats(x[:, 0]) * (1 + rng.random(len(x)) / 128))


def _gates(x: Codes, w: Codes, seed: int) -> Bits:
    return np.hstack([_pair(x, w, seed), np.ones((len(x), 1), np.uint8)])


def _addresses(bits: int, enabled: bool) -> Vectors:
    def make(x: Codes, w: Codes, seed: int) -> Bits:
        rng = np.random.Generator(np.random.Philox(seed))
        address = rng.integers(0, 2, (len(x), bits)).astype(np.uint8)
        return np.hstack([address, np.ones((len(x), 1), np.uint8)]) if enabled else address
    return make


def _always(x: Codes, w: Codes, seed: int) -> Bits:
    return np.ones((len(x), 2), np.uint8)


def _random_source() -> Block:
    wires = {f"round_r{k}": f"source_r{k}" for k in range(BF16_BITS)}
    return connect("stochastic_source", {"source": lfsr(FP32_BITS, BF16_BITS), "round": stochastic_rounder()}, wires)


def _control() -> Block:
    counters = {"cycle": control_counter(SERIAL_CYCLES), "address": control_counter(ROWS * WORDS)}
    return connect("macro_control", counters)


@cache
def macro_blocks() -> Mapping[str, MacroBlock]:
    """Every block, by name."""
    def block(name: str, circuit: Block, vectors: Vectors, lanes: int = 1, cycles: int = 1) -> MacroBlock:
        return MacroBlock(name, pruned(circuit), lanes, vectors, {}, cycles)

    tile = fed_back(float_adder(adder=FAST, stages=2), "y", "a", FP32_BITS)
    lane = fed_back(lane_accumulator(adder=FAST, stages=2), "y", "acc", FP32_BITS)
    blocks = [
        *(macro_tree(lanes, bits, TAPS) for lanes, bits in TREES),
        block("input_register", operand_register(BF16_BITS), _loads),
        block("input_serialiser", input_serialiser(SIGNIFICAND), _serial, cycles=SERIAL_CYCLES),
        block("exponent_adder", exponent_adder(), _exponents),
        block("hidden_bit_generator", hidden_bit_generator(), _pair),
        block("tile_accumulator", tile, _tile_sums, lanes=32),
        block("compartment_accumulator", lane, _product),
        block("hadamard_post", hadamard_rounder(), _product),
        block("gradient_gate", relu_gradient(), _gates),
        block("update_adder", update_adder(), _updates),
        block("stochastic_source", _random_source(), _sums),
        block("decoder", decoder(ROWS), _addresses(ROWS.bit_length() - 1, enabled=False)),
        block("column_select", column_select(WORDS), _addresses(WORDS.bit_length() - 1, enabled=True)),
        block("macro_control", _control(), _always),
    ]
    return {one.name: one for one in blocks}


def macro_block(name: str) -> MacroBlock:
    """A block by name, or a fused tree of any lanes and bits. BadInput naming what there is."""
    if name in macro_blocks():
        return macro_blocks()[name]
    found = re.fullmatch(r"fused_tree_(\d+)x(\d+)", name)
    if found is None:
        raise BadInput(f"block: '{name}' is unknown; there are {', '.join(macro_blocks())}, and "
                       f"fused_tree_LANESxBITS of other lanes and bits ({PRODUCT_BITS} product and the guard bits)")
    return macro_tree(int(found[1]), int(found[2]), TAPS)
