"""What an export may say of a kit beside its tables: node, geometry, widths of the bitcell's transistors.

Of a confidential kit nothing is said; of one that this machine does not have, nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from charlib.errors import BadInput
from charlib.export.point import Reader, node_of
from charlib.netlist import netlist_text
from charlib.pdk import KITS, Geometry, load_pdk

BITCELL = "sram_6t"
#: wrapper in the bitcell's netlist -> its transistor
_WRAPPERS = ("nmos_pd", "nmos_pg", "pmos_pu")


@dataclass(frozen=True)
class KitFacts:
    """node_nm, geometry, widths_m (wrapper -> drawn width in m), each None or empty with the reason beside it."""

    node_nm: float | None
    node_how: str
    geometry: Geometry | None
    geometry_how: str
    widths_m: Mapping[str, float] = field(default_factory=dict)
    widths_how: str = ""


def kit_facts(reader: Reader, node_nm: float | None = None) -> KitFacts:
    """node_nm: as the user said, else from the name of a kit of the catalogue."""
    node, node_how = node_nm, "given with --node-nm"
    if node is None:
        node = node_of(reader.pdk)
        node_how = f"node in the name of kit {reader.pdk}" if node else f"kit {reader.pdk} does not say its node; " \
                                                                       "give --node-nm"
    if reader.pdk in KITS:
        recipe = KITS[reader.pdk]
        geometry, devices, own_cell = recipe.geometry, recipe.devices, BITCELL in recipe.cells
    else:
        try:
            kit = load_pdk(reader.pdk)
        except BadInput:
            return KitFacts(node, node_how, None, f"the geometry of kit {reader.pdk} is not known here")
        if kit.confidential:
            return KitFacts(node, node_how, None, f"kit {reader.pdk} is confidential")
        geometry, devices, own_cell = kit.geometry, kit.devices, BITCELL in kit.cells
    if own_cell:
        return KitFacts(node, node_how, geometry, "", {}, f"kit {reader.pdk} has a bitcell of its own")
    multiples = bitcell_multiples()
    fixed = {name: devices[name].unit for name in _WRAPPERS if name in devices}
    widths_m = {name: unit[0] if (unit := fixed.get(name)) else multiples[name] * geometry.wmin_m
                for name in _WRAPPERS}
    return KitFacts(node, node_how, geometry, "", widths_m, f"drawn width in netlist {BITCELL}")


def bitcell_multiples() -> dict[str, float]:
    """Width of each kind of transistor in our bitcell, as a multiple of the kit's minimum width."""
    text = netlist_text(BITCELL)
    found = {}
    for name in _WRAPPERS:
        width = re.search(rf"\b{name} w='?(?:([\d.]+)\*)?wmin\b", text)
        if width is None:
            raise BadInput(f"netlist {BITCELL}: no width of {name} in it; write w='NUMBER*wmin'")
        found[name] = float(width.group(1) or 1.0)
    return found


def geometry_source(geometry: Geometry, *names: str) -> str:
    """Where these lengths come from, as the kit says."""
    return "; ".join(dict.fromkeys(geometry.sources.get(name, "the kit states no source") for name in names))
