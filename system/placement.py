"""Where a layer's stored words lie: slots, k-tiles and macros, in closed form.

A slot is one address across all L lanes. Slots are ordered tile by tile, and within a tile column by column: slot
s = tile · columns + column.

- conv, linear, matmul: a column is an output (of all groups); ⌈K/L⌉ tiles of L products each, the last one shorter,
  as :func:`system.numerics.arithmetic.tiles` has them; K is the reduction of one group, whose words fill a slot.
- depthwise: a column is a run of channels, as many as the tree has tap groups (3 × 9 of 32 lanes) if the taps fit
  one, else a single channel; one tile, unless there are more taps than lanes.

Macro j holds the slots j·q … (j + 1)·q − 1 with q = ⌈slots / macros⌉, so that macros are filled evenly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from system.structure import MacroStructure
from system.workload import MacLayer


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def shares(slots: int, block: int, macro: int) -> int:
    """Distinct (block, macro) pairs of `slots` slots in a row, cut into blocks and into macros of these sizes."""
    if not slots:
        return 0
    return ceil_div(slots, block) + ceil_div(slots, macro) - 1 - (slots - 1) // math.lcm(block, macro)


@dataclass(frozen=True)
class Placement:
    """How one copy of a layer's stored operand (of a matmul: one sample's) lies in macros."""

    layer: MacLayer
    lanes: int
    k_tiles: int  #: slots whose sums make one output
    columns: int  #: slots of one tile
    macros: int

    @property
    def words(self) -> int:
        return self.layer.stored

    @property
    def slots(self) -> int:
        """Addresses across all lanes."""
        return self.k_tiles * self.columns

    @cached_property
    def operations_per_position(self) -> int:
        """Products in sequence for one position: the fullest macro's slots."""
        return ceil_div(self.slots, self.macros)

    @cached_property
    def loads_per_position(self) -> int:
        """Operands loaded for one position: each of a tile's lanes, once in every macro that holds some of it."""
        layer, macro = self.layer, self.operations_per_position
        if layer.kind == "depthwise":
            return layer.patch
        block = layer.out_channels // layer.groups
        whole = shares((self.k_tiles - 1) * self.columns, block, macro)
        last = shares(self.slots, block, macro) - whole
        return whole * self.lanes + last * (layer.reduction - (self.k_tiles - 1) * self.lanes)

    def crossings_per_position(self, run: int) -> int:
        """Partial sums of one position that meet the next tile's in another run of `run` slots."""
        runs = ceil_div(self.slots, run)
        last = self.slots - (runs - 1) * run
        together = (runs - 1) * max(0, run - self.columns) + max(0, last - self.columns)
        return (self.k_tiles - 1) * self.columns - together


def place(layer: MacLayer, m: MacroStructure) -> Placement:
    """Slots and macros of one copy."""
    if layer.kind == "depthwise":
        k_tiles = ceil_div(layer.taps, m.compartments)
        packed = m.compartments // m.depthwise_group if layer.taps <= m.depthwise_group else 1
        columns = ceil_div(layer.out_channels, max(1, packed))
    else:
        k_tiles, columns = ceil_div(layer.reduction, m.compartments), layer.out_channels
    return Placement(layer, m.compartments, k_tiles, columns, ceil_div(k_tiles * columns, m.addresses))
