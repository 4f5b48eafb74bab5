"""A whole space: enumerated, or searched where it is too large; its front and its sensitivities."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from charlib.errors import BadInput
from system.explore.accuracy import METRIC as ACCURACY_LOSS
from system.explore.accuracy import accuracy_loss
from system.explore.grid import METRICS, Evaluator
from system.explore.pareto import front
from system.explore.space import CIRCUIT, MAPPING, MOST_DESIGNS, SHAPE, Space, Value
from system.options import EstimateOptions
from system.readings import Reader
from system.structure import macro_structure

F64 = npt.NDArray[np.float64]
TOO_FEW = "macros: fewer than hold the network once and one for weight gradients"
TOO_FAST = f"{TOO_FEW}, or so many that their slowest compartment misses cycle_s"
#: called with (designs done, all)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Explored:
    """Every design of a space. axes: name -> values, in the order in which designs are counted; metrics: one value a
    design, NaN where it cannot be; refused: why circuits could not be, and how many designs that took; said: what
    must be known of designs, and of how many."""

    space: Space
    axes: Mapping[str, tuple[Value, ...]]
    metrics: Mapping[str, F64]
    refused: Mapping[str, int]
    said: Mapping[str, int]
    seconds: float

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.metrics[ACCURACY_LOSS])

    @property
    def possible(self) -> int:
        """How many of them can be."""
        return int(np.isfinite(self.metrics["energy_system_j"]).sum())

    def design(self, index: int) -> dict[str, Value]:
        """What a design varies."""
        places = np.unravel_index(index, tuple(len(values) for values in self.axes.values()))
        return {name: values[int(k)] for (name, values), k in zip(self.axes.items(), places, strict=True)}

    def options(self, index: int) -> EstimateOptions:
        """A design's options, for the scalar estimate."""
        return self.space.options(self.design(index))

    def front(self) -> npt.NDArray[np.intp]:
        """Designs that no other beats in all objectives."""
        return front(np.stack([self.metrics[name] for name in self.space.objectives], axis=1))

    def sensitivities(self) -> dict[str, dict[str, float]]:
        """axis -> metric -> median over neighbours on the grid of d ln(metric) / d ln(axis); where an axis has words,
        of ln(metric) between one word and the next."""
        shape = tuple(len(values) for values in self.axes.values())
        found: dict[str, dict[str, float]] = {}
        for k, (name, values) in enumerate(self.axes.items()):
            if len(values) < 2:
                continue
            steps = _steps(values).reshape([-1 if j == k else 1 for j in range(len(shape))])
            found[name] = {}
            for metric in METRICS:
                with np.errstate(divide="ignore", invalid="ignore"):
                    change = np.diff(np.log(self.metrics[metric].reshape(shape)), axis=k) / steps
                finite = change[np.isfinite(change)]
                if len(finite):
                    found[name][metric] = float(np.median(finite))
        return found


def _steps(values: Sequence[Value]) -> F64:
    """Between neighbours: of the logarithm for numbers above zero, of the number at zero, 1 for words."""
    numbers = [v for v in values if isinstance(v, (int, float))]
    if len(numbers) < len(values):
        return np.ones(len(values) - 1)
    positive = min(numbers) > 0
    return np.asarray(np.diff(np.log(numbers) if positive else np.array(numbers, dtype=float)))


def enumerate_space(space: Space, read: Reader, progress: Progress | None = None) -> Explored:
    """Evaluate every design. BadInput where there are too many; search then."""
    if space.size > MOST_DESIGNS:
        raise BadInput(f"vary: {space.size} designs are more than {MOST_DESIGNS}; shorten an axis, or give --search")
    begin = time.perf_counter()
    axes = {name: space.axes[name] for part in (SHAPE, MAPPING, CIRCUIT) for name in part if name in space.axes}
    shapes, circuits = list(space.part(SHAPE)), list(space.part(CIRCUIT))
    batches = [int(b) for b in space.axes.get("batch", (space.fixed.batch,))]
    asked = [str(v) for v in space.axes.get("macros", (space.fixed.macros,))]
    evaluator = Evaluator(read)
    found: dict[str, list[F64]] = {name: [] for name in METRICS}
    refused: dict[str, int] = {}
    for done, shape in enumerate(shapes, start=1):
        part = _shape(space, shape, batches, asked, circuits, evaluator, refused)
        for name in METRICS:
            found[name].append(part[name].ravel())
        if progress is not None:
            progress(done * len(batches) * len(asked) * len(circuits), space.size)
    metrics = {name: np.concatenate(parts) for name, parts in found.items()}
    few = int(np.isnan(metrics["energy_system_j"]).sum()) - sum(refused.values())
    if few > 0:
        refused[TOO_FAST if "cycle_s" in axes or space.fixed.cycle_s is not None else TOO_FEW] = few
    widths = np.array([c.get("lane_bits", _own_width(space.fixed)) for c in circuits], dtype=float)
    metrics[ACCURACY_LOSS] = np.tile(accuracy_loss(widths), space.size // len(circuits))
    return Explored(space, axes, metrics, refused, evaluator.said, time.perf_counter() - begin)


def _own_width(options: EstimateOptions) -> int:
    return options.lane_bits if options.lane_bits is not None else macro_structure(options.macro).lane_bits


def _shape(space: Space, shape: Mapping[str, Value], batches: Sequence[int], asked: Sequence[str],
           circuits: Sequence[Mapping[str, Value]], evaluator: Evaluator, refused: dict[str, int]) -> dict[str, F64]:
    """One shape: metric -> (batches, M, C), NaN for what cannot be."""
    try:
        base = replace(space.options(shape), batch=batches[0])
        options = [space.options({**shape, **circuit}) for circuit in circuits]
        part, messages = evaluator(base, batches, asked, options)
    except BadInput as error:
        part = {name: np.full((len(batches), len(asked), len(circuits)), np.nan) for name in METRICS}
        messages = [str(error)] * len(circuits)
    for message in messages:
        refused[message] = refused.get(message, 0) + len(batches) * len(asked)
    return part


def search(space: Space, read: Reader, *, population: int = 80, generations: int = 60, seed: int = 0,
           progress: Progress | None = None) -> Explored:
    """NSGA-II (Deb et al., 2002) over the axes' indices, by pymoo; returns the designs that it looked at.

    Deterministic by seed. BadInput where pymoo is not installed.
    """
    try:
        from system.explore.nsga import minimise
    except ImportError as error:
        raise BadInput("--search: pymoo is not installed; run 'pip install \"hadamard-imc[explore]\"'") from error
    begin = time.perf_counter()
    axes = {name: space.axes[name] for part in (SHAPE, MAPPING, CIRCUIT) for name in part if name in space.axes}
    evaluator, refused = Evaluator(read), dict[str, int]()
    seen: dict[tuple[int, ...], dict[str, float]] = {}

    def look(places: tuple[int, ...]) -> list[float]:
        if places not in seen:
            values = {name: axes[name][k] for name, k in zip(axes, places, strict=True)}
            seen[places] = _one(space, values, evaluator, refused)
            if progress is not None:
                progress(len(seen), population * generations)
        return [seen[places][name] for name in space.objectives]

    minimise([len(values) for values in axes.values()], look, population, generations, seed)
    ordered = sorted(seen)
    metrics = {name: np.array([seen[places][name] for places in ordered]) for name in (*METRICS, ACCURACY_LOSS)}
    return Searched(space, axes, metrics, refused, evaluator.said, time.perf_counter() - begin, tuple(ordered))


@dataclass(frozen=True)
class Searched(Explored):
    """Designs that a search looked at; places: of each, its indices on the axes."""

    places: tuple[tuple[int, ...], ...] = ()

    def design(self, index: int) -> dict[str, Value]:
        """What a design varies."""
        return {name: self.axes[name][k] for name, k in zip(self.axes, self.places[index], strict=True)}

    def sensitivities(self) -> dict[str, dict[str, float]]:
        """None: a search has no neighbours."""
        return {}


def _one(space: Space, values: Mapping[str, Value], evaluator: Evaluator, refused: dict[str, int]
         ) -> dict[str, float]:
    shape = {name: values[name] for name in SHAPE if name in values}
    circuit = {name: values[name] for name in CIRCUIT if name in values}
    batch, macros = int(values.get("batch", space.fixed.batch)), str(values.get("macros", space.fixed.macros))
    part = _shape(space, shape, [batch], [macros], [circuit], evaluator, refused)
    width = float(circuit.get("lane_bits", _own_width(space.fixed)))
    return {name: float(array.ravel()[0]) for name, array in part.items()} | {
        ACCURACY_LOSS: float(accuracy_loss([width])[0])}
