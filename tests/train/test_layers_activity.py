"""What a recorder says of known operands, which steps it looks at, and what an estimate makes of it."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from charlib.errors import BadInput
from charlib.gates.operands import OperandStatistics, draw, statistics_of
from system import activity as reader
from system.numerics.formats import Codes, round_to_bf16
from system.options import EstimateOptions
from system.train import Recorder, convert
from system.train.activity import SAMPLE, both, oriented, sample, statistics

pytestmark = pytest.mark.train
PASSES = ("forward", "input_gradient", "weight_gradient")


@pytest.mark.parametrize("given", [OperandStatistics(2.5, 0.3, 0.4, 0.2), OperandStatistics(0.0, 0.0, 0.5, 0.0)])
def test_drawn_operands_are_recognised(given: OperandStatistics) -> None:
    """4096 codes with known statistics, against the circuits' own description of them, lane by lane in time."""
    codes = draw(given, (128, 32), seed=3)
    found = statistics(codes[np.newaxis])
    assert found["exponent_spread"] == pytest.approx(given.exponent_spread, abs=0.15)
    assert found["zero_share"] == pytest.approx(given.zero_share, abs=0.03)
    assert found["fraction_density"] == pytest.approx(given.bit_density, abs=0.03)
    known = statistics_of(codes)
    assert (found["zero_share"], found["fraction_density"]) == pytest.approx((known.zero_share, known.bit_density))
    assert found["repeat_share"] == pytest.approx(known.repeat_share)


def test_time_and_lanes_are_different_axes() -> None:
    """Codes equal along time and far apart along lanes: no toggles, a wide spread; turned round, the reverse."""
    row = np.array([0x3F80 + 0x0100 * k + (0x7F if k % 2 else 0) for k in range(8)], dtype=np.uint16)
    block = np.broadcast_to(row, (1, 8, 8))
    still, moving = statistics(block, time=1), statistics(block, time=2)
    assert (still["toggle_rate"], still["repeat_share"]) == (0.0, 1.0)
    assert (moving["toggle_rate"], moving["repeat_share"]) == (7 / 8, 0.0)
    assert still["exponent_range"] == moving["exponent_range"] == 14
    assert still["exponent_spread"] == pytest.approx(np.std(np.arange(8) * 2))
    turned = statistics(block.transpose(0, 2, 1), time=2)
    assert (turned["toggle_rate"], turned["exponent_range"]) == (0.0, 0.0)


def test_zeros_have_no_exponent_and_specials_are_counted() -> None:
    found = statistics(np.array([[[0, 0x8000, 0x0001, 0x0000], [0x3F80, 0, 0x4080, 0x7F80]]], dtype=np.uint16))
    assert found["zero_share"] == 5 / 8
    assert found["exponent_range"] == 255 - 127  # of the one group that has any
    assert found["non_finite_share"] == 1 / 8
    assert statistics(np.zeros((1, 4, 4), dtype=np.uint16))["exponent_spread"] == 0.0
    assert statistics(np.zeros((1, 1, 1), dtype=np.uint16))["toggle_rate"] == 0.0


@pytest.mark.parametrize("shape", [(1, 100_000, 256), (64, 5_000, 9), (3, 2, 1), (1, 1, 5000), (2, 40, 33)])
def test_a_sample_is_bounded_spread_out_and_whole_tiles(shape: tuple[int, int, int]) -> None:
    groups, rows, lanes = shape
    operand = np.arange(rows * lanes, dtype=np.uint32).astype(np.uint16).reshape(1, rows, lanes).repeat(groups, 0)
    block = sample(operand, turn=5)
    assert 0 < block.size <= SAMPLE
    assert block.shape[2] == min(lanes, 32)
    steps = np.diff(block[:, :, 0].astype(int), axis=1) % 65536
    assert np.all(steps == lanes % 65536)  # rows that follow each other
    if lanes >= 64:
        assert len({int(b[0, 0]) for b in block}) >= 0.9 * len(block)
        assert np.all(block[:, 0, 0] % 32 == 0)  # tiles begin at multiples of their lanes


def test_each_pass_sums_over_its_own_axis() -> None:
    """The exponent rises along one axis alone; the group of a pass is that axis or it sees no spread."""
    a = round_to_bf16(np.broadcast_to(2.0 ** np.arange(4, dtype=np.float32), (1, 6, 4)).copy())  # rises with i
    w = round_to_bf16(np.broadcast_to(2.0 ** np.arange(4, dtype=np.float32), (1, 5, 4)).copy())
    flat: Codes = np.full((1, 6, 5), 0x3F80, dtype=np.uint16)
    ranges = {name: both(name, serial, stored, 0)[0] for name, serial, stored in (
        ("forward", a, w), ("input_gradient", flat, w), ("weight_gradient", flat, a))}
    assert ranges["forward"]["serial_exponent_range"] == ranges["forward"]["stored_exponent_range"] == 3
    assert ranges["input_gradient"]["stored_exponent_range"] == 0  # summed over j
    assert ranges["weight_gradient"]["stored_exponent_range"] == 0  # summed over samples
    assert oriented("weight_gradient", "stored", a).shape == (1, 4, 6)


def test_every_nth_step_and_every_product_in_it() -> None:
    """A layer with four products a step, and every = 2: steps alternate, not products; evaluation is not seen."""
    torch.manual_seed(0)
    recorder = Recorder(every=2)
    model = convert(nn.MultiheadAttention(16, 2), recorder=recorder)
    x = torch.randn(5, 2, 16, requires_grad=True)
    for _ in range(5):
        model(x, x, x)[0].sum().backward()
        with torch.no_grad():
            model(x, x, x)
    assert {name: (seen.calls, seen.samples) for name, seen in recorder.seen[""].items()} == dict.fromkeys(
        PASSES, (20, 12))
    one = 3 * 10 * 16 * 16 + 2 * 2 * 5 * 5 * 16 + 10 * 16 * 16
    assert recorder.seen[""]["forward"].macs == 5 * one


def test_what_needs_no_gradient_is_no_pass() -> None:
    recorder = Recorder(every=1)
    layer = convert(nn.Conv2d(3, 4, 3), recorder=recorder)
    layer(torch.randn(2, 3, 8, 8)).sum().backward()
    assert set(recorder.seen[""]) == {"forward", "weight_gradient"}


def recorded(every: int = 1) -> Recorder:
    """A small network's record of one step; first the layer with few MACs, then one with many."""
    torch.manual_seed(1)
    recorder = Recorder(every=every)
    model = convert(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 200)), recorder=recorder)
    model(torch.randn(64, 8, requires_grad=True)).pow(2).sum().backward()
    return recorder


def test_means_weigh_layers_by_their_macs(tmp_path: Path) -> None:
    recorder = recorded()
    path = tmp_path / "activity.json"
    path.write_text(json.dumps(recorder.to_json()))
    document = reader.read(path)
    layers = document["layers"]
    assert [layers[name]["forward"]["macs"] for name in ("0", "2")] == [64 * 32, 64 * 800]
    assert all(found["samples"] == 1 and 0 < found["operands"] <= 2 * SAMPLE
               for layer in layers.values() for found in layer.values())
    zeros = [layers[name]["forward"]["serial_zero_share"] for name in ("0", "2")]
    assert zeros[0] == 0.0
    assert 0.2 < zeros[1] < 0.8  # behind the ReLU
    wanted = (zeros[0] * 32 + zeros[1] * 800) / 832
    assert reader.mean(document, "serial_zero_share", ("forward",)) == pytest.approx(wanted)
    assert document["passes"]["forward"]["serial_zero_share"] == pytest.approx(wanted)
    options = EstimateOptions(**reader.options_of(document))  # type: ignore[arg-type]
    assert 0.3 < options.input_density < 0.7
    assert options.zero_share > 0.2
    assert options.exponent_spread > 0
    both_ = {role: OperandStatistics(**fields) for role, fields in reader.operands_of(document).items()}
    assert both_["serial"].exponent_spread > 0


def test_files_that_are_no_record_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(BadInput, match=r"^activity: '.*a.json' cannot be read \(No such file"):
        reader.read(path)
    path.write_text("{")
    with pytest.raises(BadInput, match=r"^activity: '.*a.json' is not JSON \("):
        reader.read(path)
    path.write_text("{}")
    with pytest.raises(BadInput, match=r"^activity: '.*a.json' is not a record of activity; the schema"):
        reader.read(path)
    with pytest.raises(BadInput, match=r"^activity: nothing was recorded of 'serial_exponent_spread' in forward"):
        reader.options_of(Recorder().to_json() | {"layers": {}})


def test_copies_record_into_one_and_pickles_keep_what_they_saw() -> None:
    recorder = recorded()
    assert copy.deepcopy(recorder) is recorder
    again = pickle.loads(pickle.dumps(recorder))
    assert again is not recorder
    assert again.to_json() == recorder.to_json()
