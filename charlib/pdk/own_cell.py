"""A user's own cell in place of one of ours: a subcircuit of our name and ports that calls theirs.

Sizes are looked at on the way. A netlist from a schematic editor gives w=1.7 for micrometres or 153 for nanometres.
ngspice takes either for metres and simulates it, and all that shows is a cell that does not read. Only plain numbers
are judged: parameters, expressions and numbers with a unit's letter are left alone, and so is what calls a subcircuit
of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from charlib import netlist
from charlib.errors import BadInput
from charlib.pdk.cell_cards import Scope, fault, tree
from charlib.pdk.cell_nets import check_nets
from charlib.pdk.cell_text import CellWriter, multiplier
from charlib.pdk.library import Statement, plain_number


@dataclass(frozen=True)
class CellFile:
    """A netlist of the user's that stands for one of ours. ports: what joins each of its ports, in its order.

    file: its place from the folder of pdk.toml, else from the kit's root. A port joins one of our subcircuit's nets.
    inside: nets of ours that benches look at -> names in theirs. joined: further nets of theirs, global or declared
    nowhere -> ours.
    """

    file: str
    subckt: str
    ports: tuple[str, ...]
    inside: Mapping[str, str] = field(default_factory=dict)
    joined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnText:
    """Text of a deck, and the kit's subcircuits that it needs written anew (see :mod:`charlib.pdk.cell_text`).

    transistors, bare: how many lines are transistors, and how many of them state no areas of source and drain.
    """

    text: str
    copies: frozenset[str]
    transistors: int
    bare: int


def own_text(name: str, cell: CellFile, cards: Sequence[Statement], kit: Scope, lengths_m: Mapping[str, float],
             scale_m: float) -> OwnText:
    """The user's subcircuits under names of their own, and ours that calls them. BadInput where they do not fit.

    kit: the kit's subcircuits, the wrappers among them. lengths_m: see :func:`check_sizes`. scale_m: metres that a
    plain 1 stands for in the kit's cards.
    """
    file = tree(cards)
    root = file.inner.get(cell.subckt.lower())
    if root is None:
        known = ", ".join(scope.name for scope in file.inner.values()) or "none"
        raise BadInput(f"netlist {cell.file}: it does not define .subckt {cell.subckt}; it has {known}")
    _check_ports(name, cell, root)
    if file.scale is not None and plain_number(file.scale[0]) != scale_m:
        raise fault(file.scale[1], f"'.option scale={file.scale[0]}' would count for the whole deck, whose cards are "
                                   f"in units of {scale_m:g} m; give sizes with their unit (w=0.18u) and remove it")
    joined = {net.lower(): ours for net, ours in cell.joined.items()}
    drive = netlist.takes_drive(name)
    writer = CellWriter(f"own_{name}", kit, joined)
    writer.reach(root, drive)
    check_sizes("\n".join(card.text for scope in writer.reached for card in scope.cards), f"cells.{name}", lengths_m)
    watched = _watched(name, cell, root)
    text = writer.text({root: watched})
    check_nets(root, kit, joined, f"cells.{name}", cell.ports)
    nets = (*cell.ports, *(joined[net] for net in writer.extra(root)), *netlist.WATCHED.get(name, ()))
    own = writer.own(root)
    return OwnText(f"{text}.subckt {name} {' '.join(netlist.netlist_ports(name))}{' drive=1' if drive else ''}\n"
                   f"xown {' '.join(nets)} {own}{f' {multiplier(own)}={{drive}}' if drive else ''}\n.ends {name}\n",
                   frozenset(writer.copies), *_bare(writer, kit))


def _check_ports(name: str, cell: CellFile, root: Scope) -> None:
    """BadInput unless each port of theirs joins one of ours, and each of ours is joined."""
    ours = netlist.netlist_ports(name)
    for field_name, nets in (("ports", cell.ports), ("joined", tuple(cell.joined.values()))):
        unknown = [net for net in nets if net not in ours]
        if unknown:
            ground = "; the simulator's node 0 hides currents: join vss" if unknown[0] in ("0", "gnd") else ""
            raise BadInput(f"cells.{name}.{field_name}: '{unknown[0]}' is not a port of {name}; allowed are "
                           f"{', '.join(ours)}{ground}")
    if len(root.ports) != len(cell.ports):
        raise BadInput(f"cells.{name}.ports: {cell.subckt} has {len(root.ports)} ports ({' '.join(root.ports)}), "
                       f"`ports` lists {len(cell.ports)}; list one net of {name} for each, in that order")
    joins = dict(zip((port.lower() for port in root.ports), cell.ports, strict=True))
    for net, joined in cell.joined.items():
        if joins.get(net.lower(), joined) != joined:
            raise BadInput(f"cells.{name}.joined: '{net}' is a port of {cell.subckt}, which `ports` joins to "
                           f"{joins[net.lower()]}, not to {joined}; remove it from one of them")
    left = [port for port in ours if port not in (*cell.ports, *cell.joined.values())]
    if left:
        raise BadInput(f"cells.{name}.ports: {name}'s port '{left[0]}' is joined to nothing")


def _bare(writer: CellWriter, kit: Scope) -> tuple[int, int]:
    """How many lines are transistors, and how many of them state neither ad nor as; our wrappers add both."""
    drawn = [one for scope in writer.reached for one in scope.elements() if one.letter == "m" or (
        one.letter == "x" and scope.subckt(one.model) is None and kit.subckt(one.model) is not None)]
    return len(drawn), sum(one.model.lower() not in netlist.SHIM and not {"ad", "as"} & dict(one.given).keys()
                           for one in drawn)


def _watched(name: str, cell: CellFile, root: Scope) -> tuple[str, ...]:
    """The names in theirs of the nets that benches look at. BadInput for a net that is not there."""
    watched = netlist.WATCHED.get(name, ())
    for net in cell.inside:
        if net not in watched:
            raise BadInput(f"cells.{name}.inside: '{net}' is no net of {name} that a bench looks at; allowed are "
                           f"{', '.join(watched) or 'none'}")
    nets = {node.lower() for one in root.elements() for node in one.nodes}
    bits = tuple(cell.inside.get(net, net) for net in watched)
    for net in bits:
        if net.lower() not in nets:
            raise BadInput(f"cells.{name}.inside: {root.name} has no net '{net}'; say which nets hold the bit, as "
                           "inside = {q = \"...\", qb = \"...\"}")
    return bits


#: no transistor of a cell is wider or longer
MOST_M = 1e-4
#: no edge of a transistor is shorter
LEAST_M = 1e-9
_WRITTEN = re.compile(r"(?<![\w.])([wl]|a[ds]|p[ds])\s*=\s*(\d[\w.+-]*|\.\d[\w.+-]*)(?=\s|$)", re.IGNORECASE)
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
        if one_m:
            _check_small(line, f"{where}: {words[0]}", one_m)


def _check_small(line: str, where: str, one_m: float) -> None:
    """BadInput for a size, area or perimeter that a unit too many makes vanish. one_m: metres of a plain 1."""
    for name, value in _WRITTEN.findall(line):
        power = 2 if name.lower() in ("ad", "as") else 1
        number = plain_number(value)
        if number and number * one_m**power < LEAST_M**power:
            unit = "m²" if power == 2 else "m"
            raise BadInput(f"{where} has {name}={value}, which is {number * one_m**power:g} {unit}, as nothing; at "
                           f"least {LEAST_M**power:g} {unit} is allowed; a plain 1 is {one_m:g} m here, "
                           f"{one_m**2:g} m² of area")


def _lines(text: str) -> list[str]:
    """Cards, continuation lines joined, without comments."""
    kept = [re.split(r"\s\$|;", line)[0] for line in text.splitlines() if not line.startswith("*")]
    return "\n".join(kept).replace("\n+", " ").splitlines()
