"""Cells and the flip-flop in SPICE: walks that cover, physics that holds, the inverter chain that closes."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from charlib.benches import cell as cell_module
from charlib.benches.base import Bench, Point, Run
from charlib.benches.cell import MEASURED_CELLS, CellBench, CellPoint, hypercube_walk
from charlib.benches.cell_leakage import LEAKING_CELLS, CellLeakageBench, CellLeakagePoint, walk
from charlib.benches.flip_flop import FlipFlopBench, FlipFlopPoint
from charlib.errors import BadInput, LogicError
from charlib.netlist import subckts
from charlib.pdk import load_pdk
from charlib.spice.deck import Deck, Energy, Transient
from charlib.spice.live import LiveEngine, library_path
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin
from charlib.units import FEMTO, PICO

simulated = pytest.mark.skipif(library_path() is None, reason="libngspice is not on this machine")
TT = ("tt", 25.0, 0.8)
ORIGIN = Origin(pdk="freepdk45", pdk_sha256="", engine="ngspice", revision="", status="fresh", created="")


@cache
def engine() -> LiveEngine:
    return LiveEngine()


def run(bench: Bench, point: Point) -> dict[str, float]:
    pdk = load_pdk("freepdk45")
    return bench.measure(pdk, point, engine().run(bench.deck(pdk, point)))


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_the_walk_takes_every_transition_once(inputs: int) -> None:
    states = hypercube_walk(inputs)
    steps = list(itertools.pairwise(states))
    assert len(steps) == len(set(steps)) == inputs * 2**inputs
    assert all(sum(a != b for a, b in zip(before, after, strict=True)) == 1 for before, after in steps)
    assert states[0] == states[-1]


@pytest.mark.parametrize("cell", LEAKING_CELLS)
def test_the_leakage_walk_visits_every_state(cell: str) -> None:
    states = {(*bits, *q) for bits, q in walk(cell) if q is not None}
    assert len(states) == (8 if cell == "dff" else 2 ** len(walk(cell)[0][0]))


@pytest.mark.parametrize(("change", "message"), [
    ({"cell": "nand9"}, r"^cell: 'nand9' is unknown; known are inv, nand2, .*$"),
    ({"slew_s": 0.0}, r"^slew_s: 1e-15 to 1e-06 s is allowed, got 0; 20 ps are 2e-11$"),
    ({"slew_s": 0.02}, r"^slew_s: 1e-15 to 1e-06 s is allowed, got 0\.02; 20 ps are 2e-11$"),
    ({"load_f": 0.002}, r"^load_f: 1e-20 to 1e-10 F is allowed, got 0\.002; 2 fF are 2e-15$"),
    ({"load_f": -1e-15}, r"^load_f: 1e-20 to 1e-10 F is allowed, got -1e-15; 2 fF are 2e-15$"),
    ({"vdd_v": -1.0}, r"^vdd_v: must be above 0 V, got -1$"),
])
def test_points_are_checked(change: dict[str, object], message: str) -> None:
    fields = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8, "cell": "inv", "slew_s": 1e-11, "load_f": 1e-15}
    with pytest.raises(BadInput, match=message):
        CellPoint(**(fields | change))  # type: ignore[arg-type]


@simulated
@pytest.mark.ngspice
@pytest.mark.parametrize("cell", MEASURED_CELLS)
def test_truth_and_size_of_each_cell(cell: str) -> None:
    """The measure itself checks the truth table at every stop; delay grows with load."""
    light = run(CellBench(), CellPoint(*TT, cell, 10 * PICO, 0.5 * FEMTO))
    heavy = run(CellBench(), CellPoint(*TT, cell, 10 * PICO, 2 * FEMTO))
    assert 1 * PICO < light["delay_s"] < heavy["delay_s"] < 200 * PICO
    assert 0.1 * FEMTO < light["energy_j"] < heavy["energy_j"] < 20 * FEMTO
    assert 0.3 * FEMTO < light["input_f"] < 6 * FEMTO


@simulated
@pytest.mark.ngspice
def test_a_cell_that_computes_something_else_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_module, "evaluate_cell", lambda cell, *bits: (bits[0],))
    with pytest.raises(LogicError, match=r"the circuit gives \(1,\), right is \(0,\)"):
        run(CellBench(), CellPoint(*TT, "inv", 10 * PICO, 0.5 * FEMTO))


@simulated
@pytest.mark.ngspice
def test_halving_the_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    point = CellPoint(*TT, "nand2", 10 * PICO, 0.5 * FEMTO)
    coarse = run(CellBench(), point)
    monkeypatch.setattr(cell_module, "STEPS_A_UNIT", 10 * cell_module.STEPS_A_UNIT)
    fine = run(CellBench(), point)
    for key in ("energy_j", "delay_s"):
        assert coarse[key] == pytest.approx(fine[key], rel=0.01)


@simulated
@pytest.mark.ngspice
def test_an_inverter_chain_draws_what_the_table_says() -> None:
    """N stages draw N × (internal + load) at the chain's own slew and the next pin's charge, within 3 %."""
    bench, stages, window_s, v = CellBench(), 12, 1000 * PICO, TT[2]
    runs = [Run(f"{k}", point, run(bench, point)) for k, point in enumerate(
        CellPoint(*TT, "inv", slew, load) for slew in (10 * PICO, 40 * PICO) for load in (0.5 * FEMTO, 2 * FEMTO))]
    tables = {table.name: table for table in bench.fold(runs, ORIGIN)}
    pdk = load_pdk("freepdk45")
    body = pdk.header("tt") + subckts("inv") + dc("dd", "vdd", v) + dc("de", "vde", v)
    body += logic("in", "n0", [0, 1, 0, 1], window_s, 20 * PICO, v)
    for k in range(stages + 6):  # three shaping stages before, three loading ones behind, on their own supply
        body += f"x{k} n{k} n{k + 1} {'vdd' if 3 <= k < stages + 3 else 'vde'} 0 inv\n"
    energy = Energy("e", "vdd", v, window_s, 3 * window_s)
    rest = Energy("rest", "vdd", v, 0.1 * window_s, 0.9 * window_s)
    waves = engine().run(Deck("chain", body, 25.0, Transient(PICO, 3 * window_s, PICO), (energy, rest),
                              save=("v(n8)",)))
    raw = evaluate((energy, rest), waves)
    drawn = raw["e"] - raw["rest"] * 2 / 0.8
    slews = [crossings(waves.axis, waves.signal("v(n8)"), 0.8 * v, e)[0]
             - crossings(waves.axis, waves.signal("v(n8)"), 0.2 * v, e)[0] for e in ("rise", "fall")]
    slew_s = float(np.mean(np.abs(slews))) / 0.6
    each = tables["cell_energy_j"].at(corner="tt", temp_c=25.0, vdd_v=v, cell="inv", slew_s=max(slew_s, 10 * PICO),
                                      load_f=tables["cell_input_f"].at(corner="tt", temp_c=25.0, vdd_v=v, cell="inv"))
    assert drawn == pytest.approx(2 * stages * float(each), rel=0.03)


@simulated
@pytest.mark.ngspice
def test_flip_flop_captures_and_is_paid_for() -> None:
    got = run(FlipFlopBench(), FlipFlopPoint(*TT))
    assert 1 * FEMTO < got["clock_internal_j"] < 10 * FEMTO
    assert 0.5 * FEMTO < got["data_j"] < 10 * FEMTO
    assert 10 * PICO < got["clock_to_q_s"] < 150 * PICO
    assert got["clock_to_q_s"] + got["setup_s"] > 0


@simulated
@pytest.mark.ngspice
@pytest.mark.parametrize("cell", LEAKING_CELLS)
def test_leakage_grows_with_temperature(cell: str) -> None:
    cold = run(CellLeakageBench(), CellLeakagePoint("tt", 25.0, 0.8, cell))
    hot = run(CellLeakageBench(), CellLeakagePoint("tt", 125.0, 0.8, cell))
    assert 0 < cold["leakage_w"] < hot["leakage_w"]
