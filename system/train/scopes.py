"""Where a product belongs: the converted module that runs, and what in it is kept in FP32.

A scope is entered by calling a converted module: its forward, or another method of its class. Under :func:`fp32`, and
under an `autocast(enabled=False)` that the model itself opens, products stay torch's FP32. An autocast that is off
around the whole model, as training scripts have it, keeps nothing.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from charlib.errors import BadInput
from system.train import audit
from system.train.activity import Recorder
from system.train.audit import Audit, Counted, Looking
from system.train.functions import Arrays, Engine


@dataclass
class Told:
    """What a conversion has warned of. without_form: (layer, operator) that ran in FP32, each once. audit: what ran
    outside in the first step; announce: whether it is to warn of that."""

    once: set[str] = field(default_factory=set)
    without_form: list[tuple[str, str]] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)
    announce: bool = True

    def warn(self, key: str, message: str) -> None:
        if key not in self.once:
            self.once.add(key)
            warnings.warn(message, UserWarning, stacklevel=2)

    def warn_of_audit(self) -> None:
        """Say what the audit found since the last time."""
        if self.announce and (news := self.audit.news()):
            warnings.warn(news, UserWarning, stacklevel=2)


@dataclass
class Scope:
    """A converted module: its name, its engine (None: torch's FP32), its recorder, what has been told."""

    name: str
    engine: Engine | None
    recorder: Recorder | None = None
    told: Told = field(default_factory=Told)

    @property
    def where(self) -> str:
        """The module in words."""
        return f"layer '{self.name}'" if self.name else "module"

    def now(self) -> Engine | None:
        """The engine for this call: products are recorded in training alone, and counted in the first step."""
        engine = self.engine
        if isinstance(engine, Arrays) and self.recorder is not None and torch.is_grad_enabled():
            engine = replace(engine, probe=self.recorder.at(self.name, THREAD.mark))
        return engine if engine is None or THREAD.looking is None else Counted(engine, THREAD.looking)


class _Thread(threading.local):
    """The converted modules that run in this thread, innermost last, and the modes that go with them."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.on = False  #: whether the router is on
        self.mark = 0  #: counts outermost calls: steps, for recorders
        self.fp32 = 0  #: how many fp32() are open
        self.base = 0  #: how many autocasts were open outside the outermost call
        self.looking: Looking | None = None  #: the audit, where it is on
        self.formless = False  #: whether an operator without a form runs


THREAD = _Thread()


@contextmanager
def fp32() -> Iterator[None]:
    """Products in it, in this thread, stay torch's FP32, whichever converted module makes them; their gradients too.

    Also a decorator. For angles, positions and losses that BF16 would spoil.
    """
    THREAD.fp32 += 1
    try:
        yield
    finally:
        THREAD.fp32 -= 1


def kept() -> str:
    """Why products made now stay in FP32 though the arrays are on; empty where they do not."""
    if THREAD.fp32:
        return audit.KEPT
    if autocasts() > THREAD.base and not any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        return audit.AUTOCAST
    return ""


def autocasts() -> int:
    """How many autocasts are open in this thread, on or off."""
    torch.autocast_increment_nesting()
    return int(torch.autocast_decrement_nesting())


def place() -> tuple[str, str]:
    """Layer and reason of a product that runs outside now."""
    scope = THREAD.scopes[-1]
    if why := kept():
        return scope.name, why
    if scope.engine is None:
        return scope.name, audit.NOT_CHOSEN
    return scope.name, audit.NO_FORM if THREAD.formless else audit.UNSEEN


def refuse_tracers(scope: Scope) -> None:
    """torch.compile, export, jit.trace, fx and torch.func would record torch's FP32 in place of the arrays."""
    asked = ("torch.export" if torch.compiler.is_exporting() else
             "torch.compile" if torch.compiler.is_compiling() or _compiled() else
             "torch.jit.trace" if torch._C._is_tracing() else
             "torch.fx" if torch.fx._symbolic_trace._is_fx_tracing_flag else
             "a transform of torch.func" if torch._C._are_functorch_transforms_active() else "")
    if asked:
        raise BadInput(f"{scope.where}: {asked} cannot follow products onto the arrays; call the converted module "
                       "and backward() directly, or take the conversion back with convert(module, 'fp32') first")


def _compiled() -> bool:
    """Whether torch.compile runs this as Python, since it could not follow: pieces would still be compiled."""
    return torch._C._dynamo.eval_frame.get_eval_frame_callback() not in (None, False)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors among arguments, and in the lists, tuples, dictionaries and records among them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (int, float, str, type(None))):
        return
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))
    elif hasattr(type(value), "__dataclass_fields__"):
        yield from tensors(list(vars(value).values()))
