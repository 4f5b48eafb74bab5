"""What a report must not be used for: the sentences that stand on every page, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from system.scaling import TABLES_NM, node_note

#: how a shipped kit's name begins -> what stands behind its cards
_CARDS = {
    "freepdk": "No silicon stands behind FreePDK45's cards, which are predictive; no foundry kit was used.",
    "ptm": "No silicon stands behind PTM's cards, which are predictive; no foundry kit was used.",
    "sky130": "The cards of sky130 are SkyWater's, fitted to its 130 nm silicon; none of these circuits was built.",
}


def limits(estimate: Mapping[str, Any]) -> list[str]:
    """The sentences for one estimate: where its cards and its node come from, then what holds for all."""
    origin, node_nm = estimate["origin"], estimate["macro"]["node_nm"]
    kit = origin["pdk"]
    cards = next((said for begins, said in _CARDS.items() if kit.startswith(begins)),
                 f"The tables are of the kit {kit}; what its cards are fitted to is its maker's to say.")
    if origin["options"]["projection"] == "ptm":
        node = f"{node_nm} nm lies between PTM's 32 and 22 nm tables, interpolated; neither was fitted to silicon."
    elif node_nm != TABLES_NM:
        node = (f"{node_nm} nm is reached from {TABLES_NM} nm by published scaling equations that do not hold "
                f"{node_nm} nm as a node of their own.")
    else:
        node = ""
    note = node_note(estimate)
    return [_LAYOUT, " ".join(filter(None, (cards, node, note and f"{note[0].upper()}{note[1:]}."))), *LIMITS]


_LAYOUT = ("No layout: the netlists are schematics with diffusions and estimated wires. Extracted parasitics would "
           "raise energy and delay.")
#: what holds of every estimate
LIMITS: tuple[str, ...] = (
    "The paper was known by its abstract alone. The micro-architecture is inferred from it and from the ancestor "
    "chip; every inferred constant is marked so in 'himc estimate --assumptions'.",
    "The digital blocks are our circuits, composed of characterised cells and not optimised by a synthesis tool: a "
    "product designer's would be smaller. Their operands are drawn by stated statistics.",
    "Buffers, network on chip, vector unit, DRAM and regulators are cited constants, not circuits of ours, but for "
    "the leakage of the buffers' cells.",
    "A GPU's row marked composed is no measurement of that card: its time is scaled from other cards by memory "
    "bandwidth or rooflines, or is a roofline, and its power is TDP or a fraction measured on other cards.",
    "Device mismatch is sampled in one compartment, from an inferred matching coefficient, and carried to the chip's "
    "clock by a normal tail; the longer digital paths are those of nominal devices.",
    "The training run is small (digits at 32 × 32 pixels). It shows that the arithmetic trains; it is no accuracy "
    "figure for ImageNet.",
)
