"""Integer event counts of one layer in one pass, per step (the whole batch).

Placement of a layer: its weights fill "slots", one slot being one address across all lanes. A convolution takes
⌈K/L⌉·N slots (K products an output, N outputs, L lanes), outputs first, so that a macro holds one k-tile of many
outputs; depthwise packs ⌊L/taps⌋ channels in a slot (3×3 fills 27 of 32 lanes). Masked lanes are counted too.
Input data are read from the buffer as im2col asks, with no line buffer [I].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from system.blocks import event
from system.structure import MacroStructure
from system.workload import MacLayer, VectorCount, VectorLayer

BF16_BIT = 16
FP32_BIT = 32
#: buffer accesses per element of a vector operator (forward, backward); 0: fused with its neighbour
VECTOR_ACCESSES = {
    "batch_norm": (3, 5),  # statistics, normalise, store; backward: dy and x twice, store
    "relu": (0, 0), "relu6": (0, 0), "bias": (0, 0),
    "residual": (3, 2), "average_pool": (1, 1), "softmax_loss": (2, 2),
}  # fmt: skip
Counts = dict[str, int]


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def checked(counts: Counts) -> Counts:
    """The counts without zeros; BadInput on an event that no block pays for."""
    for name in counts:
        event(name)
    return {name: n for name, n in counts.items() if n}


def merge(*parts: Mapping[str, int]) -> Counts:
    total: Counts = {}
    for part in parts:
        for name, n in part.items():
            total[name] = total.get(name, 0) + n
    return total


@dataclass(frozen=True)
class Placement:
    """How one copy of a layer's weights lies in macros."""

    layer: MacLayer
    slots: int  #: addresses across all lanes
    k_tiles: int  #: slots whose sums make one output
    macros: int

    @property
    def words(self) -> int:
        return self.layer.weights

    @property
    def operations_per_position(self) -> int:
        """Products in sequence for one position: the fullest macro's slots."""
        return ceil_div(self.slots, self.macros)

    def output_groups(self, m: MacroStructure) -> int:
        """Macros that each need the same inputs, because they hold other outputs."""
        return ceil_div(self.layer.out_channels, m.addresses) if self.layer.kind != "depthwise" else 1


def place(layer: MacLayer, m: MacroStructure) -> Placement:
    """Slots and macros of one copy."""
    lanes = m.compartments
    if layer.kind == "depthwise":
        channels = max(1, lanes // layer.taps)
        k_tiles = ceil_div(layer.taps, lanes)
        slots = ceil_div(layer.out_channels, channels) * k_tiles
    else:
        k_tiles = ceil_div(layer.reduction, lanes)
        slots = k_tiles * layer.out_channels
    return Placement(layer, slots, k_tiles, ceil_div(slots, m.addresses))


def _array(products: int, operations: int, m: MacroStructure) -> Counts:
    """What every product costs, whatever sums it, and the clocked cycles of the macros at work."""
    cycles = operations * m.serial_cycles
    return {"compartment_product": products, "idle_lane_product": operations * m.compartments - products,
            "serial_bits": products, "shift_accumulate": products, "exponent_add": products,
            "hidden_bit": products, "decode": products, "column_select": products,
            "macro_cycle_clock": cycles, "macro_cycle_control": cycles}


def forward(placement: Placement, batch: int, m: MacroStructure) -> Counts:
    """z = Σ a·W: serial inputs, Hadamard, fused tree, tiles summed in FP32."""
    layer, positions = placement.layer, placement.layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    outputs = positions * layer.out_channels
    depthwise = layer.kind == "depthwise"
    loads = products if depthwise else positions * layer.reduction * placement.output_groups(m)
    sums = outputs * placement.k_tiles
    tiles = sums if placement.k_tiles > 1 else 0
    crossing = outputs * (placement.k_tiles - 1) if placement.macros > 1 else 0
    inputs = products if depthwise else positions * layer.reduction
    return checked(_array(products, operations, m) | {
        "input_load": loads, "tree_maximum": operations, "tree_align": operations, "tree_add": operations,
        "tree_normalise": sums, "tree_flags": operations, "tree_registers": operations,
        "tile_accumulate": tiles, "local_bit": tiles * 2 * FP32_BIT,
        "noc_bit": (loads + outputs) * BF16_BIT + crossing * FP32_BIT,
        "buffer_bit": (inputs + outputs) * BF16_BIT,
    })


def input_gradient(placement: Placement, batch: int, m: MacroStructure) -> Counts:
    """d = f'·Σ W·δ: one δ broadcast to all lanes, each accumulates for itself; col2im on the vector unit."""
    layer = placement.layer
    if not layer.needs_input_gradient:
        return {}
    positions = layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    depthwise = layer.kind == "depthwise"
    partial = products if depthwise else positions * layer.reduction
    crossing = 0 if depthwise else partial * (placement.output_groups(m) - 1)
    overlap = partial if layer.taps > 1 else 0
    loads = positions * layer.out_channels if depthwise else operations
    elements = layer.in_elements * batch
    return checked(_array(products, operations, m) | {
        "input_load": loads,
        "lane_accumulate": 0 if depthwise else products,
        "hadamard_round": elements + (products if depthwise else 0),
        "gradient_gate": elements, "vector_add": crossing + overlap,
        "local_bit": 0 if depthwise else partial * 2 * FP32_BIT,
        "noc_bit": (loads + partial) * BF16_BIT + crossing * FP32_BIT,
        "buffer_bit": (positions * layer.out_channels + elements) * BF16_BIT + overlap * 2 * FP32_BIT,
    })


@dataclass(frozen=True)
class GradientMode:
    """One way to make a layer's weight gradient: its events, operations in sequence and words written."""

    name: str
    counts: Mapping[str, int]
    operations: int
    words_written: int


def weight_gradient_modes(
    placement: Placement, batch: int, m: MacroStructure, tiles_held: int = 4
) -> tuple[GradientMode, ...]:
    """The candidates: outer products, or batched with either operand stored.

    tiles_held: position tiles a macro holds of each stored row; their sums meet in the tile accumulator before
    the FP32 gradient in the buffer is read and written once.
    """
    layer, positions = placement.layer, placement.layer.positions * batch
    modes = [_outer(placement, batch, m)]
    if layer.kind == "depthwise":
        # The stored δ is reused at every tap; the streamed activations are not.
        modes.append(_batched("batched, gradient stored", layer, batch, m, layer.out_channels * positions, 1,
                              tiles_held))
    else:
        reuse = m.addresses // tiles_held
        modes.append(_batched("batched, activation stored", layer, batch, m, layer.reduction * positions,
                              min(reuse, layer.reduction), tiles_held))
        modes.append(_batched("batched, gradient stored", layer, batch, m, layer.out_channels * positions,
                              min(reuse, layer.out_channels), tiles_held))
    return tuple(modes)


def _batched(name: str, layer: MacLayer, batch: int, m: MacroStructure, words: int, reuse: int,
             tiles_held: int) -> GradientMode:
    """A lane is a (sample, position); the tree sums over positions."""
    position_tiles = ceil_div(layer.positions * batch, m.compartments)
    operations, products = position_tiles * layer.weights, layer.macs * batch
    loads = ceil_div(products, reuse)
    spills = ceil_div(position_tiles, tiles_held) * layer.weights
    counts = checked(_array(products, operations, m) | {
        "input_load": loads, "array_write": words, "tree_maximum": operations, "tree_align": operations,
        "tree_add": operations, "tree_normalise": operations, "tree_flags": operations,
        "tree_registers": operations, "tile_accumulate": operations,
        "noc_bit": (loads + words) * BF16_BIT + spills * 2 * FP32_BIT,
        "buffer_bit": (loads + words) * BF16_BIT + spills * 2 * FP32_BIT,
    })
    return GradientMode(name, counts, operations, words)


def _outer(placement: Placement, batch: int, m: MacroStructure) -> GradientMode:
    """One sample at a time: a stored, δ broadcast, no tree; every product meets the buffer in FP32."""
    layer, positions = placement.layer, placement.layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    depthwise = layer.kind == "depthwise"
    words = products if depthwise else positions * layer.reduction
    loads = positions * layer.out_channels if depthwise else operations
    counts = checked(_array(products, operations, m) | {
        "input_load": loads, "array_write": words, "lane_accumulate": products,
        "noc_bit": (loads + words) * BF16_BIT + products * 2 * FP32_BIT,
        "buffer_bit": (loads + words) * BF16_BIT + products * 2 * FP32_BIT,
    })
    return GradientMode("outer", counts, operations, words)


def gradient_reduction(layer: MacLayer, copies: int) -> Counts:
    """Copies work on different positions, so their partial gradients are summed: the price of replication."""
    sums = (copies - 1) * layer.weights
    return checked({"vector_add": sums, "buffer_bit": sums * 3 * FP32_BIT, "noc_bit": sums * FP32_BIT})


def update(placement: Placement, copies: int, stochastic: bool) -> Counts:
    """Momentum and decay on the vector unit, Hadamard by η and add near memory, every copy rewritten."""
    layer = placement.layer
    weights, others = layer.weights, layer.parameters - layer.weights
    return checked({
        "vector_add": 2 * weights + 3 * others, "vector_multiply": 2 * weights + 3 * others,
        "serial_bits": weights, "shift_accumulate": weights, "exponent_add": weights, "hidden_bit": weights,
        "hadamard_round": weights,
        "update_add": weights, "stochastic_bits": weights if stochastic else 0,
        "array_read": weights if stochastic else 0, "array_write": weights * copies,
        "decode": weights * copies, "column_select": weights * copies,
        "macro_cycle_clock": weights, "macro_cycle_control": weights,
        "noc_bit": weights * (FP32_BIT + copies * BF16_BIT),
        "buffer_bit": weights * (2 * FP32_BIT + BF16_BIT) + others * 4 * FP32_BIT,
    })


def vector_work(layer: VectorLayer, batch: int, backward: bool) -> Counts:
    """A vector operator's operations and its buffer traffic."""
    count: VectorCount = (layer.backward() if backward else layer.forward()).times(batch)
    accesses = VECTOR_ACCESSES[layer.kind][int(backward)]
    return checked({"vector_add": count.adds, "vector_multiply": count.multiplies,
                    "vector_compare": count.compares, "buffer_bit": accesses * layer.elements * batch * BF16_BIT})


def vector_update(layer: VectorLayer) -> Counts:
    """SGD with momentum and decay of a vector operator's parameters: 3 adds and 3 multiplies each."""
    return checked({"vector_add": 3 * layer.parameters, "vector_multiply": 3 * layer.parameters,
                    "buffer_bit": 6 * FP32_BIT * layer.parameters})
