"""sky130's inverter and NAND2, simulated from their schematics, against the foundry's Liberty tables.

The foundry tables rest on extracted layouts and an older model release, ours on schematics with estimated diffusions
and no wires; docs/validation.md discusses the sign of the difference. Slews in the tables are 20 to 80 %.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlib.pdk import Pdk, installed, load_pdk
from charlib.spice import Deck, Delay, Energy, Transient, evaluate
from charlib.spice.live import LiveEngine
from charlib.spice.sources import dc, pwl
from charlib.units import MICRO, NANO, PICO

pytestmark = [pytest.mark.validate, pytest.mark.ngspice, pytest.mark.pdk,
              pytest.mark.skipif("sky130" not in installed(), reason="sky130 is not installed")]
REFERENCE = Path(__file__).parent / "data" / "sky130_liberty"
VDD_V = 1.8
#: share of the swing between the thresholds of a slew
SLEW_SHARE = 0.6
#: widths of the cells' schematics (sky130_fd_sc_hd__inv_1, nand2_1), in metres
W_N, W_P = 0.65 * MICRO, 1.0 * MICRO
NETLISTS = {
    "inv_1": f"xn y a 0 0 nmos w={W_N:g} l={{lmin}}\nxp y a vdd vdd pmos w={W_P:g} l={{lmin}}\n",
    "nand2_1": f"xpa y a vdd vdd pmos w={W_P:g} l={{lmin}}\nxpb y b vdd vdd pmos w={W_P:g} l={{lmin}}\n"
               f"xnb m b 0 0 nmos w={W_N:g} l={{lmin}}\nxna y a m 0 nmos w={W_N:g} l={{lmin}}\n",
}


@dataclass(frozen=True)
class Arc:
    """One input of a cell and the foundry's tables for it: delays in s, internal energy of both edges in J."""

    cell: str
    pin: str
    slews_s: np.ndarray
    loads_f: np.ndarray
    fall_s: np.ndarray
    rise_s: np.ndarray
    both_j: np.ndarray


def table(group: Mapping[str, Any], start: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(value for name, value in group.items() if name.startswith(start))
    return found


def arcs() -> list[Arc]:
    found = []
    for cell in NETLISTS:
        data = json.loads((REFERENCE / f"sky130_fd_sc_hd__{cell}__tt_025C_1v80.lib.json").read_text())
        timing, power = data["pin,Y"]["timing"], data["pin,Y"]["internal_power"]
        timing, power = (group if isinstance(group, list) else [group] for group in (timing, power))
        for delays, joules in zip(timing, power, strict=True):
            assert delays["related_pin"] == joules["related_pin"]
            fall, rise = table(delays, "cell_fall"), table(delays, "cell_rise")
            both = np.array(table(joules, "fall_power")["values"]) + np.array(table(joules, "rise_power")["values"])
            found.append(Arc(cell, delays["related_pin"].lower(), np.array(fall["index_1"]) * NANO,
                             np.array(fall["index_2"]) * PICO, np.array(fall["values"]) * NANO,
                             np.array(rise["values"]) * NANO, both * PICO))
    return found


def simulate(pdk: Pdk, engine: LiveEngine, arc: Arc, slew_s: float, load_f: float) -> dict[str, float]:
    """Both delays, and supply energy of both edges less the load's C·V²."""
    ramp_s = slew_s / SLEW_SHARE
    window_s = ramp_s + 1 * NANO + 10 * NANO * load_f / (0.18 * PICO)
    body = pdk.header("tt") + NETLISTS[arc.cell] + dc("dd", "vdd", VDD_V)
    for pin in ("a", "b") if arc.cell == "nand2_1" else ("a",):
        wave = [(0.0, 0.0), (window_s, 0.0), (window_s + ramp_s, VDD_V), (2 * window_s, VDD_V),
                (2 * window_s + ramp_s, 0.0)]
        body += pwl(pin, pin, wave) if pin == arc.pin else dc(pin, pin, VDD_V)
    body += f"cl y 0 {load_f:g}\n"
    half_v = VDD_V / 2
    measures = (Delay("fall_s", arc.pin, half_v, "rise", "y", half_v, "fall", window_s),
                Delay("rise_s", arc.pin, half_v, "fall", "y", half_v, "rise", 2 * window_s),
                Energy("both_j", "vdd", VDD_V, window_s, 3 * window_s))
    step_s = min(slew_s / 5, 5 * PICO) if load_f < 1e-14 else min(slew_s / 2, 20 * PICO)
    deck = Deck("sky130 against Liberty", body, 25.0, Transient(step_s, 3 * window_s, step_s), measures)
    found = evaluate(measures, engine.run(deck))
    return {**found, "both_j": found["both_j"] - load_f * VDD_V**2}


@pytest.mark.parametrize("flavour", ["sky130", "sky130_models"])
def test_delay_and_energy_against_the_foundry_s_tables(flavour: str) -> None:
    if flavour not in installed():
        pytest.skip(f"{flavour} is not installed")
    pdk, engine = load_pdk(flavour), LiveEngine()
    delay, energy = [], []
    for arc in arcs():
        for i, slew_s in enumerate(arc.slews_s):
            for j, load_f in enumerate(arc.loads_f):
                ours = simulate(pdk, engine, arc, float(slew_s), float(load_f))
                if slew_s < 1e-9:  # at the slowest ramp the foundry's falling delays turn around
                    delay += [ours["fall_s"] / arc.fall_s[i, j] - 1, ours["rise_s"] / arc.rise_s[i, j] - 1]
                if j == 0:  # the part that does not depend on the load
                    energy.append(ours["both_j"] / arc.both_j[i, j] - 1)
    print(f"{flavour}: delay median |error| {np.median(np.abs(delay)):.1%}, median {np.median(delay):+.1%}, "
          f"of {len(delay)}; energy of both edges median |error| {np.median(np.abs(energy)):.1%}, "
          f"median {np.median(energy):+.1%}, of {len(energy)}")
    assert np.median(np.abs(delay)) <= 0.20
    assert np.median(np.abs(energy)) <= 0.25
