"""Cell areas from cited libraries, and the area of a block from the cells that its generator made."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from charlib.errors import BadInput
from charlib.gates.block import Block

#: kit -> the library whose cells stand for ours
LIBRARY_OF = {"freepdk45": "nangate45", "sky130": "sky130_fd_sc_hd", "sky130_models": "sky130_fd_sc_hd"}
_SQUARE_MICRON = 1e-12


@dataclass(frozen=True)
class CellArea:
    """One cell's area and where it stands."""

    library: str
    node_nm: int
    cell: str
    area_m2: float
    source: str


@cache
def cell_areas() -> Mapping[tuple[str, str], CellArea]:
    """(library, cell) -> area, of `charlib/data/cell_areas.csv`."""
    text = (resources.files("charlib.data") / "cell_areas.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {(row["library"], row["cell"]): CellArea(row["library"], int(row["node_nm"]), row["cell"],
                                                    float(row["area_um2"]) * _SQUARE_MICRON, row["source"])
            for row in rows}


def area_library(kit: str) -> str:
    """The library of a kit. BadInput where none is cited for it."""
    if kit not in LIBRARY_OF:
        raise BadInput(f"area: no cell library is cited for PDK '{kit}'; there are areas for "
                       f"{', '.join(sorted(LIBRARY_OF))}")
    return LIBRARY_OF[kit]


def block_area_m2(block: Block, library: str) -> float:
    """Sum of the cells' areas, unplaced: divide by a utilisation for silicon. BadInput for an unknown library."""
    known = sorted({name for name, _ in cell_areas()})
    if library not in known:
        raise BadInput(f"library: '{library}' has no areas; allowed are {', '.join(known)}")
    return sum(count * cell_areas()[library, cell].area_m2 for cell, count in block.cell_counts().items())
