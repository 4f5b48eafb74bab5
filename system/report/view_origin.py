"""Sections on where each number comes from and on what the page must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charlib.units import format_si
from system.report.view_parts import Grid, Section, percent

_HASH_DIGITS = 12


def origin_section(record: Mapping[str, Any]) -> Section:
    """Tables with status, runs, engine and hashes; the campaign; fresh beside shipped; how to trace."""
    tables = record["characterisation"]["tables"]
    used = {table["name"]: table for table in record["estimate"]["origin"]["tables"]}
    rows = tuple((t["name"], used.get(t["name"], t)["status"], f"{t['values']:,}", f"{t['runs']:,}",
                  "yes" if t["name"] in used else "no", t["engine"], t["pdk"], t["pdk_sha256"][:_HASH_DIGITS],
                  t["revision"], t["created"]) for t in tables)
    head = ("table", "status", "values", "runs", "in the estimate", "engine", "kit", "kit sha256", "revision", "made")
    sentences = (
        _campaign(record["characterisation"]["campaign"]),
        "From a figure to a deck: ‘himc trace out/report.json estimate.imc.macro_only.energy_j_per_image’ lists the "
        "blocks, tables and runs behind it and runs one of the decks again. ‘himc estimate --assumptions’ lists "
        "every "
        "constant with its source.",
        f"Kit {record['estimate']['origin']['pdk']}; engine {record['estimate']['origin']['engine']}; tables behind "
        f"the estimate: {record['status']}.",
    )
    return Section("origin", "Where each number comes from", sentences,
                   (Grid(head, rows, "Tables and their origin", record["status"], folded=True),))


def _campaign(campaign: Mapping[str, Any]) -> str:
    """The account of the simulations in one or two sentences."""
    if campaign["status"] != "fresh":
        return f"Nothing was simulated for this page: {campaign.get('reason', 'it was not asked for')}."
    text = (f"Campaign “{campaign['preset']}”: {campaign['runs']} runs, {campaign['simulated']} simulated in "
            f"{campaign['wall_s']:.0f} s (solver {format_si(campaign['solver_s'], 's')}), {campaign['reused']} "
            "reused, "
            f"{campaign['retried']} with looser options. ")
    comparison = campaign["comparison"]
    if comparison["tables"] == 0:
        return text + f"Not held against shipped tables: {comparison['note'] or 'none have common points'}."
    worst = comparison["worst"]
    found = ("they agree to every digit" if worst is None else
             f"the largest difference is {percent(worst['relative'])}, {worst['table']} at {worst['point']}")
    return (text + f"Held against the shipped tables at all common points of {comparison['tables']} tables: {found}; "
            f"more than {percent(comparison['tolerance'])} would have failed the run.")


def limit_section(record: Mapping[str, Any]) -> Section:
    """What the result is not valid for."""
    return Section("limits", "Not valid for", tuple(record["limits"]))
