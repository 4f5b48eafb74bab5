"""Sections on energy, time, density, GPU rows and the chip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from charlib.units import format_si
from system.gpu_median import apart
from system.notes import notes
from system.report.view_parts import Grid, Picture, Section, percent, span, words
from system.scaling import node_note

_PASSES = (("forward", "forward"), ("input_gradient", "input gradient"), ("weight_gradient", "weight gradient"),
           ("update", "update"))
#: in the caveat of a row whose time and power fraction come from one run of another card
SAME_RUN = "from the same run as the time"
_BOUNDARIES = {"macro_only": "macros only", "with_buffers": "with buffers", "system": "whole system"}


def _joules(value: float) -> str:
    return format_si(value, "J")


def _seconds(value: float) -> str:
    return format_si(value, "s")


def energy_section(record: Mapping[str, Any]) -> Section:
    """Per boundary, then by block and pass."""
    imc, summary, status = record["estimate"]["imc"], record["summary"], record["status"]
    rows = []
    for boundary, part in imc.items():
        interval = part.get("energy_j_per_image_interval")
        rows.append((_BOUNDARIES[boundary], _joules(part["energy_j_per_image"]),
                     span(part["energy_j_per_image_range"], _joules), span(interval, _joules) if interval else "none",
                     _joules(summary["energy_per_mac_j"][boundary]), format_si(summary["power_w"][boundary], "W")))
    head = ("what is charged", "energy an image", "range (choices)", "interval (statistics, 95 %)", "per MAC",
            "mean power")
    grids = [Grid(head, tuple(rows), "Energy of one image's share of a training step", status)]
    grids += [_block_grid(record, boundary) for boundary in imc]
    pictures = (*(Picture(f"energy_{boundary}", f"Energy by block and pass, {_BOUNDARIES[boundary]}", status)
                  for boundary in imc),
                Picture("energy_layers", "Energy by layer and pass, inside the buffers' boundary", status))
    scopes = "; ".join(f"{_BOUNDARIES[b]}: {', '.join(words(s) for s in part['scope'])}" for b, part in imc.items())
    text = (f"What each boundary holds. {scopes}.",
            *(f"{line[0].upper()}{line[1:]}." for line in notes(record["estimate"])))
    return Section("energy", "Energy", text, tuple(grids), pictures)


def _block_grid(record: Mapping[str, Any], boundary: str) -> Grid:
    rows = tuple((words(row["block"]), _joules(row["energy_j"]), percent(row["share"]),
                  *(_joules(row["passes"][key]) for key, _ in _PASSES))
                 for row in record["summary"]["blocks"][boundary])
    head = ("block", "energy an image", "share", *(name for _, name in _PASSES))
    return Grid(head, rows, f"By block and pass, {_BOUNDARIES[boundary]}", record["status"], folded=True)


def time_section(record: Mapping[str, Any]) -> Section:
    """Per boundary with overlap, and the slowest layers of the schedule."""
    imc, status = record["estimate"]["imc"], record["status"]
    rows = []
    for boundary, part in imc.items():
        times = part["breakdown"]["time_s"]
        rows.append((_BOUNDARIES[boundary], _seconds(part["time_s_per_image"]),
                     span(part["time_s_per_image_range"], _seconds),
                     *(_seconds(times[key]) for key, _ in _PASSES), _seconds(times["overlapped_s"])))
    head = ("what is charged", "time an image", "range", *(name for _, name in _PASSES), "overlapped")
    slowest = tuple((row["layer"], words(row["pass"]), row["mode"], f"{row['positions']:,}", f"{row['copies']}",
                     f"{row['cycles']:,}", percent(row["busy_fraction"]), _seconds(row["time_s_per_image"]))
                    for row in record["summary"]["slowest"])
    macro = record["estimate"]["macro"]
    paths = ", ".join(f"{words(name)} {_seconds(value)}" for name, value in macro["clock_paths_s"].items())
    text = (f"The clock is {format_si(macro['clock_hz'], 'Hz')}, set by {words(macro['clock_limited_by'])}; the "
            "least "
            f"cycle that each path asks for: {paths}. Time is a sum over layers and passes, since batch "
            "normalisation "
            "needs its whole batch; “overlapped” is what ran beside something slower.")
    grids = (Grid(head, tuple(rows), "Time of one image's share of a training step, passes before overlap", status),
             Grid(("layer", "pass", "mode", "positions", "copies", "cycles a step", "busy", "time an image"), slowest,
                  "The slowest layers of the schedule", status, folded=True))
    return Section("time", "Time", (text,), grids, (Picture("time_passes", "Time by pass and boundary", status),))


def density_section(record: Mapping[str, Any]) -> Section:
    """Area by block and bits per area."""
    macro = record["estimate"]["macro"]
    rows = tuple((words(row["block"]), f"{row['area_mm2'] * 1e6:,.0f} µm²", percent(row["share"]))
                 for row in record["summary"]["area"])
    low, high = macro["density_kb_per_mm2_range"]
    text = (f"One macro holds {macro['capacity_bit'] / 1024:.0f} Kb in {macro['area_mm2']:.4f} mm² at "
            f"{macro['node_nm']} "
            f"nm: {macro['density_kb_per_mm2']:.0f} Kb/mm², {low:.0f} to {high:.0f} over bitcell, cell library and "
            "utilisation. 1 Kb is 1024 bit. No layout was drawn.")
    return Section("density", "Density", (text,), (Grid(("block", "area", "share"), rows, "Area of one macro by "
                                                                                          "block",
                                                        "cited cell areas", folded=True),),
                   (Picture("area", "Area of one macro by block", "cited cell areas"),))


def source_name(source: str) -> str:
    """A power source or a time source as people read it."""
    return words(source).replace("tdp", "TDP")


def rows_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the GPU's rows rest on: measured in one run, composed, bounds."""
    own = [row for row in rows if not row["composed"]]
    used = sum(row["headline"] for row in own)
    carried = sum(row["composed"] and SAME_RUN in row["caveat"] for row in rows)
    if not own:
        text = ("None of them was measured in one run on the card itself: each is composed, so only their range is "
                "used.")
    else:
        text = (f"{len(own)} of the {len(rows)} were measured on the card itself, power and time in one run, and "
                f"{used or 'none'} of these stand{'s' if used == 1 else ''} in the headline"
                + ("; the others are composed." if len(own) < len(rows) else "."))
    if carried:
        text += (f" {carried} carry time and share of TDP from one and the same measured run of another card.")
    if any(row["time_source"].endswith("roofline") for row in rows):
        text += " Rooflines are lower bounds on time and stand in no headline."
    if any(apart(row) for row in rows):
        text += " Rows of FP32 or TF32 stand apart: the arrays multiply 16 bits, so no headline holds them."
    if any(row["why_not"].startswith("power of a run") for row in rows):
        text += " Nor does one hold a saturated run's time at the power of a card that waited for its input."
    return text


def gpu_section(record: Mapping[str, Any]) -> Section:
    """Every GPU row, and its sources below."""
    rows = record["estimate"]["gpu"]
    table = tuple((source_name(r["power_source"]), source_name(r["time_source"]), r["precision"].upper(),
                   f"{r['power_w']:.0f} W", _seconds(r["time_s_per_image"]), _joules(r["energy_j_per_image"]),
                   "yes" if r["headline"] else f"no: {r['why_not']}")
                  for r in rows)
    sources = tuple(dict.fromkeys((r["source"], r["caveat"]) for r in rows))
    text = f"A row is a power source with a time source. {rows_sentence(rows)}"
    return Section("gpu", "The GPU", (text,), (
        Grid(("power", "time", "type", "power drawn", "time an image", "energy an image", "in the headline"), table,
             f"Every row of {rows[0]['name']}, batch {rows[0]['batch']}", "cited measurements", folded=True),
        Grid(("source", "caveat"), sources, "Sources of the rows", "cited measurements", folded=True)))


def chip_section(record: Mapping[str, Any]) -> Section:
    """What was assumed to be built, and other designs beside it."""
    chip, macro, status = record["estimate"]["chip"], record["estimate"]["macro"], record["status"]
    text = (f"{chip['macros']:,} macros of {macro['compartments']} compartments × {macro['rows']} rows × "
            f"{macro['columns']} columns, weights {chip['policy']}, {chip['buffer_bit'] / 8 / 2**20:g} MiB of "
            "buffer, "
            f"{chip['dram'].upper()}: {chip['area_mm2']:.0f} mm² at {macro['node_nm']} nm, {macro['vdd_v']:g} V.")
    note = node_note(record["estimate"])
    text += f" {note[0].upper()}{note[1:]}." if note else ""
    rows = tuple((other["name"], f"{other['macros']:,}", f"{other['area_mm2']:.0f} mm²",
                  _joules(other["imc"]["system"]["energy_j_per_image"]),
                  _seconds(other["imc"]["system"]["time_s_per_image"]),
                  span(other["headline"]["system"]["energy_fraction_range"], percent),
                  span(other["headline"]["system"]["time_fraction_range"], percent))
                 for other in record["alternatives"])
    head = ("design", "macros", "area", "energy an image", "time an image", "energy saved", "time saved")
    return Section("chip", "The chip, and other designs", (text,),
                   (Grid(head, rows, "One choice changed at a time, whole system", status),))
