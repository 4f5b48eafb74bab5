"""Leakage of cells at rest, state by state, with the truth table checked in each.

A transient of a nanosecond cannot give it: the charge that leaks in it is below the simulator's charge
tolerance, and stack nodes still creep. Combinational cells are taken at DC: a selector source counts the
states, and behavioural sources turn its value into the input bits. A flip-flop has no unique DC solution,
so it is clocked through its states by a transient, and rests so long in each that its leakage is a charge
well above the tolerance. That transient takes Gear's method: over steps so much longer than the circuit's time
constants the trapezoidal rule rings, and a ringing current integrated is no leakage (28 nW for a state of 6 nW).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from charlib.benches.base import Point, Run, remembered
from charlib.benches.cell import MEASURED_CELLS
from charlib.benches.stimulus import expect, read_bit, table_of
from charlib.errors import BadInput
from charlib.gates import CELLS, evaluate_cell
from charlib.netlist import netlist_ports
from charlib.pdk.model import Pdk
from charlib.spice.deck import DEFAULT_OPTIONS, DcSweep, Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table
from charlib.units import NANO, PICO

LEAKING_CELLS = (*MEASURED_CELLS, "dff")
#: (d, clk) and the q that must follow; the first state only prepares, its q is not defined
FLIP_FLOP_WALK = (((0, 0), None), ((0, 1), 0), ((0, 0), 0), ((1, 0), 0), ((1, 1), 1), ((0, 1), 1), ((0, 0), 1),
                  ((1, 0), 1), ((1, 1), 1), ((1, 0), 1), ((0, 0), 1), ((0, 1), 0), ((1, 1), 0))
REST_S, RAMP_S, MAX_STEP_S = 1000 * NANO, 50 * PICO, 10 * NANO
CONVENTIONS = {
    "leakage": "supply current x VDD at rest, mean over all states, outputs open; gmin 1e-15 S",
    "inputs": "ideal sources at the rails; gate leakage through the pins is not counted",
}

Walk = list[tuple[tuple[int, ...], tuple[int, ...] | None]]


@dataclass(frozen=True)
class CellLeakagePoint(Point):
    """A cell at rest."""

    cell: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell not in LEAKING_CELLS:
            raise BadInput(f"cell: '{self.cell}' is unknown; known are {', '.join(LEAKING_CELLS)}")


def walk(cell: str) -> Walk:
    """(inputs, right outputs) of each step; None where the outputs are not defined."""
    if cell == "dff":
        return [(state, None if q is None else (q,)) for state, q in FLIP_FLOP_WALK]
    states = [tuple(state >> k & 1 for k in range(CELLS[cell].inputs)) for state in range(2 ** CELLS[cell].inputs)]
    return [(state, evaluate_cell(cell, *state)) for state in states]


class CellLeakageBench:
    """Bench "cell_leakage"; see the module's text."""

    kind = "cell_leakage"
    stepless = True  #: its sweep walks through input states
    point_type = CellLeakagePoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({"cell": cell} for cell in LEAKING_CELLS)

    def estimated_cost_s(self, point: CellLeakagePoint) -> float:
        return 0.1 if point.cell == "dff" else 0.01

    @remembered
    def deck(self, pdk: Pdk, point: CellLeakagePoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        steps, ports = walk(point.cell), netlist_ports(point.cell)[:-2]
        inputs = ports[:len(steps[0][0])]
        body = pdk.header(point.corner) + pdk.subckts(point.cell) + dc("dd", "vdd", point.vdd_v)
        body += f"xdut {' '.join(ports)} vdd 0 {point.cell}\n"
        title = f"cell leakage {point.cell}"
        if point.cell == "dff":
            for k, net in enumerate(inputs):
                body += logic(net, net, [state[k] for state, _ in steps], REST_S, RAMP_S, point.vdd_v)
            return Deck(title, body, point.temp_c, Transient(REST_S / 100, len(steps) * REST_S, MAX_STEP_S),
                        self._rests(point, len(steps), ports), options={**DEFAULT_OPTIONS, "method": "gear"})
        body += dc("sel", "sel", 0.0)
        for k, net in enumerate(inputs):
            corners = ",".join(f"{row},{state[k]}" for row, (state, _) in enumerate(steps))
            body += f"b{net} {net} 0 v={point.vdd_v:.10g}*pwl(v(sel),{corners})\n"
        return Deck(title, body, point.temp_c, DcSweep("vsel", 0.0, len(steps) - 1.0, 1.0),
                    save=("i(vdd)", *(f"v({net})" for net in ports)))

    def _rests(self, point: CellLeakagePoint, steps: int, ports: Sequence[str]) -> tuple[Energy | Sample, ...]:
        energies = tuple(Energy(f"e{k}", "vdd", point.vdd_v, (k + 0.5) * REST_S, (k + 0.99) * REST_S)
                         for k in range(steps))
        return (*energies, *(Sample(f"v{k}_{net}", net, (k + 0.99) * REST_S) for k in range(steps) for net in ports))

    def _leakages(self, deck: Deck, ports: Sequence[str], waves: Waveforms) -> list[tuple[float, list[float]]]:
        """(leakage, port voltages) of each step."""
        if isinstance(deck.analysis, Transient):
            raw = evaluate(deck.measures, waves)
            steps = sum(isinstance(measure, Energy) for measure in deck.measures)
            return [(raw[f"e{k}"] / (0.49 * REST_S), [raw[f"v{k}_{net}"] for net in ports]) for k in range(steps)]
        currents = waves.signal("i(vdd)")
        return [(-float(currents[k]), [float(waves.signal(f"v({net})")[k]) for net in ports])
                for k in range(waves.steps)]

    def measure(self, pdk: Pdk, point: CellLeakagePoint, waves: Waveforms) -> dict[str, float]:
        ports, deck, steps = netlist_ports(point.cell)[:-2], self.deck(pdk, point), walk(point.cell)
        found = self._leakages(deck, ports, waves)
        expect(f"{point.cell}: number of states", len(found), len(steps), deck, waves)
        scale = 1.0 if point.cell == "dff" else point.vdd_v  # a DC run gives amperes
        by_state: dict[str, list[float]] = {}
        for row, ((leakage, volts), (state, outputs)) in enumerate(zip(found, steps, strict=True)):
            if outputs is None:
                continue
            bits = tuple(read_bit(volt, point.vdd_v, f"{point.cell} {net}")
                         for volt, net in zip(volts, ports, strict=True))
            expect(f"{point.cell} in step {row}", bits, (*state, *outputs), deck, waves)
            by_state.setdefault("".join(map(str, bits)), []).append(leakage * scale)
        result = {f"leakage_{label}_w": sum(values) / len(values) for label, values in by_state.items()}
        return {**result, "leakage_w": sum(result.values()) / len(result)}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        def table(name: str, axes: dict[str, str], chosen: Sequence[Run]) -> Table:
            return table_of(name, "W", axes, chosen, origin, lambda run: [
                {"value": run.measures["leakage_w"], **dict.fromkeys(axes, run.point.cell)}], CONVENTIONS)

        def by_state(run: Run) -> list[dict[str, Any]]:
            inputs = netlist_ports(run.point.cell)[:CELLS[run.point.cell].inputs]
            bits = {name[8:-2]: value for name, value in run.measures.items() if name != "leakage_w"}
            return [{"state": " ".join([run.point.cell, *(f"{n}={b}" for n, b in zip(inputs, state, strict=False))]),
                     "value": value} for state, value in bits.items()]

        flip_flops = [run for run in runs if run.point.cell == "dff"]
        cells = [run for run in runs if run.point.cell != "dff"]
        made = [table("dff_leakage_w", {}, flip_flops)] if flip_flops else []
        if cells:
            made += [table("cell_leakage_w", {"cell": ""}, cells),
                     table_of("state_leakage_w", "W", {"state": ""}, cells, origin, by_state, CONVENTIONS)]
        return made


BENCH = CellLeakageBench()
