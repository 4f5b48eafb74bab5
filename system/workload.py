"""Layer records: what a network computes, said in integers, with no framework.

A training step has two kinds of work. MAC layers (convolution, depthwise convolution, linear) run on the
arrays in three passes. All else (batch norm, activation, residual, pooling, loss, optimiser) runs on the
vector unit and is counted operation by operation; an operator without a count is an error, never zero.
Counts are per image unless a name says per step.
"""

from __future__ import annotations

from dataclasses import dataclass

from charlib.errors import BadInput

MAC_KINDS = ("conv", "depthwise", "linear")
#: per element: (adds, multiplies, compares) forward, then backward. Derivations stand beside each.
VECTOR_OPERATIONS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    # forward: Σx, Σx² (1 multiply, 2 adds), then (x − µ)·s·γ + β with s·γ folded (1 multiply, 2 adds).
    # backward: recompute x̂ (1 add, 1 multiply), Σdy, Σdy·x̂ (2 adds, 1 multiply),
    #           dx = k·(dy − a − x̂·b) (2 adds, 2 multiplies).
    "batch_norm": ((4, 2, 0), (5, 4, 0)),
    "relu": ((0, 0, 1), (0, 0, 1)),
    "relu6": ((0, 0, 2), (0, 0, 2)),
    "residual": ((1, 0, 0), (1, 0, 0)),  # backward: the two branches' gradients are added
    "average_pool": ((1, 0, 0), (0, 1, 0)),  # one add an input element; backward spreads d/(h·w)
    # exp by an order-5 polynomial after range reduction (6 multiplies, 6 adds), maximum (1 compare),
    # Σexp (1 add), divide counted as 3 multiplies and 1 add (one Newton step on a table value).
    "softmax_loss": ((8, 9, 1), (1, 1, 0)),
    "bias": ((1, 0, 0), (1, 0, 0)),
}


def _positive(owner: str, **values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise BadInput(f"{owner}: {name} must be a whole number of at least 1, got {value}")


@dataclass(frozen=True)
class VectorCount:
    """Operations of the vector unit."""

    adds: int = 0
    multiplies: int = 0
    compares: int = 0

    @property
    def total(self) -> int:
        return self.adds + self.multiplies + self.compares

    def __add__(self, other: VectorCount) -> VectorCount:
        return VectorCount(self.adds + other.adds, self.multiplies + other.multiplies,
                           self.compares + other.compares)

    def times(self, n: int) -> VectorCount:
        return VectorCount(self.adds * n, self.multiplies * n, self.compares * n)


@dataclass(frozen=True)
class MacLayer:
    """A layer of multiply-accumulates. Square kernels and images, 'same' padding, no grouping but depthwise."""

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    in_px: int
    bias: bool = False
    needs_input_gradient: bool = True

    def __post_init__(self) -> None:
        owner = f"Layer '{self.name}'"
        if self.kind not in MAC_KINDS:
            raise BadInput(f"{owner}: kind must be one of {', '.join(MAC_KINDS)}, got '{self.kind}'")
        _positive(owner, in_channels=self.in_channels, out_channels=self.out_channels, kernel=self.kernel,
                  stride=self.stride, in_px=self.in_px)
        if self.kind == "depthwise" and self.in_channels != self.out_channels:
            raise BadInput(f"{owner}: a depthwise layer keeps its channels, "
                           f"got {self.in_channels} in and {self.out_channels} out")

    @property
    def out_px(self) -> int:
        return -(-self.in_px // self.stride)

    @property
    def positions(self) -> int:
        """Output positions per image."""
        return self.out_px * self.out_px

    @property
    def taps(self) -> int:
        return self.kernel * self.kernel

    @property
    def reduction(self) -> int:
        """Products summed into one output."""
        return self.taps if self.kind == "depthwise" else self.taps * self.in_channels

    @property
    def weights(self) -> int:
        return self.reduction * self.out_channels

    @property
    def parameters(self) -> int:
        return self.weights + (self.out_channels if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one pass, per image."""
        return self.positions * self.weights

    @property
    def in_elements(self) -> int:
        return self.in_channels * self.in_px * self.in_px

    @property
    def out_elements(self) -> int:
        return self.out_channels * self.positions


@dataclass(frozen=True)
class VectorLayer:
    """An operator of the vector unit over `channels` × `px`² elements."""

    name: str
    kind: str
    channels: int
    px: int

    def __post_init__(self) -> None:
        if self.kind not in VECTOR_OPERATIONS:
            raise BadInput(f"Layer '{self.name}': operator '{self.kind}' has no operation count; "
                           f"counted are {', '.join(VECTOR_OPERATIONS)}")
        _positive(f"Layer '{self.name}'", channels=self.channels, px=self.px)

    @property
    def elements(self) -> int:
        return self.channels * self.px * self.px

    @property
    def parameters(self) -> int:
        """Scale and shift of batch norm; nothing else learns here."""
        return 2 * self.channels if self.kind == "batch_norm" else 0

    def forward(self) -> VectorCount:
        return VectorCount(*VECTOR_OPERATIONS[self.kind][0]).times(self.elements)

    def backward(self) -> VectorCount:
        return VectorCount(*VECTOR_OPERATIONS[self.kind][1]).times(self.elements)


Layer = MacLayer | VectorLayer


@dataclass(frozen=True)
class Network:
    """A network as a sequence of layer records at one image size, width and class count."""

    name: str
    image_px: int
    width: float
    classes: int
    layers: tuple[Layer, ...]

    @property
    def mac_layers(self) -> tuple[MacLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, MacLayer))

    @property
    def vector_layers(self) -> tuple[VectorLayer, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, VectorLayer))

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs_forward(self) -> int:
        return sum(layer.macs for layer in self.mac_layers)

    @property
    def macs_training(self) -> int:
        """Forward, weight gradient, and input gradient where it is needed (not for the first layer)."""
        return sum(layer.macs * (3 if layer.needs_input_gradient else 2) for layer in self.mac_layers)

    def followers(self, layer: MacLayer) -> tuple[VectorLayer, ...]:
        """The vector operators between this MAC layer and the next one."""
        index = self.layers.index(layer) + 1
        found: list[VectorLayer] = []
        while index < len(self.layers):
            following = self.layers[index]
            if isinstance(following, MacLayer):
                break
            found.append(following)
            index += 1
        return tuple(found)
