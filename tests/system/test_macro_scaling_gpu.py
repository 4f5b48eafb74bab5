"""Scaling and its limits, the macro's clock and area, table choice, GPU rows."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from charlib.errors import BadInput
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import Table, TableSet, load_tables
from system.assumptions import constant
from system.blocks import EVENTS, cell_blocks, event
from system.circuit import Activity, MacroCircuit, technology
from system.design import under_mismatch
from system.gpu import gpu_rows, measurements
from system.macro import (
    SRAM_LEAKAGE,
    area,
    buffer_leakage,
    clock,
    density_kb_per_mm2,
    leakage,
    logic_cells,
)
from system.networks import build_network
from system.readings import Point, Reader
from system.scaling import FLAVOURS, energy_ratio, polynomials, scale
from system.structure import MacroStructure, macro_structure

FAN = macro_structure("fan2023")


def circuit(tables: TableSet, structure: MacroStructure = FAN, node_nm: int = 28) -> MacroCircuit:
    reader = Reader(Point("tt", 25.0, 0.8), tables, load_tables(shipped_tables_dir("freepdk45")), "freepdk45")
    return MacroCircuit(structure, reader, technology(node_nm, "HP", 0.8), Activity())


def test_scaling_at_0_9_v_brackets_the_published_points() -> None:
    """Interpolated energy lies between the fits it interpolates, and near the 0.53 and 0.49 reckoned by hand."""
    for flavour, near in zip(FLAVOURS, (0.53, 0.49), strict=True):
        fits = [polynomials(n, flavour).energy_at(0.9) / polynomials(45, flavour).energy_at(0.9) for n in (20, 32)]
        found = energy_ratio(flavour, 0.9)
        assert fits[0] < found < fits[1]
        assert found == pytest.approx(near, rel=0.1)


def test_scaling_refuses_where_delay_rises_with_vdd() -> None:
    assert polynomials(32, "HP").delay_slope(0.9) > 0
    with pytest.raises(BadInput, match=r"^vdd_v: 0\.9 V cannot be scaled from 45 to 28 nm: the 32 nm HP delay fit"):
        scale("HP", 0.9)
    with pytest.raises(BadInput, match=r"^vdd_v: 1 V cannot be scaled from 45 to 28 nm: the 45 nm HP delay fit"):
        scale("HP", 1.0)
    assert scale("HP", 1.0, 45, 45).energy == 1.0
    for flavour in FLAVOURS:
        ratio = scale(flavour, 0.8)
        assert 0.3 < ratio.energy < 0.7
        assert 0.3 < ratio.delay < 0.8


def test_scaling_refuses_unknown_nodes_and_flavours() -> None:
    with pytest.raises(BadInput, match=r"^node_nm: 45 or 28 is allowed, got 7$"):
        scale("HP", 0.8, 45, 7)
    with pytest.raises(BadInput, match=r"^scaling flavour: HP or LP is allowed, got 'XX'$"):
        scale("XX", 0.8)
    with pytest.raises(BadInput, match=r"^scaling: no fit for 28 nm HP; HP has \["):
        polynomials(28, "HP")


def test_clock_is_the_longest_path_and_scales(tables: TableSet) -> None:
    slow, fast = clock(circuit(tables, node_nm=45)), clock(circuit(tables))
    assert slow.cycle_s == max(slow.paths_s.values()) == slow.paths_s[slow.limited_by]
    assert fast.cycle_s == pytest.approx(slow.cycle_s * scale("HP", 0.8).delay, rel=1e-12)


def test_area_is_a_range_that_holds_the_nominal(tables: TableSet) -> None:
    for name in ("fan2023", "yan2022"):
        structure = macro_structure(name)
        found = area(circuit(tables, structure))
        assert found.low_m2 < found.total_m2 < found.high_m2
        assert sum(found.blocks_m2.values()) == pytest.approx(found.total_m2, rel=1e-12)
    assert density_kb_per_mm2(structure, 1e-6) == 32.0  # 32 Kb in 1 mm²


def test_density_against_the_ancestor(tables: TableSet) -> None:
    """The integer ancestor's 1067 Kb/mm² (32 Kb in 0.030 mm²) is nearer to our range than an order of magnitude."""
    found = area(circuit(tables, macro_structure("yan2022")))
    structure = macro_structure("yan2022")
    low, high = (density_kb_per_mm2(structure, a) for a in (found.high_m2, found.low_m2))
    assert low < 1067 * 1.5
    assert high > 1067 / 3


def test_generated_netlists_give_the_cell_counts(tables: TableSet) -> None:
    counted = Table.from_records(
        "block_cell_count", "1", {"block": "", "cell": ""},
        [{"block": "shift_accumulator_8", "cell": cell, "value": n, "run": "logic-model"}
         for cell, n in (("dff", 16), ("buffer", 2), ("full_adder", 0))], tables["dff_leakage_w"].origin)
    found = circuit(TableSet([*tables.values(), counted]))
    assert logic_cells(FAN, found)["shift_accumulator"] == {"dff": 16 * 32, "inv": 4 * 32}


@pytest.mark.parametrize("kit", [kit for kit in kits_with_tables()
                                 if (shipped_tables_dir(kit) / "composed_cell_count.json").is_file()])
def test_a_bit_leaks_alike_in_array_and_buffer(kit: str) -> None:
    """One source, the kit's own 6T cell; arrays have their periphery simulated, the buffer's is a stated factor."""
    shipped = load_tables(shipped_tables_dir(kit))
    vdd_v = float(shipped["bitcell_leakage_w"].axis("vdd_v").points[0])
    reader = Reader(Point("tt", 25.0, vdd_v), None, shipped, kit)
    for choice in ("low", "nominal", "high"):
        own = MacroCircuit(FAN, reader, technology(45, "HP", vdd_v, choice), Activity())
        (array, *_), bits = leakage(own), 1 << 20
        buffer_w = sum(t.value for t in buffer_leakage(own, bits)) / bits
        cell_w = sum(reader.read("bitcell_leakage_w", stored=stored).value for stored in "01") / 2
        assert buffer_w == pytest.approx(cell_w * constant("buffer_periphery_leakage").pick(choice), rel=1e-12)
        assert array.reading.source == "compartment_leakage_w"
        if choice == "nominal":
            assert array.value / FAN.capacity_bit == pytest.approx(buffer_w, rel=0.15)


def test_mismatch_raises_the_leakage_of_all_sram_alike(tables: TableSet) -> None:
    own = circuit(tables)
    for watts in (leakage(own), buffer_leakage(own, 1024)):
        for before, after in zip(watts, under_mismatch(watts, 1.5), strict=True):
            assert after.value == pytest.approx(before.value * (1.5 if before.reading.source in SRAM_LEAKAGE else 1))


def test_leakage_is_positive_and_sourced(tables: TableSet) -> None:
    terms = leakage(circuit(tables))
    assert all(t.value > 0 and t.reading.run_ids for t in terms)


def test_every_macro_event_has_energy(tables: TableSet) -> None:
    found = circuit(tables)
    for name, known in EVENTS.items():
        if known.boundary == "macro_only" and name != "busy_leakage":
            assert sum(t.value for t in found.event_terms(name, "forward")) > 0, name
    with pytest.raises(BadInput, match=r"^event 'magic': no block pays for it; known are "):
        event("magic")


def test_every_cell_block_is_fired_by_an_event() -> None:
    blocks = {known.block for known in EVENTS.values()}
    assert set(cell_blocks(FAN)) <= blocks


def test_structure_is_checked() -> None:
    with pytest.raises(BadInput, match=r"^read_policy: hold or reread is allowed, got 'x'$"):
        replace(FAN, read_policy="x")
    with pytest.raises(BadInput, match=r"^Macro 'fan2023': columns must hold whole words of 16 bits, got 60$"):
        replace(FAN, columns=60)
    with pytest.raises(BadInput, match=r"^activity: toggle must lie in \[0, 1\], got 2$"):
        Activity(toggle=2)
    with pytest.raises(BadInput, match=r"^constant 'x': not known; known are "):
        constant("x")


def test_fresh_tables_win_where_they_cover(tables: TableSet) -> None:
    shipped = TableSet([replace(t, origin=replace(t.origin, status="shipped")) for t in tables.values()])
    fresh = TableSet([tables["dff_leakage_w"]])
    reader = Reader(Point("tt", 25.0, 0.8), fresh, shipped, "freepdk45")
    assert reader.read("dff_leakage_w").status == "fresh"
    assert reader.read("dff_delay_s", metric="setup").status == "shipped"
    hot = Reader(Point("tt", 85.0, 0.8), fresh, None, "freepdk45")
    with pytest.raises(BadInput, match=r"temp_c spans \[25, 25\]"):
        hot.read("dff_leakage_w")
    command = "himc characterize --pdk freepdk45 --corner tt --temp-c 85 --vdd-v 0.8 --out tables-freepdk45"
    with pytest.raises(BadInput, match=r"^Table 'dff_delay_s': not in the tables given, and nothing is guessed "
                                       rf"in its place; run '{command}' to make it, then give --tables tables-free"):
        hot.read("dff_delay_s", metric="setup")


def test_gpu_headline_is_a_range_of_scaled_rows() -> None:
    rows = gpu_rows("rtx3060", build_network("mobilenet_v1"), 64)
    times = [row.time_s_per_image for row in rows if row.headline]
    assert 0.5e-3 < min(times) < max(times) < 10e-3
    roofline = next(r for r in rows if r.time_source == "compute_roofline" and r.precision == "fp32")
    assert roofline.time_s_per_image == pytest.approx(0.266e-3, rel=2e-3)  # FP32 peak, by hand
    assert roofline.energy_j_per_image == pytest.approx(45e-3, rel=6e-3)
    assert not roofline.headline
    with pytest.raises(BadInput, match=r"^gpu: 'rtx9' does not exist; choose rtx3060 or rtx3070 or "):
        gpu_rows("rtx9", build_network("mobilenet_v1"), 1)


def test_input_bound_rows_give_no_time() -> None:
    assert all(m.use != "time" for m in measurements() if m.utilisation is not None and m.utilisation < 0.8)


def test_the_claimed_density_is_in_the_record_of_claims_only() -> None:
    root = Path(str(resources.files("system")))
    holders = {p.name for p in root.rglob("*") if p.suffix in (".py", ".json", ".csv") and "769.2" in p.read_text()}
    assert holders == {"claims.json"}
    claims = json.loads((root / "data" / "claims.json").read_text())["claims"]
    assert {c["name"] for c in claims} >= {"energy_saving_fraction", "time_saving_fraction", "density_kb_per_mm2"}
