"""Collects a network's layer records while following its channels and image size."""

from __future__ import annotations

from system.workload import Layer, MacLayer, Size, VectorLayer


class Builder:
    """`px`: image size, an int for a square and a tuple for a sequence. `channels`: of the current tensor."""

    def __init__(self, px: Size, channels: int) -> None:
        self.px = px
        self.channels = channels
        self.layers: list[Layer] = []

    def conv(self, name: str, kind: str, out_channels: int, kernel: int, stride: int, activation: str,
             norm: bool = True) -> None:
        """Convolution, then batch norm (or a bias) and, where named, an activation. Padding keeps ⌈px / stride⌉."""
        layer = MacLayer(name, kind, self.channels, out_channels, kernel, stride, self.px, bias=not norm,
                         needs_input_gradient=bool(self.layers))
        self.px, self.channels = layer.out_px, out_channels
        self.layers.append(layer)
        self.vector(f"{name}.bn", "batch_norm") if norm else self.vector(f"{name}.bias", "bias")
        if activation:
            self.vector(f"{name}.{activation}", activation)

    def vector(self, name: str, kind: str, learned: int | None = None) -> None:
        self.layers.append(VectorLayer(name, kind, self.channels, self.px, learned=learned))

    def max_pool(self, name: str, kernel: int, px: int) -> None:
        """Windows of kernel² elements, px² of them."""
        self.px = px
        self.layers.append(VectorLayer(name, "max_pool", self.channels, px, kernel * kernel))

    def linear(self, name: str, out_channels: int, bias: bool = True) -> None:
        """A linear layer at every position, and its bias."""
        self.layers.append(MacLayer(name, "linear", self.channels, out_channels, 1, 1, self.px, bias=bias))
        self.channels = out_channels
        if bias:
            self.vector(f"{name}.bias", "bias")

    def classifier(self, classes: int) -> None:
        """Global average pool, linear layer with bias, softmax and loss."""
        self.vector("pool", "average_pool")
        self.px = 1
        self.linear("fc", classes)
        self.vector("loss", "softmax_loss")

    def attention(self, name: str, heads: int, causal: bool) -> None:
        """Self-attention over a sequence: queries, keys and values, scores, softmax, values summed, output.

        Scores of positions that a causal mask shuts are computed and masked, none skipped.
        """
        size = self.channels
        (tokens,) = self.px if isinstance(self.px, tuple) else (self.px * self.px,)
        self.linear(f"{name}.qkv", 3 * size)
        self.layers.append(MacLayer(f"{name}.scores", "matmul", size, heads * tokens, 1, 1, (tokens,), groups=heads))
        for kind in ("scale", "mask", "softmax") if causal else ("scale", "softmax"):
            self.layers.append(VectorLayer(f"{name}.scores.{kind}", kind, heads, (tokens, tokens)))
        self.layers.append(MacLayer(f"{name}.values", "matmul", heads * tokens, size, 1, 1, (tokens,), groups=heads))
        self.channels = size
        self.linear(f"{name}.out", size)

    def encoder_block(self, name: str, before: str, heads: int, hidden: int, causal: bool) -> None:
        """Pre-norm transformer block; `before` is the MAC layer that its first norm follows."""
        size = self.channels
        self.vector(f"{before}.{name}.norm1", "layer_norm")
        self.attention(name, heads, causal)
        self.vector(f"{name}.out.add", "residual")
        self.vector(f"{name}.out.norm2", "layer_norm")
        self.linear(f"{name}.fc1", hidden)
        self.vector(f"{name}.fc1.gelu", "gelu")
        self.linear(f"{name}.fc2", size)
        self.vector(f"{name}.fc2.add", "residual")
