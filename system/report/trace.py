"""From a figure of a report to blocks, tables, runs and one deck, and that deck through ngspice again.

The chain is: path → contributions (events × energy of an event) → table readings → run ids → the store's rows. Of the
runs behind the figure, one whose deck prints measures is rerun by `ngspice -b` and its measures are compared with
those stored.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlib.campaign import RunRow, Store, recipe, rerun
from charlib.errors import BadInput, HimcError
from charlib.table import TableSet, load_tables
from system.claims import claims
from system.report.claims import PRIOR_DENSITY_KB_PER_MM2, PRIOR_SOURCE
from system.report.files import TABLES_NAME, write_files
from system.trace_entries import Trace, TraceEntry, cited
from system.tracing import (
    Again,
    checked_trace,
    figure,
    stored_figure,
    trace_alternative,
    trace_equal_time,
    trace_estimate,
)

#: a rerun measure must agree with the stored one to this, relative
AGREEMENT = 0.01
#: a measure below this share of the deck's largest of its kind is held to that share of it: AGREEMENT of it is what
#: the decks' own relative tolerance (1e-3) leaves open [inferred]
FLOOR_FRACTION = 0.1
_SUFFIXES = ("a", "c", "f", "hz", "j", "s", "v", "w")
DECKS_NAME = "trace"
_PRINTED = re.compile(r"^\s*\.meas(?:ure)?\s+\w+\s+(\w+)", re.MULTILINE | re.IGNORECASE)


class NoMeasures(HimcError):
    """A deck that ran, and prints nothing that could be compared: its bench measures waveforms."""


@dataclass(frozen=True)
class Comparison:
    """One measure: as stored, and as `ngspice -b` gave it now."""

    measure: str
    stored: float
    rerun: float
    floor: float

    @property
    def relative(self) -> float:
        scale = max(abs(self.stored), self.floor)
        return abs(self.rerun - self.stored) / scale if scale else 0.0

    @property
    def good(self) -> bool:
        return self.relative <= AGREEMENT


def report_tables(report: Path, record: Mapping[str, Any]) -> TableSet | None:
    """The fresh tables of a report: beside it, else where its options say; None where it used shipped ones."""
    if record["estimate"]["origin"]["options"]["tables"] is None:
        return None
    beside = report.parent / TABLES_NAME
    return load_tables(beside if beside.is_dir() else Path(record["estimate"]["origin"]["options"]["tables"]))


def trace_report(report: Path, record: Mapping[str, Any], path: str) -> Trace:
    """The contributions behind a figure. BadInput for a path that leads to no figure with a trace."""
    root, _, rest = path.partition(".")
    if root not in record:
        raise BadInput(f"path '{path}': no '{root}' in the report; it holds {', '.join(record)}. "
                       "Try estimate.imc.macro_only.energy_j_per_image")
    tables = report_tables(report, record)
    if root == "estimate" and rest:
        return trace_estimate(record["estimate"], path, tables)
    if root == "equal_time" and rest:
        return trace_equal_time(record["equal_time"], record["estimate"], path, tables)
    if root == "alternatives" and rest:
        row = rest.partition(".")[0]
        if not row.isdigit() or int(row) >= len(record["alternatives"]):
            raise BadInput(f"path '{path}': no '{row}' there; it holds 0 to {len(record['alternatives']) - 1}")
        return trace_alternative(record["alternatives"][int(row)], record["estimate"], path, tables)
    if root == "claims" and rest:
        return _trace_claim(record, path, tables)
    raise BadInput(f"path '{path}': only figures of the estimate, of alternatives, of equal_time and of the "
                   "claims are traced; "
                   "try estimate.imc.macro_only.energy_j_per_image")


def _trace_claim(record: Mapping[str, Any], path: str, tables: TableSet | None) -> Trace:
    """What a paper claims is cited; ours stands under the estimate, where a ratio's other half is cited."""
    keys = path.split(".")[1:]
    stored = stored_figure(record["claims"], keys, path)
    again = Again(record["estimate"], tables)
    claim = record["claims"][int(keys[0])]
    if keys[1:] == ["claimed"]:
        known = next(c for c in claims() if c.name == claim["name"])
        return checked_trace(path, stored, known.value, known.unit,
                             [cited("claim", claim["name"], known.value, "the paper", known.source, known.text)])
    if keys[1:] == ["ours", "0", "nominal"]:
        kind, end = "density_kb_per_mm2", []
    elif keys[1] == "ours_range" and len(keys) == 3:
        kind, end = "density_kb_per_mm2_range", [keys[2]]
    else:
        kind = ""
    if not claim["name"].startswith("density") or not kind:
        raise BadInput(f"path '{path}': this figure has no trace; ours stands under estimate.headline and "
                       "estimate.macro")
    prior = PRIOR_DENSITY_KB_PER_MM2 if claim["name"] == "density_ratio_to_prior" else 1.0
    value, _, entries = figure(again, ["macro", kind, *end], path)
    source = [] if prior == 1.0 else [cited("prior", "density", prior, "the prior design", PRIOR_SOURCE, "Kb/mm²")]
    return checked_trace(path, stored, value / prior, claim["unit"], [*entries, *source])


def uncertainties(record: Mapping[str, Any], path: str) -> dict[str, list[float]]:
    """The ends of the interval and the range that stand beside a figure, where there are any."""
    parent, _, name = path.rpartition(".")
    node: Any = record
    for key in parent.split("."):
        node = node[int(key)] if isinstance(node, list) else node.get(key, {})
    found = {"interval of statistics, 95 %": f"{name}_interval", "range of scenarios": f"{name}_range"}
    return {what: node[field] for what, field in found.items() if isinstance(node, Mapping) and field in node}


def find_run(entries: Sequence[TraceEntry], store: Store) -> tuple[TraceEntry, RunRow] | None:
    """The largest contribution with a run in the store, and that run; decks that print what is stored come first."""
    ids = dict.fromkeys(run for entry in entries for run in entry.run_ids)
    rows = store.rows(ids)
    for needs_measures in (True, False):
        for entry in entries:
            for run in entry.run_ids:
                if run in rows and (not needs_measures or _prints_what_is_stored(rows[run])):
                    return entry, rows[run]
    return None


def _prints_what_is_stored(row: RunRow) -> bool:
    """Whether `ngspice -b` on its deck gives a measure to compare; others are made from what it prints."""
    stored = {name.lower() for name in row.measures}
    return any(name.lower() in stored for name in _PRINTED.findall(row.deck))


def run_behind(entries: Sequence[TraceEntry], database: Path) -> tuple[TraceEntry, RunRow] | None:
    """:func:`find_run` in a database file."""
    with Store.open(database, create=False) as store:
        return find_run(entries, store)


def one_run(entries: Sequence[TraceEntry], database: Path) -> tuple[TraceEntry, RunRow]:
    """:func:`run_behind`; BadInput where the file holds none of the runs."""
    chosen = run_behind(entries, database)
    if chosen is None:
        raise BadInput(f"runs: none of those behind the figure is in {database}; the tables are shipped ones or the "
                       "database was moved. Give the --db that the run of the report kept")
    return chosen


def withheld(row: RunRow) -> str:
    """How to make the deck where the kit is, of a run whose kit is confidential; "" where the deck is kept."""
    return "" if row.deck else recipe(row).replace("* ", "").rstrip()


def save_deck(folder: Path, row: RunRow) -> Path:
    """The deck as a file that anyone can run by hand."""
    name = f"{row.id}.sp"
    write_files(folder / DECKS_NAME, {name: row.deck})
    return folder / DECKS_NAME / name


def rerun_and_compare(row: RunRow) -> tuple[Comparison, ...]:
    """Run the deck with `ngspice -b` and hold its measures against the stored ones.

    HimcError where the deck prints no measure that was stored.
    """
    found = rerun(row.deck)
    stored = {name.lower(): value for name, value in row.measures.items()}
    common = [name for name in found if name in stored]
    if not common:
        raise NoMeasures(f"run {row.id}: its deck prints no measure that is stored (those are made from its "
                        "waveforms); trace another figure, or use --no-run")
    largest: dict[str, float] = {}
    for name in common:
        largest[_alike(name)] = max(largest.get(_alike(name), 0.0), abs(stored[name]))
    return tuple(Comparison(name, stored[name], found[name], FLOOR_FRACTION * largest[_alike(name)])
                 for name in common)


def _alike(name: str) -> str:
    """What a measure may be held against: its unit's suffix, else its first word ("raw_wordline_s0_i1": "raw")."""
    last = name.rsplit("_", 1)[-1]
    return last if last in _SUFFIXES else name.partition("_")[0]


def by_table(entries: Sequence[TraceEntry]) -> list[tuple[str, str, float, int]]:
    """(table or constant, status, its share of the figure, number of runs), largest first."""
    total = math.fsum(entry.energy_j for entry in entries)
    groups: dict[str, tuple[str, list[float], set[str]]] = {}
    for entry in entries:
        _, joules, runs = groups.setdefault(entry.table, (entry.status, [], set()))
        joules.append(entry.energy_j)
        runs.update(entry.run_ids)
    found = [(name, status, math.fsum(joules) / total if total else 0.0, len(runs))
             for name, (status, joules, runs) in groups.items()]
    return sorted(found, key=lambda row: -abs(row[2]))
