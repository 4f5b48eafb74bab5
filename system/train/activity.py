"""What the circuits feel while a network trains: bit densities, toggles, zeros, exponent spread, by layer and pass.

A layer is looked at in every `every`-th training step that it takes part in, in all of its products and passes; of
each operand at most SAMPLE codes: blocks of up to GROUP lanes (a tile of the sum) over up to ROWS neighbours in time,
spread over the operand by a fixed low-discrepancy sequence, so that a run stays deterministic. Which axis is time and
which is summed is the pass's:

    forward          serial a_i of successive positions; stored W_ij of successive addresses j; lanes i
    input gradient   serial δ_j, stored W_ij, both in ascending j, which is also what a compartment sums
    weight gradient  serial δ_j^b of successive j, stored a_i^b of successive i; lanes b
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from charlib.errors import BadInput
from system.numerics.formats import Codes

SAMPLE = 4096
GROUP, ROWS, PLACES = 32, 32, 16  #: lanes of one fused sum; neighbours in time; blocks of an operand
PASSES = ("forward", "input_gradient", "weight_gradient")
SCHEMA = "himc-activity-1"
_ONES = np.array([bin(value).count("1") for value in range(256)], dtype=np.float32)
#: stands for a step before any that this process counts
_NO_MARK = -1
_STEP = 0.6180339887498949  #: the golden ratio's fraction spreads places evenly

Statistics = dict[str, float]


@dataclass
class Seen:
    """Of one layer and pass: products made and looked at, their MACs, codes looked at, sums of statistics × MACs."""

    calls: int = 0
    samples: int = 0
    macs: int = 0
    macs_seen: int = 0
    operands: int = 0
    sums: Statistics = field(default_factory=dict)

    def add(self, found: Mapping[str, float], macs: int, operands: int) -> None:
        """One sample."""
        self.samples, self.macs_seen = self.samples + 1, self.macs_seen + macs
        self.operands += operands
        for what, value in found.items():
            self.sums[what] = self.sums.get(what, 0.0) + value * macs

    def means(self) -> Statistics:
        """Statistic -> mean over the samples, weighted by their MACs."""
        return {what: value / self.macs_seen for what, value in self.sums.items()}


@dataclass
class Recorder:
    """One recorder a run, of every `every`-th step. A copy of a module records into the same recorder."""

    every: int = 16
    seen: dict[str, dict[str, Seen]] = field(default_factory=dict)  #: layer -> pass
    steps: dict[str, tuple[int, int]] = field(default_factory=dict)  #: layer -> (its last step's mark, its steps)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise BadInput(f"every: must be at least 1, got {self.every}")

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorder:
        return self

    def at(self, layer: str, mark: int = 0) -> Probe:
        """The recorder as a layer sees it in the step that `mark` stands for: another mark, another step."""
        last, steps = self.steps.get(layer, (mark, 0))
        if last != mark:
            steps += 1
        self.steps[layer] = (mark, steps)
        return Probe(self, layer, steps % self.every == 0)

    def count(self, name: str, macs: int, layer: str = "") -> Seen:
        """A product of a layer's pass was made, looked at or not."""
        seen = self.seen.setdefault(layer, {}).setdefault(name, Seen())
        seen.calls, seen.macs = seen.calls + 1, seen.macs + macs
        return seen

    def see(self, name: str, serial: Codes, stored: Codes, layer: str = "", macs: int | None = None) -> None:
        """Look at a product of pass `name`: forward a (g, m, i) and w (g, j, i), input gradient δ (g, m, j) and w,
        weight gradient δ and a. Codes may have any strides. macs: of the product, if these are a part of it."""
        macs = _macs(name, serial, stored) if macs is None else macs
        seen = self.count(name, macs, layer)
        if serial.size and stored.size and macs:
            found, operands = both(name, serial, stored, seen.samples)
            seen.add(found, macs, operands)

    def summary(self) -> dict[str, Statistics]:
        """pass -> statistic -> mean over layers, weighted by their MACs."""
        found: dict[str, Statistics] = {}
        for name in PASSES:
            chosen = [seen[name] for seen in self.seen.values() if name in seen and seen[name].samples]
            total = sum(seen.macs for seen in chosen)
            if chosen:
                found[name] = {what: sum(seen.means()[what] * seen.macs for seen in chosen) / total
                               for what in chosen[0].sums}
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data: {"schema", "every", "layers": {layer: {pass: {"calls", "samples", "operands", "macs",
        statistic: mean, …}}}, "passes": summary}. :mod:`system.activity` reads it."""
        layers = {layer: {name: {"calls": seen.calls, "samples": seen.samples, "operands": seen.operands,
                                 "macs": seen.macs, **seen.means()} for name, seen in passes.items()}
                  for layer, passes in self.seen.items()}
        return {"schema": SCHEMA, "every": self.every, "layers": layers, "passes": self.summary()}

    def state_dict(self) -> dict[str, Any]:
        """Plain data from which :meth:`load_state_dict` goes on."""
        return {"seen": {layer: {name: {**vars(seen), "sums": dict(seen.sums)} for name, seen in passes.items()}
                         for layer, passes in self.seen.items()},
                "steps": {layer: steps for layer, (_, steps) in self.steps.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where another recorder left off; its next step is a new one."""
        self.seen = {layer: {name: Seen(**{**seen, "sums": dict(seen["sums"])}) for name, seen in passes.items()}
                     for layer, passes in state["seen"].items()}
        self.steps = {layer: (_NO_MARK, steps) for layer, steps in state["steps"].items()}


@dataclass(frozen=True)
class Probe:
    """A recorder at one layer in one step; `look`: whether this step is recorded."""

    recorder: Recorder
    layer: str
    look: bool = True

    def see(self, name: str, serial: Codes, stored: Codes) -> None:
        """A product; see :meth:`Recorder.see`."""
        if self.look:
            self.recorder.see(name, serial, stored, self.layer)
        else:
            self.recorder.count(name, _macs(name, serial, stored), self.layer)

    def see_part(self, name: str, macs: int, part: Callable[[int], tuple[Codes, Codes]]) -> None:
        """A product of so many MACs of which `part(turn)` makes a part when it is looked at, as :meth:`Recorder.see`
        takes it; turn: how often that was."""
        if not self.look:
            self.recorder.count(name, macs, self.layer)
            return
        seen = self.recorder.seen.get(self.layer, {}).get(name)
        self.recorder.see(name, *part(seen.samples if seen else 0), self.layer, macs)


def _macs(name: str, serial: Codes, stored: Codes) -> int:
    words: int = stored.shape[1 if name == "forward" else 2]
    return int(serial.size) * words


def both(name: str, serial: Codes, stored: Codes, turn: int) -> tuple[Statistics, int]:
    """Statistics of both operands of a pass, and how many codes were looked at."""
    found, count = {}, 0
    for role, operand in (("serial", serial), ("stored", stored)):
        block = sample(oriented(name, role, operand), turn)
        count += block.size
        found.update({f"{role}_{what}": value
                      for what, value in statistics(block, time=2 if name == "input_gradient" else 1).items()})
    return found, count


def oriented(name: str, role: str, operand: Codes) -> Codes:
    """The operand as (groups, rows, summed)."""
    flipped = name == "weight_gradient" or (name == "input_gradient" and role == "stored")
    return operand.transpose(0, 2, 1) if flipped else operand


def sample(operand: Codes, turn: int = 1) -> Codes:
    """Blocks of an operand (groups, rows, lanes), stacked: at most SAMPLE codes, none copied but these."""
    groups, rows, lanes = operand.shape
    height, width = min(rows, ROWS), min(lanes, GROUP)
    places = min(max(SAMPLE // (height * width), 1), groups * -(-rows // height) * (lanes // width), PLACES)
    blocks = []
    for place in range(places):
        where = (turn * places + place) * _STEP % 1.0
        group, rest = _split(where, groups)
        tile, rest = _split(rest, lanes // width)
        row = int(rest * (rows - height + 1))
        blocks.append(operand[group, row:row + height, tile * width:(tile + 1) * width])
    return np.stack(blocks)


def _split(where: float, parts: int) -> tuple[int, float]:
    """The part of [0, 1) that `where` falls in, and where within it."""
    index = min(int(where * parts), parts - 1)
    return index, min(max(where * parts - index, 0.0), 1.0 - 1e-12)


def statistics(block: Codes, time: int = 1) -> Statistics:
    """Of codes (places, rows, lanes) that follow each other along the axis `time`.

    bit_density: share of ones among significand bits, hidden bit included, none in a zero. fraction_density: of
    ones among the fraction bits of nonzero codes. zero_share: of zeros and subnormals. toggle_rate: share of
    significand bits that change from one code to the next in its place. repeat_share: of codes equal to the one
    before. exponent_spread: standard deviation of the nonzero exponents within a group of lanes, octaves;
    exponent_range: their largest less their smallest. non_finite_share: of infinities and NaN.
    """
    exponent = (block >> np.uint16(7) & np.uint16(0xFF)).astype(np.int32)
    valid = exponent > 0
    significand = np.where(valid, block & np.uint16(0x7F) | np.uint16(0x80), np.uint16(0)).astype(np.uint8)
    ones, nonzero = float(_ones(significand)), int(valid.sum())
    first, second = _neighbours(significand, time)
    before, after = _neighbours(block, time)
    spread, extent = _exponents(exponent, valid)
    return {
        "bit_density": ones / (8 * block.size),
        "fraction_density": (ones - nonzero) / (7 * nonzero) if nonzero else 0.0,
        "zero_share": 1.0 - nonzero / block.size,
        "toggle_rate": _ones(first ^ second) / (8 * first.size) if first.size else 0.0,
        "repeat_share": float(np.mean(before == after)) if before.size else 0.0,
        "exponent_spread": spread, "exponent_range": extent,
        "non_finite_share": float(np.mean(exponent == 255)),
    }


def _ones(values: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    return float(_ONES[values].sum())


def _neighbours(values: np.ndarray[Any, Any], time: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return (values[:, :-1], values[:, 1:]) if time == 1 else (values[:, :, :-1], values[:, :, 1:])


def _exponents(exponent: np.ndarray[Any, np.dtype[np.int32]],
               valid: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[float, float]:
    """(pooled standard deviation, mean range) of the valid exponents within each group of lanes."""
    count = valid.sum(axis=-1)
    if not count.any():
        return 0.0, 0.0
    kept = np.where(valid, exponent, 0)
    mean = kept.sum(axis=-1) / np.maximum(count, 1)
    deviation = np.where(valid, exponent - mean[..., np.newaxis], 0.0)
    extent = kept.max(axis=-1) - np.where(valid, exponent, 255).min(axis=-1)
    return float(np.sqrt((deviation**2).sum() / count.sum())), float(extent[count > 0].mean())
