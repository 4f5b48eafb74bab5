"""From deck to deck by `alter`: what may be altered, what must be loaded again, and what an interruption leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charlib.errors import SimulationFailed
from charlib.spice import Deck, Transient
from charlib.spice.resident import LONGEST_COMMAND, differences
from charlib.spice.sources import dc, pwl
from charlib.units import NANO, PICO

HEAD = ".subckt load a\nr1 a 0 1k\n.ends load\n"


def deck(vdd_v: float = 1.0, load_f: float = 1e-12, edge_s: float = 1 * NANO, head: str = HEAD) -> Deck:
    body = head + dc("dd", "vdd", vdd_v) + pwl("in", "a", [(0.0, 0.0), (edge_s, 0.0), (1.1 * edge_s, vdd_v)])
    body += f"rs a b 1k\ncl b 0 {load_f:g}\nxl vdd load\n"
    return Deck("rc", body, 25.0, Transient(10 * PICO, 10 * NANO, 50 * PICO), save=("v(b)", "i(vdd)"))


def test_values_of_sources_and_loads_are_altered() -> None:
    assert differences(deck(), deck()) == []
    assert differences(deck(), deck(load_f=2e-12)) == ["alter cl = 2e-12"]
    assert differences(deck(), deck(vdd_v=0.9)) == [
        "alter vdd dc = 0.9", "alter @vin[pwl] = [ 0 0 1e-09 0 1.1e-09 0.9 ]"]


def test_shifts_of_devices_are_altered() -> None:
    one = Deck("m", HEAD + dc("dd", "vdd", 1.0) + "xc a b cell dvt_xn=0.01 dvt_xp=-0.02\n", 25.0,
               Transient(1e-12, 1e-9, 1e-12), save=("v(b)",))
    other = replace(one, body=one.body.replace("-0.02", "0.03"))
    assert differences(one, other) == ["alter m.xc.xp.m1 delvto = 0.03"]


@pytest.mark.parametrize("other", [
    deck(head=HEAD.replace("1k", "2k")), replace(deck(), temp_c=85.0), replace(deck(), save=("v(b)",)),
    replace(deck(), options={"reltol": "1e-4"}), replace(deck(), initial={"b": 0.5}),
    replace(deck(), body=deck().body + "cx b 0 1f\n"), replace(deck(), body=deck().body.replace("cl b 0", "cl a 0")),
    replace(deck(), body=deck().body.replace("xl vdd load", "xl a load")),
])
def test_anything_else_is_loaded_again(other: Deck) -> None:
    assert differences(deck(), other) is None


def test_a_wave_too_long_for_a_command_is_loaded_again() -> None:
    def wave(volt: float) -> Deck:
        points = [(k * PICO, volt * (k % 2)) for k in range(LONGEST_COMMAND // 8)]
        return Deck("w", HEAD + pwl("in", "a", points) + "rs a 0 1k\n", 25.0, Transient(1e-12, 1e-9, 1e-12),
                    save=("v(a)",))

    assert differences(wave(1.0), wave(0.9)) is None


@pytest.mark.ngspice
def test_an_interruption_between_changes_leaves_no_half_altered_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supply was altered, the input was not: the next deck, which differs from neither, must not see that."""
    from charlib.spice.live import LiveEngine

    engine = LiveEngine()
    right = engine.run(deck())
    whole = engine._command

    def failing(line: str) -> str:
        if line.startswith("alter @vin"):
            raise SimulationFailed("interrupted")
        return whole(line)

    monkeypatch.setattr(engine, "_command", failing)
    with pytest.raises(SimulationFailed, match="interrupted"):
        engine.run(deck(vdd_v=0.5))
    monkeypatch.setattr(engine, "_command", whole)
    again = engine.run(deck())
    for name, signal in right.signals.items():
        assert np.array_equal(again.signals[name], signal)
