"""What a report must not be used for: the sentences that stand on every page, in one place."""

from __future__ import annotations

LIMITS: tuple[str, ...] = (
    "No layout: the netlists are schematics with diffusions and estimated wires. Extracted parasitics would raise "
    "energy and delay.",
    "No silicon stands behind the 45 nm cards, and 28 nm is reached from them by published scaling equations that do "
    "not hold 28 nm as a node of their own. No foundry kit was used.",
    "The paper was known by its abstract alone. The micro-architecture is inferred from it and from the ancestor "
    "chip; every inferred constant is marked so in 'himc estimate --assumptions'.",
    "The digital blocks are our circuits, composed of characterised cells and not optimised by a synthesis tool: a "
    "product designer's would be smaller. Their operands are drawn by stated statistics.",
    "Buffers, network on chip, vector unit, DRAM and regulators are cited constants, not circuits of ours.",
    "A GPU's row marked composed is no measurement of that card: its time is scaled from other cards by memory "
    "bandwidth or rooflines, or is a roofline, and its power is TDP or a fraction measured on other cards.",
    "Device mismatch is sampled in one compartment, from an inferred matching coefficient, and carried to the chip's "
    "clock by a normal tail; the longer digital paths are those of nominal devices.",
    "The training run is small (digits at 32 × 32 pixels). It shows that the arithmetic trains; it is no accuracy "
    "figure for ImageNet.",
)
