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
from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from system.activity import options_of, read
from system.cli_train import _expected, _in_fp32, _refuse_finished
from system.numerics import native
from system.train import Plan

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
    curves = (out / "curves.svg").read_text()
    assert curves.lstrip().startswith("<svg")
    assert "own.py:build on digits, imc" in curves
    assert (out / "checkpoint.pt").is_file()
    assert 0 < float(options_of(read(out / "activity.json"))["input_density"]) < 1

    before = (out / "training.json").read_bytes()
    status, output = himc(own, "--epochs", "1", "--out", str(out))
    assert (status, (out / "training.json").read_bytes()) == (2, before)
    assert output == (f"himc: out: '{out}' holds a finished run of {own} on digits; give another --out, or remove "
                      "it\n")
    assert himc(own, "--epochs", "2", "--shift", "0", "--out", str(out), "--resume")[0] == 0


def test_json_on_standard_output_is_all_of_it(own: str, tmp_path: Path) -> None:
    words = ["train", "--module", own, "--epochs", "1", "--numerics", "fp32", "--out", str(tmp_path / "o"), "--json",
             "-", "--image-px", "8", "--quiet"]
    result = subprocess.run([sys.executable, "-c", HIMC, *words], capture_output=True, text=True, check=True)
    record = json.loads(result.stdout)
    assert (record["activity"], record["fp32_layers"], record["outside_arrays"]) == ({}, [], None)
    assert result.stderr == (f"{own} on digits, fp32: 1438 images to train and 359 held out, 8 px; 22 steps, "
                             "22 an epoch\n")


def test_a_diverging_run_fails_after_its_record(own: str, tmp_path: Path) -> None:
    (tmp_path / "activity.json").write_text("of a run before")
    status, output = himc(own, "--epochs", "1", "--lr", "1e25", "--schedule", "constant", "--out", str(tmp_path))
    assert status == 1
    assert re.search(r"training diverged: the loss of step \d+ is not finite; .*; the record is in .*, without "
                     r"activity.json, since an estimate must not rest on it", output)
    assert not (tmp_path / "activity.json").exists()
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


@pytest.mark.parametrize("text", ["half", "[]", '{"schema": "himc-training-1", "status": "stopped"}',
                                  '{"schema": "mine", "status": "done"}'])
def test_a_folder_without_a_finished_run_may_be_trained_into(text: str, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(text)
    _refuse_finished(tmp_path)


FAR = """
import torch
from torch import nn
class Far(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, 64) * 0.1)
    def forward(self, x):
        return -torch.cdist(x, self.centres)
def build(classes, channels):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64))
    net.add_module("far", Far(classes))
    return net
"""


def test_layers_in_fp32_are_recorded_and_told(tmp_path: Path) -> None:
    file = tmp_path / "far.py"
    file.write_text(FAR)
    status, output = himc(f"{file}:build", "--epochs", "1", "--out", str(tmp_path / "out"))
    assert status == 0
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["fp32_layers"] == [{"layer": "far", "operator": "cdist"}]
    inside, outside = 64 * 64 * 64 * 2, 64 * 10 * 64 * 3  # the images need no gradient
    assert record["outside_arrays"] == {
        "macs": inside + outside, "macs_outside": outside, "share": outside / (inside + outside), "products": [
            {"layer": "far", "operator": "_euclidean_dist", "why": "no form", "macs": outside,
             "share": outside / (inside + outside)}]}
    words = output.replace("\n", " ")
    assert "; 1 layer in FP32: far (18.99% of the MACs); " in words
    assert words.count("outside the arrays, in FP32: '_euclidean_dist' in layer 'far' (no form on the arrays; "
                       "122,880 MACs, 18.99% of the step's)") == 1


@pytest.mark.parametrize(("found", "text"), [
    ([], ""), (["u1", "u2"], "; 2 layers in FP32: u1, u2"), (["u1", "u1"], "; 1 layer in FP32: u1"),
    ([""], "; 1 layer in FP32: the module itself"),
    ([f"l{k}" for k in range(11)], "; 11 layers in FP32: l0, l1, l2, l3, l4, l5, l6, l7 and 3 more"),
])
def test_layers_in_fp32_in_words(found: list[str], text: str) -> None:
    layers = [{"layer": layer, "operator": "cdist"} for layer in found]
    assert _in_fp32({"fp32_layers": layers, "outside_arrays": None}) == text


def test_the_expected_time_counts_steps_and_tests(tmp_path: Path) -> None:
    """A step a second: a step of 64 images; a test of 192 images, a third the work each, is one step more."""
    data = SimpleNamespace(test_count=192)

    def told(epochs: int, step_s: float, done: int = 0) -> str:
        run = SimpleNamespace(data=data, plan=Plan(epochs=epochs), steps=10 * epochs, done=done, accuracy=[])
        return _expected(run, step_s)  # type: ignore[arg-type]

    assert told(2, 1.0) == ""
    assert told(2, 30.0) == "about 11 min to go"
    assert told(2, 30.0, done=10) == "about 6 min to go"
    assert told(20, 60.0) == "about 3.7 h to go"


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


def test_a_compiler_that_fails_is_said_once_and_recorded(own: str, tmp_path: Path) -> None:
    """Its words, and what it means, before the first step; the losses are those of the kernels that can be built."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'native.cpp:7: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    words = ["train", "--module", own, "--epochs", "1", "--image-px", "8", "--quiet", "--json", "-"]
    records = {}
    for name, changes in (("plain", {}), ("slow", {"CXX": str(broken)})):
        done = subprocess.run([sys.executable, "-c", HIMC, *words, "--out", str(tmp_path / name)], check=True,
                              text=True, capture_output=True, env={**os.environ, **changes})
        records[name] = json.loads(done.stdout)
        said = [line for line in done.stderr.splitlines() if "kernels" in line]
        assert len(said) == 1, done.stderr
    why = f"{broken} could not build the others (native.cpp:7: error: no such thing)"
    assert said[0].endswith(f", since {why}; numba's give the same bits, some 20 times more slowly")
    assert (records["slow"]["kernels"]["kind"], records["slow"]["kernels"]["why"]) == ("numba", why)
    if native.compiler():
        assert (records["plain"]["kernels"]["kind"], records["plain"]["kernels"]["why"]) == ("c++", "")
    assert records["slow"]["loss"] == records["plain"]["loss"]
