"""The estimate's benchmark: what it hands to ZigZag is the network, and its own counts are the mapper's."""

from __future__ import annotations

import math

from benchmarks import estimate
from system.networks import build_network


def test_layers_handed_over_have_the_networks_products() -> None:
    network = build_network("mobilenet_v1", 224)
    given = estimate.layers_of(network)
    products = sum(row["groups"] * row["outputs"] * row["inputs"] * row["kernel"] ** 2 * row["edge"] ** 2
                   for row in given)
    assert products == network.macs_forward
    assert [row["stride"] for row in given][:4] == [2, 1, 1, 2]


def test_own_counts_by_hand() -> None:
    found = estimate.ours()
    assert found["two tiles of inputs"] == {"inputs": 64 * 64, "weights": 64 * 32, "outputs": 64 * 32,
                                            "sums": 2 * 64 * 32}
    assert found["3 x 3"]["inputs"] == 64 * 27


def test_the_grid_is_whole() -> None:
    assert math.prod(len(values) for values in estimate.GRID.axes.values()) == estimate.GRID.size > 100_000
