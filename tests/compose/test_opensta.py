"""Static timing against OpenSTA: the same block as Liberty, Verilog and SPEF, the same longest path."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from charlib.benches import BENCHES
from charlib.benches.cell_arc import ArcPoint
from charlib.benches.cell_leakage import LEAKING_CELLS, CellLeakagePoint
from charlib.benches.cell_pair import FAN_OUTS, PAIR_CELLS, RAMPS, CellPairPoint, pair_label
from charlib.campaign import Job, Store, fold_tables, run_campaign
from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.macro import macro_blocks
from charlib.compose.static import StaticTiming, static_timing
from charlib.compose.tables import surroundings
from charlib.compose.timed import Loads
from charlib.export.liberty import to_liberty
from charlib.export.spef import to_spef
from charlib.gates import CELLS, Block, Builder, Instance, evaluate_cell
from charlib.gates import arithmetic as a
from charlib.gates.catalogue import named_block
from charlib.gates.clocked import core_of
from charlib.gates.fan_out import FAN_OUT_LIMIT, buffered
from charlib.gates.verilog import instance_names, to_verilog
from charlib.netlist import netlist_ports
from charlib.pdk import load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import Origin, Table, TableSet
from charlib.units import FEMTO, NANO, PICO

ORIGIN = Origin("toy", "ab" * 32, "ngspice-39", "test", "fresh", "2020-01-01T00:00:00+00:00")
PVT = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
SLEWS_S, LOADS_F = (5 * PICO, 20 * PICO, 80 * PICO), (0.25 * FEMTO, 1 * FEMTO, 8 * FEMTO)
WIRED, BARE = Loads(0.2 * FEMTO, 1 * FEMTO), Loads(0.0, 0.0)
SLEW_S = 12 * PICO


def toy_tables(edge_f: float = 0.0) -> TableSet:
    """Made-up cells: every arc has a delay and a ramp of its own, bent in slew and load.

    edge_f: what a rising pin takes beyond a falling one.
    """
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in ("energy", "charge", "delay", "ramp", "leakage")}
    here = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0, "run": "r"}
    for c, cell in enumerate(PAIR_CELLS):
        inputs, ports = CELLS[cell].inputs, netlist_ports(cell)[:-2]
        states = list(itertools.product((0, 1), repeat=inputs))
        rows["leakage"] += [{**here, "value": 1e-9, "state": f"{cell} " + " ".join(
            f"{port}={bit}" for port, bit in zip(ports, state, strict=False))} for state in states]
        for (before, after), slew_s, load_f in itertools.product(itertools.permutations(states, 2), SLEWS_S, LOADS_F):
            at, pair = {**here, "slew_s": slew_s, "load_f": load_f}, f"{cell} {pair_label(before, after)}"
            rows["energy"].append({**at, "pair": pair, "value": 1 * FEMTO})
            moved = [new - old for old, new in zip(before, after, strict=True)]
            rows["charge"] += [{**at, "pin": f"{pair} {ports[k]}", "value": by * (
                (0.2 + 0.05 * c + 0.03 * k) * FEMTO + max(by, 0) * edge_f)} for k, by in enumerate(moved)]
            if sum(map(abs, moved)) > 1:
                continue
            number = int("".join(map(str, before + after)), 2)
            for j, (old, new) in enumerate(zip(*(evaluate_cell(cell, *s) for s in (before, after)), strict=True)):
                if old == new:
                    continue
                own = 1 + 0.02 * (number % 7) + 0.1 * new + 0.05 * j
                out = {**at, "out": f"{pair} {ports[inputs + j]}"}
                rows["delay"].append({**out, "value": own * (4 + c) * PICO + 4e3 * own * load_f + 0.12 * slew_s})
                rows["ramp"].append({**out, "value": float(np.hypot(own * (4 * PICO + 9e3 * load_f), slew_s / 2))})
    grid = {"slew_s": "s", "load_f": "F"}
    return TableSet([
        Table.from_records("pair_energy_j", "J", {**PVT, "pair": "", **grid}, rows["energy"], ORIGIN),
        Table.from_records("pair_charge_c", "C", {**PVT, "pin": "", **grid}, rows["charge"], ORIGIN),
        Table.from_records("pair_delay_s", "s", {**PVT, "out": "", **grid}, rows["delay"], ORIGIN),
        Table.from_records("pair_ramp_s", "s", {**PVT, "out": "", **grid}, rows["ramp"], ORIGIN),
        Table.from_records("state_leakage_w", "W", {**PVT, "state": ""}, rows["leakage"], ORIGIN)])


def library_of(tables: TableSet) -> CellLibrary:
    return cell_library(tables, corner="tt", temp_c=25.0, vdd_v=1.0)


def needed(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on this machine; run 'apt-get install -y {package}'")
    return found


@pytest.fixture(scope="module")
def sta() -> str:
    return needed("sta", "opensta")


@dataclass(frozen=True)
class Reported:
    """OpenSTA's longest path: when it ends, and the pins that drive it ("x3/y v"), inputs left out."""

    delay_s: float
    drivers: tuple[str, ...]


def reported(sta: str, folder: Path, block: Block, tables: TableSet, loads: Loads, slew_s: float,
             wires: str = "spef") -> Reported:
    """What OpenSTA says. wires: "spef", or "library" for the wire load that the library states."""
    by_library = wires == "library"
    (folder / "cells.lib").write_text(to_liberty(tables, corner="tt", temp_c=25.0, vdd_v=1.0, library_name="cells",
                                                 fan_out_wire_f=loads.wire_f if by_library else 0.0))
    (folder / "block.v").write_text(to_verilog(block))
    (folder / "block.spef").write_text(to_spef(block, loads))
    around = (f"set_load {loads.output_f * 1e12} [all_outputs]" if by_library else f"read_spef {folder}/block.spef")
    (folder / "run.tcl").write_text(f"""read_liberty {folder}/cells.lib
read_verilog {folder}/block.v
link_design {block.name}
set_input_transition {slew_s * 0.6 / NANO} [all_inputs]
{around}
report_checks -unconstrained -to [all_outputs] -digits 7
exit
""")
    done = subprocess.run([sta, "-no_splash", "-exit", str(folder / "run.tcl")], capture_output=True, text=True,
                          check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search("error|warning", said, re.IGNORECASE), said
    arrival = re.search(r"([0-9.]+)\s+data arrival time", said)
    assert arrival is not None, said
    outputs = {port for cell in CELLS for port in netlist_ports(cell)[CELLS[cell].inputs:-2]}
    stops = re.findall(r"([v^]) (\S+)/(\w+) \(\w+\)", said)
    return Reported(float(arrival[1]) * NANO, tuple(f"{name}/{pin} {edge}" for edge, name, pin in stops
                                                    if pin in outputs))


def drivers(block: Block, timing: StaticTiming) -> tuple[str, ...]:
    """Our longest path as OpenSTA writes it."""
    names, found = instance_names(block), []
    for step in timing.path[1:]:
        instance = block.instances[step.instance]
        port = netlist_ports(step.cell)[len(instance.inputs) + instance.outputs.index(step.net)]
        found.append(f"{names[step.instance]}/{port} {'^' if step.edge == 'rise' else 'v'}")
    return tuple(found)


@pytest.mark.parametrize("loads", [WIRED, BARE], ids=["wired", "bare"])
@pytest.mark.parametrize("name", ["ripple_8", "prefix_8", "carry_save_6x4", "shifter_12", "maximum_4x6",
                                  "leading_zeros_16", "adder_tree_5x4"])
def test_the_longest_path_is_opensta_s(sta: str, tmp_path: Path, name: str, loads: Loads) -> None:
    """Pins that take the same in both edges leave nothing to differ: the same pins, the same time."""
    block, tables = named_block(name), toy_tables()
    ours = static_timing(block, library_of(tables), loads, input_slew_s=SLEW_S)
    theirs = reported(sta, tmp_path, block, tables, loads, SLEW_S)
    assert ours.delay_s == pytest.approx(theirs.delay_s, rel=2e-5, abs=0)
    assert drivers(block, ours) == theirs.drivers


def test_edges_that_differ_by_a_tenth_move_it_by_a_hundredth(sta: str, tmp_path: Path) -> None:
    """OpenSTA loads each edge with its own capacitance, we with their mean."""
    block, tables = named_block("shifter_12"), toy_tables(edge_f=0.03 * FEMTO)
    ours = static_timing(block, library_of(tables), WIRED, input_slew_s=SLEW_S).delay_s
    theirs = reported(sta, tmp_path, block, tables, WIRED, SLEW_S).delay_s
    assert ours != pytest.approx(theirs, rel=1e-4, abs=0)
    assert ours == pytest.approx(theirs, rel=1e-2, abs=0)


def test_the_library_s_wire_load_is_the_spef_s(sta: str, tmp_path: Path) -> None:
    block, tables = named_block("maximum_4x6"), toy_tables()
    found = [reported(sta, tmp_path, block, tables, WIRED, SLEW_S, wires).delay_s for wires in ("spef", "library")]
    assert found[0] == pytest.approx(found[1], rel=2e-5, abs=0)
    assert reported(sta, tmp_path, block, tables, BARE, SLEW_S).delay_s < 0.95 * found[0]  # the control


def test_pins_and_ramps_of_a_path_are_told() -> None:
    block, tables = named_block("ripple_4"), toy_tables()
    timing = static_timing(block, library_of(tables), WIRED, input_slew_s=SLEW_S)
    first, *steps = timing.path
    assert (first.instance, first.pin, first.cell, first.ramp_s) == (-1, "", "", SLEW_S)
    for before, step in itertools.pairwise(timing.path):
        instance = block.instances[step.instance]
        assert instance.inputs[netlist_ports(step.cell).index(step.pin)] == before.net
        assert step.net in instance.outputs
        assert step.arrival_s > before.arrival_s
    for step in steps:
        assert step.ramp_s == timing.ramp_s[step.net][step.edge == "rise"]
        assert step.arrival_s == timing.arrival_s[step.net][step.edge == "rise"]


def test_look_ups_beyond_the_grid_are_counted() -> None:
    """One inverter: two arcs. A load beyond 8 fF, or a ramp beyond 80 ps, is outside; the middle is not."""
    block = Block("t", ("a",), ("y",), (Instance("inv", ("a",), ("y",)),))
    library = library_of(toy_tables())
    for output_f, slew_s, outside in ((2 * FEMTO, SLEW_S, 0), (9 * FEMTO, SLEW_S, 2), (2 * FEMTO, 90 * PICO, 2),
                                      (0.1 * FEMTO, SLEW_S, 2)):
        timing = static_timing(block, library, Loads(0.0, output_f), input_slew_s=slew_s)
        assert (timing.lookups, timing.outside) == (2, outside)


def test_spef_holds_wires_and_outside_loads() -> None:
    """Net n: two pins of 0.2 fF wire; y leaves the block too, with 1 fF and a wire; constants are no nets."""
    block = Block("t", ("a",), ("y",), (Instance("inv", ("a",), ("n.1",)), Instance("nand2", ("n.1", "1"), ("m",)),
                                        Instance("nand2", ("n.1", "m"), ("y",))))
    text = to_spef(block, WIRED)
    assert "*PORTS\na I\ny O\n" in text
    assert ("*D_NET n\\.1 0.4\n*CONN\n*I x0:y O\n*I x1:a I\n*I x2:a I\n*CAP\n1 x1:a 0.2\n2 x2:a 0.2\n*RES\n"
            "1 x0:y x1:a 0.001\n2 x0:y x2:a 0.001\n*END\n") in text
    assert "*D_NET y 1.2\n*CONN\n*I x2:y O\n*P y O\n*CAP\n1 y 1.2\n" in text
    assert "*D_NET a 0.2\n*CONN\n*P a I\n" in text
    assert text.count("*D_NET") == 4


def tree_and_shifter(limit: int = FAN_OUT_LIMIT) -> Block:
    """Eight numbers of 8 bits summed, and the sum shifted: the middle-sized block. limit: pins a net may drive."""
    b = Builder("tree_and_shifter")
    words = [[*b.word(f"a{lane}_", 8), "0"] for lane in range(8)]
    total = a.sum_signed(b, words, 12)[:-1]  # no sum is negative
    return buffered(b.block(y=a.shift_right(b, total, b.word("by", 4))[0]), limit)


def fused_core() -> Block:
    """The pipelined tree of 32 lanes of 20 bits between its registers."""
    return core_of(macro_blocks()["fused_tree_32x20"].circuit).block


def ran(jobs: list[Job], folder: Path) -> TableSet:
    pdk = load_pdk("freepdk45")
    with Store.open(folder / "a.sqlite") as store:
        summary = run_campaign(jobs, store, pdk, BENCHES, LiveEngine, workers=2)
        return TableSet(fold_tables(store, summary.ids, pdk, BENCHES).whole())


@pytest.fixture(scope="module")
def characterised(tmp_path_factory: pytest.TempPathFactory) -> TableSet:
    """Pair tables of every cell on FreePDK45 at 1 V."""
    jobs = [Job("cell_pair", CellPairPoint("tt", 25.0, 1.0, cell, ramp, fan_out))
            for cell, ramp, fan_out in itertools.product(PAIR_CELLS, RAMPS, FAN_OUTS)]
    jobs += [Job("cell_leakage", CellLeakagePoint("tt", 25.0, 1.0, cell))
             for cell in PAIR_CELLS if cell in LEAKING_CELLS]
    return ran(jobs, tmp_path_factory.mktemp("pairs"))


@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.pdk
@pytest.mark.parametrize("make", [tree_and_shifter, fused_core])
def test_opensta_agrees_on_characterised_cells(characterised: TableSet, sta: str, tmp_path: Path,
                                               make: Callable[[], Block]) -> None:
    """Within 1 %, on the kit's cells, wires and outside loads."""
    block, pdk = make(), load_pdk("freepdk45")
    around = surroundings(pdk.geometry, pdk.unit_s)
    ours = static_timing(block, library_of(characterised), around.loads, input_slew_s=around.input_slew_s)
    theirs = reported(sta, tmp_path, block, characterised, around.loads, around.input_slew_s)
    print(f"{block.name}: ours {ours.delay_s:.5g} s, OpenSTA {theirs.delay_s:.5g} s "
          f"({ours.delay_s / theirs.delay_s - 1:+.3%}); {ours.outside} of {ours.lookups} look-ups outside the grid")
    assert ours.delay_s == pytest.approx(theirs.delay_s, rel=0.01, abs=0)


@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.pdk
def test_yosys_links_the_fused_tree_to_the_library(characterised: TableSet, tmp_path: Path) -> None:
    """Every instance and pin of the tree is in the exported Liberty, and Yosys counts as we do."""
    block = fused_core()
    (tmp_path / "cells.lib").write_text(to_liberty(characterised, corner="tt", temp_c=25.0, vdd_v=1.0,
                                                   library_name="cells"))
    (tmp_path / "block.v").write_text(to_verilog(block))
    script = (f"read_liberty -lib {tmp_path}/cells.lib; read_verilog {tmp_path}/block.v; "
              f"hierarchy -check -top {block.name}; check -assert; tee -o {tmp_path}/stat.json stat -json")
    done = subprocess.run([needed("yosys", "yosys"), "-q", "-p", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    modules = json.loads((tmp_path / "stat.json").read_text())["modules"]
    assert modules[f"\\{block.name}"]["num_cells_by_type"] == block.cell_counts()


@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.pdk
def test_opensta_agrees_on_arcs_of_another_bench(characterised: TableSet, sta: str, tmp_path: Path) -> None:
    """Liberty of bench "cell_arc", another stimulus in other runs, against ours of state pairs: within 5 %.

    That bench has no buffer, so the block is taken without.
    """
    block, pdk = tree_and_shifter(limit=1000), load_pdk("freepdk45")
    around = surroundings(pdk.geometry, pdk.unit_s)
    cells = sorted(block.cell_counts())
    jobs = [Job("cell_arc", ArcPoint("tt", 25.0, 1.0, cell, ramp * pdk.unit_s, fan_out * pdk.geometry.unit_f))
            for cell, ramp, fan_out in itertools.product(cells, RAMPS, FAN_OUTS)]
    jobs += [Job("cell_leakage", CellLeakagePoint("tt", 25.0, 1.0, cell)) for cell in cells]
    arcs = ran(jobs, tmp_path)
    ours = static_timing(block, library_of(characterised), around.loads, input_slew_s=around.input_slew_s)
    theirs = reported(sta, tmp_path, block, arcs, around.loads, around.input_slew_s)
    print(f"{block.name}: ours {ours.delay_s:.5g} s, OpenSTA on arcs {theirs.delay_s:.5g} s "
          f"({ours.delay_s / theirs.delay_s - 1:+.3%})")
    assert ours.delay_s == pytest.approx(theirs.delay_s, rel=0.05, abs=0)
