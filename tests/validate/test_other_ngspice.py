"""Every bench kind on another ngspice: 45.2 with KLU in WebAssembly must give the measures of the live engine.

Tolerance 0.5 % of each measure, without a floor: none is needed, even for attojoules. Found on ngspice 39 (FreePDK45,
tt, 25 °C, 0.8 V): dynamic measures to 1e-5 where the time step is fine enough; leakage to 0.12 %, since a conducting
nMOS has 1.2 % more gate tunnelling in 45.2. Where the two simulators choose other time steps, measures differ by what
the step is worth: 0.2 % in the accumulator's delay; in the compartment, 0.5 % for drivers and 1.7 % for the 2.7 aJ of
its compute wire. The compartment is therefore compared at half its step, where 0.1 % is left.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlib.benches import BENCHES
from charlib.benches.base import Point
from charlib.errors import BadInput, SimulationFailed
from charlib.pdk import load_pdk
from charlib.spice import Deck, OperatingPoint, Transient
from charlib.spice.node_ngspice import NodeNgspiceEngine, package_dir

TOLERANCE = 5e-3
PVT: Mapping[str, Any] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8}
CELL: Mapping[str, Any] = {"slew_s": 1e-11, "load_f": 1e-15}
MISMATCH: Mapping[str, Any] = {"seed": 1, "sample": 0}
#: (kind, structure, what its greatest time step is multiplied by), from small to heavy
CASES: tuple[tuple[str, Mapping[str, Any], float], ...] = (
    ("cell_leakage", {"cell": "inv"}, 1.0),
    ("bitcell_leakage", {}, 1.0),
    ("bitcell_snm", {"mode": "hold"}, 1.0),
    ("bitcell_snm", {"mode": "read"}, 1.0),
    ("bitcell_mismatch", {"metric": "read_snm", **MISMATCH}, 1.0),
    ("bitcell_mismatch", {"metric": "write", **MISMATCH}, 1.0),
    ("bitcell_write_margin", {}, 1.0),
    ("cell", {"cell": "inv", **CELL}, 1.0),
    ("cell", {"cell": "full_adder", **CELL}, 1.0),
    ("cell_arc", {"cell": "nand2", **CELL}, 1.0),
    ("cell_pair", {"cell": "inv", "ramp": 0.6, "fan_out": 4.0}, 1.0),
    ("cell_pulse", {"cell": "inv", "ramp": 0.5, "fan_out": 4.0, "separation": 1.5}, 1.0),
    ("block_flat", {"block": "leading_zeros_2", "count": 2}, 1.0),
    ("adder_tree", {"lanes": 2, "bits": 2, "activity": 0.5}, 1.0),
    ("bitcell_access", {"rows": 2}, 1.0),
    ("flip_flop", {}, 1.0),
    ("clock_leaf", {}, 1.0),
    ("shift_accumulator", {"bits": 2, "activity": 0.5}, 1.0),
    ("compartment_mismatch", {"rows": 2, "columns": 4, **MISMATCH}, 0.5),
    ("compartment", {"rows": 2, "columns": 4, "operation": "and", "read_policy": "reread"}, 0.5),
)
needs_package = pytest.mark.skipif(
    not package_dir().is_dir(), reason=f"the npm package eecircuit-engine is not in {package_dir()}")


def finer(deck: Deck, factor: float) -> Deck:
    """The deck with its greatest time step multiplied."""
    if not isinstance(deck.analysis, Transient):
        return deck
    return replace(deck, analysis=replace(deck.analysis, max_step_s=factor * deck.analysis.max_step_s))


def test_every_bench_kind_is_compared() -> None:
    assert {kind for kind, _, _ in CASES} == set(BENCHES)


@needs_package
@pytest.mark.validate
@pytest.mark.ngspice
@pytest.mark.parametrize(("kind", "structure", "factor"), CASES)
def test_another_ngspice_gives_the_same_measures(kind: str, structure: Mapping[str, Any], factor: float) -> None:
    from charlib.spice.live import LiveEngine

    bench, pdk = BENCHES[kind], load_pdk("freepdk45")
    point: Point = bench.point_type(**PVT, **structure)
    deck = finer(bench.deck(pdk, point), factor)
    live = bench.measure(pdk, point, LiveEngine().run(deck))
    other = bench.measure(pdk, point, NodeNgspiceEngine().run(deck))
    assert other == pytest.approx(live, rel=TOLERANCE, abs=0)


@needs_package
@pytest.mark.validate
@pytest.mark.parametrize(("body", "said"), [
    ("v1 in 0 1\nx1 in b nosuch\nr1 in out 1\n", "nosuch"),
    ("v1 in 0 1\nm1 in in 0 0 nomodel\nr1 in out 1\n", "nomodel"),
    ("v1 in 0 1\nr1 in b 1\n", "v(out)"),
])
def test_a_bad_deck_is_a_failure_that_says_why(body: str, said: str) -> None:
    deck = Deck("bad", body, 25.0, OperatingPoint(), save=("v(in)", "v(out)"))
    with pytest.raises(SimulationFailed) as caught:
        NodeNgspiceEngine().run(deck)
    assert said in caught.value.reason + caught.value.log_tail
    assert caught.value.deck_text.startswith("* bad\n")


@needs_package
@pytest.mark.validate
def test_a_compatibility_mode_is_set_before_the_deck_is_read() -> None:
    body = "* ngspice needs: set ngbehavior=hsa\nv1 in 0 1\nr1 in 0 1\n"
    deck = Deck("mode", body, 25.0, OperatingPoint(), save=("v(in)",))
    assert any("Compatibility modes selected: hs a" in line for line in NodeNgspiceEngine().run(deck).log)
    plain = replace(deck, body=body.partition("\n")[2])
    assert any("No compatibility mode selected" in line for line in NodeNgspiceEngine().run(plain).log)


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^eecircuit-engine: '.*' holds no dist/eecircuit-engine\.mjs; "
                                       r"unpack the npm package there or set HIMC_EECIRCUIT$"):
        NodeNgspiceEngine(tmp_path, node=sys.executable)


def test_the_package_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HIMC_EECIRCUIT", raising=False)
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path))
    assert package_dir() == tmp_path / "npm" / "eecircuit-engine-1.8.0"
    monkeypatch.setenv("HIMC_EECIRCUIT", "/elsewhere")
    assert package_dir() == Path("/elsewhere")
