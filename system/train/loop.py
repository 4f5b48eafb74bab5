"""The training loop: torch's optimiser, schedule and loss around a network whose products run in any arithmetic.

Everything random follows from the seed: initial weights, each epoch's order, each step's augmentation and dropout,
stochastic rounding. So a run that was stopped goes on from its checkpoint with the same bits, and no thread count
of the kernels changes them. (Torch's own sums change with torch's threads: :func:`torch.set_num_threads`.)
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from charlib.errors import BadInput
from system.numerics.arithmetic import Arithmetic
from system.numerics.update import RULES
from system.train import checkpoint
from system.train.activity import Recorder
from system.train.convert import NUMERICS, convert, told_of
from system.train.datasets import Dataset, augment
from system.train.functions import WEIGHT_GRADIENTS
from system.train.weights import ArraySgd, groups

SCHEDULES = ("one_cycle", "cosine", "constant")
#: images that are judged at a time
TEST_BATCH = 256
_PRIME = 1_000_003


@dataclass(frozen=True)
class Plan:
    """Everything that a run's numbers depend on, but for the network and the data themselves."""

    numerics: str = "imc"
    arithmetic: Arithmetic = field(default_factory=Arithmetic)
    weight_gradient: str = "batched"
    weights: str = "master"
    epochs: int = 20
    batch: int = 64
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    schedule: str = "one_cycle"
    shift: int = 2  #: random shifts of each batch, pixels
    flip: bool = False
    seed: int = 0
    record_every: int = 16

    def __post_init__(self) -> None:
        for name, allowed in (("numerics", NUMERICS), ("weight_gradient", WEIGHT_GRADIENTS), ("weights", RULES),
                              ("schedule", SCHEDULES)):
            if getattr(self, name) not in allowed:
                raise BadInput(f"{name}: {', '.join(allowed)} are allowed, got '{getattr(self, name)}'")
        for name in ("epochs", "batch", "record_every"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name}: must be at least 1, got {getattr(self, name)}")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise BadInput(f"lr: must be above 0, got {self.rate:g}")
        if not (0 <= self.momentum < 1 and self.decay >= 0 and self.shift >= 0):
            raise BadInput("momentum, decay, shift: 0 <= momentum < 1, decay >= 0 and shift >= 0 are needed, got "
                           f"{self.momentum:g}, {self.decay:g}, {self.shift}")


@dataclass(frozen=True)
class Moment:
    """Where a run stands: for a progress bar."""

    step: int
    steps: int
    loss: float
    accuracy: float | None  #: of the last epoch's test


Watch = Callable[[Moment], None]


@dataclass(frozen=True)
class Curve:
    """loss: mean of each step's batch. accuracy: share of right test images after each epoch. status: "done",
    "stopped" or "diverged". without_form: (layer, operator) that have no form on the arrays and ran in FP32. outside:
    what of the first step's products ran outside the arithmetic asked for, see :meth:`Audit.to_json`."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    seconds: float
    status: str = "done"
    activity: dict[str, Any] = field(default_factory=dict)
    without_form: tuple[tuple[str, str], ...] = ()
    outside: dict[str, Any] = field(default_factory=dict)


class Run:
    """One network, one dataset, one plan; :meth:`train` goes to the end, or on from a checkpoint."""

    def __init__(self, build: Callable[[], nn.Module], data: Dataset, plan: Plan, folder: Path | None = None,
                 save_every: int = 0, recorder: Recorder | None = None, name: str = "the network") -> None:
        """build: makes the network, after the seed is set. folder: where checkpoint.pt goes. save_every: steps
        between checkpoints, besides one an epoch. recorder: in place of one that samples every `record_every` steps.
        name: what messages call the network.
        """
        batches = data.train_count // plan.batch
        if batches < 1:
            raise BadInput(f"batch: at most {data.train_count} images are there, got {plan.batch}")
        self.data, self.plan, self.batches, self.name = data, plan, batches, name
        self.steps = batches * plan.epochs
        self.path = folder / "checkpoint.pt" if folder is not None else None
        self.save_every = save_every
        torch.manual_seed(plan.seed)
        self.model = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recorder = recorder
        if recorder is None and plan.numerics == "imc":
            self.recorder = Recorder(plan.record_every)
        convert(self.model, plan.arithmetic if plan.numerics == "imc" else plan.numerics, self.recorder,
                weight_gradient=plan.weight_gradient if plan.numerics == "imc" else "batched")
        self.told = told_of(self.model)
        self.optimiser = ArraySgd(groups(self.model, plan.weights), plan.rate, plan.momentum, plan.decay,
                                  seed=plan.seed)
        self.schedule = self._schedule()
        self.done, self.loss, self.accuracy, self.seconds = 0, [], [], 0.0  # type: ignore[var-annotated]
        self._before: dict[str, Any] | None = None  #: in the middle of a step: what its forward changes, as it was

    def _schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        if self.plan.schedule == "one_cycle":
            return torch.optim.lr_scheduler.OneCycleLR(self.optimiser, self.plan.rate, total_steps=max(self.steps, 2),
                                                       cycle_momentum=False)
        if self.plan.schedule == "cosine":
            return torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, self.steps)
        return torch.optim.lr_scheduler.ConstantLR(self.optimiser, 1.0)

    def resume(self) -> None:
        """Take up the checkpoint in the folder. BadInput where there is none or it belongs to another run."""
        assert self.path is not None
        state = checkpoint.load(self.path)
        try:
            self._take(state, self.path)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
            raise checkpoint.not_whole(self.path, error) from None

    def _take(self, state: Mapping[str, Any], path: Path) -> None:
        """Stand where a checkpoint says. BadInput where it is of another run or its parts contradict each other."""
        mine = self._identity()
        other = [name for name in mine if state["run"].get(name) != mine[name]]
        if other:
            name = other[0]
            raise BadInput(f"--resume: {path} is of a run with {name} {state['run'].get(name)}, not "
                           f"{mine[name]}; give the same settings, or start without --resume")
        try:
            self.model.load_state_dict(state["model"])
        except RuntimeError as error:
            raise BadInput(f"--resume: {path} is of another network ({str(error).splitlines()[0]})") from None
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.done, self.seconds = int(state["done"]), float(state["seconds"])
        self.loss, self.accuracy = list(map(float, state["loss"])), list(map(float, state["accuracy"]))
        if not (len(self.loss) == self.done <= self.steps
                and self.done // self.batches - len(self.accuracy) in (0, 1)):
            raise ValueError(f"{self.done} of {self.steps} steps done, {len(self.loss)} losses and "
                             f"{len(self.accuracy)} tests recorded")
        self.told.without_form[:] = [(layer, operator) for layer, operator in state.get("without_form", ())]
        if "audit" in state:
            self.told.audit.load_state_dict(state["audit"])
        if self.recorder is not None:
            self.recorder.load_state_dict(state["activity"])

    def _identity(self) -> dict[str, Any]:
        return {**{k: str(v) for k, v in asdict(self.plan).items()}, "dataset": self.data.name,
                "image_px": str(self.data.image_px)}

    def save(self) -> None:
        """Write the checkpoint, if there is a folder."""
        if self.path is not None:
            checkpoint.save(self.path, {
                "run": self._identity(), "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(), "done": self.done, "loss": self.loss,
                "accuracy": self.accuracy, "seconds": self.seconds, "without_form": list(self.told.without_form),
                "audit": self.told.audit.state_dict(),
                "activity": self.recorder.state_dict() if self.recorder is not None else {}})

    def train(self, watch: Watch | None = None) -> Curve:
        """Run to the end. Ctrl-C and a loss that is not finite end it early; the status says so.

        After Ctrl-C the run stands as after its last whole step, so that going on gives the bits of a run that was
        left alone.
        """
        status, begin = "done", time.perf_counter() - self.seconds
        try:
            self._end_epoch()  # of a run that was stopped in its test
            while self.done < self.steps:
                loss = self._step()
                self.seconds = time.perf_counter() - begin
                if not math.isfinite(loss):
                    status = "diverged"
                    break
                if not self._end_epoch() and self.save_every and self.done % self.save_every == 0:
                    self.save()
                if watch is not None:
                    watch(Moment(self.done, self.steps, loss, self.accuracy[-1] if self.accuracy else None))
        except KeyboardInterrupt:
            status = "stopped"
            self._undo()
            self.save()
        activity = self.recorder.to_json() if self.recorder is not None else {}
        return Curve(tuple(self.loss), tuple(self.accuracy), self.seconds, status, activity,
                     tuple(self.told.without_form), self.told.audit.to_json())

    def _end_epoch(self) -> bool:
        """Test and save, where an epoch is through and its test is not."""
        if len(self.accuracy) == self.done // self.batches:
            return False
        self.accuracy.append(self.test())
        self.save()
        return True

    def _step(self) -> float:
        epoch, batch = divmod(self.done, self.batches)
        order = torch.randperm(self.data.train_count, generator=_generator(self.plan.seed, epoch, 0))
        chosen = order[batch * self.plan.batch:(batch + 1) * self.plan.batch]
        images, labels = self.data.train_batch(chosen)
        images = augment(images, _generator(self.plan.seed, self.done, 1), self.plan.shift, self.plan.flip)
        torch.manual_seed(_seed(self.plan.seed, self.done, 2))  # dropout
        self.model.train()
        self.optimiser.zero_grad()
        self._before = {"buffers": {name: buffer.clone() for name, buffer in self.model.named_buffers()},
                        "audit": self.told.audit.state_dict(),
                        "activity": self.recorder.state_dict() if self.recorder is not None else {}}
        loss = functional.cross_entropy(self._scores(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        with _uninterrupted():
            self.optimiser.step()
            self.schedule.step()
            self.done += 1
            value = float(loss.detach())
            self.loss.append(value)
            self._before = None
        return value

    def _undo(self) -> None:
        """Take back what the forward of a step that was cut off has changed: buffers, activity, the audit."""
        if self._before is None:
            return
        with torch.no_grad():
            for name, buffer in self.model.named_buffers():
                if name in self._before["buffers"]:
                    buffer.copy_(self._before["buffers"][name])
        self.told.audit.load_state_dict(self._before["audit"])
        if self.recorder is not None:
            self.recorder.load_state_dict(self._before["activity"])
        self._before = None

    def _scores(self, images: torch.Tensor) -> torch.Tensor:
        """The network's score of each image for each class. BadInput where it gives anything else."""
        scores = self.model(images.contiguous(memory_format=torch.channels_last))
        wanted = (len(images), self.data.classes)
        if isinstance(scores, torch.Tensor) and scores.is_floating_point() and tuple(scores.shape) == wanted:
            return scores
        got = type(scores).__name__
        if isinstance(scores, torch.Tensor):
            got = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise BadInput(f"network: {self.name} gives {got} for {len(images)} images of {self.data.name}; a float "
                       f"tensor of shape (batch, classes) = {wanted} is needed; mend its last layer or "
                       "what forward returns")

    def test(self) -> float:
        """Share of test images that are named rightly."""
        self.model.eval()
        right = 0
        with torch.no_grad():
            for start in range(0, self.data.test_count, TEST_BATCH):
                chosen = torch.arange(start, min(start + TEST_BATCH, self.data.test_count))
                images, labels = self.data.test_batch(chosen)
                right += int((self._scores(images).argmax(dim=1) == labels).sum())
        return right / self.data.test_count


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What must be done whole or not at all: Ctrl-C waits for its end. Python gives it to the main thread alone."""
    before, came = signal.getsignal(signal.SIGINT), []
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def _seed(*parts: int) -> int:
    """One seed of several numbers."""
    found = 0
    for part in parts:
        found = (found * _PRIME + part + 1) % (1 << 63)
    return found


def _generator(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(*parts))
