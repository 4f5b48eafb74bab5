"""Any torch module, trained on the arrays: its linear and convolution layers replaced, the rest untouched.

Batch norm, activations, pooling and the loss stay torch's FP32: they are the vector unit's work.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from charlib.errors import BadInput
from system.numerics.arithmetic import Arithmetic
from system.train import functions
from system.train.activity import Recorder


class ArrayLinear(nn.Linear):
    """A linear layer on the arrays."""

    arithmetic: Arithmetic
    recorder: Recorder | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functions.linear(x, self.weight, self.bias, self.arithmetic, self.recorder)


class ArrayConv2d(nn.Conv2d):
    """A 2-D convolution on the arrays: zero padding, any stride, dilation and grouping."""

    arithmetic: Arithmetic
    recorder: Recorder | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stride, padding, dilation = (_pair(v) for v in (self.stride, self.padding, self.dilation))
        return functions.conv2d(x, self.weight, self.bias, stride, padding, dilation, self.groups, self.arithmetic,
                                self.recorder)


def _pair(value: tuple[int, ...] | str) -> tuple[int, int]:
    if isinstance(value, str):
        raise BadInput(f"padding: numbers are allowed, got '{value}'; give it in pixels")
    return value[0], value[1]


def convert(module: nn.Module, arithmetic: Arithmetic, recorder: Recorder | None = None,
            choose: Callable[[str, nn.Module], bool] = lambda name, layer: True) -> nn.Module:
    """Turn `module` (in place) into one whose chosen linear and convolution layers run on the arrays.

    choose(name, layer): which of those layers; all by default. Parameters keep their names and identity, so
    optimisers, schedules and checkpoints go on working. Returns the module.
    """
    for name, layer in module.named_modules():
        if type(layer) not in (nn.Linear, nn.Conv2d) or not choose(name, layer):
            continue
        if isinstance(layer, nn.Conv2d):
            if layer.padding_mode != "zeros":
                raise BadInput(f"layer '{name}': padding_mode zeros is allowed, got '{layer.padding_mode}'")
            _pair(layer.padding)
            layer.__class__ = ArrayConv2d
        else:
            layer.__class__ = ArrayLinear
        layer.arithmetic, layer.recorder = arithmetic, recorder
    return module
