"""From a figure of an estimate back to the tables, runs and constants it was made of.

The estimate's JSON carries all its options, so the design is computed again and must give the stored figure;
if the tables changed since, that is an error and not a trace of something else. The end of a range is traced through
the scenario that gives it, a saving through our design and the GPU's row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from charlib.errors import BadInput, HimcError
from charlib.table import TableSet
from system.blocks import BOUNDARIES
from system.design import Design, evaluate, make_reader, scenarios, tables_for
from system.equal_time import design_of, equal_time, figures
from system.estimate import estimate
from system.gpu_median import KEYS, between
from system.options import EstimateOptions
from system.trace_entries import Entries, Trace, area, cited, clock, contribution, energy

#: a recomputed figure must agree with the stored one to this, relative
AGREEMENT = 1e-9
_UNITS = {"energy_j_per_image": "J", "time_s_per_image": "s", "clock_hz": "Hz", "leakage_w": "W", "area_mm2": "mm²",
          "density_kb_per_mm2": "Kb/mm²", "energy_fraction": "1", "time_fraction": "1", "power_w": "W"}
_ENDINGS = ("_range", "_interval", "_over_rows")


@dataclass(frozen=True)
class Again:
    """An estimate computed again from its options. fresh: its tables, where the folder in its options has moved."""

    stored: Mapping[str, Any]
    fresh: TableSet | None = None

    @cached_property
    def options(self) -> EstimateOptions:
        return EstimateOptions.from_json(self.stored["origin"]["options"])

    @cached_property
    def design(self) -> Design:
        return evaluate(self.options, make_reader(self.options, self.fresh))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The whole estimate."""
        return estimate(self.options, self.fresh)

    def scenario(self, boundary: str, kind: str, value: float) -> Design:
        """The design whose figure ends a range; the one as asked where none does."""
        rows = self.document["imc"][boundary]["scenarios"]
        name = next((row["name"] for row in rows if math.isclose(row[kind], value, rel_tol=AGREEMENT)), "as asked")
        if name == "as asked":
            return self.design
        return self._named(name)

    def clocked(self, clock_hz: float) -> Design:
        """The design whose clock ends the clock's range."""
        names = ["as asked", *(row["name"] for row in self.document["imc"]["system"]["scenarios"][1:])]
        return next(d for d in map(self._named, names)
                    if math.isclose(1 / d.clock.cycle_s, clock_hz, rel_tol=AGREEMENT))

    def _named(self, name: str) -> Design:
        """A scenario's design."""
        chosen = next(s for s in scenarios(self.options) if s.name == name)
        return evaluate(chosen.options, tables_for(chosen, self.design.reader))


def trace_estimate(document: dict[str, Any], path: str, fresh: TableSet | None = None) -> Trace:
    """Trace `path`: "imc.BOUNDARY.energy_j_per_image", "imc.BOUNDARY.breakdown.energy_j.BLOCK[.PASS]",
    "imc.BOUNDARY.time_s_per_image", figures of "macro", "gpu.ROW", "gpu_median", "saving.ROW" and
    "headline.BOUNDARY", and the ends of their ranges and intervals ("…_range.0"); a leading "estimate." is allowed.

    document: an estimate's JSON. fresh: its fresh tables, where the folder in its options has moved.
    """
    keys = path.removeprefix("estimate.").split(".")
    stored = stored_figure(document, keys, path)
    value, unit, entries = figure(Again(document, fresh), keys, path)
    return checked_trace(path, stored, value, unit, entries)


def checked_trace(path: str, stored: float, value: float, unit: str, entries: Entries) -> Trace:
    """The trace of a figure, if what was computed again is what was stored."""
    if not math.isclose(value, stored, rel_tol=AGREEMENT, abs_tol=1e-300):
        raise HimcError(f"{path}: the report says {stored:.6g}, its options and the present tables give "
                        f"{value:.6g}; the tables have changed, run the estimate again")
    return Trace(path, stored, unit, tuple(sorted(entries, key=lambda e: -abs(e.energy_j))))


def stored_figure(document: Any, keys: list[str], path: str) -> float:
    """The number at a path; keys into lists count from 0."""
    node: Any = document
    for key in keys:
        if isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
            continue
        if not isinstance(node, dict) or key not in node:
            allowed = (", ".join(node) if isinstance(node, dict) else f"0 to {len(node) - 1}"
                       if isinstance(node, list) and node else "nothing below it")
            raise BadInput(f"path '{path}': no '{key}' there; it holds {allowed}")
        node = node[key]
    if isinstance(node, dict):
        numbers = [v for v in node.values() if isinstance(v, (int, float))]
        if len(numbers) == len(node) and "breakdown" in keys:
            return math.fsum(numbers)
    if not isinstance(node, (int, float)) or isinstance(node, bool):
        raise BadInput(f"path '{path}': not a number; name one figure")
    return float(node)


def figure(again: Again, keys: list[str], path: str) -> tuple[float, str, Entries]:
    """(value computed again, unit, what it is made of)."""
    found: Callable[[Again, list[str]], tuple[float, str, Entries] | None] | None = {
        "imc": _imc, "macro": _macro, "gpu": _gpu, "gpu_median": _gpu_median, "saving": _saving,
        "headline": _headline, "drivers": _driver}.get(keys[0])
    result = found(again, keys[1:]) if found is not None else None
    if result is None:
        raise BadInput(f"path '{path}': this figure has no trace; try imc.BOUNDARY.energy_j_per_image, "
                       "imc.BOUNDARY.breakdown.energy_j.BLOCK, imc.BOUNDARY.time_s_per_image, macro.clock_hz, "
                       "macro.leakage_w, macro.density_kb_per_mm2, or the end of a range, such as "
                       "headline.BOUNDARY.energy_fraction_range.0")
    return result


def _ours(design: Design, boundary: str, kind: str) -> tuple[float, Entries]:
    """A boundary's energy or time, and what it is made of."""
    if kind == "energy_j_per_image":
        return energy(design.cost.within(boundary))
    return design.cost.times[boundary].total_s, clock(design)


def _imc(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    if len(keys) < 2 or keys[0] not in BOUNDARIES:
        return None
    boundary, what = keys[0], keys[1:]
    if what[:2] == ["breakdown", "energy_j"] and len(what) in (3, 4):
        joules, entries = energy([c for c in again.design.cost.within(boundary)
                                  if c.block == what[2] and (len(what) == 3 or c.pass_name == what[3])])
        return joules, "J", entries
    kind, ending = _split(what[0])
    if kind not in ("energy_j_per_image", "time_s_per_image") or len(what) != (2 if ending else 1):
        return None
    if not ending:
        value, entries = _ours(again.design, boundary, kind)
    else:
        value = stored_figure(again.document, ["imc", *keys], ".".join(keys))
        _, entries = _ours(again.scenario(boundary, kind, value), boundary, kind)
    return value, _UNITS[kind], entries


def _split(name: str) -> tuple[str, str]:
    """("energy_j_per_image_range") -> ("energy_j_per_image", "_range")."""
    ending = next((e for e in _ENDINGS if name.endswith(e)), "")
    return name.removesuffix(ending), ending


def _macro(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    kind, _ = _split(keys[0]) if keys else ("", "")
    if kind == "leakage_w":
        terms = again.design.leakage
        return sum(t.value for t in terms), "W", [contribution("leakage", "", "busy_leakage", 1.0, t) for t in terms]
    if keys == ["clock_hz"]:
        return 1 / again.design.clock.cycle_s, "Hz", clock(again.design)
    if kind not in ("clock_hz", "area_mm2", "area_breakdown_mm2", "density_kb_per_mm2"):
        return None
    value = stored_figure(again.document, ["macro", *keys], ".".join(keys))
    end = int(keys[1]) if keys[0].endswith("_range") and len(keys) == 2 else None
    if kind == "clock_hz":
        return value, _UNITS[kind], clock(again.clocked(value))
    # the least area has the highest density
    entries = area(again.design, 1 - end if end is not None and kind.startswith("density") else end)
    if kind == "area_breakdown_mm2":
        return value, "mm²", [e for e in entries if e.block == keys[1]]
    return value, _UNITS[kind], entries


def _gpu_entries(gpu: Sequence[Mapping[str, Any]], places: Sequence[int], kind: str) -> Entries:
    """One entry a row of the GPU; those that a median lies between count half each."""
    found = []
    for row in (gpu[k] for k in places):
        what = f"{row['power_source']} × {row['time_source']}, {row['precision']}".replace("_", " ")
        one = cited("gpu", row["name"], row[kind], f"{row['name']}: {what}", row["source"], row["caveat"])
        found.append(replace(one, events=1 / len(places), energy_j=row[kind] / len(places)))
    return found


def _gpu(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    if len(keys) != 2 or not keys[0].isdigit() or keys[1] not in _UNITS:
        return None
    value = stored_figure(again.document, ["gpu", *keys], ".".join(keys))
    return value, _UNITS[keys[1]], _gpu_entries(again.document["gpu"], [int(keys[0])], keys[1])


def _gpu_median(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    """The row that the median is, or the two it lies between."""
    if len(keys) != 1 or keys[0] not in KEYS:
        return None
    median = again.document["gpu_median"]
    return median[keys[0]], _UNITS[keys[0]], _gpu_entries(again.document["gpu"], median[KEYS[keys[0]][0]], keys[0])


def _driver(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    """The end of one driver's span: the scenario that gives it; statistics move the design as asked."""
    kinds = {"energy_j": "energy_j_per_image", "time_s": "time_s_per_image"}
    if len(keys) != 4 or keys[0] not in BOUNDARIES or not keys[1].isdigit() or keys[2] not in kinds:
        return None
    value, kind = stored_figure(again.document, ["drivers", *keys], ".".join(keys)), kinds[keys[2]]
    return value, _UNITS[kind], _ours(again.scenario(keys[0], kind, value), keys[0], kind)[1]


_KINDS = {"energy_fraction": "energy_j_per_image", "time_fraction": "time_s_per_image"}


def _saving(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    """1 − ours ÷ the GPU's."""
    fraction, ending = _split(keys[1]) if len(keys) >= 2 and keys[0].isdigit() else ("", "")
    if fraction not in _KINDS or len(keys) != (3 if ending else 2):
        return None
    value = stored_figure(again.document, ["saving", *keys], ".".join(keys))
    saving = again.document["saving"][int(keys[0])]
    return value, "1", _fraction(again, saving["boundary"], _KINDS[fraction], value, [saving["row"]])


def _fraction(again: Again, boundary: str, kind: str, value: float, places: Sequence[int]) -> Entries:
    gpu = again.document["gpu"]
    design = again.scenario(boundary, kind, (1 - value) * between(gpu, places)[kind])
    return [*_ours(design, boundary, kind)[1], *_gpu_entries(gpu, places, kind)]


def _headline(again: Again, keys: list[str]) -> tuple[float, str, Entries] | None:
    """A saving against the GPU's median, and the ends of its interval and ranges: the least favourable end of a range
    has our dearest scenario and the GPU's cheapest row."""
    fraction, ending = _split(keys[1]) if len(keys) in (2, 3) and keys[0] in BOUNDARIES else ("", "")
    if fraction not in _KINDS or len(keys) != (3 if ending else 2):
        return None
    value = stored_figure(again.document, ["headline", *keys], ".".join(keys))
    kind, gpu = _KINDS[fraction], again.document["gpu"]
    places = again.document["gpu_median"][KEYS[kind][0]]
    if ending in ("_range", "_over_rows"):
        rows = sorted((k for k, row in enumerate(gpu) if row["headline"]), key=lambda k: float(gpu[k][kind]))
        places = [rows[0 if keys[2] == "0" else -1]]
    return value, "1", _fraction(again, keys[0], kind, value, places)


def trace_alternative(row: Mapping[str, Any], document: dict[str, Any], path: str,
                      fresh: TableSet | None = None) -> Trace:
    """Trace a figure below "alternatives.ROW": its "imc" and its "headline" are an estimate's. document: the report's
    own estimate."""
    keys = path.split(".")[2:]
    stored = stored_figure(row, keys, path)
    origin = {"origin": {"options": document["origin"]["options"] | dict(row["options"])}}
    return checked_trace(path, stored, *figure(Again(origin, fresh), keys, path))


def trace_equal_time(rows: Sequence[Mapping[str, Any]], document: dict[str, Any], path: str,
                     fresh: TableSet | None = None) -> Trace:
    """Trace "equal_time.ROW.macros", or gpu_time_s_per_image, gpu_power_w, energy_j_per_image, time_s_per_image,
    area_mm2, energy_fraction or time_fraction there. rows: of the report; document: its estimate."""
    keys = path.split(".")[1:]
    stored = stored_figure(rows, keys, path)
    again, row = Again(document, fresh), rows[int(keys[0])]
    boundary, gpu = row["boundary"], again.document["gpu"]
    theirs = between(gpu, row["rows"])
    own = {"gpu_time_s_per_image": "time_s_per_image", "gpu_power_w": "power_w"}.get(keys[1] if keys[1:] else "", "")
    if own and len(keys) == 2:
        return checked_trace(path, stored, theirs[own], _UNITS[own], _gpu_entries(gpu, row["rows"], own))
    if keys[1:] == ["macros"]:
        found = equal_time(again.options, again.design.reader, gpu, row["wanted"])[int(keys[0])]
        return checked_trace(path, stored, found["macros"], "1",
                             [*clock(again.design), *_gpu_entries(gpu, row["rows"], "time_s_per_image")])
    design = design_of(again.options, again.design.reader, row)
    found = figures(design, boundary, theirs)
    if len(keys) != 2 or keys[1] not in found:
        raise BadInput(f"path '{path}': this figure has no trace; try equal_time.{keys[0]}.energy_j_per_image")
    kind = _KINDS.get(keys[1], keys[1])
    entries = area(design) if kind == "area_mm2" else _ours(design, boundary, kind)[1]
    return checked_trace(path, stored, found[keys[1]], _UNITS[keys[1]],
                         entries + (_gpu_entries(gpu, row["rows"], kind) if keys[1] in _KINDS else []))
