"""A lane's element-wise result: product normalised, rounded to BF16 and flushed; and the gradient's f' gate.

Laid down by the system's numerics (`product`), bit for bit.
"""

from __future__ import annotations

from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder
from charlib.gates.fan_out import buffered
from charlib.gates.floatadd import BF16_BITS, product_operand
from charlib.gates.fused import EXPONENT_BITS, PRODUCT_BITS, round_and_pack

_SIX = 0x40C0  #: 6.0 in BF16


def hadamard_rounder(saturate: bool = False, adder: str = "ripple") -> Block:
    """y = the BF16 product. Inputs product0…15, exponent0…9 (e_x + e_w − 127, signed), sign, valid, nan, inf.

    Nearest even, then flushed below the normal range with its sign; overflow is infinite, or with `saturate` the
    largest finite number.
    """
    b = Builder(f"hadamard_rounder_{int(saturate)}_{adder}")
    product, exponent = b.word("product", PRODUCT_BITS), b.word("exponent", EXPONENT_BITS)
    sign, valid, nan, inf = (b.input(name) for name in ("sign", "valid", "nan", "inf"))
    number = product_operand(b, product, exponent, sign, nan, inf)
    y = round_and_pack(b, number.significand[-PRODUCT_BITS:], number.field, sign, b.inv(valid), 8, (nan, inf, sign),
                       adder, zero_negative=sign, saturate=saturate)
    with b.part("flags"):
        normal = a.any_of(b, y[7:15])
        return buffered(b.block(y=[*a.gate(b, y[:7], normal), *y[7:]]))


def relu_gradient() -> Block:
    """y = d where the pre-activation z is above 0 (with the input `six` also below 6), else +0: f'·d of ReLU, ReLU6.

    Inputs z0…15, d0…15, six. Subnormal z count as zero, NaN as not above.
    """
    b = Builder("relu_gradient")
    z, d, six = b.word("z", BF16_BITS), b.word("d", BF16_BITS), b.input("six")
    with b.part("compare"):
        exponent, fraction, sign = z[7:15], z[:7], z[15]
        nan = b.and_(a.all_of(b, exponent), a.any_of(b, fraction))
        above = b.and_(b.nor(sign, nan), a.any_of(b, exponent))
        full = b.and_(six, a.at_least(b, z[:15], a.constant(_SIX, 15)))
        open_ = b.and_(above, b.inv(full))
    with b.part("gate"):
        return buffered(b.block(y=a.gate(b, d, open_)))
