"""The schedule's closed form against a simulation that walks every macro through its work, one event at a time."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from charlib.errors import BadInput
from system.cost import Chip, all_times
from system.events_gradient import weight_gradient_modes
from system.mapping import LayerPass, MappedNetwork, map_network
from system.networks import build_network
from system.placement import place
from system.structure import MacroStructure, macro_structure
from system.workload import MacLayer, Network

MACRO = macro_structure("fan2023")
CYCLE_S = 3e-9


def price(counts: Mapping[str, int]) -> float:
    return counts.get("array_write", 0) * 3.0 + counts.get("lane_accumulate", 0) + counts.get("input_load", 0)


@dataclass
class Macros:
    """Clocks of some macros; each does one thing after another."""

    clocks: list[int] = field(default_factory=list)
    work: int = 0

    @classmethod
    def started(cls, n: int, at: int) -> Macros:
        return cls([at] * n)

    def take(self, macro: int, cycles: int) -> None:
        self.clocks[macro] += cycles
        self.work += cycles

    def wait(self) -> None:
        self.clocks = [max(self.clocks)] * len(self.clocks)

    @property
    def end(self) -> int:
        return max(self.clocks)


def slots_of(layer: MacLayer, m: MacroStructure) -> list[int]:
    """Slots in each macro of one copy, counted by dealing them out."""
    p = place(layer, m)
    filled = [0] * p.macros
    even = -(-p.slots // p.macros)
    for slot in range(p.slots):
        filled[slot // even] += 1
    return filled


def simulate_streamed(layer: MacLayer, row: LayerPass, mapped: MappedNetwork, start: int) -> Macros:
    """Copies take positions in turn; a position passes each slot of the copy's macros."""
    held, serial = slots_of(layer, mapped.structure), mapped.structure.serial_cycles
    macros = Macros.started(len(held) * row.copies, start)
    for position in range(layer.positions * mapped.batch):
        copy = position % row.copies
        for index, slots in enumerate(held):
            macros.take(copy * len(held) + index, slots * serial)
    return macros


def simulate_written(layer: MacLayer, row: LayerPass, mapped: MappedNetwork, start: int) -> Macros:
    """All macros of the chip: rounds of writing and multiplying, or copies of a layer that fits."""
    held, serial = slots_of(layer, mapped.structure), mapped.structure.serial_cycles
    macros = Macros.started(mapped.macros, start)
    for first in range(0, len(held), mapped.macros):
        part = held[first:first + mapped.macros]
        for copy in range(row.copies):
            for index, slots in enumerate(part):
                for _ in range(slots):
                    macros.take(copy * len(part) + index, 1)
        for position in range(layer.positions * mapped.batch):
            for index, slots in enumerate(part):
                macros.take(position % row.copies * len(part) + index, slots * serial)
        macros.wait()
    return macros


def simulate_operand(layer: MacLayer, available: int, mapped: MappedNetwork, start: int) -> Macros:
    """Each slot of each sample's operand goes to the macro that is free first; is written, then met by all rows."""
    macros = Macros.started(available, start)
    free = [(clock, index) for index, clock in enumerate(macros.clocks)]
    for _ in range(mapped.batch * sum(slots_of(layer, mapped.structure))):
        _, index = heapq.heappop(free)
        macros.take(index, 1)
        for _ in range(layer.positions):
            macros.take(index, mapped.structure.serial_cycles)
        heapq.heappush(free, (macros.clocks[index], index))
    return macros


def simulate_gradient(layer: MacLayer, row: LayerPass, available: int, mapped: MappedNetwork, start: int) -> Macros:
    modes = weight_gradient_modes(place(layer, mapped.structure), mapped.batch, mapped.structure)
    mode = next(mode for mode in modes if mode.name == row.mode)
    macros = Macros.started(available, start)
    for address in range(mode.addresses_written):
        macros.take(address % available, 1)
    macros.wait()
    for operation in range(mode.operations):
        macros.take(operation % available, mapped.structure.serial_cycles)
    return macros


def simulate_update(layer: MacLayer, row: LayerPass, mapped: MappedNetwork, start: int) -> Macros:
    """Words pass the adders of one copy; the macros of the others take the same writes at the same time."""
    each = row.macros // row.copies
    macros = Macros.started(max(1, row.macros), start)
    for word in range(layer.weights):
        for copy in range(row.copies):
            macros.take(copy * each + word % each, 1)
    return macros


def simulate(mapped: MappedNetwork) -> tuple[int, list[tuple[LayerPass, int, int]]]:
    """The step's last cycle, and (row, its cycles, its macro cycles)."""
    rows = {(row.layer, row.pass_name): row for row in mapped.rows}
    found: list[tuple[LayerPass, int, int]] = []
    now, shared = 0, mapped.policy == "time_multiplexed"
    available = mapped.macros if shared else mapped.gradient_macros

    def run(layer: MacLayer, pass_name: str, start: int) -> int:
        row = rows[(layer.name, pass_name)]
        if pass_name == "weight_gradient":
            macros = simulate_gradient(layer, row, available, mapped, start)
        elif pass_name == "update":
            macros = simulate_update(layer, row, mapped, start)
        elif pass_name == "input_gradient" and not layer.needs_input_gradient:
            macros = Macros([start])
        elif layer.kind == "matmul":
            macros = simulate_operand(layer, available, mapped, start)
        else:
            macros = (simulate_written if shared else simulate_streamed)(layer, row, mapped, start)
        found.append((row, macros.end - start, macros.work))
        return macros.end

    layers = mapped.network.mac_layers
    for layer in layers:
        now = run(layer, "forward", now)
    for layer in reversed(layers):
        inputs = run(layer, "input_gradient", now)
        # the weight gradient has macros of its own, or waits for them
        weights = run(layer, "weight_gradient", inputs if shared or layer.kind == "matmul" else now)
        now = max(inputs, weights)
    ends = [now]
    for layer in layers:
        ends.append(run(layer, "update", ends[-1] if shared else now))
    return max(ends), found


NETWORKS = {
    "mobilenet_v2": build_network("mobilenet_v2", 16, 0.05, 10),
    "resnet18": build_network("resnet18", 16, 0.125, 10),
    "attention": Network("attention", 8, 1.0, 6, (
        MacLayer("qkv", "linear", 24, 72, 1, 1, (6,)),
        MacLayer("scores", "matmul", 24, 18, 1, 1, (6,), groups=3),
        MacLayer("values", "matmul", 18, 24, 1, 1, (6,), groups=3),
        MacLayer("out", "linear", 24, 24, 1, 1, (6,)))),
}


@pytest.mark.parametrize(("policy", "macros"), [("resident", None), ("replicated", None), ("time_multiplexed", 5),
                                                ("time_multiplexed", 80)])
@pytest.mark.parametrize("name", NETWORKS)
def test_schedule_equals_simulation(name: str, policy: str, macros: int | None) -> None:
    mapped = map_network(NETWORKS[name], MACRO, 2, policy, price, macros, gradient_macros=7)
    end, found = simulate(mapped)
    assert len(found) == len(mapped.rows) == 4 * len(mapped.network.mac_layers)
    for row, cycles, work in found:
        assert (row.cycles, row.macro_cycles) == (cycles, work), (row.layer, row.pass_name)
    times = all_times(mapped, CYCLE_S, Chip(0, "lpddr4", 1, 1.0, 1.0), ())["macro_only"]
    assert times.total_s * mapped.batch == pytest.approx(end * CYCLE_S, rel=1e-12)


def test_one_copy_of_mobilenet_takes_50_ms_forward() -> None:
    """Even before any weight is written: 3 ns, one copy."""
    network = build_network("mobilenet_v1")
    mapped = map_network(network, MACRO, 1, "resident", price)
    assert mapped.cycles("forward") * CYCLE_S >= 50e-3
    placed = [place(layer, MACRO) for layer in network.mac_layers]
    assert mapped.cycles("forward") == 8 * sum(p.operations_per_position * p.layer.positions for p in placed)


def test_time_multiplexed_charges_every_write() -> None:
    network = build_network("mobilenet_v1", 64)
    held = map_network(network, MACRO, 4, "resident", price).counts()
    few = map_network(network, MACRO, 4, "time_multiplexed", price, 100)
    counts, copies = few.counts(), {r.layer: r.copies for r in few.rows if r.pass_name == "forward"}
    writes = sum(layer.weights * copies[layer.name] for layer in network.mac_layers)
    first = network.mac_layers[0]
    assert counts[("array_write", "forward")] == writes
    assert counts[("array_write", "input_gradient")] == writes - first.weights * copies[first.name]
    assert ("array_write", "update") not in counts
    assert ("array_write", "forward") not in held
    assert few.macros == 100
    assert counts[("compartment_product", "forward")] == held[("compartment_product", "forward")]
    assert counts[("buffer_bit", "forward")] > held[("buffer_bit", "forward")]
    rounds = next(r for r in few.rows if r.layer == "fc" and r.pass_name == "forward")
    assert rounds.mode == "weights written, 5 rounds"
    assert all(0 <= r.busy_fraction <= 1 for r in few.rows)
    assert few.in_turn == {layer.name for layer in network.mac_layers}


def test_twice_the_macros_are_no_slower() -> None:
    network = build_network("resnet18", 64)
    cycles = [map_network(network, MACRO, 2, "time_multiplexed", price, n).cycles("forward") for n in (50, 100, 200)]
    assert cycles[0] > cycles[1] > cycles[2]


def test_matmuls_use_activation_macros() -> None:
    mapped = map_network(build_network("vit_tiny", 64), MACRO, 2, "resident", price)
    row = next(r for r in mapped.rows if r.layer == "block1.scores" and r.pass_name == "forward")
    assert (row.array, row.mode) == ("activations", "operand written")
    assert row.counts["array_write"] == 2 * 17 * 192
    assert ("block1.scores" in mapped.in_turn, "block1.fc1" in mapped.in_turn) == (True, False)
    assert not mapped.shared


@pytest.mark.parametrize("macros", [None, 0])
def test_time_multiplexed_needs_macros(macros: int | None) -> None:
    with pytest.raises(BadInput, match=r"^macros: time_multiplexed needs a number of macros of at least 1, got "):
        map_network(NETWORKS["attention"], MACRO, 1, "time_multiplexed", price, macros)


def test_gradients_need_macros() -> None:
    with pytest.raises(BadInput, match=r"^gradient_macros: must be at least 1, got 0$"):
        map_network(NETWORKS["attention"], MACRO, 1, "resident", price, gradient_macros=0)


def test_tied_weights_are_written_but_not_learned_again() -> None:
    first, again = (MacLayer(name, "linear", 24, 24, 1, 1, 1, bias=True, tied=name == "again")
                    for name in ("first", "again"))
    mapped = map_network(Network("tied", 8, 1.0, 24, (first, again)), MACRO, 2, "resident", price)
    rows = {(row.layer, row.pass_name): row.counts for row in mapped.rows}
    assert mapped.network.parameters == first.parameters == 24 * 24 + 24
    assert rows[("again", "update")]["array_write"] == rows[("first", "update")]["array_write"] == 24 * 24
    assert "update_add" not in rows[("again", "update")]
    assert "vector_add" not in rows[("again", "update")]
    assert rows[("again", "weight_gradient")]["vector_add"] == 24 * 24
    assert "vector_add" not in rows[("first", "weight_gradient")]
