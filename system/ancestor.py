"""The ancestor macro `yan2022` from circuits alone: energy of its INT8 products, clock, density; nothing is fitted.

An operation is a multiplication or an addition: 2 for each INT8 × INT8 MAC. One *round* of the macro is 8 serial
cycles in which 32 compartments × 2 words make 64 products (128 operations). The boundary is the macro as published:
cells, wordlines, bitlines and compute wires with their drivers, operand shift registers, shift-accumulators, post-sum
trees, sequencer, clock tree, leakage. Outside: writing weights, the buffers that bring operands and take sums, pads.

What the paper (as far as it is known here) leaves open is a choice of ours, each with its alternatives in a scenario:
words held over the serial cycles (or read again), post-sum isolated until products are whole (or following every
cycle), the route to 28 nm. No constant fitted to this chip is used: cell areas are the 45 nm library's, see `area`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from charlib.errors import BadInput
from charlib.units import NANO
from system.circuit import Activity, MacroCircuit, Term, technology
from system.design import PTM_NODES_NM, ptm_kits, slowed
from system.macro import Area, Clock, area, clock, leakage, logic_cells
from system.readings import BlendedReader, Point, Reader, has_shipped_tables, log_share, open_reader
from system.structure import READ_POLICIES, macro_structure
from system.variation import Tail, tail

NODE_NM = 28
OPERATIONS_A_MAC = 2
#: route to 28 nm -> (projection, flavour)
ROUTES = {"Stillmaker–Baas HP": ("stillmaker_baas", "HP"), "Stillmaker–Baas LP": ("stillmaker_baas", "LP"),
          "PTM HP": ("ptm", "HP"), "PTM LP": ("ptm", "LP")}
#: how the 64 partial products of a cycle become sums
DATAPATHS = ("isolated", "open", "sum_first")
#: cell areas that are not fitted to this chip, at both ends of the range
INDEPENDENT = ("45", "45")
TABLES = ("integer_energy_j", "integer_delay_s", "compartment_energy_j", "clock_tree_j", "block_energy_j")


@dataclass(frozen=True)
class AncestorOptions:
    """Operating point, data and choices. cycle_s: the clock at which it runs, as published."""

    vdd_v: float = 0.8
    corner: str = "tt"
    temp_c: float = 25.0
    cycle_s: float = 3 * NANO
    input_density: float = 0.5
    weight_density: float = 0.5
    route: str = "Stillmaker–Baas HP"
    read_policy: str = "hold"
    datapath: str = "isolated"

    def __post_init__(self) -> None:
        for name, allowed in (("route", tuple(ROUTES)), ("read_policy", READ_POLICIES), ("datapath", DATAPATHS)):
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name}: {', '.join(allowed)} are allowed, got '{getattr(self, name)}'")
        if not self.cycle_s > 0:
            raise BadInput(f"cycle_s: must be positive, got {self.cycle_s:g}")


def open_route(options: AncestorOptions) -> Reader:
    """The shipped tables of a route at its operating point; BadInput where they do not cover it."""
    projection, flavour = ROUTES[options.route]
    point = Point(options.corner, options.temp_c, options.vdd_v)
    if projection == "stillmaker_baas":
        return open_reader(point, "freepdk45", None)
    upper, lower = (open_reader(point, kit, None) for kit in ptm_kits(flavour))
    return BlendedReader(upper, lower, log_share(PTM_NODES_NM[0], NODE_NM, PTM_NODES_NM[1]))


def covered(options: AncestorOptions) -> bool:
    """Whether tables of the route travel with the package for this operating point."""
    projection, flavour = ROUTES[options.route]
    kits = ("freepdk45",) if projection == "stillmaker_baas" else ptm_kits(flavour)
    return all(has_shipped_tables(kit) for kit in kits) and open_route(options).covers(TABLES)


def circuit_of(options: AncestorOptions, reader: Reader) -> MacroCircuit:
    """The macro at one route and choice. reader: of :func:`open_route`."""
    projection, flavour = ROUTES[options.route]
    structure = replace(macro_structure("yan2022"), read_policy=options.read_policy)
    activity = Activity(input_density=options.input_density, weight_density=options.weight_density)
    target = technology(NODE_NM, flavour, options.vdd_v, projection=projection)
    return MacroCircuit(structure, reader, target, activity)

def macs_a_round(circuit: MacroCircuit) -> int:
    """Products that one round of serial cycles makes."""
    return circuit.structure.compartments * circuit.structure.products


def operations_per_s(circuit: MacroCircuit, cycle_s: float) -> float:
    """Peak rate: every compartment busy in every cycle."""
    return OPERATIONS_A_MAC * macs_a_round(circuit) / (circuit.structure.serial_cycles * cycle_s)


def flip_flops(circuit: MacroCircuit, datapath: str = "isolated") -> dict[str, float]:
    """Flip-flops clocked in every cycle, by block, but for those of the compartments, which the products hold."""
    found = {name: cells.get("dff", 0.0) for name, cells in logic_cells(circuit.structure, circuit).items()
             if name != "compartment_flip_flops" and cells.get("dff", 0.0)}
    if datapath == "sum_first":
        each = circuit.reader.read("integer_cell_count", block="int8_sum_accumulator", cell="dff").value
        found["shift_accumulator"] = each * circuit.structure.products
    return found


def round_terms(circuit: MacroCircuit, options: AncestorOptions) -> dict[str, tuple[Term, ...]]:
    """What one round costs, by block."""
    m = circuit.structure
    lanes, cycles = m.compartments * m.products, m.serial_cycles
    if options.datapath == "sum_first":
        sums = {"shift_accumulators": _times(circuit.integer("int8_sum_accumulator"), m.products),
                "post_sum": _times(circuit.integer("int8_sum_first"), m.products)}
    else:
        tree = "int8_post_sum" if options.datapath == "isolated" else "int8_post_sum_open"
        sums = {"shift_accumulators": _times(circuit.integer("int8_accumulator"), lanes),
                "post_sum": _times(circuit.integer(tree), m.products)}
    clocked = sum(flip_flops(circuit, options.datapath).values())
    return {
        "compartments": _times(circuit.product(), m.compartments),
        "row_and_column_select": _times((*circuit.decode(), *circuit.circuit_terms("column_select")), m.compartments),
        "serialisers": _times(circuit.integer("int8_serialiser"), m.compartments),
        **sums,
        "clock": _times((*circuit.clocked(clocked),
                         *circuit.pins(m.compartments * circuit.clocking.latches)), cycles),
        "control": _times(circuit.circuit_terms("macro_control"), cycles),
        "leakage": _times(leakage(circuit), cycles * options.cycle_s),
    }


def _times(terms: tuple[Term, ...], count: float) -> tuple[Term, ...]:
    return tuple(replace(term, multiplier=term.multiplier * count) for term in terms)


def energies_j(terms: Mapping[str, tuple[Term, ...]]) -> dict[str, float]:
    """Joules a round by block."""
    return {block: math.fsum(term.value for term in found) for block, found in terms.items()}


def sigma_j(terms: Mapping[str, tuple[Term, ...]]) -> float:
    """One standard deviation of a round's joules: a cause in one table moves together, others are independent."""
    sums: dict[tuple[str, str], float] = {}
    for term in (term for found in terms.values() for term in found):
        for cause, relative in term.reading.causes.items():
            key = (cause, term.reading.source)
            sums[key] = sums.get(key, 0.0) + relative * term.value
    return math.hypot(*sums.values())


def tops_per_w(circuit: MacroCircuit, energy_j: float) -> float:
    """10¹² operations a joule, of a round's energy."""
    return OPERATIONS_A_MAC * macs_a_round(circuit) / energy_j / 1e12


def efficiency(options: AncestorOptions, reader: Reader) -> float:
    """TOPS/W at one set of options."""
    circuit = circuit_of(options, reader)
    return tops_per_w(circuit, math.fsum(energies_j(round_terms(circuit, options)).values()))


def cycle(options: AncestorOptions, reader: Reader) -> tuple[Clock, Tail]:
    """The shortest cycle that all compartments of one macro meet, with the tail of their mismatch."""
    circuit = circuit_of(options, reader)
    slowest = tail(reader, circuit.structure.compartments)
    return slowed(clock(circuit), slowest.factor), slowest


def silicon(options: AncestorOptions, reader: Reader) -> Area:
    """Area with cells whose sizes nobody fitted to this chip."""
    return area(circuit_of(options, reader), INDEPENDENT)


def density_at(options: AncestorOptions, reader: Reader, wanted: float, *, inputs_only: bool = False,
               limit: float = 0.5) -> float | None:
    """The share of ones of inputs and weights alike (or of inputs alone) at which TOPS/W falls to `wanted`.

    None where even data of all zeros costs more, limit where data as dense as that costs less.
    """
    def at(density: float) -> float:
        weight_density = options.weight_density if inputs_only else density
        return efficiency(replace(options, input_density=density, weight_density=weight_density), reader)

    low, high = 0.0, limit
    if at(low) < wanted:
        return None
    if at(high) >= wanted:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle) >= wanted else (low, middle)
    return (low + high) / 2


def options_from(data: Mapping[str, object]) -> AncestorOptions:
    """Options by name; BadInput names an unknown one."""
    known = {field.name for field in fields(AncestorOptions)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise BadInput(f"options: {', '.join(unknown)} not known; known are {', '.join(sorted(known))}")
    return AncestorOptions(**data)  # type: ignore[arg-type]
