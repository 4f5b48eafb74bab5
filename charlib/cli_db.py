"""`himc db show|merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlib.campaign.merge import content, merge
from charlib.errors import HimcError
from charlib.paths import store_path
from charlib.terminal import JsonOut, emit_json, note

db_app = typer.Typer(help="Databases of runs: what is in one, join several.", no_args_is_help=True)
_LISTED = 10


@db_app.command("show", epilog="Example: himc db show --db himc.sqlite")
def show(db: Annotated[Path | None, typer.Option(help="Database. Default $HIMC_DB, else ./himc.sqlite.")] = None,
         json_out: JsonOut = None) -> None:
    """Number of runs by bench, status and engine."""
    path = store_path(db)
    found = content(path)
    if json_out is not None:
        emit_json(json_out, [{"kind": kind, "status": status, "engine": engine, "runs": count}
                             for kind, status, engine, count in found])
    if json_out == "-":
        return
    for kind, status, engine, count in found:
        typer.echo(f"{kind}: {count} {status} ({engine})")
    typer.echo(f"{sum(count for *_, count in found)} runs in {path}")


@db_app.command("merge", epilog="Example: himc db merge all.sqlite node1.sqlite node2.sqlite")
def merge_databases(
    target: Annotated[Path, typer.Argument(help="Database that gets the runs; made if it is not there.")],
    sources: Annotated[list[Path], typer.Argument(help="Databases to take runs from; they are only read.")],
    json_out: JsonOut = None,
) -> None:
    """Join databases. A finished run is never replaced; a failed one is, by a finished one."""
    results = merge(target, sources)
    if json_out is not None:
        emit_json(json_out, [{"source": str(result.source), "added": result.added, "mended": result.mended,
                              "known": result.known, "disagree": [list(one) for one in result.disagree]}
                             for result in results])
    disagree = 0
    for result in results:
        if json_out != "-":
            typer.echo(f"{result.source}: {result.added} added, {result.mended} failed ones mended, "
                       f"{result.known} known")
        disagree += len(result.disagree)
        for run, name in result.disagree[:_LISTED]:
            note(f"run {run}: {name} differs; the target's value was kept")
    if disagree:
        raise HimcError(f"merge: {disagree} runs have different values in the target and a source; were they made by "
                        "different machines? See the lines above")
