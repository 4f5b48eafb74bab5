"""Write margins of the 6T cell, by bitline sweep and by wordline sweep.

Two cells in one deck, both holding 1. Bitline sweep: wordline at VDD, BLB at VDD, BL comes down from VDD; the
margin is the BL voltage at which the cell flips. Wordline sweep: BL at 0, BLB at VDD, WL comes up from 0; the
margin is VDD less the WL voltage at which the cell flips. A cell that flips only beyond the rail, so that it
cannot be written, has a negative margin; the sweeps go half of VDD beyond the rail to find it.

A DC sweep of a bistable circuit may jump anywhere between its fold points, so the sweep is a slow transient
ramp, 1 µs per VDD with steps of at most VDD/1000. At tt, 25 °C, 0.8 V a ramp ten times slower moves both margins by
less than 0.5 mV; a hundred steps instead of a thousand move them by 2 mV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, table_of
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, pwl
from charlib.table import Origin, Table
from charlib.units import MICRO, NANO

SETTLE_S = 1 * NANO
RAMP_S = 1 * MICRO  #: for one VDD of sweep
BEYOND = 0.5  #: share of VDD that the sweep goes beyond the rail
RAMP_STEPS = 1000
CONVENTIONS = {
    "write_bitline": "BL voltage at the crossing of Q and QB as BL falls from VDD; WL = BLB = VDD, Q held 1",
    "write_wordline": "VDD less the WL voltage at the crossing of Q and QB as WL rises from 0; BL = 0, BLB = VDD",
    "write_ramp": "transient ramp of 1 µs per VDD",
}
#: margin -> (cell, swept net)
SWEEPS = {"write_bitline": ("xb", "bl"), "write_wordline": ("xw", "wl")}


@dataclass(frozen=True)
class WriteMarginPoint(Point):
    """The cell has no structure parameters."""


class BitcellWriteMargin:
    """Bench "bitcell_write_margin"; see the module's text."""

    kind = "bitcell_write_margin"
    point_type = WriteMarginPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({},)

    def estimated_cost_s(self, point: WriteMarginPoint) -> float:
        return 0.1

    @remembered
    def deck(self, pdk: Pdk, point: WriteMarginPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        v, stop_s = point.vdd_v, SETTLE_S + (1 + BEYOND) * RAMP_S
        body = pdk.header(point.corner) + pdk.subckts("sram_6t") + dc("dd", "vdd", v)
        body += pwl("bl", "bl", [(0.0, v), (SETTLE_S, v), (stop_s, -BEYOND * v)])
        body += pwl("wl", "wl", [(0.0, 0.0), (SETTLE_S, 0.0), (stop_s, (1 + BEYOND) * v)])
        body += "xb bl vdd vdd vdd 0 sram_6t\nxw 0 vdd wl vdd 0 sram_6t\n"
        initial = {f"{cell}.{side}": volt for cell, _ in SWEEPS.values() for side, volt in (("q", v), ("qb", 0.0))}
        held = tuple(Sample(f"{name}_{side}", f"{cell}.{side}", at_s)
                     for cell, _ in SWEEPS.values() for name, at_s in ((f"{cell}_held", SETTLE_S),
                                                                      (f"{cell}_written", stop_s))
                     for side in ("q", "qb"))
        return Deck("bitcell write margins", body, point.temp_c,
                    Transient(SETTLE_S / 10, stop_s, RAMP_S / RAMP_STEPS), held,
                    save=("v(bl)", "v(wl)"), initial=initial)

    def measure(self, pdk: Pdk, point: WriteMarginPoint, waves: Waveforms) -> dict[str, float]:
        deck, v = self.deck(pdk, point), point.vdd_v
        raw = evaluate(deck.measures, waves)
        result: dict[str, float] = {}
        for margin, (cell, swept) in SWEEPS.items():
            for when, wanted in (("held", 1), ("written", 0)):
                difference = raw[f"{cell}_{when}_q"] - raw[f"{cell}_{when}_qb"]
                got = 1 if difference > v / 2 else 0 if difference < -v / 2 else None
                expect(f"{margin}: value {when}", got, wanted, deck, waves)
            flips_s = crossings(waves.axis, waves.signal(f"v({cell}.qb)") - waves.signal(f"v({cell}.q)"), 0.0, "rise")
            expect(f"{margin}: number of flips", len(flips_s), 1, deck, waves)
            at_v = float(np.interp(flips_s[0], waves.axis, waves.signal(f"v({swept})")))
            result[f"{margin}_v"] = at_v if swept == "bl" else v - at_v
        return result

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        return [table_of("bitcell_margin_v", "V", {"margin": ""}, runs, origin, lambda run: [
            {"margin": margin, "value": run.measures[f"{margin}_v"]} for margin in SWEEPS], CONVENTIONS)]


BENCH = BitcellWriteMargin()
