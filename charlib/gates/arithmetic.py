"""Integer circuits out of cells: adders, carry-save trees, comparators, shifters, leading-zero detectors, rounding.

Words are unsigned, bit 0 first, unless a name says signed (two's complement). Sources of the structures: N. Weste and
D. Harris, CMOS VLSI Design, 4th ed., ch. 11 (ripple, carry-select, Sklansky prefix, carry-save, logarithmic shifter);
V. Oklobdzija, "An algorithmic and novel design of a leading zero detector circuit", IEEE TVLSI 2 (1994) 124.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from charlib.errors import BadInput
from charlib.gates.builder import Builder, Word

ADDERS = ("ripple", "carry_select", "prefix")
#: bits of a carry-select adder's group
SELECT_GROUP = 4


def constant(value: int, width: int) -> Word:
    """A constant word."""
    return [str(value >> k & 1) for k in range(width)]


def pad(word: Word, width: int, fill: str = "0") -> Word:
    """The word with bits of `fill` above it; never shorter."""
    return [*word, *[fill] * (width - len(word))]


def bits_for(count: int) -> int:
    """Bits of a number from 0 to count."""
    return max(1, count.bit_length())


# -- adders -------------------------------------------------------------------------------------------


def _ripple(b: Builder, x: Word, y: Word, carry: str) -> tuple[Word, str]:
    total: Word = []
    for p, q in zip(x, y, strict=True):
        s, carry = b.full(p, q, carry)
        total.append(s)
    return total, carry


def _carry_select(b: Builder, x: Word, y: Word, carry: str) -> tuple[Word, str]:
    """Groups computed for both carries; the arriving carry picks one."""
    total: Word = []
    for start in range(0, len(x), SELECT_GROUP):
        span = slice(start, start + SELECT_GROUP)
        if start == 0:
            part, carry = _ripple(b, x[span], y[span], carry)
            total += part
            continue
        low, low_carry = _ripple(b, x[span], y[span], "0")
        high, high_carry = _ripple(b, x[span], y[span], "1")
        total += [b.mux(p, q, carry) for p, q in zip(low, high, strict=True)]
        carry = b.mux(low_carry, high_carry, carry)
    return total, carry


def _prefix(b: Builder, x: Word, y: Word, carry: str) -> tuple[Word, str]:
    """Sklansky: log2 levels of (generate, propagate), at the price of fan-out."""
    propagate = [b.xor(p, q) for p, q in zip(x, y, strict=True)]
    generate = [b.and_(p, q) for p, q in zip(x, y, strict=True)]
    if carry != "0":
        generate[0] = b.or_(generate[0], b.and_(propagate[0], carry))
    group_g, group_p = list(generate), list(propagate)
    distance = 1
    while distance < len(x):
        for k in range(len(x)):
            if k & distance:
                j = (k // distance) * distance - 1
                group_g[k] = b.nand(b.inv(group_g[k]), b.nand(group_p[k], group_g[j]))
                group_p[k] = b.and_(group_p[k], group_p[j])
        distance *= 2
    total = [b.xor(propagate[0], carry)]
    total += [b.xor(propagate[k], group_g[k - 1]) for k in range(1, len(x))]
    return total, group_g[-1]


_ADD: dict[str, Callable[[Builder, Word, Word, str], tuple[Word, str]]] = {
    "ripple": _ripple, "carry_select": _carry_select, "prefix": _prefix}


def add(b: Builder, x: Word, y: Word, carry: str = "0", adder: str = "ripple") -> Word:
    """x + y + carry, one bit wider than the wider of them."""
    if adder not in _ADD:
        raise BadInput(f"adder: {', '.join(ADDERS)} are allowed, got '{adder}'")
    width = max(len(x), len(y))
    total, out = _ADD[adder](b, pad(x, width), pad(y, width), carry)
    return [*total, out]


def subtract(b: Builder, x: Word, y: Word, adder: str = "ripple") -> tuple[Word, str]:
    """(x − y modulo 2^width, no_borrow): no_borrow is 1 where x >= y."""
    width = max(len(x), len(y))
    total = add(b, pad(x, width), [b.inv(bit) for bit in pad(y, width)], "1", adder)
    return total[:-1], total[-1]


def increment(b: Builder, x: Word, by: str, adder: str = "ripple") -> Word:
    """x + by (one bit), one bit wider. adder: "ripple" half adders; of the others, carries by a tree of ands."""
    if adder != "ripple" and len(x) > SELECT_GROUP and by != "0":
        return _prefix_increment(b, x, by)
    total: Word = []
    for bit in x:
        s, by = b.half(bit, by)
        total.append(s)
    return [*total, by]


def _prefix_increment(b: Builder, x: Word, by: str) -> Word:
    """Sklansky's tree on propagates alone: carry k is `by` and all bits below k."""
    group = list(x)
    distance = 1
    while distance < len(x):
        for k in range(len(x)):
            if k & distance:
                group[k] = b.and_(group[k], group[(k // distance) * distance - 1])
        distance *= 2
    carries = [by, *(b.and_(all_below, by) for all_below in group)]
    return [*(b.xor(bit, carry) for bit, carry in zip(x, carries, strict=False)), carries[-1]]


def negate_if(b: Builder, x: Word, negative: str, adder: str = "ripple") -> Word:
    """Two's complement of x where `negative`, else x; same width, so x must leave room for the sign."""
    return increment(b, [b.xor(bit, negative) for bit in x], negative, adder)[:-1]


def add_signed(b: Builder, x: Word, y: Word, adder: str = "ripple") -> Word:
    """Signed sum, one bit wider than the wider of them."""
    width = max(len(x), len(y)) + 1
    return add(b, pad(x, width, x[-1]), pad(y, width, y[-1]), "0", adder)[:width]


def sum_signed(b: Builder, words: Sequence[Word], width: int, tree: str = "ripple", adder: str = "ripple") -> Word:
    """Sum of signed words modulo 2^width. tree: "ripple" levels of adders, or "carry_save" (3:2) and one adder."""
    if tree not in ("ripple", "carry_save"):
        raise BadInput(f"tree: ripple, carry_save are allowed, got '{tree}'")
    if tree == "carry_save":
        return _carry_save(b, words, width, adder)
    level = [list(word) for word in words]
    while len(level) > 1:
        paired = [add_signed(b, level[k], level[k + 1], adder)[:width] for k in range(0, len(level) - 1, 2)]
        level = [*paired, *([level[-1]] if len(level) % 2 else [])]
    return pad(level[0], width, level[0][-1])[:width]


def _carry_save(b: Builder, words: Sequence[Word], width: int, adder: str) -> Word:
    """A sign bit s of weight 2^k counts −s·2^k = (1 − s)·2^k − 2^k: inverted signs and one constant, no extension."""
    columns: list[Word] = [[] for _ in range(width)]
    offset = 0
    for word in words:
        for k, bit in enumerate(word[:-1]):
            columns[k].append(bit)
        columns[len(word) - 1].append(b.inv(word[-1]))
        offset -= 1 << (len(word) - 1)
    for k, bit in enumerate(constant(offset % (1 << width), width)):
        columns[k].append(bit)
    columns = [[bit for bit in column if bit != "0"] for column in columns]
    while any(len(column) > 2 for column in columns):
        following: list[Word] = [[] for _ in range(width + 1)]
        for k, column in enumerate(columns):
            triples = len(column) // 3
            for j in range(triples):
                s, carry = b.full(*column[3 * j:3 * j + 3])
                following[k].append(s)
                following[k + 1].append(carry)
            following[k] += column[3 * triples:]
        columns = following[:width]
    low, high = ([pad(column, 2)[j] for column in columns] for j in range(2))
    return add(b, low, high, "0", adder)[:width]


# -- comparing ----------------------------------------------------------------------------------------


def any_of(b: Builder, bits: Sequence[str]) -> str:
    """The or of all bits, as a tree."""
    return _reduce(bits, b.or_, "0")


def all_of(b: Builder, bits: Sequence[str]) -> str:
    """The and of all bits, as a tree."""
    return _reduce(bits, b.and_, "1")


def _reduce(bits: Sequence[str], join: Callable[[str, str], str], empty: str) -> str:
    level = list(bits) or [empty]
    while len(level) > 1:
        level = [*[join(level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)],
                 *([level[-1]] if len(level) % 2 else [])]
    return level[0]


def at_least(b: Builder, x: Word, y: Word) -> str:
    """1 where x >= y: a tree of (greater or equal, equal) pairs, lower half and upper half."""
    width = max(len(x), len(y))
    level = []
    for p, q in zip(pad(x, width), pad(y, width), strict=True):
        level.append((b.nand(b.inv(p), q), b.inv(b.xor(p, q))))
    while len(level) > 1:
        following = []
        for k in range(0, len(level) - 1, 2):
            (low, low_equal), (high, high_equal) = level[k], level[k + 1]
            # the upper half decides unless it is equal
            following.append((b.mux(high, low, high_equal), b.and_(low_equal, high_equal)))
        level = [*following, *([level[-1]] if len(level) % 2 else [])]
    return level[0][0]


def select(b: Builder, x: Word, y: Word, use_y: str) -> Word:
    """use_y ? y : x, bit by bit."""
    width = max(len(x), len(y))
    return [b.mux(p, q, use_y) for p, q in zip(pad(x, width), pad(y, width), strict=True)]


def gate(b: Builder, x: Word, keep: str) -> Word:
    """x where keep, else 0."""
    return [b.and_(bit, keep) for bit in x]


def maximum(b: Builder, x: Word, y: Word) -> Word:
    """The larger of two."""
    return select(b, y, x, at_least(b, x, y))


def maximum_of(b: Builder, words: Sequence[Word]) -> Word:
    """The largest, by a tree."""
    level = [list(word) for word in words]
    while len(level) > 1:
        level = [*[maximum(b, level[k], level[k + 1]) for k in range(0, len(level) - 1, 2)],
                 *([level[-1]] if len(level) % 2 else [])]
    return level[0]


# -- shifting -----------------------------------------------------------------------------------------


def shift_right(b: Builder, x: Word, by: Word, fill: str = "0", sticky: bool = False) -> tuple[Word, str]:
    """(x >> by, any bit lost): one rank of multiplexers a bit of `by`; bits beyond the width empty it.

    fill: what enters at the top (the sign, for an arithmetic shift). The second value is "0" unless `sticky`.
    """
    lost = "0"
    ranks = bits_for(len(x) - 1) if len(x) > 1 else 1
    for j, bit in enumerate(by[:ranks]):
        step = 1 << j
        if sticky:
            lost = b.or_(lost, b.and_(any_of(b, x[:step]), bit))
        moved = [*x[step:], *[fill] * min(step, len(x))]
        x = select(b, x, moved, bit)
    beyond = any_of(b, by[ranks:])
    if sticky:
        lost = b.or_(lost, b.and_(any_of(b, x), beyond))
    return [b.mux(bit, fill, beyond) for bit in x], lost


def shift_left(b: Builder, x: Word, by: Word) -> Word:
    """x << by within its width: the largest step first, as a leading-zero count arrives."""
    for j in reversed(range(len(by))):
        step = 1 << j
        moved = [*["0"] * min(step, len(x)), *x[:max(0, len(x) - step)]]
        x = select(b, x, moved, by[j])
    return x


def leading_zeros(b: Builder, x: Word) -> tuple[Word, str]:
    """(count of zeros above the highest one, all zero); the count is meaningless where all are zero.

    Oklobdzija's tree: the upper half's count unless it is all zero, then the lower half's with the next bit set.
    """
    width = 1 << max(1, math.ceil(math.log2(len(x))))
    return _leading_zeros(b, [*["0"] * (width - len(x)), *x])


def _leading_zeros(b: Builder, x: Word) -> tuple[Word, str]:
    if len(x) == 1:
        return [], b.inv(x[0])
    half = len(x) // 2
    low, low_empty = _leading_zeros(b, x[:half])
    high, high_empty = _leading_zeros(b, x[half:])
    return [*select(b, high, low, high_empty), high_empty], b.and_(low_empty, high_empty)


def round_nearest_even(b: Builder, kept: Word, guard: str, rest: str, adder: str = "ripple") -> Word:
    """kept + (guard and (rest or kept odd)): one bit wider. rest: any bit below the guard bit."""
    return increment(b, kept, b.and_(guard, b.or_(rest, kept[0])), adder)


# -- lean forms ---------------------------------------------------------------------------------------


def any_by_turns(b: Builder, bits: Sequence[str]) -> str:
    """The or of all bits: ranks of nor and of nand by turns, half the cells of :func:`any_of`."""
    return _by_turns(b, [bit for bit in bits if bit != "0"], b.nor, b.nand, "0")


def all_by_turns(b: Builder, bits: Sequence[str]) -> str:
    """The and of all bits: ranks of nand and of nor by turns, half the cells of :func:`all_of`."""
    return _by_turns(b, [bit for bit in bits if bit != "1"], b.nand, b.nor, "1")


def _by_turns(b: Builder, bits: Word, first: Callable[[str, str], str], second: Callable[[str, str], str],
              empty: str) -> str:
    level = bits or [empty]
    while len(level) > 1:
        fours = [level[k:k + 4] for k in range(0, len(level), 4)]
        level = []
        for four in fours:
            inverse = [first(*four[k:k + 2]) if k + 1 < len(four) else b.inv(four[k]) for k in range(0, len(four), 2)]
            level.append(four[0] if len(four) == 1 else second(*inverse) if len(four) > 2 else b.inv(inverse[0]))
    return level[0]


def increment_within(b: Builder, x: Word, by: str, adder: str = "ripple") -> Word:
    """x + by modulo its width: no cells for the carry that nobody wants."""
    *low, carry = increment(b, x[:-1], by, adder)
    return [*low, b.xor(x[-1], carry)]


def shift_right_jamming(b: Builder, x: Word, by: Word) -> Word:
    """x >> by, its lowest bit set where any bit was lost; by is limited to 2^ranks − 1 >= len(x), one rank a bit."""
    ranks = bits_for(len(x))
    beyond = any_by_turns(b, by[ranks:])
    for j, bit in enumerate(by[:ranks]):
        step = 1 << j
        lowest = any_by_turns(b, x[:step + 1])
        moved = [lowest, *x[step + 1:], *["0"] * min(step, len(x) - 1)]
        x = select(b, x, moved, b.or_(bit, beyond))
    return x


def shift_left_limited(b: Builder, x: Word, zeros: Word, limit: Word, adder: str = "ripple") -> tuple[Word, Word]:
    """(x << min(zeros, limit), max(0, limit − zeros)): a normaliser that stops at the subnormals.

    limit has at least as many bits as zeros.
    """
    rest, enough = subtract(b, limit, zeros, adder)
    return shift_left(b, x, select(b, limit[:len(zeros)], zeros, enough)), gate(b, rest, enough)
