"""The values that the tools give, and how far they differ.

Conventions that differ between tools are brought to the peer's where our tables allow it: CharLib keeps, of the
states of the other inputs, the one with the largest mean delay; lctime averages the states of one timing sense, and
its power tables over all states. Energies are compared by whole cycles, the two transitions of one input together,
with one load: a cycle says nothing of which edge owns the load's energy, and the input's own nearly cancels in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from benchmarks.peers_cases import TEMP_C, Case
from charlib.errors import HimcError
from charlib.export.liberty import Arc
from charlib.table import Table
from charlib.units import NANO, PICO

FloatArray = np.ndarray
Key = tuple[str, ...]
QUANTITIES = ("delay", "transition", "capacitance", "energy")
_TOKEN = re.compile(r"""\s*(?:(\w+)\s*(?::\s*("[^"]*"|[^;{}]+?)\s*;|\(([^)]*)\)\s*(\{|;))|(\}))""")
_NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")


@dataclass
class Group:
    """A group of a Liberty file: name (args) { attributes and groups }."""

    name: str
    args: str
    attributes: dict[str, str] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def all(self, name: str) -> list[Group]:
        return [group for group in self.groups if group.name == name]


def read_liberty(text: str) -> Group:
    """The library; HimcError where the text is not Liberty."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL).replace("\\\n", " ").strip()
    top, place = Group("", ""), 0
    open_groups = [top]
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None or (found[5] and len(open_groups) == 1):
            raise HimcError(f"liberty: '{text[place:place + 40]}' is no statement")
        place = found.end()
        if found[5]:
            open_groups.pop()
        elif found[4] == "{":
            open_groups[-1].groups.append(Group(found[1], found[3].strip().strip('"')))
            open_groups.append(open_groups[-1].groups[-1])
        else:
            open_groups[-1].attributes[found[1]] = (found[2] or found[3]).strip().strip('"')
    if len(open_groups) != 1 or len(top.groups) != 1:
        raise HimcError("liberty: the text is not one closed library")
    return top.groups[0]


@dataclass
class Values:
    """By quantity, key -> values over (slew, load), or a scalar. Keys: see `of_charlib` and `of_lctime`."""

    delay: dict[Key, FloatArray] = field(default_factory=dict)
    transition: dict[Key, FloatArray] = field(default_factory=dict)
    capacitance: dict[Key, FloatArray] = field(default_factory=dict)
    energy: dict[Key, FloatArray] = field(default_factory=dict)


def of_charlib(text: str, case: Case) -> Values:
    """delay, transition: (pin, out, output edge), worst state. Times in ps, capacitance in pF."""
    values = Values()
    for pin in read_liberty(text).all("cell")[0].all("pin"):
        name = pin.args.lower()
        if name in case.inputs:
            values.capacitance[name,] = np.array(float(pin.attributes["capacitance"]) * PICO)
        for timing in pin.all("timing"):
            _take_times(values, timing, case, PICO, (timing.attributes["related_pin"].lower(), name), ())
    return values


def of_lctime(text: str, case: Case) -> Values:
    """delay, transition: (pin, out, output edge, sense), mean of states; energy: (pin, out). In ns, pF and pJ."""
    values = Values()
    for pin in read_liberty(text).all("cell")[0].all("pin"):
        name = pin.args.lower()
        if name in case.inputs:
            values.capacitance[name,] = np.array(float(pin.attributes["capacitance"]) * PICO)
        for timing in pin.all("timing"):
            sense = timing.attributes["timing_sense"].removesuffix("_unate")
            _take_times(values, timing, case, NANO, (timing.attributes["related_pin"].lower(), name), (sense,))
        for power in pin.all("internal_power"):
            edges = [_grid(power.all(f"{edge}_power")[0], case, NANO) * PICO for edge in ("rise", "fall")]
            values.energy[power.attributes["related_pin"].lower(), name] = edges[0] + edges[1]
    return values


def _take_times(values: Values, timing: Group, case: Case, unit_s: float, before: Key, after: Key) -> None:
    for edge in ("rise", "fall"):
        values.delay[*before, edge, *after] = _grid(timing.all(f"cell_{edge}")[0], case, unit_s) * unit_s
        values.transition[*before, edge, *after] = _grid(timing.all(f"{edge}_transition")[0], case, unit_s) * unit_s


def _grid(table: Group, case: Case, time_unit_s: float) -> FloatArray:
    """Values over (slew, load), whichever of the two the file's first index is; loads are in pF."""
    first, second, numbers = (np.array([float(x) for x in _NUMBER.findall(table.attributes[name])])
                              for name in ("index_1", "index_2", "values"))
    slews, loads = np.array(case.slews_s) / time_unit_s, np.array(case.loads_f) / PICO
    for turned, expected in ((False, (slews, loads)), (True, (loads, slews))):
        if all(len(x) == len(y) and np.allclose(x, y) for x, y in zip((first, second), expected, strict=True)):
            grid = numbers.reshape(len(first), len(second))
            return grid.T if turned else grid
    raise HimcError(f"liberty: table {table.name} does not stand on the case's slews and loads")


def ours(tables: Mapping[str, Table], case: Case, tool: str) -> Values:
    """Our tables in the conventions of a peer, "charlib" or "lctime"."""
    delay, transition, energy = (_by_arc(tables[f"arc_{name}"], case)
                                 for name in ("delay_s", "transition_s", "energy_j"))
    pins = tables["pin_f"].select(corner="tt", temp_c=TEMP_C, vdd_v=case.vdd_v)
    edges: dict[Key, list[float]] = {}
    for label, value in zip(pins.axis("pin").points, pins.values, strict=True):
        edges.setdefault((str(label).split()[1],), []).append(float(value))
    values = Values(capacitance={key: np.array(np.mean(found)) for key, found in edges.items()})
    groups: dict[Key, list[Arc]] = {}
    for arc in delay:
        sense = () if tool == "charlib" else ("positive" if arc.edge == arc.out_edge else "negative",)
        groups.setdefault((arc.pin, arc.out, arc.out_edge, *sense), []).append(arc)
    for key, arcs in groups.items():
        kept = [max(arcs, key=lambda arc: float(delay[arc].mean()))] if tool == "charlib" else arcs
        values.delay[key] = np.mean([delay[arc] for arc in kept], axis=0)
        values.transition[key] = np.mean([transition[arc] for arc in kept], axis=0)
    for pin, out in sorted({(arc.pin, arc.out) for arc in delay}):
        states = sorted({arc.state for arc in delay if (arc.pin, arc.out) == (pin, out)})
        cycles = [sum(energy[Arc(case.cell, pin, edge, "", "", state)] for edge in ("rise", "fall"))
                  - _further_loads(delay, pin, state) * np.array(case.loads_f) * case.vdd_v**2 for state in states]
        values.energy[pin, out] = np.mean(cycles, axis=0)
    return values


def _by_arc(table: Table, case: Case) -> dict[Arc, FloatArray]:
    part = table.select(corner="tt", temp_c=TEMP_C, vdd_v=case.vdd_v)
    if [axis.name for axis in part.axes] != ["arc", "slew_s", "load_f"]:
        raise HimcError(f"table {table.name}: its axes are not arc, slew_s, load_f")
    return {Arc.read(str(label)): values for label, values in zip(part.axis("arc").points, part.values, strict=True)}


def _further_loads(delay: Mapping[Arc, FloatArray], pin: str, state: tuple[tuple[str, int], ...]) -> int:
    """Outputs beyond one that this input moves in this state; ours are all loaded, a peer's only the one."""
    return len({arc.out for arc in delay if arc.pin == pin and arc.state == state}) - 1


def disagreements(theirs: Values, mine: Values) -> dict[str, float | None]:
    """Quantity -> largest |theirs / ours - 1|, None where the peer gives none. HimcError where we lack a key."""
    found: dict[str, float | None] = {}
    for name in QUANTITIES:
        left, right = getattr(theirs, name), getattr(mine, name)
        if unknown := set(left) - set(right):
            raise HimcError(f"{name}: the peer has {sorted(unknown)[0]}, which we have not")
        found[name] = max((float(np.max(np.abs(left[key] / right[key] - 1))) for key in left), default=None)
    return found
