"""A leaf of the clock tree, flat: one buffer, its wire and the flip-flops that it drives, with quiet data.

Who pays what. A flip-flop's own table (bench "flip_flop") holds what its supply gives in a clock cycle: the local
clock phases and what they move. What charges the clock pins is their driver's, so this bench gives it to the tree:
buffer, wire and pins stand as "leaf", a flip-flop's share. The buffers above the leaves stand as "trunk": such a
buffer has as many pins of the same kind to charge, and a longer wire, of which each farad takes VDD² a cycle. "flat"
is everything that the leaf draws, flip-flops included, and it is there for a check: a flip-flop's own table and
"leaf" must come to it. Where a leaf's clock can be stopped, a clock gate stands before its buffer: beside the leaf
are two such gates, each before a buffer, of which one is closed ("gate_closed") and one open ("gate_open").

Every second flip-flop holds 1. What each holds is checked after every edge, and what the gates let through.

Conventions. The buffer is driven by an ideal ramp, excluded: its input is a load of the trunk. A gate's clock pins
are two where a buffer has one, so what its ideal source pushes, at VDD a coulomb, is counted with it. Leakage, read
at the end of both clock phases, is subtracted. The wire is a comb over the square of flip-flops (see
:func:`charlib.gates.serial.clock_tree`). Time step: 1/60 of the window unit, as for the flip-flop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.compartment_circuit import wire
from charlib.benches.stimulus import expect, read_bit, table_of, window_unit_s
from charlib.gates.serial import CLOCK_FAN_OUT, CLOCK_PITCHES, CLOCKED, clock_tree
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate, integral
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table

CYCLES = 4  #: the first only brings the data in
CYCLE_UNITS = 10
STEPS_A_UNIT = 60
PARTS = ("leaf", "trunk", "flat", "gate_closed", "gate_open")
SUPPLIES = ("vdd", "vck", "vgate0", "vgate1")
#: the buffer's second inverter
BUFFER_DRIVE = 3
#: shares of a cycle, from its rising edge, at which the high and the low phase rest, and how long it is looked at
HIGH_REST, LOW_REST, REST = 0.32, 0.82, 0.13
CONVENTIONS = {
    "leaf": f"supply energy a clock cycle and flip-flop of one buffer, its wire and the pins of its {CLOCK_FAN_OUT} "
            "flip-flops, less leakage",
    "trunk": f"the same of the levels of buffers and wires above, over {CLOCKED} flip-flops",
    "flat": "all that the leaf draws a clock cycle and flip-flop: leaf, and the flip-flops' own supply",
    "gate": "supply energy a clock cycle of one clock gate before a leaf's buffer, its clock pins' charge x VDD "
            "included, less leakage; gate_closed: enable low, gate_open: enable high",
    "data": "quiet, every second flip-flop holds 1",
    "wires": f"flip-flops at {CLOCK_PITCHES} cell pitches, a comb a level",
}


def leaf_wire(near: str, far: str, pdk: Pdk) -> str:
    """The wire of one leaf."""
    return wire("leaf", near, far, CLOCK_FAN_OUT * CLOCK_PITCHES * pdk.geometry.cell_pitch_m, pdk)


@dataclass(frozen=True)
class ClockLeafPoint(Point):
    """The leaf has no structure parameters."""


class ClockLeafBench:
    """Bench "clock_leaf"; see the module's text."""

    kind = "clock_leaf"
    point_type = ClockLeafPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({},)

    def estimated_cost_s(self, point: ClockLeafPoint) -> float:
        return 3.0

    def _cycle_s(self, pdk: Pdk, point: ClockLeafPoint) -> float:
        return CYCLE_UNITS * window_unit_s(pdk, point)

    @remembered
    def deck(self, pdk: Pdk, point: ClockLeafPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        cycle_s, v = self._cycle_s(pdk, point), point.vdd_v
        body = pdk.header(point.corner) + pdk.subckts("dff", "buffer", "inv", "clock_gate")
        body += "".join(dc(supply[1:], supply, v) for supply in (*SUPPLIES, "vone", "vload"))
        for net in ("clk", "clk0", "clk1"):  # rises in the middle of each cycle
            body += logic(net, net, [0, 1] * CYCLES + [0], cycle_s / 2, 0.3 * window_unit_s(pdk, point), v)
        for k, enable in enumerate(("0", "vone")):
            body += f"xgate{k} {enable} clk{k} gck{k} vgate{k} 0 clock_gate\nxload{k} gck{k} y{k} vload 0 buffer\n"
        body += f"xbuf clk near vck 0 buffer drive={BUFFER_DRIVE}\n" + leaf_wire("near", "far", pdk)
        body += "".join(f"xff{k} {'vone' if k % 2 else '0'} far q{k} vdd 0 dff\n" for k in range(CLOCK_FAN_OUT))
        return Deck("clock leaf", body, point.temp_c,
                    Transient(cycle_s / 200, (CYCLES + 0.5) * cycle_s, window_unit_s(pdk, point) / STEPS_A_UNIT),
                    self._measures(point, cycle_s), save=("v(far)", "i(vclk0)", "i(vclk1)"),
                    initial={f"q{k}": 0.0 for k in range(CLOCK_FAN_OUT)})

    def _measures(self, point: ClockLeafPoint, cycle_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        last_s = (CYCLES - 0.5) * cycle_s  # the last rising edge
        for source in SUPPLIES:
            measures += [Energy(f"cycles_{source}", source, point.vdd_v, 1.25 * cycle_s, (CYCLES + 0.25) * cycle_s),
                         *(Energy(f"{phase}_{source}", source, point.vdd_v, last_s + share * cycle_s,
                                  last_s + (share + REST) * cycle_s)
                           for phase, share in (("high", HIGH_REST), ("low", LOW_REST)))]
        measures += [Sample(f"gck{k}_{phase}", f"gck{k}", last_s + share * cycle_s)
                     for k in (0, 1) for phase, share in (("high", HIGH_REST), ("low", LOW_REST))]
        return (*measures, *(Sample(f"q{k}_{cycle}", f"q{k}", (cycle + 0.95) * cycle_s)
                             for cycle in range(CYCLES) for k in range(CLOCK_FAN_OUT)))

    def measure(self, pdk: Pdk, point: ClockLeafPoint, waves: Waveforms) -> dict[str, float]:
        deck, cycle_s = self.deck(pdk, point), self._cycle_s(pdk, point)
        raw = evaluate(deck.measures, waves)
        for cycle in range(CYCLES):
            for k in range(CLOCK_FAN_OUT):
                what = f"clock leaf, cycle {cycle}, flip-flop {k}"
                expect(what, read_bit(raw[f"q{k}_{cycle}"], point.vdd_v, what), k % 2, deck, waves)
        for k, passed in enumerate(((0, 0), (1, 0))):
            through = tuple(read_bit(raw[f"gck{k}_{phase}"], point.vdd_v, f"clock gate {k}, clock {phase}")
                            for phase in ("high", "low"))
            expect(f"clock gate {'closed' if k == 0 else 'open'}: (high, low)", through, passed, deck, waves)
        found = {}
        for source in SUPPLIES:
            rest_w = 0.5 * (raw[f"high_{source}"] + raw[f"low_{source}"]) / (REST * cycle_s)
            found[source] = raw[f"cycles_{source}"] / (CYCLES - 1) - rest_w * cycle_s
        leaf_j, flip_flop_j = found["vck"] / CLOCK_FAN_OUT, found["vdd"] / CLOCK_FAN_OUT
        gates = {f"gate_{name}_j": found[f"vgate{k}"] + self._pins_j(point, cycle_s, waves, k)
                 for k, name in enumerate(("closed", "open"))}
        return {"leaf_j": leaf_j, "trunk_j": self._trunk_j(pdk, point, leaf_j), "flat_j": leaf_j + flip_flop_j,
                **gates}

    def _pins_j(self, point: ClockLeafPoint, cycle_s: float, waves: Waveforms, gate: int) -> float:
        """Joules a cycle of a driver that charges a gate's clock pins: what the ideal source pushes, at VDD."""
        pushed_a = np.maximum(-waves.signal(f"i(vclk{gate})"), 0.0)
        drawn = integral(waves.axis, pushed_a, 1.25 * cycle_s, (CYCLES + 0.25) * cycle_s)
        return float(point.vdd_v * drawn / (CYCLES - 1))

    def _trunk_j(self, pdk: Pdk, point: ClockLeafPoint, leaf_j: float) -> float:
        """Levels above the leaves, a flip-flop: the leaf's buffer and pins, and what their wires have more."""
        tree = clock_tree(CLOCKED, CLOCK_PITCHES * pdk.geometry.cell_pitch_m, CLOCK_FAN_OUT)
        leaf_wire_m = tree.wires_m[0] / tree.buffers[0]
        joules = 0.0
        for buffers, wire_m in zip(tree.buffers[1:], tree.wires_m[1:], strict=True):
            longer_f = (wire_m - buffers * leaf_wire_m) * pdk.geometry.wire_f_per_m
            joules += buffers * CLOCK_FAN_OUT * leaf_j + longer_f * point.vdd_v**2
        return joules / CLOCKED

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        return [table_of("clock_tree_j", "J", {"part": ""}, runs, origin, lambda run: [
            {"part": part, "value": run.measures[f"{part}_j"]} for part in PARTS], CONVENTIONS)]


BENCH = ClockLeafBench()
