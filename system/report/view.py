"""From the record to sections: titles, sentences, tables of text, places of figures. Text and page draw these alike.

Numbers get their prefix and their unit here; nothing is computed. Every table and figure says `fresh` or `shipped`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from charlib.units import format_si
from system.gpu_median import sentence
from system.report.view_choices import drivers_section, equal_time_grid, exploration_section
from system.report.view_origin import limit_section, origin_section, with_rerun
from system.report.view_parts import Grid, Picture, Section, dash, percent, span, words
from system.report.view_system import chip_section, density_section, energy_section, gpu_section, time_section
from system.report.view_traces import with_traces

__all__ = ["Banner", "Grid", "Picture", "Section", "banner", "sections", "title"]

BOUNDARY_NAMES = {"macro_only": "macros only", "with_buffers": "with buffers", "system": "whole system",
                  "macro": "macro"}
_NETWORK_NAMES = {"mobilenet_v1": "MobileNetV1", "mobilenet_v2": "MobileNetV2"}
_CLAIM_NAMES = {"energy_saving_fraction": "energy saved", "time_saving_fraction": "time saved",
                "density_kb_per_mm2": "density", "density_ratio_to_prior": "density ÷ prior"}


#: claims of the verdict, and what ours as asked is held against
_VERDICTS = {"energy_saving_fraction": "against the GPU's median", "time_saving_fraction": "against the GPU's median",
             "density_kb_per_mm2": "as asked"}


@dataclass(frozen=True)
class Banner:
    """The line below the title; `loud` where the figures are not fresh."""

    text: str
    loud: bool
    details: tuple[str, ...] = field(default_factory=tuple)


def title(record: Mapping[str, Any]) -> str:
    """The report's heading: network, size and card."""
    network = record["estimate"]["network"]
    name = _NETWORK_NAMES.get(network["name"], network["name"])
    gpu = record["estimate"]["gpu"][0]["name"].upper().replace("RTX", "RTX ")
    return f"Training {name} in SRAM, beside an {gpu}"


def banner(record: Mapping[str, Any]) -> Banner:
    """Where the figures come from, in one line."""
    campaign, status = record["characterisation"]["campaign"], record["status"]
    network = record["estimate"]["network"]
    task = (f"{_NETWORK_NAMES.get(network['name'], network['name'])}, {network['image_px']} × {network['image_px']} "
            f"px, width {network['width']:g}, batch "
            f"{network['batch']}: {network['macs_training'] / 1e6:,.1f} M multiply-accumulates an image in training")
    made = f"Made {record['created']} by hadamard-imc {record['estimate']['origin']['version']}."
    if status == "shipped":
        why = campaign.get("reason", "")
        return Banner(f"SHIPPED TABLES: no simulation ran for this page{f', because {why}' if why else ''}. Every "
                      "figure "
                      "below rests on tables that travel with the package.", True, (task, made))
    text = (f"Fresh: {campaign['runs']} ngspice runs behind this page, {campaign['simulated']} simulated now and "
            f"{campaign['reused']} reused from {campaign['database']}.")
    if status == "mixed":
        text += " Some tables are shipped ones, since this run's do not cover them; each figure says which."
    return Banner(text, status != "fresh", (task, made))


def sections(record: Mapping[str, Any]) -> tuple[Section, ...]:
    """All of the page, in reading order."""
    parts = (
        claims_section(record), drivers_section(record), energy_section(record), time_section(record),
        density_section(record), gpu_section(record), chip_section(record), exploration_section(record),
        training_section(record), circuits_section(record),
        origin_section(record), limit_section(record),
    )
    return tuple(with_rerun(record, with_traces(record, part)) for part in parts)


def claims_section(record: Mapping[str, Any]) -> Section:
    """The first thing on the page: claimed beside ours, and what decides."""
    rows = []
    for claim in record["claims"]:
        for ours in claim["ours"]:
            inside = "yes" if ours["includes_claim"] else "no"
            scope = BOUNDARY_NAMES[ours["boundary"]] + ("" if ours["scopes_equal"] else " *")
            name = _CLAIM_NAMES.get(claim["name"], words(claim["name"]))
            interval = ours.get("interval")
            nominal = _value(claim, ours["nominal"])
            if interval is not None:
                nominal += f" ({span(interval, partial(_value, claim))})"
            rows.append((name, scope, _value(claim, claim["claimed"]), nominal,
                         span(ours["range"], partial(_value, claim)), inside))
    grids = [Grid(("figure", "what is charged", "paper", "ours (interval)", "range", "paper inside?"), tuple(rows),
                  f"The paper's claims and ours as asked, against the GPU's median. {' '.join(medians(record))} "
                  "Rows of FP32 stand apart and in no range. An interval is statistics, 95 %; a range spans GPU "
                  "rows, accounting and projection, and is no error bar. * The GPU's board power holds more than "
                  "this side does, so the scopes differ.", record["status"])]
    for claim in record["claims"]:
        if claim["drivers"]:
            grids.append(_drivers(claim, record["status"]))
    grids += equal_time_grid(record)
    sentences = [f"What decides {_CLAIM_NAMES.get(c['name'], words(c['name']))}: {c['decided_by']}"
                 for c in record["claims"] if c["decided_by"]]
    return Section("claims", "The paper's claims beside ours", tuple(sentences), tuple(grids),
                   (Picture("headline_energy", "Energy per training image. Bars span accounting and projection on "
                                               "our "
                            "side; a GPU bar spans its rows.", record["status"]),
                    Picture("headline_time", "Time per training image, on the same footing.", record["status"])))


def medians(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Which rows the GPU's median energy and time lie at or between, and the evidence behind them."""
    return tuple(f"{sentence(record['estimate'], key)}." for key in ("energy_j_per_image", "time_s_per_image"))


def _value(claim: Mapping[str, Any], value: float) -> str:
    if claim["unit"] == "1":
        return percent(value) if "fraction" in claim["name"] else f"{value:.2f} ×"
    return f"{value:.0f} {claim['unit']}" if value != claim["claimed"] else f"{value:g} {claim['unit']}"


def _drivers(claim: Mapping[str, Any], status: str) -> Grid:
    rows = tuple((d["name"], f"{percent(d['low'])} ({d['low_is'].replace('_', ' ')})",
                  f"{percent(d['high'])} ({d['high_is'].replace('_', ' ')})") for d in claim["drivers"][:8])
    return Grid(("choice moved alone", "lowest saving", "highest saving"), rows,
                f"What decides “{_CLAIM_NAMES.get(claim['name'], claim['name'])}”: from the whole system as asked, "
                "against the GPU's median, one choice moved at a time", status)


def training_section(record: Mapping[str, Any]) -> Section:
    """Curves and last values, FP32 beside the in-memory arithmetic."""
    training = record["training"]
    if training["status"] == "not run":
        return Section("training", "Training under the in-memory arithmetic",
                       (f"No training ran for this page: {training['reason']}.",))
    rows = tuple((name, f"{len(training[key]['loss'])}", f"{training[key]['loss'][0]:.3f}",
                  f"{training[key]['loss'][-1]:.3f}", percent(training[key]["accuracy"][-1]))
                 for name, key in (("FP32", "fp32"), ("in-memory BF16", "imc")))
    grid = Grid(("arithmetic", "points", "first loss", "last loss", "last accuracy"), rows,
                "A small MobileNet on handwritten digits, the same seed for both", training["status"])
    text = "The curves were " + ("trained for this page." if training["status"] == "run" else "kept.")
    pictures = (Picture("training_loss", "Training loss", training["status"]),
                Picture("training_accuracy", "Accuracy on held-out digits", training["status"]))
    grids = (grid, *_activity(training))
    return Section("training", "Training under the in-memory "
                               "arithmetic", (text, *_settings(training)), grids, pictures)


def _settings(training: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings in a sentence, those of the arithmetic in another."""
    settings = training.get("settings")
    if not settings:
        return ()
    plain = {"network": training.get("network"), "images": training.get("dataset"),
             "pixels": training.get("image_px"), "for training": training.get("train_images"),
             "held out": training.get("test_images"),
             **{k: v for k, v in settings.items() if not isinstance(v, dict)}}
    return tuple(f"{name}: {', '.join(f'{words(k)} {v}' for k, v in part.items())}."
                 for name, part in (("Settings", plain), *((words(k), v) for k, v in settings.items()
                                                           if isinstance(v, dict))))


def _activity(training: Mapping[str, Any]) -> tuple[Grid, ...]:
    """What the arrays saw, by pass."""
    activity = training.get("activity")
    if not activity:
        return ()
    names = list(next(iter(activity.values())))
    rows = tuple((words(name), *(f"{seen.get(what, 0.0):.3g}" for what in names)) for name, seen in activity.items())
    return (Grid(("pass", *(words(n) for n in names)), rows,
                 "What the arrays saw in this training: means by pass (densities of ones, shares of zeros, toggles "
                 "a bit, "
                 "spread of exponents)", training["status"], folded=True),)


def circuits_section(record: Mapping[str, Any]) -> Section:
    """Plots of the characterised circuits."""
    figures = record["characterisation"]["figures"]
    pictures = tuple(Picture(f["id"], dash(f["title"], f["note"]), f["status"]) for f in figures)
    text = ("ngspice characterised the 6T cell, the compartment, cells, adder trees and the serial "
            "shift-accumulator; "
            "each run checked its own logic, and a wrong answer never reaches a table.")
    return Section("circuits", "The circuits", (text,), (), pictures)


def summary_rows(record: Mapping[str, Any]) -> Sequence[tuple[str, str, str, str, str]]:
    """(figure, what is charged, paper, ours as asked against the GPU's median, range), for terminal and README."""
    rows = [(_CLAIM_NAMES.get(claim["name"], words(claim["name"])), BOUNDARY_NAMES[ours["boundary"]],
             _value(claim, claim["claimed"]), _value(claim, ours["nominal"]),
             span(ours["range"], partial(_value, claim)))
            for claim in record["claims"] for ours in claim["ours"]]
    rows += [(f"{_CLAIM_NAMES[claim['name']]}, GPU in FP32", BOUNDARY_NAMES["system"],
              _value(claim, claim["claimed"]), "stands apart", span(claim["apart"], partial(_value, claim)))
             for claim in record["claims"] if claim.get("apart")]
    for other in record["alternatives"]:
        if "cycle_s" in other["options"]:
            rows += [(f"{name}, clock of {format_si(other['options']['cycle_s'], 's')}", BOUNDARY_NAMES["system"],
                      _value(claim, claim["claimed"]), _so_changed(claim, other),
                      span(other["headline"]["system"][f"{kind}_fraction_range"], partial(_value, claim)))
                     for claim, (name, kind) in zip(record["claims"], (("energy saved", "energy"),
                                                                       ("time saved", "time")), strict=False)]
    for boundary, part in record["estimate"]["imc"].items():
        for name, key, unit in (("energy an image", "energy_j_per_image", "J"),
                                ("time an image", "time_s_per_image", "s")):
            rows.append((name, BOUNDARY_NAMES[boundary], "", format_si(part[key], unit),
                         span(part[f"{key}_range"], partial(format_si, unit=unit))))
    return rows


def verdict(record: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence a claim: whether it lies inside our range of the widest boundary, and ours as asked; then what the
    GPU's medians are made of."""
    sentences = []
    for claim in record["claims"]:
        if not claim["ours"] or claim["name"] not in _VERDICTS:
            continue
        ours = claim["ours"][-1]
        shown = span(ours["range"], partial(_value, claim))
        where = BOUNDARY_NAMES[ours["boundary"]]
        asked = f"{_value(claim, ours['nominal'])} {_VERDICTS[claim['name']]}"
        lies = "inside" if ours["includes_claim"] else "outside"
        alone = ("" if "over_rows" not in ours else
                 f", {span(ours['over_rows'], partial(_value, claim))} over the GPU's rows alone")
        sentences.append(f"{_CLAIM_NAMES[claim['name']].capitalize()}: the paper's "
                         f"{_value(claim, claim['claimed'])} lies {lies} our range "
                         f"({where}: {shown}{alone}; {asked}).")
    return (*sentences, *medians(record))


def _so_changed(claim: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The whole system's saving with another design against the GPU's median, from what drives the claim."""
    for driver in claim["drivers"]:
        if driver["name"] == f"the design: {other['name']}":
            return _value(claim, driver["low"] if driver["low_is"] == "so changed" else driver["high"])
    return ""
