"""The weight update: SGD with momentum and decay as a Hadamard product with the rate and a near-memory add.

g' = g + decay·w;  v' = momentum·v + g';  w' = w − rate·v', in float32 (one rounding an operation), then the
weight is stored in the array as BF16 by one of four rules: "master" keeps an FP32 copy, "bf16" rounds to
nearest (and loses small updates), "stochastic" rounds up with the probability of the lost part, "kahan" keeps
the lost part in a BF16 compensation. Random bits come from Philox(seed, step, element index): thread count and
backend change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from charlib.errors import BadInput
from system.numerics.formats import F32, Codes, round_to_bf16, values_of

RULES = ("master", "bf16", "stochastic", "kahan")


@dataclass(frozen=True)
class Sgd:
    """Rate, momentum and weight decay, each a plain number, and the storage rule."""

    rate: float
    momentum: float = 0.9
    decay: float = 0.0
    rule: str = "master"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise BadInput(f"rule: {', '.join(RULES)} are allowed, got '{self.rule}'")
        if not self.rate > 0 or not 0 <= self.momentum < 1 or not self.decay >= 0:
            raise BadInput("SGD: rate > 0, 0 <= momentum < 1 and decay >= 0 are needed, "
                           f"got {self.rate:g}, {self.momentum:g}, {self.decay:g}")


@dataclass(frozen=True)
class State:
    """weight: BF16 codes in the array. velocity: float32. extra: FP32 master or BF16-valued compensation."""

    weight: Codes
    velocity: F32
    extra: F32


def start(weight: F32, sgd: Sgd) -> State:
    """The state of float32 initial weights."""
    codes = round_to_bf16(weight)
    extra = weight.astype(np.float32) if sgd.rule == "master" else np.zeros_like(weight, dtype=np.float32)
    return State(codes, np.zeros_like(weight, dtype=np.float32), extra)


@np.errstate(over="ignore", invalid="ignore")
def step(state: State, gradient: F32, sgd: Sgd, number: int, tensor: int = 0) -> State:
    """One update; `number` counts the steps and `tensor` the weights of a network, for the random bits.

    What overflows is an infinity, as in the adder.
    """
    if gradient.shape != state.weight.shape or gradient.dtype != np.float32:
        raise BadInput(f"gradient: float32 of shape {state.weight.shape} is needed, "
                       f"got {gradient.dtype} {gradient.shape}")
    held = state.extra if sgd.rule == "master" else values_of(state.weight)
    velocity = np.float32(sgd.momentum) * state.velocity + (gradient + np.float32(sgd.decay) * held)
    change = -np.float32(sgd.rate) * velocity
    if sgd.rule == "master":
        master = held + change
        return State(round_to_bf16(master), velocity, master)
    if sgd.rule == "bf16":
        return State(round_to_bf16(held + change), velocity, state.extra)
    if sgd.rule == "stochastic":
        return State(round_stochastic(held + change, sgd.seed, number, tensor), velocity, state.extra)
    wanted = change - state.extra
    codes = round_to_bf16(held + wanted)
    lost = (values_of(codes) - held) - wanted
    return State(codes, velocity, values_of(round_to_bf16(lost)))


def round_stochastic(x: F32, seed: int, number: int, tensor: int = 0) -> Codes:
    """BF16 codes of float32 x, rounded away from zero with the probability of the 16 bits that are lost."""
    bits = random_bits(x.size, seed, number, tensor).reshape(x.shape)
    pattern = np.ascontiguousarray(x).view(np.uint32) + bits.astype(np.uint32)
    codes = (pattern >> np.uint32(16)).astype(np.uint16)
    tiny = (codes & np.uint16(0x7F80)) == 0
    flushed = np.where(tiny, codes & np.uint16(0x8000), codes)
    return np.where(np.isfinite(x), flushed, round_to_bf16(x)).astype(np.uint16)


def random_bits(count: int, seed: int, number: int, tensor: int = 0) -> Codes:
    """16 random bits for each element index 0..count−1 of weight `tensor` in step `number`."""
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, tensor, number, 0])).integers(
        0, 1 << 16, size=count, dtype=np.uint16)
