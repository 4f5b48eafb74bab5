"""Layer records: what a network computes, said in integers, with no framework.

A training step has two kinds of work. MAC layers (convolution, depthwise and grouped convolution, linear, products of
two activations) run on the arrays. All else (normalisation, activation, residual, pooling, softmax, loss, optimiser)
runs on the vector unit and is counted operation by operation (:mod:`system.operators`); an operator without a count
is an error, never zero. Counts are per sample unless a name says per step, or a record is done `once` a step whatever
the batch (products of parameters alone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from charlib.errors import BadInput
from system.operators import AFFINE, VECTOR_OPERATIONS, OperatorCount, VectorCount, count_of

__all__ = ["MAC_KINDS", "VECTOR_OPERATIONS", "Layer", "MacLayer", "Network", "OperatorCount", "Size", "VectorCount",
           "VectorLayer"]

MAC_KINDS = ("conv", "depthwise", "linear", "matmul")
#: a size along each axis; one number alone stands for both axes of a square
Size = int | tuple[int, ...]


def _positive(owner: str, least: int = 1, **values: Size | None) -> None:
    for name, value in values.items():
        if value is not None and any(v < least for v in _tuple(value)):
            raise BadInput(f"{owner}: {name} must be a whole number of at least {least}, got {value}")


def _tuple(size: Size) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else size


def _volume(size: Size) -> int:
    return size * size if isinstance(size, int) else math.prod(size)


@dataclass(frozen=True)
class MacLayer:
    """A layer of multiply-accumulates.

    kind: "conv" (any number of axes, grouped or not), "depthwise" (one channel a group), "linear" (of in_px
    positions), "matmul". padding: None keeps ⌈in_px / stride⌉ positions, else it is added at both ends of an axis.

    A matmul multiplies two activations: `groups` independent products a sample (the heads of attention), each of
    in_px rows × (in_channels / groups) by a stored operand of (in_channels / groups) × (out_channels / groups). The
    stored operand is another one in every sample, so nothing is learned and no pass updates it.

    tied: the weights are those of another layer, which counts their parameters and their update, or are made of
    parameters that count elsewhere. frozen: the weights do not learn (of a matmul: the stored operand needs no
    gradient), so they have no weight gradient, update or state; bias_frozen: nor does the bias. once: done once a
    step.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: Size
    stride: Size
    in_px: Size
    bias: bool = False
    needs_input_gradient: bool = True
    groups: int = 1
    padding: Size | None = None
    dilation: Size = 1
    tied: bool = False
    frozen: bool = False
    bias_frozen: bool = False
    once: bool = False

    def __post_init__(self) -> None:
        owner = f"Layer '{self.name}'"
        if self.kind not in MAC_KINDS:
            raise BadInput(f"{owner}: kind must be one of {', '.join(MAC_KINDS)}, got '{self.kind}'")
        _positive(owner, in_channels=self.in_channels, out_channels=self.out_channels, kernel=self.kernel,
                  stride=self.stride, in_px=self.in_px, groups=self.groups, dilation=self.dilation)
        _positive(owner, 0, padding=self.padding)
        if self.kind == "depthwise":
            if self.in_channels != self.out_channels:
                raise BadInput(f"{owner}: a depthwise layer keeps its channels, "
                               f"got {self.in_channels} in and {self.out_channels} out")
            object.__setattr__(self, "groups", self.in_channels)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise BadInput(f"{owner}: groups must divide both channels, "
                           f"got {self.groups} for {self.in_channels} in and {self.out_channels} out")
        if len({len(s) for s in self._sizes() if isinstance(s, tuple)}) > 1:
            raise BadInput(f"{owner}: kernel, stride, in_px, padding and dilation need as many axes as each other")
        if self.kind in ("linear", "matmul") and any(n != 1 for n in (*self.kernel_size, *self.strides)):
            raise BadInput(f"{owner}: a {self.kind} layer has kernel and stride 1, got {self.kernel}, {self.stride}")
        if min(self.out_size) < 1:
            raise BadInput(f"{owner}: kernel {self.kernel} does not fit in_px {self.in_px}; add padding")

    def _sizes(self) -> tuple[Size, ...]:
        given = (self.in_px, self.kernel, self.stride, self.dilation)
        return given if self.padding is None else (*given, self.padding)

    @cached_property
    def _dimensions(self) -> int:
        return max((len(s) for s in self._sizes() if isinstance(s, tuple)), default=2)

    def _axes(self, size: Size) -> tuple[int, ...]:
        return (size,) * self._dimensions if isinstance(size, int) else size

    @cached_property
    def in_size(self) -> tuple[int, ...]:
        return self._axes(self.in_px)

    @cached_property
    def kernel_size(self) -> tuple[int, ...]:
        return self._axes(self.kernel)

    @cached_property
    def strides(self) -> tuple[int, ...]:
        return self._axes(self.stride)

    @cached_property
    def out_size(self) -> tuple[int, ...]:
        """Output positions along each axis."""
        if self.padding is None:
            return tuple(-(-i // s) for i, s in zip(self.in_size, self.strides, strict=True))
        reach = zip(self.kernel_size, self._axes(self.dilation), self._axes(self.padding), strict=True)
        return tuple((i + 2 * p - d * (k - 1) - 1) // s + 1
                     for i, s, (k, d, p) in zip(self.in_size, self.strides, reach, strict=True))

    @property
    def out_px(self) -> int:
        """Side of a square output; the last axis of another."""
        return self.out_size[-1]

    @cached_property
    def positions(self) -> int:
        """Output positions per sample; of a matmul, rows that stream past each stored operand."""
        return math.prod(self.out_size)

    @cached_property
    def taps(self) -> int:
        return math.prod(self.kernel_size)

    @cached_property
    def overlaps(self) -> bool:
        """Whether two output positions can share an input element, so that input gradients are added there."""
        return any(k > 1 and (d > 1 or k > s) for k, d, s in zip(
            self.kernel_size, self._axes(self.dilation), self.strides, strict=True))

    @cached_property
    def reduction(self) -> int:
        """Products summed into one output."""
        return self.taps * self.in_channels // self.groups

    @cached_property
    def patch(self) -> int:
        """Input elements, of all groups, that one position asks for."""
        return self.taps * self.in_channels

    @cached_property
    def stored(self) -> int:
        """Words of the stored operand: weights, or what a matmul writes for every sample."""
        return self.reduction * self.out_channels

    @property
    def weights(self) -> int:
        return 0 if self.kind == "matmul" else self.stored

    @property
    def parameters(self) -> int:
        """What the layer learns."""
        bias = self.out_channels if self.bias and not self.bias_frozen else 0
        return 0 if self.tied else self.learned_weights + bias

    @property
    def learned_weights(self) -> int:
        """Weights that a step writes anew, of a tied layer too."""
        return 0 if self.frozen else self.weights

    @property
    def passes(self) -> int:
        """Passes that multiply: forward, and the gradients of input and weights where they are needed."""
        return 1 + self.needs_input_gradient + (not self.frozen)

    @property
    def has_gradient(self) -> bool:
        """Whether a gradient comes back to the layer's output."""
        return self.passes > 1 or self.parameters > 0

    def times(self, batch: int) -> int:
        """How often a batch asks for the layer's work."""
        return 1 if self.once else batch

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one pass, per sample."""
        return self.positions * self.stored

    @cached_property
    def in_elements(self) -> int:
        return self.in_channels * math.prod(self.in_size)

    @cached_property
    def out_elements(self) -> int:
        return self.out_channels * self.positions


@dataclass(frozen=True)
class VectorLayer:
    """An operator of the vector unit over `channels` × px elements, in pooling each of `window` elements.

    learned: parameters that the kind does not tell (tables of positions or rows; a norm without scale and shift, or
    with frozen ones). needs_gradient: whether a gradient comes back to it. once: done once a step. count: of a kind
    that :data:`system.operators.VECTOR_OPERATIONS` has no count for.
    """

    name: str
    kind: str
    channels: int
    px: Size
    window: int = 1
    learned: int | None = None
    needs_gradient: bool = True
    once: bool = False
    count: OperatorCount | None = None

    def __post_init__(self) -> None:
        if self.count is None and self.kind not in VECTOR_OPERATIONS:
            raise BadInput(f"Layer '{self.name}': operator '{self.kind}' has no operation count; "
                           f"counted are {', '.join(VECTOR_OPERATIONS)}")
        _positive(f"Layer '{self.name}'", channels=self.channels, px=self.px, window=self.window)
        _positive(f"Layer '{self.name}'", 0, learned=self.learned)

    @cached_property
    def elements(self) -> int:
        return self.channels * _volume(self.px) * self.window

    @property
    def rows(self) -> int:
        """Vectors of `channels` elements per sample."""
        return _volume(self.px)

    @property
    def parameters(self) -> int:
        """What the operator learns; a bias belongs to its MAC layer."""
        if self.learned is not None:
            return self.learned
        return 2 * self.channels if self.kind in AFFINE else 0

    @cached_property
    def counts(self) -> OperatorCount:
        return self.count or count_of(self.kind)

    def forward(self) -> VectorCount:
        return VectorCount(*self.counts.forward).times(self.elements)

    def backward(self) -> VectorCount:
        """Nothing where no gradient comes back."""
        return VectorCount(*self.counts.backward).times(self.elements if self.needs_gradient else 0)

    def accesses(self, backward: bool) -> int:
        """Elements read and written."""
        return self.counts.accesses[backward] * (self.elements if self.needs_gradient or not backward else 0)

    def times(self, batch: int) -> int:
        """How often a batch asks for the operator's work."""
        return 1 if self.once else batch


Layer = MacLayer | VectorLayer


@dataclass(frozen=True)
class Network:
    """A network as a sequence of layer records at one image size, width and class count."""

    name: str
    image_px: int
    width: float
    classes: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.mac_layers:
            raise BadInput(f"network: '{self.name}' has no layer with multiply-accumulates")
        seen: set[str] = set()
        for layer in self.layers:
            if layer.name in seen:
                raise BadInput(f"network: '{self.name}' has two layers named '{layer.name}'")
            seen.add(layer.name)

    @cached_property
    def mac_layers(self) -> tuple[MacLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, MacLayer))

    @cached_property
    def vector_layers(self) -> tuple[VectorLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, VectorLayer))

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs_forward(self) -> int:
        """Per sample, without what is done once a step."""
        return sum(layer.macs for layer in self.mac_layers if not layer.once)

    @property
    def macs_training(self) -> int:
        """Forward, weight gradient of what learns, and input gradient where one is needed (not in the first)."""
        return sum(layer.macs * layer.passes for layer in self.mac_layers if not layer.once)

    def macs_per_sample(self, batch: int, training: bool = False) -> int | float:
        """With each sample's share of what is done once a step."""
        once = sum(layer.macs * (layer.passes if training else 1) for layer in self.mac_layers if layer.once)
        whole = (self.macs_training if training else self.macs_forward) * batch + once
        return whole / batch if whole % batch else whole // batch

    @cached_property
    def _followers(self) -> dict[str, tuple[VectorLayer, ...]]:
        found: dict[str, list[VectorLayer]] = {layer.name: [] for layer in self.mac_layers}
        owner = self.mac_layers[0].name
        for layer in self.layers:
            if isinstance(layer, MacLayer):
                owner = layer.name
            else:
                found[owner].append(layer)
        return {name: tuple(layers) for name, layers in found.items()}

    def followers(self, layer: MacLayer) -> tuple[VectorLayer, ...]:
        """The vector operators between this MAC layer and the next one; the first has those before it too."""
        return self._followers[layer.name]
