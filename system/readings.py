"""Reading tables: a user's own, else those shipped with the package, and every reading remembered.

A table that the user gave is read or refused: where it does not cover the point, the shipped one of its name is not
read in its place. Tables that a user's folder lacks are shipped ones, which the record and the console name. Only
tables that were held against the shipped ones (`himc run`) are backed by them point by point.

A `Reading` keeps the table's name, the coordinates and the run ids beside the number, so that a joule can be
walked back to the decks that gave it. Values are kept for all that read at a point; what was read is kept by each
evaluation for itself (:meth:`Reader.recording`), so that an answer never depends on what was asked before it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from charlib.advice import characterise_command
from charlib.errors import BadInput
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import Table, TableSet, load_tables
from charlib.table_file import EDITED
from system.uncertainty import uncertainty

PVT = ("corner", "temp_c", "vdd_v")
#: tables of relative values, which stand for every operating point
RELATIVE_TABLES = ("compartment_mismatch",)


@dataclass(frozen=True)
class Reading:
    """One number with where it came from. `causes`: relative standard uncertainties, see system.uncertainty."""

    value: float
    source: str  #: table or constant name
    coordinates: Mapping[str, float | str]
    run_ids: tuple[str, ...]
    status: str  #: "fresh", "edited" (a user's, signed by hand), "shipped" or "constant"
    causes: Mapping[str, float] = field(default_factory=dict)
    citation: str = ""


@dataclass(frozen=True)
class Point:
    """The operating point of the circuits."""

    corner: str
    temp_c: float
    vdd_v: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.vdd_v) and self.vdd_v > 0):
            raise BadInput(f"vdd_v: must be a positive voltage, got {self.vdd_v:g} V; ask for one that the tables "
                           "cover, such as 0.8")
        if not (math.isfinite(self.temp_c) and -273.15 < self.temp_c < 500):
            raise BadInput(f"temp_c: -273.15 to 500 is allowed, got {self.temp_c:g} °C")

    def coordinates(self) -> dict[str, float | str]:
        return {"corner": self.corner, "temp_c": self.temp_c, "vdd_v": self.vdd_v}


class Reader:
    """Tables at one operating point, the values read so far, and a record of what was read.

    backed: whether a shipped table may be read where the fresh one of its name does not cover the point.
    """

    def __init__(self, point: Point, fresh: TableSet | None, shipped: TableSet | None, pdk: str,
                 backed: bool = True) -> None:
        self.point, self.backed = point, backed
        self._fresh, self._shipped = fresh, shipped
        self._chosen: dict[str, tuple[Table, str]] = {}
        self._memo: dict[tuple[str, frozenset[tuple[str, float | str]]], Reading] = {}
        self._recorded: dict[tuple[str, frozenset[tuple[str, float | str]]], Reading] = {}
        self.pdk = pdk
        self._other_cards = not backed and bool(fresh and shipped) and _cards(fresh) != _cards(shipped)
        if self._other_cards:
            self._shipped = None  # what the user's tables lack is refused, not mixed with another process
        for tables in (fresh, shipped):
            for table in (tables or {}).values():
                if table.origin.pdk not in (pdk, ""):
                    raise BadInput(f"Table '{table.name}': made with pdk '{table.origin.pdk}', asked for '{pdk}'; "
                                   "give --pdk or --tables that agree")

    def at(self, point: Point) -> Reader:
        """The same tables at another operating point."""
        return self if point == self.point else Reader(point, self._fresh, self._shipped, self.pdk,
                                                            self.backed)

    def recording(self) -> Self:
        """The same tables and values with an empty record: what one evaluation reads through it is its own."""
        found = copy.copy(self)
        found._recorded = {}
        return found

    @property
    def used(self) -> dict[str, set[str]]:
        """Table -> ids of the runs behind what was read of it."""
        found: dict[str, set[str]] = {}
        for reading in self._recorded.values():
            found.setdefault(reading.source, set()).update(reading.run_ids)
        return found

    def covers(self, names: Iterable[str]) -> bool:
        """Whether there are tables of these names (monte carlo apart, which stands for all points) at this point."""
        return all(any(table.covers(**self._asked(table)) for table, _ in self._present(name))
                   for name in names if name not in RELATIVE_TABLES)

    def _asked(self, table: Table) -> dict[str, float | str]:
        return {k: v for k, v in self.point.coordinates().items() if any(a.name == k for a in table.axes)}

    def table(self, name: str) -> tuple[Table, str]:
        """The table to use and its status."""
        if name not in self._chosen:
            self._chosen[name] = self._choose(name)
        return self._chosen[name]

    def _present(self, name: str) -> list[tuple[Table, str]]:
        """The tables of that name that may be read, with their status, the user's first."""
        found = [(tables[name], status) for tables, status in ((self._fresh, "fresh"), (self._shipped, "shipped"))
                 if tables is not None and name in tables]
        return [(table, EDITED if table.origin.status == EDITED else status)
                for table, status in (found if self.backed else found[:1])]

    def _choose(self, name: str) -> tuple[Table, str]:
        present = self._present(name)
        for table, status in present:
            if table.covers(**self._asked(table)):
                return table, status
        if present:
            return present[0]  # its own refusal names the axis and what it spans
        raise self.missing(name)

    def missing(self, name: str) -> BadInput:
        """The refusal for a table that is not there, with the command that makes it."""
        known = next((tables for tables in (self._fresh, self._shipped) if tables is not None), None)
        folder = f"tables-{self.pdk}"
        own = "" if has_shipped_tables(self.pdk) else f" ('{self.pdk}' by its pdk.toml, if no name finds it)"
        return BadInput(
            f"Table '{name}': not in {getattr(known, 'where', '') or 'the tables given'}, and nothing is guessed in "
            f"its place; run {characterise_command(self.pdk, **vars(self.point), out=folder)} to make it{own}, then "
            f"give --tables {folder}"
            f"{' (the shipped one is of other model cards, so it is not read)' if self._other_cards else ''}")

    def check_corner(self) -> None:
        """BadInput where no table is of the point's corner."""
        held = {str(corner) for tables in (self._fresh, self._shipped) for table in (tables or {}).values()
                for axis in table.axes if axis.name == "corner" for corner in axis.points}
        if held and self.point.corner not in held:
            raise BadInput(f"corner: '{self.point.corner}' is not in the tables of {self.pdk}; they hold "
                           f"{', '.join(sorted(held))}")

    def has(self, name: str) -> bool:
        return any(tables is not None and name in tables for tables in (self._fresh, self._shipped))

    def read(self, name: str, **coordinates: float | str) -> Reading:
        """One value at the operating point; BadInput outside the table's axes."""
        key = (name, frozenset(coordinates.items()))
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._read(name, dict(coordinates))
        self._recorded[key] = found
        return found

    def look(self, name: str, **coordinates: float | str) -> float:
        """A value that no figure is made of, such as one that is foretold to see the miss; it is not recorded."""
        key = (name, frozenset(coordinates.items()))
        if key not in self._memo:
            self._memo[key] = self._read(name, dict(coordinates))
        return self._memo[key].value

    def _read(self, name: str, coordinates: dict[str, float | str]) -> Reading:
        table, status = self.table(name)
        names = {axis.name for axis in table.axes}
        full = {k: v for k, v in self.point.coordinates().items() if k in names} | coordinates
        for axis in table.axes:  # "0" and "1" may be labels or numbers
            asked = full.get(axis.name)
            if isinstance(asked, str) and not axis.is_category and asked.isdigit():
                full[axis.name] = float(asked)
        found = table.point(**full)
        runs = _behind(table, found.runs)
        return Reading(found.value, name, full, runs, status, uncertainty(table, full, found))

    def readings(self) -> list[Reading]:
        """Every reading on record, by table and coordinates."""
        return sorted(self._recorded.values(), key=lambda one: (one.source, str(sorted(one.coordinates.items()))))

    def origins(self) -> list[tuple[str, str, list[str], Table]]:
        """(name, status, run ids, table) of every table read."""
        return [(name, self.table(name)[1], sorted(runs), self.table(name)[0])
                for name, runs in sorted(self.used.items())]


def _behind(table: Table, runs: tuple[str, ...]) -> tuple[str, ...]:
    """Run ids; where a value was composed, those that its table's conventions list under the value's label."""
    found: dict[str, None] = {}
    for run in runs:
        found.update(dict.fromkeys(table.conventions.get(f"runs of {run}", run).split(",")))
    return tuple(found)


class BlendedReader(Reader):
    """Between two kits of neighbouring nodes: every value interpolated in the logarithms of node and value.

    `share` of the way from `upper` to `lower`. Where a value is not positive in both, interpolation is linear.
    """

    def __init__(self, upper: Reader, lower: Reader, share: float) -> None:
        super().__init__(upper.point, None, None, f"{upper.pdk} and {lower.pdk}")
        self._upper, self._lower, self._share = upper, lower, share

    def table(self, name: str) -> tuple[Table, str]:
        """The upper node's table: both have the same axes."""
        if not self.has(name):
            raise self.missing(name)
        return self._upper.table(name)

    def missing(self, name: str) -> BadInput:
        """This route stands on shipped tables alone, so no command helps."""
        return BadInput(f"Table '{name}': the route between two nodes needs it of {self.pdk}, and it does not travel "
                        "with the package; ask for the other --flavour, or for --projection stillmaker_baas")

    def at(self, point: Point) -> Reader:
        """The same kits at another operating point."""
        return BlendedReader(self._upper.at(point), self._lower.at(point), self._share)

    def covers(self, names: Iterable[str]) -> bool:
        """Whether both kits cover the point."""
        names = list(names)
        return self._upper.covers(names) and self._lower.covers(names)

    def has(self, name: str) -> bool:
        return self._upper.has(name) and self._lower.has(name)

    def _read(self, name: str, coordinates: dict[str, float | str]) -> Reading:
        a, b = (reader.read(name, **coordinates) for reader in (self._upper, self._lower))
        s = self._share
        value = math.exp((1 - s) * math.log(a.value) + s * math.log(b.value)) if min(a.value, b.value) > 0 \
            else (1 - s) * a.value + s * b.value
        runs = tuple(dict.fromkeys((*a.run_ids, *b.run_ids)))
        return Reading(value, name, a.coordinates, runs, status_of((a, b)),
                       {cause: (1 - s) * a.causes.get(cause, 0.0) + s * b.causes.get(cause, 0.0)
                        for cause in {**a.causes, **b.causes}})


def has_shipped_tables(pdk: str) -> bool:
    """Whether tables of the kit travel with the package."""
    return pdk in kits_with_tables()


def log_share(upper_nm: float, node_nm: float, lower_nm: float) -> float:
    """How far `node_nm` lies from the upper node to the lower one, in the logarithm."""
    return math.log(upper_nm / node_nm) / math.log(upper_nm / lower_nm)


def status_of(readings: Iterable[Reading]) -> str:
    """Of what is made from several readings: fresh where all are, else edited where one is, else shipped."""
    found = {reading.status for reading in readings}
    return "fresh" if found == {"fresh"} else EDITED if EDITED in found else "shipped"


def open_reader(point: Point, pdk: str, fresh: TableSet | None, backed: bool = True) -> Reader:
    """A reader over fresh tables (if any) and those that travel with the package. backed: see :class:`Reader`."""
    shipped = load_tables(shipped_tables_dir(pdk)) if has_shipped_tables(pdk) else None
    if fresh is None and shipped is None:
        there = ", ".join(kits_with_tables()) or "none"
        raise BadInput(f"pdk: no tables for '{pdk}' travel with the package (there are: {there}); give --tables DIR, "
                       f"or run {characterise_command(pdk, **vars(point))}")
    found = Reader(point, fresh, shipped, pdk, backed)
    found.check_corner()
    return found


def _cards(tables: TableSet | None) -> set[str]:
    """Hashes of the model cards behind the tables."""
    return {table.origin.pdk_sha256 for table in (tables or {}).values()}
