"""From a figure of an estimate back to the tables, runs and constants it was made of.

The estimate's JSON carries all its options, so the design is computed again and must give the stored figure;
if the tables changed since, that is an error and not a trace of something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from charlib.errors import BadInput, HimcError
from charlib.table import TableSet
from system.blocks import BOUNDARIES
from system.circuit import Term
from system.cost import Contribution
from system.design import Design, evaluate, make_reader
from system.options import EstimateOptions

#: a recomputed figure must agree with the stored one to this, relative
AGREEMENT = 1e-9


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


def trace_estimate(document: dict[str, Any], path: str, fresh: TableSet | None = None) -> Trace:
    """Trace `path` ("imc.BOUNDARY.energy_j_per_image", "imc.BOUNDARY.breakdown.energy_j.BLOCK[.PASS]",
    "imc.BOUNDARY.time_s_per_image", "macro.clock_hz", "macro.leakage_w"; a leading "estimate." is allowed).

    document: an estimate's JSON. fresh: its fresh tables, where the folder in its options has moved.
    """
    keys = path.removeprefix("estimate.").split(".")
    stored = _stored(document, keys, path)
    options = EstimateOptions.from_json(document["origin"]["options"])
    design = evaluate(options, make_reader(options, fresh))
    value, unit, entries = _entries(design, keys, path)
    if not math.isclose(value, stored, rel_tol=AGREEMENT):
        raise HimcError(f"{path}: the report says {stored:.6g}, its options and the present tables give "
                        f"{value:.6g}; the tables have changed, run the estimate again")
    return Trace(path, stored, unit, tuple(sorted(entries, key=lambda e: -abs(e.energy_j))))


def _stored(document: dict[str, Any], keys: list[str], path: str) -> float:
    node: Any = document
    for key in keys:
        if not isinstance(node, dict) or key not in node:
            allowed = ", ".join(node) if isinstance(node, dict) else "nothing below it"
            raise BadInput(f"path '{path}': no '{key}' there; it holds {allowed}")
        node = node[key]
    if isinstance(node, dict):
        numbers = [v for v in node.values() if isinstance(v, (int, float))]
        if len(numbers) == len(node) and "breakdown" in keys:
            return math.fsum(numbers)
    if not isinstance(node, (int, float)) or isinstance(node, bool):
        raise BadInput(f"path '{path}': not a number; name one figure")
    return float(node)


def _entries(design: Design, keys: list[str], path: str) -> tuple[float, str, list[TraceEntry]]:
    if keys[0] == "imc" and len(keys) >= 3 and keys[1] in BOUNDARIES:
        boundary, what = keys[1], keys[2:]
        if what == ["energy_j_per_image"]:
            return _energy(design, design.cost.within(boundary))
        if what[:2] == ["breakdown", "energy_j"] and len(what) in (3, 4):
            chosen = [c for c in design.cost.within(boundary)
                      if c.block == what[2] and (len(what) == 3 or c.pass_name == what[3])]
            return _energy(design, chosen)
        if what == ["time_s_per_image"]:
            return design.cost.times[boundary].total_s, "s", _clock_entries(design)
    if keys == ["macro", "clock_hz"]:
        return 1 / design.clock.cycle_s, "Hz", _clock_entries(design)
    if keys == ["macro", "leakage_w"]:
        return sum(t.value for t in design.leakage), "W", [
            _entry("leakage", "", "busy_leakage", 1.0, t) for t in design.leakage]
    raise BadInput(f"path '{path}': this figure has no trace; try imc.BOUNDARY.energy_j_per_image, "
                   "imc.BOUNDARY.breakdown.energy_j.BLOCK, imc.BOUNDARY.time_s_per_image, macro.clock_hz "
                   "or macro.leakage_w")


def _entry(block: str, pass_name: str, event: str, events: float, term: Term) -> TraceEntry:
    r = term.reading
    return TraceEntry(block, pass_name, event, events, term.value, events * term.value, r.source, r.value,
                      term.multiplier, term.scale, dict(r.coordinates), r.run_ids, r.status, r.citation, term.note)


def _energy(design: Design, chosen: tuple[Contribution, ...] | list[Contribution]
            ) -> tuple[float, str, list[TraceEntry]]:
    entries = [_entry(c.block, c.pass_name, c.event, c.events, c.term) for c in chosen]
    return math.fsum(c.energy_j for c in chosen), "J", entries


def _clock_entries(design: Design) -> list[TraceEntry]:
    """The tables behind the clock: one entry a delay read; its "energy" fields hold scaled seconds."""
    entries, factor = [], design.circuit.tech.ratio.delay
    for reading in design.reader.readings():
        if reading.source.endswith("_delay_s"):
            entries.append(_entry("clock", "", design.clock.limited_by, 1.0,
                                  Term(reading, 1.0, factor, "seconds; the longest path sets the clock")))
    return entries
