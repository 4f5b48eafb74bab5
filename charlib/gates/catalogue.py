"""Named small blocks: what flat SPICE can still simulate, to judge composition on.

A name is KIND_SIZE or KIND_LANESxBITS. No constant is fitted to those of JUDGED.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from charlib.errors import BadInput
from charlib.gates import arithmetic as a
from charlib.gates.block import Block, Instance
from charlib.gates.builder import Builder
from charlib.gates.fan_out import buffered
from charlib.gates.generate import adder_tree


def _adder(kind: str) -> Callable[[str, int, int], Block]:
    def make(name: str, bits: int, _: int) -> Block:
        b = Builder(name)
        return b.block(s=a.add(b, b.word("x", bits), b.word("y", bits), "0", kind))
    return make


def _shifter(name: str, bits: int, _: int) -> Block:
    b = Builder(name)
    shifted, lost = a.shift_right(b, b.word("x", bits), b.word("by", a.bits_for(bits)), sticky=True)
    return b.block(y=shifted, lost=lost)


def _leading_zeros(name: str, bits: int, _: int) -> Block:
    b = Builder(name)
    count, empty = a.leading_zeros(b, b.word("x", bits))
    return b.block(count=count, empty=empty)


def _normaliser(name: str, bits: int, _: int) -> Block:
    b = Builder(name)
    word = b.word("x", bits)
    count, _empty = a.leading_zeros(b, word)
    return b.block(y=a.shift_left(b, word, count))


def _maximum(name: str, lanes: int, bits: int) -> Block:
    b = Builder(name)
    return b.block(y=a.maximum_of(b, [b.word(f"x{k}_", bits) for k in range(lanes)]))


def _negate(name: str, bits: int, _: int) -> Block:
    b = Builder(name)
    word = b.word("x", bits)
    return b.block(y=a.negate_if(b, [*word, "0"], b.input("negative")))


def _carry_save(name: str, lanes: int, bits: int) -> Block:
    b = Builder(name)
    words = [b.word(f"x{k}_", bits) for k in range(lanes)]
    return b.block(s=a.sum_signed(b, words, bits + a.bits_for(lanes - 1), "carry_save"))


def _rounder(name: str, bits: int, _: int) -> Block:
    b = Builder(name)
    word = b.word("x", bits + 4)
    return b.block(y=a.round_nearest_even(b, word[4:], word[3], a.any_of(b, word[:3])))


_KINDS: dict[str, Callable[[str, int, int], Block]] = {
    "ripple": _adder("ripple"), "carry_select": _adder("carry_select"), "prefix": _adder("prefix"),
    "shifter": _shifter, "leading_zeros": _leading_zeros, "normaliser": _normaliser, "maximum": _maximum,
    "negate": _negate, "carry_save": _carry_save, "rounder": _rounder,
    "adder_tree": lambda name, lanes, bits: adder_tree(lanes, bits),
}
JUDGED = ("shifter_12", "leading_zeros_16", "maximum_4x6", "adder_tree_4x4", "adder_tree_4x8", "carry_save_6x4",
          "prefix_8", "carry_select_8", "negate_12", "normaliser_10", "rounder_8")


@cache
def named_block(name: str) -> Block:
    """The block of that name. BadInput naming the kinds there are."""
    found = re.fullmatch(r"([a-z_]+?)_(\d+)(?:x(\d+))?", name)
    if found is None or found[1] not in _KINDS or int(found[2]) < 1 or found[3] == "0":
        raise BadInput(f"block: '{name}' is unknown; allowed are NAME_SIZE or NAME_LANESxBITS with one of "
                       f"{', '.join(_KINDS)}, for example {JUDGED[0]} or {JUDGED[2]}")
    return buffered(_KINDS[found[1]](name, int(found[2]), int(found[3] or found[2])))


def driven(block: Block) -> Block:
    """The block behind a buffer at each input, so that whoever drives it pays for its pins."""
    drivers = tuple(Instance("buffer", (f"in_{net}",), (net,), "inputs") for net in block.inputs)
    return Block(f"{block.name}_driven", tuple(f"in_{net}" for net in block.inputs), block.outputs,
                 (*drivers, *block.instances))
