"""What ngspice drops without a word.

An `extra` parameter that is not declared, a second subcircuit of one name, and a count of copies on its way into a
subcircuit that has one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from charlib import netlist
from charlib.errors import BadInput
from charlib.pdk.cell_cards import Scope, kit_tree
from charlib.pdk.cell_text import is_complex
from charlib.pdk.library import statements
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


def check_multiples(several: Mapping[str, tuple[str, Mapping[str, str]]], cards: str) -> None:
    """NotInCards for a device that stands in several copies and whose subcircuit would lose their number.

    several: wrapper -> (subcircuit, its `extra`), of devices with a `unit` or an `extra` m.
    """
    if not several:
        return
    tree = kit_tree(tuple(statements(cards, Path("cards"))))
    for name, (model, extra) in several.items():
        scope = tree.subckt(model)
        if scope is not None and _loses_count(scope, {**scope.formals, **{k.lower(): v for k, v in extra.items()}}):
            at = f"devices.{name}: several copies (unit, or m in extra)"
            raise NotInCards(f"{at} of subcircuit '{model}' would be lost on its own m or inner calls; name a device "
                             "without them", f"{at} would be lost in its subcircuit in the cards")


def _loses_count(scope: Scope, given: Mapping[str, str]) -> bool:
    """Whether an m on the call replaces one inside that is not 1, or stops at an inner call."""
    if not is_complex(scope):
        return False
    try:
        inner = [(one.letter, dict(one.given).get("m", "1").strip("'\"{} ").lower()) for one in scope.elements()]
    except BadInput:
        return True
    return any(letter == "x" or given.get(value, value) != "1" for letter, value in inner)
