"""`himc tables list|show|query|export`. Plots are drawn by the report side, which adds `plot` to this group."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.cli_common import guarded
from charlib.errors import BadInput
from charlib.paths import shipped_tables_dir
from charlib.table import Table, TableSet, load_tables
from charlib.units import format_si

tables_app = typer.Typer(help="Tables: list, look into, ask, export.", no_args_is_help=True)

TablesDir = Annotated[Path | None, typer.Option("--tables", help="Folder of tables. Default: the shipped ones.")]
PdkName = Annotated[str, typer.Option("--pdk", help="Whose shipped tables, without --tables.")]
TableName = Annotated[str, typer.Argument(help="Table; see 'himc tables list'.")]
Coordinates = Annotated[list[str] | None, typer.Argument(help="AXIS=VALUE, such as corner=tt vdd_v=0.85.")]
FORMATS = ("csv", "parquet", "json")


def open_tables(folder: Path | None, pdk: str) -> TableSet:
    """The tables of a folder, or the shipped ones of a kit."""
    return load_tables(folder if folder is not None else shipped_tables_dir(pdk))


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
@guarded
def list_tables(tables: TablesDir = None, pdk: PdkName = "freepdk45") -> None:
    """Name, unit, axes and origin of every table."""
    view = RichTable("table", "unit", "axes", "values", "runs", "status", "pdk", "engine")
    for table in open_tables(tables, pdk).values():
        axes = ", ".join(f"{axis.name}[{len(axis.points)}]" for axis in table.axes)
        runs = {run for cell in table.runs.ravel() for run in str(cell).split(",") if run}
        view.add_row(table.name, table.unit, axes, str(table.values.size), str(len(runs)), table.origin.status,
                     table.origin.pdk, table.origin.engine)
    Console().print(view)


@tables_app.command("show", epilog="Example: himc tables show bitcell_delay_s corner=tt temp_c=25")
@guarded
def show(name: TableName, fixed: Coordinates = None, tables: TablesDir = None, pdk: PdkName = "freepdk45") -> None:
    """All values of a table, or of the part where some axes are held at exact points."""
    table = open_tables(tables, pdk)[name]
    part = table.select(**parse_coordinates(table, fixed or []))
    origin = table.origin
    typer.echo(f"{table.name} in {table.unit or '1'}, {origin.status}: {origin.pdk}, {origin.engine}, "
               f"{origin.revision}, {origin.created}")
    for axis in part.axes:
        typer.echo(f"{axis.name}: {', '.join(str(p) for p in axis.points)} {axis.unit}".rstrip())
    for key, text in table.conventions.items():
        typer.echo(f"{key}: {text}")
    typer.echo(part.to_frame().to_string(index=False))


_QUERY_EXAMPLE = "Example: himc tables query cell_leakage_w corner=tt temp_c=25 vdd_v=0.85 cell=inv"


@tables_app.command("query", epilog=_QUERY_EXAMPLE)
@guarded
def query(name: TableName, at: Coordinates = None, tables: TablesDir = None, pdk: PdkName = "freepdk45") -> None:
    """One value, interpolated between the table's points; never outside them."""
    table = open_tables(tables, pdk)[name]
    value = float(table.at(**parse_coordinates(table, at or [])))
    typer.echo(f"{value:.6g} {table.unit} ({format_si(value, table.unit)})" if table.unit else f"{value:.6g}")


@tables_app.command("export", epilog="Example: himc tables export bitcell_energy_j --format csv --out energy.csv")
@guarded
def export(
    name: Annotated[str, typer.Argument(help="Table, or 'all'.")] = "all",
    fmt: Annotated[str, typer.Option("--format", help="csv, json, or parquet (needs pyarrow).")] = "csv",
    out: Annotated[str, typer.Option("--out", help="File, or - for standard output.")] = "-",
    tables: TablesDir = None, pdk: PdkName = "freepdk45",
) -> None:
    """Long form: a row a value, with columns table, unit, the axes, value, run."""
    if fmt not in FORMATS:
        raise BadInput(f"format: '{fmt}' is unknown; known are {', '.join(FORMATS)}")
    if fmt == "parquet" and out == "-":
        raise BadInput("out: parquet is binary and needs a file; give --out FILE.parquet")
    if fmt == "parquet" and find_spec("pyarrow") is None:
        raise BadInput("format: parquet needs pyarrow; run 'pip install pyarrow' or use csv")
    loaded = open_tables(tables, pdk)
    chosen = list(loaded.values()) if name == "all" else [loaded[name]]
    if fmt == "parquet":
        _write(lambda path: long_form(chosen).to_parquet(path, index=False), Path(out))
        return
    text = (long_form(chosen).to_csv(index=False) if fmt == "csv"
            else json.dumps([table.to_json() for table in chosen], indent=1, ensure_ascii=False) + "\n")
    if out == "-":
        typer.echo(text, nl=False)
    else:
        _write(lambda path: path.write_text(text, encoding="utf-8"), Path(out))


def long_form(tables: list[Table]) -> pd.DataFrame:
    """One frame of several tables; an axis that a table lacks is empty in its rows."""
    frames = []
    for table in tables:
        frame = table.to_frame()
        frame.insert(0, "table", table.name)
        frame.insert(1, "unit", table.unit)
        frames.append(frame)
    whole = pd.concat(frames, ignore_index=True)
    last = [column for column in ("value", "spread", "run") if column in whole]
    return whole[[column for column in whole if column not in last] + last]


def _write(write: Callable[[Path], object], path: Path) -> None:
    try:
        write(path)
    except OSError as error:
        raise BadInput(f"out: {path} cannot be written ({error.strerror})") from error
