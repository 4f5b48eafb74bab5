"""`himc train`: any network on the arrays' arithmetic, with curves and recorded activity."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from charlib.errors import BadInput, HimcError
from charlib.paths import check_folder
from charlib.terminal import ESTIMATE, JsonOut, Quiet, emit_json
from system.networks import open_files_with
from system.numerics.arithmetic import PRODUCT_BITS, Arithmetic
from system.numerics.chosen import kernels
from system.report.files import to_json, write_files

if TYPE_CHECKING:
    from system.train.loop import Curve, Moment, Run
    from system.workload import Network

EXAMPLE = ("Examples: himc train mobilenet_v1 --dataset digits --width 0.25 --numerics imc; "
           "himc train my_net.py:build --dataset imagefolder:pictures --image-px 64")

#: options by what they are about, as the help shows them
_what = partial(typer.Option, rich_help_panel="Network and images")
_arithmetic = partial(typer.Option, rich_help_panel="Arithmetic")
_descent = partial(typer.Option, rich_help_panel="Training")
SCHEMA = "himc-training-1"
#: how many layers the last line names
MOST_NAMED = 8
#: option -> least and largest value
RANGES: dict[str, tuple[float, float]] = {
    "image_px": (8, 1024), "epochs": (1, 1_000_000), "lr": (1e-12, 1e30), "momentum": (0.0, 1.0), "decay": (0.0, 1e3),
    "shift": (0, 512), "lane_bits": (PRODUCT_BITS - 15, PRODUCT_BITS + 24), "seed": (0, 2**32 - 1),
    "threads": (1, 4096), "torch_threads": (1, 4096), "save_every": (0, 1_000_000_000),
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Mount the command, and let every command take a network of one's own."""
    app.command("train", rich_help_panel=ESTIMATE, epilog=EXAMPLE)(train)
    open_files_with(_follow)


def _follow(text: str, image_px: int, width: float, classes: int, channels: int) -> Network:
    if find_spec("torch") is None:
        raise BadInput(f"network: {text} needs torch, which is not installed; run "
                       "'pip install \"hadamard-imc[train]\"'")
    from system.train.own_network import network_of_file

    return network_of_file(text, image_px, width, classes, channels)


def train(
    network: Annotated[str, typer.Argument(help="Of mobilenet_v1, mobilenet_v2, resnet18, resnet50, vgg16, vit_tiny, "
                                                "or file.py:build.")] = "",
    dataset: Annotated[str, _what(help="Images: digits, cifar10:DIR or imagefolder:DIR.")] = "digits",
    numerics: Annotated[str, _arithmetic(help="Arithmetic: fp32, bf16 or imc.")] = "imc",
    module: Annotated[str | None, _what(help="A file.py:build in place of a network's name.")] = None,
    width: Annotated[float, _what(help="Width multiplier, where the network has one.")] = 0.25,
    image_px: Annotated[int | None, _what(help="Image edge in pixels. Default: digits 32, cifar10 32, "
                                                       "imagefolder 224.")] = None,
    epochs: Annotated[int, _descent(help="Epochs.")] = 20,
    batch: Annotated[int, _descent(help="Images a step.")] = 64,
    lr: Annotated[float, _descent("--lr", help="Learning rate, the schedule's largest.")] = 0.1,
    momentum: Annotated[float, _descent(help="Momentum.")] = 0.9,
    decay: Annotated[float, _descent(help="Weight decay.")] = 5e-4,
    schedule: Annotated[str, _descent(help="Learning rate: one_cycle, cosine or constant.")] = "one_cycle",
    shift: Annotated[int, _what(help="Random shifts of the images, in pixels.")] = 2,
    flip: Annotated[bool, _what("--flip", help="Random left-right flips.")] = False,
    weights: Annotated[str, _arithmetic(help="Weights kept as master, bf16, stochastic or kahan.")] = "master",
    lanes: Annotated[int, _arithmetic(help="Products in one fused sum.")] = 32,
    lane_bits: Annotated[int, _arithmetic(help="Width of an aligned lane.")] = 20,
    align_mode: Annotated[str, _arithmetic(help="Alignment by magnitude, floor or sticky.")] = "magnitude",
    accumulator: Annotated[str, _arithmetic(help="Type of tiles' and lanes' sums: fp32 or bf16.")] = "fp32",
    weight_gradient: Annotated[str, _arithmetic(help="Weight gradient: batched or outer.")] = "batched",
    seed: Annotated[int, _descent(help="Everything random follows from it.")] = 0,
    threads: Annotated[int | None, typer.Option(help="Threads of our kernels. Default: every core.")] = None,
    torch_threads: Annotated[int, typer.Option(help="Threads of torch's own sums, whose last bits depend on them.")
                             ] = 1,
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints, besides one an epoch.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for record, curves and checkpoint.")] = Path("training"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out; else a finished "
                                                                "run there is an error.")] = False,
    json_out: JsonOut = None, quiet: Quiet = False,
) -> None:
    """Train a network with every product computed as the arrays compute it.

    Writes training.json, curves.svg, checkpoint.pt and, under imc, activity.json into --out.

    The same seed gives the same bits, whatever --threads.

    A run that was stopped goes on with --resume as if it had not been.
    """
    for package in ("torch", "sklearn"):
        if find_spec(package) is None:
            raise BadInput(f"{package} is not installed; run 'pip install \"hadamard-imc[train]\"', or 'make setup'")
    name = module or network
    if not name:
        raise BadInput("network: give a name such as mobilenet_v1, or --module file.py:build; see 'himc train "
                       "--help'")
    check_folder(out)
    if not resume:
        _refuse_finished(out)
    for option, value in (("image_px", image_px), ("epochs", epochs), ("lr", lr), ("momentum", momentum),
                          ("decay", decay), ("shift", shift), ("lane_bits", lane_bits), ("seed", seed),
                          ("threads", threads), ("torch_threads", torch_threads), ("save_every", save_every)):
        least, most = RANGES[option]
        if value is not None and not least <= value <= most:
            raise BadInput(f"{option}: {least:.10g} to {most:.10g} is allowed, got {value:.10g}")
    _set_threads(threads, torch_threads)
    from system.train.datasets import open_dataset
    from system.train.loop import Plan, Run
    from system.train.own_file import load_module
    from system.train.torch_networks import build

    arithmetic = Arithmetic(lanes, lane_bits - PRODUCT_BITS, align_mode, accumulator=accumulator)
    plan = Plan(numerics, arithmetic, weight_gradient, weights, epochs, batch, lr, momentum, decay, schedule, shift,
                flip, seed)
    data = open_dataset(dataset, image_px, seed)
    sizes: dict[str, Any] = {"classes": data.classes, "image_px": data.image_px, "channels": data.channels}

    def make() -> Any:
        return load_module(name, width=width, **sizes) if ":" in name else build(name, width=width, **sizes)

    run = Run(make, data, plan, out, save_every, name=name)
    if resume:
        run.resume()
    _begin(run, name)
    smaller = "" if image_px is not None or dataset.startswith("cifar10") else "; less with a smaller --image-px"
    with _bar(run, f"{name} on {data.name}, {numerics}", quiet, smaller) as watch:
        curve = run.train(watch)
    record = _record(name, width, run, curve)
    _write(out, record, json_out)
    if json_out != "-":
        _tell(record, curve, out)
    _end(curve, out)


def _set_threads(kernels: int | None, torch_threads: int) -> None:
    """Torch splits a sum (batch norm's, the loss's) by its threads; the kernels' bits do not depend on theirs."""
    count = kernels if kernels is not None else len(os.sched_getaffinity(0))
    os.environ["OMP_NUM_THREADS"] = str(torch_threads)
    import numba
    import torch

    torch.set_num_threads(torch_threads)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def _refuse_finished(out: Path) -> None:
    """BadInput where a folder holds a run that came to its end; anything else there is no reason to stop."""
    try:
        record = json.loads((out / "training.json").read_text())
        finished = record["schema"] == SCHEMA and record["status"] == "done"
        what = f"{record['network']} on {record['dataset']}" if finished else ""
    except (OSError, ValueError, KeyError, TypeError):
        return
    if finished:
        raise BadInput(f"out: '{out}' holds a finished run of {what}; give another --out, or remove it")


def _begin(run: Run, name: str) -> None:
    """What is about to be trained, on standard error, before the first step takes its time."""
    data, done = run.data, f", of which {run.done} are done" if run.done else ""
    typer.echo(f"{name} on {data.name}, {run.plan.numerics}: {data.train_count} images to train and "
               f"{data.test_count} held out, {data.image_px} px; {run.steps} steps, {run.batches} an epoch{done}",
               err=True)
    if run.plan.numerics == "imc":
        typer.echo(str(kernels()), err=True)


def _expected(run: Run, step_s: float) -> str:
    """What is left after a first step of so many seconds, in words; nothing where it is less than a minute. A test
    image has a forward pass alone, a third of the products of an image that is trained on."""
    test_s = step_s / 3 * run.data.test_count / run.plan.batch
    left_min = ((run.steps - run.done) * step_s + (run.plan.epochs - len(run.accuracy)) * test_s) / 60
    if left_min < 1:
        return ""
    return f"about {left_min:.0f} min to go" if left_min < 90 else f"about {left_min / 60:.1f} h to go"


@contextmanager
def _bar(run: Run, title: str, quiet: bool, smaller: str = "") -> Iterator[Any]:
    """A bar, or none, and after the first step how long the run will take; smaller: how it would take less."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(title, total=run.steps, completed=run.done)
        first, before_s = run.done + 1, run.seconds

        run.told.announce = False  # it is told here, with the share of the whole step

        def watch(moment: Moment) -> None:
            if moment.step == first and (news := run.told.audit.news()):
                bar.console.print(news, highlight=False, markup=False, soft_wrap=True)
            judged = "" if moment.accuracy is None else f", accuracy {moment.accuracy:.1%}"
            if moment.step == first and (left := _expected(run, run.seconds - before_s)):
                bar.console.print(f"{left}{smaller}", highlight=False, markup=False, soft_wrap=True)
            bar.update(task, completed=moment.step, description=f"{title}: loss {moment.loss:.3f}{judged}")

        yield watch


def _record(name: str, width: float, run: Run, curve: Curve) -> dict[str, Any]:
    """Plain data of a run."""
    from dataclasses import asdict

    plan, data = run.plan, run.data
    used = {"kernels": asdict(kernels())} if plan.numerics == "imc" else {}
    return used | {
        "schema": SCHEMA, "network": name, "width": width, "dataset": data.name, "image_px": data.image_px,
        "parameters": sum(p.numel() for p in run.model.parameters()), "train_images": data.train_count,
        "test_images": data.test_count, "settings": asdict(plan), "status": curve.status,
        "steps": len(curve.loss), "loss": [x if math.isfinite(x) else None for x in curve.loss],
        "accuracy": list(curve.accuracy), "seconds": curve.seconds, "activity": curve.activity.get("passes", {}),
        "fp32_layers": [{"layer": layer, "operator": operator} for layer, operator in curve.without_form],
        "outside_arrays": curve.outside if plan.numerics != "fp32" else None,
        "versions": {package: metadata.version(package) for package in ("torch", "numpy", "hadamard-imc")},
    } | ({"layers": curve.activity["layers"]} if curve.activity else {})


def _write(out: Path, record: dict[str, Any], json_out: str | None) -> None:
    from system.report.plots import training_curves

    files = {"training.json": to_json(record)}
    if record["accuracy"]:
        name = f"{Path(record['network']).name} on {record['dataset']}, {record['settings']['numerics']}"
        files["curves.svg"] = training_curves({name: record})
    if record["status"] == "diverged":  # an estimate must not take what it recorded, nor what a run before it did
        (out / "activity.json").unlink(missing_ok=True)
    elif record["activity"]:
        files["activity.json"] = to_json({"schema": "himc-activity-1", "every": record["settings"]["record_every"],
                                          "layers": record["layers"], "passes": record["activity"]})
    write_files(out, files)
    if json_out is not None:
        emit_json(json_out, record)


def _tell(record: dict[str, Any], curve: Curve, out: Path) -> None:
    console = Console()
    judged = f", test accuracy {record['accuracy'][-1]:.2%}" if record["accuracy"] else ""
    console.print(f"{record['network']} on {record['dataset']}, {record['settings']['numerics']}: {record['steps']} "
                  f"steps, loss {curve.loss[-1] if curve.loss else math.nan:.4g}{judged}, "
                  f"{record['seconds']:.0f} s{_in_fp32(record)}; {out}/training.json", highlight=False,
                  markup=False, soft_wrap=True)


def _in_fp32(record: dict[str, Any]) -> str:
    """The layers that did not run on the arithmetic asked for, in words."""
    outside = record["outside_arrays"] or {"share": 0.0, "products": []}
    names = list(dict.fromkeys(found["layer"] or "the module itself"
                               for found in (*record["fp32_layers"], *outside["products"])))
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    share = f" ({outside['share']:.2%} of the MACs)" if outside["share"] else ""
    return f"; {len(names)} layer{'s' * (len(names) > 1)} in FP32: {', '.join(names[:MOST_NAMED])}{more}{share}"


def _end(curve: Curve, out: Path) -> None:
    """A run that did not come to its end fails, after its record is written."""
    if curve.status == "diverged":
        raise HimcError(f"training diverged: the loss of step {len(curve.loss)} is not finite; lower --lr, widen the "
                        f"lanes or keep a master copy; the record is in {out}, without activity.json, since an "
                        "estimate must not rest on it")
    if curve.status == "stopped":
        raise HimcError(f"stopped by the user after {len(curve.loss)} steps; go on with --resume")
