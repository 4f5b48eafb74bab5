"""An axis of a table, and where a coordinate lies on it: between which points, with which weights, never outside."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput

FloatArray = npt.NDArray[np.float64]
#: asked-for coordinates this close (relative) to an axis end count as on it
EDGE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Axis:
    """One axis: `points` are strictly increasing SI numbers, or unique labels (a category axis)."""

    name: str  #: e.g. "load_f"; the suffix is the SI unit
    unit: str  #: SI symbol, for people and files only
    points: tuple[float, ...] | tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise BadInput(f"Axis '{self.name}': it has no points; give at least one")
        if self.is_category:
            if not all(isinstance(p, str) for p in self.points) or len(set(self.points)) < len(self.points):
                raise BadInput(f"Axis '{self.name}': labels must be unique strings, got {list(self.points)}")
            return
        numbers = np.asarray(self.points, dtype=float)
        if not np.all(np.isfinite(numbers)) or np.any(np.diff(numbers) <= 0):
            raise BadInput(f"Axis '{self.name}': points must be finite and strictly increasing, "
                           f"got {list(self.points)}")

    @cached_property
    def is_category(self) -> bool:
        return isinstance(self.points[0], str)

    @cached_property
    def places(self) -> Mapping[float | str, int]:
        """Index of each point."""
        points: tuple[float | str, ...] = self.points
        return {point: i for i, point in enumerate(points)}

    def index(self, coordinate: object, table: str) -> int:
        """Index of an exact point; BadInput naming what exists otherwise."""
        for i, point in enumerate(self.points):
            if point == coordinate:
                return i
            if isinstance(point, float) and isinstance(coordinate, int | float) and math.isclose(
                point, coordinate, rel_tol=EDGE_TOLERANCE
            ):
                return i
        allowed = ", ".join(str(p) for p in self.points)
        raise BadInput(f"Table '{table}': {self.name} has {allowed}; asked for {coordinate}")

    def bracket(
        self, asked: npt.NDArray[Any], table: str
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], FloatArray]:
        """Lower index, upper index and fraction for each asked coordinate."""
        if self.is_category:
            exact = np.array([self.index(str(a), table) for a in asked], dtype=np.intp)
            return exact, exact, np.zeros(len(asked))
        if asked.dtype.kind not in "fiu":
            raise BadInput(f"Table '{table}': {self.name} takes numbers, asked for {asked[0]!r}")
        points = np.asarray(self.points, dtype=float)
        wanted = asked.astype(float)
        slack = EDGE_TOLERANCE * np.maximum(np.abs(points[0]), np.abs(points[-1]))
        outside = ~((wanted >= points[0] - slack) & (wanted <= points[-1] + slack))
        if np.any(outside):
            unit = f" {self.unit}" if self.unit else ""
            raise BadInput(f"Table '{table}': {self.name} spans [{points[0]:g}, {points[-1]:g}]{unit}, asked for "
                           f"{wanted[outside][0]:g}{unit}; run a campaign that covers it or ask inside")
        wanted = np.clip(wanted, points[0], points[-1])
        if len(points) == 1:
            zero = np.zeros(len(asked), dtype=np.intp)
            return zero, zero, np.zeros(len(asked))
        low = np.clip(np.searchsorted(points, wanted, side="right") - 1, 0, len(points) - 2)
        return low, low + 1, (wanted - points[low]) / (points[low + 1] - points[low])

    def steps(self, asked: float | str, table: str) -> tuple[tuple[int, float], ...]:
        """Neighbouring indices with their weights, those of weight zero left out."""
        exact = self.places.get(asked)
        if exact is not None:
            return ((exact, 1.0),)
        points = cast("tuple[float, ...]", self.points)
        if isinstance(asked, int | float) and not self.is_category and points[0] < asked < points[-1]:
            low = bisect_right(points, asked) - 1
            fraction = (asked - points[low]) / (points[low + 1] - points[low])
            return (low, 1.0 - fraction), (low + 1, fraction)
        ends = [(int(part[0]), int(part[1]), float(part[2]))
                for part in zip(*self.bracket(np.asarray([asked]), table), strict=True)]
        return tuple((i, w) for low, high, w1 in ends for i, w in ((low, 1.0 - w1), (high, w1)) if w)


class Grid:
    """Numbers as they are interpolated: their logarithms where they are watts, all above zero."""

    def __init__(self, unit: str, values: FloatArray) -> None:
        self.logarithmic = unit == "W" and bool(np.all(values[~np.isnan(values)] > 0))
        self.numbers = np.log(values) if self.logarithmic else values

    def value(self, total: FloatArray | float) -> FloatArray | float:
        return np.exp(total) if self.logarithmic else total

    def weighted(self, corners: Sequence[tuple[tuple[int, ...], float]]) -> float:
        """The weighted sum over neighbours, as a value."""
        return float(self.value(sum(weight * float(self.numbers[index]) for index, weight in corners)))
