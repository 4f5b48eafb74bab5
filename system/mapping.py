"""Layer × pass → events and an explicit schedule, under a policy for the weights.

`resident`: one copy of every layer. `replicated`: copies under a budget of macros, each layer's count in
proportion to the square root of its work over its size, which is where one more macro saves equally much time
everywhere; copies are paid for in update writes and gradient reduction. Weight gradients run in dedicated
activation macros, whose area counts, beside the input gradient of the same layer. Batch norm needs its whole
batch, so layers follow one another: time is a sum over layers and passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlib.errors import BadInput
from system.blocks import PASSES
from system.events import (
    Counts,
    GradientMode,
    Placement,
    ceil_div,
    forward,
    gradient_reduction,
    input_gradient,
    merge,
    place,
    update,
    vector_update,
    vector_work,
    weight_gradient_modes,
)
from system.structure import MacroStructure
from system.workload import MacLayer, Network

POLICIES = ("resident", "replicated")
Price = Callable[[Mapping[str, int]], float]


@dataclass(frozen=True)
class LayerPass:
    """One row of the schedule, per step. `cycles` follow one another; `macro_cycles` are summed over macros."""

    layer: str
    pass_name: str
    mode: str
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

    def counts(self) -> dict[tuple[str, str], int]:
        """Events by (name, pass), per step."""
        total: dict[tuple[str, str], int] = {}
        for row in self.rows:
            for name, n in row.counts.items():
                total[(name, row.pass_name)] = total.get((name, row.pass_name), 0) + n
        return total

    def cycles(self, pass_name: str) -> int:
        return sum(row.cycles for row in self.rows if row.pass_name == pass_name)


def resident_macros(network: Network, m: MacroStructure) -> int:
    """Macros that hold one copy of every layer."""
    return sum(place(layer, m).macros for layer in network.mac_layers)


def allocate(network: Network, m: MacroStructure, batch: int, budget: int) -> tuple[dict[str, int], int]:
    """Copies of each layer and activation macros that fit `budget` macros in all."""
    placements = [place(layer, m) for layer in network.mac_layers]
    resident = sum(p.macros for p in placements)
    if budget < resident + 1:
        raise BadInput(f"macros: {network.name} needs at least {resident + 1} ({resident} for one copy of its "
                       f"weights and one for weight gradients), got {budget}")
    work = [_work(p) * (2 if p.layer.needs_input_gradient else 1) for p in placements]
    gradient = sum(ceil_div(p.layer.macs, m.compartments) for p in placements)
    limits = [p.layer.positions * batch for p in placements]

    def counts_at(level: float) -> tuple[list[int], int]:
        copies = [min(limit, max(1, int(math.sqrt(w / p.macros) / level)))
                  for w, p, limit in zip(work, placements, limits, strict=True)]
        return copies, max(1, int(math.sqrt(gradient) / level))

    def used(level: float) -> int:
        copies, gradient_macros = counts_at(level)
        return sum(c * p.macros for c, p in zip(copies, placements, strict=True)) + gradient_macros

    low, high = 1e-6, 2.0 * math.sqrt(max(*work, gradient))
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if used(middle) > budget else (low, middle)
    copies, gradient_macros = counts_at(high)
    return {p.layer.name: c for p, c in zip(placements, copies, strict=True)}, gradient_macros


def _work(placement: Placement) -> int:
    return placement.layer.positions * placement.operations_per_position


def map_network(
    network: Network, m: MacroStructure, batch: int, policy: str, price: Price, macros: int | None = None,
    gradient_macros: int = 64, stochastic: bool = False,
) -> MappedNetwork:
    """Place the network and count a whole training step.

    price: joules of a set of events in the weight-gradient pass; it decides between the modes.
    macros: the budget of `replicated`. gradient_macros: activation macros of `resident` [I].
    """
    if batch < 1:
        raise BadInput(f"batch: must be at least 1, got {batch}")
    if policy not in POLICIES:
        raise BadInput(f"policy: {' or '.join(POLICIES)} is allowed, got '{policy}'")
    if policy == "replicated":
        budget = macros if macros is not None else 2 * resident_macros(network, m)
        copies, gradient_macros = allocate(network, m, batch, budget)
    else:
        copies = {layer.name: 1 for layer in network.mac_layers}
    rows: list[LayerPass] = []
    for layer in network.mac_layers:
        rows += _layer_rows(network, layer, m, batch, copies[layer.name], gradient_macros, price, stochastic)
    held = sum(place(layer, m).macros * copies[layer.name] for layer in network.mac_layers)
    return MappedNetwork(network, m, batch, policy, tuple(rows), held, gradient_macros)


def _layer_rows(
    network: Network, layer: MacLayer, m: MacroStructure, batch: int, copies: int, gradient_macros: int,
    price: Price, stochastic: bool,
) -> list[LayerPass]:
    placement = place(layer, m)
    followers = network.followers(layer)
    mode = _cheapest(weight_gradient_modes(placement, batch, m), price)
    work: dict[str, Counts] = {
        "forward": merge(forward(placement, batch, m), *(vector_work(v, batch, False) for v in followers)),
        "input_gradient": merge(input_gradient(placement, batch, m),
                                *(vector_work(v, batch, True) for v in followers)),
        "weight_gradient": merge(dict(mode.counts), gradient_reduction(layer, copies)),
        "update": merge(update(placement, copies, stochastic), *(vector_update(v) for v in followers)),
    }
    return [_row(placement, p, work[p], m, batch, copies, gradient_macros, mode) for p in PASSES]


def _cheapest(modes: tuple[GradientMode, ...], price: Price) -> GradientMode:
    return min(modes, key=lambda mode: price(mode.counts))


def _row(placement: Placement, pass_name: str, counts: Counts, m: MacroStructure, batch: int, copies: int,
         gradient_macros: int, mode: GradientMode) -> LayerPass:
    positions = placement.layer.positions * batch
    macros, label = placement.macros * copies, "weights resident"
    products = counts.get("compartment_product", 0)
    if pass_name == "weight_gradient":
        macros, label = gradient_macros, mode.name
        written = ceil_div(mode.words_written, m.compartments * macros)
        cycles = ceil_div(mode.operations, macros) * m.serial_cycles + written
        macro_cycles = mode.operations * m.serial_cycles + ceil_div(mode.words_written, m.compartments)
        copies = 1
    elif pass_name == "update":
        # One near-memory adder a macro: its words pass one a cycle; every copy is written meanwhile.
        label = "near-memory add, write back"
        cycles = ceil_div(placement.words, placement.macros)
        macro_cycles = placement.words * copies
    elif pass_name == "input_gradient" and not products:
        label, cycles, macro_cycles = "not needed", 0, 0
    else:
        per_copy = ceil_div(positions, copies)
        cycles = per_copy * placement.operations_per_position * m.serial_cycles
        macro_cycles = positions * placement.slots * m.serial_cycles
    possible = m.compartments * macros * cycles
    busy = products * m.serial_cycles / possible if possible else 0.0
    return LayerPass(placement.layer.name, pass_name, label, positions, placement.words, macros, copies, cycles,
                     macro_cycles, busy, counts)
