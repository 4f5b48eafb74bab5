"""Sections on where each number comes from and on what the page must not be used for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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


def with_rerun(record: Mapping[str, Any], section: Section) -> Section:
    """The section, opened by what of it was not rerun for this page; as it is where all was."""
    said = not_rerun(record, section.key)
    return replace(section, sentences=(said, *section.sentences)) if said else section


def not_rerun(record: Mapping[str, Any], key: str) -> str:
    """What a section shows that no simulation, training or measurement of this run made; "" where all was made."""
    if key == "gpu":
        own = record["estimate"]["origin"]["options"].get("gpu_rows")
        return ("Not rerun for this page: rows are cited from publications"
                + (f", and from {own}" if own else "") + "; no card was measured.")
    if key == "training":
        return {"cached": "Not rerun for this page: the training's curves are those of an earlier run of the same "
                          "code and settings."}.get(record["training"]["status"], "")
    if key == "circuits":
        figures = record["characterisation"]["figures"]
        old = [f["title"] for f in figures if f["status"] == "shipped"]
        return _old("figures", old, len(figures))
    if key in _OF_TABLES:
        used = record["estimate"]["origin"]["tables"]
        return _old("tables behind these figures", [t["name"] for t in used if t["status"] == "shipped"], len(used))
    return ""


def _old(what: str, names: Sequence[str], of: int) -> str:
    if not names:
        return ""
    if len(names) == of:
        return f"Not rerun for this page: all {of} {what} are shipped ones."
    return f"Not rerun for this page: {len(names)} of {of} {what} are shipped ones ({', '.join(names)})."


#: sections whose figures come from the estimate's tables
_OF_TABLES = ("claims", "drivers", "energy", "time", "density", "chip", "exploration")


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
