"""Closed forms of event counts against loops over every sample, position, slot and lane: 200 random small layers."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from system.events import forward, input_gradient, update
from system.events_gradient import weight_gradient_modes
from system.placement import place, shares
from system.structure import MacroStructure
from system.workload import MacLayer

Slot = list[tuple[int, int, int]]  #: (output, group, k) of each lane
TREE = ("tree_maximum", "tree_align", "tree_add", "tree_flags", "tree_registers")
HELD = 3  #: position tiles of a stored row


def chunks(things: list[int], n: int) -> Iterator[list[int]]:
    for start in range(0, len(things), n):
        yield things[start:start + n]


@dataclass
class Walk:
    """One layer on one macro structure, walked through."""

    layer: MacLayer
    m: MacroStructure
    batch: int

    def __post_init__(self) -> None:
        layer, m = self.layer, self.m
        own_out, own_k = layer.out_channels // layer.groups, layer.reduction
        self.slots: list[Slot] = []
        if layer.kind == "depthwise" and layer.taps <= m.compartments:
            packed = max(1, m.compartments // m.depthwise_group) if layer.taps <= m.depthwise_group else 1
            for channels in chunks(list(range(layer.out_channels)), packed):
                self.slots.append([(c, c, k) for c in channels for k in range(own_k)])
        else:
            for ks in chunks(list(range(own_k)), m.compartments):
                for out in range(layer.out_channels):
                    self.slots.append([(out, out // own_out, k) for k in ks])
        macros = -(-len(self.slots) // m.addresses)
        even = -(-len(self.slots) // macros)
        self.macro = [index // even for index in range(len(self.slots))]
        self.tiles = Counter(out for slot in self.slots for out in {o for o, _, _ in slot})
        self.rows = [(b, p) for b in range(self.batch) for p in self.positions()]

    def positions(self) -> list[tuple[int, ...]]:
        layer = self.layer
        axes = []
        for size, kernel, stride in zip(layer.in_size, layer.kernel_size, layer.strides, strict=True):
            if layer.padding is None:
                axes.append(range(0, size, stride))
            else:
                assert isinstance(layer.padding, int)
                assert isinstance(layer.dilation, int)
                reach = layer.dilation * (kernel - 1)
                axes.append(range(-layer.padding, size + layer.padding - reach, stride))
        return list(itertools.product(*axes))

    def operate(self, slot_lanes: int, found: Counter[str]) -> None:
        found["operations"] += 1
        for lane in range(self.m.compartments):
            found["compartment_product" if lane < slot_lanes else "idle_lane_product"] += 1

    def held_inputs(self) -> set[tuple[int, int, int]]:
        """(macro, group, k): an input has to be loaded there."""
        return {(macro, g, k) for macro, slot in zip(self.macro, self.slots, strict=True) for _, g, k in slot}

    def store(self, found: Counter[str]) -> None:
        if self.layer.kind == "matmul":
            for _ in range(self.batch):
                for slot in self.slots:
                    found["array_write"] += len(slot)
                    found["addresses"] += 1

    def forward(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in self.rows:
            for slot in self.slots:
                self.operate(len(slot), found)
                for event in TREE:
                    found[event] += 1
                for out in {o for o, _, _ in slot}:
                    found["tree_normalise"] += 1
                    found["tile_accumulate"] += self.tiles[out] > 1
            found["input_load"] += len(self.held_inputs())
            last: dict[int, int] = {}
            for macro, slot in zip(self.macro, self.slots, strict=True):
                for out in {o for o, _, _ in slot}:
                    found["crossing"] += last.get(out, macro) != macro
                    last[out] = macro
        self.store(found)
        return found

    def input_gradient(self) -> Counter[str]:
        found: Counter[str] = Counter()
        depthwise, patch = self.layer.kind == "depthwise", len({(g, k) for _, g, k in self.held_inputs()})
        for _ in self.rows:
            for slot in self.slots:
                self.operate(len(slot), found)
                found["input_load"] += len({o for o, _, _ in slot})
                for _ in slot:
                    found["hadamard_round" if depthwise else "lane_accumulate"] += 1
            found["vector_add"] += len(self.held_inputs()) - patch
            found["vector_add"] += patch if self.layer.overlaps else 0
        for _ in range(self.batch * self.layer.in_elements):
            found["hadamard_round"] += 1
            found["gradient_gate"] += self.layer.kind != "matmul"
        self.store(found)
        return found

    def outer(self) -> Counter[str]:
        found: Counter[str] = Counter()
        inputs = {(g, k) for slot in self.slots for _, g, k in slot}
        runs = {tuple((g, k) for _, g, k in slot) for slot in self.slots}
        for _ in self.rows:
            for slot in self.slots:
                self.operate(len(slot), found)
                found["input_load"] += len({o for o, _, _ in slot})
                found["lane_accumulate"] += len(slot)
            found["array_write"] += len(inputs)
            found["addresses"] += len(runs)
        return self._gradient(found)

    def batched(self, stored: str) -> Counter[str]:
        found: Counter[str] = Counter()
        wants = [(o, (g, k)) for slot in self.slots for o, g, k in slot]
        held = max(1, self.m.addresses // HELD)
        rows_of: dict[object, list[int]] = {}
        for out, inside in wants:
            streamed, kept = (out, inside) if stored == "activation" else (inside, out)
            rows_of.setdefault(streamed, []).append(hash(kept))
        kept_rows = {inside if stored == "activation" else out for out, inside in wants}
        pools = [[r for r in self.rows if r[0] == b] for b in range(self.batch)] \
            if self.layer.kind == "matmul" else [self.rows]
        for pool in pools:
            tiles = [len(c) for c in chunks(list(range(len(pool))), self.m.compartments)]
            for lanes in tiles:
                for _ in wants:
                    self.operate(lanes, found)
                    for event in (*TREE, "tree_normalise", "tile_accumulate"):
                        found[event] += 1
                found["array_write"] += lanes * len(kept_rows)
                found["addresses"] += len(kept_rows)
                for rows in rows_of.values():
                    found["input_load"] += lanes * len(list(chunks(rows, held)))
            found["spills"] += len(list(chunks(tiles, HELD))) * len(wants)
        return self._gradient(found)

    def _gradient(self, found: Counter[str]) -> Counter[str]:
        if self.layer.kind == "matmul":
            found["hadamard_round"] += self.batch * sum(len(slot) for slot in self.slots)
        return found


def random_case(seed: int) -> Walk:
    rng = random.Random(seed)
    m = MacroStructure("random", compartments=rng.choice((3, 4, 8, 9, 16, 20, 32, 32)), rows=rng.choice((1, 2, 5)),
                       columns=16 * rng.choice((1, 2, 3)), serial_cycles=rng.choice((4, 8)))
    kind = ("conv", "grouped", "depthwise", "linear", "matmul")[seed % 5]
    gradient = rng.random() < 0.8
    if kind in ("linear", "matmul"):
        groups = rng.randint(1, 3) if kind == "matmul" else 1
        layer = MacLayer("l", kind, groups * rng.randint(1, 19), groups * rng.randint(1, 9), 1, 1,
                         (rng.randint(1, 7),), needs_input_gradient=gradient or kind == "matmul", groups=groups)
    else:
        groups = rng.randint(2, 4) if kind == "grouped" else 1
        inside = rng.randint(1, 7) if kind == "depthwise" else groups * rng.randint(1, 4)
        outside = inside if kind == "depthwise" else groups * rng.randint(1, 5)
        axes = rng.randint(1, 2)
        kernel = tuple(rng.randint(1, 4 if axes == 2 else 5) for _ in range(axes))
        layer = MacLayer(
            "l", "conv" if kind == "grouped" else kind, inside, outside, kernel,
            tuple(rng.randint(1, 2) for _ in kernel), tuple(rng.randint(5, 6) for _ in kernel),
            needs_input_gradient=gradient, groups=groups, padding=rng.choice((None, 0, 1)),
            dilation=rng.choice((1, 1, 2)) if max(kernel) < 3 else 1)
    return Walk(layer, m, rng.randint(1, 3))


def check(closed: dict[str, int], walked: Counter[str], m: MacroStructure, bits: int | None = None) -> None:
    internal = ("operations", "addresses", "crossing", "spills")
    cycles = walked["operations"] * m.serial_cycles + walked["addresses"]
    assert closed["macro_cycle_clock"] == walked["operations"] * m.serial_cycles
    assert closed.get("macro_cycle_write", 0) == walked["addresses"]
    assert closed["macro_cycle_control"] == cycles
    for event in ("serial_bits", "shift_accumulate", "exponent_add", "hidden_bit"):
        assert closed[event] == walked["compartment_product"]
    for event in ("decode", "column_select"):
        assert closed[event] == walked["compartment_product"] + walked["array_write"]
    derived = {"macro_cycle_clock", "macro_cycle_write", "macro_cycle_control", "serial_bits", "shift_accumulate",
               "exponent_add", "hidden_bit", "decode", "column_select", "noc_bit", "buffer_bit", "local_bit"}
    assert {e: n for e, n in closed.items() if e not in derived} == {
        e: n for e, n in walked.items() if n and e not in internal}
    if bits is not None:
        assert closed["noc_bit"] == bits


@pytest.mark.parametrize("seed", range(200))
def test_counts_equal_enumeration(seed: int) -> None:
    walk = random_case(seed)
    layer, m, batch = walk.layer, walk.m, walk.batch
    assert len(walk.rows) == batch * layer.positions
    placement = place(layer, m)
    assert (placement.slots, placement.macros) == (len(walk.slots), max(walk.macro) + 1)
    walked = walk.forward()
    assert walked["compartment_product"] == batch * layer.macs
    written = walked["array_write"] * 16
    check(forward(placement, batch, m), walked, m,
          (walked["input_load"] + batch * layer.out_elements) * 16 + walked["crossing"] * 32 + written)
    if layer.needs_input_gradient:
        check(input_gradient(placement, batch, m), walk.input_gradient(), m)
    else:
        assert input_gradient(placement, batch, m) == {}
    result = batch * layer.stored * 16 if layer.kind == "matmul" else 0
    for mode in weight_gradient_modes(placement, batch, m, HELD):
        walked = walk.outer() if mode.name == "outer" else walk.batched(mode.name.split()[1])
        spilled = walked["lane_accumulate"] if mode.name == "outer" else walked["spills"]
        assert (mode.operations, mode.words_written, mode.addresses_written) == (
            walked["operations"], walked["array_write"], walked["addresses"])
        check(dict(mode.counts), walked, m,
              (walked["input_load"] + walked["array_write"]) * 16 + spilled * 64 + result)


def test_every_kind_and_every_structure_is_among_them() -> None:
    walks = [random_case(seed) for seed in range(200)]
    assert {w.layer.kind for w in walks} == {"conv", "depthwise", "linear", "matmul"}
    assert any(w.layer.groups > 1 and w.layer.kind == "conv" for w in walks)
    assert any(max(w.macro) > 3 for w in walks)
    assert any(w.tiles.most_common(1)[0][1] > 1 for w in walks)
    assert any(w.layer.kind == "depthwise" and len(w.slots[0]) > w.layer.taps for w in walks)


@pytest.mark.parametrize("copies", [0, 1, 7])
def test_update_by_weight(copies: int) -> None:
    layer = MacLayer("a", "conv", 3, 5, 1, 1, 5, bias=True)
    walked: Counter[str] = Counter()
    for _ in range(layer.weights):
        for event in ("serial_bits", "shift_accumulate", "exponent_add", "hidden_bit", "hadamard_round", "update_add",
                      "stochastic_bits"):
            walked[event] += 1
        walked["array_read"] += copies > 0
        walked["array_write"] += copies
        walked["vector_add"] += 2
    walked["vector_add"] += 3 * 5
    closed = update(place(layer, MacroStructure("m")), copies, stochastic=True)
    assert {e: closed.get(e, 0) for e in walked} == dict(walked)
    assert update(place(MacLayer("a", "matmul", 4, 4, 1, 1, (3,)), MacroStructure("m")), 1, False) == {}


def test_shares_of_runs() -> None:
    for slots, block, macro in itertools.product(range(25), range(1, 9), range(1, 9)):
        assert shares(slots, block, macro) == len({(s // block, s // macro) for s in range(slots)})
