"""Tensor classes: each with a type, a home, and reads and writes in the passes that need it."""

from __future__ import annotations

import pytest

from system.blocks import PASSES
from system.networks import NETWORKS, build_network
from system.traffic import TensorTraffic, tensors

MIB = 8 * 2**20


def classes(name: str, **choices: bool) -> dict[str, list[TensorTraffic]]:
    found: dict[str, list[TensorTraffic]] = {}
    for t in tensors(build_network(name, 64), 4, 2 * MIB, **choices):
        found.setdefault(t.tensor, []).append(t)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_every_class_has_a_home_and_is_written_before_it_is_read(name: str) -> None:
    for t in tensors(build_network(name, 64), 4, 2 * MIB):
        assert t.bits > 0
        assert t.home in ("array", "buffer", "dram")
        assert t.type in ("BF16", "FP32")
        assert {p for p, _ in (*t.writes, *t.reads)} <= set(PASSES)
        assert all(n > 0 for _, n in (*t.writes, *t.reads))
        assert t.writes or t.tensor == "input"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_state_and_every_layer_saves(name: str) -> None:
    network, found = build_network(name, 64), classes(name)
    for tensor in ("weight_gradient", "momentum", "master_copy"):
        assert sum(t.bits for t in found[tensor]) == 32 * network.parameters
    residuals = sum(v.elements for v in network.vector_layers if v.kind == "residual")
    outputs = sum(layer.out_elements for layer in network.mac_layers)
    assert sum(t.bits for t in found["saved_activation"]) == 16 * 4 * (outputs + residuals)
    assert sum(t.bits for t in found["weight"]) == 16 * sum(layer.weights for layer in network.mac_layers)


def test_attention_saves_softmax_and_writes_keys_and_values() -> None:
    network, found = build_network("vit_tiny", 64), classes("vit_tiny")
    tokens, heads = 17, 3
    saved = {t.layer: t.bits for t in found["saved_activation"]}
    assert saved["block1.scores"] == 16 * 4 * heads * tokens**2
    assert saved["block1.qkv"] == 16 * 4 * tokens * 3 * 192
    stored = {t.layer: t for t in found["stored_operand"]}
    assert len(stored) == 24
    assert stored["block1.values"].bits == 16 * 4 * tokens * 192
    assert stored["block1.values"].writes == (("forward", 1), ("input_gradient", 1))
    assert stored["block1.values"].home == "array"
    statistics = [t for t in found["layer_norm_statistics"] if t.layer.startswith("block1.")]
    assert [t.bits for t in statistics] == [2 * 32 * 4 * tokens] * 2
    assert len(found["layer_norm_statistics"]) == 25
    assert not any(t.layer == "block1.scores" for t in found["weight"])
    assert network.mac_layers[0].name == "patches"


def test_weights_written_for_each_pass_are_read_from_their_home() -> None:
    held, written = classes("resnet18"), classes("resnet18", held=False)
    assert {t.home for t in held["weight"]} == {"array"}
    assert all(t.reads == () for t in held["weight"])
    assert {t.home for t in written["weight"]} == {"dram"}
    assert written["weight"][0].reads == (("forward", 1),)
    assert written["weight"][1].reads == (("forward", 1), ("input_gradient", 1))
    assert written["weight"][1].bits_in("update") == written["weight"][1].bits
