"""What a trace of one batch knows of its tensors, and the records that it gathers.

Whether a gradient comes back to a tensor is asked of autograd itself, so frozen parameters, detached tensors and
blocks without gradients need no rule here. Whether a tensor differs between samples is held by its storage, so what
is written into a slice is known of the whole.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from system.operators import OperatorCount
from system.workload import MacLayer, Size, VectorLayer

#: a parameter, the first of its elements and how many
Use = tuple[str, int, int]


@dataclass(frozen=True)
class Info:
    """Where a tensor comes from."""

    parameter: str | None = None  #: it is a view or copy of this one
    unique: int = 0  #: different elements that it shows of what does not depend on samples; 0: those of its strides
    offset: int = 0  #: the first of them in the parameter
    mac: str | None = None  #: it is the output of this layer, or a view of it
    mask: bool = False  #: random zeros of a dropout
    gradient: bool = False  #: inside an autograd.Function, where autograd does not look, a gradient comes back to it
    gathered: str | None = None  #: rows of the parameter that each sample chooses: the operator that copies them


@dataclass
class Found:
    """A record of the whole batch: a layer's work on one row, and how many rows there are.

    Of a vector operator `rows` are elements. weights: the parameter that is stored. learned: what the vector unit
    learns, or a layer's bias. experts: sets of weights, of which each row asks for one.
    """

    layer: MacLayer | VectorLayer
    rows: int
    weights: Use | None = None
    learned: tuple[Use, ...] = ()
    experts: int = 1


@dataclass
class Records:
    """Records in the order in which operators run.

    path: the modules that run, the innermost one last, and whether it holds no others. inside: autograd.Functions
    that run, through which a gradient comes back. flows: whether one comes back to the operator at hand. drawn:
    whether random numbers of Python's or NumPy's were asked for.
    """

    batch: int
    own: dict[str, OperatorCount]
    path: list[tuple[str, bool]] = field(default_factory=lambda: [("", False)])
    parameters: dict[str, int] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    touched: dict[str, int] = field(default_factory=dict)  #: elements of the learned parameters that were used
    inside: int = 0
    flows: bool = False
    drawn: bool = False
    _infos: dict[int, Info] = field(default_factory=dict)
    _behind: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    _alive: list[torch.Tensor] = field(default_factory=list)
    _names: Counter[str] = field(default_factory=Counter)
    _index: dict[str, int] = field(default_factory=dict)
    _last: str = ""

    # -- tensors ------------------------------------------------------------------------------------------

    def info(self, tensor: Any) -> Info:
        return self._infos.get(id(tensor), Info())

    def note(self, tensor: torch.Tensor, info: Info, sample: bool = False, made: bool = False) -> None:
        """made: a parameter is behind it."""
        self._infos[id(tensor)] = info
        before = self._behind.get(_storage(tensor), (False, False))
        self._behind[_storage(tensor)] = (before[0] or sample, before[1] or made)
        self._alive.append(tensor)  # an id must not be given out again

    def sample(self, tensor: Any) -> bool:
        """Whether it differs between samples."""
        return isinstance(tensor, torch.Tensor) and self._behind.get(_storage(tensor), (False, False))[0]

    def made(self, tensor: Any) -> bool:
        """Whether a parameter is behind it."""
        return isinstance(tensor, torch.Tensor) and self._behind.get(_storage(tensor), (False, False))[1]

    def gradient(self, tensor: Any) -> bool:
        """Whether a gradient comes back to it from the operator at hand."""
        if not isinstance(tensor, torch.Tensor) or not (torch.is_grad_enabled() or self.inside):
            return False
        return tensor.requires_grad or self.info(tensor).gradient

    def distinct(self, tensor: torch.Tensor) -> int:
        """Elements that differ; an expanded tensor repeats its own."""
        return self.info(tensor).unique or math.prod(
            n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)

    def learned(self, *tensors: Any) -> tuple[Use, ...]:
        """The parameters among these that learn here, whole."""
        names = [self.info(t).parameter for t in tensors if self.gradient(t)]
        return tuple((name, 0, self.parameters[name]) for name in dict.fromkeys(names) if name is not None)

    # -- records ------------------------------------------------------------------------------------------

    def mac(self, label: str, kind: str, in_channels: int, out_channels: int, kernel: Size, stride: Size, in_px: Size,
            rows: int, stored: torch.Tensor | None, *, gradient: bool, learns: bool, groups: int = 1,
            padding: Size | None = None, dilation: Size = 1, experts: int = 1) -> str:
        """A MAC layer of one row, and how often it runs; its name.

        stored: its weights, None for what is another one in each sample. gradient: its input needs one. learns: its
        weights or its stored operand.
        """
        path, leaf = self.path[-1]
        name = self._unique(path if leaf and path and label != "matmul" else f"{path}:{label}".lstrip(":"))
        info = self.info(stored)
        layer = MacLayer(name, kind, in_channels, out_channels, kernel, stride, in_px, False, gradient, groups,
                         padding, dilation, tied=stored is not None and info.parameter is None, frozen=not learns)
        weights = None if info.parameter is None else (info.parameter, info.offset, layer.weights)
        self._add(Found(layer, rows, weights, experts=experts))
        self._last = name
        return name

    def give_bias(self, name: str, bias: torch.Tensor) -> None:
        """The layer has a bias, and the vector unit adds it."""
        found, learns = self.found[self._index[name]], self.gradient(bias)
        layer = found.layer
        assert isinstance(layer, MacLayer)
        found.layer = replace(layer, bias=True, bias_frozen=not learns)
        flows, self.flows = self.flows, learns
        self.vector("bias", (1, layer.out_channels, found.rows * layer.positions),
                    self.learned(bias) if layer.tied else ())
        self.flows = flows
        if learns and not layer.tied:
            info = self.info(bias)
            found.learned = ((info.parameter or "", info.offset, layer.out_channels),)

    def output_channels(self, name: str | None) -> int | None:
        """Channels of a layer that has no bias yet."""
        layer = self.found[self._index[name]].layer if name in self._index else None
        return layer.out_channels if isinstance(layer, MacLayer) and not layer.bias else None

    def vector(self, kind: str, shape: Sequence[int], learned: Sequence[Use] = (), window: int = 1,
               count: OperatorCount | None = None) -> str:
        """A vector operator over a tensor of `shape`, whose second axis are its channels; its name."""
        channels = shape[1] if len(shape) > 1 else 1
        name = self._unique(f"{self._last}.{kind}" if self._last else f".input.{kind}")
        layer = VectorLayer(name, kind, max(1, channels), (1,), window, needs_gradient=self.flows, count=count)
        self._add(Found(layer, math.prod(shape), learned=tuple(learned)))
        return name

    def drop(self, name: str) -> None:
        """A record was no work after all."""
        self.found[self._index[name]].rows = 0

    def loss(self, scores: torch.Tensor) -> None:
        """Softmax and loss over the last axis of an output."""
        self.flows = self.gradient(scores)
        classes = scores.shape[-1] if scores.dim() else 1
        self.vector("softmax_loss", (scores.numel() // classes, classes))

    def place(self) -> str:
        """The module that runs, for messages."""
        return f"'{self.path[-1][0]}'" if self.path[-1][0] else "the module itself"

    def _add(self, found: Found) -> None:
        self._index[found.layer.name] = len(self.found)
        self.found.append(found)

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        return name if self._names[name] == 1 else f"{name}#{self._names[name]}"


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """All in nested lists."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(value)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
