"""Cost: a pure function of event counts and energies, with three boundaries and a breakdown that sums.

Every contribution is (events per image) × (joules per event); a block's energy is the sum of its contributions
and a boundary's the sum of its blocks. Time is a sum over layers: within a layer the arrays, the vector unit and
DRAM stream side by side, and input and weight gradient use different macros, so a layer takes its slowest unit;
what ran meanwhile is `overlapped`. On-chip bandwidth is taken as sufficient [I].
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from system.assumptions import constant
from system.blocks import BOUNDARIES, EVENTS, PASSES
from system.circuit import MacroCircuit, Term
from system.mapping import LayerPass, MappedNetwork
from system.traffic import TensorTraffic

_VECTOR_CONSTANTS = {"vector_add": "fp32_add_j", "vector_multiply": "fp32_multiply_j",
                     "vector_compare": "int32_compare_j"}


@dataclass(frozen=True)
class Chip:
    """What stands around the macros. `area_m2` carries the wires' length, `buffer_leakage` the buffer's watts."""

    buffer_bit: int
    dram: str
    vector_lanes: int
    vector_clock_hz: float
    area_m2: float
    buffer_leakage: tuple[Term, ...] = ()


@dataclass(frozen=True)
class Contribution:
    """`events` per image in one pass, each costing `term`."""

    boundary: str
    block: str
    pass_name: str
    event: str
    events: float
    term: Term

    @property
    def energy_j(self) -> float:
        return self.events * self.term.value


@dataclass(frozen=True)
class Times:
    """Seconds per image. `passes_s` are sums of unit times; `overlapped_s` of them ran beside others."""

    passes_s: Mapping[str, float]
    units_s: Mapping[str, float]
    overlapped_s: float

    @property
    def total_s(self) -> float:
        return math.fsum(self.passes_s.values()) - self.overlapped_s


@dataclass(frozen=True)
class Cost:
    """All contributions of one image's share of a training step, and the times of each boundary."""

    contributions: tuple[Contribution, ...]
    times: Mapping[str, Times]

    def within(self, boundary: str) -> tuple[Contribution, ...]:
        allowed = BOUNDARIES[: BOUNDARIES.index(boundary) + 1]
        return tuple(c for c in self.contributions if c.boundary in allowed)

    def energy_j(self, boundary: str) -> float:
        return math.fsum(c.energy_j for c in self.within(boundary))

    def breakdown(self, boundary: str) -> dict[str, dict[str, float]]:
        """{block: {pass: joules}}; sums to :meth:`energy_j`."""
        found: dict[str, dict[str, list[float]]] = {}
        for c in self.within(boundary):
            found.setdefault(c.block, {p: [] for p in PASSES})[c.pass_name].append(c.energy_j)
        return {block: {p: math.fsum(v) for p, v in passes.items()} for block, passes in found.items()}

    def spread_j(self, boundary: str) -> dict[tuple[str, str], float]:
        """(cause, table) -> one standard deviation: what a cause does to a table's values, it does to all of them."""
        sums: dict[tuple[str, str], float] = {}
        for c in self.within(boundary):
            for cause, size in c.term.reading.causes.items():
                key = (cause, c.term.reading.source)
                sums[key] = sums.get(key, 0.0) + c.energy_j * size
        return sums


def event_price(circuit: MacroCircuit, chip: Chip, counts: Mapping[str, int], pass_name: str) -> float:
    """Joules of a set of events, leakage and DRAM aside: what the mapper compares modes by."""
    return sum(n * sum(t.value for t in event_terms(circuit, chip, name, pass_name))
               for name, n in counts.items())


def event_terms(circuit: MacroCircuit, chip: Chip, name: str, pass_name: str) -> tuple[Term, ...]:
    """Energy of one event of the macro, or of the buffers' boundary."""
    tech = circuit.tech
    if name in _VECTOR_CONSTANTS:
        factor = constant("vector_control_factor").pick(tech.choice)
        return (tech.constant(_VECTOR_CONSTANTS[name], factor, f"× {factor:g} for control"),)
    if name == "buffer_bit":
        return (tech.constant("buffer_access_j_per_bit"),)
    if name == "local_bit":
        return (tech.constant("local_register_access_j_per_bit"),)
    if name == "noc_bit":
        length = math.sqrt(chip.area_m2) * constant("noc_distance_fraction").pick(tech.choice)
        return (tech.constant("wire_j_per_bit_m", length, f"{length * 1e3:.2f} mm"),)
    return circuit.event_terms(name, pass_name)


def cost(mapped: MappedNetwork, circuit: MacroCircuit, cycle_s: float, leakage: tuple[Term, ...], chip: Chip,
         traffic: Iterable[TensorTraffic]) -> Cost:
    """Energy and time of one image's share of a step."""
    traffic = tuple(traffic)
    times = all_times(mapped, cycle_s, chip, traffic)
    found = _counted(mapped, circuit, chip)
    found += _staging(mapped, circuit, chip, traffic)
    busy = {p: sum(r.macro_cycles for r in mapped.rows if r.pass_name == p) * cycle_s / mapped.batch
            for p in PASSES}
    found += [Contribution("macro_only", "busy_leakage", p, "busy_leakage", busy[p], t)
              for p in PASSES for t in leakage]
    found += _buffers_boundary(found, circuit, chip, times["with_buffers"])
    found += _system_boundary(found, mapped, circuit, chip, traffic, times, busy, leakage)
    return Cost(tuple(c for c in found if c.events), times)


def _counted(mapped: MappedNetwork, circuit: MacroCircuit, chip: Chip) -> list[Contribution]:
    return [Contribution(EVENTS[name].boundary, EVENTS[name].block, pass_name, name, n / mapped.batch, term)
            for (name, pass_name), n in mapped.counts().items()
            for term in event_terms(circuit, chip, name, pass_name)]


def dram_bits(traffic: Iterable[TensorTraffic], pass_name: str) -> int:
    """Bits to and from DRAM in a pass, per step."""
    return sum(t.bits_in(pass_name) for t in traffic if t.home == "dram")


def dram_bits_by_row(layers: Collection[str], traffic: Iterable[TensorTraffic]) -> dict[tuple[str, str], int]:
    """(layer, pass) -> bits to and from DRAM, per step; an operator's name begins with its layer's."""
    found: dict[tuple[str, str], int] = {}
    for t in traffic:
        if t.home == "dram":
            owner = t.layer
            while owner not in layers and "." in owner:
                owner = owner.rpartition(".")[0]
            for pass_name in PASSES:
                found[owner, pass_name] = found.get((owner, pass_name), 0) + t.bits_in(pass_name)
    return found


def _staging(mapped: MappedNetwork, circuit: MacroCircuit, chip: Chip,
             traffic: tuple[TensorTraffic, ...]) -> list[Contribution]:
    """What goes to or comes from DRAM passes the buffer once more."""
    return [Contribution("with_buffers", "buffers", p, "buffer_bit", dram_bits(traffic, p) / mapped.batch, term)
            for p in PASSES for term in event_terms(circuit, chip, "buffer_bit", p)]


def _shares(times: Times) -> dict[str, float]:
    """Each pass's share of the elapsed time."""
    total = math.fsum(times.passes_s.values())
    return {p: times.total_s * s / total for p, s in times.passes_s.items()}


def _buffers_boundary(found: list[Contribution], circuit: MacroCircuit, chip: Chip,
                      times: Times) -> list[Contribution]:
    tech, elapsed = circuit.tech, _shares(times)
    extra = [Contribution("with_buffers", "buffer_leakage", p, "buffer_leakage", elapsed[p], term)
             for p in PASSES for term in chip.buffer_leakage]
    for p in PASSES:
        joules = math.fsum(c.energy_j for c in found if c.pass_name == p)
        extra += [Contribution("with_buffers", name, p, name, joules, tech.constant(f"{name}_fraction"))
                  for name in ("chip_control", "chip_clock")]
    return extra


def _system_boundary(
    found: list[Contribution], mapped: MappedNetwork, circuit: MacroCircuit, chip: Chip,
    traffic: tuple[TensorTraffic, ...], times: Mapping[str, Times], busy: Mapping[str, float],
    leakage: tuple[Term, ...],
) -> list[Contribution]:
    """Beside DRAM: macros leak while they wait, and the buffer for as long as DRAM lasts longer than the chip.

    All macros' seconds are busy or idle. Passes overlap, so that one alone may keep macros busy for longer than its
    share of the elapsed time: idle seconds are shared out by time.
    """
    tech, elapsed = circuit.tech, _shares(times["system"])
    total_s = times["system"].total_s
    idle_s, longer_s = mapped.macros * total_s - math.fsum(busy.values()), total_s - times["with_buffers"].total_s
    extra: list[Contribution] = []
    for p in PASSES:
        bits, share = dram_bits(traffic, p) / mapped.batch, elapsed[p] / total_s
        extra += [
            Contribution("system", "dram_access", p, "dram_bit", bits, tech.constant(f"{chip.dram}_j_per_bit")),
            Contribution("system", "dram_interface", p, "dram_interface_bit", bits,
                         tech.constant("dram_interface_j_per_bit")),
            Contribution("system", "dram_background", p, "dram_background", elapsed[p],
                         tech.constant("dram_background_w")),
        ]
        extra += [Contribution("system", "idle_leakage", p, "idle_leakage", idle_s * share, t) for t in leakage]
        extra += [Contribution("system", "buffer_leakage", p, "buffer_leakage", longer_s * share, t)
                  for t in chip.buffer_leakage]
    return extra + _regulator(found + extra, circuit)


def regulator_efficiency(choice: str) -> float:
    """Of the constants' choice: the lowest energies have the highest efficiency."""
    return constant("regulator_efficiency").pick({"low": "high", "high": "low", "nominal": "nominal"}[choice])


def _regulator(found: list[Contribution], circuit: MacroCircuit) -> list[Contribution]:
    """Loss on everything drawn by the chip; the DRAM devices' rail is left to their own figure."""
    efficiency = regulator_efficiency(circuit.tech.choice)
    base = circuit.tech.constant("regulator_efficiency")
    term = Term(base.reading, (1 / efficiency - 1) / base.reading.value, 1.0, f"1/{efficiency:g} − 1")
    return [Contribution("system", "regulator_loss", p, "regulator", math.fsum(
        c.energy_j for c in found
        if c.pass_name == p and c.block not in ("dram_access", "dram_background")), term) for p in PASSES]


# -- time ---------------------------------------------------------------------------------------------------


def _units(row: LayerPass, cycle_s: float, chip: Chip, dram: Mapping[tuple[str, str], int],
           boundary: str) -> dict[str, float]:
    """Seconds per step of each unit in one row."""
    units = {"array_s": row.cycles * cycle_s, "vector_s": 0.0, "dram_s": 0.0}
    if boundary != "macro_only":
        units["vector_s"] = row.vector_operations / (chip.vector_lanes * chip.vector_clock_hz)
    if boundary == "system":
        rate = constant(f"{chip.dram}_bytes_per_s").value * 8
        units["dram_s"] = dram.get((row.layer, row.pass_name), 0) / rate
    return units


def all_times(mapped: MappedNetwork, cycle_s: float, chip: Chip,
              traffic: tuple[TensorTraffic, ...]) -> dict[str, Times]:
    """boundary -> times, at a cycle."""
    dram = dram_bits_by_row({row.layer for row in mapped.rows}, traffic)
    return {boundary: _times(mapped, cycle_s, chip, dram, boundary) for boundary in BOUNDARIES}


def _times(mapped: MappedNetwork, cycle_s: float, chip: Chip, dram: Mapping[tuple[str, str], int],
           boundary: str) -> Times:
    passes = dict.fromkeys(PASSES, 0.0)
    totals = {"array_s": 0.0, "vector_s": 0.0, "dram_s": 0.0}
    rows = {(r.layer, r.pass_name): _units(r, cycle_s, chip, dram, boundary) for r in mapped.rows}
    for (_, pass_name), units in rows.items():
        passes[pass_name] += math.fsum(units.values())
        for unit, seconds in units.items():
            totals[unit] += seconds
    elapsed, in_turn = 0.0, mapped.in_turn
    for layer in dict.fromkeys(r.layer for r in mapped.rows):
        ahead = rows[(layer, "forward")]
        elapsed += max(ahead.values())
        inputs, weights = rows[(layer, "input_gradient")], rows[(layer, "weight_gradient")]
        arrays = inputs["array_s"], weights["array_s"]
        elapsed += max(sum(arrays) if layer in in_turn else max(arrays),
                       inputs["vector_s"] + weights["vector_s"],
                       inputs["dram_s"] + weights["dram_s"])
    updates = [units for (_, p), units in rows.items() if p == "update"]
    writing = [u["array_s"] for u in updates]
    elapsed += max(sum(writing) if mapped.shared else max(writing), sum(u["vector_s"] for u in updates),
                   sum(u["dram_s"] for u in updates))
    n = mapped.batch
    serial = math.fsum(passes.values())
    return Times({p: s / n for p, s in passes.items()}, {u: s / n for u, s in totals.items()},
                 (serial - elapsed) / n)
