"""What the circuits feel while a network trains: bit densities, zeros, toggles, exponent spread, by pass.

Sampled: every `every`-th product of a pass is looked at, and of it at most SAMPLE operands.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlib.errors import BadInput
from system.numerics.formats import Codes

SAMPLE = 4096
GROUP = 32  #: operands of one fused sum, for the exponent spread


@dataclass
class Recorder:
    """Sums of samples; :meth:`summary` gives the means. One recorder a run; :meth:`see` is cheap."""

    every: int = 16
    _seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _sums: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadInput(f"every: must be at least 1, got {self.every}")

    def see(self, name: str, serial: Codes, stored: Codes) -> None:
        """Look at a product's serial operand (streamed, last axis in order) and stored operand."""
        self._seen[name] += 1
        if (self._seen[name] - 1) % self.every:
            return
        for role, values in (("serial", serial), ("stored", stored)):
            for what, value in statistics(values.reshape(-1)[:SAMPLE]).items():
                self._sums[name][f"{role}_{what}"].append(value)

    def summary(self) -> dict[str, dict[str, float]]:
        """pass -> statistic -> mean over the samples."""
        return {name: {what: float(np.mean(values)) for what, values in sums.items()}
                for name, sums in self._sums.items()}


def statistics(codes: Codes) -> dict[str, float]:
    """Of a run of codes: share of ones among significand bits (hidden bit included), share of zeros, toggle rate of
    the significand between neighbours, and mean spread of exponents in groups of GROUP."""
    exponent = (codes >> 7 & 0xFF).astype(np.int64)
    significand = np.where(exponent == 0, 0, (codes & 0x7F) | 0x80).astype(np.uint8)
    ones = np.unpackbits(significand[:, None], axis=1)
    toggles = np.unpackbits((significand[1:] ^ significand[:-1])[:, None], axis=1)
    groups = exponent[: len(exponent) // GROUP * GROUP].reshape(-1, GROUP)
    valid = np.where(groups == 0, np.nan, groups.astype(float))
    known = ~np.all(np.isnan(valid), axis=1) if len(valid) else np.zeros(0, dtype=bool)
    spread = np.nanmax(valid[known], axis=1) - np.nanmin(valid[known], axis=1) if known.any() else np.zeros(1)
    result: dict[str, Any] = {"bit_density": ones.mean() if len(ones) else 0.0, "zero_share": np.mean(exponent == 0),
                              "toggle_rate": toggles.mean() if len(toggles) else 0.0,
                              "exponent_spread": spread.mean()}
    return {name: float(value) for name, value in result.items()}
