"""Every constant of the system model that no circuit table gives: name, unit, value, bounds, citation.

A figure whose citation begins "inferred" is a modelling choice of ours; all others stand in the work named.
`low` and `high` span the published or plausible values; scenarios walk from one to the other and so make
ranges. Energies are at the stated node and supply; `system.technology` moves them to the asked-for point.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources

from charlib.errors import BadInput
from charlib.units import FEMTO, GIGA, MICRO, PICO

HOROWITZ = "Horowitz, ISSCC 2014, table of rough energy costs, 45 nm, 0.9 V"
CACTI = "CACTI values at 28 nm, 0.9 V, as in KULeuven-MICAS/zigzag-imc"
CHOICES = ("low", "nominal", "high")


@dataclass(frozen=True)
class Constant:
    """One sourced number. `node_nm` and `vdd_v` are 0 where the figure belongs to no logic process."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    citation: str
    node_nm: float = 0.0
    vdd_v: float = 0.0

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise BadInput(f"Constant '{self.name}': low <= value <= high must hold, "
                           f"got {self.low:g}, {self.value:g}, {self.high:g}")
        if not self.citation or not self.unit:
            raise BadInput(f"Constant '{self.name}': a unit and a citation are needed")

    def pick(self, choice: str) -> float:
        """The `low`, `nominal` or `high` value."""
        if choice not in CHOICES:
            raise BadInput(f"constants: allowed are {', '.join(CHOICES)}; got '{choice}'")
        return {"low": self.low, "nominal": self.value, "high": self.high}[choice]


def _at_45(name: str, value_pj: float, citation: str = HOROWITZ) -> Constant:
    value = value_pj * PICO
    return Constant(name, "J", value, value, value, citation, 45, 0.9)


_UM2 = MICRO * MICRO
#: libraries of `charlib/data/cell_areas.csv` that bracket a macro's logic, by node
_AREA_LIBRARIES = ("nangate45", "zigzag28")
_MM2 = 1e-6



def _cell_areas() -> tuple[Constant, ...]:
    """Cell areas of the cited libraries, from the file that the circuit side counts with too."""
    text = (resources.files("charlib.data") / "cell_areas.csv").read_text(encoding="utf-8")
    found = []
    for row in csv.DictReader(text.splitlines()):
        if row["library"] in _AREA_LIBRARIES:
            area = float(row["area_um2"]) * _UM2
            found.append(Constant(f"area_{row['cell']}_{row['node_nm']}_m2", "m²", area, area, area, row["source"],
                                  float(row["node_nm"])))
    return tuple(found)


_ALL = (
    # Vector unit, until its circuits are characterised.
    _at_45("fp32_add_j", 0.9),
    _at_45("fp32_multiply_j", 3.7),
    _at_45("int32_compare_j", 0.1, HOROWITZ + " (32-bit integer add)"),
    Constant("vector_control_factor", "1", 1.5, 1.2, 2.0,
             "inferred: lane registers, operand steering and sequencing beside the bare operation"),
    # Memories on the chip.
    Constant("buffer_access_j_per_bit", "J/bit", 20 * PICO / 64, 10 * PICO / 64, 100 * PICO / 64,
             HOROWITZ + ": 64-bit read of 32 KB; low 8 KB, high 1 MB", 45, 0.9),
    Constant("local_register_access_j_per_bit", "J/bit", 0.28 * PICO / 48, 0.28 * PICO / 48, 0.51 * PICO / 64,
             CACTI + ": 256 B, 48 b; high 1 KB, 64 b", 28, 0.9),
    Constant("buffer_area_m2_per_bit", "m²/bit", 0.00396 * _MM2 / 16384, 0.00396 * _MM2 / 16384,
             1.5 * 0.00396 * _MM2 / 16384, CACTI + ": 2 KB; high: half as much again for routing", 28, 0.9),
    Constant("buffer_periphery_leakage", "1", 1.29, 1.0, 1.6,
             "inferred: a buffer's periphery leaks as a compartment's does beside its cells: 2.99 nW a bit with it, "
             "2.32 nW the cell of our own FreePDK45 tables, tt, 25 °C, 0.8 V; low: cells alone; high: twice that"),
    # Network on chip.
    Constant("wire_j_per_bit_m", "J/(bit·m)", 310 * PICO / 256 / 10e-3, 0.5 * 310 * PICO / 256 / 10e-3,
             1.5 * 310 * PICO / 256 / 10e-3,
             "Keckler et al., IEEE Micro 31(5) 2011: 256 bits over 10 mm, 40 nm, 0.9 V, 310 pJ; "
             "carried by V² only, wires gain nothing from the node", vdd_v=0.9),
    Constant("noc_distance_fraction", "1", 0.5, 0.25, 1.0,
             "inferred: mean distance from buffer to macro as a share of the chip's edge"),
    Constant("chip_control_fraction", "1", 0.05, 0.02, 0.10,
             "inferred: sequencer and instruction fetch as a share of array, buffer and vector energy"),
    Constant("chip_clock_fraction", "1", 0.10, 0.05, 0.20,
             "inferred: global clock distribution as a share of array, buffer and vector energy"),
    # DRAM. Bandwidths are those of the GPU's card where the same memory is taken.
    Constant("gddr6_j_per_bit", "J/bit", 7.5 * PICO, 5.5 * PICO, 7.5 * PICO,
             "Micron GDDR6X brief 2020 (GDDR6 at 14 Gb/s: 7.5 pJ/bit); low as in published surveys"),
    Constant("lpddr4_j_per_bit", "J/bit", 8 * PICO, 6 * PICO, 8 * PICO, "hwcomponents-cacti (LPDDR4)"),
    Constant("hbm2_j_per_bit", "J/bit", 6.25 * PICO, 3.92 * PICO, 6.25 * PICO,
             "hwcomponents-cacti (HBM2); low: O'Connor et al., MICRO 2017"),
    Constant("hbm3_j_per_bit", "J/bit", 4.05 * PICO, 3.9 * PICO, 4.05 * PICO, "hwcomponents-cacti (HBM3)"),
    Constant("gddr6_bytes_per_s", "B/s", 360 * GIGA, 360 * GIGA, 360 * GIGA,
             "NVIDIA GeForce RTX 3060 specification: 192 bit, 15 Gb/s"),
    Constant("lpddr4_bytes_per_s", "B/s", 34.1 * GIGA, 34.1 * GIGA, 34.1 * GIGA,
             "JEDEC JESD209-4: 4266 Mb/s, 64 bit"),
    Constant("hbm2_bytes_per_s", "B/s", 256 * GIGA, 256 * GIGA, 256 * GIGA, "JEDEC JESD235B: one stack, 2 Gb/s"),
    Constant("hbm3_bytes_per_s", "B/s", 819.2 * GIGA, 819.2 * GIGA, 819.2 * GIGA,
             "JEDEC JESD238: one stack, 6.4 Gb/s"),
    Constant("dram_interface_j_per_bit", "J/bit", 1.5 * PICO, 0.5 * PICO, 3.0 * PICO,
             "inferred: controller and PHY on the in-memory chip's side, beside the device's own energy"),
    Constant("dram_background_w", "W", 1.0, 0.3, 3.0,
             "inferred: refresh and standby of 12 GB (six 16 Gb devices), about 0.17 W a device"),
    Constant("link_j_per_bit", "J/bit", 1.9 * PICO, 0.54 * PICO, 5.0 * PICO,
             "Dickson et al., JSSC 47(4) 2012: 16 × 12 Gb/s over 20 inches of board, 32 nm; low: Poulton et al., "
             "JSSC 48(12) 2013, 20 Gb/s inside a package, 28 nm; high: inferred, long-reach links"),
    Constant("regulator_efficiency", "1", 0.88, 0.82, 0.92,
             "inferred: multiphase buck at a 0.8 V output, 12 V input, medium load"),
    # Area.
    Constant("bitcell_push_rule_28_m2", "m²", 0.127 * _UM2, 0.127 * _UM2, 0.127 * _UM2,
             "Wu et al., VLSI Technology 2009 (28 nm SRAM, high density)", 28),
    Constant("bitcell_logic_rule_45_m2", "m²", 0.705 * 1.3425 * _UM2, 0.705 * 1.3425 * _UM2,
             0.705 * 1.3425 * _UM2, "OpenRAM 1.2.48, technology/freepdk45 cell_1rw (logic rules)", 45),
    *_cell_areas(),
    Constant("utilisation", "1", 0.75, 0.65, 0.85, "placed standard-cell rows; range [I]"),
    Constant("rlpu_transistor_to_cell", "1", 4 / 6, 4 / 6, 4 / 6,
             "inferred: the 4T local unit takes a 6T cell's area per transistor, one unit a computed column"),
    # Statistics.
    Constant("composed_energy_error", "1", 0.021, 0.021, 0.021,
             "our own: composed blocks against transistors simulated whole, root mean square over 33 cases at 45 nm, "
             "docs/validation.md"),
    Constant("clock_yield", "1", 0.99, 0.99, 0.99,
             "inferred: share of chips all of whose compartments meet the clock"),
    # Nominal driving conditions of composed logic.
    Constant("nominal_slew_s", "s", 20 * PICO, 20 * PICO, 20 * PICO,
             "inferred: an edge between two lightly loaded gates of 45 nm"),
    Constant("nominal_load_f", "F", 1.5 * FEMTO, 1.5 * FEMTO, 1.5 * FEMTO,
             "inferred: two gate inputs and about 5 µm of wire"),
)

CONSTANTS: dict[str, Constant] = {constant.name: constant for constant in _ALL}
DRAM_KINDS = ("gddr6", "lpddr4", "hbm2", "hbm3")


def constant(name: str) -> Constant:
    """The constant of that name."""
    if name not in CONSTANTS:
        raise BadInput(f"constant '{name}': not known; known are {', '.join(sorted(CONSTANTS))}")
    return CONSTANTS[name]
