"""What the wheel holds: every tracked file of the packages, and nothing that is not listed."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("charlib", "system", "netlists")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def tracked(*folders: str) -> list[Path]:
    """Files that git knows, relative to the root."""
    done = subprocess.run(["git", "ls-files", "--", *folders], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return [Path(line) for line in done.stdout.splitlines()]


def carried(file: Path) -> bool:
    """Whether setuptools' lists take a file: its package is named, or a pattern of a package above it fits."""
    for parent in file.parents:
        package = ".".join(parent.parts)
        if package not in SETUPTOOLS["packages"]:
            continue
        if file.suffix == ".py":
            return file.parent == parent
        patterns = (*SETUPTOOLS["package-data"].get(package, ()), *SETUPTOOLS["package-data"]["*"])
        return any(fnmatch.fnmatch(str(file.relative_to(parent)), one) and
                   len(Path(one).parts) == len(file.relative_to(parent).parts) for one in patterns)
    return False


def test_every_tracked_file_is_carried() -> None:
    files = tracked(*PACKAGES)
    assert {".sp", ".json", ".csv", ".j2", ".cpp", ".h", ".toml", ".yaml", ".npz", ".typed"} <= {
        file.suffix or file.name for file in files} | {".typed" for file in files if file.name == "py.typed"}
    assert [str(file) for file in files if not carried(file)] == []


def test_packages_are_typed_and_listed() -> None:
    listed = set(SETUPTOOLS["packages"])
    assert {name.partition(".")[0] for name in listed} == set(PACKAGES)
    assert all((ROOT / name / "py.typed").is_file() for name in ("charlib", "system"))
    assert {".".join(file.parent.parts) for file in tracked(*PACKAGES) if file.suffix == ".py"} <= listed


def test_one_version_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _wheel(folder: Path) -> Path:
    """Build the wheel of the tracked files, outside the checkout."""
    source = folder / "source"
    for file in tracked():
        target = source / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / file).read_bytes())
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                    "--wheel-dir", str(folder), str(source)], check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.mark.validate
def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    """Its contents; and, installed with its dependencies in a new environment, the first commands of a new user.

    Sizes are printed. The environment gets no torch.
    """
    wheel = _wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in held} == set(PACKAGES)
    assert held == {str(file) for file in tracked(*PACKAGES)}
    home, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    bare_b = _size_b(home)
    pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    pins = str(ROOT / "constraints.txt")
    subprocess.run([*pip, "install", "--quiet", "--constraint", pins, str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)
    print(f"wheel {wheel.stat().st_size / 1e6:.1f} MB, environment {(_size_b(home) - bare_b) / 1e6:.0f} MB more than "
          "an empty one")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HIMC_", "PYTHON"))}

    def himc(line: str, status: int = 0) -> str:
        done = subprocess.run([str(home / "bin" / "himc"), *line.split()], cwd=empty, check=False, env=environment,
                              capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    assert "mobilenet_v1 at 224 px" in himc("estimate mobilenet_v1")
    himc("tables plot bitcell_delay_s")
    himc("pdk install freepdk45")
    assert str(home) in himc("doctor")
    himc("init campaign")
    himc("characterize campaign.yaml --quiet")
    himc("init space")
    himc("explore space.yaml --quiet")
    himc("init macro")
    himc("estimate mobilenet_v1 --macro macro.yaml")
    assert "hadamard-imc[train]" in himc("train mobilenet_v1", 2)
    assert "hadamard-imc[train]" in himc("estimate net.py:build", 2)
    made = {"bitcell_delay_s.svg", "campaign.yaml", "tables", "space.yaml", "explored", "macro.yaml", "himc.sqlite"}
    assert made <= {path.name for path in empty.iterdir()}


def _size_b(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
