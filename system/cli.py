"""`himc`: one command with a verb for each task, and the first of them: the estimate."""

from __future__ import annotations

import importlib
import json
import tomllib
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.errors import BadInput
from charlib.terminal import ESTIMATE, SET_UP, HimcGroup, JsonOut, emit_json, working
from charlib.units import format_si
from system.activity import options_of
from system.activity import read as read_activity
from system.assumption_list import assumptions as all_assumptions
from system.console import show_estimate
from system.estimate import estimate as compute_estimate
from system.estimate import schema as load_schema
from system.event_list import event_rows
from system.networks import build_network
from system.options import EstimateOptions

#: options of `estimate` by what they are about, as its help shows them
_network = partial(typer.Option, rich_help_panel="Network")
_macro = partial(typer.Option, rich_help_panel="Macro")
_point = partial(typer.Option, rich_help_panel="Operating point, tables and route to the node")
_chip = partial(typer.Option, rich_help_panel="Around the macros")
_card = partial(typer.Option, rich_help_panel="GPU to compare with")
_data = partial(typer.Option, rich_help_panel="Activity of the data")


app = typer.Typer(cls=HimcGroup, no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Circuit-level characterisation and BF16 training estimates for in-memory computing.")


def _version(asked: bool) -> None:
    if asked:
        print(f"hadamard-imc {metadata.version('hadamard-imc')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                          help="Print the version and exit.")] = False,
) -> None:
    """Circuit-level characterisation and BF16 training estimates for in-memory computing."""


@app.command(rich_help_panel=ESTIMATE, epilog="Example: himc estimate mobilenet_v1 --batch 64 --json -")
def estimate(
    network: Annotated[str, typer.Argument(help="Of mobilenet_v1, mobilenet_v2, resnet18, resnet50, vgg16, vit_tiny, "
                                                "gpt2, or file.py:function that builds a torch module.")],
    image_px: Annotated[int, _network(help="Image edge in pixels; of gpt2, tokens.")] = 224,
    width: Annotated[float, _network(help="Width multiplier.")] = 1.0,
    batch: Annotated[int, _network(help="Images a step.")] = 64,
    classes: Annotated[int, _network(help="Classes of the network.")] = 1000,
    channels: Annotated[int, _network(help="Channels of an image.")] = 3,
    macro: Annotated[str, _macro(help="Macro preset, or FILE.yaml of 'himc init macro'.")] = "fan2023",
    macros: Annotated[str, _macro(help="Number of macros, resident, replicated, or time_multiplexed:NUMBER.")
                      ] = "replicated",
    die_mm2: Annotated[float | None, _macro(help="A die to fill with macros, in mm²; in place of --macros.")
                       ] = None,
    rows: Annotated[int | None, _macro(help="Rows of cells the tables hold; the preset's by default.")] = None,
    words_per_row: Annotated[int | None, _macro(help="Words on a row, 1 to 4.")] = None,
    compartments: Annotated[int | None, _macro(help="Lanes of a macro.")] = None,
    lane_bits: Annotated[int | None, _macro(help="Width of an aligned lane.")] = None,
    serial_bits: Annotated[int | None, _macro(help="Operand bits a cycle: 1, 2, 4 or 8.")] = None,
    node_nm: Annotated[int, _point(help="Node in nm: 45 or 28.")] = 28,
    vdd_v: Annotated[float, _point(help="Supply in volts.")] = 0.8,
    corner: Annotated[str, _point(help="Process corner.")] = "tt",
    temp_c: Annotated[float, _point(help="Temperature in °C.")] = 25.0,
    pdk: Annotated[str, _point(help="PDK of the tables.")] = "freepdk45",
    tables: Annotated[Path | None, _point(help="Folder of fresh tables.")] = None,
    gpu: Annotated[str, _card(help="GPU to compare with; 'himc gpu list' shows its rows.")] = "rtx3060",
    gpu_rows: Annotated[Path | None, _card(help="Rows of one's own card, from 'himc gpu measure'.")] = None,
    flavour: Annotated[str, _point(help="Scaling flavour, HP or LP.")] = "HP",
    projection: Annotated[str, _point(help="Route to 28 nm: stillmaker_baas (equations from 45 nm) or ptm "
                                                 "(between simulated 32 and 22 nm).")] = "stillmaker_baas",
    constants: Annotated[str, _point(help="Every constant that no table gives at its low, nominal or high end.")
                         ] = "nominal",
    read_policy: Annotated[str, _macro(help="A word read once (hold) or every cycle (reread).")] = "hold",
    exponent_fire: Annotated[str, _macro(help="Exponent wires evaluate once a word, or every cycle.")] = "once",
    clock_gating: Annotated[str, _macro(help="Registers clocked when their stage fires (operation), in every cycle "
                                               "of a pass that uses them (pass), or always (none).")] = "operation",
    update_mode: Annotated[str, _chip(help="Weights' update: master_fp32 or stochastic.")] = "master_fp32",
    chips: Annotated[int, _chip(help="Chips that train together, each on a batch of its own.")] = 1,
    link_bytes_per_s: Annotated[float, _chip(help="Bytes a second out of each chip, and into it.")] = 100e9,
    cycle_s: Annotated[float | None, _macro(help="Clock period, at least the circuits'.")] = None,
    buffer_bit: Annotated[int, _chip(help="Bits of the on-chip buffer.")] = 16 * 1024 * 1024,
    vector_lanes: Annotated[int, _chip(help="FP32 lanes of the vector unit.")] = 512,
    vector_clock_hz: Annotated[float, _chip(help="Clock of the vector unit.")] = 500e6,
    gradient_macros: Annotated[int, _chip(help="Activation macros of the resident policy.")] = 64,
    dram: Annotated[str, _chip(help="Memory: gddr6, lpddr4, hbm2 or hbm3.")] = "gddr6",
    activity: Annotated[Path | None, _data(help="File activity.json of 'himc train': densities, toggles, "
                                                       "exponents and zeros as recorded.")] = None,
    input_density: Annotated[float | None, _data(help="Share of ones in serial significands.")] = None,
    weight_density: Annotated[float | None, _data(help="Share of ones in stored significands.")] = None,
    toggle: Annotated[float | None, _data(help="Share of bits that change between operands.")] = None,
    write_flip: Annotated[float | None, _data(help="Share of bits that a write changes.")] = None,
    exponent_spread: Annotated[float | None, _data(help="Standard deviation of exponents in a tile, octaves.")
                               ] = None,
    zero_share: Annotated[float | None, _data(help="Share of zero operands.")] = None,
    statistics_beyond: Annotated[str | None, _data(
        help="Statistics beyond the tables' axes: refuse, or end, priced at the axis's end and said. Default refuse; "
             "with --activity end.")] = None,
    json_out: JsonOut = None,
    events: Annotated[bool, typer.Option("--events", help="List every event, its block and its unit, and no more.")
                      ] = False,
    assumptions: Annotated[bool, typer.Option("--assumptions", help="List every constant and source, and no more.")
                           ] = False,
) -> None:
    """Energy, time and area of training on the in-memory design, beside a GPU."""
    options = EstimateOptions(
        network=network, image_px=image_px, width=width, batch=batch, classes=classes,
        channels=channels, macro=macro, macros=macros,
        rows=rows, words_per_row=words_per_row, compartments=compartments, lane_bits=lane_bits,
        serial_bits=serial_bits,
        node_nm=node_nm, vdd_v=vdd_v, corner=corner, temp_c=temp_c, pdk=_kit_name(pdk),
        tables=None if tables is None else str(tables), gpu=gpu,
        gpu_rows=None if gpu_rows is None else str(gpu_rows), flavour=flavour,
        projection=projection, constants=constants, read_policy=read_policy,
        exponent_fire=exponent_fire, clock_gating=clock_gating, update_mode=update_mode, dram=dram,
        buffer_bit=buffer_bit, vector_lanes=vector_lanes, vector_clock_hz=vector_clock_hz,
        gradient_macros=gradient_macros, cycle_s=cycle_s, die_mm2=die_mm2,
        chips=chips, link_bytes_per_s=link_bytes_per_s)
    given = {"input_density": input_density, "weight_density": weight_density, "toggle": toggle,
             "write_flip": write_flip,
             "exponent_spread": exponent_spread, "zero_share": zero_share, "statistics_beyond": statistics_beyond}
    recorded = {} if activity is None else _recorded(activity, options)
    options = EstimateOptions.from_json(options.to_json() | recorded
                                        | {name: value for name, value in given.items() if value is not None})
    if events or assumptions:
        _lists(options if events else None, assumptions, json_out)
        return
    with working(f"{network}: the design and its scenarios"):
        document = compute_estimate(options)
    if json_out is not None:
        emit_json(json_out, document)
    if json_out != "-":
        show_estimate(document)


def _recorded(activity: Path, options: EstimateOptions) -> dict[str, float | str]:
    """Options that a record of activity replaces; a word where it is of another network."""
    record = read_activity(activity)
    own = len(build_network(options.network, options.image_px, options.width, options.classes,
                            options.channels).mac_layers)
    if len(record["layers"]) != own:
        typer.echo(f"activity: {activity} was recorded in a network of {len(record['layers'])} layers, "
                   f"{options.network} has {own}; its densities are taken as they are", err=True)
    return options_of(record)


#: columns that the list of events takes
_EVENTS_WIDTH = 150


def _kit_name(text: str) -> str:
    """A kit's name, of itself or of its pdk.toml."""
    if not text.endswith(".toml"):
        return text
    try:
        return str(tomllib.loads(Path(text).read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, RecursionError, KeyError) as error:
        raise BadInput(f"pdk: {text} is no pdk.toml with a name ({error}); 'himc init pdk' writes one") from None


def _lists(options: EstimateOptions | None, assumptions: bool, json_out: str | None) -> None:
    console, rows = Console(), [] if options is None else event_rows(options)
    constants = all_assumptions() if assumptions else ()
    if json_out is not None:
        emit_json(json_out, {"events": [vars(row) | {"event": vars(row.event)} for row in rows],
                             "assumptions": [vars(known) for known in constants]})
    if json_out == "-":
        return
    if options is not None:
        console = Console(width=max(console.width, _EVENTS_WIDTH))  # names are whole, also in a pipe
        table = RichTable("event", "block", "toggles", "energy each", "events an image", "energy an image", "from",
                          "one event is", title="Events and their blocks")
        for row in rows:
            table.add_row(row.event.name, row.event.block, "" if row.toggles is None else f"{row.toggles:.4g}",
                          format_si(row.each_j, "J"), f"{row.count:.4g}", format_si(row.total_j, "J"), row.source,
                          row.event.unit)
        console.print(table)
    if assumptions:
        table = RichTable("constant", "value", "low", "high", "unit", "source",
                          title="Assumptions: what no table of ours gives")
        for known in constants:
            table.add_row(known.name, known.value, known.low, known.high, known.unit, known.citation)
        console.print(table)


@app.command(rich_help_panel=SET_UP, epilog="Example: himc schema estimate")
def schema(name: Annotated[str, typer.Argument(help="Of campaign, estimate, report.")]) -> None:
    """Print a JSON Schema."""
    print(json.dumps(load_schema(name), indent=1))


def _mount(module_name: str) -> None:
    """Let a module add its commands; a module that does not exist adds none."""
    try:
        module: ModuleType = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and module_name.startswith(error.name):
            return
        raise
    register = getattr(module, "register", None)
    if register is not None:
        register(app)


_mount("charlib.cli")
_mount("system.cli_init")
_mount("system.cli_train")
_mount("system.cli_gpu")
_mount("system.cli_explore")
_mount("system.report.cli")
