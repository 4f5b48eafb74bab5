"""Event counts against brute-force enumeration, and the schedule's known times."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from charlib.errors import BadInput
from system.blocks import EVENTS, PASSES
from system.events import forward, input_gradient, place, update
from system.events_gradient import weight_gradient_modes
from system.mapping import allocate, map_network, resident_macros
from system.networks import build_network
from system.structure import MacroStructure, macro_structure
from system.workload import MacLayer

MACRO = macro_structure("fan2023")
SMALL = MacroStructure("small", compartments=4, rows=2, columns=32)
CYCLE_S = 3e-9


def price(counts: Mapping[str, int]) -> float:
    return counts.get("array_write", 0) * 100.0 + counts.get("buffer_bit", 0)


def enumerate_forward(layer: MacLayer, batch: int, m: MacroStructure) -> dict[str, int]:
    """Walk over every position, slot and lane."""
    lanes, found = m.compartments, {"product": 0, "idle": 0, "operations": 0, "normalise": 0}
    for _ in range(batch * layer.positions):
        if layer.kind == "depthwise":
            packed = lanes // layer.taps
            for first in range(0, layer.out_channels, packed):
                used = min(packed, layer.out_channels - first)
                found["operations"] += 1
                found["product"] += used * layer.taps
                found["idle"] += lanes - used * layer.taps
                found["normalise"] += used
        else:
            for _ in range(layer.out_channels):
                for first in range(0, layer.reduction, lanes):
                    used = min(lanes, layer.reduction - first)
                    found["operations"] += 1
                    found["product"] += used
                    found["idle"] += lanes - used
                    found["normalise"] += 1
    return found


@pytest.mark.parametrize(
    ("layer", "m"),
    [
        (MacLayer("a", "conv", 3, 5, 3, 2, 7), MACRO),
        (MacLayer("b", "conv", 33, 7, 1, 1, 4), MACRO),
        (MacLayer("c", "depthwise", 10, 10, 3, 1, 5), MACRO),
        (MacLayer("d", "linear", 70, 11, 1, 1, 1), MACRO),
        (MacLayer("e", "conv", 5, 3, 1, 1, 3), SMALL),
    ],
)
def test_forward_counts_equal_enumeration(layer: MacLayer, m: MacroStructure) -> None:
    counts, brute = forward(place(layer, m), 2, m), enumerate_forward(layer, 2, m)
    assert counts["compartment_product"] == brute["product"] == 2 * layer.macs
    assert counts.get("idle_lane_product", 0) == brute["idle"]
    assert counts["tree_add"] == brute["operations"]
    assert counts["tree_normalise"] == brute["normalise"]
    assert counts["macro_cycle_clock"] == brute["operations"] * m.serial_cycles


@pytest.mark.parametrize("layer", [MacLayer("a", "conv", 3, 5, 3, 2, 7), MacLayer("b", "depthwise", 4, 4, 3, 1, 5)])
def test_every_pass_conserves_products(layer: MacLayer) -> None:
    placement = place(layer, MACRO)
    assert input_gradient(placement, 3, MACRO)["compartment_product"] == 3 * layer.macs
    for mode in weight_gradient_modes(placement, 3, MACRO):
        assert mode.counts["compartment_product"] == 3 * layer.macs
        assert mode.counts["array_write"] == mode.words_written > 0


def test_weight_gradient_enumerated() -> None:
    """Batched: positions in tiles of a lane each, for every (k, n)."""
    layer, batch = MacLayer("a", "conv", 3, 5, 1, 1, 5), 2
    tiles = -(-batch * 25 // 32)
    modes = {mode.name: mode for mode in weight_gradient_modes(place(layer, MACRO), batch, MACRO)}
    assert modes["batched, activation stored"].operations == tiles * 3 * 5
    assert modes["batched, activation stored"].words_written == batch * 25 * 3
    assert modes["batched, gradient stored"].words_written == batch * 25 * 5
    assert modes["outer"].counts["lane_accumulate"] == batch * layer.macs


def test_depthwise_fills_27_of_32_lanes() -> None:
    counts = forward(place(MacLayer("d", "depthwise", 30, 30, 3, 1, 8), MACRO), 1, MACRO)
    used = counts["compartment_product"]
    assert used / (used + counts["idle_lane_product"]) == 27 / 32


def test_first_pointwise_layer_takes_19_27_ms() -> None:
    mapped = map_network(build_network("mobilenet_v1"), MACRO, 1, "resident", price)
    row = next(r for r in mapped.rows if r.layer == "pw1" and r.pass_name == "forward")
    assert row.cycles * CYCLE_S == pytest.approx(12_544 * 64 * 24e-9, rel=1e-12)
    assert row.cycles * CYCLE_S == pytest.approx(19.27e-3, rel=1e-3)
    assert row.busy_fraction == 1.0
    assert mapped.cycles("forward") * CYCLE_S >= 50e-3


def test_replication_is_faster_and_priced() -> None:
    network = build_network("mobilenet_v1")
    one = map_network(network, MACRO, 8, "resident", price)
    many = map_network(network, MACRO, 8, "replicated", price)
    assert many.macros <= 2 * resident_macros(network, MACRO)
    assert many.cycles("forward") < one.cycles("forward") / 5
    assert many.counts()[("array_write", "update")] > one.counts()[("array_write", "update")]
    assert (many.counts()[("vector_add", "weight_gradient")]
            > one.counts().get(("vector_add", "weight_gradient"), 0))
    assert all(0 <= row.busy_fraction <= 1 for row in many.rows)


def test_products_of_a_step_are_the_training_macs() -> None:
    network = build_network("mobilenet_v2", 64, 0.5, 10)
    counts = map_network(network, MACRO, 3, "replicated", price).counts()
    products = sum(n for (name, _), n in counts.items() if name == "compartment_product")
    assert products == 3 * network.macs_training


def test_every_event_has_a_block_and_counts_are_integers() -> None:
    mapped = map_network(build_network("mobilenet_v2", 32, 0.25, 10), MACRO, 2, "replicated", price,
                         stochastic=True)
    for (name, pass_name), n in mapped.counts().items():
        assert isinstance(n, int)
        assert n > 0
        assert name in EVENTS
        assert pass_name in PASSES


def test_update_writes_every_copy() -> None:
    layer = MacLayer("a", "conv", 3, 5, 1, 1, 5)
    assert update(place(layer, MACRO), 7, False)["array_write"] == 7 * 15


def test_too_few_macros_is_refused() -> None:
    network = build_network("mobilenet_v1")
    with pytest.raises(BadInput, match=r"^macros: mobilenet_v1 needs at least 2067 .2066 for one copy"):
        allocate(network, MACRO, 1, 10)
    with pytest.raises(BadInput, match=r"^batch: must be at least 1, got 0$"):
        map_network(network, MACRO, 0, "resident", price)
    with pytest.raises(BadInput, match=r"^policy: resident, replicated, time_multiplexed are allowed, got 'x'$"):
        map_network(network, MACRO, 1, "x", price)
