"""What a network asks of one shape of macro at one batch, as arrays over budgets of macros.

Event counts are linear in a layer's copies: those of one copy, and what each further copy adds. The functions are the
mapper's own; only the allocation of copies is written anew, for many budgets at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from system.blocks import EVENTS, PASSES
from system.events import forward, gradient_reduction, input_gradient, merge, update, vector_update, vector_work
from system.events_gradient import GradientMode, weight_gradient_modes
from system.mapping import held_layers, on_activations, resident_macros
from system.options import EstimateOptions
from system.placement import Placement, ceil_div, place
from system.schedule import operand_written
from system.structure import MacroStructure
from system.workload import MacLayer, Network

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
NAMES = tuple(EVENTS)
VECTOR = np.array([name in ("vector_add", "vector_multiply", "vector_compare") for name in NAMES], dtype=float)


def as_vector(counts: Mapping[str, int]) -> F64:
    """Counts in the order of the enumeration; exact below 2^53."""
    return np.array([counts.get(name, 0) for name in NAMES], dtype=float)


@dataclass(frozen=True)
class Budgets:
    """M budgets. macros: asked for, which set the area; used: those that hold something. copies: (M, layers)."""

    macros: I64
    used: I64
    gradient_macros: I64
    copies: I64
    feasible: npt.NDArray[np.bool_]


def budgets(network: Network, m: MacroStructure, batch: int, asked: Sequence[str], base: EstimateOptions) -> Budgets:
    """Each of `asked` as :meth:`EstimateOptions.policy` reads it: "resident", "replicated" or a number."""
    placements = [place(layer, m) for layer in held_layers(network)]
    resident = resident_macros(network, m)
    numbers = np.array([resident + base.gradient_macros if text == "resident" else 2 * resident
                        if text == "replicated" else int(text) for text in asked], dtype=np.int64)
    kept = np.array([text == "resident" for text in asked])
    feasible = kept | (numbers >= resident + 1)
    copies, gradient = _allocate(network, placements, m, batch, np.where(feasible & ~kept, numbers, resident + 1))
    copies[kept], gradient[kept] = 1, base.gradient_macros
    held = copies @ np.array([p.macros for p in placements], dtype=np.int64)
    return Budgets(numbers, held + gradient, gradient, _every_layer(network, copies), feasible)


def _every_layer(network: Network, copies: I64) -> I64:
    """Copies by MAC layer; a matmul, which holds nothing, has one."""
    found = np.ones((len(copies), len(network.mac_layers)), dtype=np.int64)
    held = [k for k, layer in enumerate(network.mac_layers) if layer.kind != "matmul"]
    found[:, held] = copies
    return found


def _allocate(network: Network, placements: Sequence[Placement], m: MacroStructure, batch: int,
              numbers: I64) -> tuple[I64, I64]:
    """(copies (M, held layers), activation macros (M,)), as :func:`system.mapping.allocate` has them."""
    macros = np.array([p.macros for p in placements], dtype=float)
    work = np.array([p.layer.positions * p.operations_per_position * (2 if p.layer.needs_input_gradient else 1)
                     for p in placements], dtype=float)
    limits = np.array([p.layer.positions * p.layer.times(batch) for p in placements], dtype=float)
    gradient = float(sum(ceil_div(layer.macs, m.compartments) * on_activations(layer)
                         for layer in network.mac_layers))
    roots = np.sqrt(work / macros)

    def counts_at(level: F64) -> tuple[F64, F64]:
        copies = np.minimum(limits, np.maximum(1.0, np.floor(roots / level[:, np.newaxis])))
        return copies, np.maximum(1.0, np.floor(np.sqrt(gradient) / level))

    low = np.full(len(numbers), 1e-6)
    high = np.full(len(numbers), 2.0 * np.sqrt(max(*work, gradient)))
    for _ in range(200):
        middle = np.sqrt(low * high)
        copies, gradients = counts_at(middle)
        over = copies @ macros + gradients > numbers
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    copies, gradients = counts_at(high)
    return copies.astype(np.int64), gradients.astype(np.int64)


@dataclass(frozen=True)
class LayerWork:
    """One layer. fixed: pass -> events of one copy; slope: pass -> events that each further copy adds. modes: the
    ways of the weight gradient, events (K, E). cycles and macro_cycles: pass -> (M,), the weight gradient's (M, K).
    """

    name: str
    fixed: Mapping[str, F64]
    slope: Mapping[str, F64]
    modes: F64
    cycles: Mapping[str, F64]
    macro_cycles: Mapping[str, F64]
    in_turn: bool


def layer_work(network: Network, layer: MacLayer, m: MacroStructure, batch: int, copies: I64, gradient_macros: I64,
               stochastic: bool) -> LayerWork:
    """Events and cycles of a layer that holds its weights, or of a matmul, for M allocations."""
    placement, followers = place(layer, m), network.followers(layer)
    matmul, samples, batch = layer.kind == "matmul", batch, layer.times(batch)
    gradient_of_inputs = input_gradient(placement, batch, m)
    one, two = (merge(update(placement, n, stochastic), *(vector_update(v) for v in followers)) for n in (1, 2))
    sums = [gradient_reduction(layer, n) for n in (1, 2)]
    fixed = {
        "forward": as_vector(merge(forward(placement, batch, m),
                                   *(vector_work(v, samples, False) for v in followers))),
        "input_gradient": as_vector(merge(gradient_of_inputs, *(vector_work(v, samples, True) for v in followers))),
        "weight_gradient": as_vector(sums[0]), "update": as_vector(one)}
    slope = {"weight_gradient": as_vector(sums[1]) - as_vector(sums[0]), "update": as_vector(two) - as_vector(one)}
    modes = weight_gradient_modes(placement, batch, m)
    cycles, macro_cycles = _schedule(placement, batch, m, copies, gradient_macros, modes, matmul)
    if not gradient_of_inputs.get("compartment_product"):
        cycles["input_gradient"] = macro_cycles["input_gradient"] = np.zeros(len(copies))
    return LayerWork(layer.name, fixed, slope, np.stack([as_vector(mode.counts) for mode in modes]), cycles,
                     macro_cycles, matmul)


def _schedule(placement: Placement, batch: int, m: MacroStructure, copies: I64, gradient_macros: I64,
              modes: Sequence[GradientMode], matmul: bool) -> tuple[dict[str, F64], dict[str, F64]]:
    """(cycles, macro-cycles) by pass, as :mod:`system.schedule` has them."""
    count, positions = len(copies), placement.layer.positions * batch
    if matmul:
        timings = [operand_written(placement, batch, int(g), m, "") for g in gradient_macros]
        stream = np.array([t.cycles for t in timings], dtype=float)
        work = np.array([t.macro_cycles for t in timings], dtype=float)
        updated, rewritten = np.zeros(count), np.zeros(count)
    else:
        stream = (-(-positions // copies) * placement.operations_per_position * m.serial_cycles).astype(float)
        work = np.full(count, float(positions * placement.slots * m.serial_cycles))
        words = placement.layer.learned_weights
        updated = np.full(count, float(ceil_div(words, max(1, min(placement.macros, words)))))
        rewritten = (words * copies).astype(float)
    operations = np.array([mode.operations for mode in modes], dtype=np.int64)
    addresses = np.array([mode.addresses_written for mode in modes], dtype=np.int64)
    gradients = (-(-operations // gradient_macros[:, np.newaxis]) * m.serial_cycles
                 - (-addresses // gradient_macros[:, np.newaxis])).astype(float)
    cycles = {"forward": stream, "input_gradient": stream, "weight_gradient": gradients, "update": updated}
    macro_cycles = {"forward": work, "input_gradient": work, "update": rewritten,
                    "weight_gradient": np.tile((operations * m.serial_cycles + addresses).astype(float), (count, 1))}
    assert set(cycles) == set(PASSES)
    return cycles, macro_cycles
