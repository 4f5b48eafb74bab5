"""Operands of the arrays as the circuits feel them: statistics of BF16 codes, and vectors with given statistics.

What moves a tree's energy is how far the lanes' exponents lie apart (alignment, and how many lanes still count), how
many operands are zero (a zero lane is masked), and how alike successive operands are. Mantissa bits of trained
tensors are close to evenly random; the share of ones is recorded all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.gates.fused import EXPONENT_BITS, PRODUCT_BITS
from charlib.gates.logic import Bits

Codes = npt.NDArray[np.uint16]
BIAS = 127


@dataclass(frozen=True)
class OperandStatistics:
    """exponent_spread: standard deviation of the exponents of nonzero codes, in octaves; zero_share: of zeros (and
    subnormals, which count as zero); bit_density: of ones among fraction bits; repeat_share: of codes equal to the
    one before in their place.
    """

    exponent_spread: float = 2.0
    zero_share: float = 0.0
    bit_density: float = 0.5
    repeat_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.exponent_spread <= 60:
            raise BadInput(f"exponent_spread: 0 to 60 octaves are allowed, got {self.exponent_spread:g}")
        for name in ("zero_share", "bit_density", "repeat_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadInput(f"{name}: must lie in [0, 1], got {getattr(self, name):g}")


def statistics_of(codes: Codes) -> OperandStatistics:
    """Statistics of recorded codes, shape (operations, lanes): rows follow each other in time."""
    if codes.ndim != 2 or codes.dtype != np.uint16 or not codes.size:
        raise BadInput(f"operands: BF16 codes (uint16) of shape (operations, lanes) are needed, got {codes.dtype} "
                       f"{codes.shape}")
    exponent = (codes >> 7) & 0xFF
    valid = exponent > 0
    ones = np.unpackbits((codes[valid] & 0x7F).astype(np.uint8)[:, np.newaxis], axis=1)[:, 1:]
    return OperandStatistics(float(np.std(exponent[valid])) if valid.any() else 0.0, float(1 - valid.mean()),
                             float(ones.mean()) if valid.any() else 0.0,
                             float(np.mean(codes[1:] == codes[:-1])) if len(codes) > 1 else 0.0)


def draw(statistics: OperandStatistics, shape: tuple[int, int], seed: int) -> Codes:
    """Codes (operations, lanes) with these statistics, signs even, exponents normal around 1."""
    rng = np.random.Generator(np.random.Philox(seed))
    exponent = np.clip(BIAS + np.rint(rng.normal(0.0, 1.0, shape) * statistics.exponent_spread), 1, 254)
    fraction = np.packbits(rng.random((*shape, 7)) < statistics.bit_density, axis=-1, bitorder="little")[..., 0]
    codes = ((rng.random(shape) < 0.5).astype(np.uint16) << 15) | (exponent.astype(np.uint16) << 7) | fraction
    codes = np.where(rng.random(shape) < statistics.zero_share, 0, codes).astype(np.uint16)
    repeated = rng.random(shape) < statistics.repeat_share
    for k in range(1, len(codes)):
        codes[k] = np.where(repeated[k], codes[k - 1], codes[k])
    return codes


@dataclass(frozen=True)
class Products:
    """What the compartments hand to the tree, each of shape (operations, lanes): integers and flags."""

    product: npt.NDArray[np.int64]
    exponent: npt.NDArray[np.int64]  #: e_x + e_w − 127
    sign: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    nan: npt.NDArray[np.int64]
    inf: npt.NDArray[np.int64]


def products_of(x: Codes, w: Codes) -> Products:
    """Exact products of two arrays of codes; subnormals count as zero."""
    (ex, mx), (ew, mw) = ((code >> 7 & 0xFF, np.where(code >> 7 & 0xFF, code & 0x7F | 0x80, 0).astype(np.int64))
                          for code in (x.astype(np.int64), w.astype(np.int64)))
    top = (ex == 255) | (ew == 255)
    nan = ((ex == 255) & (mx != 0x80)) | ((ew == 255) & (mw != 0x80)) | (top & ((mx == 0) | (mw == 0)))
    return Products(mx * mw, ex + ew - BIAS, ((x ^ w) >> 15).astype(np.int64), (mx * mw > 0).astype(np.int64),
                    nan.astype(np.int64), (top & ~nan).astype(np.int64))


def bits_of(values: npt.NDArray[np.int64], width: int) -> Bits:
    """(n,) integers as (n, width) bits, lowest first; two's complement."""
    return ((values[:, np.newaxis] >> np.arange(width)) & 1).astype(np.uint8)


def lane_bits(products: Products) -> Bits:
    """The fused tree's lane inputs in its order: (operations, lanes × 30)."""
    columns = []
    for k in range(products.product.shape[1]):
        columns += [bits_of(products.product[:, k], PRODUCT_BITS), bits_of(products.exponent[:, k], EXPONENT_BITS)]
        columns += [field[:, k:k + 1].astype(np.uint8) for field in (products.sign, products.valid, products.nan,
                                                                     products.inf)]
    return np.hstack(columns)
