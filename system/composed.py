"""Circuits of the fused tree by size: those that the tables hold, and sizes between and beyond them.

A tree's circuits are composed at some numbers of lanes and lane widths. Another size is a weighted sum of the
nearest: linear in bits, then linear in lanes, since a tree of n lanes has n of one cell and n - 1 of the other; fewer
lanes than the smallest tree's take a share of it. How far that misses a size that is there, predicted without it, is
the reading's interpolation uncertainty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from system.blocks import TREE_BLOCKS
from system.readings import Reader, Reading
from system.structure import MacroStructure
from system.uncertainty import LARGEST_SIGMAS

#: the tree's pipeline as a whole, in the table of delays
TREE = "fused_tree"


def circuit_name(block: str, m: MacroStructure) -> str:
    """What the tables of composed circuits call a block of this structure."""
    return f"{block}_{m.compartments}x{m.lane_bits}" if block in (*TREE_BLOCKS, TREE) else block


@dataclass(frozen=True)
class Size:
    """A circuit of so many lanes of so many bits."""

    lanes: int
    bits: int


@lru_cache(maxsize=1024)
def sizes(block: str, names: tuple[str, ...]) -> tuple[Size, ...]:
    """The sizes at which `names` hold the block."""
    found = (re.fullmatch(rf"{re.escape(block)}_(\d+)x(\d+)", name) for name in names)
    return tuple(Size(int(hit[1]), int(hit[2])) for hit in found if hit)


def _names(reader: Reader, table: str) -> tuple[str, ...]:
    """The circuits that a table holds."""
    return cast("tuple[str, ...]", reader.table(table)[0].axis("block").points)


def holds(reader: Reader, table: str, block: str, m: MacroStructure) -> bool:
    """Whether the table has the block's circuit, or sizes from which it can be had."""
    if not reader.has(table):
        return False
    names = _names(reader, table)
    return circuit_name(block, m) in names or bool(_shares(sizes(block, names), Size(m.compartments, m.lane_bits)))


def circuits(reader: Reader, block: str, m: MacroStructure) -> list[str]:
    """The circuits that price a block of this structure: its own, those of other sizes, or none."""
    if not holds(reader, "block_energy_j", block, m):
        return []
    names = _names(reader, "block_energy_j")
    own = circuit_name(block, m)
    return [own] if own in names else [_name(block, size)
                                       for size in _shares(sizes(block, names), Size(m.compartments, m.lane_bits))]


def read(reader: Reader, table: str, block: str, m: MacroStructure, **coordinates: float | str) -> Reading:
    """The block's value at the macro's size; `coordinates` are the table's others. See :func:`holds`."""
    name = circuit_name(block, m)
    names = _names(reader, table)
    if name in names:
        return reader.read(table, block=name, **coordinates)
    there, asked = sizes(block, names), Size(m.compartments, m.lane_bits)

    def at(size: Size) -> float:
        return reader.read(table, block=_name(block, size), **coordinates).value

    shares = _shares(there, asked)
    parts = [(share, reader.read(table, block=_name(block, size), **coordinates)) for size, share in shares.items()]
    value = math.fsum(share * part.value for share, part in parts)
    causes = {cause: math.fsum(abs(share * part.value) * part.causes.get(cause, 0.0) for share, part in parts)
              / abs(value) for cause in {c for _, part in parts for c in part.causes}} if value else {}
    missed = _missed(there, asked, {size: at(size) for size in there}) / LARGEST_SIGMAS
    if value and missed:
        causes["interpolation"] = math.hypot(causes.get("interpolation", 0.0), missed)
    stands = " ".join(f"{share:+.4g}×{_name(block, size)}" for size, share in shares.items())
    return Reading(value, table, dict(parts[0][1].coordinates) | {"block": f"{name} as {stands}"},
                   tuple(dict.fromkeys(run for _, part in parts for run in part.run_ids)),
                   "fresh" if all(part.status == "fresh" for _, part in parts) else "shipped", causes)


def _name(block: str, size: Size) -> str:
    return f"{block}_{size.lanes}x{size.bits}"


@lru_cache(maxsize=4096)
def _shares(there: tuple[Size, ...], asked: Size) -> Mapping[Size, float]:
    """Circuit -> weight; empty where there are too few."""
    rows: dict[int, dict[int, float]] = {}
    for lanes in sorted({size.lanes for size in there}):
        in_bits = _line(sorted(size.bits for size in there if size.lanes == lanes), asked.bits)
        if in_bits:
            rows[lanes] = in_bits
    in_lanes = _line(list(rows), asked.lanes, share_below=True)
    return {Size(lanes, bits): a * b for lanes, a in in_lanes.items() for bits, b in rows[lanes].items() if a * b}


def _line(points: Sequence[int], asked: int, share_below: bool = False) -> dict[int, float]:
    """Point -> weight of the straight line through the two nearest; below the first, with `share_below`, a share of
    it. Empty where a line needs a second point."""
    if asked in points:
        return {asked: 1.0}
    if len(points) < 2:
        return {}
    if share_below and asked < points[0]:
        return {points[0]: asked / points[0]}
    high = min(max(next((k for k, p in enumerate(points) if p > asked), len(points) - 1), 1), len(points) - 1)
    a, b = points[high - 1], points[high]
    return {a: (b - asked) / (b - a), b: (asked - a) / (b - a)}


def _missed(there: tuple[Size, ...], asked: Size, values: Mapping[Size, float]) -> float:
    """The largest relative miss of the circuits used, each predicted without itself along an axis on which the asked
    size is not there: from both sides where the asked one lies between, else as the asked one is, from one side."""
    misses = [0.0]
    for size in _shares(there, asked):
        for axis in ("lanes", "bits"):
            if getattr(asked, axis) == getattr(size, axis):
                continue
            line = [s for s in there if _other(s, axis) == _other(size, axis)]
            points = sorted(getattr(s, axis) for s in line)
            inside = points[0] < getattr(asked, axis) < points[-1]
            if inside and getattr(size, axis) in (points[0], points[-1]):
                continue
            shares = _shares(tuple(s for s in line if s != size), size)
            if shares and values[size]:
                misses.append(abs(math.fsum(w * values[s] for s, w in shares.items()) / values[size] - 1))
    return max(misses)


def _other(size: Size, axis: str) -> int:
    return size.bits if axis == "lanes" else size.lanes
