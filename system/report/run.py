"""`himc run`: characterise, estimate, train, and write one report. Each step is a call that stands on its own.

Nothing in the output folder is touched before every step has succeeded, except the training's kept result.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from charlib.terminal import steps_bar
from system.networks import build_network
from system.options import EstimateOptions
from system.readings import Point
from system.report.files import REPORT_NAME, TABLES_NAME, prepare_folder, replace_tables, to_json, write_files
from system.report.html import html_page
from system.report.markdown import markdown_page
from system.report.plots import draw_figures
from system.report.record import build_record
from system.report.reproduction import page
from system.report.simulate import characterise, refuse_early
from system.report.trace import DECKS_NAME
from system.report.training import short_training, train_with_progress
from system.report.view import sections
from system.structure import macro_structure

FIGURES_NAME = "figures"
TRAINING_NAME = "training"


@dataclass(frozen=True)
class RunOptions:
    """What `himc run` was asked for."""

    out: Path
    db: Path
    estimate: EstimateOptions
    preset: str = "quick"
    jobs: int | None = None
    train: bool = True
    quiet: bool = False


def run_report(options: RunOptions) -> dict[str, Any]:
    """All of it; returns the record that was written."""
    _refuse_early(options)
    prepare_folder(options.out)
    found = characterise(options.estimate.pdk, options.preset, options.db, options.jobs, options.quiet)
    tables_folder = options.out / TABLES_NAME
    asked = EstimateOptions.from_json(options.estimate.to_json() | {
        "tables": str(tables_folder.resolve()) if found.fresh is not None else None})
    training: dict[str, Any] = {"status": "not run", "reason": "it was switched off with --no-train"}
    if options.train:
        training = short_training(options.out / TRAINING_NAME, partial(train_with_progress, options.quiet))
    record = build_record(asked, found.tables, found.fresh, found.shipped, found.account, training,
                          options.db if found.fresh is not None else None)
    files = render_files(record, options.quiet)
    if found.fresh is not None:
        replace_tables(tables_folder, list(found.fresh.values()))
    write_files(options.out, {**files, REPORT_NAME: to_json(record)})
    return record


def _refuse_early(options: RunOptions) -> None:
    """Bad input ends here, before a simulation starts."""
    asked = options.estimate
    build_network(asked.network, asked.image_px, asked.width, asked.classes, asked.channels)
    macro_structure(asked.macro)
    Point(asked.corner, asked.temp_c, asked.vdd_v)
    refuse_early(asked, options.preset, options.jobs)


def render_files(record: dict[str, Any], quiet: bool = False) -> dict[str, str | bytes]:
    """Page, text and figures of a record, by file name."""
    with steps_bar("figures", quiet=quiet) as watch:
        figures = draw_figures(record, watch)
    parts = sections(record)
    files: dict[str, str | bytes] = {f"{FIGURES_NAME}/{name}.svg": svg for name, svg in figures.items()}
    files |= {f"{DECKS_NAME}/{deck['id']}.sp": deck["text"] for deck in record["decks"]}
    files["report.md"] = markdown_page(record, parts, FIGURES_NAME)
    files["reproduction.md"] = page(record)
    files["report.html"] = html_page(record, parts, figures)
    return files
