"""`himc run`, `himc report`, `himc trace` and `himc doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.errors import HimcError
from charlib.paths import store_path
from charlib.terminal import ESTIMATE, SET_UP, JsonOut, Quiet, emit_json, working
from charlib.units import format_si
from system.doctor import findings
from system.options import EstimateOptions
from system.report.files import read_drawable, read_traceable, report_path, write_files
from system.report.summary import print_summary

DEFAULT_OUT = Path("out")
_CONTRIBUTIONS = 12
#: columns of output that goes to a file or a pipe
_FILE_WIDTH = 150
_LEVELS = {"ok": "green", "warn": "yellow", "bad": "red"}


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command("run", rich_help_panel=ESTIMATE, epilog="Example: himc run --out out")(run)
    app.command("report", rich_help_panel=ESTIMATE, epilog="Example: himc report out/report.json")(report)
    app.command("trace", rich_help_panel=ESTIMATE, epilog="Example: himc trace out/report.json "
                                "estimate.imc.macro_only.energy_j_per_image")(trace)
    app.command("doctor", rich_help_panel=SET_UP, epilog="Example: himc doctor")(doctor)


def run(
    out: Annotated[Path, typer.Option(help="Folder for the report, its tables and figures.")] = DEFAULT_OUT,
    network: Annotated[str, typer.Option(help="A network's name, or file.py:function.")] = "mobilenet_v1",
    classes: Annotated[int, typer.Option(help="Classes.")] = 1000,
    channels: Annotated[int, typer.Option(help="Channels of an image.")] = 3,
    image_px: Annotated[int, typer.Option(help="Image edge in pixels.")] = 224,
    batch: Annotated[int, typer.Option(help="Images a step.")] = 64,
    macros: Annotated[str, typer.Option(help="Number of macros, resident, or replicated.")] = "replicated",
    node_nm: Annotated[int, typer.Option(help="Node in nm: 45 or 28.")] = 28,
    vdd_v: Annotated[float, typer.Option(help="Supply in volts.")] = 0.8,
    pdk: Annotated[str, typer.Option(help="Process kit.")] = "freepdk45",
    preset: Annotated[str, typer.Option(help="Campaign preset: quick or full.")] = "quick",
    jobs: Annotated[int | None, typer.Option(help="Worker processes. Default: every core.")] = None,
    db: Annotated[Path | None, typer.Option(help="Database. Default $HIMC_DB, else ./himc.sqlite.")] = None,
    train: Annotated[bool, typer.Option(help="The short training run.")] = True,
    quiet: Quiet = False,
) -> None:
    """Characterise, estimate, train, and write report.json, report.md and report.html.

    Finished simulations and the training are reused. Without a simulator the shipped tables are used, and every
    figure says so. A first run simulates for about ten minutes on two cores.
    """
    from system.report.run import RunOptions, run_report

    options = EstimateOptions(network=network, image_px=image_px, classes=classes, channels=channels, batch=batch,
                              macros=macros, node_nm=node_nm, vdd_v=vdd_v, pdk=pdk)
    record = run_report(RunOptions(out, store_path(db), options, preset, jobs, train, quiet))
    print_summary(record)
    typer.echo(f"{out / 'report.html'}, {out / 'report.md'}, {out / 'report.json'}")


def report(
    path: Annotated[Path, typer.Argument(help="File report.json, or the folder that holds it.")] = DEFAULT_OUT,
    quiet: Quiet = False,
) -> None:
    """Render report.md, report.html and the figures again from report.json; nothing is computed."""
    from system.report.run import render_files

    record = read_drawable(path)
    folder = report_path(path).parent
    write_files(folder, render_files(record, quiet))
    print_summary(record)
    typer.echo(f"{folder / 'report.html'}, {folder / 'report.md'}")


_PREFIXED = ("J", "s", "Hz", "W")


def trace(
    report_file: Annotated[Path, typer.Argument(metavar="REPORT", help="File report.json of a run, or the JSON of "
                                                "'himc estimate'.")],
    path: Annotated[str, typer.Argument(help="Where the figure stands, from the file's root.")],
    db: Annotated[Path | None, typer.Option(help="Database. Default: the one the report names.")] = None,
    no_run: Annotated[bool, typer.Option("--no-run", help="Do not run the deck again.")] = False,
    json_out: JsonOut = None,
) -> None:
    """From a figure to its blocks, tables, runs and one deck; runs that deck again with `ngspice -b`.

    Exit 1 where the rerun differs from the stored measures by more than 1 %.
    """
    from system.report.trace import by_table, trace_report, uncertainties

    record = read_traceable(report_file)
    file = report_path(report_file)
    if "claims" not in record and not path.startswith("estimate."):
        path = f"estimate.{path}"
    with working("the figure, computed again"):
        found = trace_report(file, record, path)
    console = Console(stderr=True) if json_out == "-" else _console()
    console.print(f"{path} = {_said(found.value, found.unit, 6)}", highlight=False, markup=False)
    for what, (low, high) in uncertainties(record, path).items():
        console.print(f"{what}: {_said(low, found.unit, 4)} to {_said(high, found.unit, 4)}", highlight=False,
                      markup=False)
    blocks = RichTable("block", "pass", "event", "events", "each", "in all", "table", "which is",
                       title="largest contributions")
    for entry in found.entries[:_CONTRIBUTIONS]:
        blocks.add_row(entry.block, entry.pass_name, entry.event, f"{entry.events:.4g}",
                       format_si(entry.energy_per_event_j, "J"), format_si(entry.energy_j, "J"), entry.table,
                       entry.note)
    if found.unit == "J":
        console.print(blocks)
    tables = RichTable("table or constant", "status", "share", "runs", "source", title="tables behind the figure")
    cited = {entry.table: entry.citation for entry in found.entries}
    for name, status, share, runs in by_table(found.entries):
        tables.add_row(name, status, f"{share:.1%}" if found.unit in ("J", "W") else "", str(runs), cited[name])
    console.print(tables)
    said: dict[str, Any] = {"path": path, "value": found.value, "unit": found.unit,
                            "entries": [asdict(e) for e in found.entries], "run": None, "compared": []}
    if not any(entry.run_ids for entry in found.entries):
        for entry in found.entries:
            console.print(f"{entry.block}: {entry.citation}", highlight=False, markup=False)
        if json_out is not None:
            emit_json(json_out, said)
        return
    shipped = all(entry.status == "shipped" for entry in found.entries if entry.run_ids)
    if db is None and (shipped or "characterisation" not in record):
        console.print("These are shipped tables, or a campaign's: --db gives the database that holds their runs. "
                      "'himc run --out out' simulates them here; then trace out/report.json.", highlight=False,
                      markup=False)
        if json_out is not None:
            emit_json(json_out, said)
        return
    row, deck = _one_deck(console, file, record, found.entries, db)
    compared = [] if no_run or deck is None else _rerun(console, row)
    if json_out is not None:
        emit_json(json_out, said | {
            "run": {"id": row.id, "kind": row.kind, "point": row.point, "engine": row.engine,
                    "deck": None if deck is None else str(deck)},
            "compared": [asdict(one) | {"relative": one.relative} for one in compared]})
    _agree(console, row, compared)


def _said(value: float, unit: str, digits: int) -> str:
    """A figure with a prefix, where its unit takes one."""
    if unit in _PREFIXED:
        return format_si(value, unit, digits)
    return f"{value:.{digits}g} {unit.removeprefix('1')}".rstrip()


def _console() -> Console:
    """As wide as the terminal; wide enough for whole names where the output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _FILE_WIDTH))


def _one_deck(console: Console, file: Path, record: dict[str, Any], entries: Any, db: Path | None
              ) -> tuple[Any, Path | None]:
    """Show one run behind the figure, and keep its deck as a file, unless its kit is confidential."""
    from system.report.trace import one_run, save_deck, withheld

    named = record.get("characterisation", {}).get("campaign", {}).get("database")
    entry, row = one_run(entries, store_path(db or (Path(named) if named else None)))
    point = " ".join(f"{name}={value}" for name, value in row.point.items())
    console.print(f"one of them, behind {entry.table}: run {row.id}, {row.kind} at "
                  f"{point}", highlight=False, markup=False)
    console.print(f"made {row.created} by {row.engine}, revision {row.revision}", highlight=False, markup=False)
    if withheld(row):
        console.print(withheld(row), highlight=False, markup=False, soft_wrap=True)
        return row, None
    deck = save_deck(file.parent, row)
    console.print(f"deck: {deck} (run it by hand: ngspice -b {deck})", highlight=False, markup=False, soft_wrap=True)
    return row, deck


def _rerun(console: Console, row: Any) -> list[Any]:
    """Run the deck again and show both results."""
    from system.report.trace import NoMeasures, rerun_and_compare

    try:
        with working(f"its deck through ngspice -b; it took {format_si(row.solver_s, 's', 2)} when it was made"):
            compared = list(rerun_and_compare(row))
    except NoMeasures as error:
        console.print(f"the deck ran again; {error}", highlight=False, markup=False)
        return []
    view = RichTable("measure", "stored", "ngspice -b now", "apart", title="the deck, run again")
    for one in compared:
        view.add_row(one.measure, f"{one.stored:.6g}", f"{one.rerun:.6g}", f"{one.relative:.2%}")
    console.print(view)
    return compared


def _agree(console: Console, row: Any, compared: list[Any]) -> None:
    """HimcError where a measure differs by more than the tolerance."""
    from system.report.trace import AGREEMENT

    if not compared:
        return
    worst = max(compared, key=lambda one: one.relative)
    if not worst.good:
        raise HimcError(f"run {row.id}: {worst.measure} is {worst.rerun:.6g} now, {worst.stored:.6g} stored "
                        f"({worst.relative:.1%} apart, {AGREEMENT:.0%} allowed); ngspice or the cards have changed")
    console.print(f"agrees: {len(compared)} measures, the worst {worst.relative:.2%} apart", highlight=False)


def doctor(
    pdk: Annotated[str, typer.Option(help="Process kit that should be there.")] = "freepdk45",
    json_out: JsonOut = None,
) -> None:
    """Look at the installation; each line says what to do if it is wrong. Exit 1 if something needed is bad."""
    console = Console()
    found = findings(pdk)
    if json_out is not None:
        emit_json(json_out, [vars(finding) for finding in found])
    for finding in found if json_out != "-" else ():
        console.print(f"[{_LEVELS[finding.level]}]{finding.level:<4}[/] ", end="")
        console.print(f"{finding.what}: {finding.detail}", markup=False, highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"       → {finding.remedy}", markup=False, highlight=False, soft_wrap=True)
    bad = [finding.what for finding in found if finding.level == "bad"]
    if bad:
        raise HimcError(f"doctor: {', '.join(bad)} must be mended; the lines above say how")
