"""Every pair of BF16 codes through the Hadamard product, against the processor's FP32 multiplier and ml_dtypes.

The product of two 8-bit significands is exact in FP32 wherever it is not flushed, so one multiplication and one
rounding of ml_dtypes are the oracle: neither shares a line with the product under test.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest

from system.numerics import vectorised
from system.numerics.arithmetic import Arithmetic
from system.numerics.formats import F32, Codes

pytestmark = pytest.mark.validate

EVERY = np.arange(1 << 16, dtype=np.uint16)


def as_operand(codes: Codes) -> F32:
    """FP32 values, subnormals as zeros of their sign."""
    flushed = np.where((codes & 0x7F80) == 0, codes & 0x8000, codes).astype(np.uint16)
    return np.asarray(flushed.view(ml_dtypes.bfloat16).astype(np.float32))


OPERANDS = as_operand(EVERY)


def oracle(x: int) -> Codes:
    with np.errstate(all="ignore"):
        product = (OPERANDS[x] * OPERANDS).astype(ml_dtypes.bfloat16).view(np.uint16)
    product = np.where((product & 0x7F80) == 0, product & 0x8000, product)
    return np.where((product & 0x7FFF) > 0x7F80, 0x7FC0, product).astype(np.uint16)


def differing(x: int) -> int:
    got = vectorised.product(np.full(1 << 16, x, np.uint16), EVERY, Arithmetic())
    return int((got != oracle(x)).sum())


def test_all_products() -> None:
    """2^32 pairs."""
    with ThreadPoolExecutor() as pool:
        wrong = {x: count for x, count in enumerate(pool.map(differing, range(1 << 16), chunksize=64)) if count}
    assert wrong == {}
