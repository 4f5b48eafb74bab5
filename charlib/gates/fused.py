"""The fused adder tree: products of many lanes aligned to their largest exponent, summed exactly, rounded once.

A lane brings `product` (16 bits, two significands multiplied), `exponent` (10 bits signed, e_x + e_w − 127), `sign`,
`valid` (0: the product is zero and takes no part in the maximum) and the flags `nan` and `inf`. With taps, the lanes
also form groups (three 9-taps of 32 lanes): while the input `depthwise` is high each group is aligned to its own
maximum and summed, detected and rounded by itself, and the whole tree rests; while it is low the groups' rounders
rest. With five stages, registers stand after the alignment distances, the aligned lanes, the sum and the leading-zero
count: the distances are found while the products are still being accumulated, so a product comes one clock after its
exponent, held by its shift-accumulator; a result comes four clocks after its exponent. What the tree computes is laid
down by the system's numerics, with which tests compare it bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block
from charlib.gates.builder import Builder, Word
from charlib.gates.fan_out import buffered

ALIGN_MODES = ("magnitude", "floor", "sticky")
TREES = ("ripple", "carry_save")
PRODUCT_BITS, EXPONENT_BITS = 16, 10
#: bits of a rounded field: the exponent sum, the tree's growth and the leading zeros fit in it, signed
FIELD_BITS = 11
STAGES = 5


@dataclass(frozen=True)
class FusedTree:
    """Parameters of a tree. tile_bits: significand of the result, 24 (FP32) or 8 (BF16); taps: 0 for none; stages: 1,
    or 5 for a pipelined tree with an input `clk`.
    """

    lanes: int = 32
    guard_bits: int = 4
    align_mode: str = "magnitude"
    tile_bits: int = 24
    taps: int = 0
    adder: str = "ripple"
    tree: str = "ripple"
    stages: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.lanes <= 1024:
            raise BadInput(f"lanes: 2 to 1024 are allowed, got {self.lanes}")
        if not 1 - PRODUCT_BITS <= self.guard_bits <= 24:
            raise BadInput(f"guard_bits: {1 - PRODUCT_BITS} to 24 are allowed, got {self.guard_bits}")
        if self.taps and not 2 <= self.taps < self.lanes:
            raise BadInput(f"taps: 0, or 2 to {self.lanes - 1}, got {self.taps}")
        for name, allowed in (("align_mode", ALIGN_MODES), ("adder", a.ADDERS), ("tree", TREES),
                              ("tile_bits", (24, 8)), ("stages", (1, STAGES))):
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name}: {', '.join(map(str, allowed))} are allowed, got '{getattr(self, name)}'")

    @property
    def lane_bits(self) -> int:
        """Width of an aligned lane."""
        return PRODUCT_BITS + self.guard_bits

    @property
    def groups(self) -> tuple[range, ...]:
        """Lanes by tap group, what is left over last; all in one where there are no taps."""
        size = self.taps or self.lanes
        return tuple(range(k, min(k + size, self.lanes)) for k in range(0, self.lanes, size))

    @property
    def name(self) -> str:
        """A name that says every parameter."""
        guard = f"m{-self.guard_bits}" if self.guard_bits < 0 else str(self.guard_bits)
        return (f"fused_{self.lanes}_g{guard}_{self.align_mode}_{self.tile_bits}_t{self.taps}_{self.adder}_"
                f"{self.tree}" + (f"_s{self.stages}" if self.stages > 1 else ""))


@dataclass(frozen=True)
class Lane:
    """A lane's nets. key: the exponent in offset binary, 0 where the lane is masked."""

    product: Word
    sign: str
    nan: str
    inf: str
    key: Word


class Pipe:
    """Registers where the tree has stages, plain wires where not."""

    def __init__(self, b: Builder, stages: int) -> None:
        self._b, self._clock = b, b.input("clk") if stages > 1 else ""

    def hold(self, word: Sequence[str]) -> Word:
        """The word one clock later."""
        if not self._clock:
            return list(word)
        with self._b.part("registers"):
            return [net if net in ("0", "1") else self._b.dff(net, self._clock) for net in word]


def fused_tree(p: FusedTree) -> Block:
    """The whole tree, buffered. Outputs: y0… (32 or 16 bits), with taps also t0_0…, t1_0…, one for each group."""
    b = Builder(p.name)
    pipe = Pipe(b, p.stages)
    depthwise = b.input("depthwise") if p.taps else "0"
    lanes = [_lane(b, k) for k in range(p.lanes)]
    with b.part("maximum"):
        tops = [a.maximum_of(b, [lanes[k].key for k in group]) for group in p.groups]
        top = a.maximum_of(b, tops)
        wanted = [a.select(b, top, own, depthwise) for own in tops] if p.taps else tops
    shifts = {k: pipe.hold(_distance(b, p, lanes[k], own))
              for own, group in zip(wanted, p.groups, strict=True) for k in group}
    words = {k: pipe.hold(_align(b, p, lanes[k], shift)) for k, shift in shifts.items()}
    sums: list[Word] = []
    with b.part("tree"):
        for group in p.groups:
            chosen = [words[k] for k in group]
            sums.append(a.sum_signed(b, chosen, _width(p, len(group)), p.tree, p.adder))
        whole = [a.gate(b, part, b.inv(depthwise)) for part in sums] if p.taps else sums
        total = a.sum_signed(b, whole, _width(p, p.lanes), p.tree, p.adder)
    outputs = {"y": _finish(b, p, pipe, total, top, lanes, p.lanes)}
    if p.taps:
        for g, group in enumerate(p.groups):
            if len(group) < p.taps:
                continue
            with b.part("tree"):
                own = a.gate(b, sums[g], depthwise)
            outputs[f"t{g}_"] = _finish(b, p, pipe, own, tops[g], [lanes[k] for k in group], p.taps)
    return buffered(b.block(**outputs))


def _width(p: FusedTree, lanes: int) -> int:
    return p.lane_bits + math.ceil(math.log2(lanes)) + 1


def _lane(b: Builder, k: int) -> Lane:
    product, exponent = b.word(f"product{k}_", PRODUCT_BITS), b.word(f"exponent{k}_", EXPONENT_BITS)
    sign, valid, nan, inf = (b.input(f"{name}{k}") for name in ("sign", "valid", "nan", "inf"))
    with b.part("maximum"):
        key = a.gate(b, [*exponent[:-1], b.inv(exponent[-1])], valid)
    return Lane(product, sign, nan, inf, key)


def _distance(b: Builder, p: FusedTree, lane: Lane, top: Word) -> Word:
    """How far a lane is shifted: the bits that its shifter has ranks for, and one for anything beyond."""
    with b.part("distance"):
        shift, _ = a.subtract(b, top, lane.key, p.adder)
        ranks = a.bits_for(p.lane_bits + max(0, -p.guard_bits))
        return [*shift[:ranks], a.any_of(b, shift[ranks:])]


def _align(b: Builder, p: FusedTree, lane: Lane, shift: Word) -> Word:
    """The lane at the tree's weight, signed, lane_bits + 1 wide."""
    with b.part("align"):
        wide = [*["0"] * max(0, p.guard_bits), *lane.product]
        drop = max(0, -p.guard_bits)
        if p.align_mode == "floor":
            with_sign = a.negate_if(b, [*wide, "0"], lane.sign)
            return a.shift_right(b, with_sign, shift, fill=with_sign[-1])[0][drop:]
        kept, lost = a.shift_right(b, wide, shift, sticky=p.align_mode == "sticky")
        if p.align_mode == "sticky":
            kept[drop] = b.or_(kept[drop], b.or_(lost, a.any_of(b, kept[:drop])))
        return a.negate_if(b, [*kept[drop:], "0"], lane.sign)


def _finish(b: Builder, p: FusedTree, pipe: Pipe, total: Word, top: Word, lanes: Sequence[Lane], count: int) -> Word:
    """Magnitude, leading zeros, normalise, round once to tile_bits, pack with the special values."""
    growth = math.ceil(math.log2(count))
    total, flags = pipe.hold(total), list(special_flags(b, lanes))
    for _ in range(STAGES - 1):
        top, flags = pipe.hold(top), pipe.hold(flags)
    with b.part("magnitude"):
        negative = total[-1]
        magnitude = a.negate_if(b, total, negative, p.adder)[:-1]
    with b.part("leading_zeros"):
        zeros, empty = a.leading_zeros(b, magnitude)
    magnitude, zeros = pipe.hold(magnitude), pipe.hold(zeros)
    negative, empty = pipe.hold([negative, empty])
    with b.part("normalise"):
        normal = a.shift_left(b, magnitude, zeros)
        # top is offset by 512; the biased field is e + 1 + growth − leading zeros
        lifted = a.add(b, a.pad(top, FIELD_BITS), a.constant((1 + growth - 512) % (1 << FIELD_BITS), FIELD_BITS))
        field, _ = a.subtract(b, lifted[:FIELD_BITS], zeros, p.adder)
    return round_and_pack(b, normal, field, negative, empty, p.tile_bits, (flags[0], flags[1], flags[2]), p.adder)


def special_flags(b: Builder, lanes: Sequence[Lane]) -> tuple[str, str, str]:
    """(nan, inf, its sign) of a sum."""
    with b.part("flags"):
        plus = a.any_of(b, [b.and_(lane.inf, b.inv(lane.sign)) for lane in lanes])
        minus = a.any_of(b, [b.and_(lane.inf, lane.sign) for lane in lanes])
        nan = b.or_(a.any_of(b, [lane.nan for lane in lanes]), b.and_(plus, minus))
        return nan, b.or_(plus, minus), minus


def round_and_pack(b: Builder, normal: Word, field: Word, negative: str, empty: str, bits: int,
                   flags: tuple[str, str, str], adder: str = "ripple") -> Word:
    """The pattern of a normalised magnitude (its highest bit set) whose biased exponent is `field`, signed.

    Rounds to nearest even at `bits` significant bits; below the normal range at the format's lowest bit, gradually.
    empty: the magnitude is zero, which gives +0. Returns 8 + bits nets: fraction, exponent, sign.
    """
    nan, inf, inf_negative = flags
    with b.part("round"):
        width = max(len(normal), bits + 1)
        word = [*["0"] * (width - len(normal)), *normal]
        # field < 1: shift right by 1 − field, and the packed field starts at 0
        positive = b.and_(b.inv(field[-1]), a.any_of(b, field[:-1]))
        down, _ = a.subtract(b, a.constant(1, len(field)), field, adder)
        down = a.gate(b, down, b.inv(positive))
        word, lost = a.shift_right(b, word, down, sticky=True)
        kept, guard, below = word[width - bits:], word[width - bits - 1], word[:width - bits - 1]
        rounded = a.round_nearest_even(b, kept, guard, b.or_(lost, a.any_of(b, below)), adder)
        start = a.gate(b, a.add(b, field, ["1"] * len(field), "0", adder)[:len(field)], positive)
        exponent = a.add(b, start, rounded[bits - 1:], "0", adder)[:len(field)]
        over = b.or_(a.any_of(b, exponent[8:]), a.all_of(b, exponent[:8]))
    with b.part("flags"):
        infinite = b.or_(inf, b.and_(over, b.inv(empty)))
        finite = b.nor(b.or_(nan, infinite), empty)
        special = b.or_(nan, infinite)
        fraction = a.gate(b, rounded[:bits - 1], finite)
        fraction[-1] = b.or_(fraction[-1], nan)
        top = [b.or_(b.and_(bit, finite), special) for bit in exponent[:8]]
        own = b.mux(b.and_(negative, b.inv(empty)), inf_negative, inf)
        sign = b.and_(own, b.inv(nan))
    return [*fraction, *top, sign]
