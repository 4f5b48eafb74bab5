"""`himc gpu list|measure`: accountings of a GPU, and rows from one's own card."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from charlib.errors import BadInput, HimcError
from charlib.paths import check_folder
from charlib.terminal import ESTIMATE, JsonOut, Quiet, emit_json, note, steps_bar
from charlib.units import format_si
from system.gpu import CARDS, GpuRow, gpu_rows, load_rows, measurements, unused_networks
from system.gpu_measure import Hole, Setting, Timing, measure, to_csv, to_document
from system.gpu_nvml import NvmlSensor, nvml_module
from system.gpu_records import LAYOUTS, MEASURED_BY, Measurement, card_slug
from system.networks import build_network
from system.report.files import write_files

gpu_app = typer.Typer(no_args_is_help=True, help="GPU rows: power source × time source; one's own card measured.")
MEASURED_PRECISIONS = ("fp32", "tf32", "amp", "bf16")
#: longest window
LONGEST_S = 86400.0
#: columns that the list takes
_LIST_WIDTH = 170
LIST_EXAMPLE = ("Examples: himc gpu list --cards; himc gpu list mobilenet_v2 --gpu rtx3060; "
                "himc gpu list --gpu rtx4070 --gpu-rows my_card.csv --json -")
MEASURE_EXAMPLE = "Example: himc gpu measure --batches 64,256 --precisions fp32,bf16 --out my_card.csv"


def register(app: typer.Typer) -> None:
    """Mount the commands."""
    app.add_typer(gpu_app, name="gpu", rich_help_panel=ESTIMATE)


@gpu_app.command("list", epilog=LIST_EXAMPLE)
def gpu_list(
    network: Annotated[str, typer.Argument(help="Network to charge.")] = "mobilenet_v1",
    gpu: Annotated[str, typer.Option(help="GPU, of the shipped cards or of --gpu-rows.")] = "rtx3060",
    batch: Annotated[int, typer.Option(help="Images a step.")] = 64,
    image_px: Annotated[int, typer.Option(help="Image edge in pixels.")] = 224,
    width: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    own: Annotated[Path | None, typer.Option("--gpu-rows", help="Rows of one's own card, from 'himc gpu measure'.")
                   ] = None,
    cards: Annotated[bool, typer.Option("--cards", help="The shipped cards, their peaks and their rows instead.")
                     ] = False,
    json_out: JsonOut = None,
) -> None:
    """Every accounting of a GPU: where power and time come from, what follows, and what may be in a headline."""
    if cards:
        _cards(json_out)
        return
    if not 1 <= batch <= 1 << 20:
        raise BadInput(f"batch: 1 to {1 << 20} is allowed, got {batch}")
    known = () if own is None else load_rows(own)
    rows = gpu_rows(gpu, build_network(network, image_px, width), batch, known)
    gpu = card_slug(gpu)
    if not rows:
        raise BadInput(f"gpu: {gpu} has no row for {network} at {image_px} px, width {width:g}; measure it with "
                       "'himc gpu measure', or choose a card whose peaks are shipped")
    if json_out is not None:
        document = {"schema": "himc-gpu-list-1", "gpu": gpu, "network": network, "image_px": image_px, "width": width,
                    "batch": batch, "rows": [_plain(row) for row in rows]}
        emit_json(json_out, document)
    if json_out != "-":
        _show(rows, f"{gpu}, training {network} at {image_px} px, per image")
        _note_unused(known, network)


def _note_unused(known: tuple[Measurement, ...], network: str) -> None:
    """Say which of one's own rows have a network that nothing is known of."""
    for name, like in unused_networks(known, network):
        hint = f"did you mean {like}?" if like else "they serve for that network alone"
        Console().print(f"Note: rows of '{name}' are not used here: it is no shipped network; {hint}",
                        highlight=False, markup=False, soft_wrap=True)


def _batch(row: GpuRow) -> str:
    """The batch charged, and that of the run behind it where it differs."""
    if row.source_batch in (None, row.batch):
        return str(row.batch)
    return f"{row.batch} (from {row.source_batch})"


def _cards(json_out: str | None) -> None:
    """Every shipped card, and the runs on it that are known."""
    runs = {name: [row for row in measurements() if card_slug(row.gpu) == name] for name in CARDS}
    if json_out is not None:
        emit_json(json_out, {"schema": "himc-gpu-cards-1", "cards": [
            {**vars(card), "fp32_flops": card.fp32_flops, "rows": [vars(row) for row in runs[name]]}
            for name, card in CARDS.items()]})
    if json_out == "-":
        return
    table = RichTable(title="Shipped cards")
    for name in ("card", "TDP (W)", "FP32 (TFLOP/s)", "tensor (TFLOP/s)", "memory (GB/s)", "rows"):
        table.add_column(name, justify="left" if name == "card" else "right")
    table.add_column("used for")
    for name, card in CARDS.items():
        uses = ", ".join(sorted({row.use.replace("_", " ") for row in runs[name]} - {"none"}))
        table.add_row(name, f"{card.tdp_w:g}", f"{card.fp32_flops / 1e12:.1f}", f"{card.tensor_flops / 1e12:.0f}",
                      f"{card.bytes_per_s / 1e9:.0f}", str(len(runs[name])), uses or "-")
    console = Console()
    console.print(table)
    console.print("Rows with a time or a power fraction are scaled to the other cards; a card without a run of its "
                  "own has composed rows and rooflines. Each card's: himc gpu list --gpu NAME", highlight=False)


def _plain(row: GpuRow) -> dict[str, Any]:
    return {**vars(row), "source": row.source, "energy_j_per_image": row.energy_j_per_image,
            "active_j_per_image": row.active_j_per_image}


def _show(rows: tuple[GpuRow, ...], title: str) -> None:
    console = Console()
    console = Console(width=max(console.width, _LIST_WIDTH))  # names are whole, also in a pipe
    sources = list(dict.fromkeys(source for row in rows for source in row.sources))
    table = RichTable(title=title)
    for name in ("power", "time", "precision", "batch", "drawn", "energy", "less idle", "time an image", "headline"):
        table.add_column(name, no_wrap=True)
    table.add_column("source")
    for row in rows:
        active = row.active_j_per_image
        table.add_row(row.power_source, row.time_source, row.precision, _batch(row), f"{row.power_w:.0f} W",
                      format_si(row.energy_j_per_image, "J"), "" if active is None else format_si(active, "J"),
                      format_si(row.time_s_per_image, "s"), "yes" if row.headline else f"no: {row.why_not}",
                      " ".join(str(sources.index(source) + 1) for source in row.sources))
    console.print(table)
    for number, source in enumerate(sources, start=1):
        console.print(f"{number}. {source}", highlight=False, markup=False, soft_wrap=True)
    for caveat in dict.fromkeys(part for row in rows for part in row.caveat.split("; ") if part):
        console.print(f"Caveat: {caveat}", highlight=False, markup=False, soft_wrap=True)


@gpu_app.command("measure", epilog=MEASURE_EXAMPLE)
def gpu_measure(
    network: Annotated[str, typer.Argument(help="A network's name, such as mobilenet_v1.")] = "mobilenet_v1",
    image_px: Annotated[int, typer.Option(help="Image edge in pixels.")] = 224,
    width: Annotated[float, typer.Option(help="Width multiplier.")] = 1.0,
    batches: Annotated[str, typer.Option(help="Images a step, separated by commas.")] = "64,256",
    precisions: Annotated[str, typer.Option(help="Some of fp32, tf32, amp, bf16, separated by commas.")
                          ] = "fp32,amp,bf16",
    layout: Annotated[str, typer.Option(help="Memory layout: channels_last, contiguous or both.")] = "both",
    seconds: Annotated[float, typer.Option(help="Length of each window in seconds.")] = 10.0,
    warm_up: Annotated[float, typer.Option(help="Training before each window, in seconds.")] = 3.0,
    idle: Annotated[float, typer.Option(help="Seconds over which idle power is measured.")] = 5.0,
    device: Annotated[int, typer.Option(help="Number of the card, as CUDA counts.")] = 0,
    title: Annotated[str, typer.Option(help="The card's name in the rows; the driver's by default.")] = "",
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("gpu_rows.csv"),
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Train on synthetic images on one's own card; images a second and joules, from the board's energy counter.

    Energy is that of the whole board over the window, idle power included; the rows also hold the idle power measured
    before, to subtract. The file grows by each row as it comes. Needs a CUDA build of torch and nvidia-ml-py.
    """
    build_network(network, image_px, width)  # refuse before a card is looked for
    settings = settings_of(network, image_px, width, batches, precisions, layout)
    for option, value in (("seconds", seconds), ("warm_up", warm_up), ("idle", idle)):
        if not 0 < value <= LONGEST_S:
            raise BadInput(f"{option}: a number of seconds above 0 and up to {LONGEST_S:g} is allowed, got {value:g}")
    if device < 0:
        raise BadInput(f"device: a whole number of at least 0 is allowed, got {device}")
    if out.is_dir() or not out.name:
        raise BadInput(f"out: '{out}' is a folder; give a CSV file's name")
    check_folder(out.parent)
    timing = Timing(seconds, warm_up, idle)
    if find_spec("torch") is None:
        raise HimcError("torch is not installed; run 'pip install \"hadamard-imc[train]\"' with a CUDA build of "
                        "torch")
    from system.train.synthetic import DoesNotFit, SyntheticStep, cuda_identity, make_step

    uuid, torch_version = cuda_identity(device)
    sensor = NvmlSensor(nvml_module(), uuid, device, title)

    def make(setting: Setting) -> SyntheticStep:
        return make_step(setting.network, setting.image_px, setting.width, setting.batch, setting.precision,
                         setting.channels_last, f"cuda:{device}")

    source = (f"{MEASURED_BY} {datetime.now(UTC):%Y-%m-%d}; NVML energy counter; driver {sensor.driver}; torch "
              f"{torch_version}")
    done: list[Measurement] = []
    seen: list[Measurement | Hole] = []

    def told(found: Measurement | Hole) -> None:
        seen.append(found)
        watch(len(seen), len(settings))
        _tell(found)
        if isinstance(found, Measurement):
            done.append(found)
            write_files(out.parent, {out.name: to_csv(done, _notes(sensor))})

    if others := sensor.others():
        note(f"{others} other processes are on the card, and its energy counter is the whole board's; stop them, or "
             "the rows hold their energy too")
    make(replace(settings[0], batch=1))  # the context is open while idle power is measured
    with steps_bar("settings measured", quiet=quiet) as watch:
        watch(0, len(settings))
        rows, holes = measure(sensor, settings, make, timing, source, told, DoesNotFit)
    if not rows:
        raise HimcError(f"gpu: nothing could be measured: {holes[0].reason}")
    if json_out is not None:
        emit_json(json_out, to_document(rows, holes))
    Console(stderr=True).print(f"{len(rows)} rows in {out}; use them with --gpu-rows {out}", highlight=False)


def _notes(sensor: NvmlSensor) -> tuple[str, ...]:
    others = sensor.others()
    shared = (f"{others} other processes were on the card, whose energy is in power_w.",) if others else ()
    return (*shared, f"{sensor.title}: power_w is of the whole board, idle power included; idle_w was measured "
            "before, with the CUDA context open and no work.",
            "Synthetic images on the card: no input pipeline, no host.")


def settings_of(network: str, image_px: int, width: float, batches: str, precisions: str, layout: str
                ) -> list[Setting]:
    """Every combination asked for; BadInput names what is not allowed."""
    sizes = _parts("batches", batches, "whole numbers of at least 1, separated by commas")
    if not all(part.isdecimal() and int(part) >= 1 for part in sizes):
        raise BadInput(f"batches: '{batches}' is not allowed; give whole numbers of at least 1, separated by commas")
    types = _parts("precisions", precisions, f"some of {', '.join(MEASURED_PRECISIONS)}, separated by commas")
    for part in types:
        if part not in MEASURED_PRECISIONS:
            raise BadInput(f"precisions: '{part}' is not allowed; choose of {', '.join(MEASURED_PRECISIONS)}")
    layouts = [name for name in LAYOUTS if name] if layout == "both" else [layout]
    if not set(layouts) <= set(LAYOUTS) or "" in layouts:
        raise BadInput(f"layout: '{layout}' is not allowed; choose channels_last, contiguous or both")
    return [Setting(network, image_px, width, int(size), precision, name == "channels_last")
            for precision, name, size in itertools.product(types, layouts, sizes)]


def _parts(field: str, text: str, allowed: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise BadInput(f"{field}: '{text}' is not allowed; give {allowed}")
    return list(dict.fromkeys(parts))


def _tell(found: Measurement | Hole) -> None:
    console = Console(stderr=True)
    if isinstance(found, Hole):
        setting = found.setting
        console.print(f"{setting.precision}, {setting.layout}, batch {setting.batch}: left out, {found.reason}",
                      highlight=False)
        return
    busy = "" if found.utilisation is None else f", busy {found.utilisation:.0%}"
    console.print(f"{found.precision}, {found.layout}, batch {found.batch}: {found.images_per_s:.0f} images/s, "
                  f"{found.power_w:.0f} W, {format_si(found.energy_j_per_image or 0.0, 'J')} an image, "
                  f"{format_si(found.active_j_per_image or 0.0, 'J')} less idle{busy}", highlight=False)
