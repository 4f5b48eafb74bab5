"""The structural generator: adders, adder trees, decoders and the serial shift-accumulator, from cells.

All numbers are unsigned, bit 0 first. Lane k of a tree has nets a{k}_{bit}.
"""

from __future__ import annotations

import math

from charlib.errors import BadInput
from charlib.gates.block import Block, Instance


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise BadInput(f"{name}: must be at least 1, got {value}")


def ripple(a: list[str], b: list[str], prefix: str) -> tuple[list[Instance], list[str]]:
    """Sum of two unsigned numbers of equal width, one bit wider; the lowest stage is a half adder."""
    instances: list[Instance] = []
    total: list[str] = []
    carry = ""
    for k, (x, y) in enumerate(zip(a, b, strict=True)):
        outputs = (f"{prefix}s{k}", f"{prefix}c{k}")
        inputs = (x, y, carry) if carry else (x, y)
        instances.append(Instance("full_adder" if carry else "half_adder", inputs, outputs))
        total.append(outputs[0])
        carry = outputs[1]
    return instances, [*total, carry]


def adder_tree(lanes: int, bits: int) -> Block:
    """Sum of `lanes` unsigned numbers of `bits` bits by levels of ripple adders.

    A level with an odd count passes its last number on, widened by a zero. For a power of two of lanes the
    adders (half and full) number N(B+1) − (B + log2 N + 1).
    """
    _positive(lanes=lanes, bits=bits)
    if lanes < 2:
        raise BadInput(f"lanes: a tree needs at least 2, got {lanes}")
    numbers = [[f"a{lane}_{k}" for k in range(bits)] for lane in range(lanes)]
    inputs = tuple(net for number in numbers for net in number)
    instances: list[Instance] = []
    level = 0
    while len(numbers) > 1:
        following: list[list[str]] = []
        for pair in range(len(numbers) // 2):
            added, total = ripple(numbers[2 * pair], numbers[2 * pair + 1], f"l{level}_{pair}_")
            instances += added
            following.append(total)
        if len(numbers) % 2:
            following.append([*numbers[-1], "0"])
        numbers = following
        level += 1
    width = bits + math.ceil(math.log2(lanes))
    return Block(f"adder_tree_{lanes}x{bits}", inputs, tuple(numbers[0][:width]), tuple(instances))


def full_adders_closed_form(lanes: int, bits: int) -> int:
    """N(B+1) − (B + log2 N + 1) adders (half ones counted as full); unsigned ripple tree, N a power of two.

    The form zigzag-imc uses.
    """
    if lanes < 2 or lanes & (lanes - 1):
        raise BadInput(f"lanes: the closed form needs a power of two, got {lanes}")
    return lanes * (bits + 1) - (bits + int(math.log2(lanes)) + 1)


def shift_accumulator(bits: int) -> Block:
    """acc' = clear ? pp : 2·acc + pp, most significant serial bit first; product of two `bits`-bit numbers.

    Inputs: clk, clear_n (low in the first cycle), pp0…; outputs: the 2·bits accumulator bits. Each bit has
    a gate that clears it, the low `bits` a full or half adder, the upper ones a half adder for the carry.
    """
    _positive(bits=bits)
    width = 2 * bits
    instances = [Instance("dff", (f"d{k}", "clk"), (f"q{k}",)) for k in range(width)]
    kept = ["0"]
    for k in range(width - 1):  # the shifted accumulator, gated by clear_n
        instances += [Instance("nand2", (f"q{k}", "clear_n"), (f"gn{k}",)), Instance("inv", (f"gn{k}",), (f"g{k}",))]
        kept.append(f"g{k}")
    # bit 0 of the shifted accumulator is zero, so pp0 passes through and no carry starts there
    instances.append(Instance("buffer", ("pp0",), ("d0",)))
    carry = ""
    for k in range(1, width):
        operands = [kept[k]] + ([f"pp{k}"] if k < bits else []) + ([carry] if carry else [])
        if len(operands) == 1:
            instances.append(Instance("buffer", (operands[0],), (f"d{k}",)))
            continue
        cell = "full_adder" if len(operands) == 3 else "half_adder"
        if k == width - 1:  # no carry leaves: the product fits in 2·bits
            instances.append(Instance("xor2", (operands[0], operands[1]), (f"d{k}",)))
            continue
        instances.append(Instance(cell, tuple(operands), (f"d{k}", f"c{k}")))
        carry = f"c{k}"
    inputs = ("clk", "clear_n", *(f"pp{k}" for k in range(bits)))
    return Block(f"shift_accumulator_{bits}", inputs, tuple(f"q{k}" for k in range(width)), tuple(instances))


def decoder(rows: int) -> Block:
    """One of `rows` (a power of two): address bits and their inverses through trees of NAND2 and inverters."""
    bits = int(math.log2(rows)) if rows > 1 else 0
    if rows < 2 or 1 << bits != rows:
        raise BadInput(f"rows: a decoder needs a power of two from 2 on, got {rows}")
    instances = [Instance("inv", (f"a{k}",), (f"n{k}",)) for k in range(bits)]
    outputs: list[str] = []
    made: dict[tuple[str, ...], str] = {}

    def conjunction(literals: tuple[str, ...]) -> str:
        if len(literals) == 1:
            return literals[0]
        if literals not in made:
            half = len(literals) // 2
            left, right = conjunction(literals[:half]), conjunction(literals[half:])
            net = f"y{len(made)}"
            instances.extend([Instance("nand2", (left, right), (f"{net}n",)), Instance("inv", (f"{net}n",), (net,))])
            made[literals] = net
        return made[literals]

    for row in range(rows):
        outputs.append(conjunction(tuple(f"a{k}" if row >> k & 1 else f"n{k}" for k in range(bits))))
    return Block(f"decoder_{rows}", tuple(f"a{k}" for k in range(bits)), tuple(outputs), tuple(instances))
