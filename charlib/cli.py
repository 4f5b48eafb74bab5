"""The circuit side of the command line: `characterize`, `init …`, `tables …`, `pdk …`.

The commands only read options, call the library, and print. :func:`register` mounts them on the one `himc`
application, which lives in `system.cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from charlib.benches import BENCHES
from charlib.campaign import (
    Campaign,
    Folded,
    Job,
    Store,
    Summary,
    check_workers,
    default_workers,
    enumerate_jobs,
    fold_tables,
    plan_runs,
    run_campaign,
)
from charlib.campaign.config import CampaignFile, load_campaign_file
from charlib.campaign.forecast import Forecast, forecast, wall_s
from charlib.campaign.progress import campaign_progress
from charlib.campaign.run import TIMEOUT_S
from charlib.cli_common import guarded, note
from charlib.cli_init import init_app
from charlib.cli_pdk import pdk_app
from charlib.cli_tables import tables_app
from charlib.errors import BadInput
from charlib.paths import shipped_tables_dir, store_path
from charlib.pdk import Pdk, load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import save_tables

DEFAULT_PDK = "freepdk45"
#: where tables go unless --out says otherwise; the PDK's name is added
DEFAULT_OUT = Path("tables")
_LISTED_FAILURES = 10

#: fields of a campaign file that this command does not act on
_UNUSED = ("mismatch", "tolerance", "scheduler")

_CHARACTERIZE_EXAMPLES = (
    "Examples: himc characterize --preset quick --out my-tables   |   "
    "himc characterize --corner ss --temp-c 125 --vdd-v 0.7 --vdd-v 0.8 --dry-run   |   "
    "himc characterize campaign.yaml ('himc init campaign' writes one, 'himc schema campaign' lists its fields)"
)


@dataclass(frozen=True)
class _Part:
    """What a campaign does on one kit."""

    kit: Pdk
    preset: str
    jobs: tuple[Job, ...]


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("characterize", epilog=_CHARACTERIZE_EXAMPLES)(characterize)
    app.add_typer(init_app, name="init")
    app.add_typer(tables_app, name="tables")
    app.add_typer(pdk_app, name="pdk")


@guarded
def characterize(
    campaign: Annotated[Path | None, typer.Argument(help="Campaign file (YAML); options win over it.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, full (also called pvt). Default quick.")] = None,
    pdk: Annotated[list[str] | None, typer.Option(help=f"Kit; may be repeated. Default {DEFAULT_PDK}.")] = None,
    corner: Annotated[list[str] | None, typer.Option(help="Instead of the preset's; may be repeated.")] = None,
    vdd_v: Annotated[list[float] | None, typer.Option(help="Supplies in V; may be repeated.")] = None,
    temp_c: Annotated[list[float] | None, typer.Option(help="Temperatures in °C; may be repeated.")] = None,
    bench: Annotated[list[str] | None, typer.Option(help="Bench kinds; may be repeated. Default all.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes. Default: every core.")] = None,
    db: Annotated[Path | None, typer.Option(help="Database. Default $HIMC_DB, else ./himc.sqlite.")] = None,
    out: Annotated[Path | None, typer.Option(help=f"Folder for the tables. Default {DEFAULT_OUT}/PDK.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many runs and how long; run none.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed points again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Simulate a grid of circuits and operating points, and fold the runs into tables.

    Every run is kept in the database; a campaign that was stopped, even by kill -9, goes on where it was.
    """
    said = load_campaign_file(campaign, BENCHES) if campaign else CampaignFile()
    for name in _UNUSED:
        if getattr(said, name) is not None:
            raise said.fault((name,), "'himc characterize' does not act on it; remove it")
    own = [name for name, given in (("corner", corner), ("vdd_v", vdd_v), ("temp_c", temp_c)) if not given]
    parts = []
    for kit in _kits(pdk, said):
        said.check_kit(kit, own)
        plan = Campaign.from_preset(
            preset or said.preset or "quick", corners=corner or said.corner, vdds_v=vdd_v or said.vdd_v,
            temps_c=temp_c or said.temp_c, benches=bench or said.benches, nominal_vdd_v=kit.nominal_vdd_v,
        )
        parts.append(_Part(kit, plan.preset, enumerate_jobs(plan, kit, BENCHES, said.grids)))
    workers = check_workers(jobs if jobs is not None else said.jobs or default_workers())
    path = store_path(db or (Path(said.db) if said.db else None))
    again = retry_failed or said.retry_failed
    if dry_run:
        _dry_run(parts, path, workers, again)
        return
    made = out or (Path(said.out) if said.out else None)
    found = [_run(part, path, _folder(made, part.kit, len(parts)), workers, again, said.timeout_s or TIMEOUT_S, quiet)
             for part in parts]
    for folded in found:
        folded.whole()


def _kits(names: Sequence[str] | None, said: CampaignFile) -> list[Pdk]:
    """The kits of the options, else of the file, else the default one."""
    if names or not said.pdk:
        chosen = names or [DEFAULT_PDK]
        if len(set(chosen)) < len(chosen):
            raise BadInput(f"pdk: {', '.join(chosen)} names one twice; give each once")
        return [load_pdk(name) for name in chosen]
    kits = []
    for k, name in enumerate(said.pdk):
        try:
            kits.append(load_pdk(name))
        except BadInput as error:
            raise said.fault(("pdk", k), str(error).removeprefix("pdk: ")) from error
    return kits


def _folder(out: Path | None, kit: Pdk, kits: int) -> Path:
    """The folder for a kit's tables: `out` itself for a single kit."""
    if out is None:
        return DEFAULT_OUT / kit.name
    return out if kits == 1 else out / kit.name


def _run(part: _Part, path: Path, folder: Path, workers: int, retry_failed: bool, timeout_s: float,
         quiet: bool) -> Folded:
    with Store.open(path) as store:
        with campaign_progress(f"{part.preset} on {part.kit.name}", quiet=quiet) as on_result:
            summary = run_campaign(part.jobs, store, part.kit, BENCHES, LiveEngine, workers=workers,
                                   retry_failed=retry_failed, on_result=on_result, timeout_s=timeout_s)
        folded = fold_tables(store, summary.ids, part.kit, BENCHES, _status(folder, part.kit))
    save_tables(folder, folded.tables)
    _report(summary, folded, folder, path)
    return folded


def _status(folder: Path, kit: Pdk) -> str:
    """Tables written into the package itself are the shipped ones."""
    return "shipped" if folder.resolve() == shipped_tables_dir(kit.name).resolve() else "fresh"


def _dry_run(parts: Sequence[_Part], path: Path, workers: int, retry_failed: bool) -> None:
    """Print what each bench would take; the database is only read."""
    store = Store.open(path, create=False) if path.exists() else None
    try:
        for part in parts:
            planned = plan_runs(part.jobs, part.kit, BENCHES, LiveEngine().version)
            found = forecast(planned, store, BENCHES, retry_failed=retry_failed)
            typer.echo(f"{part.preset} on {part.kit.name}:")
            for one in found:
                typer.echo(f"  {_line(one)}")
            typer.echo(_total(found, path, workers))
    finally:
        if store:
            store.close()


def _line(one: Forecast) -> str:
    text = f"{one.kind}: {one.runs} runs, {one.stored} stored, {one.todo} to simulate"
    if not one.todo:
        return text
    if one.solver_s is None:
        return f"{text}, time unknown (no past runs)"
    return f"{text}, about {_time(one.solver_s)} of solver (from {one.past} past runs)"


def _total(found: Sequence[Forecast], path: Path, workers: int) -> str:
    runs, todo = sum(one.runs for one in found), sum(one.todo for one in found)
    text = f"{runs} runs, {runs - todo} of them in {path}; {todo} to simulate"
    if not todo:
        return text
    expected_s = wall_s(found, workers)
    if expected_s is None:
        missing = ", ".join(one.kind for one in found if one.todo and one.solver_s is None)
        return f"{text}, expected time unknown (no past runs of {missing})"
    past = sum(one.past for one in found if one.todo)
    return f"{text}, about {_time(expected_s)} on {workers} workers (from {past} past runs)"


def _time(seconds: float) -> str:
    """As people say it: 0.02 s, 34 s, 12 min, 3.4 h."""
    for unit_s, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.2g} {unit}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def _report(summary: Summary, folded: Folded, folder: Path, path: Path) -> None:
    typer.echo(summary.headline())
    typer.echo(f"{len(folded.tables)} tables in {folder}; runs in {path}")
    for hole in folded.holes[:_LISTED_FAILURES]:
        note(f"no result: {hole}")
    if len(folded.holes) > _LISTED_FAILURES:
        note(f"and {len(folded.holes) - _LISTED_FAILURES} more without result")
