"""A user's file as the network of an estimate."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from charlib.errors import BadInput
from system.cli import app  # noqa: F401  (mounts what opens files)
from system.design import evaluate, make_reader
from system.estimate import estimate
from system.networks import build_network
from system.options import EstimateOptions
from system.tracing import trace_estimate

pytestmark = pytest.mark.train

OWN = """
from torch import nn

def build(classes, image_px, channels, width):
    wide = int(16 * width)
    return nn.Sequential(nn.Conv2d(channels, wide, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(wide),
                         nn.ReLU(), nn.Flatten(), nn.Linear(wide * (image_px // 2) ** 2, classes))

def wrong(classes):
    net = build(classes, 8, 3, 1.0)
    net.input_shape = "3x8x8"
    return net

def words(classes):
    import torch
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(50, 8), nn.Linear(8, classes)
            self.input_shape, self.input_dtype = (12,), torch.int64
        def forward(self, x):
            return self.head(self.table(x).mean(1))
    return Mean()
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    return str(tmp_path / "own.py")


def test_records_follow_the_module(own: str) -> None:
    network = build_network(f"{own}:build", 16, 0.5, 10)
    assert network.macs_forward == 8 * 27 * 64 + 8 * 64 * 10
    assert network.parameters == 8 * 27 + 2 * 8 + 8 * 64 * 10 + 10
    assert (network.image_px, network.width, network.classes) == (16, 0.5, 10)


def test_indices_in_place_of_images(own: str) -> None:
    assert build_network(f"{own}:words", 16, 1.0, 7).macs_forward == 8 * 7


def test_an_estimate_can_be_traced(own: str) -> None:
    options = EstimateOptions(network=f"{own}:build", image_px=16, classes=10, batch=4)
    document = estimate(options)
    assert document["network"]["name"] == f"{own}:build"
    path = "estimate.imc.system.energy_j_per_image"
    assert trace_estimate(document, path).value == document["imc"]["system"]["energy_j_per_image"]


def test_a_changed_file_is_followed_again(own: str) -> None:
    options = EstimateOptions(network=f"{own}:build", image_px=16, classes=10, batch=4)
    before = evaluate(options, make_reader(options)).network.parameters
    Path(own).write_text(OWN.replace("16 * width", "32 * width"), encoding="utf-8")
    os.utime(own, ns=(1, 1))
    after = evaluate(replace(options), make_reader(options)).network.parameters
    assert after > 1.9 * before


@pytest.mark.parametrize(("name", "message"), [
    ("nowhere.py:build", "nowhere.py is not a file"), ("{}:nothing", "has no function 'nothing'"),
    ("{}:wrong", "input_shape of .* must be a tuple"),
])
def test_what_cannot_be_followed_is_refused(own: str, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build_network(name.format(own), 16, 1.0, 10)
