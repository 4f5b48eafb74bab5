"""The record on a terminal: what was claimed, what we find, and where the figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from system.report.view import banner, summary_rows, title


def print_summary(record: Mapping[str, Any], console: Console | None = None) -> None:
    """A table of claims and energies with their status."""
    console = console if console is not None else Console()
    said = banner(record)
    console.print(said.text, style="bold" if said.loud else None, markup=False, highlight=False)
    table = RichTable(title=f"{title(record)} (tables: {record['status']})")
    for head in ("figure", "what is charged", "paper", "ours", "range"):
        table.add_column(head)
    for row in summary_rows(record):
        table.add_row(*row)
    console.print(table)
    training = record["training"]
    if training["status"] == "not run":
        console.print(f"training: not run, {training['reason']}", markup=False, highlight=False)
        return
    console.print("training on digits: accuracy " + ", ".join(
        f"{name} {training[key]['accuracy'][-1]:.1%} (loss {training[key]['loss'][-1]:.3f})"
        for key, name in (("fp32", "FP32"), ("imc", "in-memory"))) + f"; {training['status']}")
