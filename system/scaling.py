"""From one node to another by Stillmaker and Baas, with its limits.

Source: Integration 58 (2017) 74, doi 10.1016/j.vlsi.2017.02.002. Per node and flavour, delay = a3·V³ + a2·V² + a1·V
+ a0 and energy = b2·V² + b1·V + b0; a figure is carried over by the ratio of the polynomials at the same supply. 28
nm is not a node of theirs: it is interpolated between 32 and 20 nm in the logarithm of node and value. The delay
fit of 32 nm HP turns upward above 0.85 V, so a supply where delay does not fall with it, at any node used, is
refused.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from charlib.errors import BadInput

FLAVOURS = ("HP", "LP")
NODES_NM = (45, 28)
_BRACKET_NM = (32, 20)

#: node that areas, constants and the scaling's start are of
TABLES_NM = 45


def node_of_kit(pdk: str) -> int | None:
    """The node in nm that a shipped kit's name says; None of a kit of one's own."""
    found = re.match(r"(?:freepdk|sky|ptm)(\d+)", pdk)
    return int(found[1]) if found else None


def node_note(document: Mapping[str, Any]) -> str:
    """What a reader must know where an estimate's tables are of another node than it takes them for; else ""."""
    origin, node_nm = document["origin"], document["macro"]["node_nm"]
    if origin["options"]["projection"] == "ptm" or origin["pdk_node_nm"] == TABLES_NM:
        return ""
    node = f"of {origin['pdk_node_nm']} nm" if origin["pdk_node_nm"] else "of a node unknown here"
    scaled = "as they are" if node_nm == TABLES_NM else f"scaled as if they were of {TABLES_NM} nm"
    return (f"tables of {origin['pdk']}, {node}, {scaled}; areas, wires around the macros and constants are of "
            f"{node_nm} nm")


@dataclass(frozen=True)
class Polynomials:
    """Delay and energy against supply for one node and flavour (the paper's own units; only ratios count)."""

    node_nm: int
    flavour: str
    delay: tuple[float, float, float, float]
    energy: tuple[float, float, float]

    def delay_at(self, vdd_v: float) -> float:
        a3, a2, a1, a0 = self.delay
        return ((a3 * vdd_v + a2) * vdd_v + a1) * vdd_v + a0

    def delay_slope(self, vdd_v: float) -> float:
        a3, a2, a1, _ = self.delay
        return (3 * a3 * vdd_v + 2 * a2) * vdd_v + a1

    def energy_at(self, vdd_v: float) -> float:
        b2, b1, b0 = self.energy
        return (b2 * vdd_v + b1) * vdd_v + b0


@dataclass(frozen=True)
class Ratio:
    """Factors that carry energy and delay from the source node to the target."""

    flavour: str
    source_nm: int
    target_nm: int
    vdd_v: float
    energy: float
    delay: float


@lru_cache(maxsize=1)
def _polynomials() -> dict[tuple[int, str], Polynomials]:
    text = resources.files("system.data").joinpath("stillmaker_baas.csv").read_text(encoding="utf-8")
    found: dict[tuple[int, str], Polynomials] = {}
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        key = (int(row["node_nm"]), row["flavour"])
        found[key] = Polynomials(*key, (float(row["a3"]), float(row["a2"]), float(row["a1"]), float(row["a0"])),
                                 (float(row["b2"]), float(row["b1"]), float(row["b0"])))
    return found


def polynomials(node_nm: int, flavour: str) -> Polynomials:
    """The fit of one of the paper's own nodes."""
    try:
        return _polynomials()[(node_nm, flavour)]
    except KeyError:
        nodes = sorted(n for n, f in _polynomials() if f == flavour)
        raise BadInput(f"scaling: no fit for {node_nm} nm {flavour}; {flavour} has {nodes}") from None


def _interpolated(value_32: float, value_20: float, node_nm: int) -> float:
    upper, lower = _BRACKET_NM
    share = math.log(upper / node_nm) / math.log(upper / lower)
    return math.exp((1 - share) * math.log(value_32) + share * math.log(value_20))


def energy_ratio(flavour: str, vdd_v: float, source_nm: int = 45, target_nm: int = 28) -> float:
    """E(target)/E(source) at one supply, without the check on delay."""
    upper, lower = (polynomials(n, flavour).energy_at(vdd_v) for n in _BRACKET_NM)
    source = polynomials(45, flavour).energy_at(vdd_v)
    if min(upper, lower, source) <= 0:
        raise BadInput(f"scaling: vdd_v {vdd_v:g} V lies outside the {flavour} energy fits (not positive there)")
    at = {45: source, 28: _interpolated(upper, lower, 28)}
    return at[target_nm] / at[source_nm]


def scale(flavour: str, vdd_v: float, source_nm: int = 45, target_nm: int = 28) -> Ratio:
    """Factors between 45 and 28 nm at `vdd_v`; BadInput where the fits cannot be believed."""
    if flavour not in FLAVOURS:
        raise BadInput(f"scaling flavour: {' or '.join(FLAVOURS)} is allowed, got '{flavour}'")
    for node in (source_nm, target_nm):
        if node not in NODES_NM:
            raise BadInput(f"node_nm: {' or '.join(str(n) for n in NODES_NM)} is allowed, got {node}")
    if source_nm == target_nm:
        return Ratio(flavour, source_nm, target_nm, vdd_v, 1.0, 1.0)
    for node in (45, *_BRACKET_NM):
        fit = polynomials(node, flavour)
        if fit.delay_slope(vdd_v) >= 0 or fit.delay_at(vdd_v) <= 0:
            raise BadInput(f"vdd_v: {vdd_v:g} V cannot be scaled from {source_nm} to {target_nm} nm: the {node} nm "
                           f"{flavour} delay fit of Stillmaker and Baas does not fall with VDD there; "
                           "ask for 0.8 V, or for --node-nm 45")
    upper, lower = (polynomials(n, flavour).delay_at(vdd_v) for n in _BRACKET_NM)
    at = {45: polynomials(45, flavour).delay_at(vdd_v), 28: _interpolated(upper, lower, 28)}
    return Ratio(flavour, source_nm, target_nm, vdd_v,
                 energy_ratio(flavour, vdd_v, source_nm, target_nm), at[target_nm] / at[source_nm])
