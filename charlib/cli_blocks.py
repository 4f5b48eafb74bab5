"""`himc blocks list|cost|export`."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.cli_tables import open_tables
from charlib.compose.area import LIBRARY_OF, block_area_m2
from charlib.compose.cost import BlockCost, account_cells, block_cost
from charlib.compose.design import MacroBlock, operands_of
from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.macro import macro_block, macro_blocks
from charlib.compose.pipeline import pipeline_cut
from charlib.compose.static import static_timing
from charlib.compose.tables import Surroundings, surroundings
from charlib.compose.timed import Loads
from charlib.errors import BadInput, HimcError
from charlib.export.spef import to_spef
from charlib.gates.block import STATE_CELLS
from charlib.gates.clocked import core_of
from charlib.gates.operands import Codes, OperandStatistics, statistics_of
from charlib.gates.verilog import to_verilog
from charlib.pdk import KITS, load_pdk
from charlib.table import TableSet
from charlib.terminal import JsonOut, Quiet, emit_json, steps_bar
from charlib.units import format_si, implausible

blocks_app = typer.Typer(help="Digital blocks of a macro: list, price on operands, export.", no_args_is_help=True)
BlockName = Annotated[str, typer.Argument(help="Block; see 'himc blocks list'.")]
FORMATS = {"verilog": "v", "spice": "sp", "spef": "spef"}


@blocks_app.command("list", epilog="Example: himc blocks list --pdk freepdk45")
def list_blocks(pdk: Annotated[str, typer.Option(help="Kit whose cited cell areas count.")] = "freepdk45",
                json_out: JsonOut = None) -> None:
    """Cells, flip-flops and area of every block."""
    library = LIBRARY_OF.get(pdk if pdk in KITS else load_pdk(pdk).name)
    found = []
    for name, block in macro_blocks().items():
        counts = block.circuit.cell_counts()
        flops = sum(counts.get(cell, 0) for cell in STATE_CELLS)
        found.append({"block": name, "cells": sum(counts.values()) - flops, "flip_flops": flops,
                      "area_m2": block_area_m2(block.circuit, library) if library else None})
    if json_out is not None:
        emit_json(json_out, found)
    if json_out == "-":
        return
    view = RichTable("block", "cells", "flip-flops", f"area ({library or 'no library cited'})")
    for one in found:
        area_m2 = one["area_m2"]
        view.add_row(str(one["block"]), str(one["cells"]), str(one["flip_flops"]),
                     f"{area_m2 * 1e12:.0f} µm²" if isinstance(area_m2, float) else "-")
    Console().print(view)


@blocks_app.command("cost", epilog="Example: himc blocks cost fused_tree_32x20 --exponent-spread 3 --zero-share 0.4")
def cost(
    name: BlockName, pdk: Annotated[str, typer.Option(help="Whose tables and wires.")] = "freepdk45",
    tables: Annotated[Path | None, typer.Option(help="Folder of tables; default: the shipped ones.")] = None,
    corner: Annotated[str, typer.Option(help="Corner.")] = "tt",
    temp_c: Annotated[float, typer.Option(help="Temperature in °C.")] = 25.0,
    vdd_v: Annotated[float | None, typer.Option(help="Supply in V; default: the first of the tables.")] = None,
    exponent_spread: Annotated[float, typer.Option(help="Standard deviation of exponents, octaves.")] = 2.0,
    zero_share: Annotated[float, typer.Option(help="Share of x that is zero.")] = 0.0,
    operands: Annotated[Path | None, typer.Option(
        help="FILE.npz with x and w: BF16 codes (uint16), (operations, lanes), instead of drawn ones.")] = None,
    operations: Annotated[int, typer.Option(help="Operations to draw.")] = 64,
    cycle_s: Annotated[float | None, typer.Option(help="Clock period; also cuts the block into its stages.")] = None,
    wires: Annotated[bool, typer.Option(help="Wires between cells: one pitch a fan-out.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of the drawn operands.")] = 1,
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Energy an operation by part, delay, leakage and area of a block, on operands of these statistics."""
    for option, value, least, most in (("operations", operations, 1, 1_000_000), ("seed", seed, 0, 2**32 - 1)):
        if not least <= value <= most:
            raise BadInput(f"{option}: {least} to {most} is allowed, got {value}")
    if cycle_s is not None and (allowed := implausible("cycle_s", cycle_s)):
        raise BadInput(f"cycle_s: {allowed}")
    block, found = macro_block(name), open_tables(tables, pdk)
    library = _library(found, corner, temp_c, vdd_v)
    around = surroundings_of(pdk, wires)
    x, w = (_operands(operands, block) if operands is not None else operands_of(
        block, OperandStatistics(exponent_spread, zero_share), OperandStatistics(exponent_spread), operations, seed))
    register_j = float(found["dff_energy_j"].at(corner=corner, temp_c=temp_c, vdd_v=library.vdd_v, event="data"))
    with steps_bar(f"vectors through {name}", quiet=quiet) as watch:
        priced = block_cost(block, library, x, w, around.loads, seed=seed, input_slew_s=around.input_slew_s,
                            register_j=register_j, watch=watch)
    document = _document(block, priced, library, pdk, x, around, cycle_s, found, (corner, temp_c))
    if json_out is not None:
        emit_json(json_out, document)
    if json_out != "-":
        _show(document)


def _library(tables: TableSet, corner: str, temp_c: float, vdd_v: float | None) -> CellLibrary:
    if vdd_v is None:
        vdd_v = float(tables["pair_energy_j"].axis("vdd_v").points[0])
    return cell_library(tables, corner=corner, temp_c=temp_c, vdd_v=vdd_v)


def surroundings_of(pdk: str, wires: bool) -> Surroundings:
    """A kit's wires, output loads and input ramps; a known kit needs no cards for it."""
    kit = KITS[pdk] if pdk in KITS else load_pdk(pdk)
    around = surroundings(kit.geometry, kit.unit_s)
    return around if wires else replace(around, wire_f=0.0)


def _operands(file: Path, block: MacroBlock) -> tuple[Codes, Codes]:
    try:
        with np.load(file, allow_pickle=False) as held:
            missing = [key for key in ("x", "w") if key not in held]
            if missing:
                raise BadInput(f"operands: {file} holds no array '{missing[0]}'; it needs x and w")
            x, w = held["x"], held["w"]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadInput(f"operands: {file} cannot be read ({error}); give a FILE.npz with x and w") from error
    for label, codes in (("x", x), ("w", w)):
        if codes.dtype != np.uint16 or codes.ndim != 2 or codes.shape != x.shape or codes.shape[1] != block.lanes:
            raise BadInput(f"operands: {label} must be uint16 of shape (operations, {block.lanes}), "
                           f"got {codes.dtype} {codes.shape}")
    return x, w


def _document(block: MacroBlock, priced: BlockCost, library: CellLibrary, pdk: str, x: Codes, around: Surroundings,
              period_s: float | None, tables: TableSet, at: tuple[str, float]) -> dict[str, Any]:
    area_library = LIBRARY_OF.get(pdk)
    found: dict[str, Any] = {
        "block": block.name, "pdk": pdk, "corner": at[0], "temp_c": at[1], "vdd_v": library.vdd_v,
        "operands": {key: round(value, 6) for key, value in vars(statistics_of(x)).items()}, "operations": len(x),
        "energy_j": dict(priced.energy_j), "energy_error_j": dict(priced.error_j), "total_j": priced.total_j,
        "toggles": dict(priced.toggles), "register_toggles": dict(priced.register_toggles),
        "settled_s": priced.settled_s[0], "static_s": priced.static_s, "outside_grid": priced.outside,
        "cells": account_cells(block), "runs": len(library.runs), "wires": around.wire_f > 0,
        "area_m2": block_area_m2(block.circuit, area_library) if area_library else None,
    }
    if period_s is not None:
        setup, clock_to_q = (float(tables["dff_delay_s"].at(
            corner=at[0], temp_c=at[1], vdd_v=library.vdd_v, metric=metric)) for metric in ("setup", "clock_to_q"))
        circuit = core_of(block.circuit).block
        timing = static_timing(circuit, library, Loads(around.wire_f, around.output_f),
                               input_slew_s=around.input_slew_s)
        cut = pipeline_cut(circuit, timing, period_s, setup + clock_to_q)
        found["pipeline"] = {"period_s": period_s, "overhead_s": setup + clock_to_q, "stages": cut.stages,
                             "registers": list(cut.registers)}
    return found


def _show(document: dict[str, Any]) -> None:
    console = Console()
    console.print(f"{document['block']} on {document['pdk']} at {document['vdd_v']:g} V: "
                  f"{format_si(document['total_j'], 'J')} an operation, "
                  f"{sum(document['toggles'].values()):.0f} toggles; "
                  f"longest path {format_si(document['static_s'], 's')}, "
                  f"longest seen {format_si(document['settled_s'], 's')}"
                  + (f"; {document['area_m2'] * 1e12:.0f} µm² of cells" if document["area_m2"] else ""))
    view = RichTable("part", "energy", "±", "share", "toggles", "cells", "flip-flops")
    for part, joules in sorted(document["energy_j"].items(), key=lambda item: -item[1]):
        cells = document["cells"].get(part, {})
        flops = sum(cells.get(cell, 0) for cell in STATE_CELLS)
        view.add_row(part, format_si(joules, "J"), format_si(document["energy_error_j"].get(part, 0.0), "J"),
                     f"{joules / document['total_j']:.1%}", f"{document['toggles'].get(part, 0.0):.0f}",
                     str(sum(cells.values()) - flops), str(flops))
    console.print(view)
    if "pipeline" in document:
        cut = document["pipeline"]
        console.print(f"a period of {format_si(cut['period_s'], 's')} needs {cut['stages']} stages; registers at the "
                      f"cuts: {', '.join(map(str, cut['registers'])) or 'none'}")


@blocks_app.command("export", epilog="Example: himc blocks export fused_tree_32x20 --format verilog --out tree.v")
def export(name: BlockName,
           form: Annotated[str, typer.Option("--format", help="Verilog, spice or spef.")] = "verilog",
           out: Annotated[Path | None, typer.Option(help="FILE; default: NAME.v, NAME.sp or NAME.spef.")] = None,
           pdk: Annotated[str, typer.Option(help="Whose wires, for spef.")] = "freepdk45") -> None:
    """The block's netlist of cells, or the capacitances of its wires."""
    if form not in FORMATS:
        raise BadInput(f"format: {', '.join(FORMATS)} are allowed, got '{form}'")
    circuit = macro_block(name).circuit
    file = out if out is not None else Path(f"{name}.{FORMATS[form]}")
    if form == "spef":
        _write(file, to_spef(circuit, surroundings_of(pdk, True).loads))
    else:
        _write(file, to_verilog(circuit) if form == "verilog" else circuit.subckt())
    typer.echo(str(file))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HimcError(f"{path} cannot be written ({error.strerror}); give another file") from error
