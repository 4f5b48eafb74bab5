"""What the peers are timed on, and each case written for each tool: the same devices, cards, ramps and loads.

CharLib gets our deck's own header and subcircuits; lctime resolves no subcircuits, so that it gets the flat devices
with the sizes and diffusions that our wrappers would give them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charlib.netlist import netlist_text
from charlib.pdk import Pdk
from charlib.pdk.mismatch import devices_of
from charlib.units import FEMTO, MICRO, NANO, PICO

TEMP_C = 25.0
_DEVICE = re.compile(r"^x(\w+) (\w+) (\w+) (\w+) (\w+) (nmos|pmos) ", re.MULTILINE)
_INVERTER = re.compile(r"^x(\w+) (\w+) (\w+) vdd vss inv$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A cell, its kit, its operating point and grid. outputs: output -> Boolean function of the inputs."""

    name: str
    kit: str
    cell: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    vdd_v: float
    slews_s: tuple[float, ...]
    loads_f: tuple[float, ...]


INVERTER = {"y": "!A"}
CASES = (
    Case("inverter_5x5", "freepdk45", "inv", ("a",), INVERTER, 0.9,
         tuple(s * PICO for s in (5, 10, 20, 40, 80)), tuple(c * FEMTO for c in (0.25, 0.5, 1, 2, 4))),
    Case("full_adder_3x3", "freepdk45", "full_adder", ("a", "b", "ci"),
         {"s": "A ^ B ^ CI", "co": "(A & B) | (CI & (A | B))"}, 0.9,
         tuple(s * PICO for s in (20, 40, 80)), tuple(c * FEMTO for c in (1, 2, 4))),
    Case("sky130_inverter_2x2", "sky130", "inv", ("a",), INVERTER, 1.8,
         tuple(s * PICO for s in (20, 80)), tuple(c * FEMTO for c in (1, 4))),
)


def campaign(case: Case) -> str:
    """The campaign file of our own tool; JSON is YAML."""
    return json.dumps({
        "preset": "full", "pdk": case.kit, "corner": "tt", "temp_c": TEMP_C, "vdd_v": case.vdd_v,
        "benches": [{"kind": "cell_arc", "grid": {"cell": [case.cell], "slew_s": list(case.slews_s),
                                                  "load_f": list(case.loads_f)}}],
        "db": "runs.sqlite", "out": "tables"})


def charlib_files(case: Case, pdk: Pdk) -> dict[str, str]:
    """Name -> text of what `charlib run` reads. A library that we prune is given whole, as its users give it."""
    header, models = pdk.header("tt"), ["header.sp"]
    if pdk.prune:
        header = header.replace(pdk.cards("tt").rstrip("\n"), "")
        models = [*(f"{pdk.root / source.file} {source.section}".strip() for source in pdk.corners["tt"].sources),
                  "header.sp"]
    name, ours = case.cell.upper(), f"{case.cell}_ours"
    ports = " ".join(port.upper() for port in (*case.inputs, *case.outputs))
    inner = re.sub(rf"^(\.subckt|\.ends) {case.cell}\b", rf"\1 {ours}", pdk.subckts(case.cell), flags=re.MULTILINE)
    netlist = f".subckt {name} {ports} VDD VSS\nx1 {ports} VDD VSS {ours}\n.ends {name}\n{inner}"
    settings: dict[str, Any] = {
        "lib_name": "peer", "temperature": TEMP_C, "results_dir": "results",
        "units": {"time": "ps", "voltage": "V", "current": "uA", "capacitive_load": "pF", "energy": "pJ",
                  "pulling_resistance": "kOhm", "leakage_power": "nW"},
        "named_nodes": {"vdd": {"name": "VDD", "voltage": case.vdd_v}, "vss": {"name": "VSS", "voltage": 0},
                        "pwell": {"name": "VPW", "voltage": 0}, "nwell": {"name": "VNW", "voltage": case.vdd_v}},
    }
    cell = {"netlist": "cell.sp", "models": models, "inputs": [pin.upper() for pin in case.inputs],
            "outputs": [out.upper() for out in case.outputs],
            "functions": [f"{out.upper()}={text.replace(' ', '')}" for out, text in case.outputs.items()],
            "slews": [round(slew / PICO, 6) for slew in case.slews_s],
            "loads": [round(load / PICO, 9) for load in case.loads_f]}
    return {"header.sp": "* header\n" + header, "cell.sp": netlist,
            "library.yml": json.dumps({"settings": settings, "cells": {name: cell}})}


def lctime_files(case: Case, pdk: Pdk) -> dict[str, str]:
    """Name -> text of what `lctime` reads."""
    return {"specification.lib": _specification(case), "models.sp": "* models\n" + pdk.cards("tt"),
            "cell.sp": flat(case, pdk)}


def lctime_arguments(case: Case, step_s: float | None) -> list[str]:
    """Its command line. step_s: None takes its default, 10 ps."""
    return ["-l", "specification.lib", "--cell", case.cell.upper(), "--spice", "cell.sp", "-I", "models.sp",
            "-o", "out.lib", "--workingdir", "work",
            "--output-loads", ",".join(f"{load / PICO:g}" for load in case.loads_f),
            "--slew-times", ",".join(f"{slew / NANO:g}" for slew in case.slews_s),
            *(["--time-step", f"{step_s:g}"] if step_s else [])]


def flat(case: Case, pdk: Pdk) -> str:
    """The cell as M devices with our wrappers' diffusions, nets in upper case; nested inverters unfolded."""
    g = pdk.geometry

    def devices(name: str, prefix: str, nets: Mapping[str, str]) -> list[str]:
        text, lines = netlist_text(name).replace("drive*", ""), []
        sizes = {device.instance: device for device in devices_of(text, g.wmin_m, g.lmin_m)}
        for inst, drain, gate, source, well, kind in _DEVICE.findall(text):
            joined = [nets.get(net, prefix + net).upper() for net in (drain, gate, source, well)]
            size, h = sizes[f"x{inst}"], g.diffusion_m / MICRO
            w, length = size.width_m / MICRO, size.length_m / MICRO
            lines.append(f"M{prefix}{inst} {' '.join(joined)} {pdk.devices[kind].model} w={w:.6f}u l={length:.6f}u "
                         f"ad={w * h:.9f}p as={w * h:.9f}p pd={2 * (w + h):.6f}u ps={2 * (w + h):.6f}u")
        for inst, a, y in _INVERTER.findall(text):
            inner = {"a": nets.get(a, prefix + a), "y": nets.get(y, prefix + y)}
            lines += devices("inv", f"{prefix}{inst}_", supplies | inner)
        return lines

    supplies = {"vdd": "vdd", "vss": "gnd"}
    ports = {port: port for port in (*case.inputs, *case.outputs)}
    body = "\n".join(devices(case.cell, "", supplies | ports))
    return (f"* {case.cell}\n.subckt {case.cell.upper()} {' '.join(ports).upper()} VDD GND\n{body}\n"
            f".ends {case.cell.upper()}\n")


def _specification(case: Case) -> str:
    """The Liberty skeleton that lctime fills in."""
    pins = "".join(f"pin ({pin.upper()}) {{ direction : input; }}\n" for pin in case.inputs)
    pins += "".join(f'pin ({out.upper()}) {{ direction : output; function : "{function}"; }}\n'
                    for out, function in case.outputs.items())
    thresholds = "".join(f"{what}_pct_{edge} : {value};\n" for edge in ("rise", "fall") for what, value in
                         (("input_threshold", 50.0), ("output_threshold", 50.0), ("slew_lower_threshold", 20.0),
                          ("slew_upper_threshold", 80.0)))
    return f"""library (specification) {{
delay_model : table_lookup; time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA";
leakage_power_unit : "1nW"; pulling_resistance_unit : "1kohm"; capacitive_load_unit (1, pf);
{thresholds}nom_process : 1.0; nom_temperature : {TEMP_C:g}; nom_voltage : {case.vdd_v:g};
voltage_map (VDD, {case.vdd_v:g}); voltage_map (GND, 0.0);
operating_conditions (typical) {{ process : 1.0; temperature : {TEMP_C:g}; voltage : {case.vdd_v:g}; }}
default_operating_conditions : typical;
cell ({case.cell.upper()}) {{
pg_pin (VDD) {{ pg_type : primary_power; voltage_name : VDD; }}
pg_pin (GND) {{ pg_type : primary_ground; voltage_name : GND; }}
{pins}}}
}}
"""
