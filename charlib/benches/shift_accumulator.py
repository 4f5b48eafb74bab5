"""The serial shift-accumulator: energy of a whole product, and the shortest cycle of its registers and adders.

One lane multiplies a word w by a serial operand x, most significant bit first: acc' = 2·acc + x_b·w. A run
is one preparing cycle and then SERIAL_BITS / bits measured operations; each final accumulator is checked
against the integer product.

Conventions. Activity is the probability that the serial bit differs from the one before. Serial bits are
taken independent of one another, so a toggle rate t needs a density p of ones with 2·p·(1 − p) = t; the lower
root is used, and the measured bits hold that share of ones as nearly as whole bits allow. Words are uniformly
random and change each operation. Every input, the clock among them, is driven by inverters whose supply is
counted in; the ideal ramps before them are excluded. Leakage, from the DC state, is subtracted. Each net
carries the wire of one cell pitch, each accumulator output one more cell's input.

Inputs change a little after the rising edge, as from registers, so the whole cycle is theirs. Delay is the
clock pin's 50 % to the last change of a register's data input, the worst over the cycles simulated; set-up
is the flip-flop's own table. Time step: 1/12 of the window unit, as for the trees.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, grouped, ids, read_bit, table_of, window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.gates import Block, shift_accumulator
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table
from charlib.units import FEMTO, PICO

SEED = 20230103
SERIAL_BITS = 16  #: measured serial cycles a run, whatever the width
STEPS_A_UNIT = 12
SLEW_S = 20 * PICO
OUTPUT_LOAD_F = 1 * FEMTO
INPUT_UNITS = 1.5  #: inputs change this long after the clock rises, in window units: past any hold time
CLOCK_DRIVE = 16  #: the clock's last inverter, for two flip-flops a bit
CONVENTIONS = {
    "operation": "one whole product: `bits` cycles, registers, clock driver and input inverters included",
    "activity": "probability that the serial bit differs from the one before; density p with 2p(1-p) = activity",
    "words": "uniformly random, a new one each operation",
    "energy": "supply energy, leakage subtracted",
    "delay": "clock pin's 50 % to the last data input of a register, worst cycle, without the flip-flop's set-up",
    "wires": "one cell pitch of intermediate wire a net",
}


@dataclass(frozen=True)
class ShiftAccumulatorPoint(Point):
    """A lane's width and how busy its serial operand is."""

    bits: int
    activity: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits < 2 or SERIAL_BITS % self.bits:
            raise BadInput(f"bits: 2, 4, 8 or 16 is allowed, got {self.bits}")
        if not 0 < self.activity <= 0.5:
            raise BadInput(f"activity: must lie in (0, 0.5] for independent bits, got {self.activity:g}")


def operands(point: ShiftAccumulatorPoint) -> list[tuple[int, int]]:
    """(word, serial operand) of the measured operations; a busier point has more ones."""
    rng = np.random.Generator(np.random.Philox(SEED))
    density = (1 - math.sqrt(1 - 2 * point.activity)) / 2
    ones = np.zeros(SERIAL_BITS, dtype=int)
    ones[rng.permutation(SERIAL_BITS)[:max(1, round(density * SERIAL_BITS))]] = 1
    full = 2**point.bits - 1
    serial = [int("".join(map(str, row)), 2) for row in ones.reshape(-1, point.bits)]
    words = [int(word) for word in rng.integers(full // 2 + 1, full + 1, size=len(serial))]
    return list(zip(words, serial, strict=True))


def cycles(point: ShiftAccumulatorPoint) -> list[tuple[int, int]]:
    """(clear_n, partial product) of every clock cycle; the first only sets the registers.

    The last repeats the first measured one, so that each measured edge is followed by new inputs.
    """
    result = [(0, 2**point.bits - 1)]
    for word, serial in operands(point):
        for cycle in range(point.bits):
            bit = serial >> (point.bits - 1 - cycle) & 1
            result.append((int(cycle > 0), word * bit))
    return [*result, result[1]]


class ShiftAccumulatorBench:
    """Bench "shift_accumulator"; see the module's text."""

    kind = "shift_accumulator"
    point_type = ShiftAccumulatorPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        for bits, activity in itertools.product((4, 8), (0.1, 0.5)):
            yield {"bits": bits, "activity": activity}

    def estimated_cost_s(self, point: ShiftAccumulatorPoint) -> float:
        return 1.2 * point.bits

    def _cycle_s(self, pdk: Pdk, point: ShiftAccumulatorPoint) -> float:
        return (0.8 * point.bits + 6) * window_unit_s(pdk, point)

    @remembered
    def deck(self, pdk: Pdk, point: ShiftAccumulatorPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        block, plan, v = shift_accumulator(point.bits), cycles(point), point.vdd_v
        cycle_s, unit_s = self._cycle_s(pdk, point), window_unit_s(pdk, point)
        wire_f = pdk.geometry.wire_f_per_m * pdk.geometry.cell_pitch_m
        cells = pdk.subckts(*sorted({i.cell for i in block.instances}), "inv")
        body = pdk.header(point.corner) + cells + block.subckt(wire_f) + dc("dd", "vdd", v) + dc("in", "vin", v)
        # the clock rises in the middle of each cycle; the next cycle's inputs follow that edge
        start_s = INPUT_UNITS * unit_s - 0.5 * cycle_s
        body += logic("nclk", "nclk", [1, 0] * len(plan) + [1], cycle_s / 2, SLEW_S, v)
        body += f"xclk1 nclk clka vin 0 inv drive={CLOCK_DRIVE // 4}\n"
        body += f"xclk2 clka clkb vin 0 inv drive={CLOCK_DRIVE // 2}\nxclk3 clkb clk vin 0 inv drive={CLOCK_DRIVE}\n"
        streams = {"clear_n": [clear_n for clear_n, _ in plan]}
        streams |= {f"pp{k}": [pp >> k & 1 for _, pp in plan] for k in range(point.bits)}
        for net, stream in streams.items():
            body += logic(f"n{net}", f"n{net}", [1 - bit for bit in stream], cycle_s, SLEW_S, v, start_s)
            body += f"xd{net} n{net} {net} vin 0 inv drive=2\nc{net} {net} 0 {wire_f:.6g}\n"
        ports = [*block.inputs, *block.outputs, "vdd", "0"]
        body += "xdut " + "\n+ ".join(" ".join(ports[i:i + 16]) for i in range(0, len(ports), 16))
        body += f" {block.name}\n" + "".join(f"cl{net} {net} 0 {OUTPUT_LOAD_F:.6g}\n" for net in block.outputs)
        saved = ("v(clk)", *(f"v(xdut.d{k})" for k in range(2 * point.bits)))
        return Deck(f"shift-accumulator {point.bits}", body, point.temp_c,
                    Transient(unit_s, (len(plan) - 0.5) * cycle_s, unit_s / STEPS_A_UNIT),
                    self._measures(point, block, len(plan) - 1, cycle_s), save=saved,
                    # the registers hold 0: left to itself, the operating point may be their metastable one
                    initial=dict.fromkeys(block.outputs, 0.0))

    def _measures(self, point: ShiftAccumulatorPoint, block: Block, count: int,
                  cycle_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        for source in ("vdd", "vin"):  # before the first clock edge: pure leakage
            measures += [Energy(f"e_{source}", source, point.vdd_v, cycle_s, count * cycle_s),
                         Energy(f"rest_{source}", source, point.vdd_v, 0.1 * cycle_s, 0.4 * cycle_s)]
        measures += [Sample(f"rest_{net}", net, 0.3 * cycle_s) for net in block.outputs]
        for operation in range(count // point.bits):
            # the accumulator holds the product from the last rising edge to the next one
            at_s = ((operation + 1) * point.bits + 1.4) * cycle_s
            measures += [Sample(f"y{operation}_{net}", net, at_s) for net in block.outputs]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: ShiftAccumulatorPoint, waves: Waveforms) -> dict[str, float]:
        deck, block = self.deck(pdk, point), shift_accumulator(point.bits)
        raw, cycle_s = evaluate(deck.measures, waves), self._cycle_s(pdk, point)
        plan = operands(point)
        for operation, (word, serial) in enumerate(plan):
            bits = [read_bit(raw[f"y{operation}_{net}"], point.vdd_v, f"accumulator {net}, operation {operation}")
                    for net in block.outputs]
            got = sum(bit << k for k, bit in enumerate(bits))
            expect(f"shift-accumulator, {word} x {serial}", got, word * serial, deck, waves)
        for net in block.outputs:
            read_bit(raw[f"rest_{net}"], point.vdd_v, f"accumulator {net} at rest")
        energy = {}
        for source in ("vdd", "vin"):
            rest_w = raw[f"rest_{source}"] / (0.3 * cycle_s)
            energy[source] = raw[f"e_{source}"] / len(plan) - rest_w * point.bits * cycle_s
        return {"energy_j": energy["vdd"] + energy["vin"], "driver_energy_j": energy["vin"],
                "delay_s": self._delay_s(point, waves, cycle_s),
                "leakage_w": raw["rest_vdd"] / (0.3 * cycle_s), "e_vdd": raw["e_vdd"], "e_vin": raw["e_vin"]}

    def _delay_s(self, point: ShiftAccumulatorPoint, waves: Waveforms, cycle_s: float) -> float:
        """From a rising clock pin to the last change of a data input before the next edge."""
        level = point.vdd_v / 2
        edges = crossings(waves.axis, waves.signal("v(clk)"), level, "rise")
        data = np.sort(np.concatenate([crossings(waves.axis, waves.signal(f"v(xdut.d{k})"), level, edge)
                                       for k in range(2 * point.bits) for edge in ("rise", "fall")]))
        worst = 0.0
        for edge_s in edges:
            inside = data[(data > edge_s) & (data < edge_s + 0.99 * cycle_s)]
            if len(inside):
                worst = max(worst, float(inside[-1] - edge_s))
        if worst == 0.0:
            raise LogicError("shift-accumulator: no data input changes after a clock edge")
        return worst

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        energy = table_of("shift_accumulator_energy_j", "J", {"bits": "1", "activity": "1"}, runs, origin,
                          lambda run: [{"bits": run.point.bits, "activity": run.point.activity,
                                        "value": run.measures["energy_j"]}], CONVENTIONS)
        widths = list(grouped(runs, "bits").values())
        slowest = {group[0].id: group for group in widths}
        delay = table_of("shift_accumulator_delay_s", "s", {"bits": "1"}, [group[0] for group in widths], origin,
                         lambda run: [{"bits": run.point.bits, "run": ids(slowest[run.id]),
                                       "value": max(r.measures["delay_s"] for r in slowest[run.id])}], CONVENTIONS)
        return [energy, delay]


BENCH = ShiftAccumulatorBench()
