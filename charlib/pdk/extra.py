"""What ngspice drops without a word: an `extra` parameter that is not declared, a second subcircuit of one name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from charlib import netlist
from charlib.errors import BadInput
from charlib.pdk.withheld import NotInCards

_NAME = re.compile(r"([A-Za-z_][\w$#]*)\s*=(?!=)")
_SUBCKT = re.compile(r"^\s*\.(?:subckt|macro)\s+(\S+)", re.IGNORECASE | re.MULTILINE)
#: ngspice takes a multiplier for every subcircuit
_ALWAYS = frozenset({"m"})


def declared(cards: str, subckt: str) -> frozenset[str] | None:
    """Parameters on a subcircuit's `.subckt` line in small letters; None where the cards do not hold it."""
    found = re.search(rf"^\s*\.(?:subckt|macro)\s+{re.escape(subckt)}(?=\s|$)[^\n]*(?:\n\s*[+*][^\n]*)*", cards,
                      re.IGNORECASE | re.MULTILINE)
    if found is None:
        return None
    lines = [re.split(r"\s\$|;", line)[0] for line in found.group().splitlines() if line.lstrip()[:1] != "*"]
    return frozenset(name.lower() for name in _NAME.findall("\n".join(lines).replace("\n+", " ")))


def check_names(cards: str) -> None:
    """BadInput for a subcircuit of the cards that is called as one of ours: ngspice takes the first of two."""
    ours = netlist.SHIM.union(netlist.names())
    for found in _SUBCKT.finditer(cards):
        if found[1].lower() in ours:
            raise BadInput(f"cards: subcircuit '{found[1]}' is called as one of ours, and of two ngspice takes the "
                           "first without a word; rename it in a copy of the cards")


def check_extra(wrapper: str, model: str, extra: Mapping[str, str], cards: str) -> None:
    """NotInCards for a parameter that the device's subcircuit does not declare."""
    has = declared(cards, model) if extra else None
    if has is None:
        return
    unknown = [name for name in extra if name.lower() not in has | _ALWAYS]
    if unknown:
        at = f"devices.{wrapper}.extra: '{unknown[0]}' is no parameter"
        raise NotInCards(f"{at} of subcircuit '{model}'; it has {', '.join(sorted(has)) or 'none'}; mend it",
                         f"{at} of its subcircuit in the cards")
