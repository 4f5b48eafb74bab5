"""Many chips: by hand, at both ends, and through the command."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from system.cli import app
from system.design import Design, evaluate, make_reader
from system.estimate import estimate, validate
from system.options import EstimateOptions
from system.scale import counts, data_parallel, standby_w

OPTIONS = EstimateOptions(image_px=32, width=0.25, batch=8)


@pytest.fixture(scope="module")
def design() -> Design:
    return evaluate(OPTIONS, make_reader(OPTIONS))


def test_one_chip_is_the_design(design: Design) -> None:
    alone = data_parallel(design, 1)
    assert (alone.energy_j, alone.time_s) == (design.cost.energy_j("system"), design.cost.times["system"].total_s)
    assert alone.all_reduce_s == alone.link_j == 0.0


def test_two_chips_by_hand(design: Design) -> None:
    """Half the gradients leave to be summed, the sums of the other half come back: 32 bits a parameter each way."""
    two = data_parallel(design, 2)
    bits = 32 * design.network.parameters
    assert two.all_reduce_s == pytest.approx(bits / 8 / 100e9, rel=1e-12)
    assert two.link_j == pytest.approx(bits * 1.9e-12 / 0.88 / 8, rel=1e-12, abs=0.0)
    assert two.wait_j == pytest.approx(standby_w(design) * two.all_reduce_s / 8, rel=1e-12, abs=0.0)
    assert two.time_s == pytest.approx(design.cost.times["system"].total_s / 2 + two.all_reduce_s / 16, rel=1e-12)
    assert (two.batch, two.area_m2) == (16, 2 * design.chip.area_m2)


def test_many_chips_move_twice_the_gradients_and_no_more(design: Design) -> None:
    rows = [data_parallel(design, n) for n in counts(1000)]
    limit = 2 * 4 * design.network.parameters / 100e9
    assert rows[-1].all_reduce_s == pytest.approx(limit, rel=2e-3)
    for few, many in itertools.pairwise(rows):
        assert many.all_reduce_s > few.all_reduce_s
        assert many.energy_j > few.energy_j
        assert many.time_hidden_s <= many.time_s < few.time_s


def test_counts_double_and_end_with_what_was_asked() -> None:
    assert counts(1) == (1,)
    assert counts(8) == (1, 2, 4, 8)
    assert counts(6) == (1, 2, 4, 6)


def test_a_slow_link_decides(design: Design) -> None:
    slow = replace(design, options=replace(OPTIONS, link_bytes_per_s=1e6))
    assert data_parallel(slow, 4).time_hidden_s == pytest.approx(data_parallel(slow, 4).all_reduce_s / 32, rel=1e-12)


def test_command_and_schema() -> None:
    done = CliRunner().invoke(app, ["estimate", "mobilenet_v1", "--image-px", "32", "--width", "0.25", "--chips", "4",
                                    "--json", "-"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    validate(document)
    assert [row["chips"] for row in document["scale"]] == [1, 2, 4]
    assert estimate(OPTIONS)["scale"] == []


@pytest.mark.parametrize(("changes", "message"), [
    ({"chips": 0}, "chips: "), ({"link_bytes_per_s": 0.0}, "link_bytes"),
])
def test_what_is_no_chip_is_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        EstimateOptions(**changes)  # type: ignore[arg-type]


def test_a_die_is_filled_and_not_more() -> None:
    options = replace(OPTIONS, die_mm2=50.0)
    filled = evaluate(options, make_reader(options))
    assert filled.chip.area_m2 <= 50e-6 < filled.chip.area_m2 + filled.area.total_m2
    with pytest.raises(BadInput, match="holds no macro"):
        evaluate(replace(OPTIONS, die_mm2=2.0), make_reader(OPTIONS))
    with pytest.raises(BadInput, match="die_mm2: an area in mm² with macros 'replicated' is allowed"):
        replace(OPTIONS, die_mm2=50.0, macros="resident")
