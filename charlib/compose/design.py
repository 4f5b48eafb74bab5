"""The digital blocks of a macro's datapath: each a circuit, and the vectors that its operands make of it.

One description serves the cost model, the area, the netlist and the tests. What a block is asked to do follows the
operands' statistics; a clocked block brings its sequence clock by clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from charlib.errors import BadInput
from charlib.gates.block import Block
from charlib.gates.compound import pruned
from charlib.gates.fused import EXPONENT_BITS, PRODUCT_BITS, STAGES, FusedTree, fused_tree
from charlib.gates.logic import Bits
from charlib.gates.operands import (
    Codes,
    OperandStatistics,
    draw,
    lane_bits,
    products_of,
)

#: nets of a lane in the fused tree's inputs
LANE_NETS = PRODUCT_BITS + EXPONENT_BITS + 4
SIGN_NET = PRODUCT_BITS + EXPONENT_BITS
Vectors = Callable[[Codes, Codes, int], Bits]


@dataclass(frozen=True)
class MacroBlock:
    """A circuit and its vectors. lanes: operands that one operation takes; 1 where it takes a pair.

    vectors(x, w, seed): of operand codes (operations, lanes), the block's inputs without its clock, one row an
    operation, or `cycles` rows. accounts: part of the circuit -> name in the cost model's enumeration; a part that
    is not named goes to the block's own name.
    """

    name: str
    circuit: Block
    lanes: int
    vectors: Vectors
    accounts: Mapping[str, str]
    cycles: int = 1  #: clocks of one operation, where `vectors` gives one row a clock


def tree_name(lanes: int, bits: int) -> str:
    """How tables call the fused tree of so many lanes and bits."""
    return f"fused_tree_{lanes}x{bits}"


#: parts of the fused tree -> blocks of the cost model
TREE_ACCOUNTS: Mapping[str, str] = {
    "maximum": "maximum_tree", "distance": "aligners", "align": "aligners", "tree": "adder_tree",
    "magnitude": "normaliser", "leading_zeros": "normaliser", "normalise": "normaliser", "round": "normaliser",
    "flags": "special_flags", "registers": "pipeline_registers",
}


def tree_vectors(p: FusedTree, x: Codes, w: Codes) -> Bits:
    """Inputs of a fused tree (without its clock) for operands (operations, lanes); product a clock after exponent."""
    bits = lane_bits(products_of(x, w))
    if p.stages > 1:
        held = bits.copy()
        for k in range(p.lanes):
            late = [*range(k * LANE_NETS, k * LANE_NETS + PRODUCT_BITS), k * LANE_NETS + SIGN_NET]
            held[1:, late] = bits[:-1, late]
        bits = held
    return np.hstack([np.zeros((len(bits), 1), np.uint8), bits]) if p.taps else bits


@cache
def macro_tree(lanes: int, bits: int, taps: int) -> MacroBlock:
    """The pipelined fused tree as a macro holds it. BadInput for fewer than 2 lanes."""
    p = FusedTree(lanes, bits - PRODUCT_BITS, taps=taps if lanes > taps else 0, stages=STAGES)
    circuit = pruned(fused_tree(p))
    accounts = {part: f"{account}_{lanes}x{bits}" for part, account in TREE_ACCOUNTS.items()}
    return MacroBlock(tree_name(lanes, bits), circuit, lanes, lambda x, w, seed: tree_vectors(p, x, w), accounts)


def operands_of(block: MacroBlock, x: OperandStatistics, w: OperandStatistics, operations: int,
                seed: int) -> tuple[Codes, Codes]:
    """Codes for so many operations of a block. BadInput for fewer than 2."""
    if operations < 2:
        raise BadInput(f"operations: at least 2 are needed, got {operations}")
    shape = (operations, block.lanes)
    return draw(x, shape, 2 * seed), draw(w, shape, 2 * seed + 1)
