"""`himc tables list|show|query|export|plot|sign`."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.errors import BadInput
from charlib.export.formats import FORMATS, Request, find_format, render
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import Table, TableSet, load_tables
from charlib.table_file import EDITED
from charlib.terminal import JsonOut, emit_json, note
from charlib.units import format_si

#: of a cell: below it square metres or millimetres were meant
LEAST_UM2, MOST_UM2 = 1e-3, 1e6
tables_app = typer.Typer(help="Tables: list, look into, ask, export, sign.", no_args_is_help=True)

TablesDir = Annotated[Path | None, typer.Option("--tables", help="Folder of tables. Default: the shipped ones.")]
PdkName = Annotated[str, typer.Option("--pdk", help="Whose shipped tables, without --tables.")]
TableName = Annotated[str, typer.Argument(help="Table; see 'himc tables list'.")]
Coordinates = Annotated[list[str] | None, typer.Argument(help="AXIS=VALUE, such as corner=tt vdd_v=0.85.")]


def open_tables(folder: Path | None, pdk: str) -> TableSet:
    """The tables of a folder, or the shipped ones of a kit."""
    if folder is None and pdk not in kits_with_tables():
        raise BadInput(f"pdk: no tables of '{pdk}' travel with the package; those of {', '.join(kits_with_tables())} "
                       f"do. 'himc characterize --pdk {pdk}' makes tables, --tables DIR reads them")
    found = load_tables(folder if folder is not None else shipped_tables_dir(pdk))
    edited = [name for name, table in found.items() if table.origin.status == EDITED]
    if edited:
        note(f"tables: edited by hand and signed so: {', '.join(edited)}")
    return found


def parse_coordinates(table: Table, words: list[str]) -> dict[str, float | str]:
    """`axis=value` words to coordinates of the right type; BadInput naming the word."""
    found: dict[str, float | str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not text:
            raise BadInput(f"coordinate '{word}': AXIS=VALUE is needed; "
                           f"table '{table.name}' has {', '.join(a.name for a in table.axes)}")
        if name in found:
            raise BadInput(f"coordinate '{word}': {name} stands twice; give it once")
        if table.axis(name).is_category:
            found[name] = text
            continue
        try:
            found[name] = float(text)
        except ValueError as error:
            raise BadInput(f"coordinate '{word}': {name} takes a number in {table.axis(name).unit or '1'}") from error
    return found


@tables_app.command("list", epilog="Example: himc tables list --tables tables/freepdk45")
def list_tables(tables: TablesDir = None, pdk: PdkName = "freepdk45", json_out: JsonOut = None) -> None:
    """Name, unit, axes and origin of every table."""
    found = open_tables(tables, pdk)
    if json_out is not None:
        emit_json(json_out, [
            {"name": table.name, "unit": table.unit, "axes": {axis.name: len(axis.points) for axis in table.axes},
             "values": table.values.size, "runs": len(_run_ids(table)), "status": table.origin.status,
             "pdk": table.origin.pdk, "engine": table.origin.engine} for table in found.values()])
    if json_out == "-":
        return
    origins = dict.fromkeys(f"{table.origin.status}, {table.origin.pdk}, {table.origin.engine}"
                            for table in found.values())
    numbers = {origin: str(number) for number, origin in enumerate(origins, start=1)}
    view = RichTable()
    view.add_column("table", no_wrap=True)
    view.add_column("unit")
    view.add_column("axes, each with its points")
    for name in ("runs", "from"):
        view.add_column(name, justify="right")
    for table in found.values():
        axes = ", ".join(f"{axis.name} {len(axis.points)}" for axis in table.axes)
        view.add_row(table.name, table.unit, axes, str(len(_run_ids(table))),
                     numbers[f"{table.origin.status}, {table.origin.pdk}, {table.origin.engine}"])
    console = Console()
    console.print(view)
    for origin, number in numbers.items():
        console.print(f"{number}. {origin}", highlight=False)


def _run_ids(table: Table) -> set[str]:
    return {run for cell in table.runs.ravel() for run in str(cell).split(",") if run}


@tables_app.command("show", epilog="Example: himc tables show bitcell_delay_s corner=tt temp_c=25")
def show(name: TableName, fixed: Coordinates = None, tables: TablesDir = None, pdk: PdkName = "freepdk45",
         json_out: JsonOut = None) -> None:
    """All values of a table, or of the part where some axes are held at exact points."""
    table = open_tables(tables, pdk)[name]
    part = table.select(**parse_coordinates(table, fixed or []))
    if json_out is not None:
        emit_json(json_out, part.to_json())
    if json_out == "-":
        return
    origin = table.origin
    typer.echo(f"{table.name} in {table.unit or '1'}, {origin.status}: {origin.pdk}, {origin.engine}, "
               f"{origin.revision}, {origin.created}")
    for axis in part.axes:
        typer.echo(f"{axis.name}: {', '.join(str(p) for p in axis.points)} {axis.unit}".rstrip())
    for key, text in table.conventions.items():
        typer.echo(f"{key}: {text}")
    for name_, error in table.interpolation_error.items():
        typer.echo(f"interpolation along {name_} misses by at most {error:.2%}")
    for hole in part.holes()[:_LISTED]:
        typer.echo(f"hole: {hole}")
    frame = part.to_frame()
    frame["run"] = [_shortened(str(cell)) for cell in frame["run"]]
    typer.echo(frame.to_string(index=False))


def _shortened(runs: str) -> str:
    """Run ids as shown: one or two whole, of more their number and the first."""
    ids = runs.split(",")
    return runs if len(ids) <= 2 else f"{ids[0]} and {len(ids) - 1} more"


_LISTED = 10
_QUERY_EXAMPLE = "Example: himc tables query cell_leakage_w corner=tt temp_c=25 vdd_v=0.85 cell=inv"


@tables_app.command("query", epilog=_QUERY_EXAMPLE)
def query(name: TableName, at: Coordinates = None, tables: TablesDir = None, pdk: PdkName = "freepdk45",
          json_out: JsonOut = None) -> None:
    """One value, interpolated between the table's points; never outside them."""
    table = open_tables(tables, pdk)[name]
    asked = parse_coordinates(table, at or [])
    value = float(table.at(**asked))
    if json_out is not None:
        emit_json(json_out, {"table": table.name, "unit": table.unit, "at": asked, "value": value})
    if json_out == "-":
        return
    typer.echo(f"{value:.6g} {table.unit} ({format_si(value, table.unit)})" if table.unit else f"{value:.6g}")


_EXPORT_EXAMPLES = (
    "Examples: himc tables export bitcell_energy_j --out energy.csv   |   "
    "himc tables export --format liberty --corner tt --vdd-v 1.0 --out cells.lib   |   "
    "himc tables export --format zigzag --area nand2=0.798 --area xor2=1.596 --area dff=4.522 --out tech_param.py"
)


@tables_app.command("export", epilog=_EXPORT_EXAMPLES)
def export(
    name: Annotated[str, typer.Argument(help="Table, or 'all'. Formats made for a tool take all.")] = "all",
    fmt: Annotated[str, typer.Option("--format", help=f"Of {', '.join(FORMATS)}.")] = "csv",
    out: Annotated[str, typer.Option("--out", help="File, or - for standard output.")] = "-",
    corner: Annotated[str | None, typer.Option(help="Corner. Default: tt; data formats: all.")] = None,
    temp_c: Annotated[float | None, typer.Option(help="Temperature in °C. Default: 25; data formats: all.")] = None,
    vdd_v: Annotated[float | None, typer.Option(help="Supply in V. Default: the kit's nominal one; data formats: "
                                                     "all.")] = None,
    area: Annotated[list[str] | None, typer.Option(help="CELL=UM2, area of a cell in µm², for zigzag and "
                                                        "hwcomponents; may be repeated.")] = None,
    node_nm: Annotated[float | None, typer.Option(help="Node in nm, where the kit's name does not say it.")] = None,
    library_name: Annotated[str | None, typer.Option(help="Name of the Liberty library.")] = None,
    tables: TablesDir = None, pdk: PdkName = "freepdk45",
) -> None:
    """Write tables for another tool.

    csv, parquet, netcdf, json: the data, in SI units, a row or an element a value. liberty, hwcomponents, zigzag,
    neurosim: what that tool takes, at one operating point, each number with its source.
    """
    if find_format(fmt).binary and out == "-":
        raise BadInput(f"out: {fmt} is binary and needs a file; give --out FILE.{fmt}")
    request = Request(name, corner, temp_c, vdd_v, _areas(area or []), node_nm, library_name)
    content = render(fmt, open_tables(tables, pdk), request)
    if out == "-":
        typer.echo(content, nl=False)
    else:
        _write(content, Path(out))


def _areas(words: list[str]) -> dict[str, float]:
    """`CELL=UM2` words; BadInput naming the word."""
    found: dict[str, float] = {}
    for word in words:
        cell, _, text = word.partition("=")
        try:
            found[cell] = float(text)
        except ValueError as error:
            raise BadInput(f"area: '{word}' is not CELL=UM2; write it as nand2=0.798") from error
        if not LEAST_UM2 <= found[cell] <= MOST_UM2:
            raise BadInput(f"area: {cell}: {LEAST_UM2:g} to {MOST_UM2:g} µm² is allowed, got {found[cell]:g}")
    return found


def _write(content: str | bytes, path: Path) -> None:
    """The file, whole or not at all."""
    if not path.name or path.is_dir():
        raise BadInput(f"out: '{path}' is a folder; give a file's name")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInput(f"out: {path} cannot be written ({error.strerror})") from error


_PLOT_EXAMPLE = "Example: himc tables plot bitcell_delay_s --x vdd_v --by operation --out delay.svg rows=16"
_PICTURES = (".svg", ".png")


@tables_app.command("plot", epilog=_PLOT_EXAMPLE)
def plot(
    name: TableName,
    fixed: Coordinates = None,
    x: Annotated[str | None, typer.Option("--x", help="Axis along the plot. Default vdd_v if there.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="A line for each point of this axis.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="FILE.svg or FILE.png. Default NAME.svg.")] = None,
    tables: TablesDir = None, pdk: PdkName = "freepdk45",
) -> None:
    """Plot one table along an axis; axes that are not named are held at tt, 25 °C, or their first point."""
    file = out if out is not None else Path(f"{name}.svg")
    if file.suffix not in _PICTURES:
        raise BadInput(f"out: '{file}' must end in {' or '.join(_PICTURES)}")
    os.environ.setdefault("MPLBACKEND", "agg")
    table = open_tables(tables, pdk)[name]
    along = x if x is not None else "vdd_v" if "vdd_v" in [axis.name for axis in table.axes] else None
    drawn = table.plot(along, by, **parse_coordinates(table, fixed or [])).figure
    buffer = io.BytesIO()
    drawn.savefig(buffer, format=file.suffix[1:], bbox_inches="tight")
    _write(buffer.getvalue(), file)
    typer.echo(str(file))


@tables_app.command("sign", epilog="Example: himc tables sign tables/freepdk45/cell_energy_j.json")
def sign(files: Annotated[list[Path], typer.Argument(help="FILE.json of a table that was edited by hand.")]) -> None:
    """Take tables that were edited by hand, or that carry no checksum: they are marked as edited from then on.

    A table whose file was changed since it was written is refused elsewhere. What is computed from a signed one says
    'edited' beside its name.
    """
    for file in files:
        typer.echo(f"{file}: signed, and marked as edited" if Table.sign(file)
                   else f"{file}: its checksum is right already; left as it is")
