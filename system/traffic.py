"""Tensor classes: type, home, and reads and writes per step; what does not fit the buffer lives in DRAM.

Batch norm in training needs its whole batch before it can normalise, so a layer's output is stored and read
back. Saved activations are the convolution outputs; what feeds the next layer is recomputed from them and the
statistics on each read: forward once to normalise, backward once for the weight gradient's operand together
with batch norm's reductions, and once when its gradient is applied.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def tensors(network: Network, batch: int, buffer_bit: int, master: bool = True) -> tuple[TensorTraffic, ...]:
    """Every tensor class of a training step."""
    saved_total = sum(layer.out_elements for layer in network.mac_layers) * batch * BF16_BIT
    saved_home = _home(saved_total, buffer_bit)
    state_home = _home(network.parameters * FP32_BIT * (3 if master else 2), buffer_bit)
    found: list[TensorTraffic] = []
    first = network.mac_layers[0]
    found.append(TensorTraffic("input", first.name, "BF16", "dram", first.in_elements * batch * BF16_BIT, (),
                               (("forward", 1), ("weight_gradient", 1))))
    for layer in network.mac_layers:
        found += _mac_tensors(layer, batch, buffer_bit, saved_home)
        found += _state(layer.name, layer.parameters, state_home, master)
    for vector in network.vector_layers:
        if vector.parameters:
            found.append(_statistics(vector))
            found += _state(vector.name, vector.parameters, state_home, master)
    return tuple(found)


def _mac_tensors(layer: MacLayer, batch: int, buffer_bit: int, saved_home: str) -> list[TensorTraffic]:
    bits = layer.out_elements * batch * BF16_BIT
    return [
        TensorTraffic("weight", layer.name, "BF16", "array", layer.weights * BF16_BIT, (("update", 1),), ()),
        TensorTraffic("saved_activation", layer.name, "BF16", saved_home, bits, (("forward", 1),),
                      (("forward", 1), ("input_gradient", 1), ("weight_gradient", 1))),
        TensorTraffic("activation_gradient", layer.name, "BF16", _home(bits, buffer_bit), bits,
                      (("input_gradient", 1),), (("input_gradient", 1),)),
    ]


def _state(name: str, parameters: int, home: str, master: bool) -> list[TensorTraffic]:
    bits = parameters * FP32_BIT
    found = [
        TensorTraffic("weight_gradient", name, "FP32", home, bits, (("weight_gradient", 1),), (("update", 1),)),
        TensorTraffic("momentum", name, "FP32", home, bits, (("update", 1),), (("update", 1),)),
    ]
    if master:
        found.append(TensorTraffic("master_copy", name, "FP32", home, bits, (("update", 1),), (("update", 1),)))
    return found


def _statistics(layer: VectorLayer) -> TensorTraffic:
    return TensorTraffic("batch_norm_statistics", layer.name, "FP32", "buffer", 4 * layer.channels * FP32_BIT,
                         (("forward", 1), ("input_gradient", 1)), (("forward", 1), ("input_gradient", 2)))
