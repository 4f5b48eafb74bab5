"""Any torch module as layer records: its forward is run on tensors without data, and each operator becomes a record.

Operators are seen below torch's functions (ATen), so modules, functions and operators come out alike; passes backward
follow from the records. Products of tensors become MAC layers, everything else an operator of the vector unit; an
operator without a count is an error that names it. Views, copies and concatenations are addressing and no record, and
what depends on neither the sample nor a parameter is a constant. No memory is needed for weights.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from charlib.errors import BadInput
from system.train.tracing_operators import FREE, HANDLERS, VIEWS
from system.train.tracing_records import Info, Records
from system.workload import Network

#: samples of the traced batch; two, since batch norm refuses a lone value a channel in training
BATCH = 2


def trace(module: nn.Module, input_shape: tuple[int, ...], name: str, dtype: torch.dtype = torch.float32,
          loss: bool = True) -> Network:
    """The records of a module's training step on samples of `input_shape` (without the batch axis).

    dtype: of the input; an integer type for indices. loss: ends with softmax and loss over the output's last axis.
    The module is traced as in training, and is left as it was. BadInput for an operator without a count, or a module
    that cannot run on tensors without data.
    """
    training = {layer: layer.training for layer in module.modules()}
    records = Records(BATCH)
    module.train()
    try:
        with FakeTensorMode(), torch.no_grad(), _plain_operators(), _paths(module, records):
            held = dict(_without_data(module.named_parameters(remove_duplicate=False)))
            constants = dict(_without_data(module.named_buffers(remove_duplicate=False)))
            sample = torch.zeros((BATCH, *input_shape), dtype=dtype)
            _introduce(records, module, held, sample)
            with _Watch(records):
                output = torch.func.functional_call(module, held | constants, (sample,))
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"trace: {_why(error, name, input_shape)}") from error
    finally:
        for layer, mode in training.items():
            layer.training = mode
    scores = _first_tensor(output, name)
    if loss:
        records.loss(tuple(scores.shape))
    classes = scores.shape[-1] if scores.dim() else 1
    return Network(name, input_shape[-1] if input_shape else 1, 1.0, classes, records.layers())


def _why(error: Exception, name: str, input_shape: tuple[int, ...]) -> str:
    """What kept a module from being followed, and what to do."""
    text = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
    if isinstance(error, DataDependentOutputException):
        return (f"{name} cannot be followed: which operators run depends on a tensor's values ({text}); give a "
                "module whose steps are the same for every sample")
    size = " × ".join(map(str, input_shape))
    return (f"{name} cannot run on samples of {size}: {type(error).__name__}: {text}; mend the module or ask for "
            "another size")


def _without_data(tensors: Iterator[tuple[str, torch.Tensor]]) -> Iterator[tuple[str, torch.Tensor]]:
    """Same names and shapes; what was one tensor stays one."""
    made: dict[int, torch.Tensor] = {}
    for name, tensor in tensors:
        if id(tensor) not in made:
            made[id(tensor)] = torch.empty(tensor.shape, dtype=tensor.dtype)
        yield name, made[id(tensor)]


def _introduce(records: Records, module: nn.Module, held: dict[str, torch.Tensor], sample: torch.Tensor) -> None:
    learns = {name: p.requires_grad for name, p in module.named_parameters(remove_duplicate=False)}
    for name, tensor in held.items():
        if records.info(tensor) is None:
            records.note(tensor, Info(gradient=learns[name], parameter=name, unique=tensor.numel()))
            records.parameters[name] = tensor.numel()
    records.note(sample, Info(sample=True))


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
    """Recurrent layers step by step, not as one operator of a library; torch's log of a failure left to our error."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it speaks of hardware that is not in use
            with torch.backends.mkldnn.flags(enabled=False):
                yield
    finally:
        log.disabled = before


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Makes a record of each operator that runs inside."""

    def __init__(self, records: Records) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.records = records

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        records, operands = self.records, list(_tensors((*args, *kwargs.values())))
        known = [info for t in operands if (info := records.info(t)) is not None]
        outputs = func(*args, **kwargs)
        op = func.overloadpacket._qualified_op_name.removeprefix("aten::").removesuffix("_")
        if op.startswith("bernoulli") or (known and all(i.mask for i in known)):
            for tensor in _tensors((outputs,)):
                records.note(tensor, Info(mask=True))
        known = [info for info in known if not info.mask]
        if not known or op in FREE:
            return outputs
        merged = Info(sample=any(i.sample for i in known), gradient=any(i.gradient for i in known))
        if op in VIEWS:
            merged = records.viewed(operands)
        elif op in HANDLERS:
            merged = HANDLERS[op](records, args, kwargs, outputs, merged) or merged
        elif any(True for _ in _tensors((outputs,))):
            raise BadInput(f"trace: {records.place()} uses {op}, an operator without a count; count it in "
                           "system/operators.py and system/train/tracing_operators.py")
        for tensor in _tensors((outputs,)):
            records.note(tensor, records.shown(merged, tensor) if op in VIEWS else merged)
        return outputs


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
