"""The table of how far tools disagree: the page is the script's, and each model is right by hand or by simulation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from charlib.table import load_tables

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tool_disagreement", ROOT / "tools" / "tool_disagreement.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_writes(tool: ModuleType) -> None:
    assert (ROOT / "docs" / "disagreement.md").read_text(encoding="utf-8") == tool.page()


def test_zigzag_s_tree_is_what_its_package_gives(tool: ModuleType) -> None:
    """zigzag-dse 3.9.1, get_regular_adder_trees_energy(8, 64, 64) and its 1-bit costs: pJ, mm², ns."""
    found = tool.zigzag_tree()
    assert found.energy_j == pytest.approx(1.908522e-12, rel=1e-9)
    assert found.area_m2 == pytest.approx(0.0026867412e-6, rel=1e-9)
    assert found.delay_s == pytest.approx(2.50472e-9, rel=1e-9)


def test_neurosim_s_tree_by_hand(tool: ModuleType) -> None:
    """45 nm HP: widths of 180 and 105.8 nm, drains of 2.8 feature sizes, 9 NAND2 of 28 × 11.4 squares each."""
    pin, out, down, up, area = tool.neurosim_nand(tool.NEUROSIM_NODES[0])
    wide_n, wide_p, feature = 180e-9, 90e-9 * 1.27 / 1.08, 45e-9
    assert pin == pytest.approx((1.2 * 4.091305e-10 + 4.957928e-10) * (wide_n + wide_p))
    bottom = 1e-3 / (1 + 1 / 0.9)**0.5 * 2.8 * feature * (2 * wide_n + wide_p)
    side, edge = ((c / (1 + 1 / 0.9)**0.33) for c in (2.5e-10, 0.5e-10))
    assert out == pytest.approx(bottom + side * (8.4 * 2 * feature + wide_n) + edge * (wide_n + wide_p))
    assert (down, up) == (pytest.approx(2 * 1.54 / (1.27e3 * wide_n)), pytest.approx(1.54 / (1.08e3 * wide_p)))
    assert area == pytest.approx(28 * 11.4 * feature**2)
    two = tool.neurosim_tree(tool.NEUROSIM_NODES[0], 2, 2)
    assert two.energy_j == pytest.approx(27 * pin + 14 * out)
    assert two.area_m2 == pytest.approx(2 * 9 * area)


def test_neurosim_s_levels_wait_for_each_other(tool: ModuleType) -> None:
    node = tool.NEUROSIM_NODES[0]
    levels = [tool.neurosim_tree(node, 2, bits).delay_s for bits in range(8, 14)]
    assert tool.neurosim_tree(node).delay_s == pytest.approx(sum(levels))
    assert levels[1] - levels[0] == pytest.approx(levels[5] - levels[4])


def test_our_way_agrees_with_a_flat_tree(tool: ModuleType) -> None:
    """4 × 8 bits, half of the inputs changing: composed against simulated whole, both with what drives the inputs."""
    composed = tool.simulated(4, 8)
    flat = load_tables(tool.TABLES / "freepdk45")
    energy = float(flat["adder_tree_energy_j"].at(corner="tt", temp_c=25.0, vdd_v=1.0, lanes=4, bits=8, activity=0.5))
    delay = float(flat["adder_tree_delay_s"].at(corner="tt", temp_c=25.0, vdd_v=1.0, lanes=4, bits=8))
    assert composed.energy_j[0.5] == pytest.approx(energy, rel=0.15)
    assert 0.9 * delay < composed.delay_s < 1.3 * delay
    assert composed.glitchless_j[0.5] < composed.energy_j[0.5]


def test_interpolation_keeps_its_ends_and_the_switched_capacitance_between(tool: ModuleType) -> None:
    low, high = tool.neurosim_tree(tool.NEUROSIM_NODES[2]), tool.neurosim_tree(tool.NEUROSIM_NODES[1])
    for node_nm, end in ((22, low), (32, high)):
        found = tool.between(low, high, node_nm)
        assert (found.energy_j, found.delay_s) == (pytest.approx(end.energy_j), pytest.approx(end.delay_s))
    middle = tool.between(low, high, 28)
    assert low.switched_f < middle.switched_f < high.switched_f
    assert 0.85 < middle.vdd_v < 0.9
