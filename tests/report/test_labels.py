"""What a page says of kit, node, supply, limits and what was rerun comes from the record, whatever the kit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from charlib.errors import BadInput
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.pdk import KITS
from charlib.table import load_tables
from system.assumptions import constant
from system.design import evaluate, make_reader
from system.options import EstimateOptions
from system.report import simulate
from system.report.characterisation import characterisation_record, held_at
from system.report.limits import limits
from system.report.simulate import cannot_simulate, refuse_early
from system.report.view import sections
from system.trace_entries import area

SHIPPED = ("freepdk45", "sky130", "ptm45hp", "ptm32hp", "ptm32lp", "ptm22hp", "ptm22lp", "ptm16hp")
NODES = {"freepdk45": 45, "sky130": 130}


@pytest.mark.parametrize("kit", SHIPPED)
def test_a_caption_says_the_kit_and_the_point_that_were_drawn(kit: str) -> None:
    tables = load_tables(shipped_tables_dir(kit))
    node = NODES.get(kit) or int(re.findall(r"\d+", kit)[0])
    found = {figure["id"]: figure["note"] for figure in characterisation_record(tables, tables)["figures"]}
    assert {"compartment_lines", "adder_tree_activity" if kit == "freepdk45" else "cell_energy"} <= set(found)
    for name, note in found.items():
        assert f"{kit}, {node} nm" in note, name
    supplies = tables["cell_energy_j"].axis("vdd_v").points
    said = re.search(r"nm, ([\d.]+) V", found["cell_energy"])
    assert said is not None
    assert float(said[1]) in supplies
    if 0.8 not in supplies:
        assert "0.8 V" not in " ".join(found.values())


def test_tables_held_at_two_points_are_each_said() -> None:
    first, second = (load_tables(shipped_tables_dir(kit))["cell_energy_j"] for kit in ("freepdk45", "sky130"))
    assert re.fullmatch(r"freepdk45, 45 nm, 0\.8 V, corner tt, 25 °C; sky130, 130 nm, 1\.\d+ V, corner tt, 25 °C",
                        held_at([first, second]))


@pytest.mark.parametrize(("kit", "node_nm", "projection", "said", "unsaid"), [
    ("freepdk45", 28, "stillmaker_baas", "28 nm is reached from 45 nm by published scaling", "Tables of"),
    ("freepdk45", 45, "stillmaker_baas", "No silicon stands behind FreePDK45", "28 nm"),
    ("sky130", 45, "stillmaker_baas", "fitted to its 130 nm silicon", "No silicon stands behind"),
    ("mine/pdk.toml", 28, "stillmaker_baas", "its maker's to say", "FreePDK45"),
    ("freepdk45", 28, "ptm", "between PTM's 32 and 22 nm", "scaling equations")])
def test_limits_are_those_of_the_kit_and_node(kit: str, node_nm: int, projection: str, said: str, unsaid: str
                                              ) -> None:
    found = " ".join(limits({"origin": {"pdk": kit, "pdk_node_nm": NODES.get(kit),
                                        "options": {"projection": projection}}, "macro": {"node_nm": node_nm}}))
    assert said in found
    assert unsaid not in found


def test_each_block_s_area_names_its_own_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("system.readings.kits_with_tables", kits_with_tables)
    options = EstimateOptions()
    entries = area(evaluate(options, make_reader(options)))
    assert len({entry.table for entry in entries}) == len(entries)  # a citation a line where they are listed by table
    cited = {entry.block: entry.citation for entry in entries}
    adder, flip_flop = (constant(f"area_{cell}_45_m2").citation for cell in ("full_adder", "dff"))
    assert flip_flop in cited["compartment_flip_flops"]
    assert adder not in cited["compartment_flip_flops"]
    assert cited["compartment_flip_flops"].startswith("512 dff: ")
    assert constant("area_inv_45_m2").citation in cited["wordline_drivers"]
    assert adder not in cited["wordline_drivers"]
    assert adder in cited["adder_tree"]
    assert "zigzag" not in cited["bitcells"]
    assert constant("rlpu_transistor_to_cell").citation in cited["column_periphery"]


@pytest.mark.parametrize("kit", KITS)
def test_every_catalogued_kit_runs_at_its_own_supply_or_says_what_to_do(kit: str) -> None:
    """Presets hold shares of a kit's nominal supply; a node that cannot be scaled is said before any simulation."""
    asked = EstimateOptions(pdk=kit, node_nm=45, vdd_v=KITS[kit].nominal_vdd_v)
    reason = cannot_simulate(kit)
    if reason is None or simulate.shipped_tables(kit) is not None:
        refuse_early(asked, "quick", None)
    else:
        with pytest.raises(BadInput, match=rf"^pdk: .*{kit}.*, and no tables of '{kit}' travel with the package; "):
            refuse_early(asked, "quick", None)
    least, most = (share * KITS[kit].nominal_vdd_v for share in (0.8, 1.0))
    with pytest.raises(BadInput, match=rf"^vdd_v: preset 'quick' characterises {kit} at {least:g} to {most:g}, got "):
        refuse_early(EstimateOptions(pdk=kit, node_nm=45, vdd_v=3.0), "quick", None)


@pytest.mark.parametrize("kit", ["sky130", "sky130_models", "ptm22hp", "ptm16hp"])
def test_a_node_that_cannot_be_scaled_is_refused_before_anything_is_simulated(kit: str) -> None:
    with pytest.raises(BadInput, match=rf"^pdk: the tables of {kit} are of \d+ nm, scaling to 28 nm starts at 45 nm; "
                                       "ask for --node-nm 45"):
        refuse_early(EstimateOptions(pdk=kit, vdd_v=KITS[kit].nominal_vdd_v), "quick", None)


def test_a_supply_that_cannot_be_scaled_is_refused_before_anything_is_simulated() -> None:
    with pytest.raises(BadInput, match=r"^vdd_v: 1 V cannot be scaled from 45 to 28 nm"):
        refuse_early(EstimateOptions(vdd_v=1.0), "quick", None)


def test_each_section_says_what_was_not_rerun(record: dict[str, Any]) -> None:
    def said() -> dict[str, str]:
        return {part.key: next((s for s in part.sentences if s.startswith("Not rerun")), "")
                for part in sections(record)}

    assert said()["energy"] == said()["training"] == ""
    assert said()["gpu"] == ("Not rerun for this page: rows are cited from publications; no card was measured.")
    used = record["estimate"]["origin"]["tables"]
    used[0]["status"] = "shipped"
    record["training"]["status"] = "cached"
    found = said()
    assert found["claims"] == found["chip"] == (f"Not rerun for this page: 1 of {len(used)} tables behind these "
                                                f"figures are shipped ones ({used[0]['name']}).")
    assert "earlier run" in found["training"]
    for table in used:
        table["status"] = "shipped"
    assert said()["energy"] == (f"Not rerun for this page: all {len(used)} tables behind these figures are shipped "
                                "ones.")
