"""Signed integer arithmetic of a bit-serial macro: the lane's shift-accumulator and the post-sum tree over lanes.

Words are two's complement, bit 0 first. A serial operand comes most significant bit first, so that bit weighs
negatively: its partial product is subtracted.
"""

from __future__ import annotations

import math

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder
from charlib.gates.fan_out import buffered


def signed_shift_accumulator(bits: int, width: int) -> Block:
    """acc' = (clear_n ? 2·acc : 0) + (negative ? −pp : pp) modulo 2^width; outputs acc0…

    Inputs clk, clear_n (low in the first cycle), negative (high where the serial sign bit is 1), pp0… of `bits` bits,
    signed. Eight cycles multiply an 8-bit word: bits 8, width 16. BadInput unless 2 <= bits < width.
    """
    if not 2 <= bits < width:
        raise BadInput(f"bits, width: 2 <= bits < width must hold, got {bits} and {width}")
    b = Builder(f"signed_shift_accumulator_{bits}x{width}")
    clock, clear_n, negative, pp = b.input("clk"), b.input("clear_n"), b.input("negative"), b.word("pp", bits)
    state = b.state("acc", width)
    with b.part("accumulate"):
        kept = ["0", *a.gate(b, state[:-1], clear_n)]
        turned = [b.xor(bit, negative) for bit in pp]
        total = a.add(b, kept, a.pad(turned, width, turned[-1]), negative)[:width]
    with b.part("register"):
        for net, value in zip(state, total, strict=True):
            b.dff(value, clock, net)
    return buffered(b.block(acc=state))


def post_sum_tree(lanes: int, bits: int) -> Block:
    """sum of the lanes whose `use` is high; inputs use0…, then a{lane}_0… of each lane, signed; outputs sum0…

    `use` isolates the tree from accumulators that still count, and picks the lanes of a tap (4, 9 or all of them).
    Ripple adders by levels. BadInput for fewer than 2 lanes or bits.
    """
    if lanes < 2 or bits < 2:
        raise BadInput(f"lanes, bits: at least 2 are needed, got {lanes} and {bits}")
    b = Builder(f"post_sum_tree_{lanes}x{bits}")
    use = b.word("use", lanes)
    words = [b.word(f"a{lane}_", bits) for lane in range(lanes)]
    with b.part("isolate"):
        words = [a.gate(b, word, keep) for word, keep in zip(words, use, strict=True)]
    with b.part("tree"):
        total = a.sum_signed(b, words, bits + math.ceil(math.log2(lanes)))
    return buffered(b.block(sum=total))
