"""Floating-point addition as circuits: the tile accumulator, a compartment's accumulator, the update's adder.

Both operands come as a sign, a signed biased exponent and a 24-bit significand; the one with the lower exponent is
shifted right onto guard, round and sticky bits, and the sum is normalised and rounded once, to FP32 or BF16, with
gradual underflow. What they compute is laid down by the system's numerics (`add` and `lane_dot`), bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder, Word
from charlib.gates.fan_out import buffered
from charlib.gates.fused import EXPONENT_BITS, FIELD_BITS, PRODUCT_BITS, Pipe, round_and_pack

SIGNIFICAND, GUARDS = 24, 3
FP32_BITS, FP32_FRACTION, BF16_BITS = 32, 23, 16


@dataclass(frozen=True)
class Operand:
    """A number: field is its biased exponent, FIELD_BITS signed; nan and inf its flags."""

    sign: str
    field: Word
    significand: Word
    nan: str
    inf: str


def fp32_operand(b: Builder, pattern: Word) -> Operand:
    """An FP32 pattern taken apart; a subnormal has the field 1 and no hidden bit."""
    with b.part("unpack"):
        fraction, exponent, sign = pattern[:FP32_FRACTION], pattern[FP32_FRACTION:-1], pattern[-1]
        normal, top = a.any_of(b, exponent), a.all_of(b, exponent)
        some = a.any_of(b, fraction)
        field = a.pad([b.or_(exponent[0], b.inv(normal)), *exponent[1:]], FIELD_BITS)
        return Operand(sign, field, [*fraction, normal], b.and_(top, some), b.and_(top, b.inv(some)))


def product_operand(b: Builder, product: Word, exponent: Word, sign: str, nan: str, inf: str) -> Operand:
    """An exact product, in [1, 4), normalised by one bit."""
    with b.part("unpack"):
        high = product[-1]
        word = a.select(b, ["0", *product[:-1]], product, high)
        field = a.increment(b, a.pad(exponent, FIELD_BITS, exponent[-1]), high)[:FIELD_BITS]
        return Operand(sign, field, [*["0"] * (SIGNIFICAND - PRODUCT_BITS), *word], nan, inf)


def add_operands(b: Builder, x: Operand, y: Operand, bits: int, adder: str, pipe: Pipe) -> Word:
    """The rounded sum's pattern, 8 + bits nets. With stages, registers stand between sum and leading zeros."""
    with b.part("compare"):
        width = FIELD_BITS + 1
        distance, _ = a.subtract(b, a.pad(x.field, width, x.field[-1]), a.pad(y.field, width, y.field[-1]), adder)
        swap = distance[-1]
        shift = a.negate_if(b, distance, swap, adder)[:-1]
        field = a.select(b, x.field, y.field, swap)
        large, small = (a.select(b, p, q, swap) for p, q in ((x.significand, y.significand),
                                                             (y.significand, x.significand)))
        sign = b.mux(x.sign, y.sign, swap)
        differ = b.xor(x.sign, y.sign)
    with b.part("align"):
        moved, lost = a.shift_right(b, ["0", "0", *small], shift, sticky=True)
    with b.part("add"):
        # signed: large − small is negative where exponents are equal, or where the larger exponent is a subnormal's
        word = [b.xor(bit, differ) for bit in [lost, *moved, "0", "0"]]
        total = a.add(b, [*["0"] * GUARDS, *large, "0", "0"], word, differ, adder)[:SIGNIFICAND + GUARDS + 2]
        below = total[-1]
        magnitude = a.negate_if(b, total, below, adder)[:-1]
        negative = b.xor(sign, below)
    with b.part("flags"):
        nan = b.or_(b.or_(x.nan, y.nan), b.and_(b.and_(x.inf, y.inf), differ))
        flags = [nan, b.or_(x.inf, y.inf), b.mux(y.sign, x.sign, x.inf), b.and_(x.sign, y.sign), negative]
    magnitude, field = pipe.hold(magnitude), pipe.hold(field)
    nan, inf, inf_negative, both, negative = pipe.hold(flags)
    with b.part("leading_zeros"):
        zeros, empty = a.leading_zeros(b, magnitude)
    with b.part("normalise"):
        normal = a.shift_left(b, magnitude, zeros)
        lifted = a.increment(b, field, "1", adder)[:FIELD_BITS]
        result, _ = a.subtract(b, lifted, zeros, adder)
    return round_and_pack(b, normal, result, negative, empty, bits, (nan, inf, inf_negative), adder,
                          zero_negative=both)


def _checked(out_bits: int, stages: int) -> None:
    if out_bits not in (8, SIGNIFICAND):
        raise BadInput(f"out_bits: 8 or {SIGNIFICAND} are allowed, got {out_bits}")
    if stages not in (1, 2):
        raise BadInput(f"stages: 1 or 2 are allowed, got {stages}")


def float_adder(out_bits: int = SIGNIFICAND, adder: str = "ripple", stages: int = 1) -> Block:
    """y = a + b of FP32 patterns, rounded to out_bits. Outputs y0…: 32, or the upper 16 of an FP32 pattern.

    stages: 1, or 2 with an input `clk`, y a clock later. BadInput for other out_bits than 24 (FP32) and 8 (BF16).
    """
    _checked(out_bits, stages)
    b = Builder(f"float_adder_{out_bits}_{adder}_{stages}")
    pipe = Pipe(b, stages)
    x, y = fp32_operand(b, b.word("a", FP32_BITS)), fp32_operand(b, b.word("b", FP32_BITS))
    return buffered(b.block(y=add_operands(b, x, y, out_bits, adder, pipe)))


def lane_accumulator(out_bits: int = SIGNIFICAND, adder: str = "ripple", stages: int = 1) -> Block:
    """y = acc + one exact product, or acc where the product is zero (not valid, nan or inf).

    Inputs acc0…31 (out_bits 8: acc0…15, the upper half), product0…15, exponent0…9 (e_x + e_w − 127, signed), sign,
    valid, nan, inf. stages: 1, or 2 with an input `clk`, y a clock later: then two sums interleave in one
    accumulator. BadInput for other out_bits than 24 and 8.
    """
    _checked(out_bits, stages)
    b = Builder(f"lane_accumulator_{out_bits}_{adder}_{stages}")
    pipe, width = Pipe(b, stages), 8 + out_bits
    held = b.word("acc", width)
    product, exponent = b.word("product", PRODUCT_BITS), b.word("exponent", EXPONENT_BITS)
    sign, valid, nan, inf = (b.input(name) for name in ("sign", "valid", "nan", "inf"))
    x = fp32_operand(b, [*["0"] * (FP32_BITS - width), *held])
    total = add_operands(b, x, product_operand(b, product, exponent, sign, nan, inf), out_bits, adder, pipe)
    with b.part("select"):
        counts = pipe.hold([b.or_(valid, b.or_(nan, inf))])[0]
        return buffered(b.block(y=a.select(b, pipe.hold(held), total, counts)))


def bf16_of(b: Builder, pattern: Word) -> Word:
    """An FP32 pattern as a BF16 result: nearest even, flushed below the normal range, NaN canonical."""
    with b.part("to_bf16"):
        exponent, some = pattern[FP32_FRACTION:-1], a.any_of(b, pattern[:FP32_FRACTION])
        nan = b.and_(a.all_of(b, exponent), some)
        kept, guard = pattern[BF16_BITS:-1], pattern[BF16_BITS - 1]
        rounded = a.round_nearest_even(b, kept, guard, a.any_of(b, pattern[:BF16_BITS - 1]))[:BF16_BITS - 1]
        return [*_finished(b, rounded, nan), b.and_(pattern[-1], b.inv(nan))]


def _finished(b: Builder, rounded: Word, nan: str) -> Word:
    """Fraction and exponent of a BF16 result: nothing below the normal range, NaN as 0x7FC0."""
    normal = b.and_(a.any_of(b, rounded[7:]), b.inv(nan))
    fraction = a.gate(b, rounded[:7], normal)
    return [*fraction[:-1], b.or_(fraction[-1], nan), *(b.or_(bit, nan) for bit in rounded[7:])]


def update_adder(adder: str = "ripple") -> Block:
    """y = a + b in FP32 (the master copy, the change), and w, its BF16 rounding for the array."""
    b = Builder(f"update_adder_{adder}")
    x, y = fp32_operand(b, b.word("a", FP32_BITS)), fp32_operand(b, b.word("b", FP32_BITS))
    total = add_operands(b, x, y, SIGNIFICAND, adder, Pipe(b, 1))
    return buffered(b.block(y=total, w=bf16_of(b, total)))


def stochastic_rounder() -> Block:
    """y = BF16 of the FP32 pattern a, rounded away from zero where its lost 16 bits plus the random r carry.

    Inputs a0…31, r0…15; outputs y0…15, flushed below the normal range; NaN and infinities stay.
    """
    b = Builder("stochastic_rounder")
    pattern, random = b.word("a", FP32_BITS), b.word("r", BF16_BITS)
    with b.part("add"):
        carry = a.add(b, pattern[:BF16_BITS], random)[-1]
        rounded = a.increment(b, pattern[BF16_BITS:-1], carry)[:BF16_BITS - 1]
    with b.part("flags"):
        top = a.all_of(b, pattern[FP32_FRACTION:-1])
        nan = b.and_(top, a.any_of(b, pattern[:FP32_FRACTION]))
        chosen = a.select(b, rounded, pattern[BF16_BITS:-1], top)
        out = [*_finished(b, chosen, nan), b.and_(pattern[-1], b.inv(nan))]
    return buffered(b.block(y=out))
