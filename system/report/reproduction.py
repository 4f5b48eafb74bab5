"""The paper's claims beside ours, with interval, range and what decides them: one page, every figure with its trace.

A figure is its text and the path that `himc trace report.json PATH` takes; the page prints both, and a test traces
every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from charlib.units import format_si
from system.ancestor import AncestorOptions
from system.blocks import BOUNDARIES
from system.gpu_median import apart, sentence
from system.report.claims import PRIOR_SOURCE
from system.report.view_origin import not_rerun
from system.report.view_system import rows_sentence, source_name

Record = Mapping[str, Any]
_NAMES = {"macro_only": "macros only", "with_buffers": "with buffers", "system": "whole system"}
#: rows of the table of drivers, blocks of the table of areas
_DRIVERS, _BLOCKS = 8, 5
#: rows of the table of energies
_SPENDERS = 10


@dataclass(frozen=True)
class Figure:
    """What is shown, and where it comes from."""

    text: str
    path: str


Cell = str | Figure | tuple[Figure, Figure]


@dataclass(frozen=True)
class Table:
    """Cells are words, figures, or the two ends of a span."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def figures(self) -> list[Figure]:
        """Every figure of the table."""
        return [f for row in self.rows for cell in row if not isinstance(cell, str)
                for f in (cell if isinstance(cell, tuple) else (cell,))]


def tables(record: Record) -> tuple[Table, ...]:
    """All tables of the page."""
    return (_saving(record, "energy", 0), _by_accounting(record, "energy"), _saving(record, "time", 1),
            _by_accounting(record, "time"), *_equal_time(record), _other_designs(record), _underneath(record),
            _blocks(record), _drivers(record), _density(record), _area(record))


def page(record: Record) -> str:
    """The page in Markdown."""
    n, m, chip, origin = (record["estimate"][key] for key in ("network", "macro", "chip", "origin"))
    lines = [
        "# Reproduction of the paper's claims", "",
        f"Fan et al. (2023) claim, for MobileNet training at 28 nm against an RTX 3060, the figures in the columns "
        f"\"paper\" below. Ours: {n['name']} at {n['image_px']} × {n['image_px']} px, width {n['width']:g}, batch "
        f"{n['batch']}, on {chip['macros']:,} macros ({chip['policy']}; {chip['area_mm2']:.0f} mm² with the buffer), "
        f"{m['node_nm']} nm, {m['vdd_v']:g} V, {format_si(m['clock_hz'], 'Hz')}; tables of {origin['pdk']} by "
        f"{origin['engine']}; computed {record['created'][:10]}, version {origin['version']}. "
        f"{not_rerun(record, 'claims')}".rstrip(),
        "",
        "A **range** runs over scenarios and GPU rows: choices and conditions, each with its own figure. An "
        "**interval** is statistics alone (mismatch, sampling, interpolation, convergence, composition; 95 %). They "
        "are never mixed. Below each table stands, folded, the path of every figure for `himc trace out/report.json "
        "PATH`, after `make run`; where two figures stand in a cell, `.0` and `.1` name them.", ""]
    for table in tables(record):
        lines += [f"## {table.title}", "", table.note, "", *_markdown(table), ""]
    return "\n".join(lines)


def _markdown(table: Table) -> list[str]:
    """The table, then the paths of its figures, row by row, folded."""
    lines = [f"| {' | '.join(table.head)} |", "|" + "---|" * len(table.head)]
    traces = ["<details>", "<summary>Where each figure comes from: paths for himc trace</summary>", ""]
    for row in table.rows:
        paths = dict.fromkeys(path for cell in row if not isinstance(cell, str) for path in _stems(cell))
        cells = [cell if isinstance(cell, str) else cell.text if isinstance(cell, Figure)
                 else f"{cell[0].text} to {cell[1].text}" for cell in row]
        lines.append(f"| {' | '.join(cells)} |".replace(" %", "\u00a0%"))  # no line breaks before the unit
        label = ", ".join(cell for cell in row if isinstance(cell, str) and cell != "—") or table.title
        traces.append(f"- {label}: {' · '.join(f'`{path}`' for path in paths)}")
    return [*lines, "", *traces, "", "</details>"]


def _stems(cell: Figure | tuple[Figure, Figure]) -> tuple[str, ...]:
    if isinstance(cell, Figure):
        return (cell.path,)
    first, second = (figure.path for figure in cell)
    return (f"{first}, .1",) if first.endswith(".0") and second == f"{first[:-1]}1" else (first, second)


def _span(values: Sequence[float], path: str, text: Any) -> tuple[Figure, Figure]:
    return Figure(text(values[0]), f"{path}.0"), Figure(text(values[1]), f"{path}.1")


def _percent(value: float) -> str:
    return f"{value:.1%}".replace("%", " %").replace("-", "−")


def _saving(record: Record, kind: str, index: int) -> Table:
    document, claim = record["estimate"], record["claims"][index]
    key = {"energy": "energy_j_per_image", "time": "time_s_per_image"}[kind]
    rows: list[tuple[Cell, ...]] = []
    for ours in claim["ours"]:
        headline, at = document["headline"][ours["boundary"]], f"estimate.headline.{ours['boundary']}"
        interval: Cell = "—"
        if f"{kind}_fraction_interval" in headline:
            interval = _span(headline[f"{kind}_fraction_interval"], f"{at}.{kind}_fraction_interval", _percent)
        rows.append((
            _NAMES[ours["boundary"]] + ("" if ours["scopes_equal"] else " (scopes unequal)"),
            Figure(_percent(claim["claimed"]), f"claims.{index}.claimed"),
            Figure(_percent(headline[f"{kind}_fraction"]), f"{at}.{kind}_fraction"), interval,
            *(_span(headline[name], f"{at}.{name}", _percent)
              for name in (f"{kind}_fraction_over_rows", f"{kind}_fraction_range"))))
    shown = format_si(document["gpu_median"][key], "s" if kind == "time" else "J")
    median = Figure(shown, f"estimate.gpu_median.{key}")
    rows.append((f"the GPU's median {kind}", "—", median, "—", *(2 * ("—",))))
    return Table(f"{kind.capitalize()} saved", f"What decides it: {claim['decided_by']} A GPU's board power holds "
                 f"what the whole system holds; a saving of a narrower boundary compares unequal scopes. "
                 f"{sentence(document, key)}.",
                 ("what is charged", "paper", "ours, GPU's median", "its interval", "ours over GPU rows",
                  "range with scenarios"), tuple(rows))


def _by_accounting(record: Record, kind: str) -> Table:
    """The savings as asked, lowest to highest over the GPU's rows of one power source and one time source."""
    document, key = record["estimate"], f"{kind}_fraction"
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(document["gpu"]):
        by = ("power_source", "time_source") if kind == "energy" else ("time_source",)
        kept = "" if row["headline"] else f"no: {row['precision'].upper()}" if apart(row) else "no"
        groups.setdefault((*(row[name] for name in by), kept or "yes"), []).append(index)
    rows: list[tuple[Cell, ...]] = []
    for (*sources, kept), members in groups.items():
        cells: list[Cell] = []
        for boundary in BOUNDARIES:
            found = sorted((s[key], k) for k, s in enumerate(document["saving"])
                           if s["boundary"] == boundary and s["row"] in members)
            ends = [Figure(_percent(value), f"estimate.saving.{k}.{key}") for value, k in (found[0], found[-1])]
            cells.append((ends[0], ends[1]) if ends[0].text != ends[1].text else ends[0])
        rows.append((*(source_name(source) for source in sources), str(len(members)), kept, *cells))
    head = ("power by", "time by") if kind == "energy" else ("time by",)
    return Table(f"{kind.capitalize()} saved, by the GPU's accounting",
                 f"Ours as asked against each way of charging the GPU, lowest to highest over its rows. "
                 f"{rows_sentence(document['gpu'])}",
                 (*head, "rows", "in the headline", *(_NAMES[boundary] for boundary in BOUNDARIES)), tuple(rows))


def _equal_time(record: Record) -> tuple[Table, ...]:
    if not record["equal_time"]:
        return ()
    rows: list[tuple[Cell, ...]] = []
    for k, row in enumerate(record["equal_time"]):
        at = f"equal_time.{k}"
        gpu = (Figure(format_si(row["gpu_time_s_per_image"], "s"), f"{at}.gpu_time_s_per_image"),
               Figure(format_si(row["gpu_power_w"], "W"), f"{at}.gpu_power_w"))
        if row["macros"] is None:
            rows.append((_NAMES[row["boundary"]], row["which"], *gpu, "no number is enough", "", "", "", ""))
            continue
        rows.append((_NAMES[row["boundary"]], row["which"], *gpu, Figure(f"{row['macros']:,}", f"{at}.macros"),
                     Figure(f"{row['area_mm2']:.0f} mm²", f"{at}.area_mm2"),
                     Figure(_percent(row["time_fraction"]), f"{at}.time_fraction"),
                     Figure(format_si(row["energy_j_per_image"], "J"), f"{at}.energy_j_per_image"),
                     Figure(_percent(row["energy_fraction"]), f"{at}.energy_fraction")))
    return (Table(
        "Where the time saving is the paper's",
        "The paper's number of macros is not known. More macros take less time, so there is one with which the time "
        "saving is the paper's (or the first above it: layers are copied whole, so time falls in steps); the energy "
        "saved there is what its two claims together would be here.",
        ("what is charged", "GPU", "its time", "its power", "macros", "chip", "time saved", "our energy",
         "energy saved"), tuple(rows)),)


def _other_designs(record: Record) -> Table:
    boundary = BOUNDARIES[-1]
    rows: list[tuple[Cell, ...]] = []
    for k, other in enumerate(record["alternatives"]):
        at, part, saved = f"alternatives.{k}", other["imc"][boundary], other["headline"][boundary]
        rows.append((other["name"], *(Figure(format_si(part[key], unit), f"{at}.imc.{boundary}.{key}")
                                      for key, unit in (("energy_j_per_image", "J"), ("time_s_per_image", "s"))),
                     *(_span(saved[f"{kind}_fraction_range"], f"{at}.headline.{boundary}.{kind}_fraction_range",
                             _percent) for kind in ("energy", "time"))))
    faster = record["estimate"]["macro"]["clock_hz"] * AncestorOptions.cycle_s
    return Table("Other designs", f"Each changes one choice of the design, {_NAMES[boundary]}; the ranges above "
                 f"leave them out. Our clock is what typical circuits allow, {faster:.1f} times the ancestor's in "
                 "silicon.",
                 ("design", "energy an image", "time an image", "energy saved, range", "time saved, range"),
                 tuple(rows))


def _blocks(record: Record) -> Table:
    boundary = BOUNDARIES[-1]
    shown = record["summary"]["blocks"][boundary][:_SPENDERS]
    rows: list[tuple[Cell, ...]] = [
        (row["block"].replace("_", " "),
         Figure(format_si(row["energy_j"], "J"), f"estimate.imc.{boundary}.breakdown.energy_j.{row['block']}"),
         _percent(row["share"])) for row in shown]
    return Table("Where the energy goes", f"The largest blocks, {_NAMES[boundary]}.", ("block", "energy an image",
                                                                                       "share"), tuple(rows))


def _underneath(record: Record) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for boundary, part in record["estimate"]["imc"].items():
        for key, unit in (("energy_j_per_image", "J"), ("time_s_per_image", "s")):
            at = f"estimate.imc.{boundary}.{key}"

            def text(value: float, unit: str = unit) -> str:
                return format_si(value, unit)

            interval: Cell = "—"
            if f"{key}_interval" in part:
                interval = _span(part[f"{key}_interval"], f"{at}_interval", text)
            rows.append((f"{_NAMES[boundary]}, {key.partition('_')[0]}", Figure(text(part[key]), at), interval,
                         _span(part[f"{key}_range"], f"{at}_range", text)))
    return Table("Ours, an image", "What the savings above are made of.",
                 ("figure", "ours", "interval", "range over scenarios"), tuple(rows))


def _drivers(record: Record) -> Table:
    boundary = BOUNDARIES[-1]
    rows: list[tuple[Cell, ...]] = []
    for k, row in enumerate(record["estimate"]["drivers"][boundary][:_DRIVERS]):
        at = f"estimate.drivers.{boundary}.{k}"
        rows.append(({"temp_c": "temperature"}.get(row["driver"], row["driver"].replace("_", " ")), row["kind"],
                     _span(row["energy_j"], f"{at}.energy_j", lambda x: format_si(x, "J")),
                     _span(row["time_s"], f"{at}.time_s", lambda x: format_si(x, "s"))))
    return Table("What moves ours", f"Each alone, {_NAMES[boundary]}, the widest first.",
                 ("driver", "kind", "energy an image", "time an image"), tuple(rows))


def _density(record: Record) -> Table:
    claims = record["claims"]
    rows: list[tuple[Cell, ...]] = []
    for k, claim in enumerate(claims):
        if not claim["name"].startswith("density"):
            continue
        ratio = claim["name"] == "density_ratio_to_prior"

        def text(value: float, ratio: bool = ratio) -> str:
            return f"{value:.2f} ×" if ratio else f"{value:.0f} Kb/mm²"

        nominal = Figure(text(claim["ours"][0]["nominal"]), f"claims.{k}.ours.0.nominal")
        rows.append(("ratio to the prior design" if ratio else "density with the floating-point circuits",
                     Figure(f"{claim['claimed']:g}{' ×' if ratio else ' Kb/mm²'}", f"claims.{k}.claimed"), nominal,
                     _span(claim["ours_range"], f"claims.{k}.ours_range", text)))
    decided = claims[2]["decided_by"].partition(" Largest")[0]
    return Table("Density", f"What decides it: {decided} The prior design: {PRIOR_SOURCE}.",
                 ("figure", "paper", "ours", "range"), tuple(rows))


def _area(record: Record) -> Table:
    blocks = sorted(record["estimate"]["macro"]["area_breakdown_mm2"].items(), key=lambda item: -item[1])[:_BLOCKS]
    return Table("What fills the macro", "The largest blocks of its area.", ("block", "area"), tuple(
        (name.replace("_", " "), Figure(f"{value * 1e6:.0f} µm²", f"estimate.macro.area_breakdown_mm2.{name}"))
        for name, value in blocks))
