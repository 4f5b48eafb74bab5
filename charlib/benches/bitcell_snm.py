"""Static noise margins of the 6T cell, hold and read.

The loop is broken: one half-cell's curve is taken with its input swept and its access device attached, and
the other half's in the same sweep. The two curves, one of them mirrored, enclose two lobes; the margin is the
side of the largest square that fits into the smaller one (Seevinck 1987). Turned by 45°, such a square's
diagonal is a distance along one axis, so the margin is the greatest distance over √2. A negative margin means
that a lobe is missing: the cell does not hold that state; its size is then the closest approach of the two curves.

Conditions. Read: WL = BL = BLB = VDD. Hold: WL = 0, both bitlines at VDD. The sweep takes 1/200 of VDD a step;
a tenth of it changes the margins by less than 0.05 % at tt, 25 °C, 0.8 V.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, table_of
from charlib.errors import BadInput
from charlib.pdk.model import Pdk
from charlib.spice.deck import DcSweep, Deck
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.sources import dc
from charlib.table import Origin, Table

MODES = ("hold", "read")
SWEEP_STEPS = 200
GRID_POINTS = 2001  #: of the turned axis, per pair of curves
CONVENTIONS = {
    "snm": "largest square in the smaller lobe (Seevinck), loop broken, both access devices attached",
    "hold_snm": "WL = 0, BL = BLB = VDD",
    "read_snm": "WL = BL = BLB = VDD",
}


def static_noise_margin(v_in: FloatArray, left_out: FloatArray, right_out: FloatArray) -> float:
    """Side of the largest square in the smaller lobe of two inverter curves over the same inputs, in volts."""
    return min(lobes(v_in, left_out, right_out))


def lobes(v_in: FloatArray, left_out: FloatArray, right_out: FloatArray) -> tuple[float, float]:
    """Sides of the largest squares in the upper and the lower lobe of two inverter curves, in volts.

    left_out is drawn as y over x = v_in, right_out mirrored, as x over y = v_in. Both curves must fall.
    """
    if not len(v_in) == len(left_out) == len(right_out) >= 2 or np.any(np.diff(v_in) <= 0):
        raise BadInput("static_noise_margin: it needs curves of equal length, at least 2, over an increasing input")
    # u runs along the falling diagonal and is monotone on a falling curve; w runs along the rising diagonal
    u_left, w_left = (v_in - left_out) / np.sqrt(2), (v_in + left_out) / np.sqrt(2)
    u_right, w_right = (right_out - v_in) / np.sqrt(2), (right_out + v_in) / np.sqrt(2)
    low, high = max(u_left.min(), u_right.min()), min(u_left.max(), u_right.max())
    u = np.linspace(low, high, GRID_POINTS)
    gap = np.interp(u, u_left, w_left) - np.interp(u, u_right[::-1], w_right[::-1])
    middle = _middle(u, gap)
    upper, lower = gap[u <= middle], -gap[u >= middle]
    return float(upper.max() / np.sqrt(2)), float(lower.max() / np.sqrt(2))


def _middle(u: FloatArray, gap: FloatArray) -> float:
    """Where the curves cross at the metastable point: the falling zero of `gap` nearest to the middle.

    Without one, a lobe is missing; the turned axis' zero then divides the curves.
    """
    falling = np.flatnonzero((gap[:-1] > 0) & (gap[1:] <= 0))
    if len(falling) == 0:
        return 0.0
    best = falling[np.argmin(np.abs(u[falling]))]
    return float(u[best] + gap[best] / (gap[best] - gap[best + 1]) * (u[best + 1] - u[best]))


@dataclass(frozen=True)
class SnmPoint(Point):
    """mode: "hold" or "read"."""

    mode: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in MODES:
            raise BadInput(f"mode: '{self.mode}' is unknown; known are {', '.join(MODES)}")


class BitcellSnm:
    """Bench "bitcell_snm"; see the module's text."""

    kind = "bitcell_snm"
    point_type = SnmPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({"mode": mode} for mode in MODES)

    def estimated_cost_s(self, point: SnmPoint) -> float:
        return 0.05

    @remembered
    def deck(self, pdk: Pdk, point: SnmPoint) -> Deck:
        """Two whole cells; in one a follower of the sweep holds q and qb answers, in the other the reverse.

        The held node's own half only loads the ideal source, so the answering half is the broken loop.
        """
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        v = point.vdd_v
        body = pdk.header(point.corner) + pdk.subckts("sram_6t") + dc("dd", "vdd", v) + dc("in", "in", 0.0)
        body += dc("bl", "bl", v) + dc("wl", "wl", v if point.mode == "read" else 0.0)
        body += "xl bl bl wl vdd 0 sram_6t\nxr bl bl wl vdd 0 sram_6t\n"
        body += "el xl.q 0 in 0 1\ner xr.qb 0 in 0 1\n"
        return Deck(f"bitcell {point.mode} SNM", body, point.temp_c,
                    DcSweep("vin", 0.0, v, v / SWEEP_STEPS), save=("v(in)", "v(xl.qb)", "v(xr.q)"))

    def measure(self, pdk: Pdk, point: SnmPoint, waves: Waveforms) -> dict[str, float]:
        deck = self.deck(pdk, point)
        v_in, left, right = (waves.signal(f"v({net})") for net in ("in", "xl.qb", "xr.q"))
        for name, curve in (("qb over q", left), ("q over qb", right)):
            half = point.vdd_v / 2
            expect(f"half-cell {name} inverts", bool(curve[0] > half > curve[-1]), True, deck, waves)
            expect(f"half-cell {name} falls", bool(np.all(np.diff(curve) < 1e-6 * point.vdd_v)), True, deck, waves)
        return {"snm_v": static_noise_margin(v_in, left, right), "low_v": float(left[-1])}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        return [table_of("bitcell_margin_v", "V", {"margin": ""}, runs, origin, lambda run: [
            {"margin": f"{run.point.mode}_snm", "value": run.measures["snm_v"]}], CONVENTIONS)]


BENCH = BitcellSnm()
