"""Adder trees: energy a vector sum against lanes, width and activity; delay; joules a toggle.

One run has two parts. A pair of vectors that settles last in the unit-delay logic model (found among
directed and random pairs) gives the delay; random vectors, whose bits toggle with probability `activity`,
give the energy. Every sum is checked against the integer sum.

The fold turns energies into a composition constant. Toggles of the unit-delay model, input nets included,
are counted on the very vectors that were simulated; one number of joules a toggle is fitted over the small
trees (least squares through zero) and judged on the largest, which the fit has not seen. Trees too large
for SPICE are then toggles × that number.

Conventions. Every input is driven by a real inverter, whose supply is counted in: whoever feeds the tree
need not charge its pins. The inverter's own gate is fed by an ideal ramp, excluded. Leakage, taken
from the DC state before the first change, is subtracted. Each net carries the wire of one cell pitch; each output one
more cell's input. Time step: 1/12 of the window unit (5 ps at the
nominal supply); at 1/10, energy and delay of a 2 x 4 tree differ from 1/200 by 0.1 % and 0.9 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, grouped, ids, read_bit, table_of, window_unit_s
from charlib.benches.structure import structure_tables
from charlib.errors import BadInput
from charlib.gates import Block, adder_tree, random_vectors, unit_delay
from charlib.gates.logic import Bits, bits_to_integers
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table
from charlib.units import FEMTO, PICO

SEED = 20230101
STEPS = 8  #: random vector sums a run
STEPS_A_UNIT = 12
SLEW_S = 20 * PICO
OUTPUT_LOAD_F = 3 * FEMTO  #: about the pin of the next full adder or of a flip-flop
CANDIDATES = 4096
CONVENTIONS = {
    "operation": "one change of all lanes; mean over the seeded random vectors of the run",
    "activity": "probability that an input bit toggles from one operation to the next",
    "energy": "supply energy of the tree and of its input inverters, leakage subtracted",
    "delay": "first input pin's 50 % to last output's 50 %, vector pair that settles last in the unit-delay model, "
             "or a random one if slower",
    "wires": "one cell pitch of intermediate wire a net",
}


@dataclass(frozen=True)
class AdderTreePoint(Point):
    """A tree and how busy its inputs are."""

    lanes: int
    bits: int
    activity: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lanes < 2:
            raise BadInput(f"lanes: must be at least 2, got {self.lanes}")
        if self.bits < 1:
            raise BadInput(f"bits: must be at least 1, got {self.bits}")
        if not 0 < self.activity <= 1:
            raise BadInput(f"activity: must lie in (0, 1], got {self.activity:g}")


@cache
def slowest_pair(lanes: int, bits: int) -> Bits:
    """(2, lanes·bits): the pair of vectors whose step settles last in the unit-delay model.

    Candidates: lanes at zero, one, all ones or random, before and after, chosen at random with a fixed seed.
    """
    rng = np.random.Generator(np.random.Philox(SEED))
    shape = (2 * CANDIDATES, lanes, bits)
    patterns = np.stack([np.zeros(shape), np.eye(1, bits)[np.newaxis] * np.ones(shape), np.ones(shape),
                         rng.random(shape) < 0.5])
    kind = rng.integers(0, len(patterns), size=(2 * CANDIDATES, lanes, 1))
    vectors = np.choose(kind, patterns).reshape(2 * CANDIDATES, lanes * bits).astype(np.uint8)
    settled = unit_delay(adder_tree(lanes, bits), vectors).settled_at
    best = int(np.argmax(settled))
    return vectors[best:best + 2]


class AdderTreeBench:
    """Bench "adder_tree"; see the module's text."""

    kind = "adder_tree"
    point_type = AdderTreePoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        # the same in every preset: the worst delay and the fitted joules are taken over all of these runs
        for lanes, bits, activity in itertools.product((2, 4), (4, 8), (0.1, 0.5)):
            yield {"lanes": lanes, "bits": bits, "activity": activity}

    def estimated_cost_s(self, point: AdderTreePoint) -> float:
        return float(0.006 * (point.lanes * point.bits) ** 2)

    def vectors(self, point: AdderTreePoint) -> Bits:
        """The pair for the delay, then the random ones."""
        random = random_vectors(point.lanes * point.bits, STEPS + 1, point.activity, SEED)
        return np.vstack([slowest_pair(point.lanes, point.bits), random])

    def _window_s(self, pdk: Pdk, point: AdderTreePoint, block: Block) -> float:
        depth = max(block.levels().values())
        return (depth + 3) * window_unit_s(pdk, point)

    @remembered
    def deck(self, pdk: Pdk, point: AdderTreePoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        block, vectors = adder_tree(point.lanes, point.bits), self.vectors(point)
        window_s, v = self._window_s(pdk, point, block), point.vdd_v
        wire_f = pdk.geometry.wire_f_per_m * pdk.geometry.cell_pitch_m
        cells = pdk.subckts(*sorted({i.cell for i in block.instances}), "inv")
        body = pdk.header(point.corner) + cells + block.subckt(wire_f) + dc("dd", "vdd", v) + dc("in", "vin", v)
        for k, net in enumerate(block.inputs):
            body += logic(f"n{net}", f"n{net}", [1 - int(bit) for bit in vectors[:, k]], window_s, SLEW_S, v)
            body += f"xd{net} n{net} {net} vin 0 inv drive=2\nc{net} {net} 0 {wire_f:.6g}\n"
        ports = [*block.inputs, *block.outputs, "vdd", "0"]
        body += "xdut " + "\n+ ".join(" ".join(ports[i:i + 16]) for i in range(0, len(ports), 16))
        body += f" {block.name}\n" + "".join(f"cl{net} {net} 0 {OUTPUT_LOAD_F:.6g}\n" for net in block.outputs)
        unit_s = window_unit_s(pdk, point)
        saved = tuple(f"v({net})" for net in block.inputs)
        return Deck(f"adder tree {point.lanes} x {point.bits}", body, point.temp_c,
                    Transient(unit_s, len(vectors) * window_s, unit_s / STEPS_A_UNIT),
                    self._measures(v, block, len(vectors), window_s), save=saved)

    def _measures(self, vdd_v: float, block: Block, vectors: int, window_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        for source in ("vdd", "vin"):  # the first vector stands from the operating point on: pure leakage
            measures += [Energy(f"e_{source}", source, vdd_v, 3 * window_s, vectors * window_s),
                         Energy(f"rest_{source}", source, vdd_v, 0.0, 0.9 * window_s)]
        measures += [Sample(f"y{k}_{net}", net, (k + 0.98) * window_s)
                     for k in range(vectors) for net in block.outputs]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: AdderTreePoint, waves: Waveforms) -> dict[str, float]:
        deck, block, vectors = self.deck(pdk, point), adder_tree(point.lanes, point.bits), self.vectors(point)
        raw = evaluate(deck.measures, waves)
        window_s = self._window_s(pdk, point, block)
        lanes = vectors.reshape(len(vectors) * point.lanes, point.bits)
        sums = np.array(bits_to_integers(lanes)).reshape(len(vectors), point.lanes).sum(axis=1)
        for k, total in enumerate(sums):
            bits = [read_bit(raw[f"y{k}_{net}"], point.vdd_v, f"sum bit {net} of vector {k}")
                    for net in block.outputs]
            expect(f"adder tree, vector {k}", sum(bit << j for j, bit in enumerate(bits)), int(total), deck, waves)
        energy, rest = {}, {}
        for source in ("vdd", "vin"):
            rest[source] = raw[f"rest_{source}"] / (0.9 * window_s)
            energy[source] = raw[f"e_{source}"] / STEPS - rest[source] * window_s
        return {"energy_j": energy["vdd"] + energy["vin"], "input_energy_j": energy["vin"],
                "delay_s": self._delay_s(point, block, waves, window_s), "leakage_w": rest["vdd"],
                "toggles": float(self.toggles(point)), "e_vdd": raw["e_vdd"], "e_vin": raw["e_vin"]}

    def toggles(self, point: AdderTreePoint) -> float:
        """Toggles an operation of input nets and cell outputs, on the simulated random vectors."""
        return mean_toggles(adder_tree(point.lanes, point.bits), self.vectors(point)[2:])

    def _delay_s(self, point: AdderTreePoint, block: Block, waves: Waveforms, window_s: float) -> float:
        """From the first input pin to the last output, the worst of all windows."""
        def times(nets: Sequence[str]) -> npt.NDArray[np.float64]:
            return np.sort(np.concatenate([crossings(waves.axis, waves.signal(f"v({net})"), point.vdd_v / 2, edge)
                                           for net in nets for edge in ("rise", "fall")]))

        starts, ends, worst = times(block.inputs), times(block.outputs), 0.0
        for k in range(1, STEPS + 3):
            first, last = (found[(found > k * window_s) & (found < (k + 1) * window_s)] for found in (starts, ends))
            if len(first) and len(last):
                worst = max(worst, float(last[-1] - first[0]))
        return worst

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        axes = {"lanes": "1", "bits": "1"}
        energy = table_of("adder_tree_energy_j", "J", {**axes, "activity": "1"}, runs, origin, lambda run: [
            {"lanes": run.point.lanes, "bits": run.point.bits, "activity": run.point.activity,
             "value": run.measures["energy_j"]}], CONVENTIONS)
        trees = list(grouped(runs, "lanes", "bits").values())
        slowest = {group[0].id: group for group in trees}
        delay = table_of("adder_tree_delay_s", "s", axes, [group[0] for group in trees], origin, lambda run: [
            {"lanes": run.point.lanes, "bits": run.point.bits, "run": ids(slowest[run.id]),
             "value": max(r.measures["delay_s"] for r in slowest[run.id])}], CONVENTIONS)
        return [energy, delay, toggle_table(runs, origin), *structure_tables(origin)]


def mean_toggles(block: Block, vectors: Bits) -> float:
    """Mean toggles a step of input nets and cell outputs in the unit-delay model."""
    inputs = int(np.sum(vectors[1:] != vectors[:-1]))
    return float((inputs + unit_delay(block, vectors).toggles.sum()) / (len(vectors) - 1))


def toggle_table(runs: Sequence[Run], origin: Origin) -> Table:
    """Joules a toggle at each operating point: fitted without the largest tree, `spread` its error there."""
    rows: dict[str, dict[str, Any]] = {}
    worst = 0.0
    for group in grouped(runs).values():
        sizes = [run.point.lanes * run.point.bits for run in group]
        held = [run for run, size in zip(group, sizes, strict=True) if size == max(sizes)]
        fitted = [run for run, size in zip(group, sizes, strict=True) if size < max(sizes)] or held
        joules = np.array([run.measures["energy_j"] for run in fitted])
        counts = np.array([run.measures["toggles"] for run in fitted])
        per_toggle = float(joules @ counts / (counts @ counts))
        errors = [run.measures["toggles"] * per_toggle / run.measures["energy_j"] - 1 for run in held]
        error = float(np.mean(np.abs(errors)))
        worst = max(worst, error)
        rows[group[0].id] = {"value": per_toggle, "spread": error * per_toggle, "run": ids(group)}
    conventions = {**CONVENTIONS, "fit": "least squares through zero over all trees but the largest",
                   "held_out": f"mean |error| on the largest tree, worst operating point: {worst:.1%}",
                   "fit_error_relative": f"{worst:.4f}", "spread": "mean |error| on the held-out tree, in J"}
    firsts = [group[0] for group in grouped(runs).values()]
    return table_of("adder_tree_toggle_j", "J", {}, firsts, origin, lambda run: [rows[run.id]], conventions)


BENCH = AdderTreeBench()
