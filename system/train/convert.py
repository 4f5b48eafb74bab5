"""Any torch module, trained on the arrays: its products of tensors go there, everything else stays torch's FP32.

Nothing in the module is replaced: classes, parameters, buffers and state_dict stay, so that optimisers, schedules,
checkpoints, copies and pickles go on working. Each module in it gets a `forward`, a call of it with its hooks, and
each other method of a class of the user's, that says, while it runs, where products are made;
:mod:`system.train.layers_routing` sends them there. Batch norm, activations, pooling, softmax and the loss are the
vector unit's work.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn

from charlib.errors import BadInput
from system.numerics.arithmetic import Arithmetic
from system.train.activity import Recorder
from system.train.audit import Audit
from system.train.functions import Arrays, Engine
from system.train.layers_bf16 import PlainBfloat16
from system.train.layers_routing import call
from system.train.scopes import Scope, Told, refuse_tracers

NUMERICS = ("imc", "bf16", "fp32")
#: what nn.Module's `__call__` calls: the hooks before, forward, and the hooks after
CALL = "_call_impl"
Choice = Callable[[str, nn.Module], bool]


class Unreadable(BadInput, AttributeError):
    """A converted method has no source that a compiler may take for what it does."""


class Inside:
    """A module's method inside its scope. It stands in the instance, so the class stays the user's."""

    def __init__(self, module: nn.Module, scope: Scope, name: str = "forward") -> None:
        self.module, self.scope, self.name = module, scope, name
        self.own = module.__dict__.get(name)  #: one that the user had put into the instance

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The method that runs inside; inspect.signature looks here."""
        if self.own is not None:
            return self.own  # type: ignore[no-any-return]
        return getattr(type(self.module), self.name).__get__(self.module)  # type: ignore[no-any-return]

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """torch.fx asks what each attribute of a module is, and then follows the class's own method: the one place
        where a trace of a converted root can be refused."""
        if torch.fx._symbolic_trace._is_fx_tracing_flag:
            refuse_tracers(self.scope)
        return Inside

    def __getattr__(self, name: str) -> Any:
        if name in ("__code__", "__globals__"):  # torch.jit.script and torch.export read a method's source
            raise Unreadable(f"{self.scope.where}: a compiler that reads the source of '{self.name}' goes round the "
                             "arrays; take the conversion back with convert(module, 'fp32') before torch.jit.script, "
                             "torch.export and their like")
        raise AttributeError(name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return call(self.scope, "forward" if self.name == CALL else self.name, self.__wrapped__, args, kwargs)


def convert(module: nn.Module, numerics: str | Arithmetic = "imc", recorder: Recorder | None = None,
            choose: Choice = lambda name, layer: True, *, weight_gradient: str = "batched") -> nn.Module:
    """Turn `module` (in place) into one whose chosen modules make their products in another arithmetic; returns it.

    numerics: an Arithmetic, on the arrays; "imc", the same as Arithmetic(), its defaults; "bf16", operands rounded to
    BF16 and summed in FP32 by torch; "fp32", torch's own, which takes an earlier conversion back.
    Layers: linear, convolutions of one to three dimensions, transposed too, recurrent layers, attention, matrix
    products and einsum, in torch's modules, as functions and as operators. What else multiplies runs in FP32 and is
    said: see :func:`audit_of`. What is to stay in FP32 goes under :func:`system.train.scopes.fp32`.
    choose(name, module): which modules, all by default; a product belongs to the innermost module whose method runs
    (those of nn.MultiheadAttention to itself, its out_proj among them). What is not chosen keeps what it had.
    weight_gradient: "batched" or "outer", see :mod:`system.train.functions`. recorder: looks on while training.
    """
    if not isinstance(module, nn.Module):
        kind = f"the class {module.__name__}" if isinstance(module, type) else f"a {type(module).__name__}"
        raise BadInput(f"module: a torch.nn.Module is allowed, got {kind}; build the network first")
    engine = _engine(numerics, weight_gradient)
    told = Told()
    for name, layer in module.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            raise BadInput(f"module '{name}': a scripted module goes round the arrays; convert it before scripting")
        before = layer.__dict__.get("forward")
        held = before.scope if isinstance(before, Inside) else Scope(name, None, told=told)
        _put(layer, Scope(name, engine, recorder, told) if choose(name, layer) else held)
    if all(layer.__dict__["forward"].scope.engine is None for layer in module.modules()):
        for layer in module.modules():
            _take_back(layer)
    return module


def told_of(module: nn.Module) -> Told:
    """What the conversion of `module` has warned of so far; of an unconverted one, nothing."""
    held = module.__dict__.get("forward")
    return held.scope.told if isinstance(held, Inside) else Told()


def audit_of(module: nn.Module) -> Audit:
    """What the first training step of `module` multiplied outside the arithmetic asked for; empty before it."""
    return told_of(module).audit


def _engine(numerics: str | Arithmetic, weight_gradient: str) -> Engine | None:
    if isinstance(numerics, Arithmetic) or numerics == "imc":
        return Arrays(numerics if isinstance(numerics, Arithmetic) else Arithmetic(), weight_gradient)
    if numerics not in NUMERICS:
        raise BadInput(f"numerics: {', '.join(NUMERICS)} or an Arithmetic are allowed, got '{numerics}'")
    if weight_gradient != "batched":
        raise BadInput(f"weight_gradient: '{weight_gradient}' is for numerics imc, got numerics '{numerics}'")
    return PlainBfloat16() if numerics == "bf16" else None


def _put(layer: nn.Module, scope: Scope) -> None:
    _take_back(layer)
    layer.__dict__.update({name: Inside(layer, scope, name) for name in ("forward", CALL, *_methods(type(layer)))})


def _methods(kind: type) -> list[str]:
    """Methods that a class has besides nn.Module's and torch's own: what may make products when called."""
    return [name for part in kind.__mro__ if part.__module__.partition(".")[0] not in ("torch", "builtins", "typing")
            for name, value in vars(part).items()
            if isinstance(value, FunctionType) and not name.startswith("__") and not hasattr(nn.Module, name)]


def _take_back(layer: nn.Module) -> None:
    """Undo :func:`_put`."""
    for name, held in list(layer.__dict__.items()):
        if isinstance(held, Inside):
            del layer.__dict__[name]
            if held.own is not None:
                layer.__dict__[name] = held.own
