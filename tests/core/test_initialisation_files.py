"""ngspice runs the lines of a `.spiceinit` in its working folder or the home; each engine starts where none is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ngspice

#: one volt across a resistor
DECK = """* resistor
i1 0 a dc 1m
r1 a 0 1k
.temp 25
.tran 1p 10p
.meas tran va find v(a) at=5p
.end
"""
SCRIPT = """
import sys
from charlib.spice import Deck, OperatingPoint
from charlib.spice.live import LiveEngine
from charlib.campaign.trace import rerun

body = "v1 a 0 dc 1\\nr1 a 0 1k\\n"
waves = LiveEngine().run(Deck("divider", body, 25.0, OperatingPoint(), save=("v(a)",)))
print(float(waves.signal("v(a)")[0]), rerun(sys.argv[1])["va"])
"""


@pytest.mark.parametrize("place", ["working folder", "home"])
def test_no_engine_runs_an_initialisation_file(tmp_path: Path, place: str) -> None:
    hostile, quiet, mark = tmp_path / "hostile", tmp_path / "quiet", tmp_path / "ran"
    hostile.mkdir()
    quiet.mkdir()
    (hostile / ".spiceinit").write_text(f"shell touch {mark}\n", encoding="utf-8")
    cwd, home = (hostile, quiet) if place == "working folder" else (quiet, hostile)
    done = subprocess.run([sys.executable, "-c", SCRIPT, DECK], cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, "HOME": str(home)})
    assert done.stdout.split() == ["1.0", "1.0"], done.stderr
    assert not mark.exists()
