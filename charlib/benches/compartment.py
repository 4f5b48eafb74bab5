"""The compartment: energy and delay a cycle for AND, OR and XOR, by stored bit, input bit and line.

A cycle starts precharged and is sequenced: wordline opens → bitlines fall → inputs rise (evaluate) → latch →
wordline and inputs close → precharge. Policy "reread" does all of it each cycle. Policy "hold" keeps the
wordline open and the bitlines developed over the cycles of a word and only precharges and evaluates the
compute wire; its table values are such following cycles (a word of n cycles is one "reread" and n − 1 "hold").
Delays are of whole cycles, so runs of "hold" alone give energies and leakage and no table of delays.

Every latched value is checked against the truth table, and a compute wire that should stay high must hold
0.9·VDD through evaluation. Under "reread" each measured cycle follows one with the opposite result.

Conventions. Energy a cycle by line from separate supplies, less leakage, which an idle cycle of the same run
gives and which stands as its own line. The ideal sources of the control nets push charge into the drivers' first
gates; at VDD a coulomb it is added to the line that it belongs to. `raw_` measures are what the deck prints, before
both. The row decoder is not in the circuit. AND is read non-inverted at the wire's inverter; OR and XOR come out
inverted (the wire itself is their value).

Time step: 1/8 of the window unit. Against a tenth of it (4 × 4, XOR, tt 25 °C 0.8 V and ff 125 °C 1.0 V) a cycle's
energy differs by at most 0.5 %, the cycle time by 0.4 %, the latch by 1.0 %. Of single lines bitline, wordline,
compute wire, input and data differ by at most 0.8 %, control and precharge clock by 1.7 %, flip-flop clock by 3.1 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Point, Run, remembered
from charlib.benches.compartment_circuit import (
    FULL_COLUMNS,
    GROUP,
    SHARED_LINES,
    SOURCES_OF_LINE,
    SUPPLY_OF_LINE,
    compartment,
    drivers,
    initial_state,
)
from charlib.benches.stimulus import expect, grouped, ids, read_bit, window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Extreme, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate, first_crossing, integral
from charlib.spice.sources import dc, pwl
from charlib.table import Origin, Table

OPERATIONS = ("and", "or", "xor")
POLICIES = ("reread", "hold")
#: when things happen in a cycle, in window units: wordline, inputs, latch, close, precharge, next cycle
READ_U, EVALUATE_U, LATCH_U, CLOSE_U, PRECHARGE_U, CYCLE_U = 1.0, 9.0, 14.0, 17.0, 18.0, 26.0
#: the edge of a control net, in window units
RAMP_U = 0.3
STEPS_A_UNIT = 8
HOLD_HIGH = 0.9
#: rows that have a wordline driver in the deck
DRIVEN_ROWS = 2
LINES = (*SUPPLY_OF_LINE, "leakage")
#: swing of the losing bitline that counts as read: the processing unit's transistor is then off
READ_SHARE, RESTORED_SHARE = 0.2, 0.9
#: share of VDD at which a falling wordline counts as closed
CLOSED_SHARE = 0.1
HEADLINE_TIMES = ("read_s", "evaluate_s", "latch_s", "cycle_s", "leakage_w")
CONVENTIONS = {
    "cycle": "wordline, evaluate, latch, precharge; ends as it begins",
    "hold": "a following cycle of a held word: only compute wire, inputs and flip-flops work",
    "leakage": "supply energy of an idle cycle of the same length; subtracted from the other lines. In watts: all "
               "rows' wordline drivers, and of what the row shares only the flat columns' part of 64",
    "sources": "charge of the ideal control sources x VDD, in the line whose drivers they feed",
    "lines": "wordline and input_logic drive the load of all 64 columns; the other lines scale with columns; no "
             "row decoder",
    "delay": "read: wordline driver's input to 20 % VDD at the losing input of the processing unit; evaluate: input "
             "logic's enable to the wire inverter; latch: clock to q; cycle: read + evaluate + wordline closing to "
             "10 % VDD + restore of the processing unit's input to 90 %; the flip-flop's setup is not in it",
    "wires": "from cell pitch and wire_f_per_m, resistance above 20 µm",
}


@dataclass(frozen=True)
class CompartmentPoint(Point):
    """rows × columns, flat, one operation under one read policy."""

    rows: int
    columns: int
    operation: str
    read_policy: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rows < 2:
            raise BadInput(f"rows: at least 2 are needed, got {self.rows}")
        if self.columns < GROUP or self.columns % GROUP or self.columns > FULL_COLUMNS:
            raise BadInput(f"columns: a multiple of {GROUP} up to {FULL_COLUMNS} is needed, got {self.columns}")
        for name, value, allowed in (("operation", self.operation, OPERATIONS),
                                     ("read_policy", self.read_policy, POLICIES)):
            if value not in allowed:
                raise BadInput(f"{name}: {', '.join(allowed)} are known, got '{value}'")


@dataclass(frozen=True)
class Cycle:
    """One cycle: stored bit (which row), input bit, whether it reads and closes, and its label if measured."""

    stored: int
    bit: int
    opens: bool = True
    closes: bool = True
    label: str = ""
    idle: bool = False


def result(operation: str, stored: int, bit: int) -> int:
    """The operation's value."""
    return {"and": stored & bit, "or": stored | bit, "xor": stored ^ bit}[operation]


def latched(operation: str, stored: int, bit: int) -> int:
    """What the flip-flop holds: the value for AND, its inverse for OR and XOR."""
    value = result(operation, stored, bit)
    return value if operation == "and" else 1 - value


def schedule(operation: str, policy: str) -> list[Cycle]:
    """The cycles of a run: two idle ones, then those that are measured, each prepared as the policy asks."""
    idle = [Cycle(0, 0, idle=True), Cycle(0, 0, idle=True, label="idle")]
    cases = list(itertools.product((0, 1), (0, 1)))
    if policy == "hold":
        cycles = [Cycle(s, b, opens=k == 0, closes=k == 3, label=f"s{s}_i{b}" if k in (1, 2) else "")
                  for s in (0, 1) for k, b in enumerate((0, 1, 0, 1))]
        return [*idle, *cycles]
    cycles = []
    for stored, bit in cases:
        value = result(operation, stored, bit)
        before = next(case for case in cases if result(operation, *case) != value)
        if not cycles or result(operation, cycles[-1].stored, cycles[-1].bit) == value:
            cycles.append(Cycle(*before))
        cycles.append(Cycle(stored, bit, label=f"s{stored}_i{bit}"))
    return [*idle, *cycles]


class CompartmentBench:
    """Bench "compartment"; see the module's text."""

    kind = "compartment"
    point_type = CompartmentPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        rows = (16,) if preset == "quick" else (4, 16)
        for count, policy, operation in itertools.product(rows, POLICIES, OPERATIONS):
            yield {"rows": count, "columns": 4, "operation": operation, "read_policy": policy}

    def estimated_cost_s(self, point: CompartmentPoint) -> float:
        return 0.006 * point.rows * point.columns * len(schedule(point.operation, point.read_policy))

    @remembered
    def deck(self, pdk: Pdk, point: CompartmentPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        cycles, unit_s = schedule(point.operation, point.read_policy), self._unit_s(pdk, point)
        groups = point.columns // GROUP
        body = pdk.header(point.corner) + compartment(point.rows, point.columns, pdk)
        body += "".join(dc(supply[1:], supply, point.vdd_v) for supply in SUPPLY_OF_LINE.values())
        body += drivers(point.columns).replace("{vdd}", f"{point.vdd_v:.10g}")
        outputs = " ".join(f"q{k}" for k in range(groups))
        body += f"xcomp wl0 wl1 pcb pcw sel selb inp inn clk {outputs} vbl vcw vffd one compartment\n"
        body += self._stimulus(point, cycles, unit_s)
        return Deck(f"compartment {point.rows} x {point.columns} {point.operation} {point.read_policy}", body,
                    point.temp_c, Transient(0.2 * unit_s, len(cycles) * CYCLE_U * unit_s, unit_s / STEPS_A_UNIT),
                    self._measures(point, cycles, unit_s),
                    save=("v(clk)", "v(xcomp.wf0)", "v(xcomp.wf1)",
                          *(kind for nets in SOURCES_OF_LINE.values() for net in nets
                            for kind in (f"v({net})", f"i(v{net})")),
                          *(f"v(xcomp.{net}{k})" for net in ("w", "wb") for k in range(groups)),
                          *(f"v(xcomp.y{k})" for k in range(groups)), *(f"v(q{k})" for k in range(groups))),
                    initial=initial_state(point.rows, point.columns, point.vdd_v))

    def _unit_s(self, pdk: Pdk, point: CompartmentPoint) -> float:
        return window_unit_s(pdk, point) * max(1.0, point.rows / 16)

    def _stimulus(self, point: CompartmentPoint, cycles: Sequence[Cycle], unit_s: float) -> str:
        """PWL sources of the control nets; each is the logic value wanted at its driver's output, or inverse."""
        edges: dict[str, list[tuple[float, int]]] = {
            net: [(0.0, level)] for net, level in
            (("swl0", 0), ("swl1", 0), ("spcb", 1), ("spcw", 1), ("sen", 0), ("sclk", 1), ("sin", cycles[0].bit))}
        for k, cycle in enumerate(cycles):
            begin = k * CYCLE_U
            edges["sin"].append((begin + 0.2, cycle.bit))
            if cycle.idle:
                continue
            row = f"swl{1 - cycle.stored}"  # row 0 holds 1
            if cycle.opens:
                edges["spcb"].append((begin + READ_U - 0.5, 0))
                edges[row].append((begin + READ_U, 1))
            edges["spcw"].append((begin + READ_U - 0.5, 0))
            edges["sen"] += [(begin + EVALUATE_U, 1), (begin + CLOSE_U, 0)]
            edges["sclk"] += [(begin + LATCH_U, 0), (begin + PRECHARGE_U + 2, 1)]
            edges["spcw"].append((begin + PRECHARGE_U, 1))
            if cycle.closes:
                edges[row].append((begin + CLOSE_U, 0))
                edges["spcb"].append((begin + PRECHARGE_U, 1))
        text = "".join(pwl(net, net, _ramps(steps, unit_s, point.vdd_v)) for net, steps in edges.items())
        use = {"suse_p": point.operation in ("and", "xor"), "suse_n": point.operation in ("or", "xor"), "ssel": True}
        return text + "".join(dc(net, net, point.vdd_v * on) for net, on in use.items())

    def _measures(self, point: CompartmentPoint, cycles: Sequence[Cycle],
                  unit_s: float) -> tuple[Energy | Sample | Extreme, ...]:
        measures: list[Energy | Sample | Extreme] = []
        groups = point.columns // GROUP
        for k, cycle in enumerate(cycles):
            begin, end = k * CYCLE_U * unit_s, (k + 1) * CYCLE_U * unit_s
            if cycle.label:
                raw = "" if cycle.idle else "raw_"
                measures += [Energy(f"{raw}{line}_{cycle.label}", supply, point.vdd_v, begin, end)
                             for line, supply in SUPPLY_OF_LINE.items()]
            if cycle.idle:
                continue
            measures += [Sample(f"latched{k}_{g}", f"q{g}", end - 0.5 * unit_s) for g in range(groups)]
            high = latched(point.operation, cycle.stored, cycle.bit) == 0
            if high:
                measures += [Extreme(f"held{k}_{g}", f"xcomp.dlo{g}", "min", begin + EVALUATE_U * unit_s,
                                     begin + (CLOSE_U + 0.5) * unit_s) for g in range(groups)]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: CompartmentPoint, waves: Waveforms) -> dict[str, float]:
        deck, unit_s = self.deck(pdk, point), self._unit_s(pdk, point)
        raw = evaluate(deck.measures, waves)
        cycles = schedule(point.operation, point.read_policy)
        self._check(point, cycles, raw, deck, waves)
        idle = {line: raw[f"{line}_idle"] for line in SUPPLY_OF_LINE}
        pushed = self._source_energy(point, cycles, unit_s, waves)
        values = {f"{line}_{label}": raw[f"raw_{line}_{label}"] - idle[line] + pushed.get((line, label), 0.0)
                  for line in SUPPLY_OF_LINE for label in (c.label for c in cycles) if label.startswith("s")}
        values["leakage"] = sum(idle.values())
        share = point.columns / FULL_COLUMNS
        own = sum(energy_j for line, energy_j in idle.items() if line not in SHARED_LINES)
        shared = idle["input_logic"] + idle["control"] + idle["wordline"] * point.rows / DRIVEN_ROWS
        values["leakage_w"] = (own + share * shared) / (CYCLE_U * unit_s)
        values |= {f"{line}_idle": idle[line] for line in idle}
        values |= {name: value for name, value in raw.items() if name.startswith("raw_")}
        return values | (self._delays(point, cycles, unit_s, waves) if point.read_policy == "reread" else {})

    def headline(self, measures: Mapping[str, float]) -> dict[str, float]:
        """What the convergence check looks at: a cycle's whole energy by case, the delays, the leakage."""
        cases = [f"s{stored}_i{bit}" for stored, bit in itertools.product((0, 1), (0, 1))]
        totals = {f"{case}_j": sum(measures[f"{line}_{case}"] for line in SUPPLY_OF_LINE) for case in cases}
        return totals | {name: measures[name] for name in measures if name in HEADLINE_TIMES}

    def _source_energy(self, point: CompartmentPoint, cycles: Sequence[Cycle], unit_s: float,
                       waves: Waveforms) -> dict[tuple[str, str], float]:
        """Joules a real driver would draw for what each line's ideal sources push out, less an idle cycle's.

        Charge counts while a source is above ground: at ground a driver gives charge without its supply.
        """
        found: dict[tuple[str, str], float] = {}
        for line, nets in SOURCES_OF_LINE.items():
            flow = sum(np.where(waves.signal(f"v({net})") > 0, np.maximum(-waves.signal(f"i(v{net})"), 0.0), 0.0)
                       for net in nets)
            for k, cycle in enumerate(cycles):
                if cycle.label:
                    found[line, cycle.label] = point.vdd_v * integral(
                        waves.axis, np.asarray(flow), k * CYCLE_U * unit_s, (k + 1) * CYCLE_U * unit_s)
        return {(line, label): value - found[line, "idle"] for (line, label), value in found.items()}

    def _check(self, point: CompartmentPoint, cycles: Sequence[Cycle], raw: dict[str, float], deck: Deck,
               waves: Waveforms) -> None:
        for k, cycle in enumerate(cycles):
            if cycle.idle:
                continue
            wanted = latched(point.operation, cycle.stored, cycle.bit)
            for g in range(point.columns // GROUP):
                what = f"{point.operation}({cycle.stored}, {cycle.bit}) in cycle {k}, wire {g}"
                got = read_bit(raw[f"latched{k}_{g}"], point.vdd_v, what)
                expect(what, got, wanted, deck, waves)
                held_v = raw.get(f"held{k}_{g}", point.vdd_v)
                if held_v < HOLD_HIGH * point.vdd_v:
                    raise LogicError(f"{what}: the wire should stay high and falls to {held_v:.3f} V, below "
                                     f"{HOLD_HIGH:g} VDD", deck.text(), "\n".join(waves.log[-20:]))

    def _delays(self, point: CompartmentPoint, cycles: Sequence[Cycle], unit_s: float,
                waves: Waveforms) -> dict[str, float]:
        half = point.vdd_v / 2
        found: dict[str, list[float]] = {"read": [], "evaluate": [], "latch": [], "close": [], "restore": []}
        for k, cycle in enumerate(cycles):
            if cycle.idle:
                continue
            begin = k * CYCLE_U * unit_s
            at = {name: begin + u * unit_s for name, u in
                  (("read", READ_U - 0.2), ("evaluate", EVALUATE_U - 0.2), ("latch", LATCH_U - 0.2),
                   ("close", CLOSE_U - 0.2), ("restore", PRECHARGE_U - 0.2))}
            wanted = latched(point.operation, cycle.stored, cycle.bit)
            start = first_crossing(waves, f"swl{1 - cycle.stored}", half, "fall", at["close"])
            found["close"].append(first_crossing(waves, f"xcomp.wf{1 - cycle.stored}", CLOSED_SHARE * point.vdd_v,
                                                 "fall", start) - start)
            for g in range(point.columns // GROUP):
                losing = f"xcomp.{'wb' if cycle.stored else 'w'}{g}"
                start = first_crossing(waves, f"swl{1 - cycle.stored}", half, "rise", at["read"])
                found["read"].append(first_crossing(waves, losing, READ_SHARE * point.vdd_v, "fall", start) - start)
                start = first_crossing(waves, "spcb", half, "rise", at["restore"])
                found["restore"].append(
                    first_crossing(waves, losing, RESTORED_SHARE * point.vdd_v, "rise", start) - start)
                if wanted:  # the wire falls
                    start = first_crossing(waves, "sen", half, "rise", at["evaluate"])
                    found["evaluate"].append(first_crossing(waves, f"xcomp.y{g}", half, "rise", start) - start)
                if k > 2 and not cycles[k - 1].idle and wanted != latched(point.operation, cycles[k - 1].stored,
                                                                       cycles[k - 1].bit):
                    start = first_crossing(waves, "clk", half, "rise", at["latch"])
                    found["latch"].append(
                        first_crossing(waves, f"q{g}", half, "rise" if wanted else "fall", start) - start)
        worst = {f"{name}_s": float(np.max(times)) for name, times in found.items()}
        return {**worst, "cycle_s": sum(worst[f"{name}_s"] for name in
                                              ("read", "evaluate", "close", "restore"))}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        energy = []
        for run in runs:
            base = run.point.coordinates()
            for stored, bit, line in itertools.product((0, 1), (0, 1), LINES):
                value = run.measures["leakage" if line == "leakage" else f"{line}_s{stored}_i{bit}"]
                energy.append({**base, "stored": str(stored), "input": str(bit), "line": line, "value": value,
                               "run": run.id})
        structure = {"rows": "", "columns": ""}
        delay, leakage = [], []
        for group in grouped(runs, "rows", "columns").values():
            read = [run for run in group if run.point.read_policy == "reread"]
            base = group[0].point.coordinates()
            for phase in ("read", "evaluate", "latch", "cycle") if read else ():
                worst = max(run.measures[f"{phase}_s"] for run in read)
                delay.append({**base, "phase": phase, "value": worst, "run": ids(read)})
            mean = float(np.mean([run.measures["leakage_w"] for run in group]))
            leakage.append({**base, "value": mean, "run": ids(group)})
        axes = {**PVT_UNITS, **structure}
        delays = [Table.from_records("compartment_delay_s", "s", {**axes, "phase": ""}, delay, origin,
                                     CONVENTIONS)] if delay else []
        return [
            Table.from_records("compartment_energy_j", "J", {
                **axes, "read_policy": "", "operation": "", "stored": "", "input": "", "line": ""}, energy, origin,
                CONVENTIONS),
            *delays,
            Table.from_records("compartment_leakage_w", "W", axes, leakage, origin, CONVENTIONS),
        ]


def _ramps(steps: Sequence[tuple[float, int]], unit_s: float, vdd_v: float) -> list[tuple[float, float]]:
    """PWL points of (time in units, level) steps, each change a ramp that starts then."""
    points = [(0.0, steps[0][1] * vdd_v)]
    level = steps[0][1]
    for time_u, wanted in steps[1:]:
        if wanted != level:
            points += [(time_u * unit_s, level * vdd_v), ((time_u + RAMP_U) * unit_s, wanted * vdd_v)]
            level = wanted
    return points


BENCH = CompartmentBench()
