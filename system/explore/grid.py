"""The estimate as array code over grids of designs: what one evaluation computes, for many at once.

Designs that share a macro's shape and a batch share event counts; designs that share a shape and an operating point
share joules an event. So a block of the grid is one shape and batch, with M budgets of macros by C circuits: counts
(of M) times joules (of C) are outer products, and only what depends on both is computed for each design: the way of
each layer's weight gradient, the wires' length, the clock's tail, time, and what time costs. A thousand random
designs are held to the scalar estimate by a test.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache

import numpy as np

from charlib.errors import BadInput
from system.assumptions import constant
from system.blocks import BOUNDARIES, EVENTS, PASSES
from system.circuit import MacroCircuit
from system.composed import TREE
from system.cost import dram_bits_by_row, event_terms, regulator_efficiency
from system.design import asked_clock, chip_of, circuit_of, structure_of, under_mismatch
from system.explore.layers import F64, I64, NAMES, VECTOR, Budgets, LayerWork, budgets, layer_work
from system.explore.lean import LeanReader
from system.macro import area, buffer_leakage, clock, density_kb_per_mm2, leakage
from system.networks import build_network
from system.notes import carried
from system.options import EstimateOptions
from system.readings import Reader
from system.structure import MacroStructure
from system.traffic import tensors
from system.variation import TABLE as MONTE_CARLO
from system.variation import samples, sigmas

#: what each design is given: metric -> unit
METRICS = {
    **{f"energy_{boundary}_j": "J" for boundary in BOUNDARIES},
    **{f"time_{boundary}_s": "s" for boundary in BOUNDARIES},
    "area_m2": "m²", "clock_hz": "Hz", "density_kb_per_mm2": "Kb/mm²", "macros_used": "1",
}  # fmt: skip
_NOC = NAMES.index("noc_bit")
_WEIGHT = PASSES.index("weight_gradient")


@dataclass(frozen=True)
class Prices:
    """What C circuits of one shape cost. Of :func:`price` each field is one circuit's; stacked, C is the first axis
    (of `tails` the second).

    macro, buffers: joules an event, (passes, events), split at the macro's boundary; noc_bit is priced by length.
    wire: joules a bit and metre of chip edge. area_m2: of a macro. compartment_s, other_s: its path in the clock, and
    the longest other one. asked_s: the period asked for, 0 where the circuits' own is taken. leakage_w: of a macro;
    buffer_leakage_w: of the buffer.
    tails: the clock's factor for each of M budgets. density: Kb/mm².
    """

    macro: F64
    buffers: F64
    wire: F64
    buffer_bit: F64
    area_m2: F64
    compartment_s: F64
    other_s: F64
    asked_s: F64
    leakage_w: F64
    buffer_leakage_w: F64
    density: F64
    tails: F64


def stacked(rows: Sequence[Prices]) -> Prices:
    """Circuits of one shape together."""
    found = {field.name: np.stack([getattr(row, field.name) for row in rows]) for field in fields(Prices)}
    return Prices(**found | {"tails": found["tails"].T})


def price(options: EstimateOptions, circuit: MacroCircuit, slowest: F64, counted: Collection[str]) -> Prices:
    """Of one circuit. slowest: (M,), the standard deviations that the slowest compartment of each budget is allowed;
    counted: the events to price."""
    chip = chip_of(options, 1.0)
    energies = np.zeros((2, len(PASSES), len(NAMES)))
    for e, (name, event) in enumerate(EVENTS.items()):
        if e == _NOC or name not in {*counted, "buffer_bit"}:
            continue
        side, by_pass = int(event.boundary != "macro_only"), circuit.by_pass(name)
        for p, pass_name in enumerate(PASSES if by_pass else PASSES[:1]):
            energies[side, p if by_pass else slice(None), e] = sum(
                t.value for t in event_terms(circuit, chip, name, pass_name))
    fraction = constant("noc_distance_fraction").pick(circuit.tech.choice)
    paths, spread, macro_m2 = clock(circuit).paths_s, samples(circuit.reader), area(circuit).total_m2
    if options.cycle_s is not None:
        asked_clock(clock(circuit), options.cycle_s)  # refuses a period that no budget meets
    single = {
        "asked_s": options.cycle_s or 0.0,
        "wire": circuit.tech.constant("wire_j_per_bit_m", fraction).value, "area_m2": macro_m2,
        "buffer_bit": energies[1, 0, NAMES.index("buffer_bit")], "compartment_s": paths["compartment"],
        "other_s": max(value for name, value in paths.items() if name != "compartment"),
        **{name: sum(t.value for t in under_mismatch(watts, 1.0 if spread is None else spread.leakage))
           for name, watts in (("leakage_w", leakage(circuit)),
                               ("buffer_leakage_w", buffer_leakage(circuit, options.buffer_bit)))},
        "density": density_kb_per_mm2(circuit.structure, macro_m2)}
    tails = np.ones_like(slowest) if spread is None else spread.mean + slowest * spread.sigma
    return Prices(energies[0], energies[1], tails=tails, **{name: np.array(value) for name, value in single.items()})


@dataclass(frozen=True)
class Block:
    """One shape and batch: what does not depend on the circuit."""

    options: EstimateOptions
    budgets: Budgets
    layers: tuple[LayerWork, ...]
    dram_bits: F64  #: (layers, passes), per step
    staged_bits: F64  #: (passes,), all that goes to or comes from DRAM

    def events(self) -> set[str]:
        """Names of the events that happen."""
        total = sum((np.abs(part).reshape(-1, len(NAMES)).sum(axis=0) for layer in self.layers
                     for part in (*layer.fixed.values(), *layer.slope.values(), layer.modes)), np.zeros(len(NAMES)))
        return {name for name, count in zip(NAMES, total, strict=True) if count}


def block(options: EstimateOptions, m: MacroStructure, asked: Sequence[str]) -> Block:
    """Of the options' network and batch on a macro, for M budgets."""
    network = build_network(options.network, options.image_px, options.width, options.classes, options.channels)
    stochastic = options.update_mode == "stochastic"
    found = budgets(network, m, options.batch, asked, options)
    layers = tuple(layer_work(network, layer, m, options.batch, found.copies[:, k], found.gradient_macros, stochastic)
                   for k, layer in enumerate(network.mac_layers))
    traffic = tensors(network, options.batch, options.buffer_bit, master=not stochastic)
    bits = dram_bits_by_row({layer.name for layer in layers}, traffic)
    by_layer = np.array([[bits.get((layer.name, p), 0) for p in PASSES] for layer in layers], dtype=float)
    staged = np.array([sum(t.bits_in(p) for t in traffic if t.home == "dram") for p in PASSES], dtype=float)
    return Block(options, found, layers, by_layer, staged)


def evaluate_block(b: Block, prices: Prices, choice: Sequence[str]) -> dict[str, F64]:
    """metric -> (M, C). choice: of C circuits, the constants' choice. Designs that cannot be are NaN."""
    options, batch = b.options, b.options.batch
    area_m2 = b.budgets.macros[:, np.newaxis] * prices.area_m2 + chip_of(options, 0.0).area_m2
    edge_m = np.sqrt(area_m2)
    fastest_s = np.maximum(prices.compartment_s * prices.tails, prices.other_s)
    cycle_s = np.where(prices.asked_s > 0, prices.asked_s, fastest_s)
    sums = _Sums(b, prices, edge_m * prices.wire, cycle_s)
    energy = _energies(b, prices, sums, choice)
    times = {name: sums.elapsed[name] / batch for name in BOUNDARIES}
    ones = np.ones_like(cycle_s)
    found: dict[str, F64] = {f"energy_{name}_j": energy[name] for name in BOUNDARIES}
    found |= {f"time_{name}_s": times[name] for name in BOUNDARIES}
    found |= {"area_m2": area_m2, "clock_hz": 1 / cycle_s, "density_kb_per_mm2": prices.density * ones,
              "macros_used": (b.budgets.used[:, np.newaxis] * ones).astype(np.float64)}
    infeasible = ~b.budgets.feasible[:, np.newaxis] | (cycle_s < fastest_s)
    for values in found.values():
        values[infeasible] = np.nan
    return found


class _Sums:
    """Sums over layers, all (M, C) and per step: joules by pass, macro-cycles by pass, times by boundary."""

    def __init__(self, b: Block, prices: Prices, per_bit: F64, cycle_s: F64) -> None:
        self.b, self.prices, self.per_bit, self.cycle_s = b, prices, per_bit, cycle_s
        shape = cycle_s.shape
        self.macro_j, self.buffers_j = (np.zeros((len(PASSES), *shape)) for _ in range(2))
        self.macro_cycles = np.zeros((len(PASSES), *shape))
        self.elapsed = {name: np.zeros(shape) for name in BOUNDARIES}
        self.passes_s = {name: np.zeros((len(PASSES), *shape)) for name in BOUNDARIES}
        self._updates: list[tuple[F64, F64, float]] = []
        rate = constant(f"{b.options.dram}_bytes_per_s").value * 8
        self._vector_rate, self._dram_rate = b.options.vector_lanes * b.options.vector_clock_hz, rate
        self._counted()
        for k, layer in enumerate(b.layers):
            self._layer(layer, b.dram_bits[k], b.budgets.copies[:, k])
        self._update_time()

    def _counted(self) -> None:
        """Joules of all events but the weight gradient's ways: counts (M, E) by joules (C, E)."""
        extra = self.b.budgets.copies - 1
        for p, name in enumerate(PASSES):
            counts = sum((layer.fixed[name] for layer in self.b.layers), np.zeros(len(NAMES))) \
                + sum((np.outer(extra[:, k], layer.slope[name]) for k, layer in enumerate(self.b.layers)
                       if name in layer.slope), np.zeros((len(extra), len(NAMES))))
            self.macro_j[p] = counts @ self.prices.macro[:, p].T
            self.buffers_j[p] = counts @ self.prices.buffers[:, p].T + counts[:, _NOC, np.newaxis] * self.per_bit \
                + self.b.staged_bits[p] * self.prices.buffer_bit

    def _layer(self, layer: LayerWork, dram_bits: F64, copies: I64) -> None:
        chosen_cycles = self._gradient(layer)
        array = {name: layer.cycles[name][:, np.newaxis] * self.cycle_s for name in PASSES if name != PASSES[_WEIGHT]}
        array[PASSES[_WEIGHT]] = chosen_cycles * self.cycle_s
        vector = {name: (layer.fixed[name] @ VECTOR + (copies - 1) * (layer.slope[name] @ VECTOR
                                                                      if name in layer.slope else 0.0)
                         )[:, np.newaxis] / self._vector_rate * np.ones_like(self.cycle_s) for name in PASSES}
        dram = {name: dram_bits[p] / self._dram_rate for p, name in enumerate(PASSES)}
        for p, name in enumerate(PASSES):
            if name != PASSES[_WEIGHT]:
                self.macro_cycles[p] += layer.macro_cycles[name][:, np.newaxis]
            self.passes_s["macro_only"][p] += array[name]
            self.passes_s["with_buffers"][p] += array[name] + vector[name]
            self.passes_s["system"][p] += array[name] + vector[name] + dram[name]
        inputs, weights = array["input_gradient"], array["weight_gradient"]
        back = inputs + weights if layer.in_turn else np.maximum(inputs, weights)
        back_vector = vector["input_gradient"] + vector["weight_gradient"]
        forward, forward_vector = array["forward"], vector["forward"]
        self.elapsed["macro_only"] += forward + back
        both = np.maximum(forward, forward_vector), np.maximum(back, back_vector)
        self.elapsed["with_buffers"] += both[0] + both[1]
        self.elapsed["system"] += np.maximum(both[0], dram["forward"]) \
            + np.maximum(both[1], dram["input_gradient"] + dram["weight_gradient"])
        self._updates.append((array["update"], vector["update"], dram["update"]))

    def _gradient(self, layer: LayerWork) -> F64:
        """Choose the way of least energy for each design; add its joules; its cycles (M, C)."""
        macro = layer.modes @ self.prices.macro[:, _WEIGHT].T
        buffers = layer.modes @ self.prices.buffers[:, _WEIGHT].T
        noc = layer.modes[:, _NOC]
        joules = (macro + buffers)[:, np.newaxis] + noc[:, np.newaxis, np.newaxis] * self.per_bit
        way = np.argmin(joules, axis=0)
        columns = np.arange(way.shape[1])
        self.macro_j[_WEIGHT] += macro[way, columns]
        self.buffers_j[_WEIGHT] += buffers[way, columns] + noc[way] * self.per_bit
        rows = np.arange(way.shape[0])[:, np.newaxis]
        self.macro_cycles[_WEIGHT] += layer.macro_cycles["weight_gradient"][rows, way]
        return np.asarray(layer.cycles["weight_gradient"][rows, way])

    def _update_time(self) -> None:
        arrays = np.maximum.reduce([array for array, _, _ in self._updates])
        vectors = sum((vector for _, vector, _ in self._updates), np.zeros_like(arrays))
        dram = sum(one for _, _, one in self._updates)
        self.elapsed["macro_only"] += arrays
        self.elapsed["with_buffers"] += np.maximum(arrays, vectors)
        self.elapsed["system"] += np.maximum(np.maximum(arrays, vectors), dram)

    def shares_s(self, boundary: str) -> F64:
        """Each pass's share of the elapsed time, (passes, M, C), per step."""
        passes = self.passes_s[boundary]
        return np.asarray(self.elapsed[boundary] * passes / passes.sum(axis=0))


def _energies(b: Block, prices: Prices, sums: _Sums, choice: Sequence[str]) -> dict[str, F64]:
    """boundary -> joules an image (M, C); see :mod:`system.cost` for what each term is."""
    batch, options = b.options.batch, b.options

    def each(name: str) -> F64:
        return np.array([constant(name).pick(one) for one in choice])

    busy_s = sums.macro_cycles * sums.cycle_s
    base = sums.macro_j + busy_s * prices.leakage_w
    macro_only = base.sum(axis=0)
    base = base + sums.buffers_j
    fractions = each("chip_control_fraction") + each("chip_clock_fraction")
    buffers = base * (1 + fractions) + sums.shares_s("with_buffers") * prices.buffer_leakage_w
    shares = sums.shares_s("system")
    elapsed_s = sums.elapsed["system"]
    idle_s = b.budgets.used[:, np.newaxis] * elapsed_s - busy_s.sum(axis=0)
    standing_j = idle_s * prices.leakage_w + (elapsed_s - sums.elapsed["with_buffers"]) * prices.buffer_leakage_w
    bits = b.staged_bits[:, np.newaxis, np.newaxis]
    interface, idle = bits * each("dram_interface_j_per_bit"), standing_j * shares / elapsed_s
    device = bits * each(f"{options.dram}_j_per_bit") + shares * each("dram_background_w")
    loss = 1 / np.array([regulator_efficiency(one) for one in choice]) - 1
    system = (buffers + interface + idle) * (1 + loss) + device
    return {"macro_only": macro_only / batch, "with_buffers": buffers.sum(axis=0) / batch,
            "system": system.sum(axis=0) / batch}


def notes(circuit: MacroCircuit) -> list[str]:
    """What must be known of a design that is not its own circuits on the operands asked for."""
    found = [f"{at.field} {at.asked:.3g} is priced at {at.priced:.3g}, where the tables end"
             for at in circuit.beyond()]
    if not circuit.own(TREE, "block_delay_s"):
        found.append("the fused tree's size lies between composed ones; 'himc estimate' of a design says how far "
                     "that misses")
    if not circuit.reader.has(MONTE_CARLO):
        found.append("these tables hold no Monte Carlo: clock and time are without mismatch")
    spread = samples(circuit.reader)
    return [*found, *carried(spread.at if spread else {}, vars(circuit.reader.point))]


class Evaluator:
    """Blocks of a grid, with what they share kept: circuits of a shape, readers of an operating point."""

    def __init__(self, read: Reader) -> None:
        """read: tables, at any operating point."""
        self._read = LeanReader(read.point, read)
        self.said: dict[str, int] = {}  #: what must be known of designs -> how many it holds of
        self._circuit = lru_cache(maxsize=None)(self._make_circuit)

    def _make_circuit(self, options: EstimateOptions) -> MacroCircuit:
        point = replace(self._read.point, corner=options.corner, temp_c=options.temp_c, vdd_v=options.vdd_v)
        return circuit_of(options, self._reader(point.corner, point.temp_c, point.vdd_v))

    @cache  # noqa: B019  one evaluator a grid
    def _reader(self, corner: str, temp_c: float, vdd_v: float) -> Reader:
        return self._read.at(replace(self._read.point, corner=corner, temp_c=temp_c, vdd_v=vdd_v))

    def __call__(self, shape: EstimateOptions, batches: Sequence[int], asked: Sequence[str],
                 circuits: Sequence[EstimateOptions]) -> tuple[dict[str, F64], list[str]]:
        """(metric -> (batches, M, C), why circuits were refused); what cannot be is NaN.

        shape: rows, words and so on; circuits: the same shape, each with its circuit.
        """
        structure = structure_of(shape)
        blocks = [block(replace(shape, batch=batch), structure, asked) for batch in batches]
        counted = set().union(*(one.events() for one in blocks))
        slowest = np.array([sigmas(int(count) * structure.compartments) for count in blocks[0].budgets.macros])
        rows, kept, refused = [], [], []
        for k, options in enumerate(circuits):
            try:
                rows.append(price(options, self._circuit(options), slowest, counted))
                kept.append(k)
                for note in notes(self._circuit(options)):
                    self.said[note] = self.said.get(note, 0) + len(batches) * len(asked)
            except BadInput as error:
                refused.append(str(error))
        found = {name: np.full((len(batches), len(asked), len(circuits)), np.nan) for name in METRICS}
        if kept:
            prices, choice = stacked(rows), [circuits[k].constants for k in kept]
            for b, one in enumerate(blocks):
                for name, values in evaluate_block(one, prices, choice).items():
                    found[name][b][:, kept] = values
        return found, refused
