"""Where the main figures of a section come from: contributions, tables, runs, and one deck, as it ran."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from charlib.units import format_si
from system.report.view_parts import Grid, Listing, Section, words

_HEAD = ("block", "pass", "event", "events", "each", "in all", "table or constant", "status", "runs", "source")
#: unit of a traced figure -> unit of what it is made of
_PARTS = {"J": "J", "Hz": "s", "Kb/mm²": "mm²"}


def with_traces(record: Mapping[str, Any], section: Section) -> Section:
    """The section, and below it the traces of its figures."""
    traces = [trace for trace in record["traces"] if trace["section"] == section.key]
    decks = {deck["id"]: deck for deck in record["decks"]}
    listings = tuple(_listing(decks[run]) for run in dict.fromkeys(t["deck"] for t in traces) if run is not None)
    return replace(section, grids=(*section.grids, *(_grid(record, trace) for trace in traces)), listings=listings)


def _grid(record: Mapping[str, Any], trace: Mapping[str, Any]) -> Grid:
    def part(value: float) -> str:
        unit = _PARTS[trace["unit"]]
        return f"{value:.4g} mm²" if unit == "mm²" else format_si(value, unit)

    rows = [(words(c["block"]), words(c["pass"]), words(c["event"]), f"{c['events']:.4g}", part(c["each"]),
             part(c["sum"]), c["table"], c["status"], f"{c['runs']:,}" if c["runs"] else "", c["citation"])
            for c in trace["contributions"]]
    if trace["others"]:
        # delays do not add up: the longest path sets the clock
        rest = part(trace["others_sum"]) if trace["unit"] != "Hz" else ""
        rows.append((f"{trace['others']:,} others", "", "", "", "", rest, "", "", "", ""))
    value = (format_si(trace["value"], trace["unit"]) if trace["unit"] in ("J", "Hz")
             else f"{trace['value']:.0f} {trace['unit']}")
    return Grid(_HEAD, tuple(rows),
                f"Where {value} comes from: {trace['path']}", record["status"], folded=True)


def _listing(deck: Mapping[str, Any]) -> Listing:
    caption = (f"One deck behind it: run {deck['id']} of table {deck['table']}, {words(deck['kind'])} at "
               f"{deck['point']}, {deck['engine']}")
    return Listing(deck["id"], caption, deck["text"])
