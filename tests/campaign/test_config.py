"""campaign.yaml: what a valid file says, and that schema, code and benches agree."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from fake_bench import kit
from hypothesis import given
from hypothesis import strategies as st

from charlib.benches import BENCHES
from charlib.campaign import Campaign, enumerate_jobs
from charlib.campaign.config import CampaignFile, Mismatch, load_campaign_file, parse_campaign
from charlib.campaign.plan import ALIASES, PRESETS
from charlib.campaign.schema import (
    MAX_POINTS,
    OPERATING,
    PREFIXES,
    PRESET_NAMES,
    campaign_schema,
    from_text,
    number_pattern,
    schema_text,
)
from charlib.errors import BadInput
from charlib.units import FEMTO, PICO

NAME = Path("c.yaml")
PUBLISHED = resources.files("charlib.data").joinpath("campaign.schema.json").read_text(encoding="utf-8")
EXAMPLE = resources.files("charlib.data").joinpath("campaign.example.yaml").read_text(encoding="utf-8")
EXAMPLES = Path(__file__).parents[2] / "examples"


def read(text: str) -> CampaignFile:
    return parse_campaign(text.encode(), NAME)


def test_single_values_and_lists() -> None:
    said = read("preset: quick\npdk: a\ncorner: [tt, ss]\nvdd_v: 0.8\ntemp_c: [25, -40.0]\njobs: 2\ndb: a.sqlite\n")
    assert said == CampaignFile(preset="quick", pdk=("a",), corner=("tt", "ss"), vdd_v=(0.8,), temp_c=(25.0, -40.0),
                                jobs=2, db="a.sqlite")


def test_every_field() -> None:
    text = ("preset: mismatch\npdk: [sky130, kits/mine/pdk.toml]\ncorner: 'no'\nvdd_v: [800mV, '0.9']\ntemp_c: 85°C\n"
            "benches: [flip_flop]\nmismatch: {samples: 1e3}\ntolerance: 2e-2\njobs: 4\nscheduler: tcp://[::1]:8786\n"
            "db: a.sqlite\nout: t\ntimeout_s: 90s\nretry_failed: true\n")
    assert read(text) == CampaignFile(
        preset="mismatch", pdk=("sky130", "kits/mine/pdk.toml"), corner=("no",), vdd_v=(0.8, 0.9), temp_c=(85.0,),
        benches=("flip_flop",), mismatch=Mismatch(1000, 1), tolerance=0.02, jobs=4, scheduler="tcp://[::1]:8786",
        db="a.sqlite", out="t", timeout_s=90.0, retry_failed=True)
    assert isinstance(read(text).mismatch.samples, int)  # type: ignore[union-attr]


def test_nothing_said_is_allowed_but_not_an_empty_file() -> None:
    assert read("{}") == CampaignFile()
    assert read("\ufeff# a mark of byte order\n{}") == CampaignFile()


def test_a_grid_is_the_product_of_its_lists() -> None:
    said = read("benches:\n  - bitcell_snm\n  - kind: cell\n    grid:\n      cell: [inv, nand2]\n"
                "      slew_s: 1e-11\n      load_f: [0.5fF, '2e-15']\n  - {kind: flip_flop, grid: {}}\n"
                "  - {kind: cell_leakage}\n")
    assert said.benches == ("bitcell_snm", "cell", "flip_flop", "cell_leakage")
    assert said.grids == {
        "cell": tuple({"cell": cell, "slew_s": 1e-11, "load_f": load_f}
                      for cell in ("inv", "nand2") for load_f in (5e-16, 2e-15)),
        "flip_flop": ({},)}


def test_a_grid_takes_the_place_of_the_presets(tmp_path: Path) -> None:
    said = read("corner: [tt, ss]\nvdd_v: 1\ntemp_c: 25\nbenches: [bitcell_snm, {kind: adder_tree, grid: "
                "{lanes: [2, 4], bits: 3.0, activity: 0.5}}]")
    plan = Campaign.from_preset("quick", corners=said.corner, vdds_v=said.vdd_v, temps_c=said.temp_c,
                                benches=said.benches)
    jobs = enumerate_jobs(plan, kit(tmp_path), BENCHES, said.grids)
    assert [(job.point.corner, job.point.lanes, job.point.bits) for job in jobs  # type: ignore[attr-defined]
            if job.kind == "adder_tree"] == [("tt", 2, 3), ("ss", 2, 3), ("tt", 4, 3), ("ss", 4, 3)]
    snm = [job for job in jobs if job.kind == "bitcell_snm"]
    assert len(snm) == 2 * len(list(BENCHES["bitcell_snm"].grid("quick")))


def test_a_grid_gives_the_points_of_a_preset_to_the_bit() -> None:
    """10ps and 10 * PICO must be one float, or the store would hold two runs of one point."""
    said = read("benches: [{kind: cell, grid: {cell: [inv], slew_s: [10ps, 40 ps], load_f: [0.5fF, 2fF, 4fF]}}]")
    preset = [structure for structure in BENCHES["cell"].grid("quick") if structure["cell"] == "inv"]
    assert list(said.grids["cell"]) == preset
    assert from_text("0.5fF", "F") == 0.5 * FEMTO
    assert from_text("40ps", "s") == 40 * PICO


@pytest.mark.parametrize(("text", "unit", "value"), [
    ("10ps", "s", 1e-11), ("0.5fF", "F", 5e-16), ("0.8V", "V", 0.8), ("800 mV", "V", 0.8), ("-40C", "C", -40.0),
    ("25 °C", "C", 25.0), ("1e-11", "s", 1e-11), ("1.5e1ps", "s", 1.5e-11), ("3aF", "F", 3e-18), ("2us", "s", 2e-6),
    ("2µs", "s", 2e-6), ("2μs", "s", 2e-6), ("7nm", "m", 7e-9), ("3GHz", "Hz", 3e9), ("1MHz", "Hz", 1e6),
    ("2THz", "Hz", 2e12), ("4kΩ", "Ohm", 4e3), ("4 Ohm", "Ohm", 4.0), (".5V", "V", 0.5), ("+1.V", "V", 1.0),
    ("0.25", None, 0.25), ("1e-2", None, 0.01),
])
def test_numbers_with_units(text: str, unit: str | None, value: float) -> None:
    assert from_text(text, unit) == value


@pytest.mark.parametrize(("text", "unit"), [
    ("10p", "s"), ("10pF", "s"), ("10PS", "s"), ("10  ps", "s"), ("ps", "s"), ("1e-11 F", "s"), ("nan", "s"),
    ("inf", "V"), ("0x1", "V"), ("1_0", "V"), ("1,5V", "V"), ("mC", "C"), ("25mC", "C"), ("25K", "C"), ("2%", None),
    ("1m", None), ("", "V"), ("1 V", None), ("10ps\n", "s"), ("١V", "V"), ("1dV", "V"), ("1e9999V", "V"),
])
def test_text_that_is_no_number_of_its_unit(text: str, unit: str | None) -> None:
    with pytest.raises(ValueError):
        from_text(text, unit)


@given(st.decimals(min_value=-999, max_value=999, places=3), st.sampled_from(sorted(PREFIXES)))
def test_a_prefix_is_its_power_of_ten(number: Any, prefix: str) -> None:
    assert from_text(f"{number}{prefix}V", "V") == float(number.scaleb(PREFIXES[prefix]))


def test_the_published_schema_is_the_one_that_is_enforced() -> None:
    assert schema_text(BENCHES) == PUBLISHED, \
        "run 'python -m charlib.campaign.schema > charlib/data/campaign.schema.json' and look at the difference"
    jsonschema.Draft202012Validator.check_schema(json.loads(PUBLISHED))
    assert json.loads(PUBLISHED)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


#: a value that each field takes, and what the code makes of it
TAKEN: dict[str, tuple[Any, Any]] = {
    "preset": ("full", "full"), "pdk": ("a", ("a",)), "corner": (["ss"], ("ss",)), "vdd_v": ("1V", (1.0,)),
    "temp_c": (0, (0.0,)), "benches": (["cell"], ("cell",)), "mismatch": ({"samples": 9, "seed": 3}, Mismatch(9, 3)),
    "tolerance": (0.5, 0.5), "jobs": (3, 3), "scheduler": ("tcp://a:1", "tcp://a:1"), "db": ("d", "d"),
    "out": ("o", "o"), "timeout_s": (2, 2.0), "retry_failed": (True, True),
}


def test_schema_and_code_have_the_same_fields() -> None:
    known = json.loads(PUBLISHED)["properties"]
    own = {f.name for f in dataclasses.fields(CampaignFile)} - {"grids", "path", "lines"}
    assert set(known) == own == set(TAKEN)
    assert set(known["mismatch"]["properties"]) == {f.name for f in dataclasses.fields(Mismatch)}
    item = known["benches"]["items"]
    assert set(item["properties"]) == {"kind", "grid"}
    assert item["properties"]["kind"]["enum"] == list(BENCHES)
    assert known["preset"]["enum"] == list(PRESET_NAMES)
    assert set(PRESET_NAMES) == {"quick", "full", "mismatch", "pvt"} == {*PRESETS, *ALIASES}


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_the_code_reads_each_field_of_the_schema(name: str) -> None:
    given_, expected = TAKEN[name]
    data = {name: given_}
    jsonschema.Draft202012Validator(json.loads(PUBLISHED)).validate(data)
    said = read(json.dumps(data))
    assert getattr(said, name) == expected
    assert getattr(CampaignFile(), name) != expected
    assert dataclasses.replace(said, **{name: getattr(CampaignFile(), name)}) == CampaignFile()


@pytest.mark.parametrize("kind", sorted(BENCHES))
def test_the_schema_of_a_grid_has_the_fields_of_the_point(kind: str) -> None:
    forms = {rule["if"]["properties"]["kind"]["const"]: rule["then"]["properties"]["grid"]
             for rule in json.loads(PUBLISHED)["properties"]["benches"]["items"]["allOf"]}
    types = {"int": "integer", "float": "number", "str": "string"}
    own = {f.name: f for f in dataclasses.fields(BENCHES[kind].point_type)
           if f.name not in OPERATING and f.type in types}
    form = forms[kind]
    assert list(form["properties"]) == list(own)
    assert form["required"] == [name for name, f in own.items() if f.default is dataclasses.MISSING]
    for name, f in own.items():
        one = form["properties"][name]
        assert types[str(f.type)] in one["type"]
        assert "array" in one["type"]
        kinds = one["items"]["type"]
        assert types[str(f.type)] in (kinds if isinstance(kinds, list) else [kinds])
        if f.type == "float" and name.endswith(("_s", "_f")):
            assert one["pattern"] == number_pattern(name[-1:].replace("f", "F"))


@pytest.mark.parametrize("kind", sorted(BENCHES))
@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_presets_structures_can_be_written_as_grids(kind: str, preset: str) -> None:
    structures = [dict(structure) for structure in BENCHES[kind].grid(preset)][:3]
    for structure in structures:
        data = {"benches": [{"kind": kind, "grid": structure}]}
        (made,) = read(json.dumps(data)).grids[kind]
        assert {name: made[name] for name in structure} == structure


def test_the_examples_are_valid_here_and_for_other_validators() -> None:
    said = read(EXAMPLE)
    assert said.benches == ("bitcell_access", "cell")
    assert len(said.grids["cell"]) == 12
    validator = jsonschema.Draft202012Validator(campaign_schema(BENCHES))
    validator.validate(yaml.safe_load(EXAMPLE))
    file = EXAMPLES / "campaign.yaml"
    assert load_campaign_file(file).pdk == ("freepdk45",)
    validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_the_example_shows_every_field() -> None:
    whole = "\n".join(line.removeprefix("# ") if line.startswith("# ") and ": " in line and line[2].islower()
                      and line.split(":")[0][2:] in TAKEN else line for line in EXAMPLE.splitlines())
    said = parse_campaign(whole.encode(), NAME)
    assert set(yaml.safe_load(whole)) == set(TAKEN)
    assert said.mismatch == Mismatch(200, 1)
    assert said.timeout_s == 1200


def test_a_fault_found_later_names_its_line_too(tmp_path: Path) -> None:
    said = read("pdk: toy\ncorner:\n  - tt\n  - sf\nvdd_v: 3\n")
    pdk = kit(tmp_path)
    with pytest.raises(BadInput, match=r"^campaign c\.yaml: line 4: corner\[1\]: 'sf' is not in PDK 'toy'; it has "
                                       r"tt, ss, ff$"):
        said.check_kit(pdk)
    with pytest.raises(BadInput, match=r"^campaign c\.yaml: line 5: vdd_v: 3 V is outside 0\.5\.\.1\.2 V of PDK "
                                       r"'toy'$"):
        said.check_kit(pdk, ["vdd_v"])
    said.check_kit(pdk, ["temp_c"])
    assert str(CampaignFile().fault(("pdk", 0), "no such kit")) == "no such kit"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", r"No such file or directory"), (tmp_path, r"not a file"),
                         (Path("/dev/zero"), r"not a file")):
        with pytest.raises(BadInput, match=rf"^campaign {path}: cannot be read \({reason}\)[^\n]*$"):
            load_campaign_file(path)


def test_the_largest_campaign_is_read_and_the_next_is_not() -> None:
    def text(count: int) -> str:
        loads = ", ".join(f"{k}fF" for k in range(1, count + 1))
        return f"corner: tt\nvdd_v: 1\ntemp_c: 25\nbenches: [{{kind: cell, grid: {{cell: [inv, nor2], " \
               f"slew_s: [1ps, 2ps, 3ps, 4ps, 5ps], load_f: [{loads}]}}}}]"

    assert len(read(text(2000)).grids["cell"]) == 20_000
    many = MAX_POINTS // 10 - 1_000
    assert many < 20_000
    text_of_more = text(many).replace("5ps]", "5ps, 6ps]")
    with pytest.raises(BadInput, match=rf"^campaign c\.yaml: line 4: benches: the campaign has {12 * many} points; "
                                       rf"at most {MAX_POINTS} are allowed; give fewer values$"):
        read(text_of_more)


def test_the_manuals_campaign_is_valid_and_its_error_is_ours() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "campaign.md").read_text(encoding="utf-8")
    text = manual.split("```yaml\n")[1].split("```")[0]
    assert len(read(text).grids["cell"]) == 12
    with pytest.raises(BadInput) as caught:
        read(text.replace("4e-11", "40pF"))
    assert str(caught.value) in manual
