"""The values that NeuroSim's `Param.cpp` takes (DNN+NeuroSim V1.4), as C++ assignments.

NeuroSim builds its cells from its own transistor models, so it takes hardly any energy or delay. What the tables and
the kit can tell it is the operating point, the array, the bitcell's footprint and widths, the wire, and how fast the
array cycles. The lines go to the end of the constructor `Param::Param()`, after it has derived wires from its own
node table, since they replace what it derived.
"""

from __future__ import annotations

from charlib.benches.bitcell_access import SENSE_V
from charlib.benches.compartment_circuit import FULL_COLUMNS
from charlib.export.kit import KitFacts, geometry_source, kit_facts
from charlib.export.point import Reader, Value, number
from charlib.export.text import comments
from charlib.units import NANO, ZERO_CELSIUS_K

#: technode (nm) -> wireWidth (nm), the feature size of the array: Param.cpp of DNN+NeuroSim V1.4
WIRE_WIDTH_NM = {130: 175, 90: 110, 65: 105, 45: 80, 32: 56, 22: 40, 14: 32, 10: 22, 7: 20, 5: 15, 3: 12, 2: 10, 1: 8}
#: what NeuroSim's transistor tables cover; it ends with an error outside
TEMP_RANGE_K = (300, 400)
#: C++ type int in Param.h
INTEGERS = ("memcelltype", "accesstype", "cellBit", "technode", "wireWidth", "temp", "numRowSubArray",
            "numColSubArray")
#: members that we leave alone, and why
LEFT_ALONE = {
    "deviceroadmap": "HP or LSTP of NeuroSim's own transistors; choose it",
    "accessVoltage, readVoltage, readPulseWidth, writeVoltage, resistanceOn, resistanceOff, resistanceAccess":
        "of resistive cells; an SRAM has none",
    "levelOutput, numColMuxed": "of analog readout; the compartment latches bits",
    "inputtoggle, outputtoggle": "of the workload, not of the circuit",
    "alpha, beta, gamma, delta, epsilon, zeta": "NeuroSim's own calibration to silicon",
}


def parameters(reader: Reader, node_nm: float | None = None) -> dict[str, Value]:
    """Member of `Param` -> value in NeuroSim's unit."""
    facts = kit_facts(reader, node_nm)
    return {**_cell_kind(), **_node(facts), "temp": _temperature(reader), "clkFreq": _clock(reader), **_array(reader),
            **_footprint(facts), **_widths(facts), "minSenseVoltage": _sense(reader), **_wire(facts)}


def to_neurosim(reader: Reader, node_nm: float | None = None) -> str:
    """C++ text: an assignment with its source above it; what has no value stands as a comment."""
    lines = comments("// ", reader.header())
    lines += ["// Put this at the end of Param::Param() in Param.cpp of DNN+NeuroSim V1.4.", ""]
    for name, value in parameters(reader, node_nm).items():
        lines += comments("// ", value.notes())
        lines.append(f"// {name}: not set" if value.value is None else f"{name} = {_literal(name, value.value)};")
    lines += ["", "// Left as they are:", *(f"// {names}: {why}" for names, why in LEFT_ALONE.items())]
    return "\n".join(lines) + "\n"


def _literal(name: str, value: float) -> str:
    return str(round(value)) if name in INTEGERS else repr(number(value))


def _cell_kind() -> dict[str, Value]:
    return {"memcelltype": Value(1, "SRAM", "the tables are those of a 6T cell"),
            "accesstype": Value(1, "CMOS access", "the tables are those of a 6T cell"),
            "cellBit": Value(1, "bit", "an SRAM cell holds one")}


def _feature_m(facts: KitFacts) -> float | None:
    """The array's feature size at this node, as NeuroSim has it."""
    width_nm = WIRE_WIDTH_NM.get(round(facts.node_nm)) if facts.node_nm else None
    return None if width_nm is None else width_nm * NANO


def _node(facts: KitFacts) -> dict[str, Value]:
    feature_m = _feature_m(facts)
    if facts.node_nm is None or feature_m is None:
        why = facts.node_how if facts.node_nm is None else f"NeuroSim has no node of {facts.node_nm:g} nm"
        return {"technode": Value(None, "nm", why), "wireWidth": Value(None, "nm", why),
                "featuresize": Value(None, "m", why)}
    how = f"what NeuroSim takes at {facts.node_nm:g} nm"
    return {"technode": Value(facts.node_nm, "nm", facts.node_how),
            "wireWidth": Value(feature_m / NANO, "nm", how), "featuresize": Value(feature_m, "m", how)}


def _temperature(reader: Reader) -> Value:
    low, high = TEMP_RANGE_K
    kelvin = reader.point.temp_c + ZERO_CELSIUS_K
    if not low <= kelvin <= high:
        return Value(None, "K", f"{kelvin:g} K is outside {low}..{high} K of NeuroSim's tables")
    return Value(kelvin, "K", f"{reader.point.temp_c:g} °C, to whole kelvins")


def _clock(reader: Reader) -> Value:
    missing = reader.lacks("compartment_delay_s")
    if missing:
        return Value(None, "Hz", missing)
    rows, columns = (float(reader.axis("compartment_delay_s", name).points[-1]) for name in ("rows", "columns"))
    cycle = reader.read("compartment_delay_s", phase="cycle", rows=rows, columns=columns)
    return Value(1 / cycle.value, "Hz", "1/cycle of the compartment; set synchronous = false to keep it", (cycle,))


def _array(reader: Reader) -> dict[str, Value]:
    missing = reader.lacks("compartment_energy_j")
    if missing:
        return {name: Value(None, "1", missing) for name in ("numRowSubArray", "numColSubArray")}
    rows = float(reader.axis("compartment_energy_j", "rows").points[-1])
    return {"numRowSubArray": Value(rows, "1", "rows of the largest compartment in compartment_energy_j"),
            "numColSubArray": Value(FULL_COLUMNS, "1", "columns on the compartment's wordline")}


def _footprint(facts: KitFacts) -> dict[str, Value]:
    feature_m, geometry = _feature_m(facts), facts.geometry
    names = {"heightInFeatureSizeSRAM": "bitcell_height_m", "widthInFeatureSizeSRAM": "bitcell_width_m"}
    if geometry is None or feature_m is None:
        why = facts.geometry_how or "no feature size at this node"
        return {name: Value(None, "featuresize", why) for name in names}
    along = {"bitcell_height_m": "along the bitline", "bitcell_width_m": "along the wordline"}
    return {name: Value(getattr(geometry, own) / feature_m, "featuresize",
                        f"{getattr(geometry, own) / NANO:g} nm {along[own]}; {geometry_source(geometry, own)}")
            for name, own in names.items()}


def _widths(facts: KitFacts) -> dict[str, Value]:
    names = {"widthSRAMCellNMOS": "nmos_pd", "widthSRAMCellPMOS": "pmos_pu", "widthAccessCMOS": "nmos_pg"}
    if not facts.widths_m or facts.node_nm is None:
        why = facts.widths_how or facts.geometry_how or facts.node_how
        return {name: Value(None, "technode", why) for name in names}
    return {name: Value(facts.widths_m[own] / (facts.node_nm * NANO), "technode",
                        f"{facts.widths_m[own] / NANO:g} nm, {facts.widths_how}") for name, own in names.items()}


def _sense(reader: Reader) -> Value:
    missing = reader.lacks("bitcell_delay_s")
    if missing:
        return Value(None, "V", missing)
    return Value(SENSE_V, "V", "bitline difference at which read_100mv of bitcell_delay_s counts as read")


def _wire(facts: KitFacts) -> dict[str, Value]:
    names = ("wireLengthRow", "wireLengthCol", "unitLengthWireResistance", "wireResistanceRow", "wireResistanceCol")
    units = ("m", "m", "Ω/m", "Ω", "Ω")
    geometry = facts.geometry
    if geometry is None:
        return {name: Value(None, unit, facts.geometry_how) for name, unit in zip(names, units, strict=True)}
    lengths = (geometry.bitcell_height_m, geometry.bitcell_width_m)
    values = (*lengths, geometry.wire_ohm_per_m, *(length * geometry.wire_ohm_per_m for length in lengths))
    hows = (*(f"one bitcell; {geometry_source(geometry, name)}" for name in ("bitcell_height_m", "bitcell_width_m")),
            geometry_source(geometry, "wire_ohm_per_m"), "wireLengthRow × unitLengthWireResistance",
            "wireLengthCol × unitLengthWireResistance")
    return {name: Value(value, unit, how) for name, value, unit, how in zip(names, values, units, hows, strict=True)}
