"""Sizes of the transistors in a user's own cell: a plain number that cannot be metres is refused.

A netlist from a schematic editor gives w=1.7 for micrometres or 153 for nanometres. ngspice takes either for metres
and simulates it, and all that shows is a cell that does not read. Only plain numbers are judged: parameters,
expressions and numbers with a unit's letter are left alone, and so is what calls a subcircuit of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from charlib.errors import BadInput

#: no transistor of a cell is wider or longer
MOST_M = 1e-4
_SIZE = re.compile(r"(?<![\w.])([wl])\s*=\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)(?=\s|$)", re.IGNORECASE)


def check_sizes(text: str, where: str, lengths_m: Mapping[str, float]) -> None:
    """BadInput for a transistor whose w or l is a plain number above MOST_M.

    lengths_m: what a transistor can be called, in small letters -> metres that a plain 1 stands for.
    """
    for line in _lines(text):
        words = line.split()
        if line[:1] not in "mMxX" or not words:
            continue
        one_m = next((lengths_m[word.lower()] for word in words[1:] if word.lower() in lengths_m), 0.0)
        for name, value in _SIZE.findall(line):
            if float(value) * one_m > MOST_M:
                raise BadInput(f"{where}: {words[0]} has {name}={value}, which is {float(value) * one_m:g} m; at "
                               f"most {MOST_M:g} m is allowed; give the unit (a number and u, or n), or a "
                               f"multiple of {name.lower()}min")


def _lines(text: str) -> list[str]:
    """Cards, continuation lines joined, without comments."""
    kept = [re.split(r"\s\$|;", line)[0] for line in text.splitlines() if not line.startswith("*")]
    return "\n".join(kept).replace("\n+", " ").splitlines()
