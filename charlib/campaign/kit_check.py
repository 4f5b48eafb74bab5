"""`himc pdk check`: does a kit behave? Each device is switched on and off, an inverter is clocked, in every corner.

The limits are wide: they catch a kit that is broken (cards run together, wrong units, swapped devices,
corners mixed up), not one that is a few per cent off. Beyond that: off currents grow with temperature and the
inverter's delay changes with it in every corner; slow corners are slower; the same deck gives the same waveforms
twice (no random term is left in the cards); what ngspice ignores or does not know in a card is a failure unless
the kit names it with a reason; and where only the cards in use are given to ngspice, the whole library gives the
same waveforms.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from charlib.benches import BENCHES
from charlib.benches.base import Bench, make_point
from charlib.benches.cell import MEASURED_CELLS
from charlib.campaign.task import WITHHELD
from charlib.errors import BadInput, LogicError, SimulationFailed
from charlib.pdk import Pdk
from charlib.pdk.withheld import SEE_IT
from charlib.spice import Deck, Delay, Engine, OperatingPoint, Sample, Transient, Waveforms, evaluate
from charlib.spice.deck import DEFAULT_OPTIONS
from charlib.spice.sources import dc, logic
from charlib.terminal import Watch
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
#: largest difference of two waveforms that count as equal, relative to the larger
SAME = 1e-6
#: netlist -> benches that check it, each with the structure to check it at
_CELL_BENCHES: Mapping[str, tuple[tuple[Bench, Mapping[str, Any]], ...]] = {
    **{cell: ((BENCHES["cell"], {"cell": cell, "slew_s": 20 * PICO, "load_f": 2 * FEMTO}),)
       for cell in MEASURED_CELLS},
    "dff": ((BENCHES["flip_flop"], {}),),
    "clock_gate": ((BENCHES["clock_leaf"], {}),),
    "sram_6t": ((BENCHES["bitcell_access"], {"rows": 16}), (BENCHES["bitcell_leakage"], {})),
}
_COMPLAINT = re.compile(r"unrecogni[sz]ed|unknown parameter|ignored|not supported|can't find|no such|undefined|"
                        r"illegal|exceeds|out of range", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One thing looked at. revealed: what a confidential kit's detail leaves out, for the terminal and no file."""

    what: str
    good: bool
    detail: str
    revealed: tuple[str, ...] = field(default=(), repr=False)


def check_kit(pdk: Pdk, engine: Engine, watch: Watch | None = None) -> tuple[Finding, ...]:
    """Simulate every device and an inverter in every corner at the nominal supply. watch(corners done, all).

    Raises BadInput for a device that the cards hold as something else.
    """
    _kinds(pdk)
    findings: list[Finding] = []
    delays_s: dict[str, float] = {}
    hot_c = min(HOT_C, pdk.temp_range_c[1])
    for done, corner in enumerate(pdk.corners):
        if watch is not None:
            watch(done, len(pdk.corners))
        try:
            cold = device_currents(pdk, corner, ROOM_C, engine)
            hot = device_currents(pdk, corner, hot_c, engine)
            devices = [_device(pdk, corner, name, cold[name], hot[name]) for name in pdk.devices]
            findings += devices
            if not all(one.good for one in devices):  # a circuit of them may take ngspice for ever
                findings.append(Finding(f"{corner} inverter", False, "not simulated; mend the devices above first: "
                                        "model, polarity, and lengths (geometry in metres, scale)"))
                continue
            finding, delays_s[corner] = _inverter(pdk, corner, engine)
            findings += [finding, *_temperature(pdk, corner, hot_c, delays_s[corner], engine)]
            findings += [_same_twice(pdk, corner, engine), _complaints(pdk, corner, engine)]
        except SimulationFailed as error:
            findings.append(_failed(pdk, corner, error))
    if watch is not None:
        watch(len(pdk.corners), len(pdk.corners))
    order = [c for c in _SLOW_TO_FAST if c in delays_s]
    if len(order) > 1:
        times = [delays_s[c] for c in order]
        good = all(a > b for a, b in itertools.pairwise(times))
        listed = " > ".join(f"{c} {t / PICO:.1f} ps" for c, t in zip(order, times, strict=True))
        detail = f"inverter delay {listed}" + ("" if good else " does not hold")
        findings.append(Finding("corner order", good, detail))
    if pdk.prune and delays_s:
        corner = next(iter(delays_s))
        try:
            findings.append(prune_proof(pdk, corner, engine))
        except SimulationFailed as error:
            findings.append(_failed(pdk, f"{corner} pruned cards", error))
    return tuple(findings)


def _failed(pdk: Pdk, what: str, error: SimulationFailed) -> Finding:
    """A simulation that gave nothing: why, unless that might quote a confidential kit."""
    if not pdk.confidential:
        return Finding(what, False, error.reason)
    return Finding(what, False, WITHHELD, (error.reason, *error.log_tail.splitlines()) if pdk.reveal else ())


def _kinds(pdk: Pdk) -> None:
    """BadInput where a device's model is a subcircuit taken as a model, the reverse, or of the other polarity."""
    library = pdk.library(next(iter(pdk.corners)))
    for name, device in pdk.devices.items():
        model = device.model.lower()
        cards = library.models.get(model, [])
        if device.wrapped and cards and model not in library.subckts:
            raise BadInput(f"devices.{name}: '{device.model}' is a .model in the cards; set wrapped = false")
        if not device.wrapped and not cards and model in library.subckts:
            raise BadInput(f"devices.{name}: '{device.model}' is a subcircuit in the cards; set wrapped = true")
        kind = cards[0].text.split()[2].lower() if cards and not device.wrapped else ""
        if kind in ("nmos", "pmos") and kind != name[:4]:
            raise BadInput(f"devices.{name}: '{device.model}' is a {kind} in the cards; name the other one")


def certify_cells(pdk: Pdk, engine: Engine, say: Callable[[str], None] | None = None) -> tuple[Finding, ...]:
    """Run the self-checking benches of every cell that the kit puts in place of ours, at its nominal supply.

    Raises BadInput naming the cell whose logic is wrong; a cell without a bench of its own is checked by those that
    use it. say: told what is about to run.
    """
    findings = []
    for name in pdk.cells:
        if name not in _CELL_BENCHES:
            findings.append(Finding(f"cell {name}", True, "no bench of its own; every bench that uses it checks it"))
        for bench, structure in _CELL_BENCHES.get(name, ()):
            if say is not None:
                say(f"cells.{name}: bench '{bench.kind}'")
            point = make_point(bench.point_type, {"corner": next(iter(pdk.corners)), "temp_c": ROOM_C,
                                                  "vdd_v": pdk.nominal_vdd_v, **structure})
            try:
                bench.measure(pdk, point, engine.run(bench.deck(pdk, point)))
            except SimulationFailed as error:
                hidden = pdk.confidential and not pdk.reveal and not isinstance(error, LogicError)
                why = WITHHELD if hidden else error.reason
                raise BadInput(f"cells.{name}: it does not pass its bench '{bench.kind}': {why}; mend the netlist or "
                               "its port order, or raise unit_ps where it needs more time") from None
            findings.append(Finding(f"cell {name}", True, f"bench '{bench.kind}' passes"))
        count, bare = pdk.own_transistors(name)
        if bare:
            findings.append(Finding(f"cell {name} diffusions", True, f"{bare} of {count} transistors state none "
                                    "(ad, as): unless their model makes them up, delay and energy lack theirs"))
    return tuple(findings)


def _temperature(pdk: Pdk, corner: str, hot_c: float, room_s: float, engine: Engine) -> list[Finding]:
    """The inverter's delay at the hot end: it must change; its direction depends on the supply and is shown."""
    found = evaluate(_inverter_deck(pdk, corner, pdk.header(corner), hot_c).measures,
                     engine.run(_inverter_deck(pdk, corner, pdk.header(corner), hot_c)))
    hot_s = (found["fall_s"] + found["rise_s"]) / 2
    changed = abs(hot_s / room_s - 1) > 1e-4
    return [Finding(f"{corner} temperature", changed, f"inverter delay {room_s / PICO:.1f} ps at {ROOM_C:g} °C, "
                                                      f"{hot_s / PICO:.1f} ps at {hot_c:g} °C")]


def largest_difference(one: Waveforms, other: Waveforms) -> float:
    """Largest difference of any signal of two runs, relative to that signal's largest value."""
    worst = 0.0
    for name, first in one.signals.items():
        second = np.interp(one.axis, other.axis, other.signals[name])
        scale = max(float(np.max(np.abs(first))), 1e-15)
        worst = max(worst, float(np.max(np.abs(first - second))) / scale)
    return worst


def _same_twice(pdk: Pdk, corner: str, engine: Engine) -> Finding:
    deck = _inverter_deck(pdk, corner, pdk.header(corner), ROOM_C)
    other = replace(deck, title="something else between", temp_c=ROOM_C + 1)  # so that the deck is parsed again
    first = engine.run(deck)
    engine.run(other)
    worst = largest_difference(first, engine.run(deck))
    return Finding(f"{corner} repeatable", worst <= SAME, f"two runs differ by {worst:.1e}"
                   + ("" if worst <= SAME else "; is mismatch left on in the cards?"))


def _complaints(pdk: Pdk, corner: str, engine: Engine) -> Finding:
    deck = _inverter_deck(pdk, corner, pdk.header(corner), ROOM_C)
    engine.run(replace(deck, title="parsed again", temp_c=ROOM_C + 2))
    log = engine.run(deck).log
    lines = [line.strip() for line in log if _COMPLAINT.search(line)]
    new = [line for line in lines if not any(known in line for known in pdk.accepted_warnings)]
    if new and pdk.confidential:
        number = f"{len(new)} line{'s' if len(new) > 1 else ''}"
        return Finding(f"{corner} cards", False, f"ngspice complains in {number}, withheld since the kit is "
                       f"confidential: {SEE_IT}; where that is harmless, list its text with a reason under "
                       "accepted_warnings", tuple(dict.fromkeys(new)) if pdk.reveal else ())
    if new:
        return Finding(f"{corner} cards", False, f"ngspice: {new[0][:120]} ({len(new)} such lines); where that is "
                                                 "harmless, list its text with a reason under accepted_warnings")
    return Finding(f"{corner} cards", True, "ngspice ignores nothing in them"
                   + (f" but {len(lines)} lines that the kit accepts" if lines else ""))


def prune_proof(pdk: Pdk, corner: str, engine: Engine) -> Finding:
    """The cards in use against the whole library, on the inverter and the 6T cell's devices."""
    decks = [replace(_inverter_deck(pdk, corner, header, ROOM_C), options=dict(DEFAULT_OPTIONS))
             for header in (pdk.header(corner), pdk.whole_header(corner))]
    begin = time.perf_counter()
    pruned = engine.run(decks[0])
    middle = time.perf_counter()
    whole = engine.run(decks[1])
    end = time.perf_counter()
    worst = largest_difference(pruned, whole)
    return Finding(f"{corner} pruned cards", worst <= SAME,
                   f"they and the whole library differ by {worst:.1e}; {middle - begin:.2f} s against "
                   f"{end - middle:.2f} s, {_size(len(pdk.cards(corner)))} of "
                   f"{_size(len(pdk.library(corner).whole()))}")


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e3:.0f} kB" if bytes_ >= 10_000 else f"{bytes_} B"


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
    unit = pdk.devices[name].unit
    per_m = on_a / (unit[0] / unit[2] if unit else pdk.geometry.wmin_m)
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


def _inverter_deck(pdk: Pdk, corner: str, header: str, temp_c: float) -> Deck:
    vdd_v, half_v = pdk.nominal_vdd_v, pdk.nominal_vdd_v / 2
    period_s = _PERIOD_S * pdk.unit_s / (60 * PICO)
    body = (header + dc("dd", "vdd", vdd_v) + logic("in", "in", (0, 1, 0), period_s, _SLEW_S, vdd_v)
            + "xn out in 0 0 nmos w={wmin} l={lmin}\nxp out in vdd vdd pmos w={2*wmin} l={lmin}\n"
            + f"cl out 0 {_LOAD_F:g}\n")
    measures = (
        Delay("fall_s", "in", half_v, "rise", "out", half_v, "fall"),
        Delay("rise_s", "in", half_v, "fall", "out", half_v, "rise"),
        Sample("high_v", "out", 0.9 * period_s), Sample("low_v", "out", 1.9 * period_s),
    )
    return Deck(f"inverter of {pdk.name} {corner}", body, temp_c,
                Transient(_STEP_S, 3 * period_s, _STEP_S), measures, save=("i(vdd)",))


def _inverter(pdk: Pdk, corner: str, engine: Engine) -> tuple[Finding, float]:
    vdd_v = pdk.nominal_vdd_v
    deck = _inverter_deck(pdk, corner, pdk.header(corner), ROOM_C)
    found = evaluate(deck.measures, engine.run(deck))
    good = found["high_v"] > (1 - RAIL_FRACTION) * vdd_v and found["low_v"] < RAIL_FRACTION * vdd_v
    delay_s = (found["fall_s"] + found["rise_s"]) / 2
    detail = (f"out {found['high_v']:.3f} V and {found['low_v']:.3f} V, fall {found['fall_s'] / PICO:.1f} ps, "
              f"rise {found['rise_s'] / PICO:.1f} ps")
    return Finding(f"{corner} inverter", good and delay_s > 0, detail), delay_s
