"""Block × toggles × energy: what every event of an estimate costs, how often it happens, and where the joule is from.

An event of the boundaries around the macro has no toggles of its own: its block is a memory, a wire or a share of
others' energy, from a cited constant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from system.blocks import EVENTS, Event
from system.circuit import MacroCircuit
from system.design import evaluate, make_reader
from system.options import EstimateOptions


@dataclass(frozen=True)
class EventRow:
    """One event. toggles: of its block's circuit an event, None where no circuit of cells stands behind it; each_j:
    mean over the passes; count and total_j: an image; source: "circuit", "bench", "cells [I]" or "constant".
    """

    event: Event
    toggles: float | None
    each_j: float
    count: float
    total_j: float
    source: str


def event_rows(options: EstimateOptions) -> list[EventRow]:
    """Every event of the enumeration, in its order; one that does not happen has a count of 0."""
    design = evaluate(options, make_reader(options))
    circuit = design.circuit
    rows: list[EventRow] = []
    for event in EVENTS.values():
        own = [c for c in design.cost.contributions if c.event == event.name]
        total_j = math.fsum(c.energy_j for c in own)
        # terms of one event share its count; what DRAM stages in the buffer is a count of its own
        count = math.fsum(events for *_, events in {(c.pass_name, c.boundary, c.block, c.events) for c in own})
        sources = {c.term.reading.source for c in own}
        rows.append(EventRow(event, _toggles(circuit, event), total_j / count if count else 0.0, count, total_j,
                             _source(sources, {c.term.reading.status for c in own})))
    return rows


def _toggles(circuit: MacroCircuit, event: Event) -> float | None:
    if not circuit.composed(event.block, "block_toggles"):
        return None
    return circuit.read("block_toggles", event.block, **circuit.statistics()).value


def _source(sources: set[str], statuses: set[str]) -> str:
    if not sources:
        return ""
    if "block_energy_j" in sources:
        return "circuit"
    if statuses == {"constant"}:
        return "constant"
    return "cells [I]" if "cell_energy_j" in sources else "bench"
