"""The same cells by us and by the characterisers on PyPI: seconds, and how far the values disagree.

Each peer gets a virtual environment of its own in the cache, made on the first run. Every run starts from nothing (a
new process, an empty database) and its whole wall time counts. Netlist, model cards, supply, temperature, ramps (0 to
100 %) and loads are the same for all; a peer that takes no subcircuits gets the flat devices.
Run: python benchmarks/peers.py. The last line is one JSON object: tool -> cell -> seconds, and largest relative
disagreement with ours; null where a tool cannot do it, with the reason above.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from charlib.netlist import netlist_text
from charlib.paths import cache_dir
from charlib.pdk import Pdk, installed, load_pdk
from charlib.pdk.mismatch import devices_of
from charlib.table import Table, load_tables
from charlib.units import FEMTO, MICRO, NANO, PICO

LCTIME = "lctime==0.0.26"
CHARLIB_REASON = "CharLib 1.0.0 imports a fork of PySpice that it does not declare and that PyPI does not have"
SKY130_REASON = "lctime takes netlists of M devices; sky130's are subcircuits"
REPEATS = 3
TIMEOUT_S = 600.0
TEMP_C = 25.0
_LINE = re.compile(r"^x(\w+) (\w+) (\w+) (\w+) (\w+) (nmos|pmos) ", re.MULTILINE)
_CELL = re.compile(r"^x(\w+) (\w+) (\w+) vdd vss inv$", re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """A cell, its kit and grid."""

    name: str
    kit: str
    cell: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]  #: output -> function
    vdd_v: float
    slews_s: tuple[float, ...]
    loads_f: tuple[float, ...]


CASES = (
    Case("inverter_5x5", "freepdk45", "inv", ("a",), {"y": "!A"}, 0.9,
         tuple(s * PICO for s in (5, 10, 20, 40, 80)), tuple(c * FEMTO for c in (0.25, 0.5, 1, 2, 4))),
    Case("full_adder_3x3", "freepdk45", "full_adder", ("a", "b", "ci"),
         {"s": "A ^ B ^ CI", "co": "(A & B) | (CI & (A | B))"}, 0.9,
         tuple(s * PICO for s in (10, 20, 40)), tuple(c * FEMTO for c in (0.5, 1, 2))),
    Case("sky130_inverter_2x2", "sky130", "inv", ("a",), {"y": "!A"}, 1.8,
         tuple(s * PICO for s in (10, 20)), tuple(c * FEMTO for c in (0.5, 1))),
)


def timed(command: Sequence[str], folder: Path) -> float:
    """Wall seconds of a command; RuntimeError with its last lines where it fails."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError("\n".join((done.stdout + done.stderr).strip().splitlines()[-5:]))
    return time.perf_counter() - begin


def ours(case: Case) -> tuple[float, Mapping[str, Table]]:
    """Median wall seconds of `himc characterize` on an empty database, and its tables."""
    seconds, tables = [], None
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "c.yaml").write_text(json.dumps({
                "preset": "full", "pdk": case.kit, "corner": "tt", "temp_c": TEMP_C, "vdd_v": case.vdd_v,
                "benches": [{"kind": "cell_arc", "grid": {"cell": [case.cell], "slew_s": list(case.slews_s),
                                                          "load_f": list(case.loads_f)}}],
                "db": "a.sqlite", "out": "tables"}))
            himc = str(Path(sys.executable).parent / "himc")
            seconds.append(timed([himc, "characterize", "c.yaml", "--quiet"], folder))
            tables = load_tables(folder / "tables")
    assert tables is not None
    return statistics.median(seconds), tables


def flat(cell: str, pdk: Pdk) -> str:
    """The cell as M devices with our wrappers' diffusions, names in upper case; nested inverters unfolded."""
    g = pdk.geometry

    def devices(name: str, prefix: str, nets: Mapping[str, str]) -> list[str]:
        text, lines = netlist_text(name).replace("drive*", ""), []
        sizes = {varied.instance: varied for varied in devices_of(text, g.wmin_m, g.lmin_m)}
        for inst, drain, gate, source, well, kind in _LINE.findall(text):
            joined = [nets.get(net, net).upper() for net in (drain, gate, source, well)]
            w, h = sizes[f"x{inst}"].width_m / MICRO, g.diffusion_m / MICRO
            lines.append(f"M{prefix}{inst} {' '.join(joined)} {pdk.devices[kind].model} w={w:.4f}u "
                         f"l={sizes[f'x{inst}'].length_m / MICRO:.4f}u ad={w * h:.6f}p as={w * h:.6f}p "
                         f"pd={2 * (w + h):.4f}u ps={2 * (w + h):.4f}u")
        for inst, a, y in _CELL.findall(text):
            lines += devices("inv", f"{prefix}{inst}_", {"a": a, "y": y, "vdd": "vdd", "vss": "vss"})
        return [line.replace(" VSS", " GND") for line in lines]

    case = next(c for c in CASES if c.cell == cell)
    ports = " ".join(name.upper() for name in (*case.inputs, *case.outputs))
    body = "\n".join(devices(cell, "", {}))
    return f"* {cell}\n.subckt {cell.upper()} {ports} VDD GND\n{body}\n.ends {cell.upper()}\n"


def specification(case: Case) -> str:
    """The Liberty skeleton that lctime fills in."""
    pins = "".join(f"pin ({pin.upper()}) {{ direction : input; }}\n" for pin in case.inputs)
    pins += "".join(f'pin ({out.upper()}) {{ direction : output; function : "{function}"; }}\n'
                    for out, function in case.outputs.items())
    thresholds = "".join(f"{what}_pct_{edge} : {value};\n" for edge in ("rise", "fall") for what, value in
                         (("input_threshold", 50.0), ("output_threshold", 50.0), ("slew_lower_threshold", 20.0),
                          ("slew_upper_threshold", 80.0)))
    return f"""library (spec) {{
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


def environment() -> Path:
    """The folder of lctime's virtual environment, made where it is not there."""
    place = cache_dir() / "peers" / LCTIME.replace("==", "-")
    if not (place / "bin" / "lctime").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=TIMEOUT_S)
        subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", LCTIME], check=True, timeout=TIMEOUT_S,
                       capture_output=True)
    return place


def lctime(case: Case) -> tuple[float, str]:
    """Wall seconds of lctime on the case, and the Liberty file it wrote."""
    pdk, place = load_pdk(case.kit), environment()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        (folder / "spec.lib").write_text(specification(case))
        (folder / "models.sp").write_text("* models\n" + pdk.cards("tt"))
        (folder / "cell.sp").write_text(flat(case.cell, pdk))
        seconds = timed([str(place / "bin" / "lctime"), "-l", "spec.lib", "--cell", case.cell.upper(),
                         "--spice", "cell.sp", "-I", "models.sp", "-o", "out.lib", "--time-step", "1e-12",
                         "--workingdir", "work",
                         "--output-loads", ",".join(f"{load / PICO:g}" for load in case.loads_f),
                         "--slew-times", ",".join(f"{slew / NANO:g}" for slew in case.slews_s)], folder)
        return seconds, (folder / "out.lib").read_text()


def disagreement(case: Case, tables: Mapping[str, Table], liberty: str) -> float:
    """Largest relative difference of a delay: of each of lctime's delay tables from our nearest arc of that edge.

    Which state of the side inputs a table of lctime's stands for is not always said, so that each is held against the
    arc of ours (same pins, same output edge) that it is nearest to as a whole.
    """
    delay = tables["arc_delay_s"].select(corner="tt", temp_c=TEMP_C, vdd_v=case.vdd_v)
    labels = [str(label) for label in delay.axis("arc").points]
    worst = 0.0
    pins = re.split(r"\n\s*pin \((\w+)\)", liberty)[1:]
    for out, text in zip(pins[::2], pins[1::2], strict=True):
        for group in re.split(r"\n\s*timing \(\)", text)[1:]:
            related = re.search(r'related_pin : "?(\w+)"?', group)
            for edge in ("rise", "fall"):
                found = re.search(rf"cell_{edge} \(.*?values \((.*?)\)", group, re.DOTALL)
                if related is None or found is None:
                    continue
                theirs = np.array([float(x) for x in re.findall(r"[-\d.]+", found[1])]) * NANO
                theirs = theirs.reshape(len(case.loads_f), len(case.slews_s)).T
                mine = [delay.values[k] for k, label in enumerate(labels)
                        if label.startswith(f"{case.cell} {related[1].lower()} ")
                        and f"> {out.lower()} {edge} |" in label]
                worst = max(worst, min(float(np.max(np.abs(theirs / arc - 1))) for arc in mine))
    return worst


def main() -> int:
    result: dict[str, dict[str, dict[str, float | None]]] = {"hadamard_imc": {}, "lctime": {}, "charlib": {}}
    mine = {case.name: ours(case) for case in CASES if case.kit in installed()}  # before a peer leaves work behind
    print(f"{'cell':22}{'ours s':>10}{'lctime s':>10}{'ratio':>8}{'delays differ by':>18}")
    for case in CASES:
        result["charlib"][case.name] = {"seconds": None, "disagreement": None}
        result["lctime"][case.name] = {"seconds": None, "disagreement": None}
        if case.kit not in installed():
            print(f"{case.name}: {case.kit} is not installed; run 'himc pdk install {case.kit}'")
            result["hadamard_imc"][case.name] = {"seconds": None, "disagreement": None}
            continue
        seconds, tables = mine[case.name]
        result["hadamard_imc"][case.name] = {"seconds": round(seconds, 3), "disagreement": 0.0}
        if case.kit != "freepdk45":
            print(f"{case.name:22}{seconds:>10.2f}{'-':>10}   {SKY130_REASON}")
            continue
        try:
            theirs, liberty = lctime(case)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            print(f"{case.name:22}{seconds:>10.2f}{'-':>10}   lctime: {str(error)[-120:]}")
            continue
        differ = disagreement(case, tables, liberty)
        result["lctime"][case.name] = {"seconds": round(theirs, 3), "disagreement": round(differ, 4)}
        print(f"{case.name:22}{seconds:>10.2f}{theirs:>10.2f}{theirs / seconds:>8.1f}{differ:>18.1%}")
    print(f"CharLib: not run; {CHARLIB_REASON}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
