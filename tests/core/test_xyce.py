"""Xyce's dialect, and its outputs as recorded in their documented formats.

Sources: the Xyce Reference Guide, sections .PRINT (FORMAT=CSV), .MEASURE (`.mt#` files) and .OPTIONS, whose LaTeX
sources lie in github.com/Xyce/Xyce under doc/Reference_Guide. Outputs like those below lie in
github.com/Xyce/Xyce_Regression: Netlists/MEASURE/ErrorTestRawData.csv, and in OutputData/MEASURE
FindWhenVariableTest.cir.mt0 and MeasfailOptionOneTrigTarg.cir.mt0; TRIG with TD stands in
Netlists/MEASURE/TrigTargTest.cir.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlib.benches import BENCHES
from charlib.benches.base import make_point
from charlib.errors import BadInput, SimulationFailed
from charlib.pdk import load_pdk
from charlib.spice import (
    DcSweep,
    Deck,
    Delay,
    Energy,
    Extreme,
    OperatingPoint,
    Sample,
    Transient,
    evaluate,
)
from charlib.spice.xyce import XyceEngine, parse_csv, parse_measures
from charlib.spice.xyce_deck import cards, option_cards, print_name, render, translate
from charlib.units import NANO, PICO

RC = """* a divider with a subcircuit
.param half='0.5*1'
.subckt tail a b ohm=1k $ inline comment
r1 a m 'ohm*half' ; another
r2 m b {ohm*half}
.ends tail
v1 in 0 pwl(0 0 1e-10 0
* between the lines of a card
+ 1.1e-10 1)
x1 in out tail ohm=rval
.param rval=2k
c1 out 0 1f
"""
DECK = Deck("rc", RC, 27.0, Transient(1 * PICO, 2 * NANO, 10 * PICO), measures=(
    Energy("e", "v1", 1.0, 0.0, 2 * NANO), Delay("d", "in", 0.5, "rise", "out", 0.5, "rise", 0.1 * NANO),
    Sample("s", "out", 1 * NANO), Extreme("top", "out", "max", 0.0, 2 * NANO)),
    save=("v(x1.m)",), options={"gmin": "1e-15", "chgtol": "1e-16", "reltol": "1e-3"}, initial={"x1.m": 0.25})
XYCE_DECK = """* rc
.options device temp=27 gmin=1e-15
.options timeint reltol=1e-3
.options measure measfail=1 measdgt=15
.param half={0.5*1}
.subckt tail a b params: ohm=1k
r1 a m {ohm*half}
r2 m b {ohm*half}
.ends tail
v1 in 0 pwl(0 0 1e-10 0
+ 1.1e-10 1)
x1 in out tail params: ohm={rval}
.param rval=2k
c1 out 0 1f
.ic v(x1:m)=0.25
.print tran format=csv file=waves.csv width=23 precision=15
+ V(X1:M) I(V1) V(IN) V(OUT)
.tran 1e-12 2e-09 0 1e-11
.measure tran e integ {-1*I(V1)} from=0 to=2e-09
.measure tran d trig V(IN) val=0.5 td=1e-10 rise=1 targ V(OUT) val=0.5 td=1e-10 rise=1
.measure tran s find V(OUT) at=1e-09
.measure tran top max V(OUT) from=0 to=2e-09
.end
"""
XYCE_CSV = """TIME,V(X1:M),I(V1),V(IN),V(OUT)
0.000000000000000e+00,0.000000000000000e+00,0.000000000000000e+00,0.000000000000000e+00,0.000000000000000e+00
1.000000000000000e-09,7.500000000000000e-01,-2.500000000000000e-04,1.000000000000000e+00,5.000000000000000e-01
2.000000000000000e-09,1.000000000000000e+00,0.000000000000000e+00,1.000000000000000e+00,1.000000000000000e+00
"""
XYCE_MT0 = "E = 2.500000000000000e-13\nD = 5.000000000000000e-10\nS = 5.000000000000000e-01\nTOP = 1.000000e+00\n"
XYCE_LOG = """***** Total Simulation Solvers Run Time: 0.0102479 seconds
***** Total Elapsed Run Time:            0.327755 seconds
*****
***** End of Xyce(TM) Simulation
*****
"""
PVT: dict[str, Any] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8}


def test_a_deck_in_xyces_dialect() -> None:
    assert render(DECK) == XYCE_DECK


@pytest.mark.ngspice
def test_the_translated_circuit_is_the_same_circuit() -> None:
    """ngspice reads `params:` and braces too, so where no name lies within an instance it can run both texts."""
    from charlib.spice.live import LiveEngine

    bench, pdk = BENCHES["cell"], load_pdk("freepdk45")
    deck = bench.deck(pdk, make_point(bench.point_type, {**PVT, "cell": "inv", "slew_s": 1e-11, "load_f": 1e-15}))
    body = "\n".join(line for card in cards(deck.body) for line in translate(card)) + "\n"
    assert "params: w={2*drive*wmin} l={lmin}" in body
    ours, theirs = LiveEngine().run(replace(deck, body=body)), LiveEngine().run(deck)
    assert evaluate(deck.measures, ours) == pytest.approx(evaluate(deck.measures, theirs), rel=1e-9, abs=0)


@pytest.mark.pdk
@pytest.mark.parametrize("kind", ["bitcell_access", "bitcell_leakage", "bitcell_snm", "bitcell_write_margin", "cell",
                                  "cell_leakage", "flip_flop", "adder_tree", "shift_accumulator", "compartment"])
def test_every_bench_can_be_written_for_xyce(kind: str) -> None:
    bench, pdk = BENCHES[kind], load_pdk("freepdk45")
    structure = next(iter(bench.grid("quick")))
    deck = bench.deck(pdk, make_point(bench.point_type, {**PVT, **structure}))
    text = render(deck)
    assert text.count(".measure tran") == len(deck.measures)
    assert all(print_name(signal) in text for signal in deck.saved())
    circuit = text.partition(".print")[0]
    assert "'" not in circuit
    assert "$" not in circuit
    assert not [line for line in circuit.splitlines() if line[0] in "xX" and "=" in line and "params:" not in line]


@pytest.mark.parametrize(("card", "wanted"), [
    (["ba a 0 v=0.8*pwl(v(x1.sel),0,0,", "1,1)"], ["ba a 0 v={0.8*table(v(x1:sel),0,0, 1,1)}"]),
    (["el xl.q 0 in 0 1"], ["el xl:q 0 in 0 1"]),
    ([".options scale=1e-6 klu"], [".options parser scale=1e-6"]),
    ([".option tnom=25"], [".options device tnom=25"]),
    ([".temp 85"], [".options device temp=85"]),
    ([".model n nmos level = 54", "version = 4.0"], [".model n nmos level = 54", "+ version = 4.0"]),
    (["m1 d g s b n", "w='2*w' l=l0 m=2"], ["m1 d g s b n", "+ w={2*w} l={l0} m=2"]),
    (["x1 a b", "cell drive = 2"], ["x1 a b", "+ cell params: drive=2"]),
])
def test_cards_in_xyces_dialect(card: list[str], wanted: list[str]) -> None:
    assert translate(card) == wanted


def test_what_xyce_cannot_be_told_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^options: 'itl4' is not known in Xyce; known are gmin, .*; leave it out$"):
        option_cards({"itl4": "100"})
    with pytest.raises(BadInput, match=r"^deck: the card '\.shape' has no known counterpart in Xyce; "
                                       r"write it without$"):
        translate([".shape a=1"])


def test_names_in_xyces_output() -> None:
    names = {"v(x1.x2.q)": "V(X1:X2:Q)", "i(vdd)": "I(VDD)", "i(v.x1.vs)": "I(X1:VS)"}
    assert {name: print_name(name) for name in names} == names


def test_xyces_csv() -> None:
    columns = parse_csv("TIME,V(3),V(4,5)\n0.00000000e+00,-1.00000000e+00,-2.00000000e+00\n"
                        "1.00000000e-01,-1.10000000e+00,-2.10000000e+00\n")
    assert list(columns) == ["TIME", "V(3)", "V(4,5)"]
    np.testing.assert_array_equal(columns["V(4,5)"], [-2.0, -2.1])
    with pytest.raises(SimulationFailed, match=r"^Xyce: row 1 of its CSV file has 1 of 2 columns$"):
        parse_csv("TIME,V(1)\n0.0\n")
    with pytest.raises(SimulationFailed, match=r"^Xyce: its CSV file is empty$"):
        parse_csv("\n")


def test_xyces_measures() -> None:
    assert parse_measures("V1HIT = 1.250000e-01\nWHENEXP2 = -1.5e-01\n\n") == {"v1hit": 0.125, "whenexp2": -0.15}
    with pytest.raises(SimulationFailed, match=r"^Xyce: could not take the measures late, four$"):
        parse_measures("GOOD = 1.0\nLATE = FAILED    targ = 5.834051e-04    trig = not found\nFOUR: FAILED\n")
    with pytest.raises(SimulationFailed, match=r"^Xyce: line 1 of its measures is 'Simulation', not NAME = VALUE$"):
        parse_measures("Simulation\n")
    with pytest.raises(SimulationFailed, match=r"^Xyce: measure 'a' is 'b', not a number$"):
        parse_measures("A = b\n")


def fake_xyce(folder: Path, *, csv: str = XYCE_CSV, measures: str = XYCE_MT0, log: str = XYCE_LOG,
              status: int = 0) -> XyceEngine:
    """A program that does as Xyce does with the outputs given, and refuses a deck that is not Xyce's."""
    program = folder / "Xyce"
    program.write_text(f"""#!{sys.executable}
import os, pathlib, sys
if sys.argv[1:] == ["-v"]:
    print("Xyce Release 7.8.0-opensource")
    sys.exit(0)
assert sys.argv[1:] == ["deck.cir"] and os.environ["XYCE_NO_TRACKING"] == "1"
assert ".print" in pathlib.Path("deck.cir").read_text()
pathlib.Path("waves.csv").write_text({csv!r})
pathlib.Path("deck.cir.mt0").write_text({measures!r})
print({log!r})
sys.exit({status})
""", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return XyceEngine(os.fspath(program))


def test_a_run_of_xyce(tmp_path: Path) -> None:
    engine = fake_xyce(tmp_path)
    outcome = engine.simulate(DECK)
    assert engine.version == "xyce-7.8.0-opensource"
    assert outcome.waves.solver_s == 0.0102479
    assert outcome.measures == {"e": 2.5e-13, "d": 5e-10, "s": 0.5, "top": 1.0}
    ours = evaluate(DECK.measures, outcome.waves)
    assert ours == pytest.approx(outcome.measures, rel=1e-9)


@pytest.mark.parametrize(("wrong", "reason"), [
    ({"log": "Netlist error in file deck.cir at or near line 3\n*** Xyce Abort ***\n", "status": 1},
     "Xyce: Netlist error in file deck.cir at or near line 3"),
    ({"log": "Time step too small near step number: 181\n" + XYCE_LOG},
     "Xyce: Time step too small near step number: 181"),
    ({"log": "***** Solution Summary *****\n"}, "Xyce: its log does not tell that the simulation came to its end"),
    ({"status": 2}, "Xyce ended with exit status 2"),
    ({"measures": XYCE_MT0.replace("5.000000000000000e-10", "FAILED")}, "Xyce: could not take the measures d"),
    ({"csv": XYCE_CSV.replace("V(OUT)", "V(OTHER)")},
     "Xyce printed no v(out); it printed TIME, V(X1:M), I(V1), V(IN), V(OTHER)"),
    ({"csv": XYCE_CSV.replace("TIME", "T")}, "Xyce printed no TIME; it printed T, V(X1:M), I(V1), V(IN), V(OUT)"),
    ({"csv": "\n".join(XYCE_CSV.splitlines()[:3])}, "the transient stopped at 1e-09 s of 2e-09 s"),
    ({"csv": XYCE_CSV.replace("7.500000000000000e-01", "nan")}, "the simulator returned no finite waveforms"),
])
def test_a_run_of_xyce_that_fails(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(SimulationFailed) as caught:
        fake_xyce(tmp_path, **wrong).run(DECK)
    assert caught.value.reason == reason


def test_xyces_warnings_are_no_failures(tmp_path: Path) -> None:
    log = "Netlist warning: MAXFAIL: an error of the netlist is possible\nNumber Failed Linear Solves: 0\n" + XYCE_LOG
    assert fake_xyce(tmp_path, log=log).run(DECK).steps == 3


def test_xyces_sweeps_and_operating_points(tmp_path: Path) -> None:
    """Xyce prints no swept value: the axis is the analysis' own, and a missing row is a failure."""
    body = "v1 a 0 1\nr1 a 0 1k\n"
    sweep = Deck("dc", body, 25.0, DcSweep("v1", 0.0, 0.3, 0.1), save=("v(a)",))
    csv = "V(A)\n0.0\n0.1\n0.2\n0.3\n"
    np.testing.assert_allclose(fake_xyce(tmp_path, csv=csv).run(sweep).axis, [0.0, 0.1, 0.2, 0.3])
    with pytest.raises(SimulationFailed, match=r"^Xyce: its CSV file has 3 rows where the analysis has 4 points$"):
        fake_xyce(tmp_path, csv=csv.replace("0.3\n", "")).run(sweep)
    point = Deck("op", body, 25.0, OperatingPoint(), save=("v(a)",))
    assert ".print dc " in render(point)
    assert fake_xyce(tmp_path, csv="V(A)\n1.0\n").run(point).signal("v(a)")[0] == 1.0
