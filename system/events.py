"""Integer event counts of one layer in the forward, input-gradient and update pass, per step (the whole batch).

With B samples, P positions, L lanes and the slots of :mod:`system.placement`, an *operation* is one slot multiplied
by one position's operands: B·P·slots of them in either pass. Every operation takes all L lanes; those without a
product (a short last tile, lanes beside the packed taps) idle:

    compartment_product = B·macs, one a multiply-accumulate, padding's zeros among them
    idle_lane_product   = L·operations − compartment_product
    serial_bits, shift_accumulate, exponent_add, hidden_bit, decode, column_select: one a product
    macro_cycle_clock: serial_cycles an operation; macro_cycle_write: one an address written, with no product
    macro_cycle_control: one a cycle of either kind

Input data are read from the buffer as im2col asks, with no line buffer [I]. The weight gradient is in
:mod:`system.events_gradient`, the vector unit's work is here.
"""

from __future__ import annotations

from collections.abc import Mapping

from system.blocks import event
from system.placement import Placement, ceil_div, place
from system.structure import MacroStructure
from system.workload import MacLayer, VectorCount, VectorLayer

__all__ = ["BF16_BIT", "FP32_BIT", "Counts", "Placement", "array", "ceil_div", "checked", "forward",
           "gradient_reduction", "input_gradient", "merge", "place", "reload", "store_operand", "update",
           "vector_update", "vector_work", "writes"]

BF16_BIT = 16
FP32_BIT = 32
Counts = dict[str, int]


def checked(counts: Counts) -> Counts:
    """The counts without zeros; BadInput on an event that no block pays for."""
    for name in counts:
        event(name)
    return {name: n for name, n in counts.items() if n}


def merge(*parts: Mapping[str, int]) -> Counts:
    """Sum of counts by event."""
    total: Counts = {}
    for part in parts:
        for name, n in part.items():
            total[name] = total.get(name, 0) + n
    return total


def array(products: int, operations: int, m: MacroStructure) -> Counts:
    """What every product costs, whatever sums it, and the clocked cycles of the macros at work."""
    cycles = operations * m.serial_cycles
    return {"compartment_product": products, "idle_lane_product": operations * m.compartments - products,
            "serial_bits": products, "shift_accumulate": products, "exponent_add": products,
            "hidden_bit": products, "decode": products, "column_select": products,
            "macro_cycle_clock": cycles, "macro_cycle_control": cycles}


def writes(words: int, addresses: int) -> Counts:
    """`words` written into compartments; all those of one address of a macro go in one cycle."""
    return {"array_write": words, "decode": words, "column_select": words,
            "macro_cycle_write": addresses, "macro_cycle_control": addresses}


def forward(placement: Placement, batch: int, m: MacroStructure) -> Counts:
    """z = Σ a·W: serial inputs, Hadamard, fused tree, tiles summed in FP32.

    tree_maximum, tree_align, tree_add, tree_flags, tree_registers: one an operation.
    tree_normalise: one a sum, B·P·out_channels·⌈K/L⌉ (packed channels of a depthwise operation have one each).
    tile_accumulate: one a sum where an output has more than one tile (the first is added to +0), else none.
    input_load: each operand of a tile once in every macro that holds some of that tile.
    A matmul's stored operand is written besides: :func:`store_operand`.
    """
    layer, positions = placement.layer, placement.layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    outputs = positions * layer.out_channels
    loads = positions * placement.loads_per_position
    sums = outputs * placement.k_tiles
    tiles = sums if placement.k_tiles > 1 else 0
    crossing = positions * placement.crossings_per_position(placement.operations_per_position)
    return checked(merge(array(products, operations, m), {
        "input_load": loads, "tree_maximum": operations, "tree_align": operations, "tree_add": operations,
        "tree_normalise": sums, "tree_flags": operations, "tree_registers": operations,
        "tile_accumulate": tiles, "local_bit": tiles * 2 * FP32_BIT,
        "noc_bit": (loads + outputs) * BF16_BIT + crossing * FP32_BIT,
        "buffer_bit": (positions * layer.patch + outputs) * BF16_BIT,
    }, store_operand(placement, batch)))


def input_gradient(placement: Placement, batch: int, m: MacroStructure) -> Counts:
    """d = f'·Σ W·δ: one δ broadcast to all lanes, each accumulates for itself; col2im on the vector unit.

    lane_accumulate: one a product (each lane adds its products from +0); none in a depthwise layer, whose products
    are rounded one by one.
    hadamard_round: one an element of the input gradient, B·in_elements; a depthwise layer has one a product besides.
    gradient_gate: one an element of the input gradient; none in a matmul, whose operand has no activation.
    vector_add: partial sums of lanes in several macros, and of positions that overlap in the input.
    Nothing where the layer needs no input gradient. A matmul's stored operand is written again.
    """
    layer = placement.layer
    if not layer.needs_input_gradient:
        return {}
    positions = layer.positions * batch
    operations, products = positions * placement.slots, layer.macs * batch
    depthwise = layer.kind == "depthwise"
    partial = positions * layer.patch
    crossing = positions * (placement.loads_per_position - layer.patch)
    overlap = partial if layer.overlaps else 0
    loads = positions * layer.out_channels * placement.k_tiles
    elements = layer.in_elements * batch
    return checked(merge(array(products, operations, m), {
        "input_load": loads,
        "lane_accumulate": 0 if depthwise else products,
        "hadamard_round": elements + (products if depthwise else 0),
        "gradient_gate": 0 if layer.kind == "matmul" else elements, "vector_add": crossing + overlap,
        "local_bit": 0 if depthwise else (partial + crossing) * 2 * FP32_BIT,
        "noc_bit": (loads + partial) * BF16_BIT + crossing * FP32_BIT,
        "buffer_bit": (positions * layer.out_channels + elements) * BF16_BIT + overlap * 2 * FP32_BIT,
    }, store_operand(placement, batch)))


def store_operand(placement: Placement, batch: int) -> Counts:
    """A matmul's stored operand, carried from the buffer and written for every sample; nothing for other layers.

    array_write: B·K·out_channels words, where K is the reduction of one product.
    """
    if placement.layer.kind != "matmul":
        return {}
    words = placement.layer.stored * batch
    return checked(merge(writes(words, placement.slots * batch),
                         {"noc_bit": words * BF16_BIT, "buffer_bit": words * BF16_BIT}))


def reload(placement: Placement, batch: int, copies: int, run: int) -> Counts:
    """Weights written for one pass, every copy, under the time-multiplexed policy.

    run: slots that the chip holds at once. Sums whose tiles lie in different rounds wait in the buffer in FP32.
    """
    words, waiting = placement.layer.weights, placement.crossings_per_position(run)
    return checked(merge(writes(words * copies, placement.slots * copies), {
        "noc_bit": words * copies * BF16_BIT,
        "buffer_bit": words * BF16_BIT + placement.layer.positions * batch * waiting * 2 * FP32_BIT}))


def gradient_reduction(layer: MacLayer, copies: int) -> Counts:
    """Copies work on different positions, so their partial gradients are summed: the price of replication.

    A tied layer's gradient is summed with that of the layer it is tied to.
    """
    sums = (copies - 1 + layer.tied) * layer.learned_weights
    return checked({"vector_add": sums, "buffer_bit": sums * 3 * FP32_BIT, "noc_bit": sums * FP32_BIT})


def update(placement: Placement, copies: int, stochastic: bool) -> Counts:
    """Momentum and decay on the vector unit, Hadamard by η and add near memory, every copy rewritten.

    For W weights: W of serial_bits, shift_accumulate, exponent_add, hidden_bit, hadamard_round and update_add, and
    W·copies of array_write (copies = 0: the weights live in a buffer, which takes the write). Parameters beside the
    weights (the bias) go through the vector unit. A tied layer only takes its copies' writes; a matmul and frozen
    weights have no update.
    """
    layer, weights = placement.layer, placement.layer.learned_weights
    written = {"array_write": weights * copies, "decode": weights * copies, "column_select": weights * copies}
    if layer.tied:
        cycles = weights * copies
        return checked(written | {"noc_bit": cycles * BF16_BIT, "macro_cycle_write": cycles,
                                  "macro_cycle_control": cycles})
    others = layer.parameters - weights
    return checked(merge(written, {
        "vector_add": 2 * weights + 3 * others, "vector_multiply": 2 * weights + 3 * others,
        "serial_bits": weights, "shift_accumulate": weights, "exponent_add": weights, "hidden_bit": weights,
        "hadamard_round": weights,
        "update_add": weights, "stochastic_bits": weights if stochastic else 0,
        "array_read": weights if stochastic and copies else 0,
        "macro_cycle_write": weights * max(1, copies), "macro_cycle_control": weights * max(1, copies),
        "noc_bit": weights * (FP32_BIT + max(1, copies) * BF16_BIT),
        "buffer_bit": weights * (2 * FP32_BIT + BF16_BIT) + others * 4 * FP32_BIT
        + (0 if copies else weights * BF16_BIT * (2 if stochastic else 1)),
    }))


def vector_work(layer: VectorLayer, batch: int, backward: bool) -> Counts:
    """A vector operator's operations and its buffer traffic."""
    batch = layer.times(batch)
    count: VectorCount = (layer.backward() if backward else layer.forward()).times(batch)
    return checked({"vector_add": count.adds, "vector_multiply": count.multiplies,
                    "vector_compare": count.compares, "buffer_bit": layer.accesses(backward) * batch * BF16_BIT})


def vector_update(layer: VectorLayer) -> Counts:
    """SGD with momentum and decay of a vector operator's parameters: 3 adds and 3 multiplies each."""
    return checked({"vector_add": 3 * layer.parameters, "vector_multiply": 3 * layer.parameters,
                    "buffer_bit": 6 * FP32_BIT * layer.parameters})
