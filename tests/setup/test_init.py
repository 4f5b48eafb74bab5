"""`himc init`: each file is written once, explains itself and runs as it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from system.cli import app

CLI = CliRunner()
WHAT = {"campaign": "campaign.yaml", "pdk": "pdk.toml", "macro": "macro.yaml", "space": "space.yaml"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def himc(*words: str) -> str:
    done = CLI.invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(("what", "name"), WHAT.items())
def test_a_commented_file_that_is_never_overwritten(what: str, name: str) -> None:
    assert name in himc("init", what)
    text = Path(name).read_text(encoding="utf-8")
    assert sum("#" in line for line in text.splitlines()) >= 5
    Path(name).write_text("mine", encoding="utf-8")
    refused = CLI.invoke(app, ["init", what])
    assert refused.exit_code == 2
    assert Path(name).read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("words", [
    ("campaign", "new/er/c.yaml"), ("pdk", "new/er/pdk.toml"), ("macro", "new/m.yaml"), ("space", "new/s.yaml")])
def test_the_folder_is_made(words: tuple[str, str]) -> None:
    himc("init", *words)
    assert Path(words[1]).is_file()


def test_a_file_in_the_place_of_the_folder() -> None:
    Path("new").write_text("mine", encoding="utf-8")
    refused = CLI.invoke(app, ["init", "campaign", "new/c.yaml"])
    assert refused.exit_code == 2
    assert "the folder 'new' cannot be made" in refused.stderr


def test_a_kit_shows_how_an_own_sram_cell_is_given() -> None:
    himc("init", "pdk")
    lines = Path("pdk.toml").read_text(encoding="utf-8").splitlines()
    begin = lines.index("# [cells.sram_6t]")
    example = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[begin:]))
    assert set(example["cells"]["sram_6t"]) == {"file", "subckt", "ports", "inside"}


def test_a_macro_file_needs_the_ending_that_is_known() -> None:
    assert CLI.invoke(app, ["init", "macro", "macro.txt"]).exit_code == 2
    assert not Path("macro.txt").exists()


def test_the_macro_runs() -> None:
    himc("init", "macro")
    himc("estimate", "mobilenet_v1", "--macro", "macro.yaml", "--image-px", "32", "--json", "own.json")
    assert Path("own.json").is_file()


def test_the_space_runs() -> None:
    himc("init", "space")
    himc("explore", "space.yaml", "--quiet")
    assert Path("explored/front.csv").is_file()


@pytest.mark.ngspice
def test_the_campaign_is_planned() -> None:
    himc("init", "campaign")
    assert "to simulate" in himc("characterize", "campaign.yaml", "--dry-run")


@pytest.mark.ngspice
def test_the_kit_behaves() -> None:
    himc("init", "pdk", "mine.toml")
    assert "mine.toml behaves" in himc("pdk", "check", "mine.toml", "--quiet")


@pytest.mark.ngspice
def test_the_kit_is_characterised() -> None:
    himc("init", "pdk")
    said = himc("characterize", "--pdk", "pdk.toml", "--bench", "bitcell_access", "--quiet", "--jobs", "1")
    assert ", 0 failed" in said


def test_cards_of_the_same_name_are_left() -> None:
    Path("example_cards.lib").write_text("mine", encoding="utf-8")
    assert CLI.invoke(app, ["init", "pdk"]).exit_code == 2
    assert not Path("pdk.toml").exists()
    assert Path("example_cards.lib").read_text(encoding="utf-8") == "mine"


def test_a_kit_that_is_there_leaves_no_cards() -> None:
    Path("pdk.toml").write_text("mine", encoding="utf-8")
    assert CLI.invoke(app, ["init", "pdk"]).exit_code == 2
    assert not Path("example_cards.lib").exists()
