"""What every bench is: a frozen point makes one deck, and its waveforms make checked measures.

Enumerate → run → fold. A bench checks the circuit's logic in the same run that it measures: an energy
of a circuit that computed the wrong thing raises LogicError and never reaches a table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Protocol

from charlib.errors import BadInput
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck
from charlib.spice.engine import Waveforms
from charlib.table import Origin, Table
from charlib.units import implausible

ZERO_KELVIN_C = -273.15
#: ramps and loads in the kit's own delays and capacitances
LEAST_RATIO, MOST_RATIO = 1e-3, 1e4
DeckMaker = Callable[[Any, Pdk, Any], Deck]


@dataclass(frozen=True)
class Point:
    """Where a bench runs: corner, temperature and supply. Subclasses add structure."""

    corner: str
    temp_c: float
    vdd_v: float

    def __post_init__(self) -> None:
        if not self.vdd_v > 0:
            raise BadInput(f"vdd_v: must be above 0 V, got {self.vdd_v:g}")
        if not self.temp_c > ZERO_KELVIN_C:
            raise BadInput(f"temp_c: must be above {ZERO_KELVIN_C} °C, got {self.temp_c:g}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and (allowed := implausible(field.name, value)):
                raise BadInput(f"{field.name}: {allowed}")

    def check_ratios(self, *names: str) -> None:
        """BadInput for a multiple of the kit's own delay or capacitance that was given in seconds or farads."""
        for name in names:
            if not LEAST_RATIO <= getattr(self, name) <= MOST_RATIO:
                raise BadInput(f"{name}: a multiple of {LEAST_RATIO:g} to {MOST_RATIO:g} is allowed, got "
                               f"{getattr(self, name):g}")

    def coordinates(self) -> dict[str, Any]:
        """All fields, in order, as table coordinates."""
        return asdict(self)


@dataclass(frozen=True)
class Run:
    """A finished simulation as the fold sees it."""

    id: str
    point: Any
    measures: Mapping[str, float]


class Bench(Protocol):
    """One kind of measurement. Stateless."""

    @property
    def kind(self) -> str:
        """Name in the store, e.g. "bitcell_read"."""

    @property
    def point_type(self) -> type[Point]:
        """The frozen dataclass of its points."""

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        """Structural coordinates of a preset ("quick" or "pvt"), without corner, temperature and supply."""

    def deck(self, pdk: Pdk, point: Any) -> Deck:
        """The one deck of a point."""

    def measure(self, pdk: Pdk, point: Any, waves: Waveforms) -> dict[str, float]:
        """Checked measures by name; LogicError where the circuit did the wrong thing."""

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        """Tables of all runs of this kind on one PDK."""

    def estimated_cost_s(self, point: Any) -> float:
        """Rough solver time, to start the longest runs first."""


def make_point(point_type: type[Point], values: Mapping[str, Any]) -> Point:
    """Build a point from stored or typed values; BadInput naming a field that is missing or unknown."""
    names = [f.name for f in fields(point_type)]
    needed = [f.name for f in fields(point_type) if f.default is MISSING and f.default_factory is MISSING]
    missing, unknown = [n for n in needed if n not in values], [n for n in values if n not in names]
    if missing or unknown:
        raise BadInput(f"{point_type.__name__}: its fields are {names}; missing {missing}, unknown {unknown}")
    return point_type(**values)


def remembered(make: DeckMaker) -> DeckMaker:
    """Keep a bench's last deck: `measure` asks for the deck that has just run."""
    last: list[Any] = [None, None, None]

    @functools.wraps(make)
    def deck(self: Any, pdk: Pdk, point: Any) -> Deck:
        if last[0] is not pdk or last[1] != point:
            last[:] = pdk, point, make(self, pdk, point)
        return last[2]  # type: ignore[no-any-return]

    return deck


PVT_UNITS: Mapping[str, str] = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
