"""Circuits of the fused tree by size: those that the tables hold, and sizes between them.

A tree's circuits are composed at some numbers of lanes and lane widths. Another size between them is a weighted sum
of the nearest: linear in bits, then in lanes for what is counted (energy, toggles, cells: a tree of n lanes has n of
one cell and n - 1 of the other), and in levels for delay (a tree of 33 lanes is as deep as one of 64). How far that
misses a size that is there, foretold without it, and no less than what sizes composed between were seen to miss, is
the reading's interpolation uncertainty. Nothing is foretold beyond the sizes that are there, nor where no miss can be
measured.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from charlib.errors import BadInput
from system.blocks import TREE_BLOCKS
from system.readings import Reader, Reading, status_of
from system.structure import MacroStructure
from system.uncertainty import LARGEST_SIGMAS

#: the tree's pipeline as a whole, in the table of delays
TREE = "fused_tree"
#: largest relative miss of the line in energy, seen on trees of 20, 24, 40, 48 and 56 lanes of 20 bits composed for
#: it (FreePDK45, 0.8 V, tt, 25 °C, one octave of spread); of the tree as a whole 3.7 %. Powers of two, which are all
#: that the tables hold, do not show it.
SEEN = {"maximum_tree": 0.066, "aligners": 0.042, "adder_tree": 0.025, "pipeline_registers": 0.027,
        "normaliser": 0.214, "special_flags": 0.305}


def circuit_name(block: str, m: MacroStructure) -> str:
    """What the tables of composed circuits call a block of this structure."""
    return f"{block}_{m.compartments}x{m.lane_bits}" if block in (*TREE_BLOCKS, TREE) else block


@dataclass(frozen=True)
class Size:
    """A circuit of so many lanes of so many bits."""

    lanes: int
    bits: int

    @property
    def levels(self) -> int:
        """Of its tree: how often its lanes are halved."""
        return math.ceil(math.log2(self.lanes))


@dataclass(frozen=True)
class Standing:
    """What a block's figure stands on. source: "own", or "between" the circuits' sizes; miss: relative, of "between",
    the largest that was measured."""

    block: str
    source: str
    circuits: tuple[str, ...]
    miss: float | None = None


@lru_cache(maxsize=1024)
def sizes(block: str, names: tuple[str, ...]) -> tuple[Size, ...]:
    """The sizes at which `names` hold the block."""
    found = (re.fullmatch(rf"{re.escape(block)}_(\d+)x(\d+)", name) for name in names)
    return tuple(Size(int(hit[1]), int(hit[2])) for hit in found if hit)


def _names(reader: Reader, table: str) -> tuple[str, ...]:
    """The circuits that a table holds; BadInput with the command that makes them where there is none."""
    return cast("tuple[str, ...]", reader.table(table)[0].axis("block").points)


def holds(reader: Reader, table: str, block: str, m: MacroStructure) -> bool:
    """Whether the table has the block's circuit, or sizes of it."""
    if not reader.has(table):
        return False
    return own(reader, table, block, m) or bool(sizes(block, _names(reader, table)))


def own(reader: Reader, table: str, block: str, m: MacroStructure) -> bool:
    """Whether the table has the block's own circuit, of its size."""
    return circuit_name(block, m) in _names(reader, table)


def standing(reader: Reader, table: str, block: str, m: MacroStructure, **coordinates: float | str) -> Standing:
    """What :func:`read` stands on. BadInput where it refuses."""
    if own(reader, table, block, m):
        return Standing(block, "own", (circuit_name(block, m),))
    shares, miss = _between(reader, table, block, m, **coordinates)
    return Standing(block, "between", tuple(_name(block, size) for size in shares), miss)


def read(reader: Reader, table: str, block: str, m: MacroStructure, **coordinates: float | str) -> Reading:
    """The block's value at the macro's size; `coordinates` are the table's others. BadInput where the table holds
    neither its circuit nor sizes on both sides of it."""
    name = circuit_name(block, m)
    if own(reader, table, block, m):
        return reader.read(table, block=name, **coordinates)
    shares, miss = _between(reader, table, block, m, **coordinates)
    parts = [(share, reader.read(table, block=_name(block, size), **coordinates)) for size, share in shares.items()]
    value = math.fsum(share * part.value for share, part in parts)
    causes = {cause: math.fsum(abs(share * part.value) * part.causes.get(cause, 0.0) for share, part in parts)
              / abs(value) for cause in {c for _, part in parts for c in part.causes}} if value else {}
    if value:
        causes["interpolation"] = math.hypot(causes.get("interpolation", 0.0), miss / LARGEST_SIGMAS)
    stands = " ".join(f"{share:+.4g}×{_name(block, size)}" for size, share in shares.items())
    return Reading(value, table, dict(parts[0][1].coordinates) | {"block": f"{name} as {stands}"},
                   tuple(dict.fromkeys(run for _, part in parts for run in part.run_ids)),
                   status_of(part for _, part in parts), causes)


def _between(reader: Reader, table: str, block: str, m: MacroStructure, **coordinates: float | str
             ) -> tuple[Mapping[Size, float], float]:
    """(circuit -> weight, largest miss) of a size that is not there. BadInput where it does not lie between."""
    there, asked = sizes(block, _names(reader, table)), Size(m.compartments, m.lane_bits)
    if not there:
        raise BadInput(f"Table '{table}': it holds no circuit of the block '{block}' of {m.name}, and nothing is "
                       "guessed in its place; see 'himc tables show' for those that it holds")
    by = "levels" if table.endswith("_s") else "lanes"
    shares = _shares(there, asked, by)
    values = {size: reader.look(table, block=_name(block, size), **coordinates) for size in there}
    miss = _missed(there, asked, values, by) if shares else None
    if miss is None:
        raise _beyond(there, asked, reader.pdk)
    return shares, max(miss, SEEN.get(block, 0.0) if by == "lanes" and any(values.values()) else 0.0)


def _beyond(there: tuple[Size, ...], asked: Size, pdk: str) -> BadInput:
    """The refusal of a size that does not lie between those that are there."""
    bits = {s.bits for s in there}
    lanes = min(s.lanes for s in there) <= asked.lanes <= max(s.lanes for s in there)
    option, got = ("lane_bits", asked.bits) if lanes and asked.bits not in bits else ("compartments", asked.lanes)
    named = ", ".join(f"{s.lanes}x{s.bits}" for s in sorted(there, key=lambda s: (s.lanes, s.bits)))
    return BadInput(f"{option}: the size of a composed tree, or one between three of them, is allowed, got {got} "
                    f"({asked.lanes} lanes of {asked.bits} bits); the tables of {pdk} hold {named}")


def _name(block: str, size: Size) -> str:
    return f"{block}_{size.lanes}x{size.bits}"


@lru_cache(maxsize=4096)
def _shares(there: tuple[Size, ...], asked: Size, by: str = "lanes") -> Mapping[Size, float]:
    """Circuit -> weight; empty where the asked size does not lie between. by: "lanes" or "levels"."""
    rows: dict[int, dict[int, float]] = {}
    for lanes in sorted({size.lanes for size in there}):
        in_bits = _line({size.bits: float(size.bits) for size in there if size.lanes == lanes}, asked.bits,
                        asked.bits)
        if in_bits:
            rows[lanes] = in_bits
    if not rows or not min(rows) <= asked.lanes <= max(rows):
        return {}
    in_lanes = _line({lanes: float(getattr(Size(lanes, 1), by)) for lanes in rows}, asked.lanes, getattr(asked, by))
    return {Size(lanes, bits): a * b for lanes, a in in_lanes.items() for bits, b in rows[lanes].items() if a * b}


def _line(points: Mapping[int, float], asked: int, place: float) -> dict[int, float]:
    """Point -> weight of the straight line through the two places on both sides; of points in one place, the largest.
    Empty where the place does not lie between. points: point -> its place."""
    if asked in points:
        return {asked: 1.0}
    at = {where: point for point, where in sorted(points.items())}
    below, above = [w for w in at if w <= place], [w for w in at if w >= place]
    if not below or not above:
        return {}
    a, b = max(below), min(above)
    if a == b:
        return {at[a]: 1.0}
    return {at[a]: (b - place) / (b - a), at[b]: (place - a) / (b - a)}


def _missed(there: tuple[Size, ...], asked: Size, values: Mapping[Size, float], by: str = "lanes") -> float | None:
    """The largest relative misses along lanes and along bits together: of each circuit on an axis on which the asked
    size is not there, foretold from those on both its sides. None where an axis has no such circuit."""
    found = []
    for axis in ("lanes", "bits"):
        if getattr(asked, axis) in {getattr(size, axis) for size in _shares(there, asked, by)}:
            continue
        misses = [miss for size in there for miss in _foretold(there, size, axis, values, by)]
        if not misses:
            return None
        found.append(max(misses))
    return math.hypot(*found)


def _foretold(there: tuple[Size, ...], size: Size, axis: str, values: Mapping[Size, float], by: str
              ) -> Sequence[float]:
    """How far a circuit is missed along one axis, without itself; empty where it does not lie between others."""
    other = "bits" if axis == "lanes" else "lanes"
    line = tuple(s for s in there if getattr(s, other) == getattr(size, other) and s != size)
    shares, value = _shares(line, size, by), values[size]
    apart = math.fsum(w * values[s] for s, w in shares.items()) - value
    return (abs(apart / value) if value else float(apart != 0),) if shares else ()
