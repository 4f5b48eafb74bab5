"""Every plot, as SVG text. The only module that imports matplotlib.

Figures are drawn about as wide as a telephone's screen, so that their letters stay readable there and simply grow
on a larger one. Colours are Okabe and Ito's, told apart with any colour vision; markers and hatches repeat the
distinction in print. A plot only draws what the record holds.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from charlib.terminal import Watch
from system.gpu_median import apart

#: Okabe and Ito, "Color universal design", 2008
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "x")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
_WIDTH_IN = 4.4
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "hadamard-imc", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "#dddddd",
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 8, "hatch.linewidth": 0.5,
}
_PASSES = ("forward", "input_gradient", "weight_gradient", "update")
_BOUNDARIES = {"macro_only": "macros only", "with_buffers": "with buffers", "system": "whole system"}
_POWER_NAMES = {"tdp": "TDP", "measured_fraction": "measured share"}
#: blocks drawn by name; the rest is left to the table
_DRAWN_BLOCKS = 12
#: a line plot of so few points has its ticks at them
_MOST_TICKS = 6


def draw_figures(record: Mapping[str, Any], watch: Watch | None = None) -> dict[str, str]:
    """All plots of a record, id -> SVG. watch(plots drawn, all)."""
    estimate = record["estimate"]
    figures: dict[str, Callable[[], str]] = {
        "headline_energy": partial(_headline, estimate, "energy_j_per_image", "energy per training image", "J"),
        "headline_time": partial(_headline, estimate, "time_s_per_image", "time per training image", "s"),
        "time_passes": partial(_times, estimate["imc"]),
        "area": partial(_area, record["summary"]["area"]),
        **{f"drivers_{key}": partial(_tornado, estimate, key, unit)
           for key, unit in (("energy_j", "J"), ("time_s", "s"))},
        "energy_layers": partial(_layers, estimate["layers"]),
    }
    if record["exploration"] is not None:
        figures["pareto"] = partial(_pareto, record["exploration"])
    for boundary, blocks in record["summary"]["blocks"].items():
        figures[f"energy_{boundary}"] = partial(_blocks, blocks)
    if record["training"]["status"] != "not run":
        figures["training_loss"] = partial(_curves, record["training"], "loss", "training loss")
        figures["training_accuracy"] = partial(_curves, record["training"], "accuracy", "accuracy (share right)")
    for figure in record["characterisation"]["figures"]:
        figures[figure["id"]] = partial(draw, figure)
    found = {}
    for done, (name, plot) in enumerate(figures.items(), start=1):
        found[name] = _own_ids(plot(), name)
        if watch is not None:
            watch(done, len(figures))
    return found


def _axes(height_in: float = 2.9) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg"):]


def _own_ids(svg: str, name: str) -> str:
    """Prefix ids, which would clash between the figures of one page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    return re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)


def _styled(draw_it: Any) -> Any:
    """Draw with our settings, leaving the caller's as they were."""
    @functools.wraps(draw_it)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with mpl.rc_context(_STYLE):
            return draw_it(*args, **kwargs)
    return wrapped


@_styled
def _headline(estimate: Mapping[str, Any], key: str, label: str, unit: str) -> str:
    """Ranges on a logarithmic axis: ours by boundary, the GPU's by power source over its headline rows, the rest
    apart."""
    bars: list[tuple[str, float, float, float | None, str, str]] = []
    for boundary, part in estimate["imc"].items():
        low, high = part[f"{key}_range"]
        bars.append((_BOUNDARIES[boundary], low, high, part[key], COLOURS[0], HATCHES[0]))
    groups: dict[str, list[float]] = {}
    for row in estimate["gpu"]:
        if row["time_source"].endswith("roofline"):
            name = "rooflines"
        elif row["headline"]:
            name = _POWER_NAMES.get(row["power_source"], row["power_source"]) if "energy" in key else "headline rows"
        else:
            name = f"{row['precision'].upper()}, apart" if apart(row) else "other rows, apart"
        groups.setdefault(f"GPU, {name}", []).append(row[key])
    bars += [(name, min(values), max(values), None, COLOURS[1], HATCHES[1]) for name, values in groups.items()]
    figure, axes = _axes(0.9 + 0.32 * len(bars))
    for place, (_name, low, high, middle, colour, hatch) in enumerate(bars):
        high = max(high, low * 1.02)
        axes.barh(place, high - low, left=low, height=0.55, color=colour, hatch=hatch, edgecolor="white")
        if middle is not None:
            axes.plot([middle], [place], marker="|", markersize=13, color="black", markeredgewidth=2)
    axes.set_yticks(range(len(bars)), [bar[0] for bar in bars])
    axes.invert_yaxis()
    axes.set_xscale("log")
    lowest, highest = min(bar[1] for bar in bars), max(bar[2] for bar in bars)
    axes.set_xlim(lowest / 1.3, highest * 1.3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if highest > 100 * lowest else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(unit=unit))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label + ", | = as asked")
    axes.grid(False, axis="y")
    return _svg(figure)


@_styled
def _blocks(blocks: Sequence[Mapping[str, Any]]) -> str:
    """Stacked bars: energy by block, one colour a pass."""
    shown = blocks[:_DRAWN_BLOCKS]
    figure, axes = _axes(1.3 + 0.24 * len(shown))
    left = [0.0] * len(shown)
    for index, name in enumerate(_PASSES):
        values = [block["passes"][name] for block in shown]
        axes.barh(range(len(shown)), values, left=left, height=0.7, color=COLOURS[index], hatch=HATCHES[index],
                  edgecolor="white", label=name.replace("_", " "))
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_yticks(range(len(shown)), [block["block"].replace("_", " ") for block in shown])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(unit="J"))
    axes.set_xlabel("energy per training image")
    axes.grid(False, axis="y")
    _legend_above(figure, axes)
    return _svg(figure)


@_styled
def _tornado(estimate: Mapping[str, Any], key: str, unit: str) -> str:
    """Spans of the whole system's energy or time, each driver alone, about the design as asked."""
    asked = estimate["imc"]["system"]["energy_j_per_image" if key == "energy_j" else "time_s_per_image"]
    rows = sorted((row for row in estimate["drivers"]["system"] if row[key][0] < row[key][1]),
                  key=lambda row: float(row[key][0] - row[key][1]))[:_DRAWN_BLOCKS]
    figure, axes = _axes(1.2 + 0.26 * len(rows))
    for index, (kind, name) in enumerate((("scenario", "a choice or condition"), ("statistic", "statistics, 95 %"))):
        here = [k for k, row in enumerate(rows) if row["kind"] == kind]
        axes.barh(here, [rows[k][key][1] - rows[k][key][0] for k in here], left=[rows[k][key][0] for k in here],
                  height=0.6, color=COLOURS[index], hatch=HATCHES[index], edgecolor="white", label=name)
    axes.axvline(asked, color="black", linewidth=1)
    for k, row in enumerate(rows):
        ends = " ".join(f"{end / asked - 1:+.1%}" for end in row[key]).replace("-", "−")
        axes.annotate(ends, (max(row[key][1], asked), k), xytext=(4, 0), textcoords="offset points", va="center",
                      fontsize=7)
    names = {"temp_c": "temperature"}
    axes.set_yticks(range(len(rows)), [names.get(row["driver"], row["driver"].replace("_", " ")) for row in rows])
    axes.invert_yaxis()
    least, most = min(row[key][0] for row in rows), max(row[key][1] for row in rows)
    axes.set_xlim(least - 0.05 * (most - least), most + 0.35 * (most - least))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(unit=unit))
    axes.set_xlabel(f"{'energy' if key == 'energy_j' else 'time'} an image, whole system (line: as asked)")
    axes.grid(False, axis="y")
    _legend_above(figure, axes)
    return _svg(figure)


@_styled
def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    """Stacked bars over the layers in order, one colour a pass; names thinned where there are many."""
    figure, axes = _axes(2.9)
    bottom = [0.0] * len(layers)
    for index, name in enumerate(_PASSES):
        values = [layer[name] for layer in layers]
        axes.bar(range(len(layers)), values, bottom=bottom, width=0.8, color=COLOURS[index], hatch=HATCHES[index],
                 edgecolor="white", linewidth=0.3, label=name.replace("_", " "))
        bottom = [a + b for a, b in zip(bottom, values, strict=True)]
    step = math.ceil(len(layers) / 28)
    names = [layer["layer"] for layer in layers[::step]]
    axes.set_xticks(range(0, len(layers), step), names, rotation=90, fontsize=6)
    axes.yaxis.set_major_formatter(EngFormatter(unit="J"))
    axes.set_ylabel("energy per training image")
    axes.grid(False, axis="x")
    _legend_above(figure, axes)
    return _svg(figure)


@_styled
def _pareto(exploration: Mapping[str, Any]) -> str:
    """Time against energy of every design, those of the front coloured by area."""
    energy, time, area = exploration["objectives"]
    figure, axes = _axes(3.3)
    axes.plot([row[1] for row in exploration["others"]], [row[0] for row in exploration["others"]], ".", markersize=2,
              color="#bbbbbb", label="a design")
    front = exploration["front"]
    shown = axes.scatter([row[time] for row in front], [row[energy] for row in front],
                         c=[row[area] * 1e6 for row in front], cmap="viridis", norm="log", s=26, edgecolors="black",
                         linewidths=0.5, zorder=3, label="beaten by none")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, unit in ((axes.xaxis, "s"), (axes.yaxis, "J")):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(EngFormatter(unit=unit))
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("time per training image, whole system")
    axes.set_ylabel("energy per training image")
    bar = figure.colorbar(shown, ax=axes, label="chip area (mm²)", pad=0.02)
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    _legend_above(figure, axes)
    return _svg(figure)


def _legend_above(figure: Figure, axes: Axes) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)


@_styled
def _times(imc: Mapping[str, Any]) -> str:
    """Stacked bars: seconds by pass before overlap, a mark at the elapsed time."""
    figure, axes = _axes(2.3)
    left = [0.0] * len(imc)
    for index, name in enumerate(_PASSES):
        values = [part["breakdown"]["time_s"][name] for part in imc.values()]
        axes.barh(range(len(imc)), values, left=left, height=0.6, color=COLOURS[index], hatch=HATCHES[index],
                  edgecolor="white", label=name.replace("_", " "))
        left = [a + b for a, b in zip(left, values, strict=True)]
    elapsed = [part["time_s_per_image"] for part in imc.values()]
    axes.plot(elapsed, range(len(imc)), linestyle="", marker="|", markersize=18, color="black", markeredgewidth=2,
              label="elapsed, with overlap")
    axes.set_yticks(range(len(imc)), [_BOUNDARIES[boundary] for boundary in imc])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.set_xlabel("time per training image")
    axes.grid(False, axis="y")
    _legend_above(figure, axes)
    return _svg(figure)


@_styled
def _area(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = rows[:_DRAWN_BLOCKS]
    figure, axes = _axes(0.8 + 0.24 * len(shown))
    axes.barh(range(len(shown)), [row["area_mm2"] * 1e6 for row in shown], height=0.7, color=COLOURS[0],
              edgecolor="white")
    axes.set_yticks(range(len(shown)), [row["block"].replace("_", " ") for row in shown])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("area (µm²)")
    axes.grid(False, axis="y")
    return _svg(figure)


@_styled
def _curves(training: Mapping[str, Any], key: str, label: str) -> str:
    figure, axes = _axes()
    for index, (name, shown) in enumerate((("fp32", "FP32"), ("imc", "in-memory BF16"))):
        values = training[name][key]
        axes.plot(range(1, len(values) + 1), values, color=COLOURS[index], linestyle=("-", "--")[index],
                  marker=MARKERS[index] if len(values) <= 30 else None, label=shown)
    axes.set_xlabel({"loss": "step", "accuracy": "epoch"}[key])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylabel(label)
    if key == "accuracy":
        axes.set_ylim(0, 1.02)
    axes.legend()
    return _svg(figure)


@_styled
def training_curves(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Loss by step and test accuracy by epoch of training records, side by side, as one SVG; name -> record."""
    figure = Figure(figsize=(2 * _WIDTH_IN, 2.9), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for index, (name, record) in enumerate(records.items()):
        style: Any = {"color": COLOURS[index % len(COLOURS)], "label": name}
        losses = [math.nan if value is None else value for value in record["loss"]]
        loss.plot(range(1, len(losses) + 1), losses, linewidth=0.8, **style)
        accuracy.plot(range(1, len(record["accuracy"]) + 1), record["accuracy"], marker=MARKERS[index % len(MARKERS)],
                      markersize=4, **style)
    for axes, across, up in ((loss, "step", "training loss"), (accuracy, "epoch", "test accuracy (share right)")):
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    loss.set_yscale("log")
    accuracy.legend()
    return _svg(figure)


@_styled
def draw(figure_record: Mapping[str, Any]) -> str:
    """A figure of the record's `characterisation.figures`."""
    return _svg(_drawn(figure_record))


def _drawn(f: Mapping[str, Any]) -> Figure:
    if f["kind"] == "bar":
        return _bars(f)
    figure, axes = _axes(3.3)
    for index, series in enumerate(f["series"]):
        axes.plot(series["x"], series["y"], color=COLOURS[index % len(COLOURS)],
                  linestyle=("-", "--", ":", "-.")[index // len(COLOURS) % 4], marker=MARKERS[index % len(MARKERS)],
                  markersize=4, label=series["name"])
    if f["log_y"]:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    _name_axis(axes, "x", f["x_label"], f["x_unit"])
    points = sorted({x for series in f["series"] for x in series["x"]})
    if len(points) <= _MOST_TICKS:
        axes.set_xticks(points)
    _name_axis(axes, "y", f["y_label"], f["y_unit"])
    if len(f["series"]) > 1:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _name_axis(axes: Axes, which: str, label: str, unit: str) -> None:
    """Label with the unit, values with SI prefixes where the unit takes them."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if unit in ("", "°C", "V", "1"):
        axis.set_label_text(f"{label} ({unit})" if unit not in ("", "1") else label)
        return
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(EngFormatter(unit=unit))
    axis.set_label_text(label)


def _bars(f: Mapping[str, Any]) -> Figure:
    labels = f["series"][0]["x"]
    figure, axes = _axes(1.3 + 0.3 * len(labels))
    height = 0.8 / len(f["series"])
    for index, series in enumerate(f["series"]):
        places = [k - 0.4 + height * (index + 0.5) for k in range(len(labels))]
        axes.barh(places, series["y"], height=height, color=COLOURS[index], hatch=HATCHES[index], edgecolor="white",
                  label=series["name"])
    axes.set_yticks(range(len(labels)), [str(label).replace("_", " ") for label in labels])
    axes.invert_yaxis()
    _name_axis(axes, "x", f["y_label"], f["y_unit"])
    axes.grid(False, axis="y")
    if len(f["series"]) > 1:
        _legend_above(figure, axes)
    return figure
