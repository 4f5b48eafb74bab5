"""Liberty (.lib) from the arc tables: timing, internal power, pin capacitance, leakage; OpenSTA and Yosys read it.

Conventions, as the file's header says them: delay 50 to 50 %, slews 20 to 80 %, so the index of a table is 0.6 of the
ramp that drove it. Internal power is signed: supply energy less ½·C·V² of the load an edge; where one
input moves several outputs, they share it equally. An input transition that moves no output is internal power of the
pin. Each arc stands once a state of the other inputs (`when`), and once for all of them, the slowest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from charlib.advice import RETRY, characterise_command
from charlib.errors import BadInput
from charlib.export.arcs import arcs_of_pairs
from charlib.export.text import identifier, one_line
from charlib.gates import evaluate_cell
from charlib.netlist import netlist_ports
from charlib.table import Table, TableSet
from charlib.units import NANO, PICO

NEEDED = ("arc_delay_s", "arc_transition_s", "arc_energy_j", "pin_f", "state_leakage_w")
#: 20-80 % share of a 0-100 % ramp
SLEW_SHARE = 0.6
FloatArray = np.ndarray


@dataclass(frozen=True)
class Arc:
    """A label of the arc tables, taken apart. out, out_edge: "" for an energy."""

    cell: str
    pin: str
    edge: str
    out: str
    out_edge: str
    state: tuple[tuple[str, int], ...]

    @classmethod
    def read(cls, label: str) -> Arc:
        head, _, state = label.partition(" | ")
        cell, pin, edge, *rest = head.replace(" > ", " ").split()
        out, out_edge = rest if rest else ("", "")
        pairs = [pair.partition("=") for pair in state.split()] if state != "-" else []
        for name in (cell, pin, out or pin, *(name for name, _, _ in pairs)):
            identifier(f"arc '{label}'", name)
        return cls(cell, pin, edge, out, out_edge, tuple((name, int(bit)) for name, _, bit in pairs))

    @property
    def when(self) -> str:
        return " & ".join(name if bit else f"!{name}" for name, bit in self.state)


def to_liberty(tables: TableSet, *, corner: str, temp_c: float, vdd_v: float, library_name: str,
               fan_out_wire_f: float = 0.0) -> str:
    """The library's text, from arc tables or, where there are none, from pair tables.

    fan_out_wire_f: the wire to one fan-out; above 0 the library states it as its default wire load.
    BadInput where a table is missing, has a hole, or does not hold the operating point.
    """
    if "arc_delay_s" not in tables and "pair_energy_j" in tables:
        tables = arcs_of_pairs(tables)
    missing = [name for name in NEEDED if name not in tables]
    if missing:
        pdk = next((table.origin.pdk for table in tables.values() if table.origin.pdk), "KIT")
        made = characterise_command(pdk, tables=NEEDED, corner=corner, temp_c=temp_c, vdd_v=vdd_v)
        raise BadInput(f"liberty: table '{missing[0]}' is missing; run {made} and give its folder with --tables")
    point: dict[str, float | str] = {"corner": corner, "temp_c": temp_c, "vdd_v": vdd_v}
    parts = {name: tables[name].select(**point) for name in NEEDED}
    holes = [hole for part in parts.values() for hole in part.holes()]
    if holes:
        raise BadInput(f"liberty: the tables have a hole at {holes[0]} ({len(holes)} in all); "
                       f"{RETRY}")
    return "\n".join(_Writer(parts, tables, corner, temp_c, vdd_v, library_name, fan_out_wire_f).lines()) + "\n"


class _Writer:
    """One library, from tables at one operating point."""

    def __init__(self, parts: dict[str, Table], tables: TableSet, corner: str, temp_c: float, vdd_v: float,
                 name: str, wire_f: float) -> None:
        self._wire_f = wire_f
        self._parts, self._tables, self._name = parts, tables, identifier("library_name", name)
        self._corner, self._temp_c, self._vdd_v = identifier("corner", corner), temp_c, vdd_v
        delay = parts["arc_delay_s"]
        self._slews_ns = [float(s) * SLEW_SHARE / NANO for s in delay.axis("slew_s").points]
        self._loads_f = np.array([float(load) for load in delay.axis("load_f").points])
        self._arcs = [Arc.read(str(label)) for label in delay.axis("arc").points]
        self._labels = [str(label) for label in delay.axis("arc").points]
        self._energies = {label: Arc.read(label) for label in map(str, parts["arc_energy_j"].axis("arc").points)}

    def lines(self) -> Iterator[str]:
        origin = self._tables["arc_delay_s"].origin
        yield one_line(f"/* {origin.pdk} {self._corner}, {self._temp_c:g} C, {self._vdd_v:g} V, hadamard-imc, "
                       f"{origin.engine};")
        yield one_line(f"   cards {origin.pdk_sha256[:16]}, revision {origin.revision}.")
        yield "   Delay 50-50 %, slew 20-80 % of straight ramps, no wires inside cells. Internal power is signed:"
        yield "   supply energy less half C V^2 of the load an edge. */"
        yield f"library ({self._name}) {{"
        yield "  delay_model : table_lookup;"
        for unit, value in (("time", "1ns"), ("voltage", "1V"), ("current", "1mA"), ("leakage_power", "1nW"),
                            ("pulling_resistance", "1kohm")):
            yield f'  {unit}_unit : "{value}";'
        yield "  capacitive_load_unit (1, pf);"
        for edge in ("rise", "fall"):
            yield f"  input_threshold_pct_{edge} : 50.0;"
            yield f"  output_threshold_pct_{edge} : 50.0;"
            yield f"  slew_lower_threshold_pct_{edge} : 20.0;"
            yield f"  slew_upper_threshold_pct_{edge} : 80.0;"
        yield "  slew_derate_from_library : 1.0;"
        yield f"  nom_process : 1.0;\n  nom_temperature : {self._temp_c:g};\n  nom_voltage : {self._vdd_v:g};"
        yield f"  voltage_map (VDD, {self._vdd_v:g});\n  voltage_map (VSS, 0.0);"
        yield f"  operating_conditions ({self._corner}) {{\n    process : 1.0;\n    temperature : {self._temp_c:g};"
        yield f"    voltage : {self._vdd_v:g};\n  }}\n  default_operating_conditions : {self._corner};"
        yield "  lu_table_template (arcs) {\n    variable_1 : input_net_transition;"
        yield "    variable_2 : total_output_net_capacitance;"
        yield f"    {self._index(1, self._slews_ns)}\n    {self._index(2, self._loads_f / PICO)}\n  }}"
        yield "  power_lut_template (joules) {\n    variable_1 : input_transition_time;"
        yield "    variable_2 : total_output_net_capacitance;"
        yield f"    {self._index(1, self._slews_ns)}\n    {self._index(2, self._loads_f / PICO)}\n  }}"
        yield "  power_lut_template (inputs) {\n    variable_1 : input_transition_time;"
        yield f"    {self._index(1, self._slews_ns)}\n  }}"
        if self._wire_f > 0:
            yield from self._wire_load()
        for cell in dict.fromkeys(arc.cell for arc in self._arcs):
            yield from self._cell(cell)
        yield "}"

    def _wire_load(self) -> Iterator[str]:
        """A unit of length is the wire to one fan-out."""
        yield f'  wire_load ("pitch") {{\n    resistance : 0;\n    capacitance : {self._wire_f / PICO:.6g};'
        yield "    area : 0;\n    slope : 1;"
        yield from (f"    fanout_length ({pins}, {pins});" for pins in range(1, 17))
        yield '  }\n  default_wire_load : "pitch";\n  default_wire_load_mode : top;'

    @staticmethod
    def _index(number: int, values: Sequence[float] | FloatArray) -> str:
        return f'index_{number} ("{", ".join(f"{v:.6g}" for v in values)}");'

    def _values(self, name: str, template: str, values: FloatArray) -> Iterator[str]:
        rows = np.atleast_2d(values)
        text = ", \\\n            ".join('"' + ", ".join(f"{v:.6g}" for v in row) + '"' for row in rows)
        yield f"        {name} ({template}) {{\n          values ({text});\n        }}"

    def _cell(self, cell: str) -> Iterator[str]:
        own = [(label, arc) for label, arc in zip(self._labels, self._arcs, strict=True) if arc.cell == cell]
        ports = netlist_ports(cell)[:-2]
        inputs = [port for port in ports if any(arc.pin == port for _, arc in own)]
        outputs = [port for port in ports if port not in inputs]
        yield f"  cell ({cell}) {{"
        yield "    pg_pin (VDD) { pg_type : primary_power; voltage_name : VDD; }"
        yield "    pg_pin (VSS) { pg_type : primary_ground; voltage_name : VSS; }"
        yield from self._leakage(cell)
        for pin in inputs:
            yield from self._input(cell, pin)
        for j, out in enumerate(outputs):
            yield f"    pin ({out}) {{\n      direction : output;\n      related_power_pin : VDD;"
            yield f"      related_ground_pin : VSS;\n      max_capacitance : {self._loads_f[-1] / PICO:.6g};"
            yield f'      function : "{_function(cell, inputs, j)}";'
            for pin in inputs:
                yield from self._arcs_of(own, pin, out)
            yield "    }"
        yield "  }"

    def _leakage(self, cell: str) -> Iterator[str]:
        table = self._parts["state_leakage_w"]
        values = []
        for k, state in enumerate(map(str, table.axis("state").points)):
            name, _, rest = state.partition(" ")
            if name != cell:
                continue
            values.append(float(table.values[k]) / NANO)
            when = " & ".join(("" if pair.endswith("=1") else "!") + identifier(f"state '{state}'", pair[:-2])
                              for pair in rest.split())
            yield (f'    leakage_power () {{ related_pg_pin : VDD; when : "{when}"; value : {values[-1]:.6g}; }}')
        if values:
            yield f"    cell_leakage_power : {float(np.mean(values)):.6g};"

    def _input(self, cell: str, pin: str) -> Iterator[str]:
        table = self._parts["pin_f"]
        labels = list(map(str, table.axis("pin").points))
        rise, fall = (float(table.values[labels.index(f"{cell} {pin} {edge}")]) / PICO for edge in ("rise", "fall"))
        yield f"    pin ({pin}) {{\n      direction : input;\n      related_power_pin : VDD;"
        yield f"      related_ground_pin : VSS;\n      capacitance : {(rise + fall) / 2:.6g};"
        yield f"      rise_capacitance : {rise:.6g};\n      fall_capacitance : {fall:.6g};"
        quiet = self._quiet(cell, pin)
        for when in dict.fromkeys(arc.when for arc in quiet.values()):
            yield "      internal_power () {\n        related_pg_pin : VDD;"
            if when:
                yield f'        when : "{when}";'
            for label, arc in quiet.items():
                if arc.when == when:
                    values = self._energy(label).mean(axis=1) / PICO
                    yield from self._values(f"{arc.edge}_power", "inputs", values)
            yield "      }"
        yield "    }"

    def _quiet(self, cell: str, pin: str) -> dict[str, Arc]:
        """Energies of transitions of the pin that move no output."""
        moving = {(arc.pin, arc.edge, arc.state) for arc in self._arcs if arc.cell == cell}
        return {label: arc for label, arc in self._energies.items() if arc.cell == cell and arc.pin == pin
                and (arc.pin, arc.edge, arc.state) not in moving}

    def _energy(self, label: str) -> FloatArray:
        table = self._parts["arc_energy_j"]
        found: FloatArray = table.values[list(map(str, table.axis("arc").points)).index(label)]
        return found

    def _arcs_of(self, own: Sequence[tuple[str, Arc]], pin: str, out: str) -> Iterator[str]:
        group = [(label, arc) for label, arc in own if arc.pin == pin and arc.out == out]
        if not group:
            return
        for sense, edges in (("positive_unate", {"rise": "rise", "fall": "fall"}),
                             ("negative_unate", {"rise": "fall", "fall": "rise"})):
            same = [(label, arc) for label, arc in group if edges[arc.edge] == arc.out_edge]
            states = list(dict.fromkeys(arc.when for _, arc in same))
            for when in states if len(states) > 1 else []:
                yield from self._timing(pin, sense, [pair for pair in same if pair[1].when == when], when)
            if same:
                yield from self._timing(pin, sense, same, "")
        for when in dict.fromkeys(arc.when for _, arc in group):
            yield from self._power(pin, [pair for pair in group if pair[1].when == when], when)

    def _timing(self, pin: str, sense: str, group: Sequence[tuple[str, Arc]], when: str) -> Iterator[str]:
        yield f'      timing () {{\n        related_pin : "{pin}";\n        timing_sense : {sense};'
        yield "        timing_type : combinational;"
        if when:
            yield f'        when : "{when}";\n        sdf_cond : "{when}";'
        for edge in ("rise", "fall"):
            labels = [label for label, arc in group if arc.out_edge == edge]
            if labels:
                for name, table in ((f"cell_{edge}", "arc_delay_s"), (f"{edge}_transition", "arc_transition_s")):
                    part = self._parts[table]
                    rows = [part.values[self._labels.index(label)] for label in labels]
                    yield from self._values(name, "arcs", np.max(rows, axis=0) / NANO)
        yield "      }"

    def _power(self, pin: str, group: Sequence[tuple[str, Arc]], when: str) -> Iterator[str]:
        yield f'      internal_power () {{\n        related_pin : "{pin}";\n        related_pg_pin : VDD;'
        if when:
            yield f'        when : "{when}";'
        for label, arc in group:
            moved = sum(1 for other in self._arcs if (other.cell, other.pin, other.edge, other.state)
                        == (arc.cell, arc.pin, arc.edge, arc.state))
            energy = label.partition(" > ")[0] + " | " + label.partition(" | ")[2]
            load_j = 0.5 * self._loads_f * self._vdd_v**2
            yield from self._values(f"{arc.out_edge}_power", "joules", (self._energy(energy) / moved - load_j) / PICO)
        yield "      }"


def _function(cell: str, inputs: Sequence[str], output: int) -> str:
    """The output's value as a sum of products over its truth table."""
    terms = [" & ".join(name if bit else f"!{name}" for name, bit in zip(inputs, bits, strict=True))
             for bits in itertools.product((0, 1), repeat=len(inputs)) if evaluate_cell(cell, *bits)[output]]
    return " | ".join(f"({term})" for term in terms) or "0"

