"""Checkpoints that are damaged, edited, old or of something else: refused in a line, and none is trained on."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from torch import nn

from charlib.errors import BadInput
from system.train import checkpoint
from system.train.datasets import Dataset, open_dataset
from system.train.loop import Plan, Run

pytestmark = pytest.mark.train
PLAN = Plan(numerics="fp32", epochs=2, batch=256, shift=0)
State = dict[str, Any]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return open_dataset("digits", 8, 3)


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


@pytest.fixture
def file(data: Dataset, tmp_path: Path) -> Path:
    """Of a run after one step."""
    run = Run(network, data, PLAN, tmp_path)
    run._step()
    run.save()
    return tmp_path / "checkpoint.pt"


def resumed(file: Path, data: Dataset) -> Run:
    run = Run(network, data, PLAN, file.parent)
    run.resume()
    return run


def test_one_step_is_taken_up(file: Path, data: Dataset) -> None:
    assert resumed(file, data).done == 1


def old(state: State) -> bytes:
    made = io.BytesIO()
    torch.save({"format": "himc-checkpoint-1", **state}, made)
    return made.getvalue()


@pytest.mark.parametrize("share", [0.01, 0.2, 0.35, 0.5, 0.8, 0.99])
def test_a_flipped_bit_is_seen(file: Path, data: Dataset, share: float) -> None:
    """torch loads one in a tensor without a word."""
    content = bytearray(file.read_bytes())
    content[max(100, int(share * len(content)))] ^= 4
    file.write_bytes(content)
    with pytest.raises(BadInput, match=rf"^--resume: {re.escape(str(file))} is damaged or was edited: its checksum"):
        resumed(file, data)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "is not a checkpoint, where the format himc-checkpoint-2 is needed; remove it"),
    (b"half", "is not a checkpoint"), (b"\n" * 10, "is not a checkpoint"),
    (b"himc-checkpoint-2", "is damaged or was edited"), (b"himc-checkpoint-2 00ff\nPK", "is damaged or was edited"),
    (old({"done": 1}), "is an older checkpoint without a checksum, where"),
    (checkpoint._heading(b"no pickle") + b"no pickle", r"is not a checkpoint \("),
])
def test_what_is_no_checkpoint_is_refused(file: Path, data: Dataset, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadInput, match=f"^--resume: {re.escape(str(file))} {message}"):
        resumed(file, data)


def test_a_cut_checkpoint_and_a_folder_are_refused(file: Path, data: Dataset) -> None:
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(BadInput, match="is damaged or was edited"):
        resumed(file, data)
    file.unlink()
    file.mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        resumed(file, data)


CHANGES: dict[str, Callable[[State], object]] = {
    **{f"no {name}": lambda state, name=name: state.pop(name)  # type: ignore[misc]
       for name in ("run", "model", "optimiser", "schedule", "done", "loss", "accuracy", "seconds")},
    **{f"{name} a number": lambda state, name=name: state.update({name: 7})  # type: ignore[misc]
       for name in ("run", "model", "optimiser", "schedule", "loss", "accuracy", "without_form", "audit")},
    "a step too many": lambda state: state.update(done=2),
    "steps beyond the end": lambda state: state.update(done=10**6, loss=[0.1] * 10**6),
    "steps before the start": lambda state: state.update(done=-1, loss=[]),
    "tests of no epoch": lambda state: state.update(accuracy=[0.5, 0.6]),
    "losses of words": lambda state: state.update(loss=["low"]),
    "a weight of another shape": lambda state: state["model"].update({"1.bias": torch.zeros(11)}),
    "a weight of words": lambda state: state["model"].update({"1.bias": "zero"}),
    "groups of another number": lambda state: state["optimiser"].update(param_groups=[]),
    "a step as infinity": lambda state: state.update(done=float("inf")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_parts_that_are_no_runs_are_refused_in_spite_of_a_checksum(file: Path, data: Dataset, what: str) -> None:
    state = checkpoint.load(file)
    CHANGES[what](state)
    checkpoint.save(file, state)
    with pytest.raises(BadInput, match=rf"^--resume: {re.escape(str(file))} is (not a whole checkpoint \(|of )"):
        resumed(file, data)
