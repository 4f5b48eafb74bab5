"""The short training of `himc run`."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from system.train import Plan, short, train_digits
from system.train.datasets import Dataset, open_dataset

pytestmark = pytest.mark.train


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training sees the first images of the set only."""
    monkeypatch.setattr(short, "open_dataset", lambda *given: head(open_dataset("digits", None, 0)))


def head(data: Dataset) -> Dataset:
    """The first 96 training and 48 test images."""
    return replace(data, train_labels=data.train_labels[:96], test_labels=data.test_labels[:48])


@pytest.mark.usefixtures("few")
def test_both_arithmetics_start_alike_and_differ() -> None:
    """Same weights and images: the first losses agree to BF16's precision, yet not to the bit."""
    steps: list[tuple[str, int, int]] = []
    record = train_digits(Plan(epochs=1, batch=48), 0.125, lambda *step: steps.append(step))
    assert record.imc.loss[0] == pytest.approx(record.fp32.loss[0], rel=2**-6)
    assert record.imc.loss != record.fp32.loss
    assert steps == [("fp32", 1, 2), ("fp32", 2, 2), ("imc", 1, 2), ("imc", 2, 2)]
    plain = record.to_json()
    assert plain["imc"]["loss"] == list(record.imc.loss)
    assert set(plain["activity"]) == {"forward", "input_gradient", "weight_gradient"}
    assert 0 < plain["activity"]["forward"]["stored_bit_density"] < 1
