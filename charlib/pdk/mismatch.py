"""How the devices of a kit differ from one another: what a Monte Carlo sample draws for each.

Convention (method rule 15): Pelgrom's A_VT describes the difference of a pair, so one device of it varies by
σ = A_VT/√(2·W·L). A sample is a vector of independent standard normals, so many a device; the deck carries what they
make of each device as explicit numbers, so that it says by itself what was simulated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: a term of the sky130 cards: amplitude × AGAUSS(0, 1, 1)
_AGAUSS = re.compile(r"agauss\s*\(\s*0\s*,\s*1(?:\.0*)?\s*,\s*1(?:\.0*)?\s*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Pelgrom:
    """Threshold mismatch alone. avt_v_m: A_VT in V·m by polarity ("nmos", "pmos")."""

    avt_v_m: Mapping[str, float]
    source: str

    def sigma_v(self, wrapper: str, width_m: float, length_m: float) -> float:
        """Standard deviation of one device's threshold in volts."""
        return self.avt_v_m[wrapper[:4]] / math.sqrt(2 * width_m * length_m)


@dataclass(frozen=True)
class NativeMismatch:
    """The kit's cards carry their own AGAUSS terms, each a standard normal times an amplitude."""

    source: str


Mismatch = Pelgrom | NativeMismatch


def agauss_terms(text: str) -> int:
    """Number of standard normals in a card text."""
    return len(_AGAUSS.findall(text))


def explicit(text: str, name: str) -> str:
    """The card text with its n-th AGAUSS replaced by the parameter `name`n, n from 0."""
    count = iter(range(agauss_terms(text)))
    return _AGAUSS.sub(lambda _: f"{name}{next(count)}", text)
