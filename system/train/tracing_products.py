"""Operators that multiply and add, and the MAC layers that they become.

Of two operands, what does not differ between samples is stored: a parameter, what is made of some, or a constant. Of
two that do, the right one is, anew for each sample. An operator of the whole batch gives rows; :mod:`.tracing_layers`
says how many are a sample's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from system.train.tracing_records import Info, Records
from system.workload import Size

#: adds records, and says what is known of the output
Handler = Callable[[Records, tuple[Any, ...], dict[str, Any], Any], Info | None]
Tensor = torch.Tensor


def square(sizes: Sequence[int]) -> Size:
    """One number for a square."""
    return sizes[0] if len(sizes) == 2 and sizes[0] == sizes[1] else tuple(sizes)


def every(sizes: Sequence[int], axes: int) -> tuple[int, ...]:
    """A size for each axis."""
    return tuple(sizes) * axes if len(sizes) == 1 else tuple(sizes)


# -- convolution ----------------------------------------------------------------------------------------------


def _convolution(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    x, w, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    inside, outside = x.shape[1], w.shape[1] * groups if transposed else w.shape[0]
    rows, gradient, learns = x.shape[0], records.gradient(x), records.gradient(w)
    px, kernel, axes = tuple(x.shape[2:]), tuple(w.shape[2:]), x.dim() - 2
    if records.sample(w):
        # each sample has weights of its own, in groups of one convolution
        taps = math.prod(kernel)
        reduction = inside // groups * (1 if transposed else taps)
        made = outside // groups * (taps if transposed else 1)
        steps = math.prod(px if transposed else out.shape[2:])
        name = records.mac("convolution", "matmul", reduction, made, 1, 1, (rows * steps,), groups, None,
                           gradient=gradient, learns=learns)
    else:
        if groups % (repeats := max(1, w.numel() // records.distinct(w))) == 0:
            # the batch is folded into the channels, and the weights are repeated for it
            inside, outside, groups, rows = inside // repeats, outside // repeats, groups // repeats, rows * repeats
        if transposed:
            # every input position gives out_channels × taps products, which are added where they overlap
            name = records.mac("convolution", "conv", inside, outside * math.prod(kernel), 1, 1, square(px), rows, w,
                               groups=groups, padding=0, gradient=gradient, learns=learns)
        else:
            kind = "depthwise" if 1 < groups == inside == outside else "conv"
            name = records.mac("convolution", kind, inside, outside, square(kernel), square(every(stride, axes)),
                               square(px), rows, w, groups=groups, padding=square(every(padding, axes)),
                               dilation=square(every(dilation, axes)), gradient=gradient, learns=learns)
    if transposed:
        records.vector("col2im", (1, outside * math.prod(kernel), rows * math.prod(px)))
        if bias is not None:
            records.vector("bias", out.shape, records.learned(bias))
        return Info()
    return added(records, name, bias, out) if bias is not None else Info(mac=name)


def added(records: Records, name: str | None, other: Any, out: Tensor) -> Info:
    """What is added to a layer's output: its bias, where it has the layer's channels and learns or learned."""
    if records.info(other).parameter is not None and records.distinct(other) == records.output_channels(name):
        records.give_bias(name or "", other)
    elif records.sample(other):
        records.vector("residual", out.shape)
    elif records.gradient(other):
        records.vector("position_add", out.shape, records.learned(other))
    else:
        records.vector("shift", out.shape)
    return Info(mac=name)


# -- products -------------------------------------------------------------------------------------------------


def product(records: Records, left: Tensor, right: Tensor, sizes: tuple[int, int, int, int]) -> Info:
    """g products (m × k) · (k × n), sizes g, m, k, n."""
    (g, m, k, n), infos = sizes, (records.info(left), records.info(right))
    gradient, learns = records.gradient(left), records.gradient(right)
    for info, operand, other, (rows, outside) in (
            (infos[1], right, left, (g * m, n)), (infos[0], left, right, (g * n, m))):
        if info.gathered is not None and rows == g and records.sample(other):
            return _routed(records, operand, other, rows, k, outside)
    if records.sample(left) and records.sample(right):
        return Info(mac=records.mac("matmul", "matmul", k, n, 1, 1, (m,), g, None, gradient=gradient, learns=learns))
    if records.sample(right) or (records.made(left) and not (records.sample(left) or records.made(right))):
        left, right, m, n, gradient, learns = right, left, n, m, learns, gradient
    sets = min(g, max(1, records.distinct(right) // (k * n)))
    kind, rows = "linear" if sets == 1 else "conv", g * m // sets
    return Info(mac=records.mac("linear", kind, sets * k, sets * n, 1, 1, 1 if sets == 1 else (1,), rows, right,
                                groups=sets, gradient=gradient, learns=learns))


def _routed(records: Records, weights: Tensor, x: Tensor, rows: int, k: int, n: int) -> Info:
    """Each row asks for one of an expert's weights, which stay where they are."""
    info = records.info(weights)
    records.drop(info.gathered or "")
    experts = records.parameters[info.parameter or ""] // (k * n)
    return Info(mac=records.mac("experts", "linear", k, n, 1, 1, 1, rows, weights, experts=experts,
                                gradient=records.gradient(x), learns=records.gradient(weights)))


def _mm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    left, right = args[:2]
    return product(records, left, right, (1, *left.shape, right.shape[1]))


def _bmm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    left, right = args[:2]
    return product(records, left, right, (*left.shape, right.shape[2]))


def _mv(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    left, right = args[:2]
    return product(records, left, right, (1, *left.shape, 1))


def _dot(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    left, right = args[:2]
    return product(records, left, right, (1, 1, left.shape[0], 1))


def _outer(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """A product whose sums have one term."""
    left, right = args[:2]
    return product(records, left, right, (1, left.shape[0], 1, right.shape[0]))


def _with_sum(handler: Handler) -> Handler:
    """A product with something added: a bias, or another tensor."""
    def handle(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
        made = handler(records, args[1:], {}, out) or Info()
        if kwargs.get("alpha", 1) != 1:
            records.vector("scale", out.shape)
        return added(records, made.mac, args[0], out) if kwargs.get("beta", 1) != 0 else made
    return handle


def _addbmm(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """Products that are added up are one of a longer reduction."""
    left, right = args[1:3]
    g, m, k = left.shape
    made = product(records, left, right, (1, m, g * k, right.shape[2]))
    return added(records, made.mac, args[0], out)


def _grouped(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """Rows in the order of the experts that they ask for."""
    x, weights = args[:2]
    return Info(mac=records.mac("experts", "linear", weights.shape[1], weights.shape[2], 1, 1, 1, x.shape[0], weights,
                                experts=weights.shape[0], gradient=records.gradient(x),
                                learns=records.gradient(weights)))


def _bilinear(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """A layer of the one operand, whose output for each element of the result is multiplied with the other."""
    left, weights, right = args[:3]
    outside, a, b = weights.squeeze(0).shape[-3:]
    rows = out.numel() // outside
    x, w, y = (records.gradient(t) for t in (left, weights, right))
    records.mac("linear", "linear", a, outside * b, 1, 1, 1, rows, weights, gradient=x, learns=w)
    return Info(mac=records.mac("matmul", "matmul", b, 1, 1, 1, (outside,), rows, None, gradient=x or w, learns=y))


def _attention(records: Records, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Info:
    """Scores, scale, mask, softmax, sum of values. Query heads that share a key are more rows of its product."""
    query, key, value = args[:3]
    heads, keys = math.prod(key.shape[:-2]), key.shape[-2]
    rows = math.prod(query.shape[:-1]) // heads
    q, k, v = (records.gradient(t) for t in (query, key, value))
    causal = kwargs.get("is_causal", args[4] if len(args) > 4 else False)
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 and isinstance(args[3], Tensor) else None)
    records.mac("scores", "matmul", query.shape[-1], keys, 1, 1, (rows,), heads, None, gradient=q, learns=k)
    flows, records.flows = records.flows, q or k
    for kind in ("scale", *(("mask",) if causal or mask is not None else ()), "softmax"):
        records.vector(kind, (1, heads, rows * keys))
    records.flows = flows
    return Info(mac=records.mac("values", "matmul", keys, value.shape[-1], 1, 1, (rows,), heads, None,
                                gradient=q or k, learns=v))


PRODUCTS: dict[str, Handler] = {
    "convolution": _convolution, "_convolution": _convolution, "mm": _mm, "bmm": _bmm, "mv": _mv, "dot": _dot,
    "vdot": _dot, "addmm": _with_sum(_mm), "baddbmm": _with_sum(_bmm), "addmv": _with_sum(_mv), "addbmm": _addbmm,
    "addr": _with_sum(_outer), "_grouped_mm": _grouped, "_trilinear": _bilinear,
    **{f"_scaled_dot_product_{kind}": _attention for kind in (
        "flash_attention_for_cpu", "flash_attention", "efficient_attention", "cudnn_attention")},
}
