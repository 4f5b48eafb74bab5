"""Sections on what drives the result, on other designs, and on the paper's time saving."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from charlib.units import format_si
from system.notes import left_out
from system.report.view_parts import Grid, Picture, Section, percent, span, words

_BOUNDARIES = {"macro_only": "macros only", "with_buffers": "with buffers", "system": "whole system"}
_DRIVERS = {"temp_c": "temperature"}
#: members of the front that the page lists
_SHOWN = 12


def _joules(value: float) -> str:
    return format_si(value, "J")


def _seconds(value: float) -> str:
    return format_si(value, "s")


def drivers_section(record: Mapping[str, Any]) -> Section:
    """The tornado, and its numbers."""
    estimate, status = record["estimate"], record["status"]
    rows = tuple((_DRIVERS.get(row["driver"], words(row["driver"])), row["kind"], span(row["energy_j"], _joules),
                  span(row["time_s"], _seconds))
                 for row in estimate["drivers"]["system"])
    text = ("Each driver is moved alone. Scenarios are choices and conditions, and make ranges; statistics "
            "(mismatch, sampling, interpolation, extrapolation, convergence, composition) make intervals. They are "
            "never added.", *(f"{line[0].upper()}{line[1:]}." for line in left_out(estimate)))
    return Section("drivers", "What drives the result", text, (
        Grid(("driver", "kind", "energy an image", "time an image"), rows, "Whole system, the widest first", status,
             folded=True),), (
        Picture("drivers_energy_j", "What moves the energy of an image, whole system", status),
        Picture("drivers_time_s", "What moves its time", status)))


def equal_time_grid(record: Mapping[str, Any]) -> tuple[Grid, ...]:
    """The number of macros at which the time saving is the paper's."""
    if not record["equal_time"]:
        return ()
    rows = []
    for row in record["equal_time"]:
        gpu = _seconds(row["gpu_time_s_per_image"])
        start = (_BOUNDARIES[row["boundary"]], f"{row['which']}, {gpu}")
        rows.append((*start, "none is enough", "", "", "") if row["macros"] is None else (
            *start, f"{row['macros']:,}", f"{row['area_mm2']:.0f} mm²", percent(row["time_fraction"]),
            percent(row["energy_fraction"])))
    return (Grid(("what is charged", "GPU", "macros", "chip", "time saved", "energy saved"), tuple(rows),
                 "The fewest macros whose time saving is at least the paper's, and the energy saved there",
                 record["status"]),)


def exploration_section(record: Mapping[str, Any]) -> Section:
    """The front of a small grid about the design."""
    found, status = record["exploration"], record["status"]
    if found is None:
        return Section("exploration", "Other designs", ("These options are not explored; see 'himc explore'.",))
    front = found["front"]
    shown = front if len(front) <= _SHOWN else [front[round(k * (len(front) - 1) / (_SHOWN - 1))]
                                                for k in range(_SHOWN)]
    energy, time, area = found["objectives"]
    rows = tuple((*(str(row[name]) for name in found["axes"]), _joules(row[energy]), _seconds(row[time]),
                  f"{row[area] * 1e6:.0f} mm²") for row in shown)
    text = (f"{found['designs']:,} designs about the one asked for, {found['possible']:,} of which can be (the rest "
            f"have no tables or too few macros); {len(front)} are beaten by none in energy, time and area at once. "
            "'himc explore' takes any space, and draws it interactively.")
    return Section("exploration", "Other designs", (text,), (
        Grid((*(words(name) for name in found["axes"]), "energy an image", "time an image", "chip"), rows,
             "Some of the front, whole system, from its ends inwards", status, folded=True),),
        (Picture("pareto", "Energy, time and area of each design, whole system", status),))
