"""Weights as the array holds them, under torch's optimisers.

The array stores BF16. What happens to the part of an update that BF16 cannot hold is the rule's:

    master      w stays FP32 beside the array; the products round it to BF16
    bf16        w' = BF16(w + change), nearest even: updates below half an ulp are lost
    stochastic  w' rounds away from zero with the probability of the part that is cut
    kahan       the lost part waits in a BF16 compensation and joins the next change

`ArraySgd` is :mod:`system.numerics.update` bit for bit: momentum and decay, the Hadamard product with the rate, the
near-memory add. Any other optimiser computes its change in FP32 on the vector unit, and :func:`stored` puts the
weights under a rule after each of its steps. Random bits depend on seed, step, parameter and element alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from charlib.errors import BadInput
from system.numerics import update
from system.numerics.formats import F32, round_to_bf16, values_of

Parameters = Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]]


def in_array(p: torch.nn.Parameter) -> bool:
    """Whether a parameter is a product's weight. Scales, shifts and biases stay FP32 in the vector unit."""
    return p.ndim > 1


def groups(model: torch.nn.Module, rule: str) -> list[dict[str, Any]]:
    """A module's parameters for :class:`ArraySgd`: the array's under `rule`, the vector unit's in FP32."""
    every = [p for p in model.parameters() if p.requires_grad]
    return [{"params": [p for p in every if in_array(p)], "rule": rule},
            {"params": [p for p in every if not in_array(p)], "rule": "master"}]


class ArraySgd(torch.optim.Optimizer):
    """SGD with momentum and weight decay as the near-memory adder computes it. Parameters are FP32 on the CPU."""

    def __init__(self, params: Parameters, lr: float, momentum: float = 0.9, decay: float = 0.0,
                 rule: str = "master", seed: int = 0) -> None:
        update.Sgd(lr, momentum, decay, rule, seed)  # refuses what is not allowed
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay, "rule": rule, "seed": seed})
        for group in self.param_groups:
            if group["rule"] != "master":
                for p in group["params"]:
                    p.data = torch.from_numpy(values_of(round_to_bf16(_values(p))))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        index = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, group, index)
                index += 1
        return loss

    def _update(self, p: torch.nn.Parameter, group: dict[str, Any], index: int) -> None:
        kept, value = self.state[p], _values(p)
        if not kept:
            zero = torch.zeros_like(p, memory_format=torch.contiguous_format)
            kept.update(step=0, velocity=zero, extra=zero.clone())
        rate = float(group["lr"])
        if rate == 0.0:  # a schedule may end there
            kept["step"] += 1
            return
        sgd = update.Sgd(rate, group["momentum"], group["decay"], group["rule"], group["seed"])
        extra = value if sgd.rule == "master" else kept["extra"].numpy()
        assert p.grad is not None
        before = update.State(round_to_bf16(value), kept["velocity"].numpy(), extra)
        after = update.step(before, _values(p.grad), sgd, kept["step"], index)
        new = after.extra if sgd.rule == "master" else values_of(after.weight)
        p.copy_(torch.from_numpy(new))
        kept["step"] += 1
        kept["velocity"] = torch.from_numpy(after.velocity)
        if sgd.rule == "kahan":
            kept["extra"] = torch.from_numpy(after.extra)


def _values(t: torch.Tensor) -> F32:
    """Row-major FP32 values, whatever the memory layout."""
    return np.ascontiguousarray(t.detach().numpy())


class Stored:
    """Another optimiser's weights under a rule; made by :func:`stored`. Its state travels with state_dict()."""

    def __init__(self, optimiser: torch.optim.Optimizer, rule: str, seed: int) -> None:
        if rule not in update.RULES:
            raise BadInput(f"weights: {', '.join(update.RULES)} are allowed, got '{rule}'")
        self.optimiser, self.rule, self.seed, self.steps = optimiser, rule, seed, 0
        self.compensation: list[torch.Tensor] = []
        if rule != "master":
            for p in self._parameters():
                p.data = torch.from_numpy(values_of(round_to_bf16(_values(p))))

    def _parameters(self) -> list[torch.nn.Parameter]:
        """Those that lie in the array."""
        return [p for group in self.optimiser.param_groups for p in group["params"] if in_array(p)]

    @torch.no_grad()
    def step(self) -> None:
        """The optimiser's step, then the rule."""
        if self.rule == "master":
            self.optimiser.step()
            return
        before = [p.detach().clone() for p in self._parameters()]
        self.optimiser.step()
        for index, (p, old) in enumerate(zip(self._parameters(), before, strict=True)):
            p.copy_(torch.from_numpy(self._rounded(_values(p), _values(old), index)))
        self.steps += 1

    def _rounded(self, new: F32, old: F32, index: int) -> F32:
        if self.rule == "bf16":
            return values_of(round_to_bf16(new))
        if self.rule == "stochastic":
            return values_of(update.round_stochastic(new, self.seed, self.steps, index))
        while len(self.compensation) <= index:
            self.compensation.append(torch.zeros_like(self._parameters()[len(self.compensation)],
                                                      memory_format=torch.contiguous_format))
        wanted = (new - old) - self.compensation[index].numpy()
        codes = round_to_bf16(old + wanted)
        lost = (values_of(codes) - old) - wanted
        self.compensation[index] = torch.from_numpy(values_of(round_to_bf16(lost)))
        return values_of(codes)

    def zero_grad(self) -> None:
        """As the optimiser's."""
        self.optimiser.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers."""
        return {"optimiser": self.optimiser.state_dict(), "steps": self.steps, "compensation": self.compensation}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up where another left off."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.steps, self.compensation = state["steps"], list(state["compensation"])


def stored(optimiser: torch.optim.Optimizer, rule: str = "master", seed: int = 0) -> Stored:
    """Put an optimiser's weights under a rule: "master", "bf16", "stochastic" or "kahan"."""
    return Stored(optimiser, rule, seed)
