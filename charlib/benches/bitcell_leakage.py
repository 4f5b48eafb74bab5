"""Leakage of the 6T cell at rest, per stored state.

Two cells, one holding 0 and one holding 1, each with sources of its own on VDD, both bitlines, the wordline
and ground; the wells are tied to VDD and ground inside the cell, so their currents are counted there. It is
one DC solution, started from the stored states. A transient could not give it: what leaks in a nanosecond
lies below the simulator's charge tolerance.

Convention. Idle bitlines stand precharged at VDD, the wordline at 0; leakage is the sum of V·I over all
sources. From ss, -40 °C, 0.8 V to ff, 125 °C, 1.0 V it changes by less than
0.01 % between gmin 1e-15 and 1e-16 S.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, read_bit, table_of
from charlib.errors import LogicError
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, OperatingPoint
from charlib.spice.engine import Waveforms
from charlib.spice.sources import dc
from charlib.table import Origin, Table

STORED = (0, 1)
NETS = ("vdd", "bl", "blb", "wl", "vss")
#: what flows in must flow out again, but for gmin and the solver's tolerance
CLOSURE_SHARE = 0.01
CONVENTIONS = {
    "leakage": "sum of V x I over VDD, BL, BLB, WL and ground of one cell, wells included, per value of Q",
    "bitlines": "idle bitlines at VDD, wordline at 0",
    "gmin": "1e-15 S",
}


@dataclass(frozen=True)
class BitcellLeakagePoint(Point):
    """The cell has no structure parameters."""


class BitcellLeakage:
    """Bench "bitcell_leakage"; see the module's text."""

    kind = "bitcell_leakage"
    point_type = BitcellLeakagePoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({},)

    def estimated_cost_s(self, point: BitcellLeakagePoint) -> float:
        return 0.01

    @remembered
    def deck(self, pdk: Pdk, point: BitcellLeakagePoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        v = point.vdd_v
        body = pdk.header(point.corner) + pdk.subckts("sram_6t")
        for stored in STORED:
            level = {"vdd": v, "bl": v, "blb": v, "wl": 0.0, "vss": 0.0}
            body += "".join(dc(f"{net}{stored}", f"{net}{stored}", level[net]) for net in NETS)
            body += f"xcell{stored} bl{stored} blb{stored} wl{stored} vdd{stored} vss{stored} sram_6t\n"
            body += f".nodeset v(xcell{stored}.q)={stored * v:.10g} v(xcell{stored}.qb)={(1 - stored) * v:.10g}\n"
        return Deck("bitcell leakage", body, point.temp_c, OperatingPoint(),
                    save=(*(f"i(v{net}{stored})" for stored in STORED for net in NETS),
                          *(f"v(xcell{stored}.{net})" for stored in STORED for net in ("q", "qb"))))

    def measure(self, pdk: Pdk, point: BitcellLeakagePoint, waves: Waveforms) -> dict[str, float]:
        deck = self.deck(pdk, point)
        result: dict[str, float] = {}
        for stored in STORED:
            sides = tuple(read_bit(float(waves.signal(f"v(xcell{stored}.{net})")[-1]), point.vdd_v,
                                   f"cell storing {stored}, {net}") for net in ("q", "qb"))
            expect(f"cell storing {stored}: (q, qb)", sides, (stored, 1 - stored), deck, waves)
            current = {net: -float(waves.signal(f"i(v{net}{stored})")[-1]) for net in NETS}
            into = current["vdd"] + current["bl"] + current["blb"]
            lost = sum(current.values())
            if abs(lost) > CLOSURE_SHARE * abs(into):
                listed = ", ".join(f"{net} {value:.3g} A" for net, value in current.items())
                raise LogicError(f"cell storing {stored}: the currents into its ports ({listed}) add up to "
                                 f"{lost:.3g} A instead of nothing, so {abs(lost / into):.1%} of it leaves "
                                 "elsewhere: through node 0 or gnd inside the netlist, or a well tied to no port",
                                 deck.text(), "\n".join(waves.log[-20:]))
            result |= {f"i{stored}_{net}_a": value for net, value in current.items()}
            result[f"leakage_{stored}_w"] = point.vdd_v * into
        return result

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        return [table_of("bitcell_leakage_w", "W", {"stored": ""}, runs, origin, lambda run: [
            {"stored": str(stored), "value": run.measures[f"leakage_{stored}_w"]} for stored in STORED],
            CONVENTIONS)]


BENCH = BitcellLeakage()
