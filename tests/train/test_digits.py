"""The short training: one seed gives one curve under any number of threads, and bad settings are refused."""

from __future__ import annotations

from typing import Any

import numba
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from charlib.errors import BadInput
from system.train import Recorder, Settings, digits, train_digits, train_one

pytestmark = pytest.mark.train
#: a small network, a few steps: enough for the update to feed back into the forward pass
SMALL = Settings(width=0.125, epochs=2, batch=48, seed=5)
TRAIN_IMAGES, TEST_IMAGES = 96, 32


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training sees the first images of the set only."""
    whole = digits.digits

    def head(seed: int) -> tuple[Any, ...]:
        x, y, x_test, y_test = whole(seed)
        return x[:TRAIN_IMAGES], y[:TRAIN_IMAGES], x_test[:TEST_IMAGES], y_test[:TEST_IMAGES]

    monkeypatch.setattr(digits, "digits", head)


@pytest.mark.usefixtures("few")
def test_same_seed_same_curve_for_any_thread_count() -> None:
    before = numba.get_num_threads()
    first = train_one("imc", SMALL, Recorder(every=1))
    numba.set_num_threads(1)
    try:
        again = train_one("imc", SMALL)
    finally:
        numba.set_num_threads(before)
    assert first.loss == again.loss
    assert first.accuracy == again.accuracy
    assert len(first.loss) == 2 * (TRAIN_IMAGES // SMALL.batch)


@pytest.mark.usefixtures("few")
def test_both_arithmetics_start_alike_and_differ() -> None:
    """Same weights and images: the first losses agree to BF16's precision, yet not to the bit."""
    steps: list[tuple[str, int, int]] = []
    record = train_digits(Settings(width=0.125, epochs=1, batch=48), lambda *step: steps.append(step))
    assert record.imc.loss[0] == pytest.approx(record.fp32.loss[0], rel=2**-6)
    assert record.imc.loss != record.fp32.loss
    assert steps == [("fp32", 1, 2), ("fp32", 2, 2), ("imc", 1, 2), ("imc", 2, 2)]
    plain = record.to_json()
    assert plain["imc"]["loss"] == list(record.imc.loss)
    assert set(plain["activity"]) == {"forward", "input_gradient", "weight_gradient"}
    assert 0 < plain["activity"]["forward"]["stored_bit_density"] < 1


def test_refusals() -> None:
    with pytest.raises(BadInput, match=r"^numerics: fp32, imc are allowed, got 'fp8'$"):
        train_one("fp8", SMALL)
    with pytest.raises(BadInput, match=r"^width: must be above 0, got 0$"):
        Settings(width=0)
    with pytest.raises(BadInput, match=r"^batch: at most 1438 images are there, got 5000$"):
        train_one("fp32", Settings(batch=5000))
