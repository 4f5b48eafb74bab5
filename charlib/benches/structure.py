"""Tables that need no simulator: toggles an operation of large adder trees, and cells a block.

Both come from the structural generator and its logic model, so they hold at every operating point and have
no corner, temperature or supply axis. They bridge what SPICE can simulate to what a macro holds.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import numpy as np

from charlib.gates import Block, adder_tree, decoder, random_vectors, shift_accumulator, unit_delay
from charlib.table import Origin, Table

ENGINE = "logic-model"
LANES, BITS = (4, 9, 16, 32, 64), (8, 12, 16, 20)
ACTIVITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
STEPS = 128
SEED = 20230102
CELL_KINDS = ("inv", "buffer", "nand2", "nor2", "xor2", "mux2", "half_adder", "full_adder", "dff")


def counted_blocks() -> tuple[Block, ...]:
    """The blocks whose cells are counted."""
    trees = tuple(adder_tree(lanes, bits) for lanes, bits in itertools.product(LANES, BITS))
    return (*trees, *(shift_accumulator(bits) for bits in (4, 8)), *(decoder(rows) for rows in (8, 16, 32, 64)))


@cache
def toggles_per_operation(lanes: int, bits: int, activity: float) -> float:
    """Mean unit-delay toggles of input nets and cell outputs when all lanes change once."""
    vectors = random_vectors(lanes * bits, STEPS + 1, activity, SEED)
    inputs = int(np.sum(vectors[1:] != vectors[:-1]))
    return float((inputs + unit_delay(adder_tree(lanes, bits), vectors).toggles.sum()) / STEPS)


def structure_tables(origin: Origin) -> list[Table]:
    """`adder_tree_toggles_per_op` and `block_cell_count`."""
    made = replace(origin, engine=ENGINE)
    toggles = [{"lanes": lanes, "bits": bits, "activity": activity, "run": ENGINE,
                "value": toggles_per_operation(lanes, bits, activity)}
               for lanes, bits, activity in itertools.product(LANES, BITS, ACTIVITIES)]
    cells = [{"block": block.name, "cell": cell, "run": ENGINE, "value": block.cell_counts().get(cell, 0)}
             for block in counted_blocks() for cell in CELL_KINDS]
    return [
        Table.from_records("adder_tree_toggles_per_op", "1", {"lanes": "1", "bits": "1", "activity": "1"}, toggles,
                           made, {"toggles": "unit-delay model, glitches, input nets and cell outputs; "
                                             f"{STEPS} operations, bits toggle with probability `activity`"}),
        Table.from_records("block_cell_count", "1", {"block": "", "cell": ""}, cells, made,
                           {"count": "instances in the generated netlist; half adders counted apart"}),
    ]
