"""A reader for thousands of operating points: each table is interpolated to the point once, whole.

It gives the values that :class:`system.readings.Reader` gives, to rounding, and neither runs nor uncertainties: an
exploration's designs are traced by asking the scalar estimate for one of them.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from charlib.table import Axis, Table
from system.readings import PVT, Point, Reader, Reading


class LeanReader(Reader):
    """Tables of another reader at a point; :meth:`at` gives further points, which share what is loaded."""

    def __init__(self, point: Point, tables: Reader) -> None:
        super().__init__(point, tables._fresh, tables._shipped, tables.pdk, tables.backed)
        self._whole = tables
        self._reduced: dict[str, tuple[tuple[Axis, ...], npt.NDArray[np.float64], bool]] = {}

    def at(self, point: Point) -> LeanReader:
        """The same tables at another operating point."""
        return self if point == self.point else LeanReader(point, self._whole)

    def _read(self, name: str, coordinates: dict[str, float | str]) -> Reading:
        pvt = self.point.coordinates()
        if any(coordinates.get(key, pvt[key]) != pvt[key] for key in PVT):
            return super()._read(name, coordinates)  # a table of relative values, read at a point of its own
        if name not in self._reduced:
            self._reduced[name] = self._reduce(self.table(name)[0])
        axes, values, logarithmic = self._reduced[name]
        value = _interpolated(name, axes, values, coordinates)
        if value != value:
            raise BadInput(f"Table '{name}': it has a hole beside {coordinates} at {pvt}")
        return Reading(float(np.exp(value)) if logarithmic else value, name, coordinates, (), "shipped")

    def _reduce(self, table: Table) -> tuple[tuple[Axis, ...], npt.NDArray[np.float64], bool]:
        """(axes that are left, values or their logarithms, whether they are logarithms)."""
        asked = {name: value for name, value in self.point.coordinates().items()
                 if any(axis.name == name for axis in table.axes)}
        if not table.covers(**asked):
            somewhere = {axis.name: axis.points[0] for axis in table.axes}
            super()._read(table.name, somewhere | asked)  # refuses, and says why
        values = np.log(table.values) if table.logarithmic else table.values
        for k, axis in reversed(list(enumerate(table.axes))):
            if axis.name in asked:
                weights = np.zeros(len(axis.points))
                for index, share in _bracket(axis, asked[axis.name], table.name):
                    weights[index] += share
                used = np.flatnonzero(weights)
                values = np.tensordot(np.take(values, used, axis=k), weights[used], axes=(k, 0))
        return tuple(axis for axis in table.axes if axis.name not in asked), np.asarray(values), table.logarithmic


def _bracket(axis: Axis, asked: float | str, name: str) -> list[tuple[int, float]]:
    """(index, weight) of the points that an asked coordinate takes."""
    if axis.is_category or len(axis.points) == 1:
        if axis.is_category:
            return [(axis.index(str(asked), name), 1.0)]
        if abs(float(asked) - float(axis.points[0])) > 1e-9 * abs(float(axis.points[0])):
            raise BadInput(f"Table '{name}': {axis.name} is {axis.points[0]:g}, asked for {asked}")
        return [(0, 1.0)]
    points = [float(p) for p in axis.points]
    value = float(asked)
    slack = 1e-9 * max(abs(points[0]), abs(points[-1]))
    if not points[0] - slack <= value <= points[-1] + slack:
        raise BadInput(f"Table '{name}': {axis.name} spans [{points[0]:g}, {points[-1]:g}], asked for {value:g}; "
                       "ask inside")
    value = min(max(value, points[0]), points[-1])
    low = min(max(bisect_right(points, value) - 1, 0), len(points) - 2)
    share = (value - points[low]) / (points[low + 1] - points[low])
    return [(index, weight) for index, weight in ((low, 1.0 - share), (low + 1, share)) if weight]


def _interpolated(name: str, axes: tuple[Axis, ...], values: npt.NDArray[np.float64],
                  coordinates: dict[str, float | str]) -> float:
    """Multilinear over the axes that are left."""
    brackets = [_bracket(axis, coordinates[axis.name], name) for axis in axes]
    total = 0.0
    for corner in itertools.product(*brackets):
        weight = 1.0
        for _, share in corner:
            weight *= share
        total += weight * float(values[tuple(index for index, _ in corner)])
    return total
