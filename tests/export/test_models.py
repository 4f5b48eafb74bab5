"""Exports for other tools: their keys, and each number back to the table value that it was made from."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from charlib.errors import BadInput
from charlib.export import FORMATS, Reader, Request, render, typical_point
from charlib.export.kit import bitcell_multiples
from charlib.export.neurosim import parameters
from charlib.export.zigzag import tech_param
from charlib.pdk import KITS
from charlib.pdk.model import Pdk
from charlib.table import TableSet

TYPICAL: dict[str, Any] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0}
TECH_PARAM_KEYS = ["tech_node", "vdd", "nd2_cap", "wl_cap", "bl_cap", "xor2_cap", "dff_cap", "nd2_area", "xor2_area",
                   "dff_area", "nd2_dly", "xor2_dly", "dff_dly"]
NEUROSIM_MEMBERS = [
    "memcelltype", "accesstype", "cellBit", "technode", "wireWidth", "featuresize", "temp", "clkFreq",
    "numRowSubArray", "numColSubArray", "heightInFeatureSizeSRAM", "widthInFeatureSizeSRAM", "widthSRAMCellNMOS",
    "widthSRAMCellPMOS", "widthAccessCMOS", "minSenseVoltage", "wireLengthRow", "wireLengthCol",
    "unitLengthWireResistance", "wireResistanceRow", "wireResistanceCol",
]
AREAS_UM2 = {"nand2": 0.798, "xor2": 1.596, "dff": 4.522, "half_adder": 2.66, "full_adder": 4.256, "inv": 0.532}


def text_of(name: str, tables: TableSet, request: Request = Request()) -> str:  # noqa: B008
    content = render(name, tables, request)
    assert isinstance(content, str)
    return content


def reader(tables: TableSet, **point: Any) -> Reader:
    return Reader(tables, typical_point(tables, **point))


def renamed(tables: TableSet, pdk: str) -> TableSet:
    """The same tables as if of another kit."""
    return TableSet([replace(t, origin=replace(t.origin, pdk=pdk)) for t in tables.values()], tables.where)


# --- operating point and header ---------------------------------------------------------------------------------

def test_the_typical_point_is_tt_room_and_nominal(small: TableSet, shipped: TableSet) -> None:
    assert vars(typical_point(small)) == TYPICAL
    assert vars(typical_point(shipped)) == TYPICAL
    assert vars(typical_point(small, "ss", 125.0, 0.8)) == {"corner": "ss", "temp_c": 125.0, "vdd_v": 0.8}
    sky = renamed(small, "sky130")  # nominal 1.8 V is not covered
    assert typical_point(sky).vdd_v == 1.0
    with pytest.raises(BadInput, match=r"^corner: 'sf' is not in the tables; they have ss, tt$"):
        typical_point(small, "sf")
    with pytest.raises(BadInput, match=r"^tables: none in t has the axes corner, temp_c and vdd_v"):
        typical_point(TableSet([small["block_cell_count"]], "t"))


@pytest.mark.parametrize("name", ["hwcomponents", "zigzag", "neurosim"])
def test_the_header_states_point_and_origin(small: TableSet, name: str) -> None:
    head = "\n".join(text_of(name, small, Request(corner="ss", temp_c=125.0, vdd_v=0.8)).splitlines()[:5])
    assert "Operating point: corner ss, 125 °C, 0.8 V." in head
    assert f"Kit freepdk45, cards sha256 {'ab' * 32}." in head
    assert "Engine ngspice-39; revision abc123; tables fresh." in head


def test_a_derived_corner_says_so(small: TableSet) -> None:
    tables = TableSet([replace(t, origin=replace(t.origin, derived={"ss": "derived: shifted"}))
                       for t in small.values()])
    assert "# Corner ss is derived: shifted." in text_of("zigzag", tables, Request(corner="ss"))
    assert "derived" not in text_of("zigzag", tables)


@pytest.mark.parametrize("name", [name for name, each in FORMATS.items() if each.model])
def test_a_model_takes_all_tables(small: TableSet, name: str) -> None:
    with pytest.raises(BadInput, match=rf"^table: 'dff_energy_j' cannot be exported alone as {name}, "):
        render(name, small, Request(table="dff_energy_j"))


def test_bad_requests(small: TableSet) -> None:
    with pytest.raises(BadInput, match=r"^format: 'nix' is unknown; known are csv, parquet, netcdf, json, liberty, "):
        render("nix", small, Request())
    with pytest.raises(BadInput, match=r"^area: 'dff=0' must be above 0 µm²$"):
        Request(areas_um2={"dff": 0.0})
    with pytest.raises(BadInput, match=r"^node_nm: above 0 and below 1e5 is allowed, got -1$"):
        Request(node_nm=-1)
    two = TableSet([*small.values(), replace(small["dff_energy_j"], name="other", origin=replace(
        small["dff_energy_j"].origin, pdk="sky130"))], "t")
    with pytest.raises(BadInput, match=r"^tables: t comes from the kits freepdk45, sky130; export one "):
        render("zigzag", two, Request())
    with pytest.raises(BadInput, match=r"vdd_v spans \[0\.8, 1\] V, asked for 2 V"):
        render("zigzag", small, Request(vdd_v=2.0))


@pytest.mark.parametrize("name", ["hwcomponents", "zigzag", "neurosim"])
def test_a_missing_reading_is_refused_by_name(build: Callable[..., TableSet], name: str) -> None:
    tables = build()
    read = {"zigzag": "dff_delay_s", "neurosim": "compartment_delay_s", "hwcomponents": "dff_leakage_w"}[name]
    table = tables[read]
    index = tuple(axis.points.index(TYPICAL[axis.name]) if axis.name in TYPICAL else slice(None)
                  for axis in table.axes)
    values, runs = table.values.copy(), table.runs.copy()
    values[index], runs[index] = float("nan"), ""
    holed = TableSet([replace(t, values=values, runs=runs) if t.name == read else t for t in tables.values()], "t")
    with pytest.raises(BadInput, match=rf"^Table '{read}': \d+ points of the export have no value: "
                                       r"corner=tt, temp_c=25\.0, vdd_v=1\.0"):
        render(name, holed, Request())
    assert render(name, holed, Request(corner="ss"))


# --- ZigZag -----------------------------------------------------------------------------------------------------

def tech_param_of(text: str) -> dict[str, float | None]:
    found: dict[str, Any] = {}
    exec(compile(text, "tech_param.py", "exec"), found)
    assert isinstance(found["TECH_PARAM"], dict)
    return found["TECH_PARAM"]


def test_tech_param_traces_back_to_the_tables(small: TableSet) -> None:
    got = tech_param_of(text_of("zigzag", small, Request(areas_um2=AREAS_UM2)))
    assert list(got) == TECH_PARAM_KEYS

    def gate(table: str, cell: str) -> float:
        load_f = small["cell_input_f"].at(**TYPICAL, cell=cell)
        return float(small[table].at(**TYPICAL, cell=cell, slew_s=1e-11, load_f=load_f))

    def line(name: str) -> float:
        # 16 rows, columns 4: mean over stored and input bit, by hand
        pairs = [("0", "0"), ("0", "1"), ("1", "0"), ("1", "1")]
        return sum(float(small["compartment_energy_j"].at(
            **TYPICAL, rows=16, columns=4, read_policy="reread", operation="and", stored=s, input=i, line=name))
            for s, i in pairs) / 4

    flip_flop = sum(float(small["dff_energy_j"].at(**TYPICAL, event=event)) for event in ("clock_internal", "data"))
    want = {
        "tech_node": 0.045, "vdd": 1.0,
        "nd2_cap": 2 * gate("cell_energy_j", "nand2") * 1e12, "xor2_cap": 2 * gate("cell_energy_j", "xor2") * 1e12,
        "wl_cap": line("wordline") / 64 * 1e12, "bl_cap": line("bitline") / (4 * 16) * 1e12,
        "dff_cap": flip_flop * 1e12,
        "nd2_area": 0.798e-6, "xor2_area": 1.596e-6, "dff_area": 4.522e-6,
        "nd2_dly": gate("cell_delay_s", "nand2") * 1e9, "xor2_dly": gate("cell_delay_s", "xor2") * 1e9,
        "dff_dly": float(small["dff_delay_s"].at(**TYPICAL, metric="clock_to_q")) * 1e9,
    }
    assert got == {key: pytest.approx(value, rel=1e-9) for key, value in want.items()}


def test_capacitance_gives_the_energy_back_at_another_supply(small: TableSet) -> None:
    got = tech_param_of(text_of("zigzag", small, Request(vdd_v=0.8)))
    energy_j = sum(float(small["dff_energy_j"].at(corner="tt", temp_c=25.0, vdd_v=0.8, event=event))
                   for event in ("clock_internal", "data"))
    assert got["dff_cap"] is not None
    assert got["dff_cap"] * 0.8**2 == pytest.approx(energy_j * 1e12, rel=1e-9)  # pF·V² = pJ


def test_what_was_not_measured_is_none_with_a_reason(build: Callable[..., TableSet]) -> None:
    tables = build(lacking=("dff_energy_j", "compartment_energy_j", "cell_delay_s"))
    text = text_of("zigzag", renamed(tables, "someones"))
    got = tech_param_of(text)
    assert list(got) == TECH_PARAM_KEYS
    empty = {key for key, value in got.items() if value is None}
    assert empty == {"tech_node", "wl_cap", "bl_cap", "dff_cap", "nd2_area", "xor2_area", "dff_area", "nd2_dly",
                     "xor2_dly"}
    assert text.count("no value: ") == len(empty)
    assert "no value: table dff_energy_j is not in t" in text
    assert "no value: kit someones does not say its node; give --node-nm" in text
    assert tech_param_of(text_of("zigzag", renamed(tables, "someones"), Request(node_nm=22)))["tech_node"] == 0.022


def test_every_value_of_tech_param_names_its_runs(small: TableSet) -> None:
    for key, value in tech_param(reader(small), {}).items():
        if value.readings:
            note = "\n".join(value.notes())
            assert all(run in note for reading in value.readings for run in reading.runs), key
            assert all(run in set(small[reading.table].runs.ravel()) for reading in value.readings
                       for run in reading.runs), key


def test_a_load_off_the_table_falls_back_to_its_lightest(small: TableSet) -> None:
    heavy = replace(small["cell_input_f"], values=small["cell_input_f"].values + 1e-12)
    tables = TableSet([heavy if t.name == heavy.name else t for t in small.values()], "t")
    value = tech_param(reader(tables), {})["nd2_cap"]
    assert value.readings[0].at["load_f"] == 5e-16
    assert value.how.endswith("; load: the table's lightest, 0.0005 × its input")
    assert tech_param(reader(small), {})["nd2_cap"].how.endswith("; load: one of its own inputs")


# --- NeuroSim ---------------------------------------------------------------------------------------------------

def assignments(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+) = (\S+);$", text, re.MULTILINE))


def test_neurosim_traces_back_to_tables_and_geometry(small: TableSet) -> None:
    text = text_of("neurosim", small, Request(temp_c=125.0))
    got = assignments(text)
    assert list(got) == NEUROSIM_MEMBERS
    geometry = KITS["freepdk45"].geometry
    cycle_s = float(small["compartment_delay_s"].at(corner="tt", temp_c=125.0, vdd_v=1.0, rows=16, columns=4,
                                                    phase="cycle"))
    ohm = geometry.wire_ohm_per_m
    want = {
        "clkFreq": 1 / cycle_s, "featuresize": 80e-9,
        "heightInFeatureSizeSRAM": 1.345 / 0.080, "widthInFeatureSizeSRAM": 0.705 / 0.080,
        "widthSRAMCellNMOS": 205.2 / 45, "widthSRAMCellPMOS": 90 / 45, "widthAccessCMOS": 135 / 45,
        "minSenseVoltage": 0.1, "wireLengthRow": 1.345e-6, "wireLengthCol": 0.705e-6,
        "unitLengthWireResistance": ohm, "wireResistanceRow": 1.345e-6 * ohm, "wireResistanceCol": 0.705e-6 * ohm,
    }
    assert {name: float(got[name]) for name in want} == {k: pytest.approx(v, rel=1e-9) for k, v in want.items()}
    whole = {"memcelltype": "1", "accesstype": "1", "cellBit": "1", "technode": "45", "wireWidth": "80",
             "temp": "398", "numRowSubArray": "16", "numColSubArray": "64"}
    assert {name: got[name] for name in whole} == whole


def test_neurosim_leaves_out_what_it_cannot_take(small: TableSet) -> None:
    text = text_of("neurosim", small)
    assert "temp" not in assignments(text)
    assert "// K; no value: 298.15 K is outside 300..400 K of NeuroSim's tables\n// temp: not set\n" in text
    ptm16 = parameters(reader(renamed(small, "ptm16hp")))
    assert ptm16["technode"].how == "NeuroSim has no node of 16 nm"
    assert ptm16["heightInFeatureSizeSRAM"].value is None
    assert ptm16["widthSRAMCellPMOS"].value == pytest.approx(2.0)
    sky = parameters(reader(renamed(small, "sky130")))
    assert sky["technode"].value == 130
    assert sky["widthAccessCMOS"].value == pytest.approx(0.14 / 0.13)


def test_bitcell_multiples_are_those_of_the_netlist() -> None:
    assert bitcell_multiples() == {"nmos_pd": 2.28, "nmos_pg": 1.5, "pmos_pu": 1.0}


def test_nothing_of_a_confidential_kit_but_its_name(small: TableSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def secret(name: str) -> Pdk:
        kit = object.__new__(Pdk)
        object.__setattr__(kit, "confidential", True)
        return kit

    monkeypatch.setattr("charlib.export.kit.load_pdk", secret)
    tables = renamed(small, "secret_28")
    got = parameters(reader(tables), 22.0)
    hidden = {name for name, value in got.items() if value.value is None}
    assert {name for name in hidden if got[name].how == "kit secret_28 is confidential"} == {
        "heightInFeatureSizeSRAM", "widthInFeatureSizeSRAM", "widthSRAMCellNMOS", "widthSRAMCellPMOS",
        "widthAccessCMOS", "wireLengthRow", "wireLengthCol", "unitLengthWireResistance", "wireResistanceRow",
        "wireResistanceCol"}


def test_a_kit_that_is_not_here_has_no_geometry(small: TableSet) -> None:
    got = parameters(reader(renamed(small, "elsewhere")))
    assert got["wireLengthRow"].how == "the geometry of kit elsewhere is not known here"
    assert got["clkFreq"].value is not None


def test_the_generated_python_is_python(small: TableSet) -> None:
    for name in ("zigzag", "hwcomponents"):
        assert isinstance(ast.parse(text_of(name, small)), ast.Module)


# --- others' words -----------------------------------------------------------------------------------------------

HOSTILE = '"""\nimport os; os.system("touch ran")\r\u2028x = 1 */ } #*/\\'


@pytest.mark.parametrize("field", ["derived", "engine", "revision", "pdk_sha256", "pdk"])
@pytest.mark.parametrize("name", ["hwcomponents", "zigzag", "neurosim"])
def test_words_of_a_kit_stay_comments(small: TableSet, name: str, field: str) -> None:
    """The file holds the same statements as that of harmless words."""
    texts = []
    for said in ("harmless", HOSTILE):
        value: Any = {"ss": said} if field == "derived" else said
        tables = TableSet([replace(t, origin=replace(t.origin, **{field: value})) for t in small.values()],
                          f"folder {said}")
        texts.append(text_of(name, tables, Request(corner="ss", temp_c=25.0, vdd_v=1.0)))
    plain, attacked = (statements(name, text) for text in texts)
    assert plain == attacked


def statements(name: str, text: str) -> str:
    """What a compiler would see: Python's tree, or the C++ lines that no `//` hides, spliced as a compiler does."""
    if name == "neurosim":
        return "\n".join(line for line in text.replace("\\\n", "").split("\n") if not line.startswith("//"))
    return ast.dump(ast.parse(text))
