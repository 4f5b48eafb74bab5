"""The macro's blocks by name: what is composed, counted and paid for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from charlib.compose.design import MacroBlock, macro_tree

#: lanes and bits of the trees that are tabulated, and the lanes of a depthwise tap group
TREES = ((16, 20), (32, 20), (64, 20))
TAPS = 9


@cache
def macro_blocks() -> Mapping[str, MacroBlock]:
    """Every block, by name."""
    blocks = [macro_tree(lanes, bits, TAPS) for lanes, bits in TREES]
    return {block.name: block for block in blocks}
