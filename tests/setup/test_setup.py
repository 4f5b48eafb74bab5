"""The set-up: consent before system packages, stamps, commands of the README, modes of the test resources."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def setup() -> ModuleType:
    return load(ROOT / "tools" / "setup_environment.py", "setup_environment")


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", text, re.MULTILINE))


def test_every_make_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    assert {"run", "test"} <= named
    assert named <= targets()


def test_readme_runs_first_and_tests_second() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]
    assert commands[:2] == ["make run", "make test"]


def test_readme_names_only_verbs_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"`himc\s([a-z]+)", text))
    shown = subprocess.run([sys.executable, "-c", "from system.cli import app; app()", "--help"], check=True,
                           capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}).stdout
    assert verbs
    assert [verb for verb in verbs if not re.search(rf"\b{verb}\b", shown)] == []


def test_nothing_is_installed_without_consent(setup: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(setup, "missing_system_packages", lambda: ["libngspice0"])
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(setup.shutil, "which", lambda program: "/usr/bin/" + program)
    monkeypatch.setattr(setup.subprocess, "run", lambda *a, **k: pytest.fail("a command ran"))
    monkeypatch.delenv("HIMC_INSTALL", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(setup.SetupFailed, match="apt-get install -y --no-install-recommends libngspice0"):
        setup.install_system_packages()
    line = "sudo apt-get update && sudo apt-get install -y --no-install-recommends libngspice0"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(("user", "said"), [(0, ""), (1000, "1")])
def test_root_or_himc_install_is_consent(setup: ModuleType, monkeypatch: pytest.MonkeyPatch, user: int, said: str
                                         ) -> None:
    monkeypatch.setattr(setup.os, "geteuid", lambda: user)
    monkeypatch.setenv("HIMC_INSTALL", said)
    assert setup.consent("apt-get …")


def test_a_missing_simulator_stops_a_first_set_up_and_not_a_later_test_run(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise setup.SetupFailed("nothing was installed. Run the line above")

    monkeypatch.setattr(setup, "install_system_packages", fail)
    monkeypatch.setattr(setup, "make_environment", lambda: None)
    monkeypatch.setattr(setup, "install_kit", lambda: None)
    monkeypatch.setattr(setup, "environment_exists", lambda: False)
    assert setup.set_up(keep_going=True) == 1
    assert "setup: stopped: nothing was installed" in capsys.readouterr().err
    monkeypatch.setattr(setup, "environment_exists", lambda: True)
    assert setup.set_up(keep_going=True) == 0
    assert setup.set_up(keep_going=False) == 1


def test_the_stamp_follows_the_pins(setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in setup.PINS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a", encoding="utf-8")
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    before = setup.fingerprint()
    (tmp_path / "constraints.txt").write_text("b", encoding="utf-8")
    assert setup.fingerprint() != before


def test_find_python_says_what_to_do_where_there_is_none(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = subprocess.run(["/bin/sh", str(ROOT / "tools" / "find-python.sh")], check=False, capture_output=True,
                          text=True, env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "Python 3.11 or later is needed" in done.stderr
    assert "apt-get install -y python3.11" in done.stderr


def test_no_registry_is_named_anywhere() -> None:
    """pip follows the user's own configuration."""
    files = ["Makefile", "constraints.txt", "pyproject.toml", "tools/setup_environment.py", ".ci/run"]
    for name in files:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"--(extra-)?index-url|pypi\.org|pythonhosted|https?://", text), name


def test_torch_is_pinned_exactly_for_make_setup() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert "torch==2.13.0" in pins
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^=\s]+", pin) for pin in pins)


@pytest.mark.parametrize(("environment", "wanted"), [
    ({}, "if_available"), ({"HIMC_REQUIRE": "ngspice,pdk"}, "required"), ({"CI": "true"}, "required"),
    ({"CI": "false"}, "if_available"), ({"HIMC_DISABLE": "ngspice", "HIMC_REQUIRE": "ngspice"}, "disabled"),
])
def test_a_resource_has_a_mode(environment: dict[str, str], wanted: str) -> None:
    assert load(ROOT / "tests" / "conftest.py", "top_conftest").mode("ngspice", environment) == wanted


@pytest.mark.parametrize(("reason", "asked", "named"), [
    ("could not import 'pyarrow': No module named 'pyarrow'", "ngspice,pyarrow", "pyarrow"),
    ("sta is not on this machine; run 'apt-get install -y opensta'", "sta", "sta"),
    ("slow; 'make validate' runs it", "sta,pyarrow", None), ("instance of a thing", "sta", None),
    ("hwcomponents is not installed; name another in HIMC_HWCOMPONENTS_PYTHON", "hwcomponents", "hwcomponents"),
    ("could not import 'pyarrow'", "", None),
])
def test_a_skip_is_required_by_the_name_in_its_reason(reason: str, asked: str, named: str | None) -> None:
    assert load(ROOT / "tests" / "conftest.py", "top_conftest").required(reason, {"HIMC_REQUIRE": asked}) == named


SKIPS = """
import pytest
@pytest.fixture
def arrow():
    pytest.importorskip("no_such_package")
def test_one(arrow): ...
def test_two(arrow): ...
def test_three(): pytest.skip("yosys is not on this machine")
def test_four(): ...
"""


@pytest.mark.parametrize(("asked", "status", "lines"), [
    ("", 0, ("2 skipped: could not import 'no_such_package'", "1 skipped: yosys is not on this machine")),
    ("yosys,no_such_package", 1, (
        "no_such_package is required here (HIMC_REQUIRE): could not import 'no_such_package'",
        "yosys is required here (HIMC_REQUIRE): yosys is not on this machine", "1 failed, 1 passed, 2 errors")),
])
def test_skips_are_listed_or_fail(tmp_path: Path, asked: str, status: int, lines: tuple[str, ...]) -> None:
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests" / "conftest.py").read_bytes())
    (tmp_path / "test_it.py").write_text(SKIPS, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", str(tmp_path)], check=False, capture_output=True,
                          text=True, cwd=tmp_path, env={**os.environ, "HIMC_REQUIRE": asked, "CI": ""})
    assert done.returncode == status, done.stdout
    for line in lines:
        assert line in done.stdout


def test_readme_results_are_those_of_the_kept_record() -> None:
    tool = load(ROOT / "tools" / "readme_results.py", "readme_results")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    kept = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
    assert tool.readme_text(kept) == readme
