"""`himc explore`: a whole space of designs, its Pareto front and what each axis does."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.errors import BadInput
from charlib.paths import check_folder
from charlib.terminal import ESTIMATE, JsonOut, Quiet, emit_json, steps_bar
from charlib.units import format_si
from system.design import evaluate, make_reader
from system.estimate import tables_read
from system.notes import sources
from system.readings import Reader
from system.report.files import to_json, write_files

if TYPE_CHECKING:
    from system.explore.run import Explored

EXAMPLE = "Example: himc init space space.yaml && himc explore space.yaml --out explored"
#: members of the front that the terminal shows
_SHOWN = 12
UNITS = {"j": "J", "s": "s", "hz": "Hz"}


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("explore", rich_help_panel=ESTIMATE, epilog=EXAMPLE)(explore)


def explore(
    space: Annotated[Path, typer.Argument(help="Space of designs (YAML); 'himc init space' writes one.")],
    out: Annotated[Path, typer.Option(help="Folder for front.csv, explored.json, explored.html.")] = Path("explored"),
    every: Annotated[bool, typer.Option("--all", help="Also write every design to designs.csv.")] = False,
    searched: Annotated[bool, typer.Option("--search", help="NSGA-II in place of the whole grid.")] = False,
    population: Annotated[int, typer.Option(help="Designs a generation of the search.")] = 80,
    generations: Annotated[int, typer.Option(help="Generations of the search.")] = 60,
    seed: Annotated[int, typer.Option(help="Random stream of the search.")] = 0,
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Evaluate every design of a space (or search it), and keep those that no other beats."""
    from system.explore.run import enumerate_space, search
    from system.explore.space import read_space

    for name, value, least, most in (("population", population, 2, 100_000), ("generations", generations, 1, 100_000),
                                     ("seed", seed, 0, 2**32 - 1)):
        if not least <= value <= most:
            raise BadInput(f"{name}: a whole number of {least} to {most} is allowed, got {value}")
    asked = read_space(space)
    check_folder(out)
    reader = make_reader(asked.fixed)
    with steps_bar("designs", quiet=quiet) as progress:
        found = (search(asked, reader, population=population, generations=generations, seed=seed, progress=progress)
                 if searched else enumerate_space(asked, reader, progress))
    record = document(found)
    if not record["front"]:
        why = next(iter(found.refused), "no number of macros is large enough for the network")
        raise BadInput(f"explore: none of {found.size} designs can be; {why}")
    from system.explore.page import page

    record["tables"] = _tables_behind(found, reader)
    files = {"front.csv": _csv(record["front"]), "explored.json": to_json(record), "explored.html": page(record)}
    if every:
        files["designs.csv"] = _csv([_row(found, k) for k in range(found.size)])
    write_files(out, files)
    if json_out is not None:
        emit_json(json_out, record)
    if json_out != "-":
        _show(record, out)


def _tables_behind(found: Explored, reader: Reader) -> list[dict[str, Any]]:
    """The tables that the first design of the front reads, as the scalar estimate reads them."""
    options = found.space.options(found.design(int(found.front()[0])))
    return tables_read(evaluate(options, reader).reader)


def document(found: Explored) -> dict[str, Any]:
    """Plain data: the front, the axes, sensitivities, a sample of all designs for the plot."""
    front = [int(k) for k in found.front()]
    possible = np.flatnonzero(np.isfinite(found.metrics["energy_system_j"]))
    sample = possible[:: max(1, len(possible) // 2000)]
    return {
        "schema": "himc-explore-1", "network": found.space.fixed.network, "objectives": list(found.space.objectives),
        "axes": {name: list(values) for name, values in found.axes.items()}, "designs": found.size,
        "possible": found.possible, "seconds": found.seconds, "refused": dict(found.refused),
        "said": dict(found.said),
        "front": [_row(found, k) for k in front], "sample": [_row(found, int(k)) for k in sample],
        "sensitivities": found.sensitivities(), "options": found.space.fixed.to_json(),
    }


def _row(found: Explored, index: int) -> dict[str, Any]:
    metrics = {name: float(values[index]) for name, values in found.metrics.items()}
    return found.design(index) | {name: value if np.isfinite(value) else None for name, value in metrics.items()}


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def shown(name: str, value: float | None) -> str:
    """A metric with its unit, for people."""
    if value is None:
        return ""
    if name == "area_m2":
        return f"{value * 1e6:.4g} mm²"
    if name == "accuracy_loss":
        return f"{value:.2%}"
    unit = UNITS.get(name.rpartition("_")[2])
    return f"{value:.4g}" if unit is None else format_si(value, unit)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _show(record: dict[str, Any], out: Path) -> None:
    console = Console()
    rate = record["designs"] / record["seconds"] if record["seconds"] else 0.0
    console.print(f"{record['designs']} designs in {record['seconds']:.1f} s ({rate:,.0f} a second), "
                  f"{record['possible']} can be, {len(record['front'])} are beaten by none", highlight=False)
    for why, count in record["refused"].items():
        console.print(f"{count} cannot be: {why}", highlight=False)
    for what, count in record["said"].items():
        console.print(f"of {count}: {what}", highlight=False)
    front = record["front"]
    chosen = front if len(front) <= _SHOWN else [front[round(k * (len(front) - 1) / (_SHOWN - 1))]
                                                 for k in range(_SHOWN)]
    varied = [name for name in record["axes"] if len({str(row[name]) for row in front}) > 1]
    table = RichTable(title="Pareto front, from its ends inwards")
    for name in record["objectives"]:
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("design")
    for row in chosen:
        table.add_row(*(shown(name, row[name]) for name in record["objectives"]),
                      ", ".join(f"{name} {_plain(row[name])}" for name in varied))
    console.print(table)
    same = [f"{name} {_plain(front[0][name])}" for name in record["axes"] if name not in varied]
    if same:
        console.print(f"all of the front: {', '.join(same)}", highlight=False)
    for line in sources(record["tables"], record["options"]["tables"]):
        console.print(line, highlight=False)
    console.print(f"{out}/front.csv, explored.json, explored.html", highlight=False)
