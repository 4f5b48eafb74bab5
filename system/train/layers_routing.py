"""Which products run where: while a converted module runs, torch's product operators go to its engine.

A torch function mode sees every torch call made inside a converted module's methods, whoever makes it: a layer of
torch's, a functional call, an `@` in a module of one's own. It hands product operators to the engine of the innermost
converted module and lets everything else pass. Since a mode is on, torch leaves its fused inference paths for
transformers, which would go round the arrays. A product operator that has no form here runs in FP32, and says so
once.

One thing outlasts the call: a user's autograd.Function, reentrant checkpointing among them, runs Python in backward,
where no module runs. Its node remembers the scope that it was made in, and what was kept in FP32 there.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from charlib.errors import BadInput
from system.train import layers_operators as operators
from system.train.audit import Looking
from system.train.layers_products import Misfit, NoForm
from system.train.scopes import THREAD, Scope, autocasts, fp32, kept, place, refuse_tracers, tensors

#: the attribute of an autograd node that has been looked at
_MARK = "_himc_looked_at"


class Router(TorchFunctionMode):
    """Sees torch calls; see the module's docstring."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.OpOverload):  # a dispatch mode's, such as a counter of FLOPs: below autograd
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "").partition(".")[0]
        THREAD.on = False  # torch takes the mode off while it is being asked
        try:
            remember(tensors((args, kwargs)))
            if name not in operators.CONCERNED:
                return func(*args, **kwargs)
            return self._product(func, name, args, kwargs)
        finally:
            THREAD.on = True

    def _product(self, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        scope, operands = THREAD.scopes[-1], list(tensors((args, kwargs)))
        if scope.engine is None or kept() or not operators.multiplies(operands):
            return func(*args, **kwargs)
        if torch._C._are_functorch_transforms_active():  # one that the module itself asked for
            refuse_tracers(scope)
        engine = scope.now()
        assert engine is not None
        if name in operators.COMPOSED:
            with self:
                THREAD.on = True
                return operators.body(func)(*args, **kwargs)
        try:
            found = operators.by_form(engine, name, operands, args, kwargs)
        except NoForm:
            return _without_form(scope, func, name, args, kwargs)
        except (Misfit, RuntimeError, ValueError, IndexError, ArithmeticError) as error:
            if (why := operators.misfit(func, name, error, args, kwargs)) is None:
                raise
            raise BadInput(f"{scope.where}: {name}: {why}") from error
        if name in ("linear", "conv1d", "conv2d", "conv3d"):
            _look_at(scope, args[1] if len(args) > 1 else kwargs["weight"])
        return found


def _without_form(scope: Scope, func: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Torch's own result, said once."""
    if (scope.name, name) not in scope.told.without_form:
        scope.told.without_form.append((scope.name, name))
    scope.told.warn(f"{scope.name}.{name}", f"{scope.where}: operator '{name}', as it is used here, has no form on "
                    "the arrays and runs in FP32; write it with linear, convolution or matmul")
    THREAD.formless = True
    try:
        return func(*args, **kwargs)
    finally:
        THREAD.formless = False


def _look_at(scope: Scope, weight: torch.Tensor) -> None:
    """Say once that a run has diverged; it goes on, as torch's own does."""
    total = weight.detach().sum()
    if not bool(torch.isfinite(total)) and not bool(torch.isfinite(weight.detach()).all()):
        scope.told.warn("diverged", f"{scope.where}: its weights are not finite any more, so the training has "
                        "diverged; lower the learning rate or go back to a checkpoint")


@contextmanager
def inside(scope: Scope, entry: str | None = None, *, audited: bool = False) -> Iterator[None]:
    """Products made in this thread, until the end, are the scope's.

    entry: the method that was called; None for what backward runs, which is no step of its own. audited: whether the
    audit looks on besides, as it does on an entry's first call.
    """
    outermost, before = not THREAD.scopes, (THREAD.on, THREAD.base, THREAD.looking)
    if outermost or entry is None:
        THREAD.base = autocasts()
    step = outermost and entry is not None and torch._C._current_graph_task_id() < 0  # backward may call it again
    THREAD.mark += step
    watched = audited or (step and scope.told.audit.due(f"{scope.name}.{entry}"))
    THREAD.scopes.append(scope)
    try:
        with ExitStack() as modes:
            if watched and (THREAD.looking is None or THREAD.looking.elsewhere):
                THREAD.looking = modes.enter_context(Looking(scope.told.audit, place))
            if not THREAD.on:
                modes.enter_context(Router())
                THREAD.on = True
            yield
    finally:
        THREAD.on, THREAD.base, THREAD.looking = before
        THREAD.scopes.pop()
    if watched and before[2] is None:
        scope.told.warn_of_audit()


def call(scope: Scope, entry: str, function: Callable[..., Any], args: tuple[Any, ...],
         kwargs: Mapping[str, Any]) -> Any:
    """The module's method inside its scope. BadInput under torch's transforms and tracers, which cannot follow."""
    refuse_tracers(scope)
    if not THREAD.scopes:
        for node in _functions_of(tensors((args, kwargs))):
            setattr(node, _MARK, None)  # made before the module was entered
    with inside(scope, entry):
        found = function(*args, **kwargs)
        remember(tensors(found))
    return _driven(scope, entry, found) if inspect.isgenerator(found) else found


def _driven(scope: Scope, entry: str, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """A method that yields: its body runs inside, its caller's does not."""
    sent = None
    while True:
        try:
            with inside(scope, entry):
                value = steps.send(sent)
        except StopIteration as end:
            return end.value
        sent = yield value


def remember(values: Iterable[torch.Tensor]) -> None:
    """Autograd nodes of a user's autograd.Function run their backward in the scope, and under the keeping, of now."""
    for node in _functions_of(values):
        setattr(node, _MARK, None)
        if _is_ours(node):
            continue
        again = partial(_again, THREAD.scopes[-1], bool(kept()), THREAD.looking is not None)
        if callable(run := getattr(node, "run_function", None)):  # a checkpoint: what it runs again
            node.run_function = partial(again, run)
        else:
            node.apply = partial(again, partial(_apply, weakref.ref(node)))


def _again(scope: Scope, keep: bool, audited: bool, function: Callable[..., Any], *args: Any) -> Any:
    """What backward runs, in the scope of its forward."""
    with inside(scope, audited=audited), ExitStack() as zone:
        if keep:
            zone.enter_context(fp32())
        found = function(*args)
        remember(tensors(found))
        return found


def _apply(node: Callable[[], Any], *gradients: Any) -> Any:
    """The node's own backward; it is reached weakly, since it holds this function."""
    held = node()
    return type(held).apply(held, *gradients)


def _functions_of(values: Iterable[torch.Tensor]) -> Iterator[Any]:
    """Python nodes, not looked at yet, that made these tensors, and such nodes straight before them."""
    todo = [x.grad_fn for x in values if x.requires_grad]
    while todo:
        node = todo.pop()
        if isinstance(node, BackwardCFunction) and _MARK not in vars(node):
            yield node
            todo += [before for before, _ in node.next_functions]


def _is_ours(node: Any) -> bool:
    return str(type(node)._forward_cls.__module__).startswith("system.train.")
