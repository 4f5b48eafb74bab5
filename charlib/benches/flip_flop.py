"""The flip-flop: its own energy a clock cycle, extra energy of a data change, clock-to-q, set-up.

One run has three parts: cycles with quiet data, cycles in which the data toggles every time, and a ladder of
cycles in which the data arrives later and later before the clock edge. Set-up is where clock-to-q has grown by
10 %, interpolated on the ladder, the worse of rising and falling data. Every cycle's captured value is
checked, but for ladder steps after the first miss.

Conventions. What charges the clock pin is its driver's, so it is the clock tree's (bench "clock_leaf") and no part of
the flip-flop's energy. What the local clock phases draw depends on the edge at the pin, so a second flip-flop, on a
supply of its own, takes the edge that a leaf of the tree gives: its buffer's output stage, wire, and the gates of the
leaf's other pins. All else is the first one's, whose pin an inverter drives; the driver's part of a data change is
counted in. Data comes from an ideal ramp, excluded. The output carries 1 fF. Time step: 1/60 of the window unit; at
tt, 0.8 V energy and clock-to-q then differ from a run at a tenth of it by less than 0.5 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.clock_leaf import BUFFER_DRIVE, leaf_wire
from charlib.benches.stimulus import expect, read_bit, table_of, window_unit_s
from charlib.errors import LogicError
from charlib.gates.serial import CLOCK_FAN_OUT
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate, first_crossing
from charlib.spice.sources import dc, logic, pwl
from charlib.table import Origin, Table
from charlib.units import FEMTO

QUIET, TOGGLING = 4, 6  #: cycles of the first two parts
#: ladder of data arrival before the clock's edge, in window units, each once rising and once falling
LADDER = (2.0, 0.8, 0.5, 0.35, 0.25, 0.15, 0.05, -0.05, -0.15, -0.25, -0.35, -0.45, -0.55)
CYCLE_UNITS = 10
STEPS_A_UNIT = 60
PUSH_OUT = 1.10
LOAD_F = 1 * FEMTO
CONVENTIONS = {
    "clock_internal": "the flip-flop's own supply energy a clock cycle with quiet data, at the edge of a leaf of "
                      "the clock tree, less leakage; the clock pin's charge is its driver's: clock_tree_j",
    "data": "extra supply energy of a cycle in which q toggles, the clock pin's driver and an output load of 1 fF "
            "included, data source excluded",
    "clock_to_q": "50 % of the clock pin to 50 % of q, worse edge, data long stable",
    "setup": "data arrival before the clock at which clock-to-q is 10 % longer, worse edge",
}


@dataclass(frozen=True)
class FlipFlopPoint(Point):
    """The flip-flop has no structure parameters."""


class FlipFlopBench:
    """Bench "flip_flop"; see the module's text."""

    kind = "flip_flop"
    point_type = FlipFlopPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({},)

    def estimated_cost_s(self, point: FlipFlopPoint) -> float:
        return 1.0

    def _data(self) -> list[int]:
        """The value to capture in each cycle."""
        quiet = [0] * QUIET
        toggling = [(k + 1) % 2 for k in range(TOGGLING)]
        return [*quiet, *toggling, *([1, 0] * len(LADDER)), 0, 1, 1]

    def _times(self, pdk: Pdk, point: FlipFlopPoint) -> tuple[float, float, float]:
        """(cycle, first clock edge, ramp)."""
        unit_s = window_unit_s(pdk, point)
        return CYCLE_UNITS * unit_s, 0.5 * CYCLE_UNITS * unit_s, 0.3 * unit_s

    @remembered
    def deck(self, pdk: Pdk, point: FlipFlopPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        cycle_s, first_s, ramp_s = self._times(pdk, point)
        data, v = self._data(), point.vdd_v
        clock_n = [1 - k % 2 for k in range(2 * len(data) + 1)]  # the driver inverts
        arrivals: list[tuple[float, float]] = [(0.0, data[0] * v)]
        for k in range(1, len(data)):
            if data[k] == data[k - 1]:
                continue
            rung = (k - QUIET - TOGGLING) // 2
            ahead = LADDER[rung] if 0 <= rung < len(LADDER) else LADDER[0]
            edge_s = first_s + k * cycle_s - ahead * window_unit_s(pdk, point)
            arrivals += [(edge_s - ramp_s / 2, data[k - 1] * v), (edge_s + ramp_s / 2, data[k] * v)]
        body = pdk.header(point.corner) + pdk.subckts("dff", "inv")
        body += dc("dd", "vdd", v) + dc("ck", "vck", v) + dc("lf", "vlf", v) + dc("other", "vother", v)
        body += logic("clkn", "clkn", clock_n, cycle_s / 2, ramp_s, v, start_s=first_s - cycle_s / 2)
        body += pwl("d", "d", arrivals) + "xck clkn clk vck 0 inv drive=2\nxdut d clk q vdd 0 dff\n"
        body += f"cl q 0 {LOAD_F:.6g}\n" + self._at_a_leaf(pdk)
        return Deck("flip-flop", body, point.temp_c,
                    Transient(cycle_s / 200, first_s + len(data) * cycle_s, window_unit_s(pdk, point) / STEPS_A_UNIT),
                    self._measures(point, cycle_s, first_s, len(data)), save=("v(clk)", "v(d)", "v(q)", "v(ql)"))

    def _at_a_leaf(self, pdk: Pdk) -> str:
        """A flip-flop whose clock edge is a leaf's; the other pins are gates, loaded as a flip-flop's own are."""
        others = CLOCK_FAN_OUT - 1
        return (f"xleaf clkn near vother 0 inv drive={BUFFER_DRIVE}\n" + leaf_wire("near", "far", pdk)
                + f"xothers far phase vother 0 inv drive={others}\nxphase phase next vother 0 inv drive={others}\n"
                + f"xdutl d far ql vlf 0 dff\nclleaf ql 0 {LOAD_F:.6g}\n")

    def _measures(self, point: FlipFlopPoint, cycle_s: float, first_s: float, cycles: int) -> tuple[Energy, ...]:
        def energy(name: str, begin: float, end: float) -> tuple[Energy, ...]:
            start = first_s + (begin - 0.25) * cycle_s
            stop = first_s + (end - 0.25) * cycle_s
            return tuple(Energy(f"{name}_{part}", source, point.vdd_v, start, stop)
                         for part, source in (("dff", "vdd"), ("clk", "vck"), ("leaf", "vlf")))

        end = cycles - 1.0
        return (*energy("quiet", 1, QUIET), *energy("toggle", QUIET, QUIET + TOGGLING),
                # rest: the last fifth of a high and of a low clock phase, stored 1
                *energy("high", end + 0.6, end + 0.73), *energy("low", end + 0.05, end + 0.23))

    def measure(self, pdk: Pdk, point: FlipFlopPoint, waves: Waveforms) -> dict[str, float]:
        deck = self.deck(pdk, point)
        raw = evaluate(deck.measures, waves)
        cycle_s, first_s, _ = self._times(pdk, point)
        data = self._data()
        data_j = sum(raw[f"toggle_{part}"] / TOGGLING - raw[f"quiet_{part}"] / (QUIET - 1) for part in ("dff", "clk"))
        rest_w = 0.5 * (raw["high_leaf"] / (0.13 * cycle_s) + raw["low_leaf"] / (0.18 * cycle_s))
        internal_j = raw["quiet_leaf"] / (QUIET - 1) - rest_w * cycle_s
        delays: dict[int, list[float]] = {0: [], 1: []}
        missed: set[int] = set()
        for k, wanted in enumerate(data):
            sampled = float(np.interp(first_s + (k + 0.45) * cycle_s, waves.axis, waves.signal("v(q)")))
            on_ladder = QUIET + TOGGLING <= k < QUIET + TOGGLING + 2 * len(LADDER)
            if on_ladder:
                if (sampled > point.vdd_v / 2) != bool(wanted):
                    missed.add(wanted)
                elif wanted not in missed:
                    delays[wanted].append(self._clock_to_q(waves, point, first_s + k * cycle_s, cycle_s, wanted))
                if 1 - wanted in missed:  # the value before was not captured, so this is no change
                    missed.add(wanted)
            elif not missed or k < QUIET + TOGGLING:
                got = read_bit(sampled, point.vdd_v, f"q in cycle {k}")
                expect(f"flip-flop, cycle {k}", got, wanted, deck, waves)
                at_leaf = float(np.interp(first_s + (k + 0.45) * cycle_s, waves.axis, waves.signal("v(ql)")))
                expect(f"flip-flop at a leaf, cycle {k}", read_bit(at_leaf, point.vdd_v, f"ql in cycle {k}"), wanted,
                       deck, waves)
        setup_s = max(self._setup(delays[bit], window_unit_s(pdk, point)) for bit in (0, 1))
        return {"clock_internal_j": internal_j, "data_j": data_j, "clock_to_q_s": max(delays[0][0], delays[1][0]),
                "setup_s": setup_s, **{k: raw[k] for k in ("quiet_dff", "toggle_dff")}}

    def _clock_to_q(self, waves: Waveforms, point: FlipFlopPoint, edge_s: float, cycle_s: float, bit: int) -> float:
        begin_s = edge_s - 0.1 * cycle_s
        clock_s = first_crossing(waves, "clk", point.vdd_v / 2, "rise", begin_s)
        return first_crossing(waves, "q", point.vdd_v / 2, "rise" if bit else "fall", begin_s) - clock_s

    def _setup(self, delays: Sequence[float], unit_s: float) -> float:
        """Where the ladder's clock-to-q passes PUSH_OUT times its first value; else the last rung that worked."""
        limit = PUSH_OUT * delays[0]
        if len(delays) < 2:
            raise LogicError("flip-flop: fewer than two ladder steps were captured; set-up cannot be found")
        for k in range(1, len(delays)):
            if delays[k] > limit:
                share = (limit - delays[k - 1]) / (delays[k] - delays[k - 1])
                return unit_s * (LADDER[k - 1] + share * (LADDER[k] - LADDER[k - 1]))
        return unit_s * LADDER[len(delays) - 1]

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        def table(name: str, unit: str, axis: str, keys: dict[str, str]) -> Table:
            return table_of(name, unit, {axis: ""}, runs, origin, lambda run: [
                {axis: label, "value": run.measures[key]} for label, key in keys.items()], CONVENTIONS)

        return [table("dff_energy_j", "J", "event", {"clock_internal": "clock_internal_j", "data": "data_j"}),
                table("dff_delay_s", "s", "metric", {"clock_to_q": "clock_to_q_s", "setup": "setup_s"})]


BENCH = FlipFlopBench()
