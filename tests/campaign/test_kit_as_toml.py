"""A kit written as a pdk.toml and read again is the same kit under its new name."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import made_up_kit
import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from charlib.pdk import KITS, Pdk, installed, load_pdk
from charlib.pdk.as_toml import as_toml
from charlib.pdk.user_kit import read_user_kit
from system.cli import app


def again(kit: Pdk, tmp_path: Path) -> Pdk:
    path = tmp_path / "mine.toml"
    path.write_text(as_toml(kit, "mine"), encoding="utf-8")
    return read_user_kit(path)


def same(ours: Pdk, theirs: Pdk) -> None:
    for field in fields(Pdk):
        one, other = getattr(ours, field.name), getattr(theirs, field.name)
        if field.name in ("name", "step_factors", "home"):
            continue
        if field.name == "geometry":
            assert one.sources == other.sources
            numbers = {name: value for name, value in vars(one).items() if isinstance(value, float)}
            assert {name: getattr(other, name) for name in numbers} == pytest.approx(numbers, rel=1e-11)
        elif field.name in ("root", "allow"):
            assert str(one) == str(other) or one.resolve() == other.resolve()
        elif field.name == "unit_s":
            assert other == pytest.approx(one)
        elif field.name == "mismatch" and hasattr(one, "avt_v_m"):
            assert other.avt_v_m == pytest.approx(dict(one.avt_v_m))
            assert other.source == one.source
        else:
            assert one == other, field.name


@pytest.mark.parametrize("name", KITS)
def test_a_shipped_kit_comes_back(name: str, tmp_path: Path) -> None:
    if name not in installed():
        pytest.skip(f"{name} is not installed")
    kit = load_pdk(name)
    same(kit, again(kit, tmp_path))


def test_a_users_kit_comes_back(tmp_path: Path) -> None:
    kit = read_user_kit(made_up_kit.make(tmp_path))
    same(kit, again(kit, tmp_path))
    joined = replace(kit, cells={"inv": replace(kit.cells["inv"], joined={"vsubs!": "vss", "VPB": "vdd"})})
    same(joined, again(joined, tmp_path))
    with pytest.raises(BadInput, match=f"^from: '{kit.name}' is confidential"):
        as_toml(replace(kit, confidential=True), "mine")


def test_derived_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = read_user_kit(made_up_kit.make(tmp_path))
    made = replace(kit, corners={"tt": replace(kit.corners["tt"], derived="derived: shifted")})
    assert 'derived = "shifted"' in as_toml(made, "mine")
    back = again(made, tmp_path)
    assert back.corners["tt"].derived == "derived: shifted"
    path = tmp_path / "mine.toml"
    path.write_text(path.read_text().replace('"shifted"', '"derived: shifted"'))  # as earlier versions wrote it
    assert read_user_kit(path).corners == back.corners
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["pdk", "show", "mine.toml", "--json", "mine.json"]).output
    assert "corner tt: derived: shifted\n" in shown
    assert json.loads((tmp_path / "mine.json").read_text())["corners"]["tt"]["derived"] == "shifted"


def test_a_cell_beside_a_kit_is_found_from_elsewhere(tmp_path: Path) -> None:
    toml = made_up_kit.make(tmp_path)
    beside = tmp_path / "beside"
    (beside / "own").mkdir(parents=True)
    (toml.parent / "cells" / "inv.sp").rename(beside / "own" / "inv.sp")
    (beside / "pdk.toml").write_text(toml.read_text().replace(
        "confidential =", f'root = "{toml.parent}"\nconfidential =').replace("cells/inv.sp", "own/inv.sp"))
    kit = read_user_kit(beside / "pdk.toml")
    moved = again(kit, tmp_path)
    assert moved.home != kit.home
    assert moved.subckts("inv") == kit.subckts("inv")
    assert moved.sha256 == kit.sha256


@pytest.mark.ngspice
def test_the_command_writes_a_kit_that_behaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(app, ["init", "pdk", "mine.toml", "--from", "freepdk45"])
    assert made.exit_code == 0, made.output
    kit = read_user_kit(Path("mine.toml"))
    assert kit.name == "my_freepdk45"
    assert kit.sha256 != load_pdk("freepdk45").sha256
    checked = CliRunner().invoke(app, ["pdk", "check", "mine.toml", "--quiet"])
    assert checked.exit_code == 0, checked.output
    refused = CliRunner().invoke(app, ["init", "pdk", "mine.toml", "--from", "freepdk45"])
    assert refused.exit_code == 2
    assert "exists and was left as it is" in refused.stderr
