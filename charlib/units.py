"""SI prefixes for literals, and the one place where a number becomes text for people.

Inside the package every quantity is a plain SI float whose name ends in its unit
(`energy_j`, `delay_s`, `load_f`). A prefix stands at the literal: `2 * FEMTO`.
"""

from __future__ import annotations

import math

FEMTO = 1e-15
PICO = 1e-12
NANO = 1e-9
MICRO = 1e-6
MILLI = 1e-3
KILO = 1e3
MEGA = 1e6
GIGA = 1e9

#: 1 Kb of memory, as in Kb/mm²
KB_BIT = 1024
ZERO_CELSIUS_K = 273.15

#: unit that a name ends in -> least and largest value that a cell, a wire or a macro can have, the unit, an example.
#: Wide: beyond it another unit was meant, such as the ns and pF of Liberty.
PLAUSIBLE = {
    "s": (1e-15, 1e-6, "s", "20 ps are 2e-11"), "f": (1e-20, 1e-10, "F", "2 fF are 2e-15"),
    "m": (1e-10, 1e-2, "m", "50 nm are 5e-8"), "v": (0.01, 20.0, "V", "800 mV are 0.8"),
}  # fmt: skip

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T",
}  # fmt: skip


def implausible(name: str, value: float) -> str | None:
    """What is allowed where `value` cannot be a quantity of a circuit in the unit that `name` ends in, else None."""
    span = PLAUSIBLE.get(name.rpartition("_")[2])
    if span is None or span[0] <= value <= span[1]:
        return None
    least, most, unit, example = span
    return f"{least:g} to {most:g} {unit} is allowed, got {value:g}; {example}"


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Render `value` (SI) with an SI prefix and `digits` significant digits: 1.5e-15 J -> '1.5 fJ'."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    rounded = float(f"{value:.{digits}g}")
    exponent = 3 * math.floor(math.log10(abs(rounded)) / 3)
    exponent = max(min(exponent, max(_PREFIXES)), min(_PREFIXES))
    return f"{rounded / 10.0**exponent:.{digits}g} {_PREFIXES[exponent]}{unit}".rstrip()
