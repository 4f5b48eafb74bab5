"""How compartments of one macro differ: the bench "compartment" with every device's threshold drawn.

A point is sample `sample` of the stream `seed`; sample 0 draws nothing. The cycle is a reread XOR, the longest of the
three operations; measured are its energy, all lines and all four cases, and its phases. A sample that computes
wrongly fails its run. Devices that stand for the columns beyond the flat ones vary as the one wide device that they
are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run, remembered
from charlib.benches.bitcell_mismatch import spread
from charlib.benches.compartment import BENCH as PLAIN
from charlib.benches.compartment import CompartmentPoint
from charlib.benches.compartment_circuit import SUPPLY_OF_LINE
from charlib.benches.stimulus import grouped, ids
from charlib.errors import BadInput
from charlib.pdk.individual import individual
from charlib.pdk.mismatch import Pelgrom
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck
from charlib.spice.engine import Waveforms
from charlib.table import Origin, Table

OPERATION, POLICY = "xor", "reread"
DEFAULT_SAMPLES, DEFAULT_SEED = 60, 1
METRICS = ("energy_j", "read_s", "evaluate_s", "latch_s", "cycle_s")
CONVENTIONS = {
    "mismatch": "every device's threshold by Pelgrom, one device of a pair: σ = A_VT/√(2·W·L)",
    "cycle": "a reread XOR; energy is the mean of the four cases, all lines, leakage aside",
    "interval": "95 %: mean by Student's t, sigma by chi-squared",
    "statistic": "of values relative to the same circuit without mismatch",
}


@dataclass(frozen=True)
class CompartmentMismatchPoint(Point):
    """rows × columns, flat, and which sample; sample 0 is the circuit without mismatch."""

    rows: int
    columns: int
    seed: int
    sample: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0 or self.sample < 0:
            raise BadInput(f"seed, sample: at least 0 is needed, got {self.seed} and {self.sample}")
        _ = self.plain

    @property
    def plain(self) -> CompartmentPoint:
        """The point of the bench "compartment"."""
        return CompartmentPoint(self.corner, self.temp_c, self.vdd_v, self.rows, self.columns, OPERATION, POLICY)


class CompartmentMismatch:
    """Bench "compartment_mismatch"; see the module's text."""

    kind = "compartment_mismatch"
    point_type = CompartmentMismatchPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        if preset == "mismatch":
            for sample in range(DEFAULT_SAMPLES + 1):
                yield {"rows": 16, "columns": 4, "seed": DEFAULT_SEED, "sample": sample}

    def estimated_cost_s(self, point: CompartmentMismatchPoint) -> float:
        return PLAIN.estimated_cost_s(point.plain)

    @remembered
    def deck(self, pdk: Pdk, point: CompartmentMismatchPoint) -> Deck:
        if not isinstance(pdk.mismatch, Pelgrom):
            raise BadInput(f"mismatch: PDK '{pdk.name}' states no A_VT, which this bench needs; choose a kit with "
                           "Pelgrom's coefficient")
        deck = PLAIN.deck(pdk, point.plain)
        if own := [cell for cell in pdk.cells if f"\n.subckt {cell} " in deck.body]:
            raise BadInput(f"mismatch: PDK '{pdk.name}' has its own {own[0]}; its devices are not known to us and "
                           f"would stay equal; take [cells.{own[0]}] out of its pdk.toml, or this bench out of the "
                           "campaign")
        header = pdk.header(point.corner)
        rng = np.random.Generator(np.random.Philox(key=[point.seed, point.sample]))
        size = 1.0 if point.sample else 0.0
        pelgrom = pdk.mismatch

        def draw(wrapper: str, width_m: float, length_m: float) -> float:
            return size * pelgrom.sigma_v(wrapper, width_m, length_m) * float(rng.standard_normal())

        geometry = pdk.geometry
        body = individual(deck.body.removeprefix(header), geometry.wmin_m, geometry.lmin_m, draw)
        return replace(deck, title=f"{deck.title}, sample {point.sample} of stream {point.seed}",
                       body=pdk.mismatch_header(point.corner) + body)

    def measure(self, pdk: Pdk, point: CompartmentMismatchPoint, waves: Waveforms) -> dict[str, float]:
        found = PLAIN.measure(pdk, point.plain, waves)
        cases = [f"s{stored}_i{bit}" for stored in (0, 1) for bit in (0, 1)]
        energy_j = sum(found[f"{line}_{case}"] for line in SUPPLY_OF_LINE for case in cases) / len(cases)
        return {"energy_j": energy_j, **{name: found[name] for name in METRICS if name != "energy_j"},
                "leakage_w": found["leakage_w"]}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        """Statistics of each metric relative to sample 0."""
        rows = []
        for group in grouped(runs, "rows", "columns", "seed").values():
            plain = [run for run in group if not run.point.sample]
            samples = [run for run in group if run.point.sample]
            if not plain or len(samples) < 2:
                continue
            base = {name: getattr(plain[0].point, name) for name in (*PVT_UNITS, "rows", "columns")}
            for metric in (*METRICS, "leakage_w"):
                values = np.array([run.measures[metric] for run in samples]) / plain[0].measures[metric]
                rows += [{**base, "metric": metric, "statistic": name, "value": value, "run": ids(group)}
                         for name, value in spread(values).items()]
        if not rows:
            return []
        axes = {**PVT_UNITS, "rows": "", "columns": "", "metric": "", "statistic": ""}
        return [Table.from_records("compartment_mismatch", "1", axes, rows, origin, CONVENTIONS)]


BENCH = CompartmentMismatch()
