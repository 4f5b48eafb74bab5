"""The circuit side of the command line: `characterize`, `init …`, `tables …`, `pdk …`.

The commands only read options, call the library, and print. :func:`register` mounts them on the one `himc`
application, which lives in `system.cli`.
"""

from __future__ import annotations

import functools
import itertools
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from charlib.benches import BENCHES, bitcell_mismatch
from charlib.campaign import (
    Campaign,
    Folded,
    Hole,
    Job,
    Store,
    Summary,
    check_workers,
    default_workers,
    describe,
    enumerate_jobs,
    fold_tables,
    plan_runs,
    run_campaign,
)
from charlib.campaign.config import CampaignFile, Mismatch, load_campaign_file
from charlib.campaign.forecast import Forecast, announcement, forecast, forecast_sentence, spoken_time, wall_s
from charlib.campaign.kit_check import certify_cells
from charlib.campaign.mismatch_run import estimate_rates, rates_table
from charlib.campaign.progress import campaign_progress
from charlib.campaign.refine import refine
from charlib.campaign.run import TIMEOUT_S, OnResult
from charlib.cli_blocks import blocks_app
from charlib.cli_db import db_app
from charlib.cli_init import init_app
from charlib.cli_pdk import pdk_app
from charlib.cli_tables import tables_app
from charlib.compose.tables import with_blocks
from charlib.errors import BadInput, HimcError
from charlib.paths import check_folder, shipped_tables_dir, store_path
from charlib.pdk import KITS, Pdk, load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import Table, save_tables
from charlib.terminal import CIRCUITS, SET_UP, JsonOut, Quiet, emit_json, note, steps_bar

DEFAULT_PDK = "freepdk45"
#: where tables go unless --out says otherwise; the PDK's name is added
DEFAULT_OUT = Path("tables")
_LISTED_FAILURES = 10
_note_once = functools.cache(note)  # refinement runs one campaign after another

_CHARACTERIZE_EXAMPLES = (
    "Examples: himc characterize --preset quick --out my-tables   |   "
    "himc characterize --corner ss --temp-c 125 --vdd-v 0.7 --vdd-v 0.8 --dry-run   |   "
    "himc characterize campaign.yaml ('himc init campaign' writes one, 'himc schema campaign' lists its fields)"
)


@dataclass(frozen=True)
class _Part:
    """What a campaign does on one kit."""

    kit: Pdk
    plan: Campaign
    jobs: tuple[Job, ...]
    monte_carlo: Mismatch | None
    tolerance: float | None


@dataclass(frozen=True)
class _How:
    """Where and with what the campaign runs."""

    path: Path
    workers: int
    retry_failed: bool
    timeout_s: float
    quiet: bool
    scheduler: str | None
    say: Callable[[str], None]  #: text for people; to standard error where standard output is JSON's

    def simulate(self, jobs: Sequence[Job], store: Store, kit: Pdk, on_result: OnResult | None) -> Summary:
        tell = announcement(store, BENCHES, self.workers, note, retry_failed=self.retry_failed)
        return run_campaign(jobs, store, kit, BENCHES, LiveEngine, workers=self.workers, scheduler=self.scheduler,
                            retry_failed=self.retry_failed, on_result=on_result, timeout_s=self.timeout_s,
                            on_plan=None if self.quiet else tell, say=_note_once)


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("characterize", rich_help_panel=CIRCUITS, epilog=_CHARACTERIZE_EXAMPLES)(characterize)
    app.add_typer(init_app, name="init", rich_help_panel=SET_UP)
    app.add_typer(tables_app, name="tables", rich_help_panel=CIRCUITS)
    app.add_typer(pdk_app, name="pdk", rich_help_panel=CIRCUITS)
    app.add_typer(db_app, name="db", rich_help_panel=CIRCUITS)
    app.add_typer(blocks_app, name="blocks", rich_help_panel=CIRCUITS)


def characterize(
    campaign: Annotated[Path | None, typer.Argument(help="Campaign file (YAML); options win over it.")] = None,
    preset: Annotated[str | None, typer.Option(help="Of quick (ten minutes on two cores), pvt, full, mismatch. "
                                                   "Default quick.")] = None,
    pdk: Annotated[list[str] | None, typer.Option(help=f"Kit; may be repeated. Default {DEFAULT_PDK}.")] = None,
    corner: Annotated[list[str] | None, typer.Option(help="Instead of the preset's; may be repeated.")] = None,
    vdd_v: Annotated[list[float] | None, typer.Option(help="Supplies in V; may be repeated.")] = None,
    temp_c: Annotated[list[float] | None, typer.Option(help="Temperatures in °C; may be repeated.")] = None,
    bench: Annotated[list[str] | None, typer.Option(help="Bench kinds; may be repeated. Default all.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Simulate the middles of the grid's intervals and add those "
                                                    "that the table misses by more than this share, e.g. 0.02; "
                                                    "1 only measures.")] = None,
    samples: Annotated[int | None, typer.Option(help="Monte Carlo samples a margin, with preset mismatch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random stream of the samples.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Worker processes. Default: every core.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler (tcp://…) whose workers simulate.")] = None,
    db: Annotated[Path | None, typer.Option(help="Database. Default $HIMC_DB, else ./himc.sqlite.")] = None,
    out: Annotated[Path | None, typer.Option(help=f"Folder for the tables. Default {DEFAULT_OUT}/PDK.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many runs and how long; run none.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed points again.")] = False,
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Simulate a grid of circuits and operating points, and fold the runs into tables.

    Every run is kept in the database; a campaign that was stopped, even by kill -9, goes on where it was.
    """
    said = load_campaign_file(campaign, BENCHES) if campaign else CampaignFile()
    asked = tolerance if tolerance is not None else said.tolerance
    if asked is not None and not 0 < asked <= 1:
        raise BadInput(f"tolerance: a share above 0 and at most 1 is needed, got {asked:g}")
    own = [name for name, given in (("corner", corner), ("vdd_v", vdd_v), ("temp_c", temp_c)) if not given]
    parts = []
    for kit in _kits(pdk, said):
        said.check_kit(kit, own)
        plan = Campaign.from_preset(
            preset or said.preset or "quick", corners=corner or said.corner, vdds_v=vdd_v or said.vdd_v,
            temps_c=temp_c or said.temp_c, benches=bench or said.benches, nominal_vdd_v=kit.nominal_vdd_v,
        )
        monte_carlo = _monte_carlo(plan, said, samples, seed)
        grids = {**({bitcell_mismatch.BENCH.kind: monte_carlo.grid()} if monte_carlo else {}), **said.grids}
        parts.append(_Part(kit, plan, enumerate_jobs(plan, kit, BENCHES, grids), monte_carlo, asked))
    workers = check_workers(jobs if jobs is not None else said.jobs or default_workers())
    path = store_path(db or (Path(said.db) if said.db else None))
    again = retry_failed or said.retry_failed
    say = note if json_out == "-" else typer.echo
    if dry_run:
        planned = _dry_run(parts, path, workers, again, say)
        if json_out is not None:
            emit_json(json_out, planned)
        return
    made = out or (Path(said.out) if said.out else None)
    for part in parts:
        check_folder(_folder(made, part.kit, len(parts)))
    how = _How(path, workers, again, said.timeout_s or TIMEOUT_S, quiet,
               scheduler or said.scheduler, say)
    found, told = [], []
    for part in parts:
        folder = _folder(made, part.kit, len(parts))
        summary, folded = _run(part, how, folder)
        found.append(folded)
        told.append(_plain(part, summary, folded, folder, path))
    if json_out is not None:
        emit_json(json_out, told)
    for folded, part in zip(found, parts, strict=True):
        _whole(folded, part.kit)


def _whole(folded: Folded, kit: Pdk) -> None:
    """HimcError where points have no result; what to do about windows too short, on a kit of one's own."""
    try:
        folded.whole()
    except HimcError as error:
        if kit.name in KITS or "right is" not in str(error):
            raise
        raise HimcError(f"{error}; a circuit that is only too slow for its windows wants a larger unit_ps in pdk.toml"
                        ) from None


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


def _monte_carlo(plan: Campaign, said: CampaignFile, samples: int | None, seed: int | None) -> Mismatch | None:
    """What the campaign says of Monte Carlo, where it runs any."""
    kind = bitcell_mismatch.BENCH.kind
    if plan.preset != "mismatch" and kind not in plan.benches:
        for name, value in (("samples", samples), ("seed", seed)):
            if value is not None:
                raise BadInput(f"{name}: it belongs to preset mismatch; give --preset mismatch or leave it out")
        return None
    given = said.mismatch or Mismatch()
    return Mismatch(samples if samples is not None else given.samples, seed if seed is not None else given.seed)


def _run(part: _Part, how: _How, folder: Path) -> tuple[Summary, Folded]:
    with Store.open(how.path) as store:
        if part.kit.cells:
            for finding in certify_cells(part.kit, LiveEngine()):
                note(f"{finding.what}: {finding.detail}")
        with campaign_progress(f"{part.plan.preset} on {part.kit.name}", quiet=how.quiet) as on_result:
            summary = how.simulate(part.jobs, store, part.kit, on_result)
        folded = fold_tables(store, summary.ids, part.kit, BENCHES, _status(folder, part.kit))
        if part.tolerance is not None and not folded.holes:
            folded = _refined(part, how, store, folder)
        if part.monte_carlo is not None:
            folded = _with_rates(part, how, store, folded)
    with steps_bar("blocks of those cells", quiet=how.quiet) as on_point:
        folded = Folded(with_blocks(folded.tables, part.kit, workers=how.workers, on_point=on_point), folded.holes)
    save_tables(folder, folded.tables)
    _report(summary, folded, folder, how)
    return summary, folded


def _plain(part: _Part, summary: Summary, folded: Folded, folder: Path, path: Path) -> dict[str, object]:
    """What a campaign did on one kit, as data."""
    return {"pdk": part.kit.name, "preset": part.plan.preset, "runs": summary.total, "simulated": summary.ran,
            "reused": summary.reused, "failed": len(summary.failures), "accidents": len(summary.accidents),
            "wall_s": summary.wall_s,
            "solver_s": summary.solver_s, "tables": [table.name for table in folded.tables], "folder": str(folder),
            "database": str(path), "holes": [str(hole) for hole in folded.holes]}


def _refined(part: _Part, how: _How, store: Store, folder: Path) -> Folded:
    """The tables after refinement, with their interpolation errors."""
    holes: list[Hole] = []

    def run_and_fold(jobs: Sequence[Job]) -> dict[str, Table]:
        with campaign_progress("between the grid's points", quiet=how.quiet) as on_result:
            ids = how.simulate(jobs, store, part.kit, on_result).ids
        folded = fold_tables(store, ids, part.kit, BENCHES, _status(folder, part.kit))
        holes.extend(folded.holes)
        return {table.name: table for table in folded.tables}

    assert part.tolerance is not None
    wanted = part.tolerance if part.tolerance < 1 else None
    jobs, tables, misses = refine(part.jobs, BENCHES, run_and_fold, wanted)
    worst = max(misses, key=lambda miss: miss.error, default=None)
    if worst is not None:
        how.say(f"interpolation: {len(jobs)} points, {len(jobs) - len(part.jobs)} of them added; worst miss "
                f"{worst.error:.2%} ({worst.table}, {worst.axis} = {worst.middle:g})")
    return Folded(tuple(tables.values()), tuple(holes))


def _with_rates(part: _Part, how: _How, store: Store, folded: Folded) -> Folded:
    """The tables and one of failure rates, by importance sampling at every operating point."""
    assert part.monte_carlo is not None
    operating = list(itertools.product(part.plan.corners, part.plan.temps_c, part.plan.vdds_v))
    rates = estimate_rates(store, part.kit, operating, LiveEngine, seed=part.monte_carlo.seed, workers=how.workers,
                           say=None if how.quiet else note)
    for found in rates:
        what = f"{found.point.metric} at {found.point.corner}, {found.point.temp_c:g} °C, {found.point.vdd_v:g} V"
        if found.rate is None:
            how.say(f"{what}: {found.reason}")
        else:
            how.say(f"{what}: fails {found.rate.estimate:.2g} [{found.rate.low:.2g}, {found.rate.high:.2g}] "
                    f"of the cells; {found.rate.samples} samples, {found.rate.effective:.0f} effective, nearest "
                    f"failure at {min(found.rate.distances):.1f} sigma")
    table = rates_table(rates, folded.tables[0].origin) if folded.tables else None
    return Folded((*folded.tables, table), folded.holes) if table is not None else folded


def _status(folder: Path, kit: Pdk) -> str:
    """Tables written into the package itself are the shipped ones."""
    return "shipped" if folder.resolve() == shipped_tables_dir(kit.name).resolve() else "fresh"


def _dry_run(parts: Sequence[_Part], path: Path, workers: int, retry_failed: bool,
             say: Callable[[str], None]) -> list[dict[str, object]]:
    """Say what each bench would take; the database is only read. The same as plain data."""
    told: list[dict[str, object]] = []
    store = Store.open(path, create=False) if path.exists() else None
    try:
        for part in parts:
            planned = plan_runs(part.jobs, part.kit, BENCHES, LiveEngine().version)
            found = forecast(planned, store, BENCHES, retry_failed=retry_failed)
            say(f"{part.plan.preset} on {part.kit.name}:")
            for one in found:
                say(f"  {_line(one)}")
            say(forecast_sentence(found, path, workers))
            told.append({"pdk": part.kit.name, "preset": part.plan.preset, "expected_s": wall_s(found, workers),
                         "benches": [vars(one) for one in found]})
    finally:
        if store:
            store.close()
    return told


def _line(one: Forecast) -> str:
    text = f"{one.kind}: {one.runs} runs, {one.stored} stored, {one.todo} to simulate"
    if not one.todo:
        return text
    if one.solver_s is None:
        return f"{text}, time unknown (no past runs)"
    return f"{text}, about {spoken_time(one.solver_s)} of solver (from {one.past} past runs)"


def _report(summary: Summary, folded: Folded, folder: Path, how: _How) -> None:
    how.say(summary.headline())
    how.say(f"{len(folded.tables)} tables in {folder}; runs in {how.path}")
    for job, run, reason in summary.accidents[:_LISTED_FAILURES]:
        note(f"not finished, and not stored: {job.kind} at {describe(job)}: {reason} (run {run})")
    for hole in folded.holes[:_LISTED_FAILURES]:
        note(f"no result: {hole}")
    if len(folded.holes) > _LISTED_FAILURES:
        note(f"and {len(folded.holes) - _LISTED_FAILURES} more without result")
    if folded.holes:
        note(f"the log of a run: himc db show {folded.holes[0].run} --db {shlex.quote(str(how.path))}; the same with "
             "--deck prints its deck")
