"""Every default that no table of ours gives, in one list: constants, cards, choices of design, parameters of a macro.

What begins "inferred" is a choice of ours; all else stands in the work named. A test holds that no option and no
structure parameter is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from system.assumptions import CONSTANTS
from system.gpu_records import CARDS
from system.options import EstimateOptions
from system.structure import MacroStructure

PAPER = "Fan et al., 2023, its abstract and reviews of it, or its ancestor (Yan et al., ISSCC 2022)"
#: options that say what is asked, not what is assumed
ASKED = ("network", "image_px", "width", "batch", "classes", "channels", "macro", "macros", "rows", "words_per_row",
         "compartments", "lane_bits", "serial_bits", "node_nm", "vdd_v", "corner",
         "temp_c", "pdk", "tables", "gpu", "gpu_rows", "cycle_s", "chips", "die_mm2")
#: option -> (unit, where its default is from)
OPTIONS: dict[str, tuple[str, str]] = {
    "flavour": ("", "inferred: high-performance devices; the other is a scenario"),
    "projection": ("", "inferred: the published polynomials; PTM is a scenario"),
    "constants": ("", "inferred: the middle of each constant's span; its ends are scenarios"),
    "clock_gating": ("", "inferred: registers are clocked when their stage fires; others are scenarios"),
    "read_policy": ("", "inferred: a word is read once and held over the serial cycles; the other is a scenario"),
    "exponent_fire": ("", "inferred: sign and exponent wires evaluate once a product; the other is a scenario"),
    "update_mode": ("", "inferred: an FP32 master copy beside the BF16 weights"),
    "dram": ("", "inferred: the memory that the GPU's card has"),
    "buffer_bit": ("bit", "inferred: 2 MiB on chip"),
    "vector_lanes": ("", "inferred: 512 lanes beside the macros"),
    "vector_clock_hz": ("Hz", "inferred: 500 MHz, an FP32 pipeline of four stages at 28 nm"),
    "link_bytes_per_s": ("B/s", "inferred: four 200 Gb/s links a chip"),
    "gradient_macros": ("", "inferred: activation macros of the resident policy"),
    "input_density": ("1", "inferred: uniform random significands; 'himc train' records real ones"),
    "weight_density": ("1", "inferred: uniform random significands; 'himc train' records real ones"),
    "toggle": ("1", "inferred: successive operands independent"),
    "write_flip": ("1", "inferred: half of the written bits change"),
    "exponent_spread": ("octaves", "our own: 1.6 to 3.8 recorded in training on the digits"),
    "zero_share": ("1", "inferred: none; 0.56 recorded of the digits' activations"),
    "statistics_beyond": ("", "our own: statistics beyond the tables are refused; recorded ones priced at their end"),
}
#: parameters of a macro that the papers do not state
INFERRED_STRUCTURE = ("guard_bits", "read_policy", "exponent_fire", "depthwise_group")


@dataclass(frozen=True)
class Assumption:
    """One default. low, high: its span, equal where there is none; text values stand in `value` alone."""

    name: str
    value: str
    low: str
    high: str
    unit: str
    citation: str


def assumptions() -> list[Assumption]:
    """All of them, by kind."""
    def number(value: float) -> str:
        return f"{value:.4g}"

    found = [Assumption(c.name, number(c.value), number(c.low), number(c.high), c.unit, c.citation)
             for c in CONSTANTS.values()]
    for card in CARDS.values():
        for name, value, unit in (("tdp", card.tdp_w, "W"), ("fp32_peak", card.fp32_flops, "FLOP/s"),
                                  ("tensor_peak", card.tensor_flops, "FLOP/s"), ("memory", card.bytes_per_s, "B/s")):
            found.append(_plain(f"{card.gpu}_{name}", number(value), unit, card.source))
    options, macro = EstimateOptions(), MacroStructure("fan2023")
    found += [_plain(f"option {name}", str(getattr(options, name)), unit, source)
              for name, (unit, source) in OPTIONS.items()]
    for field in fields(MacroStructure):
        if field.name not in ("name", "floating"):
            source = "inferred: a parameter of the preset" if field.name in INFERRED_STRUCTURE else PAPER
            found.append(_plain(f"macro fan2023 {field.name}", str(getattr(macro, field.name)), "", source))
    return found


def _plain(name: str, value: str, unit: str, source: str) -> Assumption:
    return Assumption(name, value, value, value, unit, source)
