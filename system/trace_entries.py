"""What a figure is made of: contributions, each with its table reading or constant, its runs and its source."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from system.assumptions import constant
from system.circuit import Term
from system.cost import Contribution
from system.design import Design
from system.macro import AREA_LIBRARIES, logic_cells

Entries = list["TraceEntry"]


@dataclass(frozen=True)
class TraceEntry:
    """One contribution: `events` × `energy_per_event_j`, the latter = table value × multiplier × scale_factor."""

    block: str
    pass_name: str
    event: str
    events: float
    energy_per_event_j: float
    energy_j: float
    table: str
    value: float
    multiplier: float
    scale_factor: float
    coords: Mapping[str, float | str]
    run_ids: tuple[str, ...]
    status: str
    citation: str
    note: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Trace:
    """A figure and what it is made of, largest first."""

    path: str
    value: float
    unit: str
    entries: tuple[TraceEntry, ...]


def contribution(block: str, pass_name: str, event: str, events: float, term: Term) -> TraceEntry:
    """`events` times a term."""
    r = term.reading
    return TraceEntry(block, pass_name, event, events, term.value, events * term.value, r.source, r.value,
                      term.multiplier, term.scale, dict(r.coordinates), r.run_ids, r.status, r.citation, term.note)


def cited(block: str, event: str, value: float, table: str, citation: str, note: str) -> TraceEntry:
    """A figure that no table of ours gives: its "energy" fields hold the value, in the unit of the trace."""
    return TraceEntry(block, "", event, 1.0, value, value, table, value, 1.0, 1.0, {}, (), "cited", citation, note)


def energy(chosen: Sequence[Contribution]) -> tuple[float, Entries]:
    """Joules of contributions, and what they are made of."""
    entries = [contribution(c.block, c.pass_name, c.event, c.events, c.term) for c in chosen]
    return math.fsum(c.energy_j for c in chosen), entries


def clock(design: Design) -> Entries:
    """The delays behind each path of the clock, which are summed; their "energy" fields hold scaled seconds."""
    return [contribution("clock", "", path, 1.0,
                         replace(term, note=f"seconds{', ' if term.note else ''}{term.note}; the longest path, with "
                                            "mismatch, sets the clock"))
            for path, terms in design.clock.terms.items() for term in terms]


def area(design: Design, end: int | None = None) -> Entries:
    """A macro's area by block, or its least (0) or largest (1): one entry a block; its "energy" fields hold mm²."""
    cells = logic_cells(design.structure, design.circuit)
    blocks = design.area.blocks_m2 if end is None else design.area.ends_m2[end]
    note = "mm²; " + ("geometric mean of its range" if end is None else ("low", "high")[end] + " end of its range")
    return [cited(name, "area", value * 1e6, f"areas of {name.replace('_', ' ')}",
                  _area_citation(name, cells.get(name, {})), note) for name, value in blocks.items()]


def _area_citation(block: str, cells: Mapping[str, float]) -> str:
    """The sources of a block's own area: bitcell rules, the buffer, or each kind of cell in it with its count."""
    if block == "partial_sum_registers":
        return constant("buffer_area_m2_per_bit").citation
    if block in ("bitcells", "column_periphery"):
        names = ["bitcell_push_rule_28_m2", "bitcell_logic_rule_45_m2"]
        held = ""
    else:
        kinds = [kind for kind, count in sorted(cells.items()) if count]
        names = [f"area_{kind}_{library}_m2" for library in AREA_LIBRARIES for kind in kinds]
        held = ", ".join(f"{cells[kind]:,.0f} {kind.replace('_', ' ')}" for kind in kinds) + ": "
    if block == "column_periphery":
        names.append("rlpu_transistor_to_cell")
    if block != "bitcells":
        names.append("utilisation")
    return held + "; ".join(dict.fromkeys(constant(name).citation for name in names))
