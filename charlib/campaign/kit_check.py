"""`himc pdk check`: does a kit behave? Each device is switched on and off, an inverter is clocked.

The limits are wide: they catch a kit that is broken (cards run together, wrong units, swapped devices,
corners mixed up), not one that is a few per cent off.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from charlib.errors import SimulationFailed
from charlib.pdk import Pdk
from charlib.spice import Deck, Delay, Engine, OperatingPoint, Sample, Transient, evaluate
from charlib.spice.sources import dc, logic
from charlib.units import FEMTO, NANO, PICO

#: least ratio of on to off current of a logic transistor at 25 °C and nominal supply [inferred]
LEAST_ON_OFF = 1e3
#: on current of any MOS per metre of width: 0.05 to 5 mA/µm brackets bulk CMOS from 250 to 16 nm [inferred]
ON_A_PER_M = (50.0, 5000.0)
#: an output closer to its rail than this share of the supply counts as that logic value
RAIL_FRACTION = 0.05
ROOM_C, HOT_C = 25.0, 125.0
_PERIOD_S, _SLEW_S, _STEP_S = 2 * NANO, 20 * PICO, 5 * PICO
_LOAD_F = 1 * FEMTO
#: corners from slow to fast, where a kit has them
_SLOW_TO_FAST = ("ss", "tt", "ff")


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    good: bool
    detail: str


def check_kit(pdk: Pdk, engine: Engine) -> tuple[Finding, ...]:
    """Simulate every device and an inverter in every corner at the nominal supply."""
    findings: list[Finding] = []
    delays_s: dict[str, float] = {}
    for corner in pdk.corners:
        try:
            cold = device_currents(pdk, corner, ROOM_C, engine)
            hot = device_currents(pdk, corner, min(HOT_C, pdk.temp_range_c[1]), engine)
            findings += [_device(pdk, corner, name, cold[name], hot[name]) for name in pdk.devices]
            finding, delays_s[corner] = _inverter(pdk, corner, engine)
            findings.append(finding)
        except SimulationFailed as error:
            findings.append(Finding(corner, False, error.reason))
    order = [c for c in _SLOW_TO_FAST if c in delays_s]
    if len(order) > 1:
        times = [delays_s[c] for c in order]
        good = all(a > b for a, b in itertools.pairwise(times))
        listed = " > ".join(f"{c} {t / PICO:.1f} ps" for c, t in zip(order, times, strict=True))
        detail = f"inverter delay {listed}" + ("" if good else " does not hold")
        findings.append(Finding("corner order", good, detail))
    return tuple(findings)


def device_currents(pdk: Pdk, corner: str, temp_c: float, engine: Engine) -> Mapping[str, tuple[float, float]]:
    """Wrapper name -> (on, off) drain current in A of a minimum device, from one operating point."""
    vdd_v = pdk.nominal_vdd_v
    body = pdk.header(corner) + dc("dd", "vdd", vdd_v)
    for name in pdk.devices:
        is_n = name.startswith("nmos")
        well, drain_v = ("0", vdd_v) if is_n else ("vdd", 0.0)
        for state, gate in (("on", "vdd" if is_n else "0"), ("off", "0" if is_n else "vdd")):
            node = f"d_{name}_{state}"
            body += dc(node, node, drain_v)
            body += f"x_{name}_{state} {node} {gate} {well} {well} {name} w={{wmin}} l={{lmin}}\n"
    save = tuple(f"i(vd_{name}_{state})" for name in pdk.devices for state in ("on", "off"))
    waves = engine.run(Deck(f"devices of {pdk.name} {corner}", body, temp_c, OperatingPoint(), save=save))
    current = {signal: abs(float(waves.signal(signal)[-1])) for signal in save}
    return {name: (current[f"i(vd_{name}_on)"], current[f"i(vd_{name}_off)"]) for name in pdk.devices}


def _device(pdk: Pdk, corner: str, name: str, room: tuple[float, float], hot: tuple[float, float]) -> Finding:
    (on_a, off_a), (_, hot_off_a) = room, hot
    per_m = on_a / pdk.geometry.wmin_m
    faults = []
    if not ON_A_PER_M[0] <= per_m <= ON_A_PER_M[1]:
        faults.append(f"on current outside {ON_A_PER_M[0]:g}..{ON_A_PER_M[1]:g} µA/µm")
    if not on_a > LEAST_ON_OFF * off_a:
        faults.append(f"on/off below {LEAST_ON_OFF:g}")
    if not hot_off_a > off_a:
        faults.append("off current does not grow with temperature")
    ratio = on_a / off_a if off_a else float("inf")
    detail = f"{per_m:.0f} µA/µm, on/off {ratio:.1e}, off ×{hot_off_a / max(off_a, 1e-30):.0f} hot"
    return Finding(f"{corner} {name}", not faults, "; ".join([detail, *faults]))


def _inverter(pdk: Pdk, corner: str, engine: Engine) -> tuple[Finding, float]:
    vdd_v, half_v = pdk.nominal_vdd_v, pdk.nominal_vdd_v / 2
    body = (pdk.header(corner) + dc("dd", "vdd", vdd_v) + logic("in", "in", (0, 1, 0), _PERIOD_S, _SLEW_S, vdd_v)
            + "xn out in 0 0 nmos w={wmin} l={lmin}\nxp out in vdd vdd pmos w={2*wmin} l={lmin}\n"
            + f"cl out 0 {_LOAD_F:g}\n")
    measures = (
        Delay("fall_s", "in", half_v, "rise", "out", half_v, "fall"),
        Delay("rise_s", "in", half_v, "fall", "out", half_v, "rise"),
        Sample("high_v", "out", 0.9 * _PERIOD_S), Sample("low_v", "out", 1.9 * _PERIOD_S),
    )
    deck = Deck(f"inverter of {pdk.name} {corner}", body, ROOM_C,
                Transient(_STEP_S, 3 * _PERIOD_S, _STEP_S), measures)
    found = evaluate(measures, engine.run(deck))
    good = found["high_v"] > (1 - RAIL_FRACTION) * vdd_v and found["low_v"] < RAIL_FRACTION * vdd_v
    delay_s = (found["fall_s"] + found["rise_s"]) / 2
    detail = (f"out {found['high_v']:.3f} V and {found['low_v']:.3f} V, fall {found['fall_s'] / PICO:.1f} ps, "
              f"rise {found['rise_s'] / PICO:.1f} ps")
    return Finding(f"{corner} inverter", good and delay_s > 0, detail), delay_s
