"""The ancestor macro's silicon beside what is predicted of it, nothing fitted: docs/ancestor.md, ancestor.svg.

Run: python tools/ancestor.py
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from charlib.units import FEMTO, NANO
from system.ancestor import (
    ROUTES,
    AncestorOptions,
    circuit_of,
    covered,
    cycle,
    density_at,
    efficiency,
    energies_j,
    flip_flops,
    open_route,
    operations_per_s,
    round_terms,
    silicon,
)
from system.macro import density_kb_per_mm2
from system.readings import Reader

matplotlib.rcParams["svg.hashsalt"] = "himc"
TEMPLATE = Path(__file__).with_name("ancestor_page.md")
DOCS = Path(__file__).resolve().parents[1] / "docs"
#: Yan et al., ISSCC 2022 11.7
TOPS_PER_W, CYCLE_S, CAPACITY_KB, AREA_M2 = 27.38, 3 * NANO, 32, 0.030e-6
#: 1 Kb is 1024 bit; the title's 1.041 Mb/mm² is the same density with Mb of 2^20 bit
KB_PER_MM2 = CAPACITY_KB / (AREA_M2 * 1e6)
DENSITIES = (0.5, 0.25, 0.1, 0.05, 0.0)
SHOWN = {"isolated": "accumulate, then sum", "sum_first": "sum, then accumulate"}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: joules of a flip-flop's clock at 28 nm and 0.9 V as zigzag-imc fits it to silicon, this chip among it
ZIGZAG_DFF_J, ZIGZAG_VDD_V = 1.70 * FEMTO, 0.9


def anchors() -> list[dict[str, str]]:
    """Rows of published macros."""
    text = resources.files("system.data").joinpath("silicon_anchors.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


@dataclass(frozen=True)
class Route:
    """One way to 28 nm with its tables."""

    name: str
    options: AncestorOptions
    reader: Reader

    def tops_per_w(self, density: float, datapath: str) -> float:
        return efficiency(replace(self.options, input_density=density, weight_density=density, datapath=datapath),
                          self.reader)


def routes() -> list[Route]:
    """Those whose tables travel with the package."""
    return [Route(name, AncestorOptions(route=name), open_route(AncestorOptions(route=name))) for name in ROUTES
            if covered(AncestorOptions(route=name))]


def percent(ours: float, theirs: float) -> str:
    """The error as people say it."""
    return f"{100 * (ours / theirs - 1):+.0f} %".replace("-", "−")


def summary(found: Sequence[Route]) -> list[str]:
    """Density, efficiency and critical path by route."""
    lines = ["| route to 28 nm | density (Kb/mm²) | range | error | TOPS/W, half the bits ones | all bits zero | "
             "error at half | critical path (ns) | of 3 ns |", "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for route in found:
        circuit = circuit_of(route.options, route.reader)
        area, (clock, _) = silicon(route.options, route.reader), cycle(route.options, route.reader)
        m = circuit.structure
        density, low, high = (density_kb_per_mm2(m, x) for x in (area.total_m2, area.high_m2, area.low_m2))
        half, none = route.tops_per_w(0.5, "isolated"), route.tops_per_w(0.0, "isolated")
        lines.append(f"| {route.name} | {density:.0f} | {low:.0f} to {high:.0f} | {percent(density, KB_PER_MM2)} | "
                     f"{half:.2f} | {none:.2f} | {percent(half, TOPS_PER_W)} | {clock.cycle_s / NANO:.2f} "
                     f"({clock.limited_by.replace('_', ' ')}) | {clock.cycle_s / CYCLE_S:.0%} |")
    return lines


def curve(found: Sequence[Route]) -> list[str]:
    """TOPS/W over the density of ones of inputs and weights alike."""
    head = " | ".join(f"{d:g}" for d in DENSITIES)
    lines = [f"| route | datapath | {head} | 27.38 met at |", "|---|---|" + "---:|" * (len(DENSITIES) + 1)]
    for route in found:
        for datapath, name in SHOWN.items():
            values = " | ".join(f"{route.tops_per_w(d, datapath):.2f}" for d in DENSITIES)
            met = density_at(replace(route.options, datapath=datapath), route.reader, TOPS_PER_W)
            lines.append(f"| {route.name} | {name} | {values} | {'no density' if met is None else f'{met:.2f}'} |")
    return lines


def budget(route: Route) -> list[str]:
    """Joules a cycle by block, beside all that the published figure leaves for a cycle."""
    cases = [(datapath, density) for datapath in SHOWN for density in (0.5, 0.0)]
    terms = []
    for datapath, density in cases:
        options = replace(route.options, datapath=datapath, input_density=density, weight_density=density)
        terms.append(energies_j(round_terms(circuit_of(options, route.reader), options)))
    cycles = circuit_of(route.options, route.reader).structure.serial_cycles
    head = " | ".join(f"{SHOWN[datapath]}, {'half ones' if density else 'all zeros'}" for datapath, density in cases)
    lines = [f"| block (fJ a cycle) | {head} |", "|---|" + "---:|" * len(cases)]
    for block in terms[0]:
        lines.append(f"| {block.replace('_', ' ')} | "
                     + " | ".join(f"{t[block] / cycles / FEMTO:,.0f}" for t in terms) + " |")
    lines.append("| **sum** | " + " | ".join(f"{math.fsum(t.values()) / cycles / FEMTO:,.0f}" for t in terms) + " |")
    return lines


def tops_per_w_span(found: Sequence[Route] | None = None) -> list[float]:
    """Lowest and highest TOPS/W over routes, datapaths, and data of half ones and of zeros."""
    shown = [route.tops_per_w(d, datapath) for route in found or routes() for datapath in SHOWN for d in (0.5, 0.0)]
    return [min(shown), max(shown)]


def draw(found: Sequence[Route]) -> None:
    """The curves, and published macros with ours."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8), layout="constrained")
    grid = [0.5 * k / 20 for k in range(21)]
    for colour, route in zip(COLOURS, found, strict=False):
        for datapath, style in (("isolated", "-"), ("sum_first", "--")):
            left.plot(grid, [route.tops_per_w(d, datapath) for d in grid], style, color=colour,
                      label=f"{route.name}, {SHOWN[datapath]}")
    left.axhline(TOPS_PER_W, color="black", linewidth=1)
    left.annotate("published, data not stated here", (0.01, TOPS_PER_W), xytext=(0, 4), textcoords="offset points",
                  fontsize=8)
    left.set(yscale="log", ylim=(0.15, 50), xlabel="share of ones in inputs and weights", ylabel="TOPS/W")
    left.legend(fontsize=7, ncols=2, loc="lower center")
    marks = {"INT8": "o", "BF16": "s", "FP16": "^", "FP": "D"}
    for row in anchors():
        if not row["tops_per_w"] or not row["kb_per_mm2"]:
            continue
        kind = next((k for k in marks if row["precision"].startswith(k)), "FP")
        right.plot(float(row["kb_per_mm2"]), float(row["tops_per_w"]), marks[kind], color="#555555")
        right.annotate(" ".join(row["design"].split()[:2]) + f", {row['node_nm']} nm, {kind}",
                       (float(row["kb_per_mm2"]), float(row["tops_per_w"])), xytext=(5, 3), fontsize=7,
                       textcoords="offset points")
    for colour, route in zip(COLOURS, found, strict=False):
        area = silicon(route.options, route.reader).total_m2
        density = density_kb_per_mm2(circuit_of(route.options, route.reader).structure, area)
        right.plot([density] * 2, [route.tops_per_w(0.5, "isolated"), route.tops_per_w(0.0, "sum_first")], "-*",
                   color=colour, label=f"ours, INT8, {route.name}")
    right.set(xscale="log", yscale="log", xlim=(80, 5000), ylim=(0.8, 60), xlabel="Kb/mm²", ylabel="TOPS/W")
    right.legend(fontsize=7, loc="lower left")
    figure.savefig(DOCS / "ancestor.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def page(found: Sequence[Route]) -> str:
    """The whole page."""
    first = found[0]
    circuit = circuit_of(first.options, first.reader)
    m, area = circuit.structure, silicon(first.options, first.reader)
    power_w, latches = operations_per_s(circuit, CYCLE_S) / (TOPS_PER_W * 1e12), m.compartments * m.word_bits
    ours_j = math.fsum(term.value for term in circuit.clocked(1.0))
    theirs_j = ZIGZAG_DFF_J * (first.options.vdd_v / ZIGZAG_VDD_V) ** 2
    lowest, highest = tops_per_w_span(found)
    runs: dict[str, set[str]] = {}
    for reading in first.reader.readings():
        if reading.run_ids:
            runs.setdefault(reading.source, set()).update(reading.run_ids)
    return TEMPLATE.read_text(encoding="utf-8").format(
        kb_per_mm2=KB_PER_MM2, summary="\n".join(summary(found)), curve="\n".join(curve(found)),
        budget="\n".join(budget(first)),
        least=TOPS_PER_W / highest, most=TOPS_PER_W / lowest, power_uw=power_w * 1e6,
        cycle_fj=power_w * CYCLE_S / FEMTO, latches=latches, ours_fj=latches * ours_j / FEMTO,
        our_dff_fj=ours_j / FEMTO, theirs_fj=latches * theirs_j / FEMTO, their_dff_fj=theirs_j / FEMTO,
        flops=sum(flip_flops(circuit, "isolated").values()), route=first.name,
        density=percent(density_kb_per_mm2(m, area.total_m2), KB_PER_MM2),
        dense_end=percent(density_kb_per_mm2(m, area.high_m2), KB_PER_MM2), area=area.total_m2 * 1e12,
        low=area.low_m2 * 1e12, high=area.high_m2 * 1e12, cells=area.blocks_m2["bitcells"] / AREA_M2,
        runs="; ".join(f"`{name}` ({len(ids)} runs)" for name, ids in sorted(runs.items())))


def texts() -> dict[Path, str]:
    """The page, computed again."""
    return {DOCS / "ancestor.md": page(routes())}


def main() -> None:
    """Draw and write."""
    draw(routes())
    for file, text in texts().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
