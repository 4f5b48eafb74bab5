"""Transformers as layer records, from their papers. No dropout.

ViT-Ti/16 (Dosovitskiy et al. 2020, arXiv 2010.11929; Touvron et al. 2021, arXiv 2012.12877): 192 wide, 3 heads, 12
deep, a class token and learned positions; below 64 px, patches of 4. GPT-2 small (Radford et al. 2019): 768 wide, 12
heads, 12 deep, 1024 learned positions, 50,257 words, the table of words shared by embedding and output. `image_px` is
then its sequence's length in tokens, a sample is a sequence, `classes` and `channels` have no say, and the loss is of
the next word at every position. A width multiplies the number of heads, 64 channels each.
"""

from __future__ import annotations

from charlib.errors import BadInput
from system.networks_builder import Builder
from system.workload import Layer, MacLayer

DEPTH = 12
GPT2_WORDS, GPT2_POSITIONS = 50_257, 1024


def vit_tiny(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """Vision transformer, tiny (Touvron et al., 2021). BadInput for an image that is no whole number of patches."""
    patch = 16 if image_px >= 64 else 4
    if image_px % patch:
        raise BadInput(f"image_px: vit_tiny needs a multiple of its patch of {patch} px, got {image_px}")
    heads = max(1, round(3 * width))
    size, patches = 64 * heads, (image_px // patch) ** 2
    builder = Builder((patches + 1,), size)
    builder.layers.append(MacLayer("patches", "conv", channels, size, patch, patch, image_px, bias=True,
                                   needs_input_gradient=False, padding=0))
    builder.px = (patches,)
    builder.vector("patches.bias", "bias")
    builder.px = (1,)
    builder.vector("patches.token", "embedding", learned=size)
    builder.px = (patches + 1,)
    builder.vector("patches.positions", "position_add", learned=(patches + 1) * size)
    _blocks(builder, "patches", heads, causal=False)
    builder.px = (1,)
    builder.linear("head", classes)
    builder.vector("loss", "softmax_loss")
    return tuple(builder.layers)


def gpt2(image_px: int, width: float, classes: int, channels: int) -> tuple[Layer, ...]:
    """GPT-2 small (Radford et al., 2019); image_px is the number of tokens. BadInput beyond its positions."""
    if image_px > GPT2_POSITIONS:
        raise BadInput(f"image_px: gpt2 takes it for its number of tokens, at most {GPT2_POSITIONS}, got {image_px}")
    heads = max(1, round(12 * width))
    size = 64 * heads
    builder = Builder((image_px,), size)
    builder.vector("block1.qkv.words", "embedding", learned=0)  # the output's weights
    builder.vector("block1.qkv.positions", "position_add", learned=GPT2_POSITIONS * size)
    _blocks(builder, "block1.qkv", heads, causal=True)
    builder.linear("head", GPT2_WORDS, bias=False)
    builder.vector("loss", "softmax_loss")
    return tuple(builder.layers)


def _blocks(builder: Builder, before: str, heads: int, causal: bool) -> None:
    size = builder.channels
    for index in range(1, DEPTH + 1):
        builder.encoder_block(f"block{index}", before, heads, 4 * size, causal)
        before = f"block{index}.fc2"
    builder.vector(f"{before}.norm", "layer_norm")
