"""Layer × pass → events and an explicit schedule, under a policy for the weights.

`resident`: one copy of every layer. `replicated`: copies under a budget of macros, each layer's count in
proportion to the square root of its work over its size, which is where one more macro saves equally much time
everywhere; copies are paid for in update writes and gradient reduction. Weight gradients, and both operands of a
matmul, use dedicated activation macros, whose area counts. `time_multiplexed`: a given number of macros takes every
layer's weights anew for each pass, as many copies as fit and have positions to work on, in as many rounds as one copy
needs. Batch norm needs its whole batch, so layers follow one another: time is a sum over layers and passes, each row
in :mod:`system.schedule`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlib.errors import BadInput
from system.blocks import PASSES
from system.events import (
    Counts,
    forward,
    gradient_reduction,
    input_gradient,
    merge,
    reload,
    update,
    vector_update,
    vector_work,
)
from system.events_gradient import GradientMode, weight_gradient_modes
from system.placement import Placement, ceil_div, place
from system.schedule import (
    ACTIVATIONS,
    SHARED,
    WEIGHTS,
    Timing,
    gradient,
    operand_written,
    streamed,
    updated,
    written_for_pass,
)
from system.structure import MacroStructure
from system.workload import MacLayer, Network

POLICIES = ("resident", "replicated", "time_multiplexed")
Price = Callable[[Mapping[str, int]], float]


@dataclass(frozen=True)
class LayerPass:
    """One row of the schedule, per step. `cycles` follow one another; `macro_cycles` are summed over macros."""

    layer: str
    pass_name: str
    mode: str
    array: str  #: "weights" or "activations": the macros that this row keeps busy
    positions: int
    words: int
    macros: int
    copies: int
    cycles: int
    macro_cycles: int
    busy_fraction: float
    counts: Mapping[str, int]

    @property
    def vector_operations(self) -> int:
        return sum(self.counts.get(f"vector_{kind}", 0) for kind in ("add", "multiply", "compare"))


@dataclass(frozen=True)
class MappedNetwork:
    """A network placed on macros: rows of every layer and pass, for one batch."""

    network: Network
    structure: MacroStructure
    batch: int
    policy: str
    rows: tuple[LayerPass, ...]
    weight_macros: int
    gradient_macros: int

    @property
    def macros(self) -> int:
        return self.weight_macros + self.gradient_macros

    @property
    def in_turn(self) -> frozenset[str]:
        """Layers whose weight gradient waits for their input gradient, because both need the same macros."""
        arrays: dict[str, str] = {r.layer: r.array for r in self.rows if r.pass_name == "input_gradient"}
        return frozenset(r.layer for r in self.rows
                         if r.pass_name == "weight_gradient" and arrays[r.layer] == r.array)

    @property
    def shared(self) -> bool:
        """Whether all layers use the same macros, so that their updates too follow one another."""
        return any(row.array == SHARED for row in self.rows)

    def counts(self) -> dict[tuple[str, str], int]:
        """Events by (name, pass), per step."""
        total: dict[tuple[str, str], int] = {}
        for row in self.rows:
            for name, n in row.counts.items():
                total[(name, row.pass_name)] = total.get((name, row.pass_name), 0) + n
        return total

    def cycles(self, pass_name: str) -> int:
        return sum(row.cycles for row in self.rows if row.pass_name == pass_name)


def held_layers(network: Network) -> tuple[MacLayer, ...]:
    """Layers whose weights stay in macros."""
    return tuple(layer for layer in network.mac_layers if layer.kind != "matmul")


def resident_macros(network: Network, m: MacroStructure) -> int:
    """Macros that hold one copy of every layer."""
    return sum(place(layer, m).macros for layer in held_layers(network))


def allocate(network: Network, m: MacroStructure, batch: int, budget: int) -> tuple[dict[str, int], int]:
    """Copies of each layer and activation macros that fit `budget` macros in all."""
    placements = [place(layer, m) for layer in held_layers(network)]
    resident = sum(p.macros for p in placements)
    if budget < resident + 1:
        raise BadInput(f"macros: {network.name} needs at least {resident + 1} ({resident} for one copy of its "
                       f"weights and one for weight gradients), got {budget}")
    work = [_work(p) * (2 if p.layer.needs_input_gradient else 1) for p in placements]
    gradient = sum(ceil_div(layer.macs, m.compartments) * on_activations(layer) for layer in network.mac_layers)
    roots = [math.sqrt(w / p.macros) for w, p in zip(work, placements, strict=True)]
    limits = [p.layer.positions * p.layer.times(batch) for p in placements]
    sizes = [p.macros for p in placements]

    def counts_at(level: float) -> tuple[list[int], int]:
        copies = [min(limit, max(1, int(root / level))) for root, limit in zip(roots, limits, strict=True)]
        return copies, max(1, int(math.sqrt(gradient) / level))

    def used(level: float) -> int:
        copies, gradient_macros = counts_at(level)
        return sum(c * size for c, size in zip(copies, sizes, strict=True)) + gradient_macros

    low, high = 1e-6, 2.0 * math.sqrt(max(*work, gradient))
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if used(middle) > budget else (low, middle)
    copies, gradient_macros = counts_at(high)
    return {p.layer.name: c for p, c in zip(placements, copies, strict=True)}, gradient_macros


def on_activations(layer: MacLayer) -> int:
    """Passes of a layer that keep activation macros busy: the weight gradient, and all those of a matmul."""
    return layer.passes if layer.kind == "matmul" else int(not layer.frozen)


def _work(placement: Placement) -> int:
    return placement.layer.positions * placement.operations_per_position


def map_network(
    network: Network, m: MacroStructure, batch: int, policy: str, price: Price, macros: int | None = None,
    gradient_macros: int = 64, stochastic: bool = False,
) -> MappedNetwork:
    """Place the network and count a whole training step.

    price: joules of a set of events in the weight-gradient pass; it decides between the modes.
    macros: the budget of `replicated`, or all there are of `time_multiplexed`, which shares them among all passes.
    gradient_macros: activation macros of `resident` [I].
    """
    if batch < 1:
        raise BadInput(f"batch: must be at least 1, got {batch}")
    if policy not in POLICIES:
        raise BadInput(f"policy: {', '.join(POLICIES)} are allowed, got '{policy}'")
    if gradient_macros < 1:
        raise BadInput(f"gradient_macros: must be at least 1, got {gradient_macros}")
    if policy == "time_multiplexed":
        if macros is None or macros < 1:
            raise BadInput(f"macros: time_multiplexed needs a number of macros of at least 1, got {macros}")
        rows = [row for layer in network.mac_layers
                for row in _Rows(network, layer, m, layer.times(batch), batch, macros, price,
                                 stochastic).time_multiplexed()]
        return MappedNetwork(network, m, batch, policy, tuple(rows), macros, 0)
    if policy == "replicated":
        budget = macros if macros is not None else 2 * resident_macros(network, m)
        copies, gradient_macros = allocate(network, m, batch, budget)
    else:
        copies = {layer.name: 1 for layer in network.mac_layers}
    rows = [row for layer in network.mac_layers
            for row in _Rows(network, layer, m, layer.times(batch), batch, gradient_macros, price, stochastic).held(
                copies.get(layer.name, 1))]
    held = sum(place(layer, m).macros * copies[layer.name] for layer in held_layers(network))
    return MappedNetwork(network, m, batch, policy, tuple(rows), held, gradient_macros)


@dataclass(frozen=True)
class _Rows:
    """The four rows of one layer. batch: how often a step asks for its work, samples: of the step;
    activation_macros: those that take operands written in every pass.
    """

    network: Network
    layer: MacLayer
    m: MacroStructure
    batch: int
    samples: int
    activation_macros: int
    price: Price
    stochastic: bool

    def held(self, copies: int) -> list[LayerPass]:
        """Weights stay in their macros, `copies` times."""
        placement, mode = place(self.layer, self.m), self._mode()
        if self.layer.kind == "matmul":
            return self._matmul(placement, mode, ACTIVATIONS)
        stream = streamed(placement, self.batch, copies, self.m)
        return self._rows(self._work(placement, mode, copies), {
            "forward": stream, "input_gradient": stream,
            "weight_gradient": gradient(mode, self.activation_macros, self.m, ACTIVATIONS),
            "update": updated(placement, placement.macros, copies, WEIGHTS)})

    def time_multiplexed(self) -> list[LayerPass]:
        """Weights are written for each pass; `activation_macros` are all macros."""
        placement, mode, macros = place(self.layer, self.m), self._mode(), self.activation_macros
        if self.layer.kind == "matmul":
            return self._matmul(placement, mode, SHARED)
        stream = written_for_pass(placement, self.batch, macros, self.m)
        loads = reload(placement, self.batch, stream.copies, macros * placement.operations_per_position)
        work = self._work(placement, mode, 0)
        for pass_name in ("forward", "input_gradient"):
            if work[pass_name].get("compartment_product"):
                work[pass_name] = merge(work[pass_name], loads)
        return self._rows(work, {
            "forward": stream, "input_gradient": stream,
            "weight_gradient": gradient(mode, macros, self.m, SHARED),
            "update": updated(placement, macros, 0, SHARED)})

    def _matmul(self, placement: Placement, mode: GradientMode, array: str) -> list[LayerPass]:
        macros = self.activation_macros
        stream = operand_written(placement, self.batch, macros, self.m, array)
        return self._rows(self._work(placement, mode, 1), {
            "forward": stream, "input_gradient": stream, "weight_gradient": gradient(mode, macros, self.m, array),
            "update": Timing("not needed", array, macros, 1, 0, 0)})

    def _mode(self) -> GradientMode:
        modes = weight_gradient_modes(place(self.layer, self.m), self.batch, self.m)
        return min(modes, key=lambda mode: self.price(mode.counts))

    def _work(self, placement: Placement, mode: GradientMode, copies: int) -> dict[str, Counts]:
        followers = self.network.followers(self.layer)
        return {
            "forward": merge(forward(placement, self.batch, self.m),
                             *(vector_work(v, self.samples, False) for v in followers)),
            "input_gradient": merge(input_gradient(placement, self.batch, self.m),
                                    *(vector_work(v, self.samples, True) for v in followers)),
            "weight_gradient": merge(dict(mode.counts), gradient_reduction(self.layer, max(1, copies))),
            "update": merge(update(placement, copies, self.stochastic), *(vector_update(v) for v in followers)),
        }

    def _rows(self, work: dict[str, Counts], timings: Mapping[str, Timing]) -> list[LayerPass]:
        return [self._row(p, work[p], timings[p]) for p in PASSES]

    def _row(self, pass_name: str, counts: Counts, t: Timing) -> LayerPass:
        products = counts.get("compartment_product", 0)
        if pass_name == "input_gradient" and not products:
            t = Timing("not needed", t.array, t.macros, t.copies, 0, 0)
        possible = self.m.compartments * t.macros * t.cycles
        busy = products * self.m.serial_cycles / possible if possible else 0.0
        return LayerPass(self.layer.name, pass_name, t.mode, t.array, self.layer.positions * self.batch,
                         self.layer.stored, t.macros, t.copies, t.cycles, t.macro_cycles, busy, counts)
