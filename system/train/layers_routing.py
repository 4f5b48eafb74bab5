"""Which products run where: while a converted module's forward runs, torch's product operators go to its engine.

A torch function mode sees every torch call made inside a converted forward, whoever makes it: a layer of torch's, a
functional call, an `@` in a module of one's own. It hands product operators to the engine of the innermost converted
module and lets everything else pass. Since a mode is on, torch leaves its fused inference paths for transformers,
which would go round the arrays. A product operator that has no form here runs in FP32, and says so once.
"""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from system.train import attention
from system.train import layers_products as products
from system.train.activity import Recorder
from system.train.functions import Arrays, Engine

Form = Callable[..., torch.Tensor]
#: operator -> its form on an engine
OPERATORS: Mapping[str, Form] = {
    "linear": products.linear, "conv1d": products.conv1d, "conv2d": products.conv2d,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "__matmul__"), products.matmul),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), products.addmm), "einsum": products.einsum,
    "scaled_dot_product_attention": attention.scaled_dot_product_attention,
}
#: torch's names of operands -> ours
_NAMES = {
    products.matmul: {"input": "left", **dict.fromkeys(("other", "mat2", "vec", "tensor", "tensor2"), "right")},
    products.addmm: {**dict.fromkeys(("mat1", "mat", "batch1"), "left"),
                     **dict.fromkeys(("mat2", "vec", "batch2"), "right")},
}
#: operators written in Python of other operators here: their own body runs, and its products are seen
COMPOSED = ("multi_head_attention_forward",)
#: operators that multiply and add, and have no form here
WITHOUT_FORM = frozenset((
    "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_tbc", "convolution", "_convolution",
    "bilinear", "tensordot", "chain_matmul", "linalg_multi_dot", "linalg_matmul", "linalg_vecdot", "vdot", "inner",
    "addbmm", "addmm_", "addmv_", "baddbmm_", "addbmm_", "cdist", "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell",
    "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "grouped_mm", "_grouped_mm", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd", "__rmatmul__", "__imatmul__",
))
_CONCERNED = frozenset((*OPERATORS, *COMPOSED, *WITHOUT_FORM))


@dataclass
class Told:
    """What a conversion has warned of. without_form: (layer, operator) that ran in FP32, each once."""

    once: set[str] = field(default_factory=set)
    without_form: list[tuple[str, str]] = field(default_factory=list)

    def warn(self, key: str, message: str) -> None:
        if key not in self.once:
            self.once.add(key)
            warnings.warn(message, UserWarning, stacklevel=2)


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
        """The engine for this call: products are recorded in training alone."""
        if isinstance(self.engine, Arrays) and self.recorder is not None and torch.is_grad_enabled():
            return replace(self.engine, probe=self.recorder.at(self.name, _THREAD.mark))
        return self.engine


class _Thread(threading.local):
    """The converted forwards that run in this thread, innermost last, and whether the mode is on."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.on = False
        self.mark = 0  #: counts outermost forwards: steps, for recorders


_THREAD = _Thread()


@contextmanager
def inside(scope: Scope) -> Iterator[None]:
    """Products made in this thread, until the end, are the scope's."""
    _THREAD.mark += not _THREAD.scopes
    _THREAD.scopes.append(scope)
    was_on = _THREAD.on
    try:
        if was_on:
            yield
        else:
            with Router():
                _THREAD.on = True
                yield
    finally:
        _THREAD.on = was_on
        _THREAD.scopes.pop()


class Router(TorchFunctionMode):
    """Sees torch calls; see the module's docstring."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").partition(".")[0]
        _THREAD.on = False  # torch takes the mode off while it is being asked
        try:
            if name not in _CONCERNED:
                return func(*args, **kwargs)
            return self._product(func, name, args, kwargs)
        finally:
            _THREAD.on = True

    def _product(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        scope, operands = _THREAD.scopes[-1], list(_tensors((args, tuple(kwargs.values()))))
        engine = scope.now()
        if engine is None or any(x.is_meta for x in operands) or not any(_multiplied(x) for x in operands):
            return func(*args, **kwargs)
        if name in COMPOSED:
            with self:
                _THREAD.on = True
                return _body(func)(*args, **kwargs)
        try:
            found = _by_form(engine, name, operands, args, kwargs)
        except products.NoForm:
            if (scope.name, name) not in scope.told.without_form:
                scope.told.without_form.append((scope.name, name))
            scope.told.warn(f"{scope.name}.{name}", f"{scope.where}: operator '{name}', as it is used here, has no "
                            "form on the arrays and runs in FP32; write it with linear, convolution or matmul")
            return func(*args, **kwargs)
        if name in ("linear", "conv1d", "conv2d"):
            _look_at(scope, args[1] if len(args) > 1 else kwargs["weight"])
        return found


def _by_form(engine: Engine, name: str, operands: Sequence[torch.Tensor], args: tuple[Any, ...],
             kwargs: Mapping[str, Any]) -> torch.Tensor:
    """The operator on the engine. NoForm: none is known, or arguments or operands that it does not take."""
    form = OPERATORS.get(name)
    if form is None or not all(_has_codes(x) for x in operands):
        raise products.NoForm
    names = _NAMES.get(form, {})
    try:
        bound = inspect.signature(form).bind(engine, *args, **{names.get(key, key): v for key, v in kwargs.items()})
    except TypeError:
        raise products.NoForm from None
    return form(*bound.args, **bound.kwargs)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors among arguments, and in lists and tuples among them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _multiplied(x: torch.Tensor) -> bool:
    """Whether it can be an operand of a floating-point product; integers index and count."""
    return x.is_floating_point() or x.is_complex()


def _has_codes(x: torch.Tensor) -> bool:
    """Whether BF16 codes can stand for it; a mask may be anything real and dense."""
    return not x.is_complex() and not x.is_nested and x.layout == torch.strided


def _body(func: FunctionType) -> FunctionType:
    """A Python operator of torch's that does not ask modes again, so that what it calls is asked instead."""
    inner = FunctionType(func.__code__, {**func.__globals__, "has_torch_function": lambda *_: False}, func.__name__,
                         func.__defaults__, func.__closure__)
    inner.__kwdefaults__ = func.__kwdefaults__
    return inner


def _look_at(scope: Scope, weight: torch.Tensor) -> None:
    """Say once that a run has diverged; it goes on, as torch's own does."""
    total = weight.detach().sum()
    if not bool(torch.isfinite(total)) and not bool(torch.isfinite(weight.detach()).all()):
        scope.told.warn("diverged", f"{scope.where}: its weights are not finite any more, so the training has "
                        "diverged; lower the learning rate or go back to a checkpoint")
