"""Decks, measures, replay and the live engine: analytic answers and the known hazards of ngspice."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from charlib.errors import BadInput, LogicError, SimulationFailed
from charlib.spice import (
    DcSweep,
    Deck,
    Delay,
    Energy,
    Extreme,
    OperatingPoint,
    ReplayEngine,
    Sample,
    Transient,
    Waveforms,
    evaluate,
)
from charlib.spice.engine import Engine
from charlib.spice.measure import crossings, integral
from charlib.spice.replay import load_recorded, record
from charlib.spice.sources import logic_points, pwl
from charlib.units import FEMTO, KILO, NANO, PICO

R_OHM, C_F = 1 * KILO, 1 * PICO


def rc_deck(title: str = "rc", resistance_ohm: float = R_OHM) -> Deck:
    """A step of 1 V into R and C at 1 ns; the end is 14 time constants later."""
    tau_s = R_OHM * C_F
    body = f"r1 in out {resistance_ohm:g}\nc1 out 0 {C_F:g}\nrb b 0 1k\nc2 b 0 1f\n" + pwl(
        "in", "in", [(0, 0), (1 * NANO, 0), (1 * NANO + 10 * FEMTO, 1.0)]) + "vdd b 0 dc 1\n"
    return Deck(title, body, 25.0, Transient(1 * PICO, 15 * tau_s, 5 * PICO), measures=(
        Energy("e", "vin", 1.0, 0.5 * NANO, 15 * tau_s), Energy("r", "vdd", 1.0, 0.0, 10 * NANO),
        Delay("d", "in", 0.5, "rise", "out", 0.5, "rise"),
        Sample("s", "out", 1 * NANO + tau_s), Extreme("m", "out", "max", 0.0, 15 * tau_s)))


def synthetic() -> Waveforms:
    t = np.linspace(0, 10, 1001)
    return Waveforms(t, {"v(a)": np.sin(t), "i(v1)": -np.ones_like(t)})


def test_measures_on_known_waves() -> None:
    waves = synthetic()
    got = evaluate([Energy("e", "v1", 2.0, 1.0, 3.005), Sample("s", "a", math.pi / 2),
                    Extreme("lo", "a", "min", 0.0, 6.0)], waves)
    assert got["e"] == pytest.approx(2 * 2.005)
    assert got["s"] == pytest.approx(1.0, abs=1e-4)
    assert got["lo"] == pytest.approx(-1.0, abs=1e-4)
    np.testing.assert_allclose(crossings(waves.axis, waves.signal("v(a)"), 0.0, "fall"),
                               [math.pi, 3 * math.pi], atol=1e-4)
    assert integral(waves.axis, waves.signal("v(a)"), 0.0, math.pi) == pytest.approx(2.0, rel=1e-4)


def test_a_crossing_that_never_comes_is_an_error_not_a_nan() -> None:
    with pytest.raises(SimulationFailed, match=r"^v\(a\) never crosses 2 V \(rise\) after 0 s$"):
        evaluate([Delay("d", "a", 0.5, "rise", "a", 2.0, "rise")], synthetic())


def test_deck_text_holds_everything_once() -> None:
    text = rc_deck().text()
    assert text.count(".tran") == 1
    assert text.endswith(".end\n")
    assert ".meas tran e param='-1*q_e'" in text
    assert re.search(r"^\.save .*v\(out\)", text, re.MULTILINE)
    assert rc_deck().sha256() != rc_deck("other").sha256()


@pytest.mark.parametrize("bad", [
    lambda: Deck("t", "", 25.0, OperatingPoint()),
    lambda: Deck("t", "", 25.0, OperatingPoint(), measures=(Sample("a", "a", 0.0),)),
    lambda: Deck("t", "", 25.0, Transient(1, 2, 1), measures=(Sample("a", "a", 0.0), Sample("a", "b", 0.0))),
    lambda: Transient(2, 1, 1),
    lambda: pwl("a", "a", [(0, 0), (0, 1)]),
    lambda: pwl("a", "a", []),
    lambda: logic_points([], 1.0, 0.1, 1.0),
])
def test_bad_decks_are_refused(bad: object) -> None:
    assert callable(bad)
    with pytest.raises(BadInput):
        bad()


def test_logic_points() -> None:
    assert logic_points([0, 1, 1, 0], 1.0, 0.1, 2.0) == [(0.0, 0.0), (1.0, 0.0), (1.1, 2.0), (3.0, 2.0), (3.1, 0.0)]


def test_replay_plays_only_what_it_knows(tmp_path: Path) -> None:
    deck = Deck("t", "v1 a 0 1\n", 25.0, OperatingPoint(), save=("v(a)",))
    waves = Waveforms(np.zeros(1), {"v(a)": np.ones(1)})
    record(tmp_path / "runs.npz", {deck.sha256(): waves})
    engine: Engine = load_recorded(tmp_path / "runs.npz")
    assert engine.run(deck).signal("v(a)")[0] == 1.0
    with pytest.raises(SimulationFailed, match="is not recorded; 1 decks are"):
        engine.run(Deck("u", "v1 a 0 1\n", 25.0, OperatingPoint(), save=("v(a)",)))


def test_a_short_or_broken_transient_is_refused() -> None:
    deck = Deck("t", "v1 a 0 1\n", 25.0, Transient(1, 10, 1), save=("v(a)",))
    short = ReplayEngine({deck.sha256(): Waveforms(np.array([0.0, 5.0]), {"v(a)": np.ones(2)})})
    with pytest.raises(SimulationFailed, match="the transient stopped at 5 s of 10 s"):
        short.run(deck)
    broken = ReplayEngine({deck.sha256(): Waveforms(np.array([0.0, 10.0]), {"v(a)": np.array([0.0, np.nan])})})
    with pytest.raises(SimulationFailed, match="no finite waveforms"):
        broken.run(deck)


def test_simulation_errors_travel_between_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(LogicError("wrong sum", "deck", "log")))
    assert (type(error), error.reason, error.deck_text, error.log_tail) == (LogicError, "wrong sum", "deck", "log")


@pytest.fixture(scope="module")
def live() -> Engine:
    from charlib.spice.live import LiveEngine

    return LiveEngine()


@pytest.mark.ngspice
def test_rc_delay_and_capacitor_energy(live: Engine) -> None:
    got = evaluate(rc_deck().measures, live.run(rc_deck()))
    assert got["d"] == pytest.approx(math.log(2) * R_OHM * C_F, rel=0.005)
    assert got["e"] == pytest.approx(C_F, rel=0.01)  # C·V² with V = 1
    assert got["r"] == pytest.approx(1e-3 * 10 * NANO, rel=1e-6)  # V²/R·t
    assert got["s"] == pytest.approx(1 - math.exp(-1), rel=0.005)


@pytest.mark.ngspice
def test_the_deck_run_by_hand_gives_the_same_measures(live: Engine, tmp_path: Path) -> None:
    deck = rc_deck()
    path = tmp_path / "deck.sp"
    path.write_text(deck.text())
    out = subprocess.run(["ngspice", "-b", str(path)], capture_output=True, text=True, check=False).stdout
    by_hand = dict(re.findall(r"^(\w+)\s+=\s+(\S+)", out, re.MULTILINE))
    for name, value in evaluate(deck.measures, live.run(deck)).items():
        assert float(by_hand[name]) == pytest.approx(value, rel=0.002), name


@pytest.mark.ngspice
@pytest.mark.parametrize("body", [
    "v1 in 0 1\nx1 in b nosuch\nr1 in out 1\n",
    "v1 in 0 1\nm1 in in 0 0 nomodel\nr1 in out 1\n",
    "v1 in 0 1\nr1 in out {nope}\n",
    "v1 in 0 1\n",
])
def test_a_bad_deck_never_hands_back_the_deck_before(live: Engine, body: str) -> None:
    good = evaluate(rc_deck().measures, live.run(rc_deck()))
    bad = Deck("bad", body, 25.0, Transient(1 * PICO, 15 * NANO, 5 * PICO), save=("v(in)", "v(out)"))
    with pytest.raises(SimulationFailed) as caught:
        live.run(bad)
    assert caught.value.deck_text == bad.text()
    assert evaluate(rc_deck().measures, live.run(rc_deck())) == good


@pytest.mark.ngspice
def test_runs_do_not_depend_on_what_ran_before(live: Engine) -> None:
    first = live.run(rc_deck())
    live.run(rc_deck("half", R_OHM / 2))
    np.testing.assert_array_equal(live.run(rc_deck()).signal("v(out)"), first.signal("v(out)"))


@pytest.mark.ngspice
def test_dc_sweep_and_operating_point(live: Engine) -> None:
    body = "v1 a 0 1\nr1 a b 1k\nr2 b 0 1k\n"
    sweep = live.run(Deck("dc", body, 25.0, DcSweep("v1", 0.0, 1.0, 0.1), save=("v(b)", "i(v1)")))
    np.testing.assert_allclose(sweep.signal("v(b)"), sweep.axis / 2, rtol=1e-6, atol=1e-12)
    point = live.run(Deck("op", body, 25.0, OperatingPoint(), save=("v(b)",)))
    assert point.signal("v(b)")[0] == pytest.approx(0.5, rel=1e-6)
