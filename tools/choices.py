"""Design choices of the FP path compared: docs/choices.svg, and docs/choices.md with the numbers.

Adders and trees, lane width, lanes, taps, post- or pre-alignment, pipeline: energy a product, longest stage and cell
area at 45 nm, from the shipped cells, on operands of stated statistics. Run: python tools/choices.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

from charlib.compose.area import block_area_m2
from charlib.compose.cost import BlockCost, block_cost
from charlib.compose.design import TREE_ACCOUNTS, MacroBlock, operands_of, tree_vectors
from charlib.compose.library import CellLibrary, cell_library
from charlib.compose.tables import surroundings
from charlib.gates.fused import STAGES, FusedTree, fused_tree
from charlib.gates.operands import Codes, OperandStatistics
from charlib.gates.prealigned import PreAligned, pre_aligned_tree, pre_aligned_vectors
from charlib.pdk import KITS
from charlib.table import load_tables
from charlib.units import NANO, PICO

matplotlib.rcParams["svg.hashsalt"] = "himc"
DOCS = Path(__file__).resolve().parents[1] / "docs"
PDK, VDD_V = "freepdk45", 0.8
STATISTICS = OperandStatistics(exponent_spread=1.8)
OPERATIONS = 40
Choice = tuple[str, str, FusedTree | PreAligned]


@dataclass(frozen=True)
class Result:
    """One design. Energies are a product."""

    group: str
    name: str
    cost: BlockCost
    area_m2: float
    lanes: int

    @property
    def energy_j(self) -> float:
        return self.cost.total_j / self.lanes


def choices() -> list[Choice]:
    """(group, name, design)."""
    def tree(**settings: object) -> FusedTree:
        return FusedTree(**{"stages": STAGES, **settings})  # type: ignore[arg-type]

    return [
        ("adders", "ripple levels", tree()), ("adders", "carry-save, ripple", tree(tree="carry_save")),
        ("adders", "carry-save, carry-select", tree(tree="carry_save", adder="carry_select")),
        ("adders", "carry-save, prefix", tree(tree="carry_save", adder="prefix")),
        ("lane width", "16 bits", tree(guard_bits=0)), ("lane width", "20 bits", tree()),
        ("lane width", "24 bits", tree(guard_bits=8)), ("lane width", "12 bits", tree(guard_bits=-4)),
        ("alignment", "post, magnitude", tree()), ("alignment", "post, floor", tree(align_mode="floor")),
        ("alignment", "post, sticky", tree(align_mode="sticky")),
        ("alignment", "pre, 8 + 4 bits", PreAligned(32, 4)), ("alignment", "pre, 8 + 8 bits", PreAligned(32, 8)),
        ("taps", "none", tree()), ("taps", "three 9-taps", tree(taps=9)),
        ("lanes", "9", tree(lanes=9)), ("lanes", "16", tree(lanes=16)), ("lanes", "32", tree()),
        ("lanes", "64", tree(lanes=64)),
        ("pipeline", "five stages", tree()), ("pipeline", "one stage", tree(stages=1)),
    ]


def priced(group: str, name: str, design: FusedTree | PreAligned, library: CellLibrary) -> Result:
    """Cost one design; the two kinds differ in their circuit and in what their inputs are."""
    vectors: Callable[[Codes, Codes, int], np.ndarray]
    if isinstance(design, FusedTree):
        circuit, accounts = fused_tree(design), dict(TREE_ACCOUNTS)
        vectors = lambda x, w, seed: tree_vectors(design, x, w)  # noqa: E731
    else:
        circuit, accounts = pre_aligned_tree(design), {**TREE_ACCOUNTS, "multiply": "multipliers"}
        vectors = lambda x, w, seed: pre_aligned_vectors(design, x, w)  # noqa: E731
    block = MacroBlock(circuit.name, circuit, design.lanes, vectors, accounts)
    kit = KITS[PDK]
    around = surroundings(kit.geometry, kit.unit_s)
    x, w = operands_of(block, STATISTICS, STATISTICS, OPERATIONS, 7)
    register_j = float(load_tables(Path(TABLES))["dff_energy_j"].at(corner="tt", temp_c=25.0, vdd_v=VDD_V,
                                                                    event="data"))
    cost = block_cost(block, library, x, w, around.loads, input_slew_s=around.input_slew_s, register_j=register_j)
    return Result(group, name, cost, block_area_m2(circuit, "nangate45"), design.lanes)


TABLES = Path(__file__).resolve().parents[1] / "charlib" / "data" / "tables" / PDK


def draw(results: Sequence[Result], file: Path) -> None:
    """Bars a product, stacked by part, with stage delay and area beside them."""
    parts = list(dict.fromkeys(part for r in results for part in r.cost.energy_j))
    labels = [f"{r.group}: {r.name}" for r in results]
    figure, axes = plt.subplots(1, 3, figsize=(13, 0.34 * len(results) + 1.4), sharey=True,
                                gridspec_kw={"width_ratios": [3, 1.2, 1.2]})
    left = np.zeros(len(results))
    for part in parts:
        width = np.array([r.cost.energy_j.get(part, 0.0) / r.lanes / PICO for r in results])
        axes[0].barh(labels, width, left=left, label=part.replace("_", " "))
        left += width
    axes[0].legend(fontsize=8, loc="lower right")
    axes[0].set_xlabel("energy a product (pJ)")
    axes[1].barh(labels, [r.cost.static_s / NANO for r in results], color="0.5")
    axes[1].set_xlabel("longest stage (ns)")
    axes[2].barh(labels, [r.area_m2 * 1e12 / r.lanes for r in results], color="0.5")
    axes[2].set_xlabel("cell area a lane (µm²)")
    axes[0].invert_yaxis()
    figure.suptitle(f"Fused FP path on FreePDK45, {VDD_V:g} V, tt, 25 °C; exponents with "
                    f"{STATISTICS.exponent_spread:g} octaves of spread", fontsize=10)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None, "Creator": None})


@cache
def results() -> tuple[Result, ...]:
    """All designs, priced."""
    library = cell_library(load_tables(TABLES), corner="tt", temp_c=25.0, vdd_v=VDD_V)
    return tuple(priced(*choice, library) for choice in choices())


def texts() -> dict[Path, str]:
    """The page, computed again."""
    rows = ["# Design choices of the FP path", "",
            f"Made by `python tools/choices.py` from the shipped cells of FreePDK45 ({VDD_V:g} V, tt, 25 °C), "
            f"operands with {STATISTICS.exponent_spread:g} octaves of exponent spread, {OPERATIONS} operations, 32 "
            "lanes unless said. Pre-alignment is another arithmetic: the serial operands are aligned before they are "
            "multiplied, their lost bits are lost to every product, and its array multipliers stand here for the "
            "compartments' serial ones, so its bar holds more than the others'.", "",
            "![energy, delay and area of each choice](choices.svg)", "",
            "| choice | design | energy a product (fJ) | longest stage (ns) | cell area a lane (µm²) |",
            "|---|---|---:|---:|---:|"]
    rows += [f"| {r.group} | {r.name} | {r.energy_j * 1e15:.0f} | {r.cost.static_s / NANO:.2f} | "
             f"{r.area_m2 * 1e12 / r.lanes:.0f} |" for r in results()]
    return {DOCS / "choices.md": "\n".join(rows) + "\n"}


def main() -> int:
    """Draw and write."""
    draw(results(), DOCS / "choices.svg")
    for file, text in texts().items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
