"""The mapper's closed forms against events counted inside the scalar arithmetic's loops, layer by layer.

The counting module knows nothing of the mapper; both know how a sum is cut into tiles.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from system.events import forward, input_gradient, place, update
from system.events_gradient import weight_gradient_modes
from system.numerics import counted, vectorised
from system.numerics.arithmetic import Arithmetic
from system.structure import macro_structure
from system.workload import MacLayer

#: events that the arithmetic itself makes
COUNTED = ("compartment_product", "idle_lane_product", "tree_add", "tree_normalise", "tile_accumulate",
           "lane_accumulate", "hadamard_round", "gradient_gate", "array_write", "update_add")


@dataclass(frozen=True)
class Case:
    layer: MacLayer
    batch: int = 1
    lanes: int = 32


def codes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Finite BF16 codes, some of them zero."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0x3E00, 0x4100, shape) | rng.integers(0, 2, shape) << 15
    return np.where(rng.random(shape) < 0.1, 0, found).astype(np.uint16)


CASES = {
    "pointwise": Case(MacLayer("l", "conv", 5, 7, 1, 1, 3)),
    "pointwise, batch 5, ragged": Case(MacLayer("l", "conv", 37, 3, 1, 1, 2), 5),
    "ordinary": Case(MacLayer("l", "conv", 4, 3, 3, 1, 4)),
    "strided": Case(MacLayer("l", "conv", 3, 5, 3, 2, 5), 5),
    "depthwise": Case(MacLayer("l", "depthwise", 5, 5, 3, 1, 4)),
    "depthwise, strided, batch 5": Case(MacLayer("l", "depthwise", 7, 7, 3, 2, 5), 5),
    "depthwise, more taps than lanes": Case(MacLayer("l", "depthwise", 3, 3, 5, 1, 5), 1, 9),
    "linear": Case(MacLayer("l", "linear", 40, 6, 1, 1, 1), 5),
    "linear, 9 lanes": Case(MacLayer("l", "linear", 20, 3, 1, 1, 1), 1, 9),
    "grouped": Case(MacLayer("l", "conv", 6, 8, 3, 1, 4, groups=2)),
    "grouped, strided, batch 5": Case(MacLayer("l", "conv", 12, 9, 3, 2, 5, groups=3), 5, 16),
    "attention": Case(MacLayer("l", "matmul", 2 * 5, 2 * 7, 1, 1, 7, groups=2)),
    "attention, batch 5, ragged": Case(MacLayer("l", "matmul", 37, 4, 1, 1, 6), 5),
    "depthwise, three taps": Case(MacLayer("l", "depthwise", 7, 7, (3,), (1,), (8,)), 5),
    "first layer": Case(MacLayer("l", "conv", 3, 4, 3, 2, 6, needs_input_gradient=False), 1),
}


def operands(layer: MacLayer, batch: int) -> tuple[list[list[list[int]]], int]:
    """(x of (groups, rows, depth), words): of two activations each sample and head is a group of its own."""
    if layer.kind == "matmul":
        shape = (batch * layer.groups, layer.positions, layer.in_channels // layer.groups)
        return codes(shape, 1).tolist(), layer.out_channels // layer.groups
    size = (1,) * (2 - len(layer.in_size)) + layer.in_size
    edge = (1,) * (2 - len(layer.kernel_size)) + layer.kernel_size
    images = codes((batch, layer.in_channels, *size), 1)
    unfolded = [counted.patches(image.tolist(), (edge[0], edge[1]), layer.strides[0],
                                ((edge[0] - 1) // 2, (edge[1] - 1) // 2), layer.groups) for image in images]
    return [[row for image in unfolded for row in image[g]] for g in range(layer.groups)], (
        layer.out_channels // layer.groups)


def tallies(case: Case) -> dict[str, tuple[Counter[str], dict[str, int]]]:
    """pass and mode -> (counted, closed form)."""
    layer, batch, a = case.layer, case.batch, Arithmetic(case.lanes)
    m = replace(macro_structure("fan2023"), compartments=case.lanes)
    matmul = layer.kind == "matmul"
    x, words = operands(layer, batch)
    w = codes((len(x), words, len(x[0][0])), 2).tolist()
    delta = codes((len(x), len(x[0]), words), 3).tolist()
    assert len(x) * len(x[0]) == layer.positions * batch * layer.groups
    placed = place(layer, m)
    found: dict[str, tuple[Counter[str], dict[str, int]]] = {}
    tally: Counter[str] = Counter()
    if matmul:
        counted.store(w, tally)
    z = counted.forward(x, w, a, tally)
    wide = [vectorised.dot(np.array(p, np.uint16), np.array(q, np.uint16), a) for p, q in zip(x, w, strict=True)]
    assert np.array_equal(np.array(z), np.array(wide))
    found["forward"] = (tally, forward(placed, batch, m))
    if layer.needs_input_gradient:
        tally = Counter()
        if matmul:
            counted.store(w, tally)
        counted.input_gradient(w, delta, a, tally)
        counted.gate(layer.in_elements * batch, tally, activated=not matmul)
        found["input_gradient"] = (tally, input_gradient(placed, batch, m))
    for mode in weight_gradient_modes(placed, batch, m):
        tally = Counter()
        counted.weight_gradient(x, delta, a, tally, mode.name.partition(",")[0],
                                "delta" if "gradient stored" in mode.name else "x")
        if matmul:  # the gradient of an activation, for the layer before it
            counted.gate(layer.stored * batch, tally, activated=False)
        found[mode.name] = (tally, dict(mode.counts))
    tally = Counter()
    counted.update(0 if matmul else layer.weights, 3, tally)
    found["update"] = (tally, update(placed, 3, stochastic=False))
    return found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_closed_forms_equal_counted_events(case: Case) -> None:
    for name, (tally, closed) in tallies(case).items():
        got = {event: tally[event] for event in COUNTED}
        assert got == {event: closed.get(event, 0) for event in COUNTED}, name
        assert got["compartment_product"] > 0 or name == "update"


def test_every_kind_of_layer_is_counted() -> None:
    assert {case.layer.kind for case in CASES.values()} == {"conv", "depthwise", "linear", "matmul"}
    assert any(case.layer.groups > 1 and case.layer.kind == "conv" for case in CASES.values())
