"""The macro's blocks by name: what is composed, counted and paid for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from charlib.compose.design import MacroBlock, macro_tree
from charlib.errors import BadInput
from charlib.gates.fused import PRODUCT_BITS

#: lanes and bits of the trees that are tabulated, and the lanes of a depthwise tap group
TREES = ((16, 20), (32, 20), (64, 20))
TAPS = 9


@cache
def macro_blocks() -> Mapping[str, MacroBlock]:
    """Every block, by name."""
    blocks = [macro_tree(lanes, bits, TAPS) for lanes, bits in TREES]
    return {block.name: block for block in blocks}


def macro_block(name: str) -> MacroBlock:
    """A block by name, or a fused tree of any lanes and bits. BadInput naming what there is."""
    if name in macro_blocks():
        return macro_blocks()[name]
    found = re.fullmatch(r"fused_tree_(\d+)x(\d+)", name)
    if found is None:
        raise BadInput(f"block: '{name}' is unknown; there are {', '.join(macro_blocks())}, and "
                       f"fused_tree_LANESxBITS of other lanes and bits ({PRODUCT_BITS} product and the guard bits)")
    return macro_tree(int(found[1]), int(found[2]), TAPS)
