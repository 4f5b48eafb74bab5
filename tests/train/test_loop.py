"""Training runs: bits that follow from the seed alone, checkpoints, weights as the array holds them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import numba
import torch
from torch import nn

from charlib.errors import BadInput
from system.numerics import update
from system.numerics.arithmetic import Arithmetic
from system.train import ArraySgd, Curve, Moment, Plan, Run, stored
from system.train.datasets import Dataset, open_dataset
from system.train.weights import groups

pytestmark = pytest.mark.train

PLAN = Plan(epochs=2, batch=24, seed=5, record_every=2)


@pytest.fixture(scope="module")
def data() -> Dataset:
    """72 training and 20 test images of 8 px."""
    whole = open_dataset("digits", 8, 3)
    return replace(whole, train_labels=whole.train_labels[:72], test_labels=whole.test_labels[:20])


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                         nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10))


def bits(run: Run) -> list[bytes]:
    return [p.detach().contiguous().numpy().tobytes() for p in run.model.state_dict().values()]


class Killed(Exception):
    """Stands for a process that ends without a word."""


@pytest.mark.parametrize("weights", update.RULES)
def test_a_killed_run_goes_on_bit_for_bit(data: Dataset, tmp_path: Path, weights: str) -> None:
    plan = replace(PLAN, weights=weights, flip=True)
    whole = Run(network, data, plan)
    wanted = whole.train()
    assert len(wanted.loss) == whole.steps == 6

    def kill(moment: Moment) -> None:
        if moment.step == 5:
            raise Killed

    with pytest.raises(Killed):
        Run(network, data, plan, tmp_path, save_every=2).train(kill)
    again = Run(network, data, plan, tmp_path)
    again.resume()
    assert again.done == 4  # the newest checkpoint before the kill
    got = again.train()
    assert (got.loss, got.accuracy) == (wanted.loss, wanted.accuracy)
    assert bits(again) == bits(whole)
    assert got.activity == wanted.activity


def test_threads_of_the_kernels_change_no_bit(data: Dataset) -> None:
    if numba.config.NUMBA_NUM_THREADS < 2:  # type: ignore[attr-defined]
        pytest.skip("one thread is all that this process has")
    runs: list[tuple[Curve, list[bytes]]] = []
    before = numba.get_num_threads()
    for threads in (1, 2):
        numba.set_num_threads(threads)
        run = Run(network, data, PLAN)
        runs.append((run.train(), bits(run)))
    numba.set_num_threads(before)
    assert runs[0][1] == runs[1][1]
    assert runs[0][0].loss == runs[1][0].loss


def test_the_seed_changes_a_run(data: Dataset) -> None:
    first, second = (Run(network, data, replace(PLAN, seed=seed)).train() for seed in (0, 1))
    assert first.loss != second.loss


def test_ctrl_c_saves_and_a_run_that_is_not_finite_says_so(data: Dataset, tmp_path: Path) -> None:
    def interrupt(moment: Moment) -> None:
        if moment.step == 2:
            raise KeyboardInterrupt

    stopped = Run(network, data, PLAN, tmp_path).train(interrupt)
    assert (stopped.status, len(stopped.loss)) == ("stopped", 2)
    again = Run(network, data, PLAN, tmp_path)
    again.resume()
    assert again.train().status == "done"
    wild = Run(network, data, replace(PLAN, rate=1e20, schedule="constant")).train()
    assert wild.status == "diverged"
    assert not np.isfinite(wild.loss[-1])
    assert np.isfinite(wild.loss[:-1]).all()


class Cut(nn.Module):
    """Raises at its n-th training call, as Ctrl-C does in the middle of a forward; later calls pass."""

    def __init__(self, at: int, training: bool = True) -> None:
        super().__init__()
        self.left, self.when = at, training

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= self.training == self.when
        if self.left == 0 and self.training == self.when:
            self.left = -1
            raise KeyboardInterrupt
        return x


def network_with(cut: Cut) -> nn.Module:
    """The network with `cut` behind its second convolution."""
    layers = list(network())  # type: ignore[call-overload]
    return nn.Sequential(*layers[:4], cut, *layers[4:])


@pytest.mark.parametrize(("cut", "steps"), [(Cut(4), 3), (Cut(1), 0), (Cut(1, training=False), 3)],
                         ids=["fourth step", "first step", "test of the first epoch"])
def test_ctrl_c_within_a_step_or_a_test_leaves_the_last_whole_step(data: Dataset, tmp_path: Path, cut: Cut,
                                                                   steps: int) -> None:
    """The forward that was cut off counted products and moved batch norm's means; nothing of it stays."""
    whole = Run(lambda: network_with(Cut(0)), data, PLAN)
    wanted = whole.train()
    stopped = Run(lambda: network_with(cut), data, PLAN, tmp_path).train()
    assert (stopped.status, len(stopped.loss)) == ("stopped", steps)
    again = Run(lambda: network_with(Cut(0)), data, PLAN, tmp_path)
    again.resume()
    got = again.train()
    assert (got.loss, got.accuracy) == (wanted.loss, wanted.accuracy)
    assert got.activity == wanted.activity
    assert bits(again) == bits(whole)


def test_ctrl_c_within_an_update_waits_for_its_end(data: Dataset, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Run(network, data, PLAN).train()
    step = ArraySgd.step

    def interrupted(optimiser: ArraySgd) -> None:
        if run.done == 1:
            signal.raise_signal(signal.SIGINT)
        step(optimiser)

    with monkeypatch.context() as patch:
        patch.setattr(ArraySgd, "step", interrupted)
        run = Run(network, data, PLAN, tmp_path)
        stopped = run.train()
    assert (stopped.status, len(stopped.loss)) == ("stopped", 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = Run(network, data, PLAN, tmp_path)
    again.resume()
    got = again.train()
    assert (got.loss, got.activity) == (wanted.loss, wanted.activity)


class Odd(nn.Module):
    """Gives what it is told to make of ten scores."""

    def __init__(self, make: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.last, self.make = nn.Linear(64, 10), make

    def forward(self, x: torch.Tensor) -> object:
        return self.make(self.last(x.flatten(1)))


@pytest.mark.parametrize(("make", "got"), [
    (lambda z: z[:, :7], r"torch.float32 of shape \(24, 7\)"), (lambda z: {"out": z}, "dict"),
    (lambda z: z[:, :, None], r"torch.float32 of shape \(24, 10, 1\)"), (lambda z: (z, z), "tuple"),
    (lambda z: z.argmax(dim=1), r"torch.int64 of shape \(24,\)"),
])
def test_what_is_no_score_for_each_class_is_refused(data: Dataset, make: Callable[[torch.Tensor], object], got: str
                                                    ) -> None:
    message = (rf"^network: odd.py:build gives {got} for 24 images of digits; a float tensor of shape \(batch, "
               r"classes\) = \(24, 10\) is needed; mend its last layer or what forward returns$")
    with pytest.raises(BadInput, match=message):
        Run(lambda: Odd(make), data, PLAN, name="odd.py:build").train()


def test_operators_without_a_form_are_kept_through_a_checkpoint(data: Dataset, tmp_path: Path) -> None:
    class Far(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(10, 64) * 0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return -torch.cdist(x.flatten(1), self.centres)

    def far() -> nn.Module:
        return nn.Sequential(Far())

    found = (("0", "cdist"),)
    with pytest.warns(UserWarning, match="has no form on the arrays"):
        first = Run(far, data, PLAN, tmp_path).train()
    assert first.without_form == found
    assert (first.outside["share"], first.outside["macs"]) == (1.0, PLAN.batch * 640 * 2)
    again = Run(far, data, PLAN, tmp_path)
    again.resume()
    last = again.train()  # nothing is left to run
    assert (last.without_form, last.outside) == (found, first.outside)
    plain = Run(far, data, replace(PLAN, numerics="fp32", epochs=1)).train()
    assert (plain.without_form, plain.outside["macs"]) == ((), 0)


def test_a_checkpoint_of_another_run_is_refused(data: Dataset, tmp_path: Path) -> None:
    Run(network, data, PLAN, tmp_path).save()
    with pytest.raises(BadInput, match=r"--resume: .* is of a run with seed 5, not 6"):
        Run(network, data, replace(PLAN, seed=6), tmp_path).resume()
    with pytest.raises(BadInput, match="another network"):
        Run(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data, PLAN, tmp_path).resume()
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(BadInput, match="is not a checkpoint"):
        Run(network, data, PLAN, tmp_path).resume()
    with pytest.raises(BadInput, match="does not exist"):
        Run(network, data, PLAN, tmp_path / "nowhere").resume()


@pytest.mark.parametrize(("change", "message"), [
    ({"numerics": "fp16"}, "numerics: imc, bf16, fp32 are allowed, got 'fp16'"), ({"epochs": 0}, "epochs: must be"),
    ({"rate": 0.0}, "lr: must be above 0"), ({"momentum": 1.0}, "momentum"), ({"weights": "fp8"}, "weights: "),
    ({"schedule": "steps"}, "schedule: one_cycle, cosine, constant"),
])
def test_a_plan_refuses_what_is_not_allowed(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        replace(PLAN, **change)  # type: ignore[arg-type]


def test_a_batch_larger_than_the_set_is_refused(data: Dataset) -> None:
    with pytest.raises(BadInput, match="batch: at most 72 images are there, got 73"):
        Run(network, data, replace(PLAN, batch=73))


@pytest.mark.parametrize("rule", update.RULES)
def test_the_optimiser_is_the_near_memory_update(rule: str) -> None:
    """Three steps of a matrix and a vector: the matrix as :mod:`system.numerics.update`, the vector in FP32."""
    rng = np.random.default_rng(1)
    start = rng.normal(size=(6, 5)).astype(np.float32)
    model = nn.Linear(5, 6)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(start))
    bias = model.bias.detach().numpy().copy()
    optimiser = ArraySgd(groups(model, rule), 0.1, 0.9, 0.01, seed=7)
    sgd, plain = update.Sgd(0.1, 0.9, 0.01, rule, 7), update.Sgd(0.1, 0.9, 0.01, "master", 7)
    state, other = update.start(start, sgd), update.start(bias, plain)
    for number in range(3):
        gradients = [rng.normal(size=p.shape).astype(np.float32) for p in model.parameters()]
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = torch.from_numpy(gradient)
        optimiser.step()
        state, other = update.step(state, gradients[0], sgd, number), update.step(other, gradients[1], plain, number)
        held = state.extra if rule == "master" else (state.weight.astype(np.uint32) << 16).view(np.float32)
        assert np.array_equal(model.weight.detach().numpy(), held)
        assert np.array_equal(model.bias.detach().numpy(), other.extra)


@pytest.mark.parametrize("rule", update.RULES)
def test_any_optimiser_under_a_rule_keeps_bf16_in_the_array(rule: str) -> None:
    """Adam: weights lie on BF16's grid, small steps are lost in "bf16" alone, and its state can be taken up."""
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    start = layer.weight.detach().clone()

    def made() -> tuple[nn.Linear, object]:
        module = nn.Linear(40, 30)
        module.load_state_dict(layer.state_dict())
        return module, stored(torch.optim.Adam(module.parameters(), 1e-5), rule, seed=3)

    module, optimiser = made()
    for step in range(40):
        module.weight.grad, module.bias.grad = torch.ones(30, 40), torch.ones(30)
        optimiser.step()  # type: ignore[attr-defined]
        if step == 19:
            kept = (module.state_dict(), optimiser.state_dict())  # type: ignore[attr-defined]
            twin, second = made()
            twin.load_state_dict(kept[0])
            second.load_state_dict(kept[1])  # type: ignore[attr-defined]
        elif step > 19:
            twin.weight.grad, twin.bias.grad = torch.ones(30, 40), torch.ones(30)
            second.step()  # type: ignore[attr-defined]
    weight = module.weight.detach()
    assert torch.equal(twin.weight.detach(), weight)
    assert torch.equal(weight.bfloat16().float(), weight) == (rule != "master")
    moved = float((weight - start.bfloat16().float()).mean())
    if rule == "bf16":
        assert abs(moved) < 1e-4  # most weights never move
    else:
        assert moved == pytest.approx(-4e-4, rel=0.1)


def test_a_lane_that_is_too_narrow_is_another_run(data: Dataset) -> None:
    wide, narrow = (Run(network, data, replace(PLAN, arithmetic=Arithmetic(guard_bits=g))).train() for g in (4, -9))
    assert wide.loss[0] == pytest.approx(narrow.loss[0], rel=0.1)
    assert wide.loss != narrow.loss
