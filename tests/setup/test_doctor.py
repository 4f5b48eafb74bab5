"""The doctor notices what is shadowed or missing, and says what to do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from system import doctor
from system.doctor import Finding, findings, shadowed
from system.numerics import native


@pytest.fixture
def home(tmp_path: Path) -> Path:
    ours = tmp_path / "ours" / "charlib"
    ours.mkdir(parents=True)
    (ours / "__init__.py").touch()
    return ours


def test_nothing_shadowed_is_one_good_line(home: Path) -> None:
    (found,) = shadowed([home.parent], {"charlib": home}, {"charlib": ["hadamard-imc"]})
    assert found == Finding("ok", "packages", f"charlib from {home}")


def test_another_package_before_ours(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "charlib"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (found,) = shadowed([other.parent, home.parent], {"charlib": home}, {})
    assert found.level == "bad"
    assert found.detail == f"{other} hides our 'charlib' ({home})"
    assert found.remedy


def test_a_module_file_of_our_name(home: Path, tmp_path: Path) -> None:
    (tmp_path / "charlib.py").touch()
    (found,) = shadowed([tmp_path], {"charlib": home}, {})
    assert found.detail == f"{tmp_path / 'charlib.py'} hides our 'charlib' ({home})"


def test_a_folder_without_code_hides_nothing(home: Path, tmp_path: Path) -> None:
    (tmp_path / "charlib").mkdir()
    assert shadowed([tmp_path], {"charlib": home}, {})[0].level == "ok"


def test_another_distribution_of_the_name(home: Path) -> None:
    (found,) = shadowed([], {"charlib": home}, {"charlib": ["hadamard_imc", "charlib"]})
    assert found.level == "bad"
    assert found.remedy.startswith("run 'pip uninstall charlib'")


def test_a_system_py_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "system.py").touch()
    monkeypatch.chdir(tmp_path)
    assert any(f.level == "bad" and str(tmp_path / "system.py") in f.detail for f in findings())


def test_every_line_that_is_not_good_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a bare machine: no simulator, no kit, no tables, no GPU tool, a cache that cannot be written."""
    monkeypatch.setattr(doctor, "library_path", lambda: None)
    monkeypatch.setattr(doctor, "installed", dict)
    monkeypatch.setattr(shutil, "which", lambda program: None)
    monkeypatch.setattr(doctor, "shipped_tables_dir", lambda kit: tmp_path / "none")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    found = findings()
    assert all(f.remedy for f in found if f.level != "ok")
    bad = {f.what for f in found if f.level == "bad"}
    assert {"ngspice library", "process kit", "cache", "database"} <= bad
    assert any("apt-get install -y libngspice0" in f.remedy for f in found)


def test_what_only_campaigns_need_is_no_fault_where_tables_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "library_path", lambda: None)
    monkeypatch.setattr(doctor, "installed", dict)
    levels = {f.what: f.level for f in findings()}
    assert (levels["ngspice library"], levels["process kit"]) == ("warn", "warn")


def test_a_database_in_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMC_DB", str(tmp_path / "none" / "runs.sqlite"))
    (found,) = (f for f in findings() if f.what == "database")
    assert (found.level, found.remedy) == ("bad", "make it, or set HIMC_DB, or give --db")


def test_an_unknown_kit_is_named() -> None:
    assert any(f.what == "process kit" and f.level == "bad" and "'nope'" in f.detail for f in findings("nope"))


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 10

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage)
    assert [f.level for f in doctor._places()] == ["warn", "warn"]


def test_vector_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a compiler, with one that fails, and switched off: each has its line and its remedy."""
    def found() -> tuple[str, str]:
        (finding,) = doctor._kernels()
        return finding.level, finding.detail

    native.library.cache_clear()
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    assert found()[0] == "warn"
    assert found()[1].endswith(f"since CXX names no program, '{tmp_path / 'none'}'; numba's give the same bits, "
                               "some 20 times more slowly")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho in file: >&2\necho 'native.cpp:7: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    native.library.cache_clear()
    assert found()[0] == "warn"
    assert f"since {broken} could not build the others (native.cpp:7: error: no such thing); numba" in found()[1]
    monkeypatch.setenv("HIMC_NATIVE", "0")
    assert found()[0] == "ok"
    native.library.cache_clear()
