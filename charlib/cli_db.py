"""`himc db show|merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlib.campaign.merge import content, merge
from charlib.campaign.store import Store
from charlib.campaign.trace import explain_run
from charlib.errors import BadInput, HimcError
from charlib.paths import store_path
from charlib.terminal import JsonOut, emit_json, note

db_app = typer.Typer(help="Databases of runs: what is in one, join several.", no_args_is_help=True)
_LISTED = 10


@db_app.command("show", epilog="Examples: himc db show --db himc.sqlite; himc db show 670f1ead --deck")
def show(run: Annotated[str | None, typer.Argument(help="A run's id, or its first 6 digits or more.")] = None,
         db: Annotated[Path | None, typer.Option(help="Database. Default $HIMC_DB, else ./himc.sqlite.")] = None,
         deck: Annotated[bool, typer.Option("--deck", help="The run's deck alone, for 'ngspice -b'.")] = False,
         json_out: JsonOut = None) -> None:
    """Number of runs by bench, status and engine; of one run its point, why it failed, and ngspice's log."""
    path = store_path(db)
    if run is not None:
        _show_run(path, run, deck, json_out)
        return
    if deck:
        raise BadInput("deck: a run is needed whose deck to print; give its id, as in 'himc db show RUN --deck'")
    found = content(path)
    if json_out is not None:
        emit_json(json_out, [{"kind": kind, "status": status, "engine": engine, "runs": count}
                             for kind, status, engine, count in found])
    if json_out == "-":
        return
    for kind, status, engine, count in found:
        typer.echo(f"{kind}: {count} {status} ({engine})")
    typer.echo(f"{sum(count for *_, count in found)} runs in {path}")


def _show_run(path: Path, run: str, deck: bool, json_out: str | None) -> None:
    with Store.open(path, create=False) as store:
        known = explain_run(store, run)
    if json_out is not None:
        emit_json(json_out, known)
    if json_out == "-":
        return
    if deck:
        typer.echo(known["deck"].rstrip("\n"))
        return
    typer.echo(f"run {known['id']}: {known['kind']} on {known['origin']['pdk']}, {known['origin']['engine']}, "
               f"{known['origin']['created']}")
    typer.echo("  " + " ".join(f"{name}={value}" for name, value in known["point"].items()))
    typer.echo(f"status: {known['status']}{'; ' + known['reason'] if known['reason'] else ''}")
    if known["origin"]["looser"]:
        typer.echo("options of the last try: " + " ".join(f"{k}={v}" for k, v in known["origin"]["looser"].items()))
    for name, value in known["measures"].items():
        typer.echo(f"{name} = {value:.6g}")
    typer.echo("end of the simulator's log:" if known["log_tail"] else "no log is kept of it")
    for line in known["log_tail"].splitlines():
        typer.echo(f"  {line}")


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
