"""Spaces from files: what is read, what is refused, what a run leaves."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from system.cli import app
from system.design import make_reader
from system.explore.accuracy import accuracy_loss
from system.explore.run import enumerate_space, search
from system.explore.space import Space, read_space
from system.options import EstimateOptions

SMALL = """
network: mobilenet_v1
fixed: {node_nm: 45, image_px: 32, width: 0.25}
vary:
  compartments: [16, 32]
  macros: {from: 100, to: 3200, steps: 6, scale: log}
  batch: [1, 8]
  vdd_v: {from: 0.8, to: 1.0, steps: 3}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_ranges_are_spelled_out(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, SMALL))
    assert space.axes["macros"] == (100, 200, 400, 800, 1600, 3200)
    assert space.axes["vdd_v"] == (0.8, 0.9, 1.0)
    assert space.size == 2 * 6 * 2 * 3


def test_numbers_are_those_of_a_campaign(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, "fixed: {node_nm: 45, cycle_s: 3e-9}\nvary: {cycle_s: [2e-9, 4E-9]}\n"))
    assert space.fixed.cycle_s == 3e-9
    assert space.axes["cycle_s"] == (2e-9, 4e-9)


def test_the_example_is_a_space() -> None:
    with resources.as_file(resources.files("system.data").joinpath("space.example.yaml")) as path:
        assert read_space(path).size > 1000


@pytest.mark.parametrize(("text", "message"), [
    ("vary: [1]", "line 1: vary: options with their values are needed"),
    ("- 1", "line 1: must hold 'vary'"),
    ("vary: {rows: [", "line 1: not YAML"),
    ("fixed: {node_nm: 45}\nvary:\n  rows: [4]\n  rows: [8]", "line 4: vary.rows: stands twice, first in line 3"),
    ("vary:\n  cycle_s: [1e-9, 20]", "line 2: vary.cycle_s: a number of 1e-12 to 1e-06 is allowed, got 20"),
    ("fixed:\n  node_nm: 45\n  vdd_v: 1e-9", "line 3: fixed.vdd_v: a number of 0.01 to 20 is allowed, got 1e-09"),
    ("vary:\n  rows: [yes]", "line 2: vary.rows: a whole number of 1 to 4096 is allowed, got 'yes'"),
    ("vary:\n\trows: [4]", "line 2: not YAML"),
    ("varies: {}", "varies: is not known; network, fixed, vary and minimise are"),
    ("fixed: {colour: red}", "fixed.colour: is not an option"),
    ("vary: {network: [a]}", "vary: 'network' cannot be varied; rows, "),
    ("vary: {vdd_v: []}", "vary.vdd_v: at least one value"),
    ("vary: {batch: [1, 1]}", "vary.batch: at least one value, and each once"),
    ("vary: {batch: {from: 1, to: 4}}", "vary.batch: a range has from, to, steps"),
    ("vary: {batch: [true]}", "vary.batch: numbers or words are allowed, got True"),
    ("vary: {batch: [0]}", "batch"),
    ("minimise: [joy]", "minimise: 'joy' is not known; "),
    ("minimise: []", "minimise: name at least one metric"),
    ("minimise: 3", "minimise: a list of metrics"),
    ("fixed: {projection: ptm}", "fixed: projection ptm is not explored"),
])
def test_what_is_no_space_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_space(written(tmp_path, text))
    assert message in str(caught.value)
    assert re.match(r"space \S+space\.yaml: line \d+: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_too_large_a_space_asks_for_a_search() -> None:
    wide = Space(EstimateOptions(node_nm=45), {"batch": tuple(range(1, 5001)), "macros": tuple(range(1, 5001))})
    with pytest.raises(BadInput, match="give --search"):
        enumerate_space(wide, make_reader(wide.fixed))


def test_energy_answers_to_the_supply_by_nearly_its_square(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, SMALL))
    told = enumerate_space(space, make_reader(space.fixed)).sensitivities()
    assert told["vdd_v"]["energy_macro_only_j"] == pytest.approx(2.0, abs=0.35)
    assert told["vdd_v"]["clock_hz"] > 0.0
    assert told["macros"]["area_m2"] > 0.0
    assert told["compartments"]["clock_hz"] <= 0.0


def test_a_search_finds_the_ends_of_the_front(tmp_path: Path) -> None:
    pytest.importorskip("pymoo")
    space = read_space(written(tmp_path, SMALL))
    every = enumerate_space(space, make_reader(space.fixed))
    found = search(space, make_reader(space.fixed), population=16, generations=12, seed=1)
    assert found.size < every.size
    for name in space.objectives:
        assert np.nanmin(found.metrics[name]) == pytest.approx(np.nanmin(every.metrics[name]), rel=1e-12)
    again = search(space, make_reader(space.fixed), population=16, generations=12, seed=1)
    assert [again.design(k) for k in range(again.size)] == [found.design(k) for k in range(found.size)]


def test_accuracy_loss_is_the_studys() -> None:
    narrow, wide, beyond = accuracy_loss([4, 20, 30])
    assert 0.0 <= wide <= narrow < 0.02
    assert beyond == accuracy_loss([24])[0]


def test_command_writes_front_record_and_page(tmp_path: Path) -> None:
    out = tmp_path / "explored"
    result = CliRunner().invoke(app, ["explore", str(written(tmp_path, SMALL)), "--out", str(out), "--all", "--quiet",
                                      "--json", "-"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["designs"] == 72
    assert record == json.loads((out / "explored.json").read_text())
    assert len((out / "designs.csv").read_text().splitlines()) == 73
    assert len((out / "front.csv").read_text().splitlines()) == 1 + len(record["front"])
    page = (out / "explored.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<svg" in page or "<canvas" in page


def test_a_space_in_which_nothing_can_be_says_why(tmp_path: Path) -> None:
    text = "fixed: {node_nm: 45}\nvary: {macros: [1, 2]}\n"
    out = str(tmp_path / "x")
    result = CliRunner().invoke(app, ["explore", str(written(tmp_path, text)), "--out", out, "--quiet"])
    assert result.exit_code != 0
    assert not (tmp_path / "x").exists()


def test_what_has_too_few_macros_is_said(tmp_path: Path) -> None:
    space = read_space(written(tmp_path, SMALL.replace("from: 100", "from: 20")))
    found = enumerate_space(space, make_reader(space.fixed))
    assert sum(found.refused.values()) == found.size - found.possible > 0
    assert any(message.startswith("macros: fewer than") for message in found.refused)


def test_recorded_activity_is_part_of_a_space(tmp_path: Path) -> None:
    recorded = tmp_path / "activity.json"
    means = {"serial_bit_density": 0.31, "stored_bit_density": 0.42, "serial_toggle_rate": 0.2,
             "serial_exponent_spread": 2.0, "stored_exponent_spread": 2.0, "serial_zero_share": 0.1,
             "stored_zero_share": 0.0, "samples": 1, "macs": 100}
    passes = {name: dict(means) for name in ("forward", "input_gradient", "weight_gradient")}
    recorded.write_text(json.dumps({"schema": "himc-activity-1", "every": 16, "layers": {"a": passes}, "passes": {}}))
    space = read_space(written(tmp_path, SMALL.replace("width: 0.25", f"width: 0.25, activity: {recorded}")))
    assert space.fixed.input_density == pytest.approx(0.31)
