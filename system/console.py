"""An estimate as a person at the terminal reads it, in 80 columns: what, how much, how sure, and against which card.

Nothing is computed here but differences and shares of what the document says; everything else about it stands in
the document itself (`--json`) and in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from charlib.units import format_si
from system.blocks import BOUNDARIES
from system.gpu_median import sentence
from system.networks import TEXT
from system.notes import left_out, notes, sources
from system.scaling import node_note

#: figure -> (field, unit, field of the saving)
_FIGURES = {"energy": ("energy_j_per_image", "J", "energy_fraction_range"),
            "time": ("time_s_per_image", "s", "time_fraction_range")}
#: so many of what widens the range most are named
_DRIVERS = 3
#: the largest field that a scanner exposes, 26 mm × 33 mm (ASML, the TWINSCAN series' data sheets)
_RETICLE_MM2 = 858
_FOOT = ("±95 %: statistics of the tables. range: corners, temperatures, constants and accountings, no error bar. "
         "saved: over those and the headline rows of {gpu}; below zero is dearer or slower.")


def show_estimate(document: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the estimate: network, macro, figures with interval, range and saving, GPU rows, what moves the range."""
    console = console or Console()
    for line in _head(document):
        console.print(line)
    console.print(_figures(document))
    if document["scale"]:
        console.print(_scale(document["scale"]))
    console.print(_cards(document["gpu"]))
    for line in (*_medians(document), *_own_rows(document), _drivers(document), *left_out(document),
                 _FOOT.format(gpu=document["gpu"][0]["name"])):
        console.print(line)


def _head(document: Mapping[str, Any]) -> Sequence[str]:
    n, m, chip = document["network"], document["macro"], document["chip"]
    low, high = m["density_kb_per_mm2_range"]
    lines = [
        f"{n['name']} at {n['image_px']} {'tokens' if n['name'] in TEXT else 'px'}, width {n['width']:g}, batch "
        f"{n['batch']}: {n['macs_forward'] / 1e6:.2f} M MAC forward, {n['macs_training'] / 1e6:.1f} M in training, "
        f"{n['parameters'] / 1e6:.3f} M parameters",
        f"{m['name']} at {m['node_nm']} nm, {m['vdd_v']:g} V: clock {format_si(m['clock_hz'], 'Hz')} (limited by "
        f"{m['clock_limited_by']}), {m['density_kb_per_mm2']:.0f} Kb/mm² ({low:.0f} to {high:.0f}); "
        f"{chip['macros']} macros, {chip['policy']}, {chip['area_mm2']:.0f} mm²",
    ]
    if chip["area_mm2"] > _RETICLE_MM2:
        lines.append(f"such a chip is larger than a lithography field ({_RETICLE_MM2} mm²): several chips (--chips) "
                     "or time_multiplexed weights (--macros) would have to do it")
    origin = document["origin"]
    return [*lines, *filter(None, [node_note(document)]), *sources(origin["tables"], origin["options"]["tables"]),
            *notes(document)]


def _table(title: str, columns: Sequence[str]) -> RichTable:
    """An empty table without borders; a column whose name ends in a colon is set to the right."""
    table = RichTable(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name.rstrip(":"), no_wrap=True, justify="right" if name.endswith(":") else "left")
    return table


def _figures(document: Mapping[str, Any]) -> RichTable:
    table = _table("In-memory design, per image of training",
                   ("boundary", "", "value:", "±95 %:", "range:", "saved:"))
    for boundary, found in document["imc"].items():
        for figure, (field, unit, saved) in _FIGURES.items():
            value, ends = found[field], found.get(f"{field}_interval", [found[field]] * 2)
            low, high = document["headline"][boundary][saved]
            table.add_row(boundary if figure == "energy" else "", figure, format_si(value, unit),
                          f"{(ends[1] - ends[0]) / 2 / value:.1%}", _span(found[f"{field}_range"], unit),
                          f"{_percent(low)} to {_percent(high)} %")
    return table


def _scale(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    table = _table("Chips that train together, system boundary, per image",
                   ("chips:", "batch:", "energy:", "time:", "time, hidden:", "power:"))
    for row in rows:
        table.add_row(str(row["chips"]), str(row["batch"]), format_si(row["energy_j_per_image"], "J"),
                      format_si(row["time_s_per_image"], "s"), format_si(row["time_s_per_image_range"][0], "s"),
                      format_si(row["power_w"], "W"))
    return table


def _cards(rows: Sequence[Mapping[str, Any]]) -> RichTable:
    """Spans over rows of one time source and precision; `himc gpu list` has each."""
    table = _table(f"GPU {rows[0]['name']}, per image; each row: himc gpu list",
                   ("time from", "type", "energy:", "time:", "headline"))
    groups: dict[tuple[str, str, bool], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["time_source"], row["precision"], row["headline"]), []).append(row)
    for (source, precision, headline), found in groups.items():
        spans = [_span([row[field] for row in found], unit) for field, unit, _ in _FIGURES.values()]
        table.add_row(source.replace("_", " "), precision, *spans, "yes" if headline else "")
    return table


def _medians(document: Mapping[str, Any]) -> Sequence[str]:
    """Ours as asked against the GPU's medians, and what these rest on."""
    saved = document["headline"][BOUNDARIES[-1]]
    lines = [f"as asked against the GPU's medians, {BOUNDARIES[-1]}: energy {saved['energy_fraction']:.1%}, time "
             f"{saved['time_fraction']:.1%} saved"]
    if document["gpu_median"]["rows"] > 1:
        lines += [sentence(document, key) for key, _, _ in _FIGURES.values()]
    return lines


def _own_rows(document: Mapping[str, Any]) -> Sequence[str]:
    """The saving against each row measured on a card itself."""
    lines = []
    for saving in document["saving"]:
        row = document["gpu"][saving["row"]]
        if saving["boundary"] == BOUNDARIES[-1] and not row["composed"]:
            why = "" if row["headline"] else f"; not in the headline: {row['why_not']}"
            lines.append(f"saving against {row['source']}: energy {saving['energy_fraction']:.1%}, time "
                         f"{saving['time_fraction']:.1%} (as asked, {saving['boundary']}{why})")
    return lines


def _drivers(document: Mapping[str, Any]) -> str:
    """What moves the outermost boundary's energy most."""
    widest = sorted(document["drivers"][BOUNDARIES[-1]], key=lambda one: one["energy_j"][0] - one["energy_j"][1])
    named = ", ".join(f"{driver['driver']} ({_span(driver['energy_j'], 'J')})" for driver in widest[:_DRIVERS])
    return f"what moves energy most, {BOUNDARIES[-1]}: {named}"


def _percent(fraction: float) -> str:
    """A share in per cent; no decimals where it is many times the whole."""
    return f"{fraction * 100:.{0 if abs(fraction) >= 10 else 1}f}"


def _span(values: Sequence[float], unit: str) -> str:
    """Both ends, the unit once where it is the same: "4.54 to 13.7 mJ"."""
    low, high = (format_si(end, unit) for end in (min(values), max(values)))
    if low == high:
        return low
    number, _, prefixed = low.partition(" ")
    return f"{number} to {high}" if high.endswith(f" {prefixed}") else f"{low} to {high}"
