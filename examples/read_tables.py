"""Read characterised tables in a script or notebook: `python examples/read_tables.py [FOLDER]`.

Without a folder the tables that travel with the package are read. A table interpolates inside its axes and refuses
outside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from charlib.paths import shipped_tables_dir
from charlib.table import load_tables
from charlib.units import format_si


def main(folder: Path) -> None:
    tables = load_tables(folder)
    for table in tables.values():
        axes = ", ".join(f"{axis.name}[{len(axis.points)}]" for axis in table.axes)
        print(f"{table.name:28} {table.unit:3} {table.origin.status:8} {axes}")
    energy = tables["cell_energy_j"]
    for vdd_v in (0.8, 0.85, 0.9):
        value = energy.at(corner="tt", temp_c=25.0, vdd_v=vdd_v, cell="full_adder",
                          slew_s=energy.axis("slew_s").points[0], load_f=energy.axis("load_f").points[0])
        print(f"full adder at {vdd_v} V: {format_si(float(value), 'J')} an output transition")
    print(energy.to_frame().head())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else shipped_tables_dir("freepdk45"))
