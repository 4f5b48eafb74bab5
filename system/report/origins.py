"""The traces that travel with a report: for its main figures the largest contributions, and one deck behind each.

They are what `himc trace` says, made when the record is made, so that the page shows them with no tables, no store
and no simulator at hand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from charlib.table import TableSet
from system.blocks import BOUNDARIES
from system.report.trace import run_behind
from system.trace_entries import TraceEntry
from system.tracing import Again, figure

#: section of the page -> figures of the estimate that it leads back
TRACED: Mapping[str, tuple[str, ...]] = {
    "energy": tuple(f"imc.{boundary}.energy_j_per_image" for boundary in BOUNDARIES),
    "time": ("macro.clock_hz",),
    "density": ("macro.density_kb_per_mm2",),
}
_LARGEST = 12


def origins(estimate: Mapping[str, Any], fresh: TableSet | None, database: Path | None) -> dict[str, Any]:
    """`traces`, one a figure of TRACED, and `decks`, one a run that they name.

    estimate: its document; fresh: its tables where they are not shipped ones. database: the store with the runs;
    without it, or where it holds none of them, a trace ends at its tables.
    """
    again = Again(estimate, fresh)
    traces: list[dict[str, Any]] = []
    decks: dict[str, dict[str, Any]] = {}
    for section, paths in TRACED.items():
        for path in paths:
            value, unit, found = figure(again, path.split("."), path)
            entries = sorted(found, key=lambda entry: -abs(entry.energy_j))
            deck = None if database is None or not database.exists() else _deck(entries, database)
            if deck is not None:
                decks[deck["id"]] = deck
            traces.append({
                "section": section, "path": f"estimate.{path}", "value": value, "unit": unit,
                "contributions": [_contribution(entry) for entry in entries[:_LARGEST]],
                "others": len(entries[_LARGEST:]), "others_sum": math.fsum(e.energy_j for e in entries[_LARGEST:]),
                "deck": None if deck is None else deck["id"]})
    return {"traces": traces, "decks": list(decks.values())}


def _contribution(entry: TraceEntry) -> dict[str, Any]:
    return {"block": entry.block, "pass": entry.pass_name, "event": entry.event, "events": entry.events,
            "each": entry.energy_per_event_j, "sum": entry.energy_j, "table": entry.table, "status": entry.status,
            "citation": entry.citation, "runs": len(entry.run_ids)}


def _deck(entries: Sequence[TraceEntry], database: Path) -> dict[str, Any] | None:
    chosen = run_behind(entries, database)
    if chosen is None:
        return None
    entry, row = chosen
    return {"id": row.id, "table": entry.table, "kind": row.kind,
            "point": " ".join(f"{name}={value}" for name, value in row.point.items()), "engine": row.engine,
            "created": row.created, "text": row.deck}
