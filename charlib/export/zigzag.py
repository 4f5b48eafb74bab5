"""ZigZag-IMC's `tech_param`: what `ImcUnit.TECH_PARAM_28NM` of zigzag-dse 3.9 holds, from our cells.

ZigZag takes the energy of a gate's operation as C·VDD². A capacitance here is therefore the one that gives back the
energy SPICE drew: of a gate for a rise and a fall, of a flip-flop for a clock cycle in which q toggles, of a bitcell
for its share of a wordline and of a bitline in a compartment that reads in each cycle. Gates carry one gate of their
own kind where the table covers that load, else the table's lightest; edges are the table's steepest.
"""

from __future__ import annotations

from collections.abc import Mapping

from charlib.benches.compartment_circuit import FULL_COLUMNS
from charlib.export.kit import kit_facts
from charlib.export.point import Point, Reader, Reading, Value, number
from charlib.export.text import comments
from charlib.units import MICRO, MILLI, NANO, PICO

GATES = {"nd2": "nand2", "xor2": "xor2"}
DFF = "dff"
_MM2 = MILLI**2
_UM2 = MICRO**2


def tech_param(reader: Reader, areas_m2: Mapping[str, float], node_nm: float | None = None) -> dict[str, Value]:
    """ZigZag's key -> value in ZigZag's unit. areas_m2: cell -> area, as the user gives it; none is measured."""
    facts = kit_facts(reader, node_nm)
    node_um = None if facts.node_nm is None else facts.node_nm * NANO / MICRO
    values = {
        "tech_node": Value(node_um, "µm", facts.node_how),
        "vdd": Value(reader.point.vdd_v, "V", "supply of the operating point"),
        "nd2_cap": _gate_cap(reader, GATES["nd2"]),
        "wl_cap": _line_cap(reader, "wordline"),
        "bl_cap": _line_cap(reader, "bitline"),
        "xor2_cap": _gate_cap(reader, GATES["xor2"]),
        "dff_cap": _flip_flop_cap(reader),
    }
    for key, cell in (*GATES.items(), (DFF, DFF)):
        values[f"{key}_area"] = _area(cell, areas_m2)
    values |= {f"{key}_dly": _gate_delay(reader, cell) for key, cell in GATES.items()}
    return values | {"dff_dly": _flip_flop_delay(reader)}


def to_zigzag(reader: Reader, areas_m2: Mapping[str, float], node_nm: float | None = None) -> str:
    """A Python file with one dictionary, TECH_PARAM; a comment above each entry says where it comes from."""
    values = tech_param(reader, areas_m2, node_nm)
    lines = comments("# ", reader.header())
    lines += [
        "# Use it with zigzag-dse: ImcUnit.TECH_PARAM_28NM = TECH_PARAM. ZigZag cannot reckon with None: fill in",
        "# what has no value, areas with --area CELL=UM2.", "", "TECH_PARAM = {"]
    for key, value in values.items():
        lines += comments("    # ", value.notes())
        lines.append(f'    "{key}": {None if value.value is None else repr(number(value.value))},')
    return "\n".join([*lines, "}", ""])


def _gate_at(reader: Reader, cell: str) -> tuple[dict[str, Point], Reading, str]:
    """Where a gate is read, its input capacitance, and in words which load it carries."""
    pin = reader.read("cell_input_f", cell=cell)
    loads = [float(point) for point in reader.axis("cell_energy_j", "load_f").points]
    covered = loads[0] <= pin.value <= loads[-1]
    load_f = pin.value if covered else loads[0]
    load = "one of its own inputs" if covered else f"the table's lightest, {load_f / pin.value:.2g} × its input"
    slew_s = float(reader.axis("cell_energy_j", "slew_s").points[0])
    return {"cell": cell, "slew_s": slew_s, "load_f": load_f}, pin, load


def _unmeasured(reader: Reader, cell: str, *tables: str) -> str:
    missing = reader.lacks(*tables)
    if missing or cell in reader.axis(tables[0], "cell").points:
        return missing
    return f"{tables[0]} has no cell {cell}"


def _gate_cap(reader: Reader, cell: str) -> Value:
    missing = _unmeasured(reader, cell, "cell_energy_j", "cell_input_f")
    if missing:
        return Value(None, "pF", missing)
    at, pin, load = _gate_at(reader, cell)
    energy = reader.read("cell_energy_j", **at)
    return Value(2 * energy.value / reader.point.vdd_v**2 / PICO, "pF",
                 f"2·E/VDD², E the mean supply energy of an output transition, load included; load: {load}",
                 (energy, pin))


def _gate_delay(reader: Reader, cell: str) -> Value:
    missing = _unmeasured(reader, cell, "cell_delay_s", "cell_energy_j", "cell_input_f")
    if missing:
        return Value(None, "ns", missing)
    at, pin, load = _gate_at(reader, cell)
    delay = reader.read("cell_delay_s", **at)
    return Value(delay.value / NANO, "ns", f"worst arc, 50 % to 50 %; load: {load}", (delay, pin))


def _flip_flop_cap(reader: Reader) -> Value:
    missing = reader.lacks("dff_energy_j")
    if missing:
        return Value(None, "pF", missing)
    clock, data = (reader.read("dff_energy_j", event=event) for event in ("clock_internal", "data"))
    return Value((clock.value + data.value) / reader.point.vdd_v**2 / PICO, "pF",
                 "(E_clock + E_data)/VDD², a clock cycle in which q toggles, the pin's charge aside", (clock, data))


def _flip_flop_delay(reader: Reader) -> Value:
    missing = reader.lacks("dff_delay_s")
    if missing:
        return Value(None, "ns", missing)
    delay = reader.read("dff_delay_s", metric="clock_to_q")
    return Value(delay.value / NANO, "ns", "clock to q, worse edge (asked for by older versions)", (delay,))


def _line_cap(reader: Reader, line: str) -> Value:
    """A bitcell's share of a wordline or of a bitline, drivers included, in the compartment with the most rows."""
    missing = reader.lacks("compartment_energy_j")
    if missing:
        return Value(None, "pF", missing)
    rows, columns = (float(reader.axis("compartment_energy_j", name).points[-1]) for name in ("rows", "columns"))
    energy = reader.read("compartment_energy_j", line=line, rows=rows, columns=columns, read_policy="reread",
                         operation="and", stored=("0", "1"), input=("0", "1"))
    cells = FULL_COLUMNS if line == "wordline" else rows * columns
    how = (f"E/(VDD²·{FULL_COLUMNS} columns), driver included" if line == "wordline" else
           f"E/(VDD²·{columns:g} columns·{rows:g} rows), one bitline of a pair falls a read, restoring included")
    return Value(energy.value / cells / reader.point.vdd_v**2 / PICO, "pF", how, (energy,))


def _area(cell: str, areas_m2: Mapping[str, float]) -> Value:
    if cell not in areas_m2:
        return Value(None, "mm²", f"the area of {cell} is not simulated; give --area {cell}=UM2")
    return Value(areas_m2[cell] / _MM2, "mm²", f"given with --area {cell}={areas_m2[cell] / _UM2:g}")
