"""A block of cells flat in SPICE, vector by vector: what composition out of cell tables is judged by.

Each input is driven by a buffer on the same supply, whose own gate hangs on an ideal ramp (its energy excluded).
Every net carries the wire of one cell pitch a fan-out, each output three minimum inverters more. Energy is that of
the supply over a window less the new state's rest power; outputs are checked against the logic model every window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import EDGES, expect, read_bit, table_of, window_unit_s
from charlib.errors import BadInput
from charlib.gates.block import Block
from charlib.gates.catalogue import driven, named_block
from charlib.gates.fan_out import INPUT_RAMP, OUTPUT_UNITS
from charlib.gates.logic import Bits, random_vectors, simulate
from charlib.gates.recorded import RECORDED, recorded_vectors
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Sample, Transient
from charlib.spice.engine import Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, logic
from charlib.table import Origin, Table

STEPS_A_UNIT = 12
CONVENTIONS = {
    "energy": "supply energy of one change of all inputs, input buffers included, rest power subtracted",
    "settled": "first input's 50 % to the last output's 50 %; 0 where no output moves",
    "wires": "one cell pitch of intermediate wire a fan-out",
}


@dataclass(frozen=True)
class BlockFlatPoint(Point):
    """A named block and its vectors: `count` changes; operands "random" (bits toggle with probability `activity`),
    "forward" or "weight_gradient" (recorded in training).
    """

    block: str
    count: int = 64
    operands: str = "random"
    activity: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        named_block(self.block)
        if self.count < 1:
            raise BadInput(f"count: must be at least 1, got {self.count}")
        if not 0 < self.activity <= 1:
            raise BadInput(f"activity: must lie in (0, 1], got {self.activity:g}")
        if self.operands not in ("random", *RECORDED):
            raise BadInput(f"operands: random, {', '.join(RECORDED)} are allowed, got '{self.operands}'")


class BlockFlatBench:
    """Bench "block_flat"; see the module's text."""

    kind = "block_flat"
    point_type = BlockFlatPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ()

    def estimated_cost_s(self, point: BlockFlatPoint) -> float:
        cells = len(named_block(point.block).instances)
        return float(1e-3 * cells**1.3 * point.count)

    def vectors(self, point: BlockFlatPoint) -> Bits:
        """(count + 1, inputs)."""
        block = named_block(point.block)
        if point.operands != "random":
            return recorded_vectors(block, point.operands, point.count + 1)
        return random_vectors(len(block.inputs), point.count + 1, point.activity, point.seed)

    def window_s(self, pdk: Pdk, point: BlockFlatPoint) -> float:
        """Time for the deepest path, a full adder a level."""
        depth = max(named_block(point.block).levels().values())
        return (depth + 4) * window_unit_s(pdk, point)

    @remembered
    def deck(self, pdk: Pdk, point: BlockFlatPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        block, vectors, window_s = named_block(point.block), self.vectors(point), self.window_s(pdk, point)
        whole, v = driven(block), point.vdd_v
        cells = pdk.subckts(*sorted({i.cell for i in whole.instances}))
        body = pdk.header(point.corner) + cells + dc("dd", "vdd", v)
        body += whole.subckt(pdk.fan_out_wire_f, a_fan_out=True)
        for k, net in enumerate(whole.inputs):
            body += logic(net, net, vectors[:, k].tolist(), window_s, INPUT_RAMP * pdk.unit_s, v)
        ports = [*whole.inputs, *whole.outputs, "vdd", "0"]
        body += "xdut " + "\n+ ".join(" ".join(ports[i:i + 16]) for i in range(0, len(ports), 16))
        load_f = OUTPUT_UNITS * pdk.unit_f
        body += f" {whole.name}\n" + "".join(f"cl{net} {net} 0 {load_f:.6g}\n" for net in block.outputs)
        return Deck(f"block {block.name}", body, point.temp_c,
                    Transient(window_s / 200, len(vectors) * window_s, window_unit_s(pdk, point) / STEPS_A_UNIT),
                    self._measures(point, block, len(vectors), window_s),
                    save=tuple(f"v({net})" for net in (whole.inputs[0], *block.outputs)))

    def _measures(self, point: BlockFlatPoint, block: Block, count: int,
                  window_s: float) -> tuple[Energy | Sample, ...]:
        measures: list[Energy | Sample] = []
        for k in range(count):
            begin, end = k * window_s, (k + 1) * window_s
            measures += [Energy(f"e{k}", "vdd", point.vdd_v, begin, end),
                         Energy(f"rest{k}", "vdd", point.vdd_v, end - 0.1 * window_s, end)]
            measures += [Sample(f"y{k}_{net}", net, end - 0.02 * window_s) for net in block.outputs]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: BlockFlatPoint, waves: Waveforms) -> dict[str, float]:
        """Keys: "energy_j" (mean), "energy K", "settled K" of each change, K from 1."""
        deck, block, vectors = self.deck(pdk, point), named_block(point.block), self.vectors(point)
        raw, window_s = evaluate(deck.measures, waves), self.window_s(pdk, point)
        right = simulate(block, vectors)
        found: dict[str, float] = {}
        times = np.sort(np.concatenate([crossings(waves.axis, waves.signal(f"v({net})"), point.vdd_v / 2, edge)
                                        for net in block.outputs for edge in EDGES]))
        for k in range(len(vectors)):
            bits = [read_bit(raw[f"y{k}_{net}"], point.vdd_v, f"{net} of vector {k}") for net in block.outputs]
            expect(f"{block.name}, vector {k}", bits, right[k].tolist(), deck, waves)
            if k:
                inside = times[(times > k * window_s) & (times < (k + 1) * window_s)]
                edge_s = k * window_s + 0.5 * INPUT_RAMP * pdk.unit_s
                found[f"energy {k}"] = raw[f"e{k}"] - 10 * raw[f"rest{k}"]
                found[f"settled {k}"] = float(inside[-1] - edge_s) if len(inside) else 0.0
        return {"energy_j": float(np.mean([found[f"energy {k}"] for k in range(1, len(vectors))])), **found}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        return [table_of("block_flat_j", "J", {"block": "", "operands": ""}, runs, origin, lambda run: [
            {"block": run.point.block, "operands": run.point.operands, "value": run.measures["energy_j"]}],
            CONVENTIONS)]


BENCH = BlockFlatBench()
