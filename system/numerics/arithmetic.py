"""The choices of the in-memory arithmetic, in one frozen record.

What each choice means is laid down with the kernels: :mod:`system.numerics.scalar` is the readable form. The
defaults are the design of the paper as far as it is known; those marked [inferred] are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from charlib.errors import BadInput

ALIGN_MODES = ("magnitude", "floor", "sticky")
FLOAT_TYPES = ("fp32", "bf16")
ACCUMULATORS = (*FLOAT_TYPES, "fixed")
ALIGNMENTS = ("post", "pre")
#: product bits of two BF16 significands, and the weight of the lowest one: a product is an integer × 2^-14
PRODUCT_BITS, PRODUCT_FRACTION = 16, 14
#: guard bits beyond this would overflow the 64-bit sums of the vectorised kernels
MAX_GUARD_BITS = 24
#: pre-alignment: guard bits of a stored word, and most of a serial operand (float64 holds every sum exactly)
STORED_GUARD_BITS, MAX_PRE_GUARD_BITS = 4, 16
MAX_FIXED_BITS = 48


@dataclass(frozen=True)
class Arithmetic:
    """How products are aligned, summed, rounded and accumulated.

    lanes: products in one fused sum. guard_bits: bits kept below the product when it is aligned (may be
    negative). align_mode: "magnitude" truncates toward zero, "floor" shifts the two's complement, "sticky" is
    magnitude with its lowest kept bit set when any bit was lost. tile_type: what a fused sum is rounded to.
    accumulator: the type in which tiles, and the input gradient's lanes, accumulate; "fixed" is of lanes alone, whose
    tiles then accumulate in FP32. saturate: overflow of a BF16 result gives ±max instead of ±inf.

    alignment: "post" aligns products. "pre", the other school, aligns each operand to the largest exponent of its
    side of the tile, truncates it to 8 bits and guard_bits (a stored word: STORED_GUARD_BITS), and multiplies
    integers.

    fixed_bits, fixed_guard: a "fixed" accumulator is two's complement of fixed_bits, its lowest bit fixed_guard bits
    below the lowest one of its largest product [inferred: the exponents are there before the significands]. Products
    are truncated toward zero, and a sum that does not fit stays at the largest number.
    """

    lanes: int = 32
    guard_bits: int = 4  #: [inferred]; lane width 20
    align_mode: str = "magnitude"  #: [inferred]
    tile_type: str = "fp32"
    accumulator: str = "fp32"
    saturate: bool = False
    alignment: str = "post"
    fixed_bits: int = 32
    fixed_guard: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.lanes <= 1024:
            raise BadInput(f"lanes: 1 to 1024 are allowed, got {self.lanes}")
        if not -(PRODUCT_BITS - 1) <= self.guard_bits <= MAX_GUARD_BITS:
            raise BadInput(f"guard_bits: {1 - PRODUCT_BITS} to {MAX_GUARD_BITS} are allowed, got {self.guard_bits}")
        if self.align_mode not in ALIGN_MODES:
            raise BadInput(f"align_mode: {', '.join(ALIGN_MODES)} are allowed, got '{self.align_mode}'")
        for name, allowed in (("tile_type", FLOAT_TYPES), ("accumulator", ACCUMULATORS), ("alignment", ALIGNMENTS)):
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name}: {', '.join(allowed)} are allowed, got '{getattr(self, name)}'")
        if self.alignment == "pre" and not (self.align_mode == "magnitude" and
                                            0 <= self.guard_bits <= MAX_PRE_GUARD_BITS):
            raise BadInput(f"alignment: pre needs align_mode magnitude and guard_bits of 0 to {MAX_PRE_GUARD_BITS}, "
                           f"got {self.align_mode} and {self.guard_bits}")
        if not (self.fixed_guard >= 1 - PRODUCT_BITS
                and PRODUCT_BITS + self.fixed_guard < self.fixed_bits <= MAX_FIXED_BITS):
            raise BadInput(f"fixed_bits: more than {PRODUCT_BITS} + fixed_guard and at most {MAX_FIXED_BITS} are "
                           f"allowed, got {self.fixed_bits} and fixed_guard {self.fixed_guard}")

    @property
    def tile_accumulator(self) -> str:
        """The type in which tiles accumulate: "fp32" or "bf16"."""
        return "bf16" if self.accumulator == "bf16" else "fp32"

    @property
    def lane_bits(self) -> int:
        """Width of an aligned lane."""
        return PRODUCT_BITS + self.guard_bits


def tiles(depth: int, lanes: int) -> list[range]:
    """Which k of a sum over `depth` products share a tile: ascending runs of `lanes`, the last one shorter.

    The one definition, for kernels and for whoever counts their events.
    """
    if depth < 0 or lanes < 1:
        raise BadInput(f"tiles: depth >= 0 and lanes >= 1 are needed, got {depth} and {lanes}")
    return [range(start, min(start + lanes, depth)) for start in range(0, depth, lanes)]
