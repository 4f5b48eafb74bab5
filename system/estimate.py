"""The estimate as one JSON-ready record, in the shape of the contract, and its JSON Schema.

The nominal design gives every headline scalar; the same design under other accountings and projections gives
`X_range`; the spread of the tables gives `X_interval`. The two are never mixed.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jsonschema

from charlib.errors import BadInput, HimcError
from charlib.table import TableSet
from system.assumptions import constant
from system.blocks import BOUNDARIES
from system.cost import all_times, event_price
from system.design import (
    INTERVAL_SIGMAS,
    MISMATCH,
    Design,
    Scenario,
    clock_interval,
    evaluate,
    make_reader,
    scenarios,
    tables_for,
)
from system.gpu import GpuRow, gpu_rows, load_rows
from system.gpu_median import median_record
from system.macro import density_kb_per_mm2
from system.options import EstimateOptions
from system.readings import Reader
from system.scale import counts, data_parallel
from system.scaling import node_of_kit

SCHEMA_ID = "hadamard-imc/estimate/1"
#: why a scenario's time is in no range beside times that hold mismatch
NO_MONTE_CARLO = "its tables hold no Monte Carlo, so its clock is without mismatch"
_SCOPES = {
    "macro_only": ("arrays", "near_memory_arithmetic", "macro_clock_and_control", "busy_leakage"),
    "with_buffers": ("vector_unit", "buffers", "network_on_chip", "chip_clock_and_control"),
    "system": ("dram", "dram_interface", "regulator", "idle_leakage"),
}
#: board power holds all that the system boundary holds (and the fan, a few watts)
GPU_SCOPE = tuple(part for parts in _SCOPES.values() for part in parts)


def estimate(options: EstimateOptions, fresh: TableSet | None = None, reader: Reader | None = None) -> dict[str, Any]:
    """The whole estimate; BadInput where options or tables do not allow one."""
    reader = reader if reader is not None else make_reader(options, fresh)
    own = load_rows(Path(options.gpu_rows)) if options.gpu_rows is not None else ()
    design = evaluate(options, reader)
    others, left_out = _evaluated(scenarios(options)[1:], design)
    rows = gpu_rows(options.gpu, design.network, options.batch, own)
    gpu = [_gpu(row) for row in rows]
    _check_headline(rows)
    median = median_record(gpu)
    imc = {boundary: _boundary(design, others, boundary) for boundary in BOUNDARIES}
    return {
        "schema": SCHEMA_ID,
        "network": _network(design),
        "macro": _macro(design, others),
        "chip": {"macros": design.mapping.macros, "policy": design.mapping.policy,
                 "copies": _copies(design), "dram": options.dram, "buffer_bit": options.buffer_bit,
                 "area_mm2": design.chip.area_m2 * 1e6, "weight_macros": design.mapping.weight_macros,
                 "gradient_macros": design.mapping.gradient_macros},
        "imc": imc,
        "gpu": gpu,
        "gpu_median": median,
        "saving": [_saving(imc[b], b, i, row) for b in BOUNDARIES for i, row in enumerate(rows)],
        "headline": {b: _headline(imc[b], rows, median) for b in BOUNDARIES},
        "drivers": {b: _drivers(design, others, b, imc[b]) for b in BOUNDARIES},
        "left_out": left_out,
        "blocks": [{"block": s.block, "source": s.source, "miss": s.miss, "circuits": list(s.circuits)}
                   for s in design.circuit.standings()],
        "beyond": [asdict(at) for at in design.circuit.beyond()],
        "scale": [_scaled(design, chips) for chips in counts(options.chips)] if options.chips > 1 else [],
        "schedule": _schedule(design),
        "layers": _layers(design),
        "tensors": _tensors(design),
        "origin": _origin(design),
    }


def _evaluated(wanted: tuple[Scenario, ...], nominal: Design) -> tuple[dict[str, Design], list[dict[str, str]]]:
    """The scenarios that can be, and what is left out of the ranges, with the reason."""
    found: dict[str, Design] = {}
    left_out = []
    for scenario in wanted:
        try:
            design = evaluate(scenario.options, tables_for(scenario, nominal.reader))
        except BadInput as error:
            left_out.append({"scenario": scenario.name, "of": "energy and time", "why": str(error)})
            continue
        found[scenario.name] = design
        if not _comparable(design, nominal):
            left_out.append({"scenario": scenario.name, "of": "time", "why": NO_MONTE_CARLO})
    return found, left_out


def _comparable(other: Design, nominal: Design) -> bool:
    """Whether both clocks are with mismatch, or both without."""
    return other.tail.known == nominal.tail.known


def _scaled(design: Design, chips: int) -> dict[str, Any]:
    found = data_parallel(design, chips)
    return {"chips": chips, "batch": found.batch, "energy_j_per_image": found.energy_j,
            "time_s_per_image": found.time_s, "time_s_per_image_range": [found.time_hidden_s, found.time_s],
            "all_reduce_s_per_step": found.all_reduce_s, "link_energy_j_per_image": found.link_j,
            "wait_energy_j_per_image": found.wait_j, "power_w": found.power_w, "area_mm2": found.area_m2 * 1e6}


def _network(design: Design) -> dict[str, Any]:
    n, batch = design.network, design.options.batch
    return {"name": n.name, "image_px": n.image_px, "width": n.width, "batch": batch,
            "classes": n.classes, "parameters": n.parameters, "macs_forward": n.macs_per_sample(batch),
            "macs_training": n.macs_per_sample(batch, training=True)}


def _timed(design: Design, others: dict[str, Design]) -> dict[str, Design]:
    """Those of the scenarios whose time can stand beside the design's."""
    return {name: other for name, other in others.items() if _comparable(other, design)}


def _span(values: list[float]) -> list[float]:
    return [min(values), max(values)]


def _macro(design: Design, others: dict[str, Design]) -> dict[str, Any]:
    m, area = design.structure, design.area
    return {
        "name": m.name, "compartments": m.compartments, "rows": m.rows, "columns": m.columns,
        "capacity_bit": m.capacity_bit, "area_mm2": area.total_m2 * 1e6,
        "area_mm2_range": [area.low_m2 * 1e6, area.high_m2 * 1e6],
        "density_kb_per_mm2": density_kb_per_mm2(m, area.total_m2),
        "density_kb_per_mm2_range": [density_kb_per_mm2(m, area.high_m2), density_kb_per_mm2(m, area.low_m2)],
        "area_breakdown_mm2": {name: value * 1e6 for name, value in area.blocks_m2.items()},
        "clock_hz": 1 / design.clock.cycle_s,
        "clock_hz_range": _span([1 / d.clock.cycle_s for d in (design, *_timed(design, others).values())]),
        "clock_limited_by": design.clock.limited_by, "clock_paths_s": dict(design.clock.paths_s),
        "clock_mismatch": {"known": design.tail.known, "factor": design.tail.factor,
                           "interval": [design.tail.low, design.tail.high],
                           "compartments": design.tail.compartments, "sigmas": design.tail.sigmas,
                           "yield": constant("clock_yield").value, "at": dict(design.tail.at),
                           "runs": list(design.tail.run_ids)},
        "leakage_w": sum(t.value for t in design.leakage),
        "node_nm": design.options.node_nm, "vdd_v": design.options.vdd_v,
    }


def _copies(design: Design) -> dict[str, int]:
    return {row.layer: row.copies for row in design.mapping.rows if row.pass_name == "forward"}


def _time_interval(design: Design, boundary: str, cause: str | None = None) -> list[float]:
    """Seconds an image at both ends of the clock's interval, of all causes or of one."""
    return [all_times(design.mapping, cycle_s, design.chip, design.traffic)[boundary].total_s
            for cycle_s in clock_interval(design, None if cause is None else (cause,))]


def _boundary(design: Design, others: dict[str, Design], boundary: str) -> dict[str, Any]:
    found = design.cost
    energy, times = found.energy_j(boundary), found.times[boundary]
    margin = INTERVAL_SIGMAS * math.hypot(*_energy_sigmas_j(design, boundary).values())
    every = [design.cost, *(d.cost for d in others.values())]
    result: dict[str, Any] = {
        "energy_j_per_image": energy,
        "energy_j_per_image_range": _span([c.energy_j(boundary) for c in every]),
        "time_s_per_image": times.total_s,
        "time_s_per_image_range": _span([times.total_s, *(d.cost.times[boundary].total_s
                                                          for d in _timed(design, others).values())]),
        "scope": [part for b in BOUNDARIES[: BOUNDARIES.index(boundary) + 1] for part in _SCOPES[b]],
        "breakdown": {"energy_j": found.breakdown(boundary),
                      "time_s": {**times.passes_s, "overlapped_s": times.overlapped_s},
                      "unit_time_s": dict(times.units_s)},
        "scenarios": [{"name": name, "energy_j_per_image": d.cost.energy_j(boundary),
                       "time_s_per_image": d.cost.times[boundary].total_s}
                      for name, d in (("as asked", design), *others.items())],
    }
    if margin:
        result["energy_j_per_image_interval"] = [energy - margin, energy + margin]
    time_interval = _time_interval(design, boundary)
    if time_interval[0] != time_interval[1]:
        result["time_s_per_image_interval"] = time_interval
    return result


def _energy_sigmas_j(design: Design, boundary: str) -> dict[str, float]:
    """Cause -> one standard deviation of the energy."""
    sums: dict[str, list[float]] = {}
    for (cause, _), size in design.cost.spread_j(boundary).items():
        sums.setdefault(cause, []).append(size)
    arrays = math.fsum(c.energy_j for c in design.cost.within(boundary) if c.block == "compartment")
    mismatch = {MISMATCH: arrays * design.tail.energy_sigma} if design.tail.energy_sigma else {}
    return {cause: math.hypot(*sizes) for cause, sizes in sums.items()} | mismatch


def _drivers(design: Design, others: dict[str, Design], boundary: str, imc: dict[str, Any]) -> list[dict[str, Any]]:
    """What moves a boundary's energy and time, each alone, the widest first: scenarios, and statistics by cause."""
    energy, time = imc["energy_j_per_image"], imc["time_s_per_image"]
    groups: dict[str, list[Design]] = {}
    for name, other in others.items():
        if "=" in name:
            groups.setdefault(name.partition("=")[0], []).append(other)
    rows = [{"driver": name, "kind": "scenario",
             "energy_j": _span([energy, *(d.cost.energy_j(boundary) for d in found)]),
             "time_s": _span([time, *(d.cost.times[boundary].total_s for d in found if _comparable(d, design))])}
            for name, found in groups.items()]
    sigmas = _energy_sigmas_j(design, boundary)
    for cause in sorted(sigmas.keys() | design.clock.causes):
        margin = INTERVAL_SIGMAS * sigmas.get(cause, 0.0)
        rows.append({"driver": cause, "kind": "statistic", "energy_j": [energy - margin, energy + margin],
                     "time_s": _time_interval(design, boundary, cause)})
    return sorted(rows, key=lambda row: row["energy_j"][0] - row["energy_j"][1])


def _gpu(row: GpuRow) -> dict[str, Any]:
    return {"name": row.name, "power_source": row.power_source, "time_source": row.time_source,
            "precision": row.precision, "batch": row.batch, "power_w": row.power_w,
            "energy_j_per_image": row.energy_j_per_image, "time_s_per_image": row.time_s_per_image,
            "scope": list(GPU_SCOPE), "composed": row.composed, "headline": row.headline,
            "source": row.source, "caveat": row.caveat, "why_not": row.why_not, "idle_w": row.idle_w,
            "run_card": row.run_card, "run_source": row.run_source,
            "active_j_per_image": row.active_j_per_image}


def _saving(imc: dict[str, Any], boundary: str, index: int, row: GpuRow) -> dict[str, Any]:
    """Saving against one GPU row; `row` is its place in the `gpu` list."""
    energy, time = imc["energy_j_per_image_range"], imc["time_s_per_image_range"]
    return {
        "boundary": boundary, "row": index, "gpu": row.name, "precision": row.precision,
        "power_source": row.power_source, "time_source": row.time_source,
        "energy_fraction": 1 - imc["energy_j_per_image"] / row.energy_j_per_image,
        "energy_fraction_range": [1 - e / row.energy_j_per_image for e in reversed(energy)],
        "time_fraction": 1 - imc["time_s_per_image"] / row.time_s_per_image,
        "time_fraction_range": [1 - t / row.time_s_per_image for t in reversed(time)],
        "scopes_equal": set(imc["scope"]) == set(GPU_SCOPE), "headline": row.headline,
    } | {f"{name}_fraction_interval": [1 - x / getattr(row, key) for x in reversed(imc[f"{key}_interval"])]
         for name, key in (("energy", "energy_j_per_image"), ("time", "time_s_per_image"))
         if f"{key}_interval" in imc}


def _check_headline(rows: tuple[GpuRow, ...]) -> None:
    """BadInput where no row, or too little evidence, is fit for a headline."""
    chosen = [row for row in rows if row.headline]
    if not chosen:
        why = "; ".join(dict.fromkeys(f"{row.precision}, batch {row.batch}: {row.why_not}" for row in rows))
        raise BadInput(f"gpu: no row can be compared with ({why or 'there is none'}); 'himc gpu list' shows each, "
                       "'himc gpu measure' makes more")
    if all(row.composed for row in chosen) and len({(row.run_card, row.run_source) for row in chosen}) < 2:
        raise BadInput("gpu: a headline of scaled rows needs at least two measured runs; add some by --gpu-rows")


def _headline(imc: dict[str, Any], rows: tuple[GpuRow, ...], median: dict[str, Any]) -> dict[str, Any]:
    """Saving against the rows fit for a headline: against their median, and a range over rows and scenarios."""
    result: dict[str, Any] = {}
    for field, key in (("energy_fraction", "energy_j_per_image"), ("time_fraction", "time_s_per_image")):
        gpu = [getattr(row, key) for row in rows if row.headline]
        ours = imc[f"{key}_range"]
        result[field] = 1 - imc[key] / median[key]
        if f"{key}_interval" in imc:
            result[field + "_interval"] = [1 - x / median[key] for x in reversed(imc[f"{key}_interval"])]
        result[field + "_over_rows"] = [1 - imc[key] / min(gpu), 1 - imc[key] / max(gpu)]
        result[field + "_range"] = [1 - ours[1] / min(gpu), 1 - ours[0] / max(gpu)]
    return result


def _schedule(design: Design) -> list[dict[str, Any]]:
    return [{"layer": r.layer, "pass": r.pass_name, "mode": r.mode, "positions": r.positions, "words": r.words,
             "macros": r.macros, "copies": r.copies, "cycles": r.cycles, "busy_fraction": r.busy_fraction,
             "time_s_per_image": r.cycles * design.clock.cycle_s / design.options.batch}
            for r in design.mapping.rows]


def _layers(design: Design) -> list[dict[str, Any]]:
    """Joules of each layer's events inside the buffers' boundary, by pass; leakage, shares of the chip's control
    and what DRAM traffic stages in the buffer belong to no layer."""
    each = lru_cache(maxsize=None)(lambda name, pass_name: event_price(
        design.circuit, design.chip, {name: 1}, pass_name))
    found: dict[str, dict[str, Any]] = {}
    for row in design.mapping.rows:
        joules = math.fsum(n * each(name, row.pass_name) for name, n in row.counts.items()) / design.options.batch
        found.setdefault(row.layer, {"layer": row.layer})[row.pass_name] = joules
    return list(found.values())


def _tensors(design: Design) -> list[dict[str, Any]]:
    """Each tensor class summed over layers that share its home: bits moved per step."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for t in design.traffic:
        row = groups.setdefault((t.tensor, t.type, t.home), {
            "tensor": t.tensor, "type": t.type, "home": t.home, "bits": 0,
            "writes_per_step": sum(n for _, n in t.writes), "reads_per_step": sum(n for _, n in t.reads)})
        row["bits"] += t.bits
    return list(groups.values())


def _origin(design: Design) -> dict[str, Any]:
    reader = design.reader
    origins = reader.origins()
    return {
        "tables": tables_read(reader),
        "pdk": reader.pdk, "pdk_node_nm": node_of_kit(reader.pdk),
        "engine": "; ".join(sorted({name for *_, table in origins for name in table.origin.engine.split("; ")})),
        "version": _version(), "options": design.options.to_json(),
    }


def tables_read(reader: Reader) -> list[dict[str, Any]]:
    """Each table that was read: its name, whose it is (the user's, edited, shipped) and the runs behind it."""
    return [{"name": name, "status": status, "runs": runs} for name, status, runs, _ in reader.origins()]


def _version() -> str:
    try:
        return metadata.version("hadamard-imc")
    except metadata.PackageNotFoundError:
        return "not installed"


def schema(name: str) -> dict[str, Any]:
    """A shipped JSON Schema, of a document of ours or of a campaign file."""
    found = {file.name.removesuffix(".schema.json"): file
             for folder in ("system.data", "charlib.data") for file in resources.files(folder).iterdir()
             if file.name.endswith(".schema.json")}
    if name not in found:
        raise BadInput(f"schema: '{name}' does not exist; choose {' or '.join(sorted(found))}")
    loaded: dict[str, Any] = json.loads(found[name].read_text(encoding="utf-8"))
    return loaded


def validate(document: dict[str, Any], name: str = "estimate") -> None:
    """HimcError where a document of ours does not fit its own schema."""
    try:
        jsonschema.validate(document, schema(name))
    except jsonschema.ValidationError as error:
        raise HimcError(f"{name}: {error.json_path} does not fit the schema: {error.message}") from error
