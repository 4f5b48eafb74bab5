"""Compare fresh tables with shipped ones at the points that both have.

The shipped tables were made by the same campaign on the same cards, so what differs is the simulator, the
netlists or the code: more than 2 % is not noise, and a page that mixed the two would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlib.errors import HimcError
from charlib.table import Axis, Table

#: largest relative difference that passes
TOLERANCE = 0.02
#: Values below this fraction of their table's largest are compared with that floor instead of with
#: themselves: what is left after leakage is subtracted may be all but zero [inferred].
FLOOR_FRACTION = 1e-3
_LISTED = 5


@dataclass(frozen=True)
class Difference:
    """One common point where the two disagree."""

    table: str
    point: str
    fresh: float
    shipped: float
    relative: float

    def __str__(self) -> str:
        return (f"{self.table} at {self.point}: fresh {self.fresh:.4g}, shipped {self.shipped:.4g} "
                f"({self.relative:+.1%})")


def compare_tables(fresh: Mapping[str, Table], shipped: Mapping[str, Table],
                   tolerance: float = TOLERANCE) -> tuple[Difference, ...]:
    """Differences above `tolerance`, worst first; tables or points that only one side has are left out."""
    found: list[Difference] = []
    for name in fresh:
        if name in shipped:
            found += _compare(fresh[name], shipped[name], tolerance)
    return tuple(sorted(found, key=lambda d: -abs(d.relative)))


def check_against_shipped(fresh: Mapping[str, Table], shipped: Mapping[str, Table],
                          tolerance: float = TOLERANCE) -> None:
    """HimcError listing the points that differ by more than `tolerance`."""
    differences = compare_tables(fresh, shipped, tolerance)
    if differences:
        listed = "; ".join(str(d) for d in differences[:_LISTED])
        more = f"; and {len(differences) - _LISTED} more" if len(differences) > _LISTED else ""
        raise HimcError(f"fresh and shipped tables differ by more than {tolerance:.0%} at {len(differences)} "
                        f"points: {listed}{more}; find out why, then run 'make tables'")


def _compare(fresh: Table, shipped: Table, tolerance: float) -> list[Difference]:
    if [a.name for a in fresh.axes] != [a.name for a in shipped.axes] or fresh.unit != shipped.unit:
        raise HimcError(f"Table '{fresh.name}': fresh and shipped have different axes or units; run 'make tables'")
    pairs = [_common(a, b) for a, b in zip(fresh.axes, shipped.axes, strict=True)]
    if any(not left for left, _ in pairs):
        return []
    ours = fresh.values[np.ix_(*(left for left, _ in pairs))] if pairs else fresh.values
    theirs = shipped.values[np.ix_(*(right for _, right in pairs))] if pairs else shipped.values
    floor = FLOOR_FRACTION * float(np.max(np.abs(shipped.values)))
    scale = np.maximum(np.abs(theirs), floor)
    relative = np.divide(ours - theirs, scale, out=np.zeros_like(ours), where=scale > 0)
    relative = np.where((scale == 0) & (ours != 0), np.inf, relative)
    found = []
    for index in np.argwhere(np.abs(relative) > tolerance):
        place = tuple(int(i) for i in index)
        point = " ".join(f"{axis.name}={axis.points[pairs[k][0][place[k]]]}" for k, axis in enumerate(fresh.axes))
        found.append(Difference(fresh.name, point, float(ours[place]), float(theirs[place]),
                                float(relative[place])))
    return found


def _common(left: Axis, right: Axis) -> tuple[list[int], list[int]]:
    """Indices of the points that both axes have."""
    places = {point: i for i, point in enumerate(right.points)}
    shared = [(i, places[point]) for i, point in enumerate(left.points) if point in places]
    return [i for i, _ in shared], [j for _, j in shared]
