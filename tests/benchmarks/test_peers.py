"""The comparison with other characterisers: what is read from their files, what is compared, and that it ends."""

from __future__ import annotations

import os
import re
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peers, peers_cases, peers_tools, peers_values
from benchmarks.peers_cases import CASES, Case
from benchmarks.peers_values import Values, disagreements, of_charlib, of_lctime, ours, read_liberty
from charlib.errors import HimcError
from charlib.pdk import load_pdk
from charlib.spice import Deck, Delay, Transient, evaluate
from charlib.spice.live import LiveEngine
from charlib.spice.sources import dc
from charlib.table import Origin, Table, TableSet
from charlib.units import FEMTO, NANO, PICO

INVERTER, ADDER, SKY130 = CASES
CASE = Case("two", "freepdk45", "inv", ("a",), {"y": "!A"}, 1.0, (10 * PICO, 20 * PICO, 40 * PICO),
            (1 * FEMTO, 2 * FEMTO))
LCTIME = """/* a { comment */
library (l) {
  capacitive_load_unit (1, pf);
  cell (INV) {
    pin (A) { direction : input; capacitance : 0.002; }
    pin (Y) {
      function : "(!A)";
      timing () {
        related_pin : "A";
        timing_sense : negative_unate;
        CELL_TABLES
      }
      internal_power () {
        related_pin : "A";
        POWER_TABLES
      }
    }
  }
}
"""


def table(name: str, values: str, *, loads_first: bool) -> str:
    slews, loads = ("0.01, 0.02, 0.04", "0.001, 0.002") if loads_first else ("10, 20, 40", "0.001, 0.002")
    first, second = (loads, slews) if loads_first else (slews, loads)
    return f'{name} (t) {{ index_1 ( \\\n "{first}" \\\n ); index_2 ("{second}"); values ( \\\n {values} ); }}\n'


def lctime_text() -> str:
    times = "".join(table(name, '"1, 2, 3", "4, 5, 6"', loads_first=True)
                    for name in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"))
    powers = "".join(table(name, '"1, 1, 1", "2, 2, 2"', loads_first=True) for name in ("rise_power", "fall_power"))
    return LCTIME.replace("CELL_TABLES", times).replace("POWER_TABLES", powers)


def test_values_of_lctime_are_turned_to_slew_by_load_and_to_si_units() -> None:
    values = of_lctime(lctime_text(), CASE)
    expected = np.array([[1, 4], [2, 5], [3, 6]]) * NANO
    assert set(values.delay) == {("a", "y", "rise", "negative"), ("a", "y", "fall", "negative")}
    np.testing.assert_allclose(values.delay["a", "y", "rise", "negative"], expected)
    np.testing.assert_allclose(values.capacitance["a",], 2 * FEMTO)
    np.testing.assert_allclose(values.energy["a", "y"], np.array([[2, 4]] * 3) * PICO)


def test_values_of_charlib_stand_on_slew_by_load() -> None:
    times = "".join(table(name, '"1, 2", "3, 4", "5, 6"', loads_first=False)
                    for name in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"))
    text = LCTIME.replace("CELL_TABLES", times).replace("internal_power", "nothing").replace("POWER_TABLES", "")
    values = of_charlib(text, CASE)
    np.testing.assert_allclose(values.transition["a", "y", "fall"], np.array([[1, 2], [3, 4], [5, 6]]) * PICO)
    assert values.energy == {}


def test_a_table_on_another_grid_is_refused() -> None:
    other = Case("other", "freepdk45", "inv", ("a",), {"y": "!A"}, 1.0, CASE.slews_s, (1 * FEMTO, 3 * FEMTO))
    with pytest.raises(HimcError, match=r"^liberty: table cell_rise does not stand on the case's slews and loads$"):
        of_lctime(lctime_text(), other)


@pytest.mark.parametrize(("text", "message"), [
    ("library (l) { a : b; ", "^liberty: the text is not one closed library$"),
    ("library (l) { } }", "^liberty: ' }' is no statement$"),
    ("library (l) { a b; }", "^liberty: ' a b; }' is no statement$"),
])
def test_what_is_no_liberty_is_refused(text: str, message: str) -> None:
    with pytest.raises(HimcError, match=message):
        read_liberty(text)


def tables_of(delays: dict[str, float], energies: dict[str, float]) -> dict[str, Table]:
    """Arc tables of a two-input cell, each arc's value the same at every slew and load."""
    point = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0}
    units = {"corner": "", "temp_c": "°C", "vdd_v": "V", "arc": "", "slew_s": "s", "load_f": "F"}
    origin = Origin("made_up", "0" * 64, "none", "0", "fresh", "2000-01-01T00:00:00+00:00")

    def made(name: str, unit: str, values: dict[str, float]) -> Table:
        return Table.from_records(name, unit, units, [
            {**point, "arc": arc, "slew_s": slew_s, "load_f": load_f, "value": value, "run": "0"}
            for arc, value in values.items() for slew_s in CASE.slews_s for load_f in CASE.loads_f], origin)

    pins = Table.from_records("pin_f", "F", {**dict(list(units.items())[:3]), "pin": ""}, [
        {**point, "pin": f"half_adder a {edge}", "value": value, "run": "0"}
        for edge, value in (("rise", 1e-15), ("fall", 3e-15))], origin)
    return {"arc_delay_s": made("arc_delay_s", "s", delays), "arc_energy_j": made("arc_energy_j", "J", energies),
            "arc_transition_s": made("arc_transition_s", "s", delays), "pin_f": pins}


def test_ours_take_the_peer_s_conventions() -> None:
    case = Case("half", "made_up", "half_adder", ("a", "b"), {"s": "A ^ B", "co": "A & B"}, 1.0, CASE.slews_s,
                CASE.loads_f)
    delays = {"half_adder a rise > s rise | b=0": 1e-12, "half_adder a fall > s rise | b=1": 3e-12,
              "half_adder a fall > s fall | b=0": 5e-12, "half_adder a rise > s fall | b=1": 7e-12,
              "half_adder a rise > co rise | b=1": 2e-12, "half_adder a fall > co fall | b=1": 4e-12}
    energies = {"half_adder a rise | b=0": 10e-15, "half_adder a fall | b=0": 1e-15,
                "half_adder a rise | b=1": 20e-15, "half_adder a fall | b=1": 2e-15}
    tables = tables_of(delays, energies)
    worst, by_sense = ours(tables, case, "charlib"), ours(tables, case, "lctime")
    assert worst.delay["a", "s", "rise"][0, 0] == pytest.approx(3e-12)
    assert worst.delay["a", "s", "fall"][0, 0] == pytest.approx(7e-12)
    assert by_sense.delay["a", "s", "rise", "positive"][0, 0] == pytest.approx(1e-12)
    assert by_sense.delay["a", "s", "rise", "negative"][0, 0] == pytest.approx(3e-12)
    assert by_sense.capacitance["a",] == pytest.approx(2e-15)
    # with b = 1 both outputs move; the second load, C·V², is not the peer's
    both_j = 22e-15 - np.array(CASE.loads_f)
    np.testing.assert_allclose(by_sense.energy["a", "co"][0], both_j, rtol=1e-12)
    np.testing.assert_allclose(by_sense.energy["a", "s"][0], (11e-15 + both_j) / 2, rtol=1e-12)


def test_the_largest_difference_of_each_quantity_is_found() -> None:
    mine = Values(delay={("a",): np.array([[1.0, 2.0]]), ("b",): np.array([[1.0, 1.0]])})
    theirs = Values(delay={("a",): np.array([[1.1, 1.5]])})
    assert disagreements(theirs, mine) == {"delay": pytest.approx(0.25), "transition": None, "capacitance": None,
                                           "energy": None}
    with pytest.raises(HimcError, match=r"^delay: the peer has \('b',\), which we have not$"):
        disagreements(mine, theirs)


def test_a_run_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_tools, "TIMEOUT_S", 0.3)
    begin = time.perf_counter()
    with pytest.raises(HimcError, match=r"^stopped after 0\.3 s$"):
        peers_tools.timed(["sh", "-c", "sleep 30 & echo $! > child; wait"], tmp_path)
    assert time.perf_counter() - begin < 5
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        pytest.fail("the child outlived its parent")


def test_a_run_that_fails_says_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(HimcError, match=r"^exit status 3: no such thing$"):
        peers_tools.timed(["sh", "-c", "echo first; echo no such thing >&2; exit 3"], tmp_path)


def test_time_and_memory_of_a_run_are_its_own(tmp_path: Path) -> None:
    small = peers_tools.timed([sys.executable, "-c", "pass"], tmp_path)
    large = peers_tools.timed([sys.executable, "-c", "import time; x = bytearray(200_000_000); time.sleep(0.2)"],
                              tmp_path)
    assert large.wall_s > 0.2
    assert small.peak_mb < 40
    assert 180 < large.peak_mb - small.peak_mb < 260


@pytest.mark.pdk
def test_a_peer_that_cannot_be_installed_is_a_row_of_nulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    pdk = load_pdk("freepdk45")
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))

    def refuse(*_: object) -> peers_tools.Process:
        raise HimcError("exit status 1: no matching distribution")

    monkeypatch.setattr(peers_tools, "timed", refuse)
    monkeypatch.setattr(peers_tools, "CHARLIB", ("nothing==1",))
    row = peers.peer_row("charlib", INVERTER, partial(peers_tools.run_charlib, INVERTER, pdk), of_charlib,
                         "charlib", TableSet([]), 1.0)
    assert row["seconds"] is None
    assert row["disagreement"] is None
    assert ("no result: nothing==1 could not be installed: exit status 1: no matching distribution"
            in capsys.readouterr().out)


@pytest.mark.ngspice
def test_the_flat_adder_is_our_adder() -> None:
    """The netlist that lctime gets has the delays of the one that we and CharLib use."""
    pdk = load_pdk("freepdk45")
    flat = peers_cases.flat(ADDER, pdk)
    assert len(re.findall("^M", flat, re.MULTILINE)) == 28
    header = pdk.header("tt")
    stimulus = dc("dd", "vdd", 0.9) + "vb b 0 0.9\nva a 0 pulse(0 0.9 50p 20p 20p 300p 2n)\n"
    measures = (Delay("co_s", "a", 0.45, "rise", "co", 0.45, "rise"),
                Delay("s_s", "a", 0.45, "rise", "s", 0.45, "fall"))

    def delays(call: str, text: str) -> dict[str, float]:
        body = f"{header}{text}{stimulus}{call}\nc1 s 0 1f\nc2 co 0 1f\n"
        deck = Deck("adder", body, 25.0, Transient(1 * PICO, 0.4 * NANO, 1 * PICO), measures)
        return evaluate(measures, LiveEngine().run(deck))

    ours_s = delays("xd a b 0 s co vdd 0 full_adder", pdk.subckts("full_adder"))
    flat_s = delays("xd a b 0 s co vdd 0 flat_adder", flat.replace("GND", "0").replace(" VDD 0\n", " VDD VSS\n")
                    .replace("FULL_ADDER", "flat_adder").replace(" 0 ", " VSS "))
    assert flat_s == pytest.approx(ours_s, rel=1e-3)


@pytest.mark.pdk
def test_charlib_gets_the_whole_cell_first() -> None:
    files = peers_cases.charlib_files(ADDER, load_pdk("freepdk45"))
    first, *rest = files["cell.sp"].splitlines()
    assert first == ".subckt FULL_ADDER A B CI S CO VDD VSS"
    assert rest[0] == "x1 A B CI S CO VDD VSS full_adder_ours"
    assert any(line.startswith(".subckt full_adder_ours a b ci s co vdd vss") for line in rest)


def test_values_of_the_cases_are_named_once() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert set(peers_values.QUANTITIES) == {"delay", "transition", "capacitance", "energy"}
