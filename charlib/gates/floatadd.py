"""Floating-point addition as circuits: the tile accumulator, a compartment's accumulator, the update's adder.

Both operands come as a sign, a signed biased exponent and a significand; the one with the lower exponent is
shifted right onto guard, round and sticky bits, and the sum is normalised and rounded once, to FP32 or BF16, with
gradual underflow. One operand at least is an FP32 number, whose exponent is never below the smallest normal one: so
the sum starts there or above, and stopping the normaliser's shift there is all that gradual underflow takes. What
these blocks compute is laid down by the system's numerics (`add` and `lane_dot`), bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder, Word
from charlib.gates.fan_out import buffered
from charlib.gates.fused import EXPONENT_BITS, PRODUCT_BITS, Pipe

SIGNIFICAND, GUARDS = 24, 3  #: of FP32, and guard, round and sticky bits
FP32_BITS, BF16_BITS, BF16_FRACTION, EXPONENT = 32, 16, 7, 8


@dataclass(frozen=True)
class Operand:
    """A number: field is its biased exponent, signed; the significand's highest bit is the hidden one.

    counts: a net that is 0 where the number is a zero whose exponent and sign mean nothing; "" if there is no such.
    """

    sign: str
    field: Word
    significand: Word
    nan: str
    inf: str
    counts: str = ""


def float_operand(b: Builder, pattern: Word) -> Operand:
    """An FP32 pattern, or its upper bits, taken apart; a subnormal has the field 1 and no hidden bit."""
    with b.part("unpack"):
        fraction, exponent, sign = pattern[:-1 - EXPONENT], pattern[-1 - EXPONENT:-1], pattern[-1]
        normal, top = a.any_by_turns(b, exponent), a.all_by_turns(b, exponent)
        some = a.any_by_turns(b, fraction)
        field = [b.nand(b.inv(exponent[0]), normal), *exponent[1:], "0"]
        return Operand(sign, field, [*fraction, normal], b.and_(top, some), b.and_(top, b.inv(some)))


def product_operand(b: Builder, product: Word, exponent: Word, sign: str, valid: str, nan: str, inf: str) -> Operand:
    """An exact product, in [1, 4), normalised by one bit."""
    with b.part("unpack"):
        high = product[-1]
        word = a.select(b, ["0", *product[:-1]], product, high)
        return Operand(sign, a.increment_within(b, exponent, high), word, nan, inf, valid)


def add_operands(b: Builder, x: Operand, y: Operand, bits: int, adder: str, pipe: Pipe) -> Word:
    """The rounded sum's pattern, 8 + bits nets; x is a float. With stages, registers stand after the sum."""
    with b.part("compare"):
        width = max(len(x.field), len(y.field))
        xf, yf = a.pad(x.field, width, x.field[-1]), a.pad(y.field, width, y.field[-1])
        size = max(len(x.significand), len(y.significand))
        xs, ys = ([*["0"] * (size - len(one.significand)), *one.significand] for one in (x, y))
        distance = a.subtract(b, xf, yf, adder)[0]
        less, opposite = distance[-1], b.xor(x.sign, y.sign)
        swap, differ = (b.and_(net, y.counts) if y.counts else net for net in (less, opposite))
        # inverted, a negative distance is one too short: x, when it is the smaller, starts one bit lower
        shift = [b.xor(bit, less) for bit in distance[:-1]]
        field = a.select(b, xf[:-1], yf[:-1], swap)
        large, small = a.select(b, xs, ys, swap), a.select(b, ["0", *ys], [*xs, "0"], swap)
        sign = b.mux(x.sign, y.sign, swap)
    with b.part("align"):
        moved = a.shift_right_jamming(b, [*["0"] * (GUARDS - 1), *small], shift)
    with b.part("add"):
        *total, carry = a.add(b, [*["0"] * GUARDS, *large], [b.xor(bit, differ) for bit in moved], differ, adder)
        # large < small where exponents are equal, or where the larger exponent is a subnormal's
        below, beyond = b.and_(differ, b.inv(carry)), b.and_(carry, b.inv(differ))
        magnitude = [*a.increment_within(b, [b.xor(bit, below) for bit in total], below, adder), beyond]
    with b.part("flags"):
        nan = b.or_(b.or_(x.nan, y.nan), b.and_(b.and_(x.inf, y.inf), opposite))
        inf = b.or_(x.inf, y.inf)
        own = b.mux(b.xor(sign, below), b.mux(y.sign, x.sign, x.inf), inf)
        flags = [nan, inf, b.and_(own, b.inv(nan)), b.and_(differ, b.inv(inf))]
    magnitude, field, flags = pipe.hold(magnitude), pipe.hold(field), pipe.hold(flags)
    with b.part("leading_zeros"):
        zeros, empty = a.leading_zeros(b, magnitude)
    with b.part("normalise"):
        # the field is at least 1: only a sum with the highest bit set stays where it is
        normal, start = a.shift_left_limited(b, [*magnitude[:-1], "1"], zeros, field, adder)
        start = a.gate(b, start, b.inv(empty))
    return _round_and_pack(b, normal, start, empty, bits, flags, adder)


def _round_and_pack(b: Builder, normal: Word, start: Word, empty: str, bits: int, flags: Word, adder: str) -> Word:
    """The pattern of a magnitude whose highest bit, where set, adds one to the exponent field `start`.

    flags: NaN, infinite, sign, and whether an empty magnitude is +0 whatever the sign says.
    """
    nan, inf, sign, plus = flags
    with b.part("round"):
        kept, guard = normal[-bits:], normal[-bits - 1]
        rest = a.any_by_turns(b, normal[:-bits - 1])
        *fraction, carry = a.round_nearest_even(b, kept[:-1], guard, rest, adder)
        exponent = a.add(b, start, [kept[-1]], carry, adder)
        over = a.any_by_turns(b, [*exponent[EXPONENT:], a.all_by_turns(b, exponent[:EXPONENT])])
    with b.part("flags"):
        special = b.or_(b.or_(nan, inf), over)
        fraction = a.gate(b, fraction, b.inv(special))
        fraction[-1] = b.or_(fraction[-1], nan)
        top = [b.or_(bit, special) for bit in exponent[:EXPONENT]]
        return [*fraction, *top, b.and_(sign, b.nand(empty, plus))]


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
    x, y = (float_operand(b, b.word(name, FP32_BITS)) for name in "ab")
    return buffered(b.block(y=add_operands(b, x, y, out_bits, adder, pipe)))


def lane_accumulator(out_bits: int = SIGNIFICAND, adder: str = "ripple", stages: int = 1) -> Block:
    """y = acc + one exact product, or acc where the product is zero (not valid, nan or inf).

    Inputs acc0…31 (out_bits 8: acc0…15, the upper half), product0…15 (0 where not valid), exponent0…9 (e_x + e_w −
    127, signed), sign, valid, nan, inf (only with valid). stages: 1, or 2 with an input `clk`, y a clock later: then
    two sums interleave in one accumulator. BadInput for other out_bits than 24 and 8.
    """
    _checked(out_bits, stages)
    b = Builder(f"lane_accumulator_{out_bits}_{adder}_{stages}")
    pipe = Pipe(b, stages)
    held = b.word("acc", EXPONENT + out_bits)
    product, exponent = b.word("product", PRODUCT_BITS), b.word("exponent", EXPONENT_BITS)
    sign, valid, nan, inf = (b.input(name) for name in ("sign", "valid", "nan", "inf"))
    y = product_operand(b, product, exponent, sign, valid, nan, inf)
    return buffered(b.block(y=add_operands(b, float_operand(b, held), y, out_bits, adder, pipe)))


def update_adder(adder: str = "ripple") -> Block:
    """y = a + b in FP32 (the master copy, the change with its sign), and w, y's BF16 rounding for the array."""
    b = Builder(f"update_adder_{adder}")
    x, y = (float_operand(b, b.word(name, FP32_BITS)) for name in "ab")
    total = add_operands(b, x, y, SIGNIFICAND, adder, Pipe(b, 1))
    with b.part("to_bf16"):  # the one NaN of a sum, 0x7FC00000, rounds to itself
        *kept, sign = total[BF16_BITS:]
        rest = a.any_by_turns(b, total[:BF16_BITS - 1])
        up = b.and_(total[BF16_BITS - 1], b.or_(rest, kept[0]))
        w = [*_flushed(b, a.increment_within(b, kept, up, adder)), sign]
    return buffered(b.block(y=total, w=w))


def _flushed(b: Builder, rounded: Word) -> Word:
    """Fraction and exponent without what lies below the normal range."""
    exponent = rounded[BF16_FRACTION:]
    return [*a.gate(b, rounded[:BF16_FRACTION], a.any_by_turns(b, exponent)), *exponent]


def stochastic_rounder() -> Block:
    """y = BF16 of the FP32 pattern a, rounded away from zero where its lost 16 bits plus the random r carry.

    Inputs a0…31, r0…15; outputs y0…15, flushed below the normal range; an infinity stays, a NaN becomes 0x7FC0.
    """
    b = Builder("stochastic_rounder")
    pattern, random = b.word("a", FP32_BITS), b.word("r", BF16_BITS)
    with b.part("flags"):
        top = a.all_by_turns(b, pattern[-1 - EXPONENT:-1])
        number = b.nand(top, a.any_by_turns(b, pattern[:-1 - EXPONENT]))
    with b.part("add"):
        carry = b.and_(a.add(b, pattern[:BF16_BITS], random)[-1], b.inv(top))
        rounded = a.increment_within(b, pattern[BF16_BITS:-1], carry)
    with b.part("flags"):
        *low, quiet = a.gate(b, _flushed(b, rounded)[:BF16_FRACTION], number)
        y = [*low, b.nand(b.inv(quiet), number), *rounded[BF16_FRACTION:], b.and_(pattern[-1], number)]
    return buffered(b.block(y=y))
