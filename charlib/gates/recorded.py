"""Operands recorded in training, and what they make small blocks see.

`charlib/data/operands/digits.npz` holds tiles of 32 lanes from the forward pass and the batched weight gradient of a
small MobileNet on the digits (tools/record_operands.py). A named block is given the signals that it would carry in a
fused tree: lanes aligned to their maximum, shift distances, exponents, magnitudes of sums.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.gates.block import Block
from charlib.gates.logic import Bits
from charlib.gates.operands import Codes, Products, bits_of, products_of

RECORDED = ("forward", "weight_gradient")
Integers = npt.NDArray[np.int64]


@cache
def recorded(which: str) -> tuple[Codes, Codes]:
    """(x, w), codes of shape (256, 32) in the order of a macro's operations. BadInput for an unknown pass."""
    if which not in RECORDED:
        raise BadInput(f"operands: '{which}' was not recorded; there are {', '.join(RECORDED)}")
    with (resources.files("charlib.data") / "operands" / "digits.npz").open("rb") as stream, np.load(stream) as held:
        return held[f"{which}_x"], held[f"{which}_w"]


def _distances(p: Products) -> Integers:
    """How far each lane lies below the largest valid exponent."""
    own = np.where(p.valid > 0, p.exponent, -(1 << 9))
    return np.asarray(np.clip(own.max(axis=1, keepdims=True) - own, 0, 63))


def _aligned(p: Products) -> Integers:
    """Lanes' magnitudes, aligned."""
    return np.asarray(p.product >> _distances(p))


def _sums(p: Products) -> Integers:
    """Magnitude of each operation's sum."""
    return np.asarray(np.abs(np.where(p.sign > 0, -_aligned(p), _aligned(p)).sum(axis=1)))


def _lanes(p: Products, lanes: int, bits: int) -> Bits:
    return np.hstack([bits_of(_aligned(p)[:, k] >> (16 - min(bits, 16)), bits) for k in range(lanes)])


def _exponents(p: Products, lanes: int, bits: int) -> Bits:
    base = np.median(p.exponent[p.valid > 0]).astype(np.int64) - (1 << (bits - 1))
    own = np.where(p.valid > 0, np.clip(p.exponent - base, 0, (1 << bits) - 1), 0)
    return np.hstack([bits_of(own[:, k], bits) for k in range(lanes)])


def _shifted(p: Products, bits: int, signals: int) -> Bits:
    return np.hstack([bits_of(p.product[:, 0] >> (16 - min(bits, 16)), bits),
                      bits_of(_distances(p)[:, 0], signals - bits)])


def _signed(p: Products, bits: int) -> Bits:
    return np.hstack([bits_of(_aligned(p)[:, 0] >> (16 - min(bits, 16)), bits), p.sign[:, :1].astype(np.uint8)])


_MAKERS: Mapping[str, Callable[[Products, int, int, int], Bits]] = {
    **dict.fromkeys(("ripple", "carry_select", "prefix"), lambda p, bits, _, signals: _lanes(p, 2, bits)),
    **dict.fromkeys(("adder_tree", "carry_save"), lambda p, lanes, bits, _: _lanes(p, lanes, bits)),
    **dict.fromkeys(("leading_zeros", "normaliser", "rounder"),
                    lambda p, _, __, signals: bits_of(_sums(p) >> 4, signals)),
    "maximum": lambda p, lanes, bits, _: _exponents(p, lanes, bits),
    "shifter": lambda p, bits, _, signals: _shifted(p, bits, signals),
    "negate": lambda p, bits, _, __: _signed(p, bits),
}


def recorded_vectors(block: Block, which: str, count: int) -> Bits:
    """(count, inputs) of a named block, from the first operations of a recorded pass.

    BadInput for a block without such signals, or for more operations than were recorded.
    """
    found = re.fullmatch(r"([a-z_]+?)_(\d+)(?:x(\d+))?", block.name)
    if found is None or found[1] not in _MAKERS:
        raise BadInput(f"block: '{block.name}' has no recorded operands; those with are {', '.join(_MAKERS)}")
    x, w = recorded(which)
    if count > len(x):
        raise BadInput(f"count: {len(x)} operations were recorded, asked for {count}")
    sizes = int(found[2]), int(found[3] or found[2])
    bits = _MAKERS[found[1]](products_of(x[:count], w[:count]), *sizes, len(block.inputs))
    return bits.astype(np.uint8)
