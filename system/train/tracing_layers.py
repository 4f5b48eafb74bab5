"""Two traces of one module, of a small and a larger batch, as layer records of a sample.

What grows with the batch is a sample's; what does not is done once a step. Frames, windows, views and heads that a
module folds into the batch are rows of it, so that a layer's work a sample is its rows over the samples. What grows
in another way mixes samples, and is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from charlib.errors import BadInput
from system.operators import AFFINE
from system.train.tracing_records import Found, Records, Use
from system.workload import Layer, MacLayer, Size, VectorLayer


def layers_of(small: Records, large: Records, name: str) -> tuple[Layer, ...]:
    """Records of a sample. BadInput for work that depends on the batch in another way than by its samples."""
    calls = _calls(small, large, name)
    macs = [call for call in calls if isinstance(call.layer, MacLayer)]
    if not macs:
        raise BadInput("trace: the module multiplies no tensor by a parameter or another tensor")
    done, held = _mac_layers(macs, small.parameters)
    found: list[Layer] = []
    for call in calls:
        if isinstance(call.layer, MacLayer):
            found += done.pop(call.layer.name, ())
        else:
            found.append(_vector_layer(call, held, macs[0].layer.name))
    return (*found, *_rest(small, held, found))


def _calls(small: Records, large: Records, name: str) -> list[Found]:
    """Calls with the rows of a sample, or of a step where they are done once."""
    if [f.layer.name for f in small.found] != [f.layer.name for f in large.found]:
        pairs = zip((f.layer.name for f in small.found), (f.layer.name for f in large.found), strict=False)
        where = next((a for a, b in pairs if a != b), min(small.found, large.found, key=len)[-1].layer.name)
        raise BadInput(f"trace: {name} runs other operators on a batch of {large.batch} than on one of "
                       f"{small.batch}, from '{where}' on; give a module whose steps are the same for any batch (no "
                       "loop over samples)")
    calls: list[Found] = []
    for few, many in zip(small.found, large.found, strict=True):
        if isinstance(few.layer, MacLayer):
            calls.append(_mac_call(few, many, small.batch, large.batch))
        else:
            calls += _vector_calls(few, many, small.batch, large.batch)
    return calls


def _mac_call(few: Found, many: Found, small: int, large: int) -> Found:
    once = few.rows == many.rows
    grows = few.rows * large == many.rows * small and few.rows % small == 0
    if few.layer != many.layer or not (once or grows):
        raise BadInput(f"trace: '{few.layer.name}' mixes samples: its multiply-accumulates are not those of one "
                       "sample times the batch; give a module that treats samples one by one")
    assert isinstance(few.layer, MacLayer)
    return replace(few, layer=replace(few.layer, once=once), rows=few.rows if once else few.rows // small)


def _vector_calls(few: Found, many: Found, small: int, large: int) -> list[Found]:
    """A sample's elements, and besides, once a step, those that do not grow with the batch."""
    assert isinstance(few.layer, VectorLayer)
    assert isinstance(many.layer, VectorLayer)
    grown = many.rows - few.rows
    each, once = -(-grown // (large - small)), few.rows - grown * small // (large - small)
    if once < 0:
        raise BadInput(f"trace: '{few.layer.name}' mixes samples: its elements grow faster than the batch; give a "
                       "module that treats samples one by one")
    channels = few.layer.channels if few.layer.channels == many.layer.channels else 0
    calls: list[Found] = []
    for rows, at_once in ((each, False), (once, True)):
        if rows:
            name = f"{few.layer.name}.once" if at_once and each else few.layer.name
            layer = replace(_sized(few.layer, rows, channels), name=name, once=at_once)
            calls.append(replace(few, layer=layer, rows=rows, learned=() if calls else few.learned))
    return calls


def _sized(layer: VectorLayer, elements: int, channels: int) -> VectorLayer:
    channels = channels if channels and elements % channels == 0 else elements
    return replace(layer, channels=channels, px=(elements // channels,))


def _mac_layers(calls: Sequence[Found], elements: dict[str, int]) -> tuple[dict[str, list[Layer]], set[Use]]:
    """The MAC layers by the name of their first call, and what of the parameters they hold, of so many elements each.

    Calls that use the same weights in the same way are one layer of all their rows, which has its words in the arrays
    once; where they are used otherwise (transposed, or without an input gradient) a tied layer has words of its own.
    Weights belong to the first layer that learns them, else to the first that uses them; parts that overlap, to the
    first of them.
    """
    owners: dict[Use, str] = {}
    for learns in (True, False):
        for call in calls:
            assert isinstance(call.layer, MacLayer)
            if call.weights is not None and call.layer.frozen is not learns:
                owners.setdefault(call.weights, call.layer.name)
    same: dict[object, list[Found]] = {}
    for call in calls:
        same.setdefault(call.layer.name if call.weights is None else (call.weights, _form(call)), []).append(call)
    done: dict[str, list[Layer]] = {}
    held: set[Use] = set()
    free = dict(elements)
    for group in same.values():
        first, rows = group[0], sum(call.rows for call in group)
        assert isinstance(first.layer, MacLayer)
        layer = first.layer
        if first.weights is not None:
            name, offset, size = first.weights[0], first.weights[1], first.weights[2] * first.experts
            owned = owners[first.weights] in {call.layer.name for call in group} and size <= free[name]
            layer = replace(layer, tied=not owned)
            if owned and not layer.frozen:
                free[name] -= size
                held.add((name, offset, size))
        if not layer.tied:
            held |= {use for call in group for use in call.learned}
        done[layer.name] = _experts(layer, rows, first.experts) if first.experts > 1 else [_of_rows(layer, rows)]
    return done, held


def _form(call: Found) -> object:
    """What calls of the same weights must share to be one layer."""
    layer = call.layer
    assert isinstance(layer, MacLayer)
    return replace(layer, name="", tied=False), call.experts


def _of_rows(layer: MacLayer, rows: int) -> MacLayer:
    """A layer that does its work for so many rows: more positions, products, or a further axis of them."""
    if layer.kind == "matmul":
        return replace(layer, in_channels=rows * layer.in_channels, out_channels=rows * layer.out_channels,
                       groups=rows)
    if rows == 1:
        return layer
    if layer.kind == "linear":
        return replace(layer, in_px=(rows,))

    def along(size: Size, added: int) -> tuple[int, ...]:
        return (added, *(size if isinstance(size, tuple) else (size,) * len(layer.in_size)))

    return replace(layer, in_px=(rows, *layer.in_size), kernel=(1, *layer.kernel_size), stride=(1, *layer.strides),
                   padding=None if layer.padding is None else along(layer.padding, 0),
                   dilation=along(layer.dilation, 1))


def _experts(layer: MacLayer, rows: int, experts: int) -> list[Layer]:
    """Each expert as a layer, with an even share of the rows [I]."""
    if rows < experts:
        raise BadInput(f"trace: '{layer.name}' routes {rows} rows of a sample to {experts} experts; each gets an "
                       "even share here, so give samples of more rows, or fewer experts")
    return [_of_rows(replace(layer, name=f"{layer.name}:expert{k + 1}"), (rows + k) // experts)
            for k in range(experts)]


def _vector_layer(call: Found, held: set[Use], first_mac: str) -> VectorLayer:
    layer = call.layer
    assert isinstance(layer, VectorLayer)
    names = {name for name, *_ in held}
    fresh = {use for use in call.learned if use[0] not in names}
    held |= fresh
    learned = sum(elements for *_, elements in fresh)
    usual = learned == (2 * layer.channels if layer.kind in AFFINE else 0)
    name = layer.name if layer.name[0] != "." else first_mac + layer.name
    return replace(layer, name=name, learned=None if usual else learned)


def _rest(small: Records, held: set[Use], found: Sequence[Layer]) -> list[VectorLayer]:
    """What of the parameters in use no record holds: joined, cut or expanded before their use, but learned."""
    have: Counter[str] = Counter()
    for name, _, elements in held:
        have[name] += elements
    missing = sum(max(0, elements - have[name]) for name, elements in small.touched.items())
    if not missing:
        return []
    owner = next(layer.name for layer in reversed(found) if isinstance(layer, MacLayer))
    return [VectorLayer(f"{owner}.parameters", "parameters", 1, (1,), learned=missing, once=True)]
