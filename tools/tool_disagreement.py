"""How far tools disagree on one primitive: docs/disagreement.md, a 64 × 8-bit adder tree by node.

Ours by simulated cells; NeuroSim's and ZigZag's by their public models, restated here in our own symbols from the
files named in SOURCES. Needs nothing but the shipped tables. Run: python tools/tool_disagreement.py
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from charlib.compose.area import block_area_m2
from charlib.compose.library import cell_library
from charlib.compose.static import static_timing
from charlib.compose.tables import surroundings
from charlib.compose.timed import compile_block, timed_run
from charlib.gates import adder_tree, random_vectors
from charlib.gates.generate import full_adders_closed_form
from charlib.pdk import KITS
from charlib.table import TableSet, load_tables
from charlib.units import FEMTO, NANO, PICO

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "charlib" / "data" / "tables"
PAGE = ROOT / "docs" / "disagreement.md"
LANES, BITS = 64, 8
VECTORS, SEED = 65, 1
ACTIVITIES = (0.1, 0.5)
SIMULATED, SIMULATED_VDD_V, AREA_LIBRARY, AREA_NODE_NM = "freepdk45", 1.0, "nangate45", 45
#: kits of the 4 × 8-bit trees that carry the simulated tree to other nodes: name -> (node in nm, supply in V)
CARRIED = {"ptm45hp": (45, 1.0), "ptm32hp": (32, 0.9), "ptm22hp": (22, 0.8), "ptm32lp": (32, 1.0),
           "ptm22lp": (22, 0.95)}
TARGET_NM = 28
NEUROSIM_COMMIT = "1b8e89ff966afeec2fb37bc7608e80dc9d39b4c2"
SOURCES = (
    "NeuroSim: [neurosim/DNN_NeuroSim_V2.1](https://github.com/neurosim/DNN_NeuroSim_V2.1) at "
    f"{NEUROSIM_COMMIT[:12]}, `Training_pytorch/NeuroSIM/` `AdderTree.cpp`, `Adder.cpp`, `formula.cpp`, "
    "`Technology.cpp`, `constant.h`",
    "ZigZag: `zigzag-dse` 3.9.1 from PyPI, `zigzag/hardware/architecture/` `imc_unit.py`, `imc_array.py`",
)


@dataclass(frozen=True)
class Tree:
    """One tool's tree at one node. `model`: roadmap, kit or condition."""

    tool: str
    model: str
    node_nm: int
    vdd_v: float
    energy_j: float
    delay_s: float
    area_m2: float

    @property
    def switched_f(self) -> float:
        """Energy over VDD²: compares trees at unequal supplies."""
        return self.energy_j / self.vdd_v**2


@dataclass(frozen=True)
class NeuroSimNode:
    """Row of NeuroSim's table of technologies, at 300 K; capacitance in F/m, on-current in A/m of width."""

    roadmap: str
    node_nm: int
    vdd_v: float
    ideal_gate: float
    fringe: float
    resistance_factor: float
    on_n: float
    on_p: float


NEUROSIM_NODES = (
    NeuroSimNode("HP", 45, 1.0, 4.091305e-10, 4.957928e-10, 1.54, 1.27e3, 1.08e3),
    NeuroSimNode("HP", 32, 0.9, 3.767721e-10, 4.713762e-10, 1.54, 1.41e3, 1.22e3),
    NeuroSimNode("HP", 22, 0.85, 3.287e-10, 4.532e-10, 1.54, 1.50e3, 1.32e3),
    NeuroSimNode("LSTP", 45, 1.0, 8.930709e-10, 8.849901e-10, 1.77, 500.2, 300.0),
    NeuroSimNode("LSTP", 32, 0.9, 8.375279e-10, 6.856677e-10, 1.77, 600.2, 400.0),
    NeuroSimNode("LSTP", 22, 0.85, 5.245e-10, 8.004e-10, 1.77, 791.9, 600.2),
)
#: NeuroSim's layout rules in feature sizes: cell height, gate pitch parts, NAND2 devices twice the minimum width
_HEIGHT, _POLY, _GAP, _WIDTH_N, _WIDTH_MIN = 28.0, 1.0, 2.8, 4.0, 2.0
_OVERLAP = 0.2
#: its junctions: bottom F/m², sidewall and gate edge F/m, gradings, built-in potential
_BOTTOM, _SIDEWALL, _GATE_EDGE, _GRADING, _GRADING_EDGE, _BUILT_IN = 1e-3, 2.5e-10, 0.5e-10, 0.5, 0.33, 0.9
_NANDS_A_FULL_ADDER = 9


def neurosim_nand(node: NeuroSimNode) -> tuple[float, float, float, float, float]:
    """(input F, output F, pull-down Ω through two devices, pull-up Ω, area m²) of its minimum NAND2, unfolded."""
    feature = node.node_nm * NANO
    wide_n, wide_p = _WIDTH_N * feature, _WIDTH_MIN * node.on_n / node.on_p * feature
    gate = (1 + _OVERLAP) * node.ideal_gate + node.fringe
    drain_n, drain_p = 2 * _GAP * feature, _GAP * feature  # two series N devices, one shared P drain
    bias = 1 + node.vdd_v / _BUILT_IN
    output = (_BOTTOM / bias**_GRADING * (drain_n * wide_n + drain_p * wide_p)
              + _SIDEWALL / bias**_GRADING_EDGE * (2 * drain_n + wide_n + 2 * drain_p)
              + _GATE_EDGE / bias**_GRADING_EDGE * (wide_n + wide_p))
    pull = node.resistance_factor * node.vdd_v
    return (gate * (wide_n + wide_p), output, 2 * pull / (node.on_n * wide_n), pull / (node.on_p * wide_p),
            _HEIGHT * 3 * (_POLY + _GAP) * feature**2)


def _switching_s(time_constant_s: float, ramp: float) -> tuple[float, float]:
    """Horowitz at half the supply, as CACTI and NeuroSim simplify it: (delay, ramp of the output in 1/s)."""
    delay = math.sqrt((time_constant_s * math.log(0.5))**2 + 0.5 * time_constant_s / ramp)
    return delay, 0.5 / delay


def neurosim_tree(node: NeuroSimNode, lanes: int = LANES, bits: int = BITS) -> Tree:
    """Its adder tree: each level waits for the whole ripple of the level before; each adder pays its worst pattern.

    A bit costs 13 input and 7 output capacitances of a NAND2 (14 and 7 the first), times VDD². No load is behind the
    sum, inputs are steps, and the layout is not rounded to whole rows.
    """
    pin, out, down, up, area = neurosim_nand(node)
    energy = delay = 0.0
    adders, width = lanes // 2, bits
    while adders:
        energy += adders * ((14 * pin + 7 * out) + (width - 1) * (13 * pin + 7 * out)) * node.vdd_v**2
        ramp, stages = 1e20, []
        for constant in (down * (out + 3 * pin), up * (out + 2 * pin), down * (out + 3 * pin), up * (out + 2 * pin),
                         down * (out + 3 * pin), up * (out + pin), down * out):
            took, ramp = _switching_s(constant, ramp)
            stages.append(took)
        delay += sum(stages[:2]) + (width - 2) * sum(stages[2:4]) + sum(stages[4:])
        adders, width = adders // 2, width + 1
    full_adders = full_adders_closed_form(lanes, bits)
    return Tree("NeuroSim", node.roadmap, node.node_nm, node.vdd_v, energy, delay,
                full_adders * _NANDS_A_FULL_ADDER * area)


#: ZigZag's gates, fitted to digital in-memory chips at 28 nm, 0.9 V
ZIGZAG_NODE_NM, ZIGZAG_VDD_V = 28, 0.9
_NAND_F, _NAND_S, _NAND_M2 = 0.7 * FEMTO, 0.0478 * NANO, 0.614e-12
_XOR_F, _XOR_S, _XOR_M2 = 1.5 * _NAND_F, 2.4 * _NAND_S, 2.4 * _NAND_M2


def zigzag_tree(lanes: int = LANES, bits: int = BITS) -> Tree:
    """Its ripple tree, every input in use: all gates' capacitances swing once an operation; carries overlap."""
    full_adders = full_adders_closed_form(lanes, bits)
    levels = int(math.log2(lanes))
    delay = (levels - 1) * 2 * _XOR_S + (_XOR_S + 2 * _NAND_S) + (bits + levels - 2) * 2 * _NAND_S
    return Tree("ZigZag", "fitted", ZIGZAG_NODE_NM, ZIGZAG_VDD_V,
                full_adders * (3 * _NAND_F + 2 * _XOR_F) * ZIGZAG_VDD_V**2, delay,
                full_adders * (3 * _NAND_M2 + 2 * _XOR_M2))


@dataclass(frozen=True)
class Simulated:
    """Our tree at 45 nm: energies an operation by activity, the second without glitches; longest path."""

    energy_j: dict[float, float]
    glitchless_j: dict[float, float]
    delay_s: float
    area_m2: float


@cache
def simulated(lanes: int = LANES, bits: int = BITS) -> Simulated:
    """Timed simulation of the netlist on characterised cells, wires and short pulses included."""
    circuit, kit = adder_tree(lanes, bits), KITS[SIMULATED]
    library = cell_library(load_tables(TABLES / SIMULATED), corner="tt", temp_c=25.0, vdd_v=SIMULATED_VDD_V)
    around = surroundings(kit.geometry, kit.unit_s)
    net = compile_block(circuit, library, around.loads)
    pins_f = np.array([net.load_f[net.nets.index(name)] for name in circuit.inputs])
    energy: dict[float, float] = {}
    glitchless: dict[float, float] = {}
    for activity in ACTIVITIES:
        vectors = random_vectors(len(circuit.inputs), VECTORS, activity, SEED)
        rises = (vectors[1:] > vectors[:-1]).mean(axis=0)
        driven = float((rises * pins_f).sum()) * SIMULATED_VDD_V**2
        for found, zero_delay in ((energy, False), (glitchless, True)):
            run = timed_run(circuit, library, vectors, around.loads, input_slew_s=around.input_slew_s,
                            zero_delay=zero_delay)
            found[activity] = float(run.energy_j.sum(axis=1).mean()) + driven
    timing = static_timing(circuit, library, around.loads, input_slew_s=around.input_slew_s)
    return Simulated(energy, glitchless, timing.delay_s, block_area_m2(circuit, AREA_LIBRARY))


def _small_tree(tables: TableSet, vdd_v: float) -> tuple[float, float]:
    """(energy over VDD², delay) of the 4 × 8-bit tree that was simulated flat, half its input bits changing."""
    energy, delay = (tables[name] for name in ("adder_tree_energy_j", "adder_tree_delay_s"))
    return (float(energy.at(corner="tt", temp_c=25.0, vdd_v=vdd_v, lanes=4, bits=8, activity=0.5)) / vdd_v**2,
            float(delay.at(corner="tt", temp_c=25.0, vdd_v=vdd_v, lanes=4, bits=8)))


def ours() -> list[Tree]:
    """The simulated tree, and it carried to PTM's nodes by the ratio of the small trees simulated on both."""
    base = simulated()
    found = [Tree("ours", f"FreePDK45, {activity:.0%} of bits change", 45, SIMULATED_VDD_V, base.energy_j[activity],
                  base.delay_s, base.area_m2) for activity in ACTIVITIES]
    reference = _small_tree(load_tables(TABLES / SIMULATED), SIMULATED_VDD_V)
    for kit, (node_nm, vdd_v) in CARRIED.items():
        switched, delay_s = _small_tree(load_tables(TABLES / kit), vdd_v)
        found.append(Tree("ours", f"PTM {kit[-2:].upper()}", node_nm, vdd_v,
                          base.energy_j[0.5] * switched / reference[0] * (vdd_v / SIMULATED_VDD_V)**2,
                          base.delay_s * delay_s / reference[1], base.area_m2 * (node_nm / AREA_NODE_NM)**2))
    return found


def between(low: Tree, high: Tree, node_nm: int = TARGET_NM) -> Tree:
    """Two nodes of one model interpolated in the logarithm of the node; energy at the interpolated supply."""
    weight = math.log(node_nm / low.node_nm) / math.log(high.node_nm / low.node_nm)

    def mix(x: float, y: float) -> float:
        return math.exp((1 - weight) * math.log(x) + weight * math.log(y))

    vdd_v = mix(low.vdd_v, high.vdd_v)
    return Tree(low.tool, low.model, node_nm, vdd_v, mix(low.switched_f, high.switched_f) * vdd_v**2,
                mix(low.delay_s, high.delay_s), mix(low.area_m2, high.area_m2))


def trees() -> list[Tree]:
    """Every tool at every node that it knows, 28 nm interpolated, coarsest node first."""
    found = [*ours(), *(neurosim_tree(node) for node in NEUROSIM_NODES), zigzag_tree()]
    for tool, model in dict.fromkeys((t.tool, t.model) for t in found):
        ends = {t.node_nm: t for t in found if (t.tool, t.model) == (tool, model)}
        if {32, 22} <= set(ends):
            found.append(between(ends[22], ends[32]))
    return sorted(found, key=lambda t: (-t.node_nm, ("ours", "NeuroSim", "ZigZag").index(t.tool)))


def page() -> str:
    """The document."""
    every = trees()
    lines = [
        f"# How far tools disagree: a {LANES} × {BITS}-bit adder tree", "",
        "Made by `python tools/tool_disagreement.py`. One primitive by node: energy an operation, longest path, area "
        "of cells. E/VDD² takes the unequal supplies out of the energies; delays are at the supply shown. Nothing "
        "is fitted to another tool.", "",
        "| node (nm) | tool | model | VDD (V) | energy (pJ) | E/VDD² (pF) | delay (ns) | area (µm²) |",
        "|---:|---|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {t.node_nm} | {t.tool} | {t.model} | {t.vdd_v:.2f} | {t.energy_j / PICO:.2f} | "
              f"{t.switched_f / PICO:.2f} | {t.delay_s / NANO:.2f} | {t.area_m2 * 1e12:.0f} |" for t in every]
    lines += ["", "## Ratios", "",
              "Each tool over ours of the same node and class (HP to PTM HP, LSTP to PTM LP; ours with half of the "
              "input bits changing).", "",
              "| node (nm) | tool | over ours | E/VDD² | delay | area |", "|---:|---|---|---:|---:|---:|"]
    lines += [f"| {t.node_nm} | {t.tool} {t.model} | {r.model} | {t.switched_f / r.switched_f:.2f} | "
              f"{t.delay_s / r.delay_s:.2f} | {t.area_m2 / r.area_m2:.2f} |"
              for t in every for r in every if _comparable(t, r)]
    lines += [*_reasons(simulated()),
        "", "## Sources", "", *(f"- {source}" for source in SOURCES), "",
        "Both models are restated in our own symbols; no code of theirs is here. NeuroSim without load behind a sum, "
        "with step inputs, at 300 K, and without rounding its layout to whole rows; ZigZag with every input in use."]
    return "\n".join(lines) + "\n"


def _reasons(base: Simulated) -> list[str]:
    still, half = (base.energy_j[activity] / PICO for activity in ACTIVITIES)
    glitchless = base.glitchless_j[ACTIVITIES[1]] / PICO
    small, flat = simulated(4, 8), _small_tree(load_tables(TABLES / SIMULATED), SIMULATED_VDD_V)
    return [
        "", "## Why", "",
        "- **Data and glitches.** NeuroSim and ZigZag charge one energy whatever the operands. Ours follows them: "
        f"{still:.2f} pJ when a tenth of the input bits change, {half:.2f} pJ when half do (random words). "
        f"With cells that answer at once, so without glitches, it is {glitchless:.2f} pJ: glitches are "
        f"{1 - glitchless / half:.0%} of it, and neither other tool has them.",
        "- **Capacitance.** NeuroSim's full adder is nine NAND2 of minimum size with no wires, each bit charged the "
        "pattern of its critical path. ZigZag's is three NAND2 and two XOR2, all of whose capacitance (fitted to "
        "whole chips) swings once. Ours has the devices of the cells, short-circuit current and one cell pitch of "
        "wire a fan-out.",
        "- **Delay.** NeuroSim lets each level wait for the whole ripple of the level before and sums the levels. "
        "ZigZag and ours let carries overlap; ZigZag's gate delay is fitted to the clocks of whole chips, so it "
        "holds their margins. PTM's LP rows have higher supplies than NeuroSim's LSTP.",
        "- **Area.** NeuroSim counts NAND2s on its layout rules, ZigZag gates fitted to whole chips, ours the cells "
        "of the Nangate 45 nm library (other nodes: by the square of the node [inferred]).",
        "", "## How ours is made", "",
        f"{VECTORS - 1} operations of random vectors (seed {SEED}) through timed simulation on FreePDK45's pair "
        f"tables at {SIMULATED_VDD_V:g} V, tt, 25 °C; the tree's input pins are charged by C·VDD² of their rises. "
        f"Longest path: static. A 4 × 8-bit tree comes to {small.energy_j[0.5] / PICO:.3f} pJ and "
        f"{small.delay_s / NANO:.2f} ns this way; simulated flat, with the inverters that drive its inputs, to "
        f"{flat[0] / PICO:.3f} pJ and {flat[1] / NANO:.2f} ns. PTM rows [inferred]: the big tree times the ratio of "
        "4 × 8-bit trees simulated flat on both kits, half of the bits changing. 28 nm rows [inferred]: 22 and 32 nm "
        "of the same model interpolated in the logarithm of the node, supplies too; NeuroSim has no 28 nm, ZigZag "
        "nothing else."]


def _comparable(theirs: Tree, mine: Tree) -> bool:
    """Same node and class; ours with half of the bits changing."""
    if theirs.tool == "ours" or mine.tool != "ours" or theirs.node_nm != mine.node_nm:
        return False
    other = {"HP": "LP", "LSTP": "HP"}.get(theirs.model, "-")
    return not mine.model.endswith(other) and f"{ACTIVITIES[0]:.0%}" not in mine.model


def texts() -> dict[Path, str]:
    """The page, computed again."""
    return {PAGE: page()}


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
