"""Any torch module as layer records: its forward is run on tensors without data, and each operator becomes a record.

Operators are seen below torch's functions (ATen), so modules, functions and operators come out alike; passes backward
follow from the records, and from autograd, which says where a gradient comes back. Products of tensors become MAC
layers, everything else an operator of the vector unit; an operator without a count is an error that names it. Views,
copies and concatenations are addressing and no record, and what depends on neither the sample nor a parameter is a
constant. Two batches are followed, so that rows of a sample are told from rows of a step. No memory is needed for
weights.
"""

from __future__ import annotations

import contextlib
import logging
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from charlib.errors import BadInput
from system.operators import OperatorCount
from system.train.tracing_layers import layers_of
from system.train.tracing_operators import COMPLEX, HANDLERS, MAKES, VIEWS
from system.train.tracing_products import PRODUCTS
from system.train.tracing_records import Info, Records, tensors
from system.workload import Network

#: samples of the two batches that are followed; not one, since batch norm refuses a lone value a channel in training
BATCHES = (2, 4)
#: further draws of a module that draws numbers of Python's or NumPy's, to see whether its steps depend on them
DRAWS = range(1, 9)


def trace(module: nn.Module, input_shape: tuple[int, ...], name: str, dtype: torch.dtype = torch.float32,
          loss: bool = True, counts: Mapping[str, OperatorCount] | None = None) -> Network:
    """The records of a module's training step on samples of `input_shape` (without the batch axis).

    dtype: of the input; an integer type for indices. loss: ends with softmax and loss over the output's last axis.
    counts: of operators by their ATen name, before those known here. The module is traced as in training, and is left
    as it was. BadInput for an operator without a count, or a module that cannot run on tensors without data.
    """
    training = {layer: layer.training for layer in module.modules()}
    module.train()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.enable_grad(), _plain_operators():
            def follow(batch: int, draw: int = 0) -> tuple[Records, torch.Tensor]:
                return _follow(module, batch, input_shape, name, dtype, dict(counts or {}), draw)

            small, large = (follow(batch) for batch in BATCHES)
            if small[0].drawn and any(follow(BATCHES[0], draw)[0].found != small[0].found for draw in DRAWS):
                raise BadInput(f"trace: {name} draws at random which operators run, so that no step stands for the "
                               "others; give a module that runs all of them, such as one with a drop rate of 0")
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"trace: {_why(error, name, input_shape)}") from error
    finally:
        for layer, before in training.items():
            layer.training = before
    classes = 1
    for records, scores in (small, large):
        classes = scores.shape[-1] if scores.dim() else 1
        if loss:
            with torch.enable_grad():
                records.loss(scores)
    layers = layers_of(small[0], large[0], name)
    if loss and not small[0].flows:
        raise BadInput(f"trace: nothing of {name} learns from its output, so there is no training to price; give one "
                       "that is differentiable, with a parameter behind it that requires a gradient")
    return Network(name, input_shape[-1] if input_shape else 1, 1.0, classes, layers)


def _follow(module: nn.Module, batch: int, input_shape: tuple[int, ...], name: str, dtype: torch.dtype,
            counts: dict[str, OperatorCount], draw: int) -> tuple[Records, torch.Tensor]:
    """The records of one batch, and the output. draw: seeds Python's and NumPy's random choices."""
    records = Records(batch, counts)
    with _draws(draw, records), _paths(module, records), _functions(records):
        held = dict(_without_data(module.named_parameters(remove_duplicate=False)))
        constants = dict(_without_data(module.named_buffers(remove_duplicate=False)))
        sample = torch.zeros((batch, *input_shape), dtype=dtype)
        _introduce(records, held, sample)
        with _Watch(records):
            output = torch.func.functional_call(module, held | constants, (sample,))
    scores = _first_tensor(output, name)
    _refuse_compiled(scores, name)
    return records, scores


@contextlib.contextmanager
def _draws(seed: int, records: Records) -> Iterator[None]:
    """Random choices from this seed; tells the records whether any was made, and leaves all as it was."""
    def now() -> tuple[Any, ...]:
        drawn: Any = np.random.get_state()
        return random.getstate(), drawn[1].tobytes(), drawn[2:]

    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    first = now()
    try:
        yield
        records.drawn = now() != first
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _refuse_compiled(scores: torch.Tensor, name: str) -> None:
    """A scripted function that ran before is one node of autograd, and its operators look as if nothing learned."""
    seen, todo = set(), [scores.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if "DifferentiableGraph" in node.name():
            raise BadInput(f"trace: {name} runs a function that torch.jit has compiled, and gradients inside it "
                           "cannot be followed; give the function as it was before it was scripted")
        seen.add(node)
        todo += [before for before, _ in node.next_functions]


def _why(error: Exception, name: str, input_shape: tuple[int, ...]) -> str:
    """What kept a module from being followed, and what to do."""
    text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if isinstance(error, DataDependentOutputException | DynamicOutputShapeException):
        return (f"{name} cannot be followed: which operators run depends on a tensor's values ({text}); give a "
                "module whose steps are the same for every sample (experts as a gather of their matrices or a "
                "grouped product)")
    size = " × ".join(map(str, input_shape))
    return (f"{name} cannot run on samples of {size}: {type(error).__name__}: {text}; mend the module or ask for "
            "another size")


def _without_data(named: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Same names, shapes and need of a gradient; what was one tensor stays one."""
    made: dict[int, torch.Tensor] = {}
    for name, tensor in named:
        if id(tensor) not in made:
            made[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype).requires_grad_(tensor.requires_grad)
        yield name, made[id(tensor)]


def _introduce(records: Records, held: dict[str, torch.Tensor], sample: torch.Tensor) -> None:
    for name, tensor in held.items():
        if records.info(tensor).parameter is None:
            records.note(tensor, Info(parameter=name, unique=tensor.numel()), made=True)
            records.parameters[name] = tensor.numel()
    records.note(sample, Info(), sample=True)



def _first_tensor(output: Any, name: str) -> torch.Tensor:
    if isinstance(output, torch.Tensor):
        return output
    found = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    for part in found:
        if isinstance(part, torch.Tensor):
            return part
    raise BadInput(f"trace: {name} gives {type(output).__name__}; a tensor, or a tuple or dict with one, is needed")


@contextlib.contextmanager
def _paths(module: nn.Module, records: Records) -> Iterator[None]:
    """Tells the records which module runs."""
    handles = []

    def enter(path: str, leaf: bool) -> Callable[..., None]:
        return lambda *_: records.path.append((path, leaf))

    def leave(*_: Any) -> None:
        records.path.pop()

    try:
        for path, layer in module.named_modules():
            handles.append(layer.register_forward_pre_hook(enter(path, not any(layer.children()))))
            handles.append(layer.register_forward_hook(leave))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _plain_operators() -> Iterator[None]:
    """Recurrent layers step by step, not as one operator of a library; einsum from left to right, whatever is
    installed; a scripted function as it is written in each run; torch's log of a failure left to our error."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it speaks of hardware that is not in use
            with (torch.backends.mkldnn.flags(enabled=False), torch.backends.opt_einsum.flags(enabled=False),
                  torch.jit.optimized_execution(False)):  # type: ignore[attr-defined]
                yield
    finally:
        log.disabled = before


@contextlib.contextmanager
def _functions(records: Records) -> Iterator[None]:
    """Inside a user's autograd.Function (reentrant checkpoints too) autograd does not look, so the records do."""
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        through = any(records.gradient(t) for t in tensors(args))
        records.inside += through
        try:
            return original.__func__(cls, *args, **kwargs)
        finally:
            records.inside -= through

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes a record of each operator that runs inside."""

    def __init__(self, records: Records) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.records = records

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        op = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        if made := list(tensors((outputs,))):
            _record(self.records, op.removesuffix("_"), args, kwargs, outputs, made)
        return outputs


def _record(records: Records, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any,
            made: list[torch.Tensor]) -> None:
    """What an operator adds to the records, and what is known of its outputs."""
    operands = list(tensors((*args, *kwargs.values())))
    known = [t for t in operands if records.sample(t) or records.made(t) or records.info(t).mask]
    if op.startswith("bernoulli") or (known and all(records.info(t).mask for t in known)):
        for tensor in made:
            records.note(tensor, Info(mask=True))
        return
    known = [t for t in known if not records.info(t).mask]
    if op in MAKES or not (known or op in PRODUCTS or op in VIEWS):
        return
    sample, behind = any(records.sample(t) for t in known), any(records.made(t) for t in known)
    records.flows = any(records.gradient(t) for t in known)
    info = Info()
    if op in records.own:
        records.vector(op, made[0].shape, records.learned(*operands), count=records.own[op])
    elif op in VIEWS:
        info = _viewed(records, known or operands)
    elif op not in COMPLEX and any(t.is_complex() for t in (*operands, *made)):
        what = "which the arrays do not multiply" if op in PRODUCTS else "which has no count"
        raise BadInput(f"trace: {records.place()} uses {op} of complex numbers, {what}; write it of real and "
                       "imaginary parts")
    elif op in HANDLERS:
        info = HANDLERS[op](records, args, kwargs, outputs) or info
    else:
        raise BadInput(f"trace: {records.place()} uses {op}, an operator without a count; give it one in the file "
                       f'that builds the network: OPERATOR_COUNTS = {{"{op}": OperatorCount((adds, multiplies, '
                       'compares), '
                       "(those backward))} of system.operators")
    _touch(records, operands)
    for tensor in made:
        records.note(tensor, _shown(records, info, tensor, op in VIEWS, sample), sample, behind)


def _viewed(records: Records, known: list[torch.Tensor]) -> Info:
    """What is known of a view or copy; rows of a parameter that are joined to a sample's are an operator."""
    if len(known) == 1:
        return replace(records.info(known[0]), unique=records.distinct(known[0]))
    if any(records.sample(t) for t in known):
        for tensor in known:
            if records.info(tensor).parameter is not None:
                records.vector("embedding", (1, tensor.numel()), records.learned(tensor))
    return Info()


def _shown(records: Records, info: Info, tensor: torch.Tensor, view: bool, sample: bool) -> Info:
    """What an output shows of what is known."""
    gradient = records.inside > 0 and records.flows and tensor.is_floating_point()
    if view and info.unique:
        info = replace(info, unique=min(info.unique, tensor.numel()),
                       offset=max(info.offset, int(tensor.storage_offset())))
    elif not sample and not info.unique:
        info = replace(info, unique=tensor.numel())
    return replace(info, gradient=gradient)


def _touch(records: Records, operands: list[torch.Tensor]) -> None:
    """Parameters that learn here are updated, wherever they are held."""
    for use in records.learned(*operands):
        records.touched[use[0]] = use[2]
