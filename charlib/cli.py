"""The circuit side of the command line: `characterize`, `tables …`, `pdk …`.

The commands only read options, call the library, and print. :func:`register` mounts them on the one `himc`
application, which lives in `system.cli`.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    expected_time_s,
    fold_tables,
    plan_runs,
    run_campaign,
)
from charlib.campaign.config import CampaignFile, load_campaign_file
from charlib.campaign.progress import campaign_progress
from charlib.cli_common import guarded, note
from charlib.cli_pdk import pdk_app
from charlib.cli_tables import tables_app
from charlib.paths import shipped_tables_dir, store_path
from charlib.pdk import Pdk, load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import save_tables

DEFAULT_PDK = "freepdk45"
#: where tables go unless --out says otherwise; the PDK's name is added
DEFAULT_OUT = Path("tables")
_LISTED_FAILURES = 10

_CHARACTERIZE_EXAMPLES = (
    "Examples: himc characterize --preset quick --out my-tables   |   "
    "himc characterize --corner ss --temp-c 125 --vdd-v 0.7 --vdd-v 0.8 --dry-run   |   "
    "himc characterize campaign.yaml (fields: preset, pdk, corner, vdd_v, temp_c, benches, jobs, db, out)"
)


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("characterize", epilog=_CHARACTERIZE_EXAMPLES)(characterize)
    app.add_typer(tables_app, name="tables")
    app.add_typer(pdk_app, name="pdk")


@guarded
def characterize(
    campaign: Annotated[Path | None, typer.Argument(help="Campaign file (YAML); options win over it.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, full (also called pvt). Default quick.")] = None,
    pdk: Annotated[str | None, typer.Option(help=f"Process kit. Default {DEFAULT_PDK}.")] = None,
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
    said = load_campaign_file(campaign) if campaign else CampaignFile()
    kit = load_pdk(pdk or said.pdk or DEFAULT_PDK)
    plan = Campaign.from_preset(
        preset or said.preset or "quick", corners=corner or said.corner, vdds_v=vdd_v or said.vdd_v,
        temps_c=temp_c or said.temp_c, benches=bench or said.benches,
    )
    workers = check_workers(jobs if jobs is not None else said.jobs or default_workers())
    points = enumerate_jobs(plan, kit, BENCHES)
    path = store_path(db or (Path(said.db) if said.db else None))
    if dry_run:
        _dry_run(points, kit, path, workers)
        return
    folder = out or (Path(said.out) if said.out else DEFAULT_OUT / kit.name)
    with Store.open(path) as store:
        with campaign_progress(f"{plan.preset} on {kit.name}", quiet=quiet) as on_result:
            summary = run_campaign(points, store, kit, BENCHES, LiveEngine, workers=workers,
                                   retry_failed=retry_failed, on_result=on_result)
        folded = fold_tables(store, summary.ids, kit, BENCHES, _status(folder, kit))
    save_tables(folder, folded.tables)
    _report(summary, folded, folder, path)


def _status(folder: Path, kit: Pdk) -> str:
    """Tables written into the package itself are the shipped ones."""
    return "shipped" if folder.resolve() == shipped_tables_dir(kit.name).resolve() else "fresh"


def _dry_run(points: Sequence[Job], kit: Pdk, path: Path, workers: int) -> None:
    planned = plan_runs(points, kit, BENCHES, LiveEngine().version)
    if path.exists():
        with Store.open(path, create=False) as store:
            todo, expected_s = expected_time_s(planned, store, workers)
    else:
        todo, expected_s = expected_time_s(planned, None, workers)
    typer.echo(f"{len(planned)} runs, {len(planned) - todo} of them in {path}; "
               f"{todo} to simulate, about {expected_s:.0f} s on {workers} workers")


def _report(summary: Summary, folded: Folded, folder: Path, path: Path) -> None:
    typer.echo(summary.headline())
    typer.echo(f"{len(folded.tables)} tables in {folder}; runs in {path}")
    for hole in folded.holes[:_LISTED_FAILURES]:
        note(f"no result: {hole}")
    if len(folded.holes) > _LISTED_FAILURES:
        note(f"and {len(folded.holes) - _LISTED_FAILURES} more without result")
    folded.whole()
