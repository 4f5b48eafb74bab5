"""A lane's element-wise result: product normalised, rounded to BF16 and flushed; and the gradient's f' gate.

Laid down by the system's numerics (`product`), bit for bit.
"""

from __future__ import annotations

from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder
from charlib.gates.fan_out import buffered
from charlib.gates.floatadd import BF16_BITS, BF16_FRACTION
from charlib.gates.fused import EXPONENT_BITS, PRODUCT_BITS


def hadamard_rounder(saturate: bool = False, adder: str = "ripple") -> Block:
    """y = the BF16 product. Inputs product0…15, exponent0…9 (e_x + e_w − 127, signed), sign, valid, nan, inf.

    Nearest even, then flushed below the normal range with its sign; overflow is infinite, or with `saturate` the
    largest finite number. A product of two significands that has its highest bit set is at most 255², which never
    rounds up to a power of two: one increment of the exponent serves normalising and rounding.
    """
    b = Builder(f"hadamard_rounder_{int(saturate)}_{adder}")
    product, exponent = b.word("product", PRODUCT_BITS), b.word("exponent", EXPONENT_BITS)
    sign, valid, nan, inf = (b.input(name) for name in ("sign", "valid", "nan", "inf"))
    high, point = product[-1], PRODUCT_BITS - 2 - BF16_FRACTION
    with b.part("normalise"):
        kept = a.select(b, product[point:-2], product[point + 1:-1], high)
        guard = b.mux(product[point - 1], product[point], high)
        rest = b.or_(a.any_by_turns(b, product[:point - 1]), b.and_(product[point - 1], high))
    with b.part("round"):
        # one octave below the normal range the last bit is the one above: of its codes only the highest rounds up
        last = b.and_(a.all_by_turns(b, kept), b.inv(a.any_by_turns(b, exponent[:8])))
        up = b.or_(b.and_(guard, b.or_(rest, kept[0])), last)
        *fraction, carry = a.increment(b, kept, up, adder)
        field = a.increment_within(b, exponent, b.or_(high, carry), adder)
    with b.part("flags"):
        negative, some = field[-1], a.any_by_turns(b, field[:-1])
        counts = b.nor(negative, b.nand(some, valid))  # neither flushed nor zero
        reaches = b.or_(field[8], a.all_by_turns(b, field[:8]))
        over, outside = b.and_(reaches, counts), b.or_(nan, inf)
        special = b.or_(over, outside)
        finite = b.and_(counts, b.inv(special))
        largest = b.and_(over, b.inv(outside)) if saturate else "0"
        low = [b.nand(b.nand(bit, finite), b.inv(largest)) for bit in fraction]
        low[-1] = b.or_(low[-1], nan)
        top = [b.nand(b.nand(bit, counts), b.inv(special)) for bit in field[:8]]
        top[0] = b.and_(top[0], b.inv(largest)) if saturate else top[0]  # all ones but the lowest bit
        return buffered(b.block(y=[*low, *top, b.and_(sign, b.inv(nan))]))


def relu_gradient() -> Block:
    """y = d where the pre-activation z is above 0 (with the input `six` also below 6), else +0: f'·d of ReLU, ReLU6.

    Inputs z0…15, d0…15, six. At 0 and at 6 themselves the gradient is 0, as in torch. Subnormal z count as zero, and
    NaN as not above: torch, whose test is "not (z <= 0)", lets a gradient pass there.
    """
    b = Builder("relu_gradient")
    z, d, six = b.word("z", BF16_BITS), b.word("d", BF16_BITS), b.input("six")
    with b.part("compare"):
        exponent, fraction, sign = z[BF16_FRACTION:-1], z[:BF16_FRACTION], z[-1]
        nan = b.and_(a.all_by_turns(b, exponent), a.any_by_turns(b, fraction))
        # 6 = 1.5 × 4: the exponent field is above 129, or is 129 with the fraction's highest bit
        beyond = b.and_(exponent[-1], a.any_by_turns(b, [*exponent[1:-1], b.and_(exponent[0], fraction[-1])]))
        above = b.and_(b.nor(sign, nan), a.any_by_turns(b, exponent))
        rises = b.and_(above, b.nand(six, beyond))
    with b.part("gate"):
        return buffered(b.block(y=a.gate(b, d, rises)))
