"""One design evaluated at one set of options: tables, macro, mapping and cost joined, nothing formatted."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

from charlib.errors import BadInput
from charlib.table import TableSet, load_tables
from system.assumptions import constant
from system.circuit import Activity, MacroCircuit, Technology, Term, technology
from system.cost import Chip, Cost, cost, event_price
from system.macro import SRAM_LEAKAGE, Area, Clock, area, buffer_leakage, clock, leakage
from system.mapping import MappedNetwork, map_network, resident_macros
from system.networks import build_network
from system.options import EstimateOptions
from system.readings import BlendedReader, Point, Reader, log_share, open_reader
from system.scaling import FLAVOURS, TABLES_NM, node_of_kit
from system.structure import MacroStructure, macro_structure, reshaped
from system.traffic import TensorTraffic, tensors
from system.variation import Tail, tail
from system.workload import Network

#: options that reshape a macro
SHAPE = ("rows", "words_per_row", "compartments", "lane_bits", "serial_bits")
#: between these PTM kits lies 28 nm
PTM_NODES_NM = (32, 22)


@dataclass(frozen=True)
class Design:
    """Everything an estimate says, as records."""

    options: EstimateOptions
    network: Network
    structure: MacroStructure
    reader: Reader
    circuit: MacroCircuit
    clock: Clock
    tail: Tail
    area: Area
    leakage: tuple[Term, ...]
    chip: Chip
    mapping: MappedNetwork
    traffic: tuple[TensorTraffic, ...]
    cost: Cost


@dataclass(frozen=True)
class Scenario:
    """One other way to charge the same design; only what it changes is named."""

    name: str
    options: EstimateOptions


def make_reader(options: EstimateOptions, fresh: TableSet | None = None) -> Reader:
    """Tables for these options. fresh: tables that were held against the shipped ones, which back them; those of the
    folder `options.tables` are read where they hold a name, or refused; see :mod:`system.readings`."""
    # refuse before reading
    build_network(options.network, options.image_px, options.width, options.classes, options.channels)
    macro_structure(options.macro)
    point = Point(options.corner, options.temp_c, options.vdd_v)
    if options.projection == "ptm":
        if fresh is None and options.tables is not None:
            raise BadInput(f"tables: projection ptm stands on shipped tables alone, so those of '{options.tables}' "
                           "would not be read; leave out --tables, or ask for --projection stillmaker_baas")
        upper, lower = (open_reader(point, kit, None) for kit in ptm_kits(options.flavour))
        return BlendedReader(upper, lower, log_share(PTM_NODES_NM[0], options.node_nm, PTM_NODES_NM[1]))
    check_node(options)
    if fresh is None and options.tables is not None:
        return open_reader(point, options.pdk, load_tables(Path(options.tables)), backed=False)
    return open_reader(point, options.pdk, fresh)


def check_node(options: EstimateOptions) -> None:
    """BadInput where a kit's tables cannot be carried to the node asked for."""
    own = node_of_kit(options.pdk)
    if options.projection != "ptm" and options.node_nm != TABLES_NM and own not in (None, TABLES_NM):
        raise BadInput(f"pdk: the tables of {options.pdk} are of {own} nm, scaling to {options.node_nm} nm starts at "
                       f"{TABLES_NM} nm; ask for --node-nm {TABLES_NM}, which leaves them as they are")
    technology_of(options)


def technology_of(options: EstimateOptions) -> Technology:
    """The factors from the tables' node to the one asked for; BadInput where they cannot be believed."""
    return technology(options.node_nm, options.flavour, options.vdd_v, options.constants, options.projection)


def ptm_kits(flavour: str) -> tuple[str, str]:
    """The kits whose tables are interpolated, upper node first."""
    upper, lower = (f"ptm{node}{flavour.lower()}" for node in PTM_NODES_NM)
    return upper, lower


def evaluate(options: EstimateOptions, reader: Reader) -> Design:
    """The whole model at one set of options: a pure function of options and tables. The design's reader holds a
    record of what this evaluation read, and of nothing else."""
    reader = reader.recording()
    network = build_network(options.network, options.image_px, options.width, options.classes, options.channels)
    circuit = circuit_of(options, reader)
    structure, macro_area = circuit.structure, area(circuit)
    policy, budget = options.policy()
    resident = resident_macros(network, structure)
    if options.die_mm2 is not None:
        budget = filling(options.die_mm2, options, macro_area.total_m2)
    elif policy == "replicated" and budget is None:
        budget = 2 * resident
    macros = budget if budget is not None else resident + options.gradient_macros
    slowest = tail(reader, macros * structure.compartments)
    macro_leakage = under_mismatch(leakage(circuit), slowest.leakage)
    macro_clock = asked_clock(slowed(clock(circuit), slowest.factor), options.cycle_s)
    chip = replace(chip_of(options, macros * macro_area.total_m2),
                   buffer_leakage=under_mismatch(buffer_leakage(circuit, options.buffer_bit), slowest.leakage))
    stochastic = options.update_mode == "stochastic"
    each = lru_cache(maxsize=None)(lambda name: event_price(circuit, chip, {name: 1}, "weight_gradient"))
    mapped = map_network(network, structure, options.batch, policy,
                         lambda counts: sum(n * each(name) for name, n in counts.items()), budget,
                         options.gradient_macros, stochastic)
    traffic = tensors(network, options.batch, options.buffer_bit, master=not stochastic,
                      held=policy != "time_multiplexed")
    return Design(options, network, structure, reader, circuit, macro_clock, slowest, macro_area, macro_leakage, chip,
                  mapped, traffic, cost(mapped, circuit, macro_clock.cycle_s, macro_leakage, chip, traffic))


def filling(die_mm2: float, options: EstimateOptions, macro_m2: float) -> int:
    """Macros that a die takes beside its buffer. BadInput where none fits."""
    left_m2 = die_mm2 * 1e-6 - chip_of(options, 0.0).area_m2
    if left_m2 < macro_m2:
        raise BadInput(f"die_mm2: {die_mm2:g} mm² holds no macro of {macro_m2 * 1e6:.3g} mm² beside the buffer; give "
                       "a larger one")
    return int(left_m2 / macro_m2)


def structure_of(options: EstimateOptions) -> MacroStructure:
    """The macro that the options ask for. BadInput for one that cannot train."""
    preset = macro_structure(options.macro)
    if not preset.floating:
        raise BadInput(f"macro: '{options.macro}' multiplies integers and cannot train in BF16; choose fan2023")
    shape = {name: getattr(options, name) for name in SHAPE}
    return replace(reshaped(preset, **shape), read_policy=options.read_policy, exponent_fire=options.exponent_fire)


def circuit_of(options: EstimateOptions, reader: Reader) -> MacroCircuit:
    """That macro as a circuit."""
    activity = Activity(**{field.name: getattr(options, field.name) for field in fields(Activity)})
    return MacroCircuit(structure_of(options), reader, technology_of(options), activity, options.clock_gating)


def chip_of(options: EstimateOptions, macros_m2: float) -> Chip:
    """What stands around macros of a total area."""
    buffer_m2 = options.buffer_bit * constant("buffer_area_m2_per_bit").value * (options.node_nm / 28) ** 2
    return Chip(options.buffer_bit, options.dram, options.vector_lanes, options.vector_clock_hz,
                macros_m2 + buffer_m2)


def under_mismatch(watts: tuple[Term, ...], factor: float) -> tuple[Term, ...]:
    """Standing power; factor: mean of SRAM arrays' leakage under mismatch over the nominal one."""
    return tuple(replace(t, multiplier=t.multiplier * factor, note=f"{t.note}, mean under mismatch")
                 if t.reading.source in SRAM_LEAKAGE and factor != 1.0 else t for t in watts)


def slowed(fastest: Clock, factor: float) -> Clock:
    """The clock that the slowest of a chip's compartments meets; the other paths are taken as they are."""
    paths = {name: value * (factor if name == "compartment" else 1.0) for name, value in fastest.paths_s.items()}
    longest = max(paths, key=lambda name: paths[name])
    return replace(fastest, cycle_s=paths[longest], limited_by=longest, paths_s=paths)


#: quantile of the two-sided 95 % interval of a normal distribution
INTERVAL_SIGMAS = 1.96
MISMATCH = "mismatch"


def clock_interval(design: Design, causes: Collection[str] | None = None) -> tuple[float, float]:
    """The cycle in seconds at both ends of the interval that statistics leave, of all causes or of these; all paths
    move together. A period that was asked for stays."""
    if design.options.cycle_s is not None:
        return design.clock.cycle_s, design.clock.cycle_s
    ends = []
    for sign, tail_end in ((-1, design.tail.low), (1, design.tail.high)):
        mismatch = tail_end / design.tail.factor - 1 if causes is None or MISMATCH in causes else 0.0
        ends.append(max(path_s * (1 + sign * math.hypot(INTERVAL_SIGMAS * design.clock.sigma(path, causes),
                                                        mismatch if path == "compartment" else 0.0))
                        for path, path_s in design.clock.paths_s.items()))
    return ends[0], ends[1]


def asked_clock(fastest: Clock, cycle_s: float | None) -> Clock:
    """The circuits' own clock, or a slower one that was asked for."""
    if cycle_s is None:
        return fastest
    if not cycle_s >= fastest.cycle_s:
        raise BadInput(f"cycle_s: {cycle_s:g} s is shorter than the {fastest.limited_by} path allows "
                       f"({fastest.cycle_s:.3g} s); ask for a longer period")
    return replace(fastest, cycle_s=cycle_s, limited_by="the period asked for")


def scenarios(options: EstimateOptions) -> tuple[Scenario, ...]:
    """Accounting and projection choices and global variation, whose spread is the range; no statistics.

    A scenario's name is "field=value". The last two join the choices of accounting and scaling that are lowest and
    highest in energy. Corners, temperatures and the PTM projection may ask for tables that are not there; such a
    scenario is left out of the range, with the reason.
    """
    found = [Scenario("as asked", options)]
    for field, points in (("corner", ("ss", "ff")), ("temp_c", (-40.0, 125.0))):
        found += [Scenario(f"{field}={point}", _with(options, **{field: point})) for point in points
                  if getattr(options, field) != point]
    if options.node_nm == 28 and options.projection != "ptm" and options.pdk == "freepdk45":
        found += [Scenario(f"projection=ptm {flavour}", _with(options, projection="ptm", flavour=flavour))
                  for flavour in FLAVOURS]
    for field, values in (("flavour", ("HP", "LP")), ("constants", ("low", "nominal", "high")),
                          ("clock_gating", ("none", "pass", "operation")), ("read_policy", ("hold", "reread")),
                          ("exponent_fire", ("once", "every"))):
        if field == "flavour" and options.node_nm == 45:
            continue
        for value in values:
            if getattr(options, field) != value:
                found.append(Scenario(f"{field}={value}", _with(options, **{field: value})))
    flavour = ("LP", "HP") if options.node_nm != 45 else (options.flavour, options.flavour)
    low = _with(options, flavour=flavour[0], constants="low", clock_gating="operation", read_policy="hold",
                exponent_fire="once")
    high = _with(options, flavour=flavour[1], constants="high", clock_gating="none", read_policy="reread",
                 exponent_fire="every")
    return (*found, Scenario("all low", low), Scenario("all high", high))


def tables_for(scenario: Scenario, nominal: Reader) -> Reader:
    """The tables for a scenario. BadInput where there are none; whether they hold what it needs, evaluation says.
    nominal: the reader of the design as asked."""
    o = scenario.options
    if o.projection == "ptm" and not isinstance(nominal, BlendedReader):
        if not nominal.backed:
            raise BadInput("it stands on shipped tables alone, and --tables were given")
        return make_reader(replace(o, tables=None))
    return nominal.at(Point(o.corner, o.temp_c, o.vdd_v))


def _with(options: EstimateOptions, **changes: str | float) -> EstimateOptions:
    return EstimateOptions.from_json(options.to_json() | changes)
