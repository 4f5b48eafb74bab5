"""What stands around the products: operand registers and serialiser, exponent path, counters, selects, random bits.

Clocked blocks have an input `clk`; their registers start at zero in simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder, Word
from charlib.gates.fan_out import buffered
from charlib.gates.fused import EXPONENT_BITS

BF16_BITS, FRACTION = 16, 7
BIAS = 127
#: taps of maximal-length shift registers, counted from 1: P. Alfke, Xilinx XAPP 052 (1996), table 3
LFSR_TAPS = {8: (8, 6, 5, 4), 10: (10, 7), 12: (12, 6, 4, 1), 16: (16, 15, 13, 4), 32: (32, 22, 2, 1)}


def _positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise BadInput(f"{name}: must be at least 1, got {value}")


# -- operands -----------------------------------------------------------------------------------------


def operand_register(bits: int = BF16_BITS) -> Block:
    """q = load ? d : q, a multiplexer and a flip-flop a bit: holds an operand over the serial cycles."""
    _positive(bits=bits)
    b = Builder(f"operand_register_{bits}")
    clock, load, d = b.input("clk"), b.input("load"), b.word("d", bits)
    state = b.state("held", bits)
    with b.part("register"):
        q = [b.dff(b.mux(old, new, load), clock, name) for old, new, name in zip(state, d, state, strict=True)]
    return buffered(b.block(q=q))


def partial_sum_register(bits: int = 32) -> Block:
    """A partial sum held between tiles: q = clear_n ? (load ? d : q) : 0. Inputs clk, clear_n, load, d0…

    Clearing wins over loading, so that a sum starts from +0 whatever stands at d.
    """
    _positive(bits=bits)
    b = Builder(f"partial_sum_register_{bits}")
    clock, clear_n, load, d = b.input("clk"), b.input("clear_n"), b.input("load"), b.word("d", bits)
    state = b.state("sum", bits)
    with b.part("register"):
        q = [b.dff(b.and_(b.mux(old, new, load), clear_n), clock, name)
             for old, new, name in zip(state, d, state, strict=True)]
    return buffered(b.block(q=q))


def input_serialiser(bits: int = 8) -> Block:
    """serial: the loaded word's bits, most significant first, one a cycle; zeros follow.

    Inputs clk, load, d0…; in the cycle after `load` the highest bit is out.
    """
    _positive(bits=bits)
    b = Builder(f"input_serialiser_{bits}")
    clock, load, d = b.input("clk"), b.input("load"), b.word("d", bits)
    state = b.state("shift", bits)
    with b.part("register"):
        for k in range(bits):
            b.dff(b.mux(state[k - 1] if k else "0", d[k], load), clock, state[k])
    return buffered(b.block(serial=state[-1]))


def _significand(b: Builder, code: Word) -> tuple[Word, str, str, str]:
    """(significand, nonzero, NaN, infinite) of a BF16 code; a subnormal is zero."""
    exponent, fraction = code[FRACTION:-1], code[:FRACTION]
    hidden, top, some = a.any_of(b, exponent), a.all_of(b, exponent), a.any_of(b, fraction)
    return [*a.gate(b, fraction, hidden), hidden], hidden, b.and_(top, some), b.and_(top, b.inv(some))


def hidden_bit_generator() -> Block:
    """Significands of x and w with their hidden bits, and the product's sign, valid, nan and inf.

    Inputs x0…15, w0…15; outputs mx0…7, mw0…7 (0 where an operand is zero or subnormal), sign, valid, nan, inf.
    """
    b = Builder("hidden_bit_generator")
    x, w = b.word("x", BF16_BITS), b.word("w", BF16_BITS)
    with b.part("hidden_bit"):
        (mx, some_x, nan_x, inf_x), (mw, some_w, nan_w, inf_w) = _significand(b, x), _significand(b, w)
        valid = b.and_(some_x, some_w)
        infinite = b.or_(inf_x, inf_w)
        nan = b.or_(b.or_(nan_x, nan_w), b.and_(infinite, b.inv(valid)))
        inf = b.and_(infinite, b.inv(nan))
        return buffered(b.block(mx=mx, mw=mw, sign=b.xor(x[-1], w[-1]), valid=valid, nan=nan, inf=inf))


def exponent_adder(adder: str = "ripple") -> Block:
    """exponent = ex + ew − 127 as a signed number of 10 bits. Inputs ex0…7, ew0…7."""
    b = Builder(f"exponent_adder_{adder}")
    x, w = b.word("ex", 8), b.word("ew", 8)
    with b.part("exponent"):
        total = a.add(b, x, w, "1", adder)  # + 1 here, − 128 below: only the upper bits carry
        lifted = a.add(b, total[7:], a.constant((-1) % (1 << (EXPONENT_BITS - 7)), EXPONENT_BITS - 7))
        return buffered(b.block(exponent=[*total[:7], *lifted[:EXPONENT_BITS - 7]]))


def exponent_finish() -> Block:
    """The BF16 field of a signed biased exponent plus the normalisation's carry; over and under flag its ends.

    Inputs exponent0…9, carry; outputs field0…7 (all ones where over, 0 where under), over, under.
    """
    b = Builder("exponent_finish")
    exponent, carry = b.word("exponent", EXPONENT_BITS), b.input("carry")
    with b.part("exponent"):
        total = a.increment(b, a.pad(exponent, EXPONENT_BITS + 1, exponent[-1]), carry)[:EXPONENT_BITS + 1]
        negative = total[-1]
        under = b.or_(negative, b.inv(a.any_of(b, total[:-1])))
        over = b.and_(b.inv(negative), b.or_(a.any_of(b, total[8:-1]), a.all_of(b, total[:8])))
        field = [b.or_(b.and_(bit, b.inv(under)), over) for bit in total[:8]]
        return buffered(b.block(field=field, over=over, under=under))


# -- registers, counters, selects ---------------------------------------------------------------------


def registers(bits: int) -> Block:
    """A rank of flip-flops: q = d, a clock later."""
    _positive(bits=bits)
    b = Builder(f"registers_{bits}")
    clock, d = b.input("clk"), b.word("d", bits)
    with b.part("register"):
        return b.block(q=[b.dff(net, clock) for net in d])


def control_counter(states: int) -> Block:
    """Counts 0 … states − 1 and over; `wrap` is high in the last state. Inputs clk, clear_n."""
    if states < 2:
        raise BadInput(f"states: a counter needs at least 2, got {states}")
    b = Builder(f"control_counter_{states}")
    clock, clear_n = b.input("clk"), b.input("clear_n")
    bits = a.bits_for(states - 1)
    state = b.state("count", bits)
    with b.part("control"):
        wrap = a.all_of(b, [net if states - 1 >> k & 1 else b.inv(net) for k, net in enumerate(state)])
        following = a.increment(b, state, "1")[:bits]
        keep = b.and_(clear_n, b.inv(wrap))
        for net, value in zip(state, following, strict=True):
            b.dff(b.and_(value, keep), clock, net)
        return buffered(b.block(count=state, wrap=wrap))


def column_select(words: int) -> Block:
    """One of `words` select lines by address while `enable` is high. BadInput unless a power of two from 2 on."""
    bits = int(math.log2(words)) if words > 1 else 0
    if words < 2 or 1 << bits != words:
        raise BadInput(f"words: a select needs a power of two from 2 on, got {words}")
    b = Builder(f"column_select_{words}")
    address, enable = b.word("address", bits), b.input("enable")
    with b.part("select"):
        lines = [b.and_(enable, a.all_of(b, [net if word >> k & 1 else b.inv(net) for k, net in enumerate(address)]))
                 for word in range(words)]
        return buffered(b.block(select=lines))


# -- random bits --------------------------------------------------------------------------------------


def lfsr(bits: int = 32, leap: int = 16) -> Block:
    """`leap` fresh random bits a clock: a maximal-length shift register, advanced `leap` steps at once.

    Fibonacci form with XNOR feedback, so that all zeros is a state like others (all ones is not); the steps are
    unrolled, since a weight takes 16 bits at a time and bits that were used before would correlate neighbours.
    BadInput for a length without cited taps.
    """
    if bits not in LFSR_TAPS:
        raise BadInput(f"bits: taps are cited for {', '.join(map(str, LFSR_TAPS))}, got {bits}")
    if not 1 <= leap <= bits:
        raise BadInput(f"leap: 1 to {bits} are allowed, got {leap}")
    b = Builder(f"lfsr_{bits}_{leap}")
    clock = b.input("clk")
    state = b.state("lfsr", bits)
    with b.part("random"):
        word = list(state)
        for _ in range(leap):
            feedback = "1"
            for tap in LFSR_TAPS[bits]:
                feedback = b.xor(feedback, word[tap - 1])
            word = [feedback, *word[:-1]]
        for net, value in zip(state, word, strict=True):
            b.dff(value, clock, net)
        return buffered(b.block(r=state[:leap]))


# -- the clock ----------------------------------------------------------------------------------------

#: flip-flops of the clock tree that is priced, and loads of one of its buffers
CLOCKED, CLOCK_FAN_OUT = 1024, 16
#: pitch of clocked flip-flops with the logic between them, in cell pitches: the fused tree's area a flip-flop
CLOCK_PITCHES = 7


@dataclass(frozen=True)
class ClockTree:
    """buffers, wires_m: by level, leaves first; a level's wires together."""

    flip_flops: int
    buffers: tuple[int, ...]
    wires_m: tuple[float, ...]

    @property
    def wire_m(self) -> float:
        """All levels' wires."""
        return sum(self.wires_m)


def clock_tree(flip_flops: int, pitch_m: float, fan_out: int = CLOCK_FAN_OUT) -> ClockTree:
    """Buffers and wire of an H-tree over flip-flops on a square of pitch_m each.

    A buffer drives `fan_out` loads; a level's wire is that of a comb over its square, load count × pitch of the loads
    (edge of the square they cover): n·√(A/n) for n loads over the area A = flip_flops·pitch².
    """
    _positive(flip_flops=flip_flops)
    if fan_out < 2 or not pitch_m > 0:
        raise BadInput(f"clock_tree: fan_out of at least 2 and a positive pitch_m are needed, got {fan_out} and "
                       f"{pitch_m:g}")
    area = flip_flops * pitch_m**2
    loads = flip_flops
    buffers: list[int] = []
    wires: list[float] = []
    while loads > 1 or not buffers:
        wires.append(loads * math.sqrt(area / loads))
        loads = -(-loads // fan_out)
        buffers.append(loads)
    return ClockTree(flip_flops, tuple(buffers), tuple(wires))
