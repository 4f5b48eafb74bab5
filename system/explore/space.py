"""A space of designs from a YAML file: what is varied, what is fixed, what is wanted.

    network: mobilenet_v1
    fixed: {node_nm: 45, image_px: 224}
    vary:
      compartments: [16, 32, 64]
      rows: [4, 8, 16]
      macros: {from: 2500, to: 40000, steps: 12, scale: log}
      batch: [1, 8, 64]
      vdd_v: {from: 0.8, to: 1.0, steps: 5}
    minimise: [energy_system_j, time_system_s, area_m2]

`vary` takes options of `himc estimate` that are listed in SHAPE, MAPPING and CIRCUIT, each with a list or a range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Any

from charlib.errors import BadInput
from charlib.yaml_file import Document, read_document, shown
from system.activity import options_of
from system.activity import read as read_activity
from system.explore.accuracy import METRIC as ACCURACY_LOSS
from system.explore.grid import METRICS
from system.options import EstimateOptions

SHAPE = ("rows", "words_per_row", "compartments", "serial_bits")
MAPPING = ("batch", "macros")
CIRCUIT = ("lane_bits", "vdd_v", "corner", "temp_c", "read_policy", "exponent_fire", "clock_gating", "flavour",
           "constants", "input_density", "weight_density", "toggle", "exponent_spread", "zero_share", "cycle_s")
INTEGERS = ("rows", "words_per_row", "compartments", "serial_bits", "batch", "macros", "lane_bits")
DEFAULT_OBJECTIVES = ("energy_system_j", "time_system_s", "area_m2")
MOST_DESIGNS = 20_000_000
#: of one range; more only fill memory, since an axis of that many is no grid to look at
MOST_STEPS = 10_000
Value = float | int | str


@dataclass(frozen=True)
class Space:
    """fixed: options of every design. axes: name -> values, in the order of the file. objectives: to minimise."""

    fixed: EstimateOptions
    axes: Mapping[str, tuple[Value, ...]]
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES

    def __post_init__(self) -> None:
        for name, values in self.axes.items():
            if name not in (*SHAPE, *MAPPING, *CIRCUIT):
                raise BadInput(f"vary: '{name}' cannot be varied; {', '.join((*SHAPE, *MAPPING, *CIRCUIT))} can")
            if not values or len(set(values)) < len(values):
                raise BadInput(f"vary: {name}: at least one value, and each once, got {list(values)}")
        for name in self.objectives:
            if name not in (*METRICS, ACCURACY_LOSS):
                raise BadInput(f"minimise: '{name}' is not known; {', '.join((*METRICS, ACCURACY_LOSS))} are")
        if len(self.objectives) < 1:
            raise BadInput("minimise: name at least one metric")
        asked = (self.fixed.macros, *self.axes.get("macros", ()))
        if any(str(text).startswith("time_multiplexed") for text in asked):
            raise BadInput("macros: time_multiplexed is not explored; ask 'himc estimate' for single designs")
        if self.fixed.die_mm2 is not None:
            raise BadInput("fixed: die_mm2 is not explored; vary macros and minimise area_m2")
        if self.fixed.projection == "ptm":
            raise BadInput("fixed: projection ptm is not explored; ask 'himc estimate' for single designs")

    @property
    def size(self) -> int:
        """Designs of the whole grid."""
        return math.prod(len(values) for values in self.axes.values())

    def part(self, names: tuple[str, ...]) -> Iterator[dict[str, Value]]:
        """Every combination of those axes that are varied."""
        used = [name for name in names if name in self.axes]
        for values in product(*(self.axes[name] for name in used)):
            yield dict(zip(used, values, strict=True))

    def options(self, values: Mapping[str, Value]) -> EstimateOptions:
        """One design's options. BadInput for a value that an option does not take."""
        changes = {name: str(value) if name == "macros" else value for name, value in values.items()}
        return EstimateOptions.from_json(self.fixed.to_json() | changes)


def read_space(path: Path) -> Space:
    """The space of a file. BadInput naming line and field, the value and what is allowed."""
    document = read_document(path, "space", "must hold 'vary' and may hold network, fixed, minimise")
    said = document.fields
    unknown = sorted(set(said) - {"network", "fixed", "vary", "minimise"})
    if unknown:
        raise document.fault((unknown[0],), "is not known; network, fixed, vary and minimise are")
    for name in ("fixed", "vary"):
        if not isinstance(said.get(name) or {}, dict):
            raise document.fault((name,), f"options with their values are needed, got {said[name]!r}")
    objectives = said.get("minimise", list(DEFAULT_OBJECTIVES))
    if not isinstance(objectives, list):
        raise document.fault(("minimise",), f"a list of metrics is needed, got {objectives!r}")
    vary = said.get("vary") or {}
    options = _options(document)
    try:
        space = Space(options, {name: _values(name, given) for name, given in vary.items()},
                      tuple(str(name) for name in objectives))
    except BadInput as error:
        raise document.blame(error) from error
    for axis, values in space.axes.items():
        for value in values:
            try:
                space.options({axis: value})  # refuses what an option does not take
            except BadInput as error:
                raise document.blame(error, ("vary", axis)) from error
    return space


def _options(document: Document) -> EstimateOptions:
    """The options of every design."""
    fixed = dict(document.fields.get("fixed") or {})
    recorded = fixed.pop("activity", None)
    known = {field.name for field in fields(EstimateOptions)}
    for name in fixed:
        if name not in known:
            raise document.fault(("fixed", name), "is not an option; 'himc estimate --help' lists them")
    try:
        if recorded is not None:
            fixed = options_of(read_activity(Path(str(recorded)))) | fixed
        network = {"network": str(document.fields["network"])} if "network" in document.fields else {}
        return EstimateOptions.from_json(EstimateOptions().to_json() | network | _fixed(fixed))
    except BadInput as error:
        where = ("fixed",) if str(error).partition(": ")[0] in fixed else ()
        raise document.blame(error, where) from error


def _fixed(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if name == "macros" else value for name, value in given.items()}


def _values(name: str, given: Any) -> tuple[Value, ...]:
    """A list, one value, or a range {from, to, steps, scale}."""
    if isinstance(given, dict):
        return _range(name, given)
    values = given if isinstance(given, list) else [given]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise BadInput(f"vary: {name}: numbers or words are allowed, got {value!r}")
    return tuple(values)


def _range(name: str, given: Mapping[str, Any]) -> tuple[Value, ...]:
    unknown = sorted(set(given) - {"from", "to", "steps", "scale"})
    if unknown or not {"from", "to", "steps"} <= set(given):
        raise BadInput(f"vary: {name}: a range has from, to, steps, and scale if not linear, got {dict(given)}")
    low, high, steps, scale = given["from"], given["to"], given["steps"], given.get("scale", "linear")
    numbers = [v for v in (low, high) if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < 2 or not isinstance(steps, int) or steps < 2 or not low < high:
        raise BadInput(f"vary: {name}: from < to and at least 2 steps, a whole number, are needed, got {dict(given)}")
    if steps > MOST_STEPS:
        raise BadInput(f"vary: {name}: steps: 2 to {MOST_STEPS} are allowed, got {shown(steps)}")
    if scale not in ("linear", "log") or (scale == "log" and low <= 0):
        raise BadInput(f"vary: {name}: scale linear, or log from above 0, is allowed, got {dict(given)}")
    shares = [k / (steps - 1) for k in range(steps)]
    found = [low * (high / low) ** s if scale == "log" else low + (high - low) * s for s in shares]
    if not all(map(math.isfinite, found)):
        raise BadInput(f"vary: {name}: from {low:g} to {high:g} is further than numbers reach; give a shorter range")
    if name in INTEGERS:
        return tuple(dict.fromkeys(round(value) for value in found))
    return tuple(round(value, 12) for value in found)
