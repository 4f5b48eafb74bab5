"""Pre-alignment, the other school: serial operands aligned to their largest exponent before they are multiplied.

Stored words are aligned once, when they are written, so only x is aligned here: maximum over its exponents, a shift
of each significand (8 bits and the guard bits below), integer products, an integer tree, one normalise and round. It
is another arithmetic than the fused tree's, compared with it in docs/choices.md: a lane's bits are lost before its
product is known. The multipliers are arrays of adders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder, Word
from charlib.gates.fan_out import buffered
from charlib.gates.fused import FIELD_BITS, Pipe, round_and_pack
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, bits_of

SIGNIFICAND = 8
WEIGHT_GUARDS = 4  #: bits below an aligned stored word
BLOCK_EXPONENT = 127  #: of the stored words, whose alignment is the same for all


@dataclass(frozen=True)
class PreAligned:
    """lanes of an operation; guard_bits kept below an aligned significand of x. stages: the pipeline's."""

    lanes: int = 32
    guard_bits: int = 4
    stages: int = 5

    def __post_init__(self) -> None:
        if not 2 <= self.lanes <= 1024:
            raise BadInput(f"lanes: 2 to 1024 are allowed, got {self.lanes}")
        if not 0 <= self.guard_bits <= 16:
            raise BadInput(f"guard_bits: 0 to 16 are allowed, got {self.guard_bits}")

    @property
    def x_bits(self) -> int:
        """Magnitude of an aligned x."""
        return SIGNIFICAND + self.guard_bits

    @property
    def w_bits(self) -> int:
        """Magnitude of a stored word."""
        return SIGNIFICAND + WEIGHT_GUARDS


def _multiply(b: Builder, x: Word, w: Word) -> Word:
    """Unsigned product: rows of ands in a carry-save tree."""
    rows = [[*["0"] * k, *a.gate(b, w, bit), "0"] for k, bit in enumerate(x)]
    return a.sum_signed(b, rows, len(x) + len(w), "carry_save")


def pre_aligned_tree(p: PreAligned) -> Block:
    """Inputs per lane ex (8 bits), mx (8), sx, w (magnitude), sw; outputs y0…31, an FP32 pattern."""
    b = Builder(f"prealigned_{p.lanes}_g{p.guard_bits}")
    pipe = Pipe(b, p.stages)
    lanes = [(b.word(f"ex{k}_", 8), b.word(f"mx{k}_", SIGNIFICAND), b.input(f"sx{k}"), b.word(f"w{k}_", p.w_bits),
              b.input(f"sw{k}")) for k in range(p.lanes)]
    with b.part("maximum"):
        top = a.maximum_of(b, [ex for ex, *_ in lanes])
    terms: list[Word] = []
    for ex, mx, sx, w, sw in lanes:
        with b.part("distance"):
            shift, _ = a.subtract(b, top, ex)
            ranks = a.bits_for(p.x_bits)
            distance = pipe.hold([*shift[:ranks], a.any_of(b, shift[ranks:])])
            word, sign = pipe.hold(mx), pipe.hold([b.xor(sx, sw)])
        with b.part("align"):
            aligned = pipe.hold(a.shift_right(b, [*["0"] * p.guard_bits, *word], distance)[0])
            (sign_later,), weight = pipe.hold(sign), pipe.hold(pipe.hold(w))
        with b.part("multiply"):
            product = _multiply(b, aligned, weight)
            terms.append(pipe.hold(a.negate_if(b, [*product, "0"], sign_later)))
    growth = math.ceil(math.log2(p.lanes))
    width = p.x_bits + p.w_bits + growth + 1
    with b.part("tree"):
        total = pipe.hold(a.sum_signed(b, terms, width))
    for _ in range(4):
        top = pipe.hold(top)
    with b.part("magnitude"):
        negative = total[-1]
        magnitude = a.negate_if(b, total, negative)[:-1]
    with b.part("leading_zeros"):
        zeros, empty = a.leading_zeros(b, magnitude)
    with b.part("normalise"):
        normal = a.shift_left(b, magnitude, zeros)
        # both significands lie in [1, 2): the highest bit of the sum's magnitude weighs 2^(1 + growth)
        offset = 1 + growth + BLOCK_EXPONENT - 127
        lifted = a.add(b, a.pad(top, FIELD_BITS), a.constant(offset % (1 << FIELD_BITS), FIELD_BITS))[:FIELD_BITS]
        field, _ = a.subtract(b, lifted, zeros)
    return buffered(b.block(y=round_and_pack(b, normal, field, negative, empty, 24, ("0", "0", "0"))))


def pre_aligned_vectors(p: PreAligned, x: Codes, w: Codes) -> Bits:
    """Inputs (without the clock) of operands (operations, lanes); words of w are aligned among an operation's."""
    columns = []
    ex, mx = (x >> 7 & 0xFF).astype(np.int64), np.where(x >> 7 & 0xFF, x & 0x7F | 0x80, 0).astype(np.int64)
    ew, mw = (w >> 7 & 0xFF).astype(np.int64), np.where(w >> 7 & 0xFF, w & 0x7F | 0x80, 0).astype(np.int64)
    stored = (mw << WEIGHT_GUARDS) >> np.minimum(ew.max(axis=1, keepdims=True) - ew, 62)
    for k in range(p.lanes):
        columns += [bits_of(ex[:, k], 8), bits_of(mx[:, k], SIGNIFICAND), (x[:, k:k + 1] >> 15).astype(np.uint8),
                    bits_of(stored[:, k], p.w_bits), (w[:, k:k + 1] >> 15).astype(np.uint8)]
    return np.hstack(columns)


def pre_aligned_value(p: PreAligned, x: Codes, w: Codes) -> np.ndarray:
    """What the tree computes, as float64, before its one rounding; the stored words' block exponent taken as 127."""
    ex, mx = (x >> 7 & 0xFF).astype(np.int64), np.where(x >> 7 & 0xFF, x & 0x7F | 0x80, 0).astype(np.int64)
    ew, mw = (w >> 7 & 0xFF).astype(np.int64), np.where(w >> 7 & 0xFF, w & 0x7F | 0x80, 0).astype(np.int64)
    top = ex.max(axis=1, keepdims=True)
    aligned = (mx << p.guard_bits) >> np.minimum(top - ex, 62)
    stored = (mw << WEIGHT_GUARDS) >> np.minimum(ew.max(axis=1, keepdims=True) - ew, 62)
    signed = np.where((x ^ w) >> 15, -1, 1) * aligned * stored
    scale = top[:, 0] - 127 - (SIGNIFICAND - 1 + p.guard_bits) - (SIGNIFICAND - 1 + WEIGHT_GUARDS)
    return np.asarray(np.ldexp(signed.sum(axis=1).astype(np.float64), scale))
