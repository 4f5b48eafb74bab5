"""What a trace knows of its tensors, and the records that it gathers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from charlib.errors import BadInput
from system.operators import AFFINE
from system.workload import Layer, MacLayer, Size, VectorLayer


@dataclass(frozen=True)
class Info:
    """Where a tensor comes from."""

    sample: bool = False  #: it differs between samples
    gradient: bool = False  #: a learned parameter is behind it
    parameter: str | None = None  #: it is a view of this one
    unique: int = 0  #: elements of that parameter that it shows, each once
    offset: int = 0  #: the first of them
    mac: str | None = None  #: it is the output of this layer, or a view of it
    mask: bool = False  #: random zeros of a dropout

    @property
    def weight(self) -> bool:
        """A parameter, or made of parameters alone."""
        return self.parameter is not None or (self.gradient and not self.sample)


@dataclass
class _Use:
    """A record with the parameters that it uses: (name, offset, elements)."""

    layer: Layer
    uses: tuple[tuple[str, int, int], ...]


class Records:
    """Records in the order in which operators run.

    path: the modules that run, the innermost one last, and whether it holds no others.
    """

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.path: list[tuple[str, bool]] = [("", False)]
        self.parameters: dict[str, int] = {}
        self._infos: dict[int, Info] = {}
        self._alive: list[torch.Tensor] = []
        self._found: list[_Use] = []
        self._names: Counter[str] = Counter()
        self._last = ""

    # -- tensors ------------------------------------------------------------------------------------------

    def info(self, tensor: Any) -> Info | None:
        return self._infos.get(id(tensor)) if isinstance(tensor, torch.Tensor) else None

    def note(self, tensor: torch.Tensor, info: Info) -> None:
        self._infos[id(tensor)] = info
        self._alive.append(tensor)  # an id must not be given out again

    def viewed(self, operands: Sequence[torch.Tensor]) -> Info:
        """What is known of a view or copy; rows of a parameter that are joined to a sample's are an operator."""
        known = [(t, i) for t in operands if (i := self.info(t)) is not None]
        if len(known) == 1:
            return known[0][1]
        merged = Info(any(i.sample for _, i in known), any(i.gradient for _, i in known))
        if merged.sample:
            for tensor, info in known:
                if info.parameter is not None:
                    self.vector("embedding", (self.batch, tensor.numel() // self.batch or 1), (info,))
        return merged

    @staticmethod
    def shown(info: Info, tensor: torch.Tensor) -> Info:
        """What a view of a parameter shows of it."""
        if info.parameter is None:
            return info
        return replace(info, unique=min(info.unique, tensor.numel()),
                       offset=max(info.offset, int(tensor.storage_offset())))

    def per_sample(self, elements: int) -> int:
        return max(1, -(-elements // self.batch))

    # -- records ------------------------------------------------------------------------------------------

    def mac(self, label: str, kind: str, in_channels: int, out_channels: int, kernel: Size, stride: Size, in_px: Size,
            *, weights: Info | None, operand: Info, bias: Info | None = None, groups: int = 1,
            padding: Size | None = None, dilation: Size = 1) -> str:
        """A MAC layer; its name. `weights`: of its parameter, or what is made of some; None for a matmul."""
        path, leaf = self.path[-1]
        name = self._unique(path if leaf and path and label != "matmul" else f"{path}:{label}".lstrip(":"))
        layer = MacLayer(name, kind, in_channels, out_channels, kernel, stride, in_px, bias is not None,
                         operand.gradient or kind == "matmul", groups, padding, dilation)
        uses: tuple[tuple[str, int, int], ...] = ()
        if weights is not None and weights.parameter is not None:
            uses = ((weights.parameter, weights.offset, layer.weights),)
        elif weights is not None:
            layer = replace(layer, tied=True)  # made of parameters that count elsewhere
        self._found.append(_Use(layer, uses))
        self._last = name
        if bias is not None:
            self.give_bias(name, bias)
        return name

    def give_bias(self, name: str, bias: Info) -> None:
        """The layer has a bias, and the vector unit adds it."""
        for index, use in enumerate(self._found):
            if use.layer.name != name or not isinstance(use.layer, MacLayer):
                continue
            if use.layer.tied:
                self._found[index] = _Use(replace(use.layer, bias=True), use.uses)
                self.operator("bias", use.layer.out_channels, use.layer.out_size, (bias,))
            else:
                uses = (*use.uses, (bias.parameter or "", bias.offset, use.layer.out_channels))
                self._found[index] = _Use(replace(use.layer, bias=True), uses)
                self.operator("bias", use.layer.out_channels, use.layer.out_size)

    def place(self) -> str:
        """The module that runs, for messages."""
        return f"'{self.path[-1][0]}'" if self.path[-1][0] else "the module itself"

    def output_channels(self, name: str | None) -> int | None:
        """Channels of a layer that has no bias yet."""
        for use in self._found:
            if use.layer.name == name and isinstance(use.layer, MacLayer) and not use.layer.bias:
                return use.layer.out_channels
        return None

    def vector(self, kind: str, shape: Sequence[int], parameters: Sequence[Info] = (), window: int = 1) -> None:
        """A vector operator over a tensor of `shape`, with the batch where it may be."""
        if len(shape) > 1 and shape[0] == self.batch:
            self.operator(kind, shape[1], tuple(shape[2:]) or (1,), parameters, window)
        else:
            self.operator(kind, self.per_sample(math.prod(shape)), (1,), parameters, window)

    def operator(self, kind: str, channels: int, px: Size, parameters: Sequence[Info] = (), window: int = 1) -> None:
        name = self._unique(f"{self._last}.{kind}" if self._last else f".input.{kind}")
        uses = tuple((p.parameter or "", 0, self.parameters[p.parameter or ""]) for p in parameters)
        self._found.append(_Use(VectorLayer(name, kind, channels, px, window), uses))

    def loss(self, shape: tuple[int, ...]) -> None:
        """Softmax and loss over the last axis of an output."""
        self.operator("softmax_loss", shape[-1], tuple(shape[1:-1]) or (1,))

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"

    def layers(self) -> tuple[Layer, ...]:
        """The records, each parameter counted once: by the first MAC layer that uses it, else the first operator.

        Calls that use the same weights in the same way are one layer of all their positions, which has its words in
        the arrays once; where they are used otherwise (transposed, or without an input gradient) a tied layer has
        words of its own.
        """
        macs = [use for use in self._found if isinstance(use.layer, MacLayer)]
        if not macs:
            raise BadInput("trace: the module multiplies no tensor by a parameter or another tensor")
        seen: set[tuple[str, int, int]] = set()
        done: dict[str, Layer] = {}
        calls: dict[object, list[MacLayer]] = {}
        for use in macs:
            assert isinstance(use.layer, MacLayer)
            layer = replace(use.layer, tied=True) if use.uses and use.uses[0] in seen else use.layer
            calls.setdefault((use.uses[0], _form(layer)) if use.uses else layer.name, []).append(layer)
            seen |= set(use.uses)
        for same in calls.values():
            done[same[0].name] = _repeated(same)
        held = {name for name, *_ in seen}
        for use in self._found:
            if isinstance(use.layer, VectorLayer):
                fresh = {u for u in use.uses if u[0] not in held}
                held |= {name for name, *_ in fresh}
                learned = sum(elements for *_, elements in fresh)
                usual = learned == (2 * use.layer.channels if use.layer.kind in AFFINE else 0)
                name = use.layer.name if use.layer.name[0] != "." else macs[0].layer.name + use.layer.name
                done[use.layer.name] = replace(use.layer, name=name, learned=None if usual else learned)
        return tuple(done[use.layer.name] for use in self._found if use.layer.name in done)


def _form(layer: MacLayer) -> object:
    """What calls of the same weights must share to be one layer."""
    sizes = () if layer.kind == "linear" else (layer.in_size, layer.kernel_size, layer.strides, layer.padding,
                                               layer.dilation)
    return (layer.kind, layer.in_channels, layer.out_channels, layer.groups, layer.bias,
            layer.needs_input_gradient, sizes)


def _repeated(calls: Sequence[MacLayer]) -> MacLayer:
    """One layer that does what all of these do: more positions, or a further axis along which they lie."""
    first, count = calls[0], len(calls)
    if count == 1:
        return first
    if first.kind == "linear":
        return replace(first, in_px=(sum(layer.positions for layer in calls),))

    def along(size: Size, added: int) -> tuple[int, ...]:
        return (added, *(size if isinstance(size, tuple) else (size,) * len(first.in_size)))

    return replace(first, in_px=(count, *first.in_size), kernel=(1, *first.kernel_size), stride=(1, *first.strides),
                   padding=None if first.padding is None else along(first.padding, 0),
                   dilation=along(first.dilation, 1))


def mixed(records: Records, op: str) -> BadInput:
    """The error for a product whose operands are of no known kind."""
    return BadInput(f"trace: {records.place()} uses {op} of two tensors that are neither a parameter and an "
                    "activation nor two activations sample by sample")
