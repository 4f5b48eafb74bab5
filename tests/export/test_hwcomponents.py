"""The models for hwcomponents: their numbers through a stand-in of its base class, and its own reader where it is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charlib.benches.compartment import LINES
from charlib.errors import BadInput
from charlib.export import Request, render
from charlib.table import TableSet

TYPICAL: dict[str, Any] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0}
AREAS_UM2 = {"dff": 4.522, "half_adder": 2.66, "full_adder": 4.256, "inv": 0.532, "nand2": 0.798, "xor2": 1.596}


class ActionCost:
    """As hwcomponents 1.0 has it: energy in J, latency in s, throughput in 1/s."""

    def __init__(self, energy: float, latency: float, throughput: float) -> None:
        self.energy, self.latency, self.throughput = energy, latency, throughput


class ComponentModel:
    """The constructor of hwcomponents' base class, no more."""

    def __init__(self, leak_power: float | None = None, area: float | None = None) -> None:
        if leak_power is None or area is None:
            raise ValueError("BOTH leak_power and area must be set")
        self.leak_power, self.area = leak_power, area


@pytest.fixture
def models(small: TableSet, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    return loaded(small, monkeypatch, Request(areas_um2=AREAS_UM2))


def loaded(tables: TableSet, monkeypatch: pytest.MonkeyPatch, request: Request) -> dict[str, Any]:
    """The names that the exported module defines."""
    stand_in: Any = types.ModuleType("hwcomponents")
    stand_in.ActionCost, stand_in.ComponentModel, stand_in.action = ActionCost, ComponentModel, lambda method: method
    monkeypatch.setitem(sys.modules, "hwcomponents", stand_in)
    text = render("hwcomponents", tables, request)
    found: dict[str, Any] = {"__name__": "models"}
    exec(compile(text, "models.py", "exec"), found)
    return found


def at(tables: TableSet, name: str, **where: Any) -> float:
    own = {axis.name for axis in tables[name].axes}
    return float(tables[name].at(**{k: v for k, v in TYPICAL.items() if k in own}, **where))


def cost_of(cost: Any) -> tuple[float, float, float]:
    return cost.energy, cost.latency, cost.throughput


def test_the_bitcell(models: dict[str, Any], small: TableSet) -> None:
    cell = models["HimcBitcell"]()
    for action, delay in (("read", "read_full_swing"), ("write_flip", "write"), ("write_same", "write")):
        delay_s = at(small, "bitcell_delay_s", rows=16, operation=delay)
        assert cost_of(getattr(cell, action)()) == pytest.approx(
            (at(small, "bitcell_energy_j", rows=16, operation=action), delay_s, 1 / delay_s), rel=1e-9)
    leak_w = (at(small, "bitcell_leakage_w", stored="0") + at(small, "bitcell_leakage_w", stored="1")) / 2
    assert cell.leak_power == pytest.approx(leak_w, rel=1e-9)
    assert cell.area == pytest.approx(0.705e-6 * 1.345e-6, rel=1e-9)
    assert models["HimcBitcell"](area=2e-12).area == 2e-12


@pytest.mark.parametrize("policy", ["hold", "reread"])
def test_the_compartment_sums_its_lines(models: dict[str, Any], small: TableSet, policy: str) -> None:
    whole = sum(at(small, "compartment_energy_j", rows=4, columns=4, read_policy=policy, operation="xor", stored=s,
                   input=i, line=line) for s in "01" for i in "01" for line in LINES if line != "leakage") / 4
    cycle_s = at(small, "compartment_delay_s", rows=4, columns=4, phase="cycle")
    model = models["HimcCompartment"](rows=4, area=1e-9)
    assert cost_of(model.compute("xor", policy)) == pytest.approx((whole, cycle_s, 1 / cycle_s), rel=1e-9)
    assert model.leak_power == pytest.approx(at(small, "compartment_leakage_w", rows=4, columns=4), rel=1e-9)
    with pytest.raises(ValueError, match=r"^operation, read_policy: 'nand', 'hold' was not simulated$"):
        model.compute("nand", "hold")


def test_a_simulated_tree(models: dict[str, Any], small: TableSet) -> None:
    tree = models["HimcAdderTree"](lanes=4, bits=8)
    low, high = (at(small, "adder_tree_energy_j", lanes=4, bits=8, activity=p) for p in (0.1, 0.5))
    assert tree.add(0.2).energy == pytest.approx(0.75 * low + 0.25 * high, rel=1e-9)
    assert tree.add(0.5).latency == pytest.approx(at(small, "adder_tree_delay_s", lanes=4, bits=8), rel=1e-9)
    counts = {cell: at(small, "block_cell_count", block="adder_tree_4x8", cell=cell)
              for cell in ("inv", "nand2", "xor2", "half_adder", "full_adder")}
    leak_w = sum(count * at(small, "cell_leakage_w", cell=cell) for cell, count in counts.items())
    assert tree.leak_power == pytest.approx(leak_w, rel=1e-9)
    assert tree.area == pytest.approx(sum(n * AREAS_UM2[cell] for cell, n in counts.items()) * 1e-12, rel=1e-9)
    with pytest.raises(ValueError, match=r"^activity: 0\.6 is outside 0\.1\.\.0\.5$"):
        tree.add(0.6)


def test_a_larger_tree_is_toggles_times_energy_and_wants_its_latency(models: dict[str, Any], small: TableSet) -> None:
    toggles = at(small, "adder_tree_toggles_per_op", lanes=16, bits=8, activity=0.5)
    tree = models["HimcAdderTree"](lanes=16, bits=8, latency=1e-9)
    assert toggles > 0
    assert tree.add(0.5).energy == pytest.approx(toggles * at(small, "adder_tree_toggle_j"), rel=1e-9)
    with pytest.raises(ValueError, match=r"^latency: it was not simulated; give latency$"):
        models["HimcAdderTree"](lanes=16, bits=8)
    with pytest.raises(ValueError, match=r"^lanes, bits: \(5, 5\) was not simulated; known are \[\(2, 4\), "):
        models["HimcAdderTree"](lanes=5, bits=5)


def test_the_flip_flop(models: dict[str, Any], small: TableSet) -> None:
    model = models["HimcFlipFlop"]()
    clock_j, data_j = (at(small, "dff_energy_j", event=event) for event in ("clock_internal", "data"))
    latency_s = sum(at(small, "dff_delay_s", metric=metric) for metric in ("clock_to_q", "setup"))
    assert cost_of(model.clock_quiet()) == pytest.approx((clock_j, latency_s, 1 / latency_s), rel=1e-9)
    assert model.clock_toggle().energy == pytest.approx(clock_j + data_j, rel=1e-9)
    assert model.leak_power == pytest.approx(at(small, "dff_leakage_w"), rel=1e-9)
    assert model.area == pytest.approx(4.522e-12)


def test_an_area_that_nobody_measured_is_asked_for(small: TableSet, monkeypatch: pytest.MonkeyPatch) -> None:
    models = loaded(small, monkeypatch, Request())
    tree = {"lanes": 4, "bits": 8}
    for name, structure in (("HimcFlipFlop", {}), ("HimcCompartment", {}), ("HimcAdderTree", tree)):
        with pytest.raises(ValueError, match=r"^area: it was not simulated; give area$"):
            models[name](**structure)
        assert models[name](**structure, area=3e-12).area == 3e-12


def test_models_without_tables_are_left_out(build: Callable[..., TableSet], monkeypatch: pytest.MonkeyPatch) -> None:
    models = loaded(build(lacking=("dff_energy_j", "adder_tree_toggle_j")), monkeypatch, Request())
    assert [name for name in models if name.startswith("Himc")] == ["HimcBitcell", "HimcCompartment"]
    assert "Left out: FLIP_FLOP, table dff_energy_j is not in t." in models["__doc__"]
    alone = TableSet([build()["cell_energy_j"]], "t")
    with pytest.raises(BadInput, match=r"^format: 'hwcomponents' finds no model: BITCELL, table bitcell_energy_j, "):
        render("hwcomponents", alone, Request())


_READ = """
import hwcomponents as h, json, sys
models = h.get_models(sys.argv[1], include_installed=False)
def cost(name, given, action, **words):
    found = h.get_action_cost(name, given, action, words, models=models)
    return [found.energy, found.latency, found.throughput]
print(json.dumps({
    "names": sorted(model.__name__ for model in models),
    "read": cost("himc_sram_6t", {}, "read"), "area": h.get_area("himc_bitcell", {}, models=models),
    "leak": h.get_leak_power("himc_bitcell", {}, models=models),
    "compute": cost("himc_compartment", {"area": 1e-9}, "compute", operation="xor", read_policy="hold"),
    "add": cost("himc_adder_tree", {"lanes": 4, "bits": 8, "area": 1e-9}, "add", activity=0.5),
    "toggle": cost("himc_flip_flop", {"area": 1e-12}, "clock_toggle"),
}))
"""


def _interpreter() -> str:
    """A Python that has hwcomponents: this one, or that of $HIMC_HWCOMPONENTS_PYTHON (it needs 3.12)."""
    other = os.environ.get("HIMC_HWCOMPONENTS_PYTHON")
    if other is None and importlib.util.find_spec("hwcomponents") is None:
        pytest.skip("hwcomponents is not installed; 'pip install hwcomponents' needs Python 3.12, name another "
                    "interpreter in HIMC_HWCOMPONENTS_PYTHON")
    return other or sys.executable


@pytest.mark.validate
def test_its_own_reader_accepts_the_file(shipped: TableSet, tmp_path: Path) -> None:
    python, file = _interpreter(), tmp_path / "himc_models.py"
    file.write_text(str(render("hwcomponents", shipped, Request())), encoding="utf-8")
    done = subprocess.run([python, "-c", _READ, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["names"] == ["HimcAdderTree", "HimcBitcell", "HimcCompartment", "HimcFlipFlop"]
    assert got["read"][0] == pytest.approx(at(shipped, "bitcell_energy_j", rows=16, operation="read"), rel=1e-9)
    assert got["read"][1] == pytest.approx(at(shipped, "bitcell_delay_s", rows=16, operation="read_full_swing"),
                                           rel=1e-9)
    assert got["area"] == pytest.approx(0.705e-6 * 1.345e-6, rel=1e-9)
    assert got["leak"] == pytest.approx(sum(at(shipped, "bitcell_leakage_w", stored=s) for s in "01") / 2, rel=1e-9)
    compute_j = sum(at(shipped, "compartment_energy_j", rows=16, columns=4, read_policy="hold", operation="xor",
                       stored=s, input=i, line=line) for s in "01" for i in "01" for line in LINES
                    if line != "leakage") / 4
    assert got["compute"][0] == pytest.approx(compute_j, rel=1e-9)
    assert got["add"][0] == pytest.approx(at(shipped, "adder_tree_energy_j", lanes=4, bits=8, activity=0.5), rel=1e-9)
    toggle_j = sum(at(shipped, "dff_energy_j", event=event) for event in ("clock_internal", "data"))
    assert got["toggle"][0] == pytest.approx(toggle_j, rel=1e-9)
