"""ATen operators and the records they become. A handler adds records and may say more of the output."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from charlib.errors import BadInput
from system.train.tracing_records import Info, Records, mixed
from system.workload import Size

Handler = Callable[[Records, tuple[Any, ...], dict[str, Any], Any, Info], Info | None]

#: addressing: no operation, no record
VIEWS = frozenset((
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "unsqueeze", "squeeze", "select",
    "slice", "split", "split_with_sizes", "unbind", "chunk", "unsafe_split", "unsafe_chunk",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "cat", "stack", "clone", "_to_copy",
    "contiguous",
    "alias", "detach", "lift_fresh", "as_strided", "constant_pad_nd", "repeat", "flip", "roll", "narrow", "unfold",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "index", "index_select", "gather", "copy",
    "_reshape_alias", "flatten", "unflatten", "diagonal", "movedim", "numpy_T", "mT", "native_channel_shuffle",
))
#: what only makes or looks at constants and shapes
FREE = frozenset((
    "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full",
    "randn_like", "rand_like", "eq", "ne", "lt", "le", "gt", "ge", "isnan", "logical_not", "logical_and",
    "bitwise_not", "argmax", "item", "_local_scalar_dense",
))


def _square(sizes: Sequence[int]) -> Size:
    """One number for a square."""
    return sizes[0] if len(sizes) == 2 and sizes[0] == sizes[1] else tuple(sizes)


def _every(sizes: Sequence[int], axes: int) -> tuple[int, ...]:
    return tuple(sizes) * axes if len(sizes) == 1 else tuple(sizes)


def _info(records: Records, tensor: Any) -> Info:
    return records.info(tensor) or Info()


def _weight(records: Records, tensor: Any) -> Info | None:
    info = records.info(tensor)
    return info if info is not None and info.parameter is not None else None


# -- products -------------------------------------------------------------------------------------------------


def _convolution(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
    x, w, b, stride, padding, dilation, transposed, _, groups = args[:9]
    weights, bias, axes = _info(records, w), _weight(records, b), x.dim() - 2
    if not weights.weight:
        raise BadInput(f"trace: {records.place()} convolves with a weight that is no parameter")
    px, kernel = tuple(x.shape[2:]), tuple(w.shape[2:])
    if transposed:
        # Every input position gives out_channels × taps products, which are added where they overlap.
        spread = w.shape[1] * groups * math.prod(kernel)
        records.mac("convolution", "conv", x.shape[1], spread, 1, 1, _square(px), weights=weights,
                    operand=_info(records, x), groups=groups, padding=0)
        records.operator("col2im", spread, px)
        if bias is not None:
            records.vector("bias", tuple(out.shape), (bias,))
        return merged
    inside, outside = x.shape[1], w.shape[0]
    kind = "depthwise" if 1 < groups == inside == outside else "conv"
    name = records.mac(
        "convolution", kind, inside, outside, _square(kernel), _square(_every(stride, axes)), _square(px),
        weights=weights, operand=_info(records, x), bias=bias, groups=groups,
        padding=_square(_every(padding, axes)), dilation=_square(_every(dilation, axes)))
    return replace(merged, mac=name)


def _product(records: Records, sides: tuple[Info, Info], sizes: tuple[int, int, int, int], merged: Info, op: str,
             bias: Info | None = None) -> Info:
    """Sides (g, m, k) and (g, k, n), sizes g, m, k, n. A parameter is stored, of two activations the right one."""
    (left, right), (g, m, k, n) = sides, sizes
    weights, operand = (right, left) if right.weight else (left, right)
    if not weights.weight or operand.weight:
        if not (left.sample and right.sample) or g % records.batch:
            raise mixed(records, op)
        heads = g // records.batch
        return replace(merged, mac=records.mac("matmul", "matmul", heads * k, heads * n, 1, 1, (m,), weights=None,
                                               operand=left, groups=heads))
    if weights is left:
        m, n = n, m
    groups = max(1, weights.unique // (k * n))
    positions = records.per_sample(g * m // groups)
    kind, px = "linear" if groups == 1 else "conv", 1 if positions == 1 else (positions,)
    name = records.mac("linear", kind, groups * k, groups * n, 1, 1, px, weights=weights, operand=operand, bias=bias,
                       groups=groups)
    return replace(merged, mac=name)


def _mm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
    left, right = args[:2]
    return _product(records, (_info(records, left), _info(records, right)), (1, *left.shape, right.shape[1]), merged,
                    "mm")


def _bmm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
    left, right = args[:2]
    return _product(records, (_info(records, left), _info(records, right)), (*left.shape, right.shape[2]), merged,
                    "bmm")


def _added(product: Handler) -> Handler:
    """A product with something added: a bias, or another tensor."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
        made = product(records, args[1:], {}, out, merged) or merged
        if kwargs.get("alpha", 1) != 1:
            records.vector("scale", out.shape)
        return _add(records, (made, args[0]), kwargs, out, merged) if kwargs.get("beta", 1) != 0 else made
    return handle


def _attention(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
    """Scores, scale, mask, softmax, sum of values. Query heads that share a key are more rows of its product."""
    query, key, value = args[:3]
    heads, keys = key.shape[1], key.shape[2]
    rows = query.shape[1] // heads * query.shape[2]
    causal = kwargs.get("is_causal", args[4] if len(args) > 4 else False)
    records.mac("scores", "matmul", heads * query.shape[3], heads * keys, 1, 1, (rows,), weights=None,
                operand=_info(records, query), groups=heads)
    for kind in ("scale", *(("mask",) if causal or kwargs.get("attn_mask") is not None else ()), "softmax"):
        records.operator(kind, heads, (rows, keys))
    records.mac("values", "matmul", heads * keys, heads * value.shape[3], 1, 1, (rows,), weights=None, operand=merged,
                groups=heads)
    return merged


# -- the vector unit ------------------------------------------------------------------------------------------


def _plain(kind: str) -> Handler:
    """One operator over the output's elements."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
        first = out if isinstance(out, torch.Tensor) else out[0]
        learned = [i for a in args if (i := _weight(records, a)) is not None]
        records.vector(kind, first.shape, learned)
    return handle


def _add(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> Info:
    """Residual, bias of the product before, learned tensor or constant. An operand may be given by its info."""
    left, right = (a if isinstance(a, Info) else _info(records, a) for a in args[:2])
    if left.parameter is not None:
        left, right = right, left
    if right.parameter is not None and right.unique == records.output_channels(left.mac):
        records.give_bias(left.mac or "", right)
        return merged
    learned = (right,) if right.parameter is not None else ()
    if left.sample and right.sample:
        records.vector("residual", out.shape)
    elif learned or (left.gradient and right.gradient):
        records.vector("position_add", out.shape, learned)
    else:
        records.vector("shift", out.shape)
    return merged


def _times(both: str) -> Handler:
    """Two activations; a learned factor; a dropout's mask; a constant."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
        left, right = (_info(records, a) for a in args[:2])
        learned = [i for i in (left, right) if i.parameter is not None]
        kind = "scale"
        if left.mask or right.mask:
            kind = "dropout"
        elif left.sample and right.sample:
            kind = both
        elif learned or (left.gradient and right.gradient):
            kind = "gain"
        records.vector(kind, out.shape, learned)
    return handle


def _layer_norm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
    size = math.prod(args[1])
    learned = [i for a in args[2:] if (i := _weight(records, a)) is not None]
    records.operator("layer_norm", size, (records.per_sample(args[0].numel()) // size,), learned)


def _power(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
    if args[1] != 2:
        raise BadInput(f"trace: {records.place()} uses pow with exponent {args[1]}, an operator without a count")
    records.vector("multiply", out.shape)


def _pool(kind: str) -> Handler:
    """Windows of as many elements as the kernel has, or as the input has for each output."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
        first = out if isinstance(out, torch.Tensor) else out[0]
        records.vector(kind, first.shape, (), -(-args[0].numel() // first.numel()))
    return handle


def _window(kind: str, axes: int) -> Handler:
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, merged: Info) -> None:
        first = out if isinstance(out, torch.Tensor) else out[0]
        records.vector(kind, first.shape, (), math.prod(_every(args[1], axes)))
    return handle


_PLAIN = {
    "relu": "relu", "abs": "relu", "clamp_min": "relu", "hardtanh": "relu6",
    "clamp": "relu6", "relu6": "relu6", "leaky_relu": "leaky_relu",
    "_prelu_kernel": "leaky_relu", "sigmoid": "sigmoid", "tanh": "tanh",
    "silu": "swish", "hardswish": "hardswish",
    "hardsigmoid": "hardsigmoid", "gelu": "gelu",
    "_softmax": "softmax", "_safe_softmax": "softmax", "_log_softmax": "softmax", "native_dropout": "dropout",
    "masked_fill": "mask", "where": "mask", "tril": "mask", "triu": "mask", "neg": "scale",
    "elu": "elu", "softplus": "softplus",
    "upsample_bilinear2d": "interpolate", "_weight_norm_interface": "weight_norm",
    "exp": "exp", "rsqrt": "rsqrt", "sqrt": "rsqrt", "reciprocal": "divide", "native_batch_norm": "batch_norm",
    "_native_batch_norm_legit": "batch_norm", "_native_batch_norm_legit_functional": "batch_norm",
    "native_group_norm": "layer_norm", "embedding": "embedding", "rsub": "shift",
}
HANDLERS: dict[str, Handler] = {
    "convolution": _convolution, "mm": _mm, "bmm": _bmm, "addmm": _added(_mm), "baddbmm": _added(_bmm),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    **{op: _plain(kind) for op, kind in _PLAIN.items()},
    **dict.fromkeys(("add", "sub"), _add),
    "mul": _times("multiply"), "div": _times("divide"),
    "native_layer_norm": _layer_norm, "_fused_rms_norm": _layer_norm, "pow": _power,
    **{op: _pool("average_pool") for op in ("mean", "sum", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")},
    **{op: _pool("max_pool") for op in ("amax", "max", "adaptive_max_pool2d")},
    **{f"avg_pool{n}d": _window("average_pool", n) for n in (1, 2, 3)},
    **{f"max_pool{n}d{tail}": _window("max_pool", n) for n in (1, 2, 3) for tail in ("", "_with_indices")},
}
