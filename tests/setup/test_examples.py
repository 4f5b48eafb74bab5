"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*words: str, cwd: Path) -> str:
    done = subprocess.run([sys.executable, *words], cwd=cwd, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tables_are_read(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "charlib" / "data" / "tables" / "freepdk45"
    if not shipped.is_dir():
        pytest.skip("no tables are shipped yet; 'make tables' makes them")
    assert "full adder at 0.85 V" in run(str(EXAMPLES / "read_tables.py"), cwd=tmp_path)


@pytest.mark.ngspice
def test_a_campaign_file_is_planned(tmp_path: Path) -> None:
    file = str(EXAMPLES / "campaign.yaml")
    shown = run("-c", "from system.cli import app; app()", "characterize", file, "--dry-run", cwd=tmp_path)
    assert "to simulate" in shown


@pytest.mark.train
def test_a_module_is_trained(tmp_path: Path) -> None:
    shown = run(str(EXAMPLES / "train_your_module.py"), cwd=tmp_path)
    losses = [float(line.split()[-1]) for line in shown.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0]
