"""The `extra` parameters of a device: ngspice drops without a word one that a subcircuit does not declare."""

from __future__ import annotations

import re
from collections.abc import Mapping

from charlib.pdk.withheld import NotInCards

_NAME = re.compile(r"([A-Za-z_][\w$#]*)\s*=(?!=)")
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
