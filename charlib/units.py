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

_PREFIXES = {
    -18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T",
}  # fmt: skip


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Render `value` (SI) with an SI prefix and `digits` significant digits: 1.5e-15 J -> '1.5 fJ'."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}".rstrip()
    rounded = float(f"{value:.{digits}g}")
    exponent = 3 * math.floor(math.log10(abs(rounded)) / 3)
    exponent = max(min(exponent, max(_PREFIXES)), min(_PREFIXES))
    return f"{rounded / 10.0**exponent:.{digits}g} {_PREFIXES[exponent]}{unit}".rstrip()
