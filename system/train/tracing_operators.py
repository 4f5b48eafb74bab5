"""ATen operators of the vector unit and the records they become.

A handler adds records and may say more of the output.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from system.train.tracing_products import PRODUCTS, Handler, added, every
from system.train.tracing_records import Info, Records

Tensor = torch.Tensor

#: addressing: no operation, no record
VIEWS = frozenset((
    "view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "unsqueeze", "squeeze", "select",
    "slice", "split", "split_with_sizes", "unbind", "chunk", "unsafe_split", "unsafe_chunk", "view_as_real",
    "view_as_complex", "real", "imag", "complex",
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "cat", "stack", "clone", "_to_copy", "contiguous",
    "alias", "detach", "lift_fresh", "as_strided", "constant_pad_nd", "repeat", "flip", "roll", "narrow", "unfold",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "copy", "_reshape_alias", "flatten", "unflatten",
    "diagonal", "movedim", "numpy_T", "mT", "native_channel_shuffle", "slice_scatter", "select_scatter",
    "diagonal_scatter", "expand_copy", "view_copy", "permute_copy", "slice_copy", "select_copy", "alias_copy",
    "squeeze_copy", "unsqueeze_copy", "transpose_copy", "repeat_interleave", "diag_embed", "_conj", "_neg_view",
))
#: counted for complex numbers too
COMPLEX = frozenset(("add", "sub", "mul"))
#: what only makes constants, of a tensor's shape; nothing of its values is in them
MAKES = frozenset((
    "empty_like", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full",
    "randn_like", "rand_like", "randint_like", "new_empty_strided", "zero", "fill", "is_same_size",
))


def _first(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out[0]


def _plain(kind: str) -> Handler:
    """One operator over the output's elements."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        records.vector(kind, _first(out).shape, records.learned(*args))
    return handle


def _of_input(kind: str) -> Handler:
    """One operator over the input's elements."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        records.vector(kind, args[0].shape, records.learned(*args))
    return handle


def _add(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """Residual, bias of the product before, learned tensor or constant."""
    left, right = args[:2]
    if out.is_complex():
        records.vector("residual", (1, 2 * out.numel()), records.learned(left, right))
        return Info()
    if records.info(left).parameter is not None or not isinstance(left, Tensor):
        left, right = right, left
    if not records.sample(left) and records.sample(right):
        left, right = right, left
    return added(records, records.info(left).mac, right, out)


def _times(both: str) -> Handler:
    """Two activations; a learned factor; a dropout's mask; a constant."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        left, right = args[:2]
        kind = "scale"
        if records.info(left).mask or records.info(right).mask:
            kind = "dropout"
        elif records.sample(left) and records.sample(right):
            kind = both
        elif not isinstance(right, Tensor) or not isinstance(left, Tensor):
            kind = "scale"
        elif records.learned(left, right) or (records.gradient(left) and records.gradient(right)):
            kind = "gain"
        if not out.is_complex():
            records.vector(kind, out.shape, records.learned(left, right))
            return
        parts = (1, 2 * out.numel())  # real and imaginary: two products each, and their sum
        records.vector(kind, parts, records.learned(left, right))
        if isinstance(left, Tensor) and isinstance(right, Tensor) and left.is_complex() and right.is_complex():
            records.vector(kind, parts)
            records.vector("residual", parts)
    return handle


def _layer_norm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    size = math.prod(args[1])
    records.vector("layer_norm", (args[0].numel() // size, size), records.learned(*args[2:]))


def _batch_norm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Over the batch; over one sample where the batch lies in the channels (instance norm, standardised weights); or
    with the statistics that it keeps."""
    shape, learned = args[0].shape, records.learned(*args[1:3])
    training = next((a for a in args[3:] if isinstance(a, bool)), True)
    if not training:
        records.vector("channel_affine", shape, learned)
    elif shape[0] == 1:
        size = math.prod(shape[2:])
        records.vector("layer_norm", (shape[1], size), learned)
    else:
        records.vector("batch_norm", shape, learned)


def _power(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    kinds = {2: "multiply", 3: "cube", 1: "scale", 0.5: "rsqrt", -0.5: "rsqrt", -1: "divide"}
    exponent = args[1] if isinstance(args[1], (int, float)) else None
    kind = kinds.get(exponent, "power") if exponent is not None else "power"
    records.vector(kind, out.shape, records.learned(*args[:2]))


def _pool(kind: str) -> Handler:
    """Windows of as many elements as the kernel has, or as the input has for each output."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        first = _first(out)
        records.vector(kind, first.shape, records.learned(args[0]), -(-args[0].numel() // max(1, first.numel())))
    return handle


def _window(kind: str, axes: int) -> Handler:
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        records.vector(kind, _first(out).shape, (), math.prod(every(args[1], axes)))
    return handle


def _larger(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Of two tensors, or along an axis."""
    if len(args) > 1 and isinstance(args[1], Tensor):
        records.vector("choose", out.shape, records.learned(*args[:2]))
    else:
        _pool("max_pool")(records, args, kwargs, out)


def _sort(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """A merge has as many steps as the axis has powers of two."""
    axis = kwargs.get("dim", args[2] if len(args) > 2 and not isinstance(args[2], bool) else -1)
    if args[0].dim() == 0:
        return
    length = args[0].shape[axis if isinstance(axis, int) else -1]
    records.vector("sort", args[0].shape, records.learned(args[0]), max(1, (length - 1).bit_length()))


def _gather(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info | None:
    """Rows of a sample's tensor are addressing; those of a parameter are copied, and their gradients meet in it.

    Whole matrices that each sample chooses are the weights of experts, should they come to be multiplied.
    """
    source = args[0]
    if records.sample(source):
        return records.info(source)
    if not records.made(source):
        return None
    name = records.vector("gather", (1, out.numel()), records.learned(source))
    info = records.info(source)
    chosen = [a for a in args[1:] if records.sample(a)] or (isinstance(args[1], (list, tuple)) and any(
        records.sample(a) for a in args[1]))
    if chosen and info.parameter is not None and source.dim() > 2:
        return Info(parameter=info.parameter, unique=source.numel(), gathered=name)
    return None


def _embedding(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    records.vector("embedding", out.shape, records.learned(args[0]))


def _embedding_bag(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Rows of a table, added up bag by bag."""
    size = args[0].shape[1]
    records.vector("embedding", (args[1].numel(), size), records.learned(args[0]))
    records.vector("sum", (args[1].numel(), size))


def _distance(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """A difference and its norm for each pair of rows, on the vector unit."""
    for kind in ("residual", "norm"):
        records.vector(kind, out.shape, (), args[0].shape[-1])


def _kinds(table: dict[str, str], handler: Any) -> dict[str, Handler]:
    return {op: handler(kind) for kind, ops in table.items() for op in ops.split()}


#: kind -> operators with its work at each element of the output
_PLAIN = {
    "relu": "relu abs clamp_min clamp_max threshold", "relu6": "clamp relu6 hardtanh hardshrink softshrink",
    "leaky_relu": "leaky_relu _prelu_kernel rrelu_with_noise", "sigmoid": "sigmoid", "tanh": "tanh", "swish": "silu",
    "hardswish": "hardswish", "hardsigmoid": "hardsigmoid", "gelu": "gelu", "elu": "elu celu selu",
    "softplus": "softplus log_sigmoid_forward logaddexp logsigmoid", "mish": "mish",
    "softmax": "_softmax _safe_softmax _log_softmax", "dropout": "native_dropout",
    "mask": "masked_fill where tril triu masked_scatter", "scale": "neg deg2rad rad2deg",
    "interpolate": "upsample_bilinear2d upsample_linear1d upsample_trilinear3d",
    "weight_norm": "_weight_norm_interface", "exp": "exp exp2 expm1", "rsqrt": "rsqrt sqrt",
    "divide": "reciprocal remainder fmod floor_divide", "log": "log log2 log10 log1p",
    "sine": "sin cos", "erf": "erf erfc", "power": "float_power",
    "function": "tan asin acos atan sinh cosh asinh acosh atanh erfinv lgamma digamma atan2 sinc logit special_i0e "
                "special_erfcx",
    "shift": "rsub round floor ceil trunc frac", "choose": "maximum minimum fmax fmin",
    "step": "lerp addcmul addcdiv", "running_sum": "cumsum logcumsumexp", "running_product": "cumprod",
    "compare": "eq ne lt le gt ge isnan isinf isfinite logical_not logical_and logical_or logical_xor bitwise_not "
               "bitwise_and bitwise_or bitwise_xor sign sgn bucketize searchsorted one_hot",
    "gather": "im2col reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
              "replication_pad3d take gather_copy scatter index_put _unsafe_index_put index_copy index_fill "
              "masked_select max_unpool2d",
    "sum": "scatter_add index_add scatter_reduce", "overlap_add": "col2im", "multiply": "square prod",
}
#: kind -> operators with its work at each element of the input
_INPUT = {"norm": "linalg_vector_norm norm", "variance": "var std var_mean std_mean", "compare": "argmax argmin "
          "any all count_nonzero bincount histc", "softmax": "logsumexp", "sort": "kthvalue median mode",
          "running_sum": "cummax cummin"}


def _gated(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    records.vector("sigmoid", out.shape)
    records.vector("multiply", out.shape)


def _cubic(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
    """Sixteen products and sums an element, as five interpolations."""
    records.vector("interpolate", out.shape, records.learned(args[0]), 5)


HANDLERS: dict[str, Handler] = {
    **PRODUCTS,
    **_kinds(_PLAIN, _plain), **_kinds(_INPUT, _of_input),
    **dict.fromkeys(("add", "sub"), _add), "mul": _times("multiply"), "div": _times("divide"),
    **dict.fromkeys(("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
                     "_batch_norm_with_update", "_native_batch_norm_legit_no_training"), _batch_norm),
    "native_group_norm": _plain("layer_norm"), "native_layer_norm": _layer_norm, "_fused_rms_norm": _layer_norm,
    "pow": _power, "glu": _gated, "embedding": _embedding, "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag, "_cdist_forward": _distance, "_euclidean_dist": _distance,
    **dict.fromkeys(("topk", "sort", "argsort", "msort"), _sort),
    **dict.fromkeys(("index", "_unsafe_index", "index_select", "gather"), _gather),
    **dict.fromkeys(("upsample_bicubic2d", "_upsample_bicubic2d_aa"), _cubic),
    "_upsample_bilinear2d_aa": _plain("interpolate"), "grid_sampler_2d": _plain("interpolate"),
    "affine_grid_generator": _plain("step"),
    **{op: _pool("average_pool") for op in ("mean", "sum", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d")},
    **{op: _pool("max_pool") for op in ("amax", "amin", "aminmax", "adaptive_max_pool2d", "adaptive_max_pool3d")},
    **dict.fromkeys(("max", "min"), _larger),
    **{f"avg_pool{n}d": _window("average_pool", n) for n in (1, 2, 3)},
    **{f"max_pool{n}d{tail}": _window("max_pool", n) for n in (1, 2, 3) for tail in ("", "_with_indices")},
}
