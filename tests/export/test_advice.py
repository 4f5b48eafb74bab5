"""Commands that errors recommend, pasted: they make what was missing, of the kit and the point that was asked for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.advice import MAKERS, characterise_command, makers
from charlib.benches import BENCHES
from charlib.compose.library import cell_library
from charlib.errors import BadInput
from charlib.export.liberty import to_liberty
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import load_tables
from system.cli import app
from system.readings import Point, open_reader

AT: dict[str, Any] = {"corner": "ss", "temp_c": 125.0, "vdd_v": 0.9}
NOMINAL = Point("tt", 25.0, 1.8)


def advised(error: str) -> list[str]:
    """The words of the command in an error, behind `himc`."""
    (command,) = re.findall(r"'(himc characterize [^']*)'", error)
    return shlex.split(command)[1:]


def test_every_shipped_table_is_made_by_benches_that_there_are() -> None:
    names = {table for kit in kits_with_tables() for table in load_tables(shipped_tables_dir(kit))}
    assert len(names) > 30
    assert [name for name in names if not makers([name])] == []
    assert {bench for benches in MAKERS.values() for bench in benches} <= BENCHES.keys()
    assert makers(["nonsense"]) == ()


def test_the_longest_name_says_the_bench() -> None:
    assert makers(["dff_leakage_w", "cell_energy_j", "compartment_mismatch"]) == (
        "cell_leakage", "cell", "compartment_mismatch")


@pytest.mark.parametrize("ask", [
    lambda: cell_library(load_tables(shipped_tables_dir("sky130")), corner="tt", temp_c=25.0, vdd_v=1.8),
    lambda: to_liberty(load_tables(shipped_tables_dir("sky130")), corner="tt", temp_c=25.0, vdd_v=1.8,
                       library_name="x"),
])
def test_kit_bench_and_point_are_carried(ask: Callable[[], object]) -> None:
    with pytest.raises(BadInput) as caught:
        ask()
    words = advised(str(caught.value))
    assert words[:3] == ["characterize", "--pdk", "sky130"]
    assert {"cell_pair", "cell_arc"} & set(words)
    assert words[-6:] == ["--corner", "tt", "--temp-c", "25", "--vdd-v", "1.8"]


def test_an_estimate_s_reader_asks_for_all_tables_of_the_point() -> None:
    with pytest.raises(BadInput) as caught:
        open_reader(NOMINAL, "sky130", None).table("pair_energy_j")
    words = advised(str(caught.value))
    assert words == ["characterize", "--pdk", "sky130", "--corner", "tt", "--temp-c", "25", "--vdd-v", "1.8", "--out",
                     "tables-sky130"]


def test_a_kit_without_tables_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        open_reader(NOMINAL, "sky130_models", None)
    assert advised(str(caught.value)) == ["characterize", "--pdk", "sky130_models", "--corner", "tt",
                                          "--temp-c", "25", "--vdd-v", "1.8"]


@pytest.mark.ngspice
@pytest.mark.parametrize("name", ["bitcell_leakage_w", "dff_leakage_w", "bitcell_margin_v"])
def test_a_pasted_command_makes_the_missing_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    command = characterise_command("freepdk45", tables=[name], **AT)
    done = CliRunner().invoke(app, [*advised(command), "--quiet"])
    assert done.exit_code == 0, done.output
    made = load_tables(tmp_path / "tables" / "freepdk45")
    assert made[name].origin.pdk == "freepdk45"
    assert made[name].covers(**AT)


@pytest.mark.ngspice
@pytest.mark.parametrize("name", sorted({f"{begin}_j" for begin in MAKERS}))
def test_every_command_is_a_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    words = advised(characterise_command("freepdk45", tables=[name], **AT))
    done = CliRunner().invoke(app, [*words, "--dry-run"])
    assert done.exit_code == 0, done.output
    for bench in makers([name]):
        (count,) = re.findall(rf"^  {bench}: (\d+) runs", done.output, re.MULTILINE)
        assert int(count) > 0
