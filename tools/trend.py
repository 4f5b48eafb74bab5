"""The trend from 130 to 16 nm over the shipped tables: docs/trend.svg, and docs/trend.md with the numbers.

Each kit at its own nominal supply, typical corner, 25 °C. Run: python tools/trend.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from charlib.pdk import KITS
from charlib.table import TableSet, load_tables
from charlib.units import FEMTO, NANO, PICO

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "charlib" / "data" / "tables"
NODES_NM = {"sky130": 130, "freepdk45": 45, "ptm45hp": 45, "ptm32hp": 32, "ptm32lp": 32, "ptm22hp": 22, "ptm22lp": 22,
            "ptm16hp": 16}
GROUPS = {"sky130": "sky130", "freepdk45": "FreePDK45", "hp": "PTM HP", "lp": "PTM LP"}
#: figure -> (title, factor to the unit shown)
FIGURES = {
    "inverter delay (ps), 10 ps ramp, 0.5 fF": 1 / PICO,
    "full adder energy (fJ), 10 ps ramp, 0.5 fF": 1 / FEMTO,
    "bitcell read energy (fJ), 16 rows": 1 / FEMTO,
    "read noise margin (V)": 1.0,
    "compartment energy (fJ), a reread XOR cycle, stored 1, input 1": 1 / FEMTO,
    "compartment cycle (ns)": 1 / NANO,
    "adder tree energy (fJ), 4 × 8 bit": 1 / FEMTO,
    "bitcell leakage (nW)": 1 / NANO,
}


def at(tables: TableSet, name: str, **wanted: float | str) -> float:
    """The value at the named coordinates; an axis that is not named has one point, or takes its first."""
    table = tables[name]
    where = {axis.name: wanted.get(axis.name, axis.points[0]) for axis in table.axes}
    return float(table.at(**where))


def figures(kit: str) -> dict[str, float]:
    """The figures of one kit at its nominal supply, in SI units."""
    tables = load_tables(TABLES / kit)
    point: dict[str, float | str] = {"corner": "tt", "temp_c": 25.0, "vdd_v": KITS[kit].nominal_vdd_v}
    load: dict[str, float | str] = {"slew_s": 10 * PICO, "load_f": 0.5 * FEMTO}
    cycle: dict[str, float | str] = {"rows": 16.0, "columns": 4.0}
    case: dict[str, float | str] = {"read_policy": "reread", "operation": "xor", "stored": "1", "input": "1"}
    lines = [line for line in tables["compartment_energy_j"].axis("line").points if line != "leakage"]
    tree: dict[str, float | str] = {"lanes": 4.0, "bits": 8.0}
    values = (
        at(tables, "cell_delay_s", **point, **load, cell="inv"),
        at(tables, "cell_energy_j", **point, **load, cell="full_adder"),
        at(tables, "bitcell_energy_j", **point, rows=16.0, operation="read"),
        at(tables, "bitcell_margin_v", **point, margin="read_snm"),
        sum(at(tables, "compartment_energy_j", **point, **cycle, **case, line=str(line)) for line in lines),
        at(tables, "compartment_delay_s", **point, **cycle, phase="cycle"),
        at(tables, "adder_tree_energy_j", **point, **tree),
        at(tables, "bitcell_leakage_w", **point),
    )
    return dict(zip(FIGURES, values, strict=True))


def known() -> dict[str, dict[str, float]]:
    """The figures of every kit whose tables travel with the package."""
    return {kit: figures(kit) for kit in NODES_NM if (TABLES / kit).is_dir()}


def draw(found: dict[str, dict[str, float]]) -> None:
    """A plot a figure, a line a family of kits."""
    fig, axes = plt.subplots(2, 4, figsize=(15, 7), constrained_layout=True)
    for ax, (title, factor) in zip(axes.flat, FIGURES.items(), strict=True):
        for key, label in GROUPS.items():
            group = [kit for kit in found if kit == key or (kit.startswith("ptm") and kit.endswith(key))]
            nodes = [NODES_NM[kit] for kit in group]
            ax.plot(nodes, [found[kit][title] * factor for kit in group], "o-", label=label)
        ax.set_xscale("log")
        ax.set_xticks([130, 45, 32, 22, 16], ["130", "45", "32", "22", "16"])
        ax.minorticks_off()
        ax.invert_xaxis()
        if title != "read noise margin (V)":
            ax.set_yscale("log")
        ax.set_title(title, fontsize=9)
        ax.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    for ax in axes[1]:
        ax.set_xlabel("node (nm)")
    plt.rcParams["svg.hashsalt"] = "trend"
    fig.savefig(ROOT / "docs" / "trend.svg", metadata={"Date": None})


def texts() -> dict[Path, str]:
    """The page, computed again."""
    found = known()
    lines = ["# From 130 to 16 nm", "",
             "Each kit at its nominal supply, typical corner, 25 °C, from the shipped tables; made by "
             "`python tools/trend.py`.", "", "![trend](trend.svg)", "",
             "| figure | " + " | ".join(f"{kit} ({KITS[kit].nominal_vdd_v:g} V)" for kit in found) + " |",
             "|---|" + "---:|" * len(found)]
    lines += [f"| {title} | " + " | ".join(f"{found[kit][title] * factor:.3g}" for kit in found) + " |"
              for title, factor in FIGURES.items()]
    return {ROOT / "docs" / "trend.md": "\n".join(lines) + "\n"}


def main() -> int:
    """Draw and write."""
    draw(known())
    for file, text in texts().items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
