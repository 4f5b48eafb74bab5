"""Margins of one 6T cell whose six devices differ: a Monte Carlo sample, or a chosen deviation.

A point says by itself what is drawn: sample number `sample` of the stream `seed` is a vector z of standard normals,
one or more a device (see :mod:`charlib.pdk.mismatch`). With `means`, z comes from a mixture: with probability
`defensive` around the origin, else around one of the means, which is importance sampling; `spread` 0 gives the
mean itself. The weight of a sample is the ratio of the two densities and stands among the measures.

Margins, in volts, a negative one being a failure. read_snm, hold_snm: the two lobes of the butterfly, one a stored
value, as in bench "bitcell_snm". write: BL voltage at which a stored 1 gives way as BL falls, WL = BLB = VDD, as in
"bitcell_write_margin"; a cell that holds out to -VDD/2 counts as that. Writing the other value is its mirror.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run, remembered
from charlib.benches.bitcell_snm import SWEEP_STEPS, lobes
from charlib.benches.stimulus import grouped, ids
from charlib.errors import BadInput, SimulationFailed
from charlib.netlist import netlist_text
from charlib.pdk.mismatch import Pelgrom, Varied, devices_of, open_netlist
from charlib.pdk.model import Pdk
from charlib.spice.deck import DcSweep, Deck, Transient
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.measure import crossings
from charlib.spice.sources import dc, pwl
from charlib.table import Origin, Table
from charlib.units import NANO

METRICS = ("read_snm", "hold_snm", "write")
CELL = "sram_6t"
DEFAULT_SAMPLES, DEFAULT_SEED = 200, 1
SETTLE_S, RAMP_S, RAMP_STEPS, BEYOND = 1 * NANO, 100 * NANO, 1000, 0.5
CONFIDENCE = 0.95
CONVENTIONS = {
    "mismatch": "per device; Pelgrom: σ = A_VT/√(2·W·L), or the kit's own terms",
    "read_snm, hold_snm": "smaller lobe of the butterfly, as bench bitcell_snm",
    "write": "BL voltage at the flip as BL falls 1 VDD in 100 ns, WL = BLB = VDD",
    "interval": "95 %: mean by Student's t, sigma by chi-squared, failing share by Clopper and Pearson",
}


@dataclass(frozen=True)
class MismatchPoint(Point):
    """Which margin, and which deviation: see the module's text. means: of equal length, in sigmas."""

    metric: str
    seed: int
    sample: int
    means: tuple[tuple[float, ...], ...] = ()
    defensive: float = 1.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "means", tuple(tuple(float(x) for x in mean) for mean in self.means))
        if self.metric not in METRICS:
            raise BadInput(f"metric: '{self.metric}' is unknown; known are {', '.join(METRICS)}")
        for name in ("seed", "sample"):
            if getattr(self, name) < 0:
                raise BadInput(f"{name}: must not be negative, got {getattr(self, name)}")
        if not 0 <= self.defensive <= 1 or (self.defensive < 1) != bool(self.means):
            raise BadInput(f"defensive: a share in 0..1, below 1 only with means, got {self.defensive:g}")

    def draw(self, size: int) -> FloatArray:
        """The vector z, shape (size,), in sigmas."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, self.sample]))
        pick, noise = rng.random(), rng.standard_normal(size)
        mean = np.zeros(size)
        if self.means and pick >= self.defensive:
            share = (pick - self.defensive) / (1 - self.defensive)
            mean = np.asarray(self.means[min(int(share * len(self.means)), len(self.means) - 1)])
            if len(mean) != size:
                raise BadInput(f"means: this cell takes {size} deviations, got {len(mean)}")
        return np.asarray(mean + self.spread * noise)

    def weight(self, z: FloatArray) -> float:
        """Density of z without the means over its density with them."""
        if not self.means:
            return 1.0
        logs = [math.log(self.defensive)] if self.defensive > 0 else []
        share = math.log((1 - self.defensive) / len(self.means))
        logs += [share + float(np.dot(z, mean) - 0.5 * np.dot(mean, mean)) for mean in self.means]
        top = max(logs)
        return math.exp(-top) / sum(math.exp(value - top) for value in logs)


class BitcellMismatch:
    """Bench "bitcell_mismatch"; see the module's text."""

    kind = "bitcell_mismatch"
    point_type = MismatchPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        if preset != "mismatch":
            return
        for metric in METRICS:
            for sample in range(DEFAULT_SAMPLES):
                yield {"metric": metric, "seed": DEFAULT_SEED, "sample": sample}

    def estimated_cost_s(self, point: MismatchPoint) -> float:
        return 0.015

    def devices(self, pdk: Pdk) -> tuple[Varied, ...]:
        """The devices of the cell. BadInput where the kit has a cell of its own in its place."""
        if CELL in pdk.cells:
            raise BadInput(f"mismatch: PDK '{pdk.name}' has its own {CELL}; its devices are not known to us")
        return devices_of(netlist_text(CELL), pdk.geometry.wmin_m, pdk.geometry.lmin_m)

    def size(self, pdk: Pdk, corner: str) -> int:
        """How many standard normals a sample of the cell has."""
        return sum(pdk.mismatch_terms(corner, device.wrapper) for device in self.devices(pdk))

    def _parameters(self, pdk: Pdk, point: MismatchPoint) -> tuple[str, dict[str, str], str]:
        """(what the cell's instances carry, what each device line passes on, parameter names of the cell)."""
        z = point.draw(self.size(pdk, point.corner))
        given, passed, names, k = [], {}, [], 0
        for device in self.devices(pdk):
            count = pdk.mismatch_terms(point.corner, device.wrapper)
            if isinstance(pdk.mismatch, Pelgrom):
                sigma_v = pdk.mismatch.sigma_v(device.wrapper, device.width_m, device.length_m)
                own = {f"dvt_{device.instance}": sigma_v * z[k]}
                passed[device.instance] = f"dvt={{dvt_{device.instance}}}"
            else:
                own = {f"mm{i}_{device.instance}": z[k + i] for i in range(count)}
                passed[device.instance] = " ".join(f"mm{i}={{mm{i}_{device.instance}}}" for i in range(count))
            given += [f"{name}={value:.8g}" for name, value in own.items()]
            names += list(own)
            k += count
        return " ".join(given), passed, " ".join(names)

    @remembered
    def deck(self, pdk: Pdk, point: MismatchPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        given, passed, names = self._parameters(pdk, point)
        v = point.vdd_v
        body = pdk.mismatch_header(point.corner) + open_netlist(netlist_text(CELL), CELL, names.split(), passed)
        body += dc("dd", "vdd", v)
        if point.metric == "write":
            stop_s = SETTLE_S + (1 + BEYOND) * RAMP_S
            body += pwl("bl", "bl", [(0.0, v), (SETTLE_S, v), (stop_s, -BEYOND * v)])
            body += f"xb bl vdd vdd vdd 0 {CELL} {given}\n"
            return Deck(f"bitcell write, sample {point.sample} of stream {point.seed}", body, point.temp_c,
                        Transient(SETTLE_S / 10, stop_s, RAMP_S / RAMP_STEPS),
                        save=("v(bl)", "v(xb.q)", "v(xb.qb)"), initial={"xb.q": v, "xb.qb": 0.0})
        body += dc("in", "in", 0.0) + dc("bl", "bl", v) + dc("wl", "wl", v if point.metric == "read_snm" else 0.0)
        body += f"xl bl bl wl vdd 0 {CELL} {given}\nxr bl bl wl vdd 0 {CELL} {given}\n"
        body += "el xl.q 0 in 0 1\ner xr.qb 0 in 0 1\n"
        return Deck(f"bitcell {point.metric}, sample {point.sample} of stream {point.seed}", body, point.temp_c,
                    DcSweep("vin", 0.0, v, v / SWEEP_STEPS), save=("v(in)", "v(xl.qb)", "v(xr.q)"))

    def measure(self, pdk: Pdk, point: MismatchPoint, waves: Waveforms) -> dict[str, float]:
        weight = point.weight(point.draw(self.size(pdk, point.corner)))
        if point.metric == "write":
            gap = waves.signal("v(xb.qb)") - waves.signal("v(xb.q)")
            if gap[0] > -0.5 * point.vdd_v:
                raise SimulationFailed("the cell does not hold a 1 before it is written")
            flips_s = crossings(waves.axis, gap, 0.0, "rise")
            at_v = float(np.interp(flips_s[0], waves.axis, waves.signal("v(bl)"))) if len(flips_s) \
                else -BEYOND * point.vdd_v
            return {"margin_v": at_v, "region0_v": at_v, "weight": weight}
        v_in, left, right = (waves.signal(f"v({net})") for net in ("in", "xl.qb", "xr.q"))
        upper, lower = lobes(v_in, left, right)
        return {"margin_v": min(upper, lower), "region0_v": upper, "region1_v": lower, "weight": weight}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        """Statistics of the plain samples; those of importance sampling are in charlib.campaign.failure."""
        plain = [run for run in runs if not run.point.means and run.point.spread == 1.0]
        margins, shares = [], []
        for group in grouped(plain, "metric").values():
            if len(group) < 2:
                continue
            point = group[0].point
            base = {name: getattr(point, name) for name in (*PVT_UNITS, "metric")} | {"run": ids(group)}
            values = np.array([run.measures["margin_v"] for run in group])
            margins += [{**base, "statistic": name, "value": value} for name, value in spread(values).items()]
            failed = int(np.sum(values < 0))
            low, high = clopper_pearson(failed, len(values))
            shares += [{**base, "statistic": name, "value": value} for name, value in
                       (("estimate", failed / len(values)), ("low", low), ("high", high))]
        if not margins:
            return []
        axes = {**PVT_UNITS, "metric": "", "statistic": ""}
        return [Table.from_records("bitcell_mismatch_v", "V", axes, margins, origin, CONVENTIONS),
                Table.from_records("bitcell_failing_share", "1", axes, shares, origin, CONVENTIONS)]


def spread(values: FloatArray) -> dict[str, float]:
    """Mean and standard deviation with their intervals, and the smallest value."""
    from scipy import stats  # half a second to import, so only where it is used

    count = len(values)
    mean, sigma = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * sigma / math.sqrt(count)
    tail = (1 - CONFIDENCE) / 2
    low, high = (sigma * math.sqrt((count - 1) / stats.chi2.ppf(q, count - 1)) for q in (1 - tail, tail))
    return {"mean": mean, "mean_low": mean - half, "mean_high": mean + half, "sigma": sigma, "sigma_low": float(low),
            "sigma_high": float(high), "least": float(np.min(values))}


def clopper_pearson(failed: int, count: int) -> tuple[float, float]:
    """Exact 95 % interval of a share."""
    from scipy import stats

    tail = (1 - CONFIDENCE) / 2
    low = float(stats.beta.ppf(tail, failed, count - failed + 1)) if failed else 0.0
    high = float(stats.beta.ppf(1 - tail, failed + 1, count - failed)) if failed < count else 1.0
    return low, high


BENCH = BitcellMismatch()
