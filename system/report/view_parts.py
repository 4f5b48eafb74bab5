"""The parts that a page is made of, and how values become words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """A table of text. The first column names, the others are set to the right where they are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    status: str  #: fresh, shipped, mixed, or what the training says
    folded: bool = False  #: long tables start closed on the page


@dataclass(frozen=True)
class Picture:
    """A place for a figure, by its id."""

    id: str
    caption: str
    status: str


@dataclass(frozen=True)
class Listing:
    """A text as it stands, such as a deck; closed on the page, a file beside report.md."""

    id: str
    caption: str
    text: str


@dataclass(frozen=True)
class Section:
    """One part of the page: sentences, then pictures, then tables, then listings."""

    key: str
    title: str
    sentences: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    listings: tuple[Listing, ...] = ()


def percent(value: float) -> str:
    """A fraction as a signed percentage with a true minus: -0.084 -> "−8.4 %"."""
    return f"{100 * value:.1f} %".replace("-", "−")


def span(ends: Sequence[float], show: Callable[[float], str]) -> str:
    """`low to high unit`: a unit that both ends share stands once, as does a value that reads the same."""
    low, high = show(ends[0]), show(ends[1])
    if low == high:
        return low
    (low_number, _, low_unit), (_, _, high_unit) = low.partition(" "), high.partition(" ")
    return f"{low_number if low_unit == high_unit else low} to {high}"


def words(name: str) -> str:
    """A name of the record as people read it."""
    return name.replace("_", " ")


def dash(*parts: str) -> str:
    """Sentences joined by a full stop, empty ones left out."""
    return ". ".join(part.rstrip(".") for part in parts if part) + "."
