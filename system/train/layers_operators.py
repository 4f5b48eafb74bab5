"""Which of torch's operators have a form on the arrays, and how a call of one becomes a call of its form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import torch
from torch._subclasses import FakeTensor

from system.train import attention
from system.train import layers_convolutions as convolutions
from system.train import layers_einsum as sums
from system.train import layers_products as products
from system.train import layers_recurrent as recurrent
from system.train.functions import Engine
from system.train.scopes import tensors

Form = Callable[..., Any]
#: operator -> its form on an engine; one with a trailing underscore writes the result into its first argument
OPERATORS: Mapping[str, Form] = {
    "linear": products.linear, "bilinear": products.bilinear,
    **{name: getattr(convolutions, name) for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d",
                                                      "conv_transpose2d", "conv_transpose3d", "convolution")},
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "__matmul__", "linalg_matmul"), products.matmul),
    "__rmatmul__": products.rmatmul, **dict.fromkeys(("addmm", "addmv", "baddbmm"), products.addmm),
    "addbmm": products.addbmm, "addr": products.addr, "inner": products.inner, "linalg_vecdot": products.vecdot,
    "linalg_multi_dot": products.multi_dot, "chain_matmul": products.chain_matmul,
    **dict.fromkeys(("matrix_power", "linalg_matrix_power"), products.matrix_power),
    "einsum": sums.einsum, "tensordot": sums.tensordot,
    **{name: getattr(recurrent, name) for name in ("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell",
                                                   "rnn_tanh_cell", "rnn_relu_cell")},
    "scaled_dot_product_attention": attention.scaled_dot_product_attention,
}
#: torch's names of operands -> ours
_NAMES: Mapping[Form, Mapping[str, str]] = {
    products.matmul: {"input": "left", **dict.fromkeys(("other", "mat2", "vec", "tensor", "tensor2"), "right")},
    products.inner: {"input": "left", "other": "right"}, products.vecdot: {"x": "left", "y": "right"},
    products.addmm: {**dict.fromkeys(("mat1", "mat", "batch1"), "left"),
                     **dict.fromkeys(("mat2", "vec", "batch2"), "right")},
    products.addbmm: {"batch1": "left", "batch2": "right"}, products.addr: {"vec1": "left", "vec2": "right"},
    products.matrix_power: {"A": "input"},
}
#: operators written in Python of other operators here: their own body runs, and its products are seen
COMPOSED = ("multi_head_attention_forward",)
#: operators that multiply and add, and have no form here
WITHOUT_FORM = frozenset((
    "conv_tbc", "_convolution", "cdist", "grouped_mm", "_grouped_mm", "_scaled_mm", "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd", "__imatmul__", "_sparse_mm", "_sparse_addmm", "sspaddmm", "hspmm", "smm",
    "sparse_sampled_addmm", "linalg_matrix_exp", "matrix_exp", "cov", "corrcoef",
))
_IN_PLACE = ("addmm_", "addmv_", "baddbmm_", "addbmm_", "addr_")
CONCERNED = frozenset((*OPERATORS, *_IN_PLACE, *COMPOSED, *WITHOUT_FORM))


#: axes of `left` and `right` where torch takes no others
_AXES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("mm", "addmm"), (2, 2)), **dict.fromkeys(("mv", "addmv"), (2, 1)),
    **dict.fromkeys(("dot", "vdot", "addr"), (1, 1)), **dict.fromkeys(("bmm", "baddbmm", "addbmm"), (3, 3)),
}
#: forms whose own words on shapes name the operands as they were given
_OWN_WORDS = ("linear", "matmul", "__matmul__", "linalg_matmul", "mm", "conv", "einsum", "tensordot")


def multiplies(operands: Sequence[torch.Tensor]) -> bool:
    """Whether floating-point products are to be made: integers count, meta and fake tensors hold nothing, and an
    empty operand has nothing to multiply."""
    return (any(x.is_floating_point() or x.is_complex() for x in operands)
            and not any(x.is_meta or isinstance(x, FakeTensor) or (not x.is_nested and x.numel() == 0)
                        for x in operands))


def by_form(engine: Engine, name: str, operands: Sequence[torch.Tensor], args: tuple[Any, ...],
            kwargs: Mapping[str, Any]) -> Any:
    """The operator on the engine. NoForm: none is known, or arguments or operands that it does not take."""
    if name in _IN_PLACE and args:
        return args[0].copy_(by_form(engine, name[:-1], operands, args, kwargs))
    form = OPERATORS.get(name)
    if form is None or not all(_has_codes(x) for x in operands):
        raise products.NoForm
    names = _NAMES.get(form, {})
    try:
        bound = inspect.signature(form).bind(engine, *args, **{names.get(key, key): v for key, v in kwargs.items()
                                                               if (key, v) != ("out", None)})
    except TypeError:
        raise products.NoForm from None
    _check_axes(name, bound.arguments)
    return form(*bound.args, **bound.kwargs)


def _check_axes(name: str, given: Mapping[str, Any]) -> None:
    if name not in _AXES:
        return
    left, right, axes = given["left"], given["right"], _AXES[name]
    if (left.dim(), right.dim()) != axes or (axes == (3, 3) and len(left) != len(right)):
        raise products.Misfit(f"operands of {axes[0]} and {axes[1]} axes"
                              f"{' and one batch' * (axes == (3, 3))} are expected, got {tuple(left.shape)} and "
                              f"{tuple(right.shape)}; use matmul for others")


def _has_codes(x: torch.Tensor) -> bool:
    """Whether BF16 codes can stand for it; a mask may be anything real and dense."""
    return not x.is_complex() and not x.is_nested and x.layout == torch.strided


def body(func: FunctionType) -> FunctionType:
    """A Python operator of torch's that does not ask modes again, so that what it calls is asked instead."""
    inner = FunctionType(func.__code__, {**func.__globals__, "has_torch_function": lambda *_: False}, func.__name__,
                         func.__defaults__, func.__closure__)
    inner.__kwdefaults__ = func.__kwdefaults__
    return inner


def misfit(func: Any, name: str, error: Exception, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """What is wrong with an operator's arguments, in words; None where torch itself would take them."""
    own = isinstance(error, products.Misfit)
    if own and (name.startswith(_OWN_WORDS) or name in _AXES):
        return str(error)
    try:
        func(*_on_meta(args), **_on_meta(dict(kwargs)))
    except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError) as found:
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors((args, kwargs)))
        return f"operands of shapes {shapes} do not fit ({str(found).splitlines()[0]}); give shapes that do"
    return str(error) if own else None


def _on_meta(value: Any) -> Any:
    """Arguments with their shapes alone."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("meta")
    if isinstance(value, (list, tuple)):
        return type(value)(_on_meta(part) for part in value)
    return {key: _on_meta(part) for key, part in value.items()} if isinstance(value, dict) else value
