"""Networks by name: published sizes, any image, training through `convert`; and a user's own file."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional

from charlib.errors import BadInput
from system.train import convert
from system.train.own_file import load_module
from system.train.torch_networks import BUILDERS, build

pytestmark = pytest.mark.train

#: trained parameters at 1000 classes, as the papers and torchvision's and timm's tables give them
PUBLISHED = {"mobilenet_v1": 4_231_976, "mobilenet_v2": 3_504_872, "resnet18": 11_689_512, "resnet50": 25_557_032,
             "vgg16": 138_357_544, "vit_tiny": 5_717_416}


@pytest.mark.parametrize("name", BUILDERS)
def test_published_parameters(name: str) -> None:
    with torch.device("meta"):
        network = build(name, width=1.0, image_px=224, classes=1000, channels=3)
    assert sum(p.numel() for p in network.parameters()) == PUBLISHED[name]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_network_trains_on_the_arrays(name: str) -> None:
    """One step each on small images: no farther from FP32 than plain BF16 is (batch statistics of a few small maps
    magnify any rounding), and every parameter has a finite gradient."""
    torch.manual_seed(0)
    network = build(name, width=0.125, image_px=64, classes=7, channels=1)
    rounded = convert(deepcopy(network), numerics="bf16")
    x, y = torch.randn(12, 1, 64, 64), torch.arange(12) % 7
    plain = network(x).detach().flatten()
    convert(network)
    logits = network(x)
    apart = float(1 - functional.cosine_similarity(plain, logits.detach().flatten(), 0))
    assert 0.0 < apart <= 2.0 * float(1 - functional.cosine_similarity(plain, rounded(x).detach().flatten(), 0)) < 0.2
    functional.cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
    for p in network.parameters():
        assert p.grad is not None
        assert p.grad.isfinite().all()


@pytest.mark.parametrize(("name", "px", "message"), [
    ("alexnet", 32, "network: 'alexnet' does not exist; choose mobilenet_v1"), ("vgg16", 16, "at least 32"),
    ("vit_tiny", 30, "multiple of its patch of 4 px"),
])
def test_what_cannot_be_built_is_refused(name: str, px: int, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build(name, width=1.0, image_px=px, classes=10, channels=3)


OWN = """
import torch
from torch import nn

class Mine(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.w = nn.Parameter(torch.randn(8, 16) * 0.1)
        self.conv = nn.Conv1d(1, 8, 3, padding=1)
        self.out = nn.Linear(16, classes)

    def forward(self, x):
        rows = self.conv(x.flatten(2)).mean(2)
        return self.out(torch.relu(rows @ self.w))

def build(classes):
    return Mine(classes)

def any_size(**sizes):
    return nn.Sequential(nn.Flatten(), nn.Linear(sizes["channels"] * sizes["image_px"] ** 2, sizes["classes"]))

def broken():
    raise ValueError("no luck")

def number():
    return 3
"""


def test_a_users_own_module(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    sizes = {"classes": 4, "image_px": 6, "channels": 1}
    mine = load_module(f"{file}:build", **sizes)
    assert load_module(f"{file}:any_size", **sizes)[1].in_features == 36  # type: ignore[index]
    convert(mine)
    optimiser = torch.optim.Adam(mine.parameters(), 0.02)
    x, y = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = functional.cross_entropy(mine(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(("text", "message"), [
    ("{}:broken", "broken.. of .* failed: ValueError: no luck"), ("{}:number", "gave int, not a torch.nn.Module"),
    ("{}:absent", "has no function 'absent'"), ("no_such.py:build", "is not a file"),
])
def test_a_users_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    with pytest.raises(BadInput, match=message):
        load_module(text.format(file), classes=4, image_px=6, channels=1)


def test_a_file_that_does_not_run_is_named(tmp_path: Path) -> None:
    file = tmp_path / "torn.py"
    file.write_text("def build(:\n")
    with pytest.raises(BadInput, match="cannot be run: SyntaxError"):
        load_module(f"{file}:build", classes=4)
