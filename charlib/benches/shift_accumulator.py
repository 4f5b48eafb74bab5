"""The per-lane serial shift-accumulator, flat: energy of a whole serial product, and the cycle it needs.

acc' = pp in the first cycle, 2·acc + pp after it; pp is the stored word where the serial bit is 1 and 0 where it
is 0. One cycle loads the registers, then whole operations follow; each final accumulator is compared with the
integer product. The word is random with its top bit set (the hidden bit of a BF16 significand).

Conventions. Energy is an operation of `bits` cycles: adders, clearing gates, registers, their clock pins with
the clock's driver, and the drivers of pp and of the clear line, less leakage. Activity is the share of
cycles in which the serial bit differs from the one before. Delay is from the clock's edge to the last change of a
register input, worst over all cycles: clock-to-q, clearing gate and carry; set-up is not in it.

Time step: 1/10 of the window unit; on 4 bits at tt, 0.8 V energy and delay then differ from a run at a tenth of
it by under 0.6 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run
from charlib.benches.stimulus import expect, grouped, ids, last_crossing, read_bit, window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.gates import shift_accumulator
from charlib.netlist import subckts
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table
from charlib.units import FEMTO

OPERATIONS, SEED = 2, 20230214
STEPS_A_UNIT = 10
LOAD_F = 1 * FEMTO
WIRE_PITCHES = 2
SUPPLIES = ("vdd", "vck", "vin")
REST_SHARE = 0.08
CONVENTIONS = {
    "operation": "one serial product of `bits` cycles; registers, clock pins, clock driver, pp and clear drivers "
                 "included, less leakage",
    "activity": "share of cycles in which the serial bit changes",
    "delay": "clock pin 50 % to the last change of a register input, worst cycle; set-up not included",
    "load": "1 fF on each accumulator bit; wire of two cell pitches on each cell output",
    "operands": f"one random word with the top bit set (Philox seed {SEED}), {OPERATIONS} operations with serial bits "
                "that are each other's complement",
}


@dataclass(frozen=True)
class ShiftAccumulatorPoint(Point):
    """bits × bits serial product whose serial bit changes with `activity`."""

    bits: int
    activity: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits < 2:
            raise BadInput(f"bits: must be at least 2, got {self.bits}")
        if not 0 < self.activity <= 1:
            raise BadInput(f"activity: must lie in (0, 1], got {self.activity:g}")


def operands(bits: int, activity: float) -> list[tuple[int, list[int]]]:
    """(word, serial bits, first cycle first) of each operation; the serial bit changes round(activity·bits) times.

    Both operations take the same word, and the second the complement of the first's serial bits, so that
    half of all serial bits are 1 whatever the activity, and activities differ in changes alone.
    """
    word = int(np.random.Generator(np.random.Philox(SEED)).integers(2 ** (bits - 1), 2**bits))
    changes = np.zeros(bits, dtype=int)
    changes[np.linspace(0, bits, max(1, round(activity * bits)), endpoint=False).astype(int)] = 1
    serial = [int(bit) for bit in np.cumsum(changes) % 2]
    return [(word, serial), (word, [1 - bit for bit in serial])]


class ShiftAccumulatorBench:
    """Bench "shift_accumulator"; see the module's text."""

    kind = "shift_accumulator"
    point_type = ShiftAccumulatorPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        for bits, activity in itertools.product((4, 8), (0.25, 0.5)):
            yield {"bits": bits, "activity": activity}

    def estimated_cost_s(self, point: ShiftAccumulatorPoint) -> float:
        return 0.1 * float(point.bits) ** 2.5

    def _cycle_s(self, pdk: Pdk, point: ShiftAccumulatorPoint) -> float:
        return float((6 + 1.2 * 2 * point.bits) * window_unit_s(pdk, point))

    def _schedule(self, point: ShiftAccumulatorPoint) -> list[tuple[int, int]]:
        """(pp, clear_n) of every cycle: one that loads, the operations, one that shows the last result."""
        cycles = [(0, 0)]
        for word, serial in operands(point.bits, point.activity):
            cycles += [(word * bit, int(k > 0)) for k, bit in enumerate(serial)]
        return [*cycles, (0, 0)]

    def deck(self, pdk: Pdk, point: ShiftAccumulatorPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        block, cycles, v = shift_accumulator(point.bits), self._schedule(point), point.vdd_v
        cycle_s, unit_s = self._cycle_s(pdk, point), window_unit_s(pdk, point)
        wire_f = WIRE_PITCHES * pdk.geometry.cell_pitch_m * pdk.geometry.wire_f_per_m
        cells = [cell for cell in block.cell_counts() if cell != "inv"]
        body = pdk.header(point.corner) + subckts("inv", *cells) + block.subckt(wire_f)
        body += dc("dd", "vdd", v) + dc("ck", "vck", v) + dc("in", "vin", v)
        # edges at (k + 1/2) cycles; what edge k takes in changes a little after edge k − 1
        body += logic("clkn", "clkn", [1 - k % 2 for k in range(2 * len(cycles))], cycle_s / 2, 0.2 * unit_s, v)
        body += f"xck clkn clk vck 0 inv drive={point.bits}\n"
        streams = {"clear_n": [clear for _, clear in cycles]}
        streams |= {f"pp{j}": [pp >> j & 1 for pp, _ in cycles] for j in range(point.bits)}
        for net, bits in streams.items():
            body += logic(f"s{net}", f"s{net}", [1 - bit for bit in bits], cycle_s, 0.2 * unit_s, v,
                          start_s=-0.5 * cycle_s + unit_s)
            body += f"xd{net} s{net} {net} vin 0 inv drive={4 if net == 'clear_n' else 2}\n"
        nets = "\n+ ".join([*block.inputs, *block.outputs, "vdd 0"])
        body += f"xdut {nets} {block.name}\n"
        body += "".join(f"cl{net} {net} 0 {LOAD_F:.6g}\n" for net in block.outputs)
        return Deck(f"shift-accumulator {point.bits} bits", body, point.temp_c,
                    Transient(cycle_s / 100, len(cycles) * cycle_s, unit_s / STEPS_A_UNIT),
                    self._measures(point, len(cycles), cycle_s),
                    save=("v(clk)", *(f"v(xdut.d{k})" for k in range(2 * point.bits))))

    def _measures(self, point: ShiftAccumulatorPoint, cycles: int, cycle_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        for k in range(1, cycles):  # from edge k − 1 to edge k, a little before each
            begin, end = (k - 0.55) * cycle_s, (k + 0.45) * cycle_s
            for source in SUPPLIES:
                measures += [Energy(f"{source}{k}", source, point.vdd_v, begin, end),
                             Energy(f"{source}_rest{k}", source, point.vdd_v, end - REST_SHARE * cycle_s, end)]
        for operation in range(1, OPERATIONS + 1):
            at_s = (operation * point.bits + 1.4) * cycle_s
            measures += [Sample(f"q{operation}_{j}", f"q{j}", at_s) for j in range(2 * point.bits)]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: ShiftAccumulatorPoint, waves: Waveforms) -> dict[str, float]:
        deck, cycle_s = self.deck(pdk, point), self._cycle_s(pdk, point)
        raw = evaluate(deck.measures, waves)
        energies = []
        for operation, (word, serial) in enumerate(operands(point.bits, point.activity), start=1):
            got = sum(read_bit(raw[f"q{operation}_{j}"], point.vdd_v, f"accumulator bit {j}") << j
                      for j in range(2 * point.bits))
            factor = sum(bit << (point.bits - 1 - k) for k, bit in enumerate(serial))
            expect(f"serial product {word} × {factor}", got, word * factor, deck, waves)
            total = 0.0
            for k in range((operation - 1) * point.bits + 1, operation * point.bits + 1):
                total += sum(raw[f"{s}{k}"] - raw[f"{s}_rest{k}"] / REST_SHARE for s in SUPPLIES)
            energies.append(total)
        delays = []
        inputs = [f"xdut.d{k}" for k in range(2 * point.bits)]
        for k in range(1, len(self._schedule(point))):
            edge_s = (k - 0.5) * cycle_s
            last_s = last_crossing(waves, inputs, point.vdd_v / 2, edge_s, 0.9 * cycle_s)
            if last_s is not None:
                clock_s = last_crossing(waves, ["clk"], point.vdd_v / 2, edge_s - 0.1 * cycle_s, 0.3 * cycle_s)
                if clock_s is None:
                    raise LogicError("the clock has no edge where one is due")
                delays.append(last_s - clock_s)
        return {"energy_j": float(np.mean(energies)), "delay_s": max(delays),
                **{name: raw[name] for name in ("vdd1", "vck1", "vin1")}}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        energy = [{**run.point.coordinates(), "value": run.measures["energy_j"], "run": run.id} for run in runs]
        delay = []
        for group in grouped(runs, "bits").values():
            worst = max(group, key=lambda run: run.measures["delay_s"])
            delay.append({**worst.point.coordinates(), "value": worst.measures["delay_s"], "run": ids(group)})
        return [Table.from_records("shift_accumulator_energy_j", "J", {**PVT_UNITS, "bits": "bit", "activity": ""},
                                   energy, origin, CONVENTIONS),
                Table.from_records("shift_accumulator_delay_s", "s", {**PVT_UNITS, "bits": "bit"}, delay, origin,
                                   CONVENTIONS)]


BENCH = ShiftAccumulatorBench()
