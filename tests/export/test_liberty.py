"""The exported Liberty file: its structure, and what OpenSTA and Yosys make of it."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from charlib.benches import BENCHES
from charlib.benches.cell_arc import ArcPoint
from charlib.benches.cell_leakage import CellLeakagePoint
from charlib.campaign import Job, Store, fold_tables, run_campaign
from charlib.errors import BadInput
from charlib.export.liberty import Arc, to_liberty
from charlib.pdk import installed, load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import Origin, Table, TableSet
from charlib.units import FEMTO, PICO

ORIGIN = Origin("toy", "ab" * 32, "ngspice-39", "test", "fresh", "2020-01-01T00:00:00+00:00")
PVT = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
HERE = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0}
SLEWS, LOADS = (10 * PICO, 20 * PICO), (1 * FEMTO, 2 * FEMTO)


def inverter_tables() -> TableSet:
    """An inverter of round numbers: delay 1 ps + load, energies C·V² rising, 0 falling, plus 1 fJ each."""
    axes = {**PVT, "arc": "", "slew_s": "s", "load_f": "F"}
    edges = (("rise", "fall"), ("fall", "rise"))

    def arcs(name: str, unit: str, value: object) -> Table:
        return Table.from_records(name, unit, axes, [
            {**HERE, "arc": f"inv a {i} > y {o} | -" if name != "arc_energy_j" else f"inv a {i} | -", "slew_s": slew,
             "load_f": load, "value": value(o, load), "run": "r"}  # type: ignore[operator]
            for (i, o), slew, load in itertools.product(edges, SLEWS, LOADS)], ORIGIN)

    def flat(name: str, unit: str, axis: str, values: dict[str, float]) -> Table:
        return Table.from_records(name, unit, {**PVT, axis: ""}, [
            {**HERE, axis: key, "value": value, "run": "r"} for key, value in values.items()], ORIGIN)

    return TableSet([
        arcs("arc_delay_s", "s", lambda o, load: 1e-12 + 1e3 * load),
        arcs("arc_transition_s", "s", lambda o, load: 2e-12 + 1e3 * load),
        arcs("arc_energy_j", "J", lambda o, load: 1e-15 + (load if o == "rise" else 0.0)),
        flat("pin_f", "F", "pin", {"inv a rise": 1e-15, "inv a fall": 2e-15}),
        flat("state_leakage_w", "W", "state", {"inv a=0": 1e-9, "inv a=1": 3e-9}),
    ])


def write(tables: TableSet) -> str:
    return to_liberty(tables, corner="tt", temp_c=25.0, vdd_v=1.0, library_name="toy")


def test_numbers_in_the_file_are_the_tables_in_its_units() -> None:
    text = write(inverter_tables())
    assert text.count("{") == text.count("}")
    assert 'index_1 ("0.006, 0.012");' in text  # 20-80 % of a 10 and a 20 ps ramp, in ns
    assert 'index_2 ("0.001, 0.002");' in text  # pF
    assert 'function : "(!a)";' in text
    assert "capacitance : 0.0015;" in text
    assert "rise_capacitance : 0.001;" in text
    assert 'when : "!a"; value : 1;' in text
    assert "cell_leakage_power : 2;" in text
    assert re.search(r'cell_rise \(arcs\) \{\s*values \("0\.002, 0\.003"', text)
    assert text.count("timing_sense : negative_unate;") == 1


def test_internal_power_is_signed() -> None:
    """Rising: 1 fJ + C·V² − ½·C·V²; falling: 1 fJ − ½·C·V²; at 2 fF and 1 V the latter is nothing."""
    text = write(inverter_tables())
    assert re.search(r'rise_power \(joules\) \{\s*values \("0\.0015, 0\.002"', text)
    assert re.search(r'fall_power \(joules\) \{\s*values \("0\.0005, 0"', text)


def test_labels_are_taken_apart() -> None:
    arc = Arc.read("full_adder a rise > s fall | b=1 ci=0")
    assert (arc.cell, arc.pin, arc.edge, arc.out, arc.out_edge) == ("full_adder", "a", "rise", "s", "fall")
    assert arc.when == "b & !ci"
    assert Arc.read("inv a rise | -").when == ""


def test_missing_tables_and_holes_are_said() -> None:
    tables = inverter_tables()
    with pytest.raises(BadInput, match=r"^liberty: table 'pin_f' is missing; run 'himc characterize --pdk toy "
                                       r"--preset full --bench cell_arc --bench cell_leakage "
                                       r"--corner tt --temp-c 25 --vdd-v 1'"):
        write(TableSet([table for name, table in tables.items() if name != "pin_f"]))
    with pytest.raises(BadInput, match="asked for ss"):
        to_liberty(tables, corner="ss", temp_c=25.0, vdd_v=1.0, library_name="toy")


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on this machine")
    return found


@pytest.fixture(scope="module")
def characterised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(library of every cell on FreePDK45 at 1 V, database)."""
    if "freepdk45" not in installed():
        pytest.skip("freepdk45 is not installed")
    folder, pdk = tmp_path_factory.mktemp("liberty"), load_pdk("freepdk45")
    slews, loads = (5 * PICO, 20 * PICO, 80 * PICO), (0.5 * FEMTO, 2 * FEMTO, 8 * FEMTO)
    cells = ("inv", "nand2", "nor2", "xor2", "mux2", "half_adder")
    jobs = [Job("cell_arc", ArcPoint("tt", 25.0, 1.0, cell, slew, load))
            for cell, slew, load in itertools.product(cells, slews, loads)]
    jobs += [Job("cell_leakage", CellLeakagePoint("tt", 25.0, 1.0, cell)) for cell in cells]
    with Store.open(folder / "a.sqlite") as store:
        summary = run_campaign(jobs, store, pdk, BENCHES, LiveEngine, workers=2)
        tables = TableSet(fold_tables(store, summary.ids, pdk, BENCHES).whole())
    library = folder / "cells.lib"
    library.write_text(to_liberty(tables, corner="tt", temp_c=25.0, vdd_v=1.0, library_name="cells"))
    return library, folder


@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.pdk
def test_yosys_reads_it(characterised: tuple[Path, Path]) -> None:
    """Yosys reads the library, links a netlist of its cells, and evaluates it by the cells' functions."""
    library, folder = characterised
    (folder / "t.v").write_text("module t(input a, b, output y); wire n; nand2 u (.a(a), .b(b), .y(n)); "
                                "inv v (.a(n), .y(y)); endmodule\n")
    script = (f"read_liberty {library}; read_verilog {folder}/t.v; hierarchy -check -top t; flatten; "
              "eval -set a 1 -set b 1 -show y; eval -set a 1 -set b 0 -show y")
    done = subprocess.run([needed("yosys"), "-p", script], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "ERROR" not in output
    assert "Warning" not in output
    assert re.findall(r"Eval result: \\y = 1'(\d)", output) == ["1", "0"]


@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.pdk
def test_opensta_reads_it_and_its_power_is_that_of_spice(characterised: tuple[Path, Path]) -> None:
    """A toggling inverter: OpenSTA's internal and switching power against supply energy × rate from SPICE."""
    library, folder = characterised
    sta, load_f, slew_s, period_ns = needed("sta"), 2 * FEMTO, 20 * PICO, 10.0
    (folder / "p.v").write_text("module p(input a, output y); inv u (.a(a), .y(y)); endmodule\n")
    (folder / "p.tcl").write_text(f"""read_liberty {library}
read_verilog {folder}/p.v
link_design p
create_clock -name c -period {period_ns} [get_ports a]
set_input_transition {slew_s * 0.6e9} [get_ports a]
set_load {load_f * 1e12} [get_ports y]
report_checks -unconstrained
report_power -digits 6
exit
""")
    done = subprocess.run([sta, "-no_splash", "-exit", str(folder / "p.tcl")], capture_output=True, text=True,
                          check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "Error" not in output, output
    total = next(line for line in output.splitlines() if line.startswith("Total"))
    internal_w, switching_w = (float(word) for word in total.split()[1:3])
    pdk, engine = load_pdk("freepdk45"), LiveEngine()
    point = ArcPoint("tt", 25.0, 1.0, "inv", slew_s, load_f)
    bench = BENCHES["cell_arc"]
    found = bench.measure(pdk, point, engine.run(bench.deck(pdk, point)))
    spice_w = (found["energy a rise | -"] + found["energy a fall | -"]) / (period_ns * 1e-9)
    version = subprocess.run([sta, "-version"], capture_output=True, text=True, check=False).stdout
    if version.startswith("2.0."):  # Debian's, of 2019: it charges rise_power + fall_power at every transition
        internal_w /= 2
    print(f"OpenSTA {internal_w + switching_w:.4g} W, SPICE {spice_w:.4g} W")
    assert internal_w + switching_w == pytest.approx(spice_w, rel=0.05)


@pytest.mark.parametrize("words", ['toy */ } library (x) {', "a\nb", 'q"'])
def test_words_of_a_kit_cannot_end_the_comment_or_name_the_library(words: str) -> None:
    tables = inverter_tables()
    hostile = TableSet([replace(t, origin=replace(t.origin, pdk=words, engine=words, revision=words))
                        for t in tables.values()])
    assert write(hostile).partition("*/")[2] == write(tables).partition("*/")[2]
    with pytest.raises(BadInput, match=r"^library_name: .* cannot stand in a library; letters, digits"):
        to_liberty(tables, corner="tt", temp_c=25.0, vdd_v=1.0, library_name=words)


def test_a_label_that_is_no_name_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^arc 'inv a\" rise > y fall \| -': 'a\"' cannot stand in a library"):
        Arc.read('inv a" rise > y fall | -')
