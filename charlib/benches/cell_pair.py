"""Cells from every input state to every other: what timed composition of large blocks needs.

The stimulus walks once along every ordered pair of input states (an Eulerian circuit of the complete graph), several
inputs moving at once where the states differ in several; the truth table is checked at every stop. Each pair gives
the supply's energy and the charge that each input pin draws. Pairs that differ in one bit give delay and transition.

Ramp and load are multiples of the kit's units (a full adder's delay, a minimum inverter's gate), so that one grid
fits every node. Conventions. Inputs are ideal ramps; their energy is excluded here and comes back as pin charge:
whoever drives a pin at the supply pays V·Q for it, and Q holds the Miller charge of the outputs that move.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from charlib.benches.base import PVT_UNITS, Point, Run, remembered
from charlib.benches.stimulus import expect, last_crossing, read_bit, window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.gates import CELLS, evaluate_cell
from charlib.netlist import netlist_ports
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table

PAIR_CELLS = ("inv", "buffer", "nand2", "nor2", "xor2", "mux2", "half_adder", "full_adder")
#: ramps in full-adder delays of the kit, loads in minimum inverters
RAMPS, FAN_OUTS = (0.15, 0.6, 2.0), (1.0, 6.0, 24.0)
FINE_RAMPS, FINE_FAN_OUTS = (0.15, 0.3, 0.6, 1.2, 2.4), (1.0, 3.0, 8.0, 16.0, 32.0)
WINDOW_UNITS, STEPS_A_UNIT = 5, 40
LOW_SHARE, HIGH_SHARE = 0.2, 0.8
#: a straight ramp takes 1/0.6 of its 20-80 % time
RAMP_OF_TRANSITION = 1 / (HIGH_SHARE - LOW_SHARE)
CONVENTIONS = {
    "pair": "CELL state>state, inputs in port order",
    "energy": "supply energy of the change, the loads' included, leakage of the new state and input sources excluded",
    "charge": "charge that a pin's ideal source delivers, gate leakage of the new state subtracted",
    "delay": "50 % to 50 %", "ramp": "20-80 % transition / 0.6",
    "slew": "0-100 % ramp of an ideal source", "load": "one capacitor on every output",
    "wires": "none inside the cell; schematic with estimated diffusions",
}
State = tuple[int, ...]


@dataclass(frozen=True)
class CellPairPoint(Point):
    """A cell with a ramp (in the kit's full-adder delays) and a load (in its minimum inverters)."""

    cell: str
    ramp: float
    fan_out: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cell not in PAIR_CELLS:
            raise BadInput(f"cell: '{self.cell}' is unknown; known are {', '.join(PAIR_CELLS)}")
        self.check_ratios("ramp", "fan_out")


def pair_walk(inputs: int) -> list[State]:
    """States of an Eulerian circuit over all ordered pairs of different states, from all zeros."""
    count = 1 << inputs
    unused = {state: [other for other in range(count) if other != state] for state in range(count)}
    path, stack = [], [0]
    while stack:  # Hierholzer
        state = stack[-1]
        if unused[state]:
            stack.append(unused[state].pop())
        else:
            path.append(stack.pop())
    return [tuple(state >> k & 1 for k in range(inputs)) for state in reversed(path)]


def cell_ports(cell: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(inputs, outputs) of a combinational cell."""
    ports = netlist_ports(cell)[:-2]
    return ports[:CELLS[cell].inputs], ports[CELLS[cell].inputs:]


def pair_label(before: State, after: State) -> str:
    """The name of a change of state, "01>11"."""
    return f"{''.join(map(str, before))}>{''.join(map(str, after))}"


class CellPairBench:
    """Bench "cell_pair"; see the module's text."""

    kind = "cell_pair"
    point_type = CellPairPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        ramps, fan_outs = (FINE_RAMPS, FINE_FAN_OUTS) if preset == "full" else (RAMPS, FAN_OUTS)
        for cell, ramp, fan_out in itertools.product(PAIR_CELLS, ramps, fan_outs):
            yield {"cell": cell, "ramp": ramp, "fan_out": fan_out}

    def estimated_cost_s(self, point: CellPairPoint) -> float:
        return float(0.02 * 4 ** CELLS[point.cell].inputs * (1 + point.ramp / 2))

    def conditions(self, pdk: Pdk, point: CellPairPoint) -> tuple[float, float, float]:
        """(slew_s, load_f, window_s)."""
        slew_s, load_f = point.ramp * pdk.unit_s, point.fan_out * pdk.unit_f
        return slew_s, load_f, WINDOW_UNITS * window_unit_s(pdk, point) * (1 + point.fan_out / 16) + 1.5 * slew_s

    @remembered
    def deck(self, pdk: Pdk, point: CellPairPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        inputs, outputs = cell_ports(point.cell)
        slew_s, load_f, window_s = self.conditions(pdk, point)
        walk = pair_walk(len(inputs))
        body = pdk.header(point.corner) + pdk.subckts(point.cell) + dc("dd", "vdd", point.vdd_v)
        for k, net in enumerate(inputs):
            body += logic(net, net, [state[k] for state in walk], window_s, slew_s, point.vdd_v)
        body += f"xdut {' '.join([*inputs, *outputs])} vdd 0 {point.cell}\n"
        body += "".join(f"cl_{net} {net} 0 {load_f:.6g}\n" for net in outputs)
        step_s = window_unit_s(pdk, point) / STEPS_A_UNIT
        return Deck(f"state pairs of cell {point.cell}", body, point.temp_c,
                    Transient(window_s / 200, len(walk) * window_s, step_s), self._measures(point, walk, window_s))

    def _measures(self, point: CellPairPoint, walk: Sequence[State], window_s: float) -> tuple[Energy | Sample, ...]:
        inputs, outputs = cell_ports(point.cell)
        measures: list[Energy | Sample] = []
        for k in range(len(walk)):
            begin, end = k * window_s, (k + 1) * window_s
            for source in ("dd", *inputs):
                measures += [Energy(f"e{k}_{source}", f"v{source}", point.vdd_v, begin, end),
                             Energy(f"rest{k}_{source}", f"v{source}", point.vdd_v, end - 0.1 * window_s, end)]
            measures += [Sample(f"y{k}_{net}", net, end - 0.02 * window_s) for net in outputs]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: CellPairPoint, waves: Waveforms) -> dict[str, float]:
        """Keys: "slew_s", "load_f"; of each pair "energy PAIR", "charge PAIR pin"; of single moves also
        "delay PAIR out" and "ramp PAIR out".
        """
        deck = self.deck(pdk, point)
        raw = evaluate(deck.measures, waves)
        inputs, outputs = cell_ports(point.cell)
        slew_s, load_f, window_s = self.conditions(pdk, point)
        walk, v = pair_walk(len(inputs)), point.vdd_v
        found = {"slew_s": slew_s, "load_f": load_f}
        for k, state in enumerate(walk):
            got = tuple(read_bit(raw[f"y{k}_{net}"], v, f"{point.cell} {net}") for net in outputs)
            expect(f"{point.cell}{state}", got, evaluate_cell(point.cell, *state), deck, waves)
            if k == 0:
                continue
            label = pair_label(walk[k - 1], state)
            dynamic = {source: raw[f"e{k}_{source}"] - 10 * raw[f"rest{k}_{source}"] for source in ("dd", *inputs)}
            found[f"energy {label}"] = dynamic["dd"]
            found.update({f"charge {label} {pin}": dynamic[pin] / v for pin in inputs})
            if sum(p != q for p, q in zip(walk[k - 1], state, strict=True)) == 1:
                before = evaluate_cell(point.cell, *walk[k - 1])
                for net, old, new in zip(outputs, before, got, strict=True):
                    if old != new:
                        delay_s, ramp_s = self._times(waves, net, new, v, k * window_s, window_s)
                        found[f"delay {label} {net}"] = delay_s - 0.5 * slew_s
                        found[f"ramp {label} {net}"] = ramp_s
        return found

    def _times(self, waves: Waveforms, net: str, value: int, vdd_v: float, begin_s: float,
               window_s: float) -> tuple[float, float]:
        """(last crossing after the window's begin, full ramp equivalent of the 20-80 % transition there)."""
        middle_s = last_crossing(waves, [net], vdd_v / 2, begin_s, window_s)
        if middle_s is None:
            raise LogicError(f"{net}: it never crosses VDD/2")
        signal, edge = waves.signal(f"v({net})"), "rise" if value else "fall"
        first, last = (LOW_SHARE, HIGH_SHARE) if value else (HIGH_SHARE, LOW_SHARE)
        starts = crossings(waves.axis, signal, first * vdd_v, edge)  # type: ignore[arg-type]
        ends = crossings(waves.axis, signal, last * vdd_v, edge)  # type: ignore[arg-type]
        starts, ends = starts[(starts > begin_s) & (starts <= middle_s)], ends[ends >= middle_s]
        if not len(starts) or not len(ends):
            raise LogicError(f"{net}: it does not pass from {first:g} to {last:g} VDD")
        return middle_s - begin_s, float(ends[0] - starts[-1]) * RAMP_OF_TRANSITION

    def headline(self, measures: dict[str, float]) -> dict[str, float]:
        """What the convergence check looks at: delays, and energies of the cell with its pins."""
        suffix = {"delay": "_s", "energy": "_j", "ramp": "_s"}
        return {f"{name}{suffix[name.split()[0]]}": value for name, value in measures.items()
                if name.split()[0] in suffix}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        made = []
        for quantity, unit, name, axis in (
                ("energy", "J", "pair_energy_j", "pair"), ("charge", "C", "pair_charge_c", "pin"),
                ("delay", "s", "pair_delay_s", "out"), ("ramp", "s", "pair_ramp_s", "out")):
            axes = {**PVT_UNITS, axis: "", "slew_s": "s", "load_f": "F"}
            records = [{"corner": run.point.corner, "temp_c": run.point.temp_c, "vdd_v": run.point.vdd_v,
                        "run": run.id, axis: f"{run.point.cell} {label.partition(' ')[2]}",
                        "slew_s": run.measures["slew_s"], "load_f": run.measures["load_f"], "value": value}
                       for run in runs for label, value in run.measures.items() if label.startswith(f"{quantity} ")]
            made.append(Table.from_records(name, unit, axes, records, origin, CONVENTIONS))
        return made


BENCH = CellPairBench()
