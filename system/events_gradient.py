"""Integer event counts of the weight-gradient pass, per step: the ways to make a layer's weight gradient.

Every way writes one operand into activation macros. Of a matmul this pass makes the gradient of the stored operand,
one for every sample, so that its sums do not cross samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from system.events import BF16_BIT, FP32_BIT, array, checked, merge, writes
from system.placement import Placement, ceil_div
from system.structure import MacroStructure
from system.workload import MacLayer


@dataclass(frozen=True)
class GradientMode:
    """One way: its events, operations in sequence, and words and addresses (of one macro each) written."""

    name: str
    counts: Mapping[str, int]
    operations: int
    words_written: int
    addresses_written: int


def weight_gradient_modes(
    placement: Placement, batch: int, m: MacroStructure, tiles_held: int = 4
) -> tuple[GradientMode, ...]:
    """The candidates: outer products, or batched with either operand stored; frozen weights need none.

    tiles_held: position tiles a macro holds of each stored row; their sums meet in the tile accumulator before
    the FP32 gradient in the buffer is read and written once.
    """
    layer, positions = placement.layer, placement.layer.positions * batch
    if layer.frozen:
        return (GradientMode("not needed", {}, 0, 0, 0),)
    reuse = max(1, m.addresses // tiles_held)
    modes = [_outer(placement, batch, m)]
    if layer.kind != "depthwise":
        loads = positions * layer.out_channels * ceil_div(layer.reduction, reuse)
        modes.append(_batched("batched, activation stored", layer, batch, m, layer.patch, loads, tiles_held))
    # The stored δ of a depthwise layer is reused at every tap; the streamed activations are not.
    loads = positions * layer.patch * ceil_div(layer.out_channels // layer.groups, reuse)
    modes.append(_batched("batched, gradient stored", layer, batch, m, layer.out_channels, loads, tiles_held))
    return tuple(modes)


def _batched(name: str, layer: MacLayer, batch: int, m: MacroStructure, rows: int, loads: int,
             tiles_held: int) -> GradientMode:
    """A lane is a (sample, position); the tree sums over positions.

    With T position tiles (⌈B·P/L⌉; of a matmul B·⌈P/L⌉), an operation is one tile of one stored word's gradient:
    operations = T·K·out_channels, one of each tree_* event and one tile_accumulate each.
    array_write: one a stored row (K·groups activations, or out_channels gradients), sample and position.
    input_load: a streamed operand once for every macro that holds rows which want it.
    hadamard_round: of a matmul, one an element of the gradient, which goes on in BF16.
    """
    pools = batch if layer.kind == "matmul" else 1
    pool_tiles = ceil_div(layer.positions * batch // pools, m.compartments)
    operations, products = pools * pool_tiles * layer.stored, layer.macs * batch
    words, addresses = rows * layer.positions * batch, rows * pools * pool_tiles
    spills = pools * ceil_div(pool_tiles, tiles_held) * layer.stored
    counts = checked(merge(array(products, operations, m), writes(words, addresses), {
        "input_load": loads, "tree_maximum": operations, "tree_align": operations,
        "tree_add": operations, "tree_normalise": operations, "tree_flags": operations,
        "tree_registers": operations, "tile_accumulate": operations,
        "noc_bit": (loads + words) * BF16_BIT + spills * 2 * FP32_BIT,
        "buffer_bit": (loads + words) * BF16_BIT + spills * 2 * FP32_BIT,
    }, _activation_gradient(layer, batch)))
    return GradientMode(name, counts, operations, words, addresses)


def _outer(placement: Placement, batch: int, m: MacroStructure) -> GradientMode:
    """One sample and position at a time: a stored, δ broadcast, no tree; every product meets the buffer in FP32.

    An operation is one slot of the forward placement at one position: operations = B·P·slots.
    array_write: K·groups words a sample and position. lane_accumulate: one a product.
    """
    layer, positions = placement.layer, placement.layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    depthwise = layer.kind == "depthwise"
    words = positions * layer.patch
    addresses = positions * (placement.slots if depthwise else placement.k_tiles * layer.groups)
    loads = positions * layer.out_channels * placement.k_tiles
    counts = checked(merge(array(products, operations, m), writes(words, addresses), {
        "input_load": loads, "lane_accumulate": products,
        "noc_bit": (loads + words) * BF16_BIT + products * 2 * FP32_BIT,
        "buffer_bit": (loads + words) * BF16_BIT + products * 2 * FP32_BIT,
    }, _activation_gradient(layer, batch)))
    return GradientMode("outer", counts, operations, words, addresses)


def _activation_gradient(layer: MacLayer, batch: int) -> dict[str, int]:
    """A matmul's stored operand has a gradient that goes on backwards in BF16."""
    words = layer.stored * batch if layer.kind == "matmul" else 0
    return {"hadamard_round": words, "buffer_bit": words * BF16_BIT, "noc_bit": words * BF16_BIT}
