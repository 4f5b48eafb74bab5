"""`himc train` from outside: files, exit statuses, a killed process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from system.activity import options_of, read

pytestmark = pytest.mark.train

HIMC = "from system.cli import app; app()"
OWN = """
from torch import nn
def build(classes, channels):
    return nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                         nn.Linear(128, classes))
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return f"{file}:build"


def himc(*words: str) -> tuple[int, str]:
    """(exit status, standard output and error)."""
    capture = subprocess.run([sys.executable, "-c", HIMC, "train", *words, "--image-px", "8", "--quiet"],
                             capture_output=True, text=True, check=False)
    return capture.returncode, capture.stdout + capture.stderr


def test_record_curves_activity_and_checkpoint(own: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, _ = himc(own, "--epochs", "2", "--shift", "0", "--out", str(out))
    assert status == 0
    record = json.loads((out / "training.json").read_text())
    assert record["status"] == "done"
    assert len(record["loss"]) == record["steps"] == 2 * (1438 // 64)
    assert len(record["accuracy"]) == 2
    assert record["accuracy"][-1] > 0.5
    assert record["settings"]["arithmetic"]["lanes"] == 32
    assert (out / "curves.svg").read_text().lstrip().startswith("<svg")
    assert (out / "checkpoint.pt").is_file()
    assert 0 < options_of(read(out / "activity.json"))["input_density"] < 1


def test_json_on_standard_output_is_all_of_it(own: str, tmp_path: Path) -> None:
    status, output = himc("--module", own, "--epochs", "1", "--numerics", "fp32", "--out", str(tmp_path / "o"),
                          "--json", "-")
    assert status == 0
    assert json.loads(output)["activity"] == {}


def test_a_diverging_run_fails_after_its_record(own: str, tmp_path: Path) -> None:
    status, output = himc(own, "--epochs", "1", "--lr", "1e25", "--schedule", "constant", "--out", str(tmp_path))
    assert status == 1
    assert "training diverged: the loss of step" in output
    assert json.loads((tmp_path / "training.json").read_text())["status"] == "diverged"


@pytest.mark.parametrize(("words", "message"), [
    (["lenet"], "network: 'lenet' does not exist"), ([], "network: give a name"),
    (["mobilenet_v1", "--resume"], "--resume: .* does not exist"),
    (["mobilenet_v1", "--align-mode", "nearest"], "align_mode: magnitude, floor, sticky are allowed"),
    (["mobilenet_v1", "--threads", "0"], "threads: 1 to 4096 is allowed, got 0"),
])
def test_bad_input_is_one_line_and_status_2(words: list[str], message: str, tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-c", HIMC, "train", *words, "--out", str(tmp_path)],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert re.search(message, result.stderr)


def test_a_process_killed_outright_goes_on(own: str, tmp_path: Path) -> None:
    """SIGKILL in the middle, then --resume: the curve of a run that nobody touched."""
    command = [sys.executable, "-c", HIMC, "train", own, "--image-px", "8", "--epochs", "6", "--quiet",
               "--save-every", "1", "--threads", "1"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = subprocess.Popen([*command, "--out", str(cut)])
    end = time.monotonic() + 60
    while not (cut / "checkpoint.pt").exists() and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (cut / "training.json").exists()
    for folder, words in ((whole, []), (cut, ["--resume"])):
        subprocess.run([*command, "--out", str(folder), *words], check=True)
    records = [json.loads((folder / "training.json").read_text()) for folder in (whole, cut)]
    for name in ("loss", "accuracy", "activity"):
        assert records[0][name] == records[1][name]
