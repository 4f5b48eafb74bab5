"""Simulators that run as a command: the process, its time-out and errors, raw files, and ngspice -b."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charlib.benches import BENCHES
from charlib.benches.base import Point, make_point
from charlib.errors import BadInput, SimulationFailed
from charlib.pdk import load_pdk
from charlib.spice import DcSweep, Deck, OperatingPoint, Transient, Waveforms
from charlib.spice.command import CommandEngine, Outcome
from charlib.spice.ngspice_batch import NgspiceBatchEngine
from charlib.spice.rawfile import parse_raw
from charlib.units import NANO, PICO

RC = "v1 in 0 1\nr1 in out 1k\nc1 out 0 1f\n"
DECK = Deck("rc", RC, 27.0, Transient(1 * PICO, 2 * NANO, 10 * PICO), save=("v(out)",))


class Shell(CommandEngine):
    """An engine that runs a line of shell and reads nothing."""

    def __init__(self, line: str, timeout_s: float = 10.0) -> None:
        super().__init__("sh", timeout_s)
        self._line = line

    version = "shell"

    def render(self, deck: Deck) -> str:
        return deck.text(measures=False)

    def argv(self, deck: Deck) -> Sequence[str]:
        return ["sh", "-c", self._line]

    def complaint(self, log: Sequence[str]) -> str | None:
        return next((line for line in log if line.startswith("wrong")), None)

    def read(self, deck: Deck, folder: Path, log: Sequence[str]) -> Outcome:
        end = float((folder / "end").read_text(encoding="utf-8"))
        return Outcome(Waveforms(np.array([0.0, end]), {signal: np.zeros(2) for signal in deck.saved()}))


def test_a_run_reads_what_the_command_left_and_keeps_its_log() -> None:
    waves = Shell("grep -c '^.tran' deck.cir; echo 2e-9 > end").run(DECK)
    assert (waves.steps, waves.log) == (2, ("1",))
    assert waves.solver_s > 0


@pytest.mark.parametrize(("line", "reason"), [
    ("echo hello; exit 3", "sh ended with exit status 3"),
    ("echo 'wrong: node'; exit 3", "sh: wrong: node"),
    ("echo 'wrong: node'; echo 2e-9 > end", "sh: wrong: node"),
    ("true", "sh: its results cannot be read ([Errno 2] No such file or directory: "),
    ("echo x > end", "sh: its results cannot be read (could not convert string to float: 'x\\n')"),
    ("echo 1e-9 > end", "the transient stopped at 1e-09 s of 2e-09 s"),
])
def test_a_command_that_fails_is_a_failure_with_its_log(line: str, reason: str) -> None:
    with pytest.raises(SimulationFailed) as caught:
        Shell(line).run(DECK)
    assert caught.value.reason.startswith(reason)
    assert caught.value.deck_text == DECK.text(measures=caught.value.reason.startswith("the transient"))
    assert caught.value.log_tail in ("hello", "wrong: node", "")


def test_a_command_that_hangs_is_stopped_with_all_that_it_started() -> None:
    begin = time.perf_counter()
    with pytest.raises(SimulationFailed, match=r"^sh was stopped after 0\.3 s without an end$") as caught:
        Shell("sleep 60 & echo $!; wait", timeout_s=0.3).run(DECK)
    assert time.perf_counter() - begin < 1.5
    child = int(caught.value.log_tail)
    while alive(child) and time.perf_counter() - begin < 1.5:
        time.sleep(0.01)
    assert not alive(child)


def alive(process: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_hostile_deck_starts_nothing(tmp_path: Path) -> None:
    hostile = replace(DECK, body=RC + f".control\nshell touch {tmp_path}/ran\n.endc\n")
    with pytest.raises(BadInput, match=r"\.control"):
        Shell(f"touch {tmp_path}/ran").run(hostile)
    assert not (tmp_path / "ran").exists()


def test_programs_and_timeouts_are_checked() -> None:
    with pytest.raises(BadInput, match=r"^simulator: 'nosuch' is no executable on this machine; install it "
                                       r"or give its path$"):
        NgspiceBatchEngine("nosuch")
    with pytest.raises(BadInput, match=r"^timeout_s: must be above 0, got 0$"):
        Shell("true", timeout_s=0)


RAW_HEADER = ("Title: * rc\nDate: Mon\nPlotname: Transient Analysis\nFlags: real\nNo. Variables: 2\nNo. Points: 2\n"
              "Variables:\n\t0\ttime\ttime\n\t1\tV(out)\tvoltage\n")


def test_raw_files_in_binary_and_in_ascii() -> None:
    binary = parse_raw(RAW_HEADER.encode() + b"Binary:\n" + struct.pack("4d", 0.0, 1.0, 2e-9, 0.5))
    text = parse_raw((RAW_HEADER + "Values:\n 0\t0.0\n\t1.0\n\n 1\t2e-9\n\t0.5\n").encode())
    for vectors in (binary, text):
        assert list(vectors) == ["time", "v(out)"]
        np.testing.assert_array_equal(vectors["time"], [0.0, 2e-9])
        np.testing.assert_array_equal(vectors["v(out)"], [1.0, 0.5])


@pytest.mark.parametrize(("data", "reason"), [
    (b"Title: x\n", "raw file: it has neither 'Binary:' nor 'Values:'"),
    (RAW_HEADER.encode() + b"Binary:\n" + struct.pack("3d", 0, 1, 2), "raw file: it ends after 3 of 4 numbers"),
    (RAW_HEADER.replace("real", "complex").encode() + b"Binary:\n", "raw file: its numbers are complex, not real"),
    (RAW_HEADER.replace("Variables: 2", "Variables: 3").encode() + b"Binary:\n",
     "raw file: its header counts 3 variables, but names 2"),
])
def test_broken_raw_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(SimulationFailed) as caught:
        parse_raw(data)
    assert caught.value.reason == reason


def inverter() -> tuple[Point, Deck]:
    bench, pdk = BENCHES["cell"], load_pdk("freepdk45")
    point = make_point(bench.point_type, {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8, "cell": "inv",
                                          "slew_s": 1e-11, "load_f": 1e-15})
    return point, bench.deck(pdk, point)


@pytest.mark.ngspice
def test_ngspice_in_batch_agrees_with_the_live_engine() -> None:
    from charlib.spice.live import LiveEngine

    point, deck = inverter()
    live, batch = LiveEngine(), NgspiceBatchEngine()
    assert batch.version.partition("-")[0] == live.version.partition("-")[0] == "ngspice"
    ours, theirs = batch.run(deck), live.run(deck)
    np.testing.assert_allclose(ours.axis, theirs.axis, rtol=1e-6)
    for name in deck.saved():
        np.testing.assert_allclose(ours.signal(name), theirs.signal(name), rtol=1e-6, atol=1e-15)
    pdk = load_pdk("freepdk45")
    assert BENCHES["cell"].measure(pdk, point, ours) == pytest.approx(
        BENCHES["cell"].measure(pdk, point, theirs), rel=1e-6, abs=0)


@pytest.mark.ngspice
def test_ngspice_in_batch_sweeps_and_finds_operating_points() -> None:
    engine, body = NgspiceBatchEngine(), "v1 a 0 1\nr1 a b 1k\nr2 b 0 1k\n"
    sweep = engine.run(Deck("dc", body, 25.0, DcSweep("v1", 0.0, 1.0, 0.1), save=("v(b)", "i(v1)")))
    np.testing.assert_allclose(sweep.signal("v(b)"), np.linspace(0, 0.5, 11), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(sweep.axis, np.linspace(0, 1, 11), atol=1e-12)
    point = engine.run(Deck("op", body, 25.0, OperatingPoint(), save=("v(b)",)))
    assert point.signal("v(b)")[0] == pytest.approx(0.5, rel=1e-6)


@pytest.mark.ngspice
def test_ngspice_in_batch_says_why_a_deck_fails() -> None:
    bad = Deck("bad", "v1 in 0 1\nx1 in b nosuch\nr1 in out 1\n", 25.0, OperatingPoint(), save=("v(in)",))
    with pytest.raises(SimulationFailed, match=r"^ngspice: .*error|nosuch") as caught:
        NgspiceBatchEngine().run(bad)
    assert "nosuch" in caught.value.log_tail
