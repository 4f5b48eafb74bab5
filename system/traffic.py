"""Tensor classes: type, home, and reads and writes per step; what does not fit the buffer lives in DRAM.

Batch norm in training needs its whole batch before it can normalise, so a layer's output is stored and read
back. Saved activations are the convolution outputs; what feeds the next layer is recomputed from them and the
statistics on each read: forward once to normalise, backward once for the weight gradient's operand together
with batch norm's reductions, and once when its gradient is applied. A residual sum cannot be recomputed from one
layer's output, so it is saved too. Of attention, queries, keys and values are the saved output of their linear layer,
and in place of the scores their softmax is saved, of the same size; a matmul's stored operand (keys, values) is
written into arrays in both passes that use it. Weights live in arrays, or, where they are written for each pass, with
the optimiser's state. What is frozen has no weight gradient, momentum, master copy or update; an output to which no
gradient comes back is read once, and once more where the next layer learns from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from system.operators import AFFINE
from system.workload import MacLayer, Network, VectorLayer

BF16_BIT, FP32_BIT = 16, 32


@dataclass(frozen=True)
class TensorTraffic:
    """One tensor class of one layer in one step. Reads and writes count whole passes over the tensor."""

    tensor: str
    layer: str
    type: str
    home: str  #: array, buffer or dram
    bits: int
    writes: tuple[tuple[str, int], ...]  #: (pass, times)
    reads: tuple[tuple[str, int], ...]

    def bits_in(self, pass_name: str) -> int:
        """Bits moved to and from home in a pass."""
        return self.bits * sum(n for p, n in (*self.writes, *self.reads) if p == pass_name)


def _home(bits: int, buffer_bit: int) -> str:
    return "buffer" if bits <= buffer_bit else "dram"


def tensors(network: Network, batch: int, buffer_bit: int, master: bool = True, held: bool = True
            ) -> tuple[TensorTraffic, ...]:
    """Every tensor class of a training step. held: weights stay in arrays between passes."""
    residuals = [v for v in network.vector_layers if v.kind == "residual"]
    saved = (sum(layer.out_elements * layer.times(batch) for layer in network.mac_layers if layer.has_gradient)
             + sum(v.elements * v.times(batch) for v in residuals if v.needs_gradient))
    saved_home = _home(saved * BF16_BIT, buffer_bit)
    written = 0 if held else network.parameters + sum(v.weights for v in network.mac_layers if v.frozen)
    state_home = _home(network.parameters * FP32_BIT * (3 if master else 2) + written * BF16_BIT, buffer_bit)
    found: list[TensorTraffic] = []
    first = network.mac_layers[0]
    # of a network that starts with a table of rows: those rows
    found.append(TensorTraffic("input", first.name, "BF16", "dram", first.in_elements * first.times(batch) * BF16_BIT,
                               (), (("forward", 1),) if first.frozen else (("forward", 1), ("weight_gradient", 1))))
    learns_next = [not layer.frozen for layer in network.mac_layers[1:]] + [False]
    weight_home = "array" if held else state_home
    for layer, learns in zip(network.mac_layers, learns_next, strict=True):
        found += _mac_tensors(layer, layer.times(batch), buffer_bit, saved_home, weight_home, learns)
        if layer.parameters:
            found += _state(layer.name, layer.parameters, state_home, master)
    for vector in network.vector_layers:
        if vector.kind in AFFINE:
            found.append(_statistics(vector, vector.times(batch)))
        if vector.parameters:
            found += _state(vector.name, vector.parameters, state_home, master)
    for vector in residuals:
        found.append(TensorTraffic("saved_activation", vector.name, "BF16", saved_home,
                                   vector.elements * vector.times(batch) * BF16_BIT, (("forward", 1),),
                                   (("forward", 1), *((("weight_gradient", 1),) if vector.needs_gradient else ()))))
    return tuple(found)


def _mac_tensors(layer: MacLayer, times: int, buffer_bit: int, saved_home: str, weight_home: str, learns_next: bool
                 ) -> list[TensorTraffic]:
    bits = layer.out_elements * times * BF16_BIT
    passes = (("forward", 1), ("input_gradient", 1)) if layer.needs_input_gradient else (("forward", 1),)
    if layer.kind == "matmul":
        stored = TensorTraffic("stored_operand", layer.name, "BF16", "array", layer.stored * times * BF16_BIT,
                               passes, ())
    else:
        stored = TensorTraffic("weight", layer.name, "BF16", weight_home, layer.weights * BF16_BIT,
                               () if layer.frozen else (("update", 1),), () if weight_home == "array" else passes)
    again = (("input_gradient", 1), ("weight_gradient", 1)) if layer.has_gradient else (
        (("weight_gradient", 1),) if learns_next else ())
    found = [stored] if stored.writes or stored.reads else []
    found.append(TensorTraffic("saved_activation", layer.name, "BF16", saved_home, bits, (("forward", 1),),
                               (("forward", 1), *again)))
    if layer.has_gradient:
        found.append(TensorTraffic("activation_gradient", layer.name, "BF16", _home(bits, buffer_bit), bits,
                                   (("input_gradient", 1),), (("input_gradient", 1),)))
    return found


def _state(name: str, parameters: int, home: str, master: bool) -> list[TensorTraffic]:
    bits = parameters * FP32_BIT
    found = [
        TensorTraffic("weight_gradient", name, "FP32", home, bits, (("weight_gradient", 1),), (("update", 1),)),
        TensorTraffic("momentum", name, "FP32", home, bits, (("update", 1),), (("update", 1),)),
    ]
    if master:
        found.append(TensorTraffic("master_copy", name, "FP32", home, bits, (("update", 1),), (("update", 1),)))
    return found


def _statistics(layer: VectorLayer, batch: int) -> TensorTraffic:
    """Batch norm: mean and deviation a channel, and the two sums backward. Layer norm: mean and deviation a row."""
    back = int(layer.needs_gradient)
    again = (("input_gradient", 1),) * back
    if layer.kind == "layer_norm":
        return TensorTraffic("layer_norm_statistics", layer.name, "FP32", "buffer", 2 * layer.rows * batch * FP32_BIT,
                             (("forward", 1),), (("forward", 1), *again))
    bits = 2 * (1 + back) * layer.channels * FP32_BIT
    return TensorTraffic("batch_norm_statistics", layer.name, "FP32", "buffer", bits, (("forward", 1), *again),
                         (("forward", 1), *((("input_gradient", 2),) * back)))
