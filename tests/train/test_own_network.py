"""A user's file as the network of an estimate."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from charlib.errors import BadInput
from system.blocks import BOUNDARIES
from system.cli import app  # noqa: F401  (mounts what opens files)
from system.design import evaluate, make_reader
from system.estimate import estimate
from system.events import vector_work
from system.explore.run import enumerate_space
from system.explore.space import Space
from system.networks import build_network
from system.options import EstimateOptions
from system.tracing import trace_estimate
from system.workload import VectorCount

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


@pytest.mark.parametrize("where", ["file", "builder", "forward"])
def test_a_file_neither_prints_into_the_result_nor_ends_the_process(where: str, tmp_path: Path,
                                                                    capsys: pytest.CaptureFixture[str]) -> None:
    lines = dict.fromkeys(("file", "builder", "forward"), "pass")
    text = """
import sys
from torch import nn

class Net(nn.Sequential):
    def forward(self, x):
        {forward}
        return super().forward(x)

def build():
    {builder}
    return Net(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))

{file}
"""
    file = tmp_path / "net.py"
    file.write_text(text.format(**lines | {where: "print('here I am')"}), encoding="utf-8")
    build_network(f"{file}:build", 16, 1.0, 10)
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "here I am" in seen.err
    file.write_text(text.format(**lines | {where: "sys.exit(0)  # as a script would"}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"^network: .*net.py ends the process \(0\) where a module is wanted; keep "
                                       r"what a script does on its own, such as reading its arguments, under if "
                                       r'__name__ == "__main__"$'):
        build_network(f"{file}:build", 16, 1.0, 10)


SIZES = """
from __future__ import annotations
from dataclasses import dataclass
from torch import nn
import parts

@dataclass
class Sizes:
    width: int = parts.WIDTH

def build():
    from parts import head
    sizes = Sizes()
    return nn.Sequential(nn.Conv2d(3, sizes.width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(sizes.width))
"""
PARTS = """
from torch import nn
WIDTH = {}
def head(width):
    return nn.Linear(width, 10)
"""


def test_files_beside_it_are_its_own(tmp_path: Path) -> None:
    """Two files of one name, each with a dataclass and a file beside it, also of one name."""
    path, modules = list(sys.path), set(sys.modules)
    for folder, width in (("one", 8), ("two", 16)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(SIZES, encoding="utf-8")
        (tmp_path / folder / "parts.py").write_text(PARTS.format(width), encoding="utf-8")
    found = [build_network(f"{tmp_path}/{folder}/net.py:build", 16, 1.0, 10).parameters for folder in ("one", "two")]
    assert found == [width * 28 + width * 10 + 10 for width in (8, 16)]
    assert sys.path == path
    assert "parts" not in set(sys.modules) - modules
    (tmp_path / "one" / "parts.py").write_text(PARTS.format(32), encoding="utf-8")
    os.utime(tmp_path / "one" / "parts.py", ns=(1, 1))
    assert build_network(f"{tmp_path}/one/net.py:build", 16, 1.0, 10).parameters == 32 * 28 + 330


def test_a_file_beside_it_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import absent_parts\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"ModuleNotFoundError: No module named 'absent_parts'; only installed "
                                       r"packages and files in .* can be imported"):
        build_network(f"{tmp_path}/net.py:build", 16, 1.0, 10)


COUNTED = """
import torch
from torch import nn
from system.operators import OperatorCount

OPERATOR_COUNTS = {counts}

class Bessel(nn.Module):
    def forward(self, x):
        return torch.i0(x)

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), Bessel(), nn.Linear(8, 2))
"""


def test_a_file_counts_operators_of_its_own(tmp_path: Path) -> None:
    counts = '{"i0": OperatorCount((7, 6, 1), (8, 9, 2), (1, 2))}'
    (tmp_path / "net.py").write_text(COUNTED.replace("{counts}", counts), encoding="utf-8")
    network = build_network(f"{tmp_path}/net.py:build", 8, 1.0, 2)
    (bessel,) = (layer for layer in network.vector_layers if layer.kind == "i0")
    assert (bessel.elements, bessel.forward(), bessel.backward()) == (
        8, VectorCount(56, 48, 8), VectorCount(64, 72, 16))
    assert vector_work(bessel, 4, True) == {"vector_add": 256, "vector_multiply": 288, "vector_compare": 64,
                                            "buffer_bit": 4 * 8 * 2 * 16}
    options = EstimateOptions(network=f"{tmp_path}/net.py:build", image_px=8, classes=2, batch=4)
    assert estimate(options)["network"]["macs_forward"] == 3 * 64 * 8 + 16


@pytest.mark.parametrize(("counts", "message"), [
    ("{}", r"uses i0, an operator without a count; give it one in the file that builds the network: OPERATOR_COUNTS"),
    ('{"i0": (1, 2, 3)}', r"OPERATOR_COUNTS of .* must be a dictionary of operators' names to OperatorCount"),
    ('{"i0": OperatorCount((1, 2))}', r"OperatorCount: forward takes 3 whole numbers of at least 0, adds, multiplies "
                                      r"and compares an element, got \(1, 2\)"),
    ('{"i0": OperatorCount((1, 2, 0), accesses=(0, -1))}',
     r"OperatorCount: accesses takes 2 whole numbers of at least 0, elements moved forward and backward, "
     r"got \(0, -1\)"),
])
def test_counts_that_are_missing_or_wrong_are_said(tmp_path: Path, counts: str, message: str) -> None:
    (tmp_path / "net.py").write_text(COUNTED.replace("{counts}", counts), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        build_network(f"{tmp_path}/net.py:build", 8, 1.0, 2)


FROZEN = """
import torch
from torch import nn

class Low(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(64, 4)), nn.Parameter(torch.randn(4, 64))
    def forward(self, x):
        return x @ (self.a @ self.b)

def build(classes):
    body = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1))
    return nn.Sequential(body.requires_grad_(False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Low(),
                         nn.Linear(64, classes))
"""


@pytest.mark.parametrize("macros", ["resident", "replicated", "200"])
def test_designs_of_a_partly_frozen_network_equal_the_estimate(tmp_path: Path, macros: str) -> None:
    (tmp_path / "net.py").write_text(FROZEN, encoding="utf-8")
    fixed = EstimateOptions(network=f"{tmp_path}/net.py:build", image_px=32, classes=10, node_nm=45)
    read = make_reader(fixed)
    found = enumerate_space(Space(fixed, {"macros": (macros,), "batch": (3, 64)}), read)
    for k in range(found.size):
        scalar = evaluate(found.options(k), read)
        for boundary in BOUNDARIES:
            wanted = scalar.cost.energy_j(boundary), scalar.cost.times[boundary].total_s
            got = found.metrics[f"energy_{boundary}_j"][k], found.metrics[f"time_{boundary}_s"][k]
            assert got == pytest.approx(wanted, rel=1e-12)
