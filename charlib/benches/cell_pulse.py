"""Cells whose inputs change twice in quick succession: how far a short pulse swings, and what is left of it.

The stimulus walks once along every double move: a state, an input that changes, and another (or the same) input that
changes `separation` later (Eulerian circuits over states and pairs of pins). Energy is that of both changes
together, and the output's crossings of VDD/2 say whether its pulse got through. Ramp, load and separation are
multiples of the kit's units, as in bench "cell_pair", whose energies and delays the fold needs to interpret these.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charlib.benches.base import PVT_UNITS, Run, remembered
from charlib.benches.cell_pair import BENCH as PAIR_BENCH
from charlib.benches.cell_pair import PAIR_CELLS, CellPairPoint, State, cell_ports
from charlib.benches.stimulus import EDGES, expect, read_bit, window_unit_s
from charlib.gates import evaluate_cell
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, pwl
from charlib.table import Origin, Table

STEPS_A_UNIT = 40
SEPARATIONS = (0.1, 0.35, 0.65, 1.0, 1.5, 2.4)
RAMP, FAN_OUTS = 0.5, (2.0, 16.0)
CONVENTIONS = {
    "move": "CELL state>state>state, inputs in port order; the second change starts `separation` after the first",
    "energy": "supply energy of both changes, the load's included, leakage and input sources excluded",
    "cross": "last crossing of VDD/2 of an output that moves once, from the middle of the first input's ramp",
    "width": "between an output pulse's crossings of VDD/2; 0 where it does not reach it",
}
Move = tuple[State, State, State]


@dataclass(frozen=True)
class CellPulsePoint(CellPairPoint):
    """A cell with a ramp, a load, and the time between two changes of its inputs, in the kit's full-adder delays."""

    separation: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ratios("separation")


def double_moves(inputs: int) -> list[Move]:
    """(state, next, next but one) over all states and ordered pairs of pins that change, each once, as one walk.

    Two changes keep a state's parity, so the walk is an Eulerian circuit of the even states and one of the odd ones;
    between them stands a bridge, a move whose first change is none.
    """
    even, odd = _circuit(inputs, 0), _circuit(inputs, 1)
    bridge = (even[-1][2], even[-1][2], odd[0][0])
    return [*even, bridge, *odd]


def _circuit(inputs: int, start: int) -> list[Move]:
    unused = {state: list(itertools.product(range(inputs), repeat=2)) for state in range(1 << inputs)}
    path: list[tuple[int, int, int]] = []
    stack: list[tuple[int, tuple[int, int] | None]] = [(start, None)]
    while stack:  # Hierholzer on edges
        state, edge = stack[-1]
        if unused[state]:
            p, q = unused[state].pop()
            stack.append((state ^ (1 << p) ^ (1 << q), (p, q)))
        else:
            stack.pop()
            if edge is not None:
                p, q = edge
                path.append((state ^ (1 << p) ^ (1 << q), state ^ (1 << q), state))

    def bits(state: int) -> State:
        return tuple(state >> k & 1 for k in range(inputs))
    return [(bits(a), bits(b), bits(c)) for a, b, c in reversed(path)]


def move_label(move: Move) -> str:
    """"00>10>11"."""
    return ">".join("".join(map(str, state)) for state in move)


class CellPulseBench:
    """Bench "cell_pulse"; see the module's text."""

    kind = "cell_pulse"
    point_type = CellPulsePoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        for cell, fan_out, separation in itertools.product(PAIR_CELLS, FAN_OUTS, SEPARATIONS):
            yield {"cell": cell, "ramp": RAMP, "fan_out": fan_out, "separation": separation}

    def estimated_cost_s(self, point: CellPulsePoint) -> float:
        return 1.5 * PAIR_BENCH.estimated_cost_s(point)

    def times(self, pdk: Pdk, point: CellPulsePoint) -> tuple[float, float, float]:
        """(slew_s, separation_s, window_s)."""
        slew_s, _, window_s = PAIR_BENCH.conditions(pdk, point)
        separation_s = point.separation * pdk.unit_s
        return slew_s, separation_s, window_s + separation_s

    @remembered
    def deck(self, pdk: Pdk, point: CellPulsePoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        inputs, outputs = cell_ports(point.cell)
        slew_s, separation_s, window_s = self.times(pdk, point)
        moves = double_moves(len(inputs))
        body = pdk.header(point.corner) + pdk.subckts(point.cell) + dc("dd", "vdd", point.vdd_v)
        for k, net in enumerate(inputs):
            body += pwl(net, net, _wave([[state[k] for state in move] for move in moves], window_s, slew_s,
                                        separation_s, point.vdd_v))
        body += f"xdut {' '.join([*inputs, *outputs])} vdd 0 {point.cell}\n"
        body += "".join(f"cl_{net} {net} 0 {point.fan_out * pdk.unit_f:.6g}\n" for net in outputs)
        measures: list[Energy | Sample] = []
        for k in range(len(moves)):
            begin, end = (k + 1) * window_s, (k + 2) * window_s
            measures += [Energy(f"e{k}", "vdd", point.vdd_v, begin, end),
                         Energy(f"rest{k}", "vdd", point.vdd_v, end - 0.1 * window_s, end)]
            measures += [Sample(f"y{k}_{net}", net, end - 0.02 * window_s) for net in outputs]
        return Deck(f"pulses of cell {point.cell}", body, point.temp_c,
                    Transient(window_s / 200, (len(moves) + 1) * window_s,
                              window_unit_s(pdk, point) / STEPS_A_UNIT), tuple(measures))

    def measure(self, pdk: Pdk, point: CellPulsePoint, waves: Waveforms) -> dict[str, float]:
        """Keys: "slew_s", "load_f", "separation_s", "energy MOVE"; where an output comes back, "width MOVE out";
        where it moves once, "cross MOVE out", from the middle of the first input's ramp.
        """
        deck = self.deck(pdk, point)
        raw = evaluate(deck.measures, waves)
        inputs, outputs = cell_ports(point.cell)
        slew_s, separation_s, window_s = self.times(pdk, point)
        found = {"slew_s": slew_s, "load_f": point.fan_out * pdk.unit_f, "separation_s": separation_s}
        for k, move in enumerate(double_moves(len(inputs))):
            label = move_label(move)
            got = tuple(read_bit(raw[f"y{k}_{net}"], point.vdd_v, f"{point.cell} {net}") for net in outputs)
            expect(f"{point.cell} after {label}", got, evaluate_cell(point.cell, *move[2]), deck, waves)
            if move[0] == move[1]:
                continue
            found[f"energy {label}"] = raw[f"e{k}"] - 10 * raw[f"rest{k}"]
            begin_s = (k + 1) * window_s
            values = [evaluate_cell(point.cell, *state) for state in move]
            for j, net in enumerate(outputs):
                times = sorted(float(t) for edge in EDGES for t in crossings(
                    waves.axis, waves.signal(f"v({net})"), point.vdd_v / 2, edge)
                    if begin_s < t < begin_s + window_s)
                first, middle, last = (value[j] for value in values)
                if first == last != middle:
                    found[f"width {label} {net}"] = times[-1] - times[0] if len(times) > 1 else 0.0
                elif first != last:
                    found[f"cross {label} {net}"] = times[-1] - begin_s - 0.5 * slew_s
        return found

    def headline(self, measures: Mapping[str, float]) -> dict[str, float]:
        """What the convergence check looks at."""
        return {f"{name}_j": value for name, value in measures.items() if name.startswith("energy ")}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        made = []
        for quantity, unit, name in (("energy", "J", "pulse_energy_j"), ("width", "s", "pulse_width_s"),
                                     ("cross", "s", "pulse_cross_s")):
            axes = {**PVT_UNITS, "move": "", "separation_s": "s", "slew_s": "s", "load_f": "F"}
            records = [{"corner": run.point.corner, "temp_c": run.point.temp_c, "vdd_v": run.point.vdd_v,
                        "run": run.id, "move": f"{run.point.cell} {label.partition(' ')[2]}", "value": value,
                        **{axis: run.measures[axis] for axis in ("separation_s", "slew_s", "load_f")}}
                       for run in runs for label, value in run.measures.items() if label.startswith(f"{quantity} ")]
            made.append(Table.from_records(name, unit, axes, records, origin, CONVENTIONS))
        return made


def _wave(bits: Sequence[Sequence[int]], window_s: float, slew_s: float, separation_s: float,
          vdd_v: float) -> list[tuple[float, float]]:
    """Corners of one input's wave; where its two changes overlap, the second turns the first back on its way."""
    points = [(0.0, bits[0][0] * vdd_v)]
    for k, (first, middle, last) in enumerate(bits):
        begin_s = (k + 1) * window_s
        if first != middle:
            points.append((begin_s, first * vdd_v))
            if middle != last and separation_s < slew_s:
                peak = separation_s / slew_s
                level = first + (middle - first) * (0.5 + 0.5 * peak)
                half_s = (0.5 + 0.5 * peak) * slew_s
                points += [(begin_s + half_s, level * vdd_v), (begin_s + 2 * half_s, last * vdd_v)]
                continue
            points.append((begin_s + slew_s, middle * vdd_v))
        if middle != last:
            points += [(begin_s + separation_s + 1e-18, middle * vdd_v),
                       (begin_s + separation_s + slew_s, last * vdd_v)]
    return points


BENCH = CellPulseBench()
