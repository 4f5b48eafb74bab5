"""The INT8 macro's block tables, from shipped cells: `python tools/integer_tables.py [KIT]` (freepdk45)."""

from __future__ import annotations

import sys
from pathlib import Path

from charlib.compose.integer import integer_tables
from charlib.compose.tables import surroundings
from charlib.pdk import load_pdk
from charlib.table import load_tables

SHIPPED = Path(__file__).resolve().parents[1] / "charlib" / "data" / "tables"


def main(kit: str) -> None:
    """Write integer_energy_j, integer_delay_s and integer_cell_count beside the kit's other tables."""
    made = load_pdk(kit)
    for table in integer_tables(load_tables(SHIPPED / kit), surroundings(made.geometry, made.unit_s)):
        table.save(SHIPPED / kit / f"{table.name}.json")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["freepdk45"]))
