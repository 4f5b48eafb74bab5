"""The paper's claims beside ours: ranges, whether the claim lies inside, and what decides them.

Ours is a range over boundary, accounting and GPU row. What decides it is found by moving one choice at a time
from a reference (the whole system, as asked, against the GPU's median) and noting how far the figure moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from charlib.units import format_si
from system.claims import Claim, claims
from system.gpu_median import KEYS, apart
from system.gpu_records import HALF

REFERENCE_BOUNDARY = "system"
#: density of the design that the paper's 3.5x points at: 16 × 80 Kb in 1.62 mm × 3.6 mm
PRIOR_DENSITY_KB_PER_MM2 = 16 * 80 / (1.62 * 3.6)
PRIOR_SOURCE = "Lee et al., VLSI 2021: 16 × 80 Kb in 1.62 mm × 3.6 mm"
_SAVINGS = {"energy_saving_fraction": ("energy_fraction", "energy_j_per_image"),
            "time_saving_fraction": ("time_fraction", "time_s_per_image")}
_SCENARIO_NAMES = {
    "constants": "cited and inferred constants, low to high", "flavour": "the scaling's flavour, HP or LP",
    "clock_gating": "clock gating", "read_policy": "whether a read word is held or read again",
    "temp_c": "the temperature, −40 to 125 °C", "corner": "the process corner", "projection": "the route to 28 nm",
    "exponent_fire": "how often sign and exponent wires fire",
}
_DENSITY_DECIDED_BY = (
    "the bitcell's drawing rule (push rule or logic rule), the library that the logic cells' areas come from, "
    "and the share of a row that cells fill (0.65 to 0.85)."
)


def claim_records(estimate: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One record a claim: claimed, ours as ranges, and what decides them."""
    return [_record(claim, estimate, alternatives) for claim in claims()]


def _record(claim: Claim, estimate: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    base: dict[str, Any] = {"name": claim.name, "text": claim.text, "claimed": claim.value, "unit": claim.unit,
                            "source": claim.source}
    if claim.name in _SAVINGS:
        base |= _saving(claim, estimate, alternatives)
    elif claim.name == "density_kb_per_mm2":
        base |= _density(claim, estimate, 1.0, "")
    elif claim.name == "density_ratio_to_prior":
        base |= _density(claim, estimate, PRIOR_DENSITY_KB_PER_MM2, PRIOR_SOURCE)
    else:
        base |= {"ours": [], "ours_range": None, "includes_claim": None, "drivers": [],
                 "decided_by": "no figure of ours stands beside this claim"}
    return base


def _inside(value: float, ends: Sequence[float]) -> bool:
    return ends[0] <= value <= ends[1]


def _density(claim: Claim, estimate: Mapping[str, Any], divisor: float, note: str) -> dict[str, Any]:
    macro = estimate["macro"]
    ends = [value / divisor for value in macro["density_kb_per_mm2_range"]]
    if note:
        decided_by = f"what decides the density does. The prior design: {note}."
    else:
        decided_by = f"{_DENSITY_DECIDED_BY} {_largest_shares(macro)}{_without_accumulators(macro)}"
    return {
        "ours": [{"boundary": "macro", "range": ends, "nominal": macro["density_kb_per_mm2"] / divisor,
                  "scopes_equal": True, "includes_claim": _inside(claim.value, ends)}],
        "ours_range": ends, "includes_claim": _inside(claim.value, ends), "drivers": [], "decided_by": decided_by,
    }


def _largest_shares(macro: Mapping[str, Any]) -> str:
    blocks = sorted(macro["area_breakdown_mm2"].items(), key=lambda item: -item[1])[:3]
    shares = ", ".join(f"{name.replace('_', ' ')} {area / macro['area_mm2']:.0%}" for name, area in blocks)
    return f"Largest shares of the macro's area: {shares}."


def _without_accumulators(macro: Mapping[str, Any]) -> str:
    """What an inference that no range spans does: an FP32 accumulator in every compartment."""
    area = macro["area_breakdown_mm2"].get("compartment_accumulator", 0.0)
    if not area:
        return ""
    density = macro["density_kb_per_mm2"] * macro["area_mm2"] / (macro["area_mm2"] - area)
    return (f" The FP32 accumulator of every compartment, for the input gradient, is inferred from the abstract's "
            f"back-propagation; the range always holds it, and without it the density as asked would be "
            f"{density:.0f} Kb/mm².")


def _saving(claim: Claim, estimate: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    field, key = _SAVINGS[claim.name]
    ours = []
    for boundary, headline in estimate["headline"].items():
        ends = headline[f"{field}_range"]
        ours.append({"boundary": boundary, "nominal": headline[field], "interval": headline.get(f"{field}_interval"),
                     "range": ends, "over_rows": headline[f"{field}_over_rows"],
                     "scopes_equal": all(row["scopes_equal"] for row in estimate["saving"]
                                         if row["boundary"] == boundary),
                     "includes_claim": _inside(claim.value, ends)})
    aside = [row[field] for row in estimate["saving"]
             if row["boundary"] == REFERENCE_BOUNDARY and apart(estimate["gpu"][row["row"]])]
    ends = [min(row["range"][0] for row in ours), max(row["range"][1] for row in ours)]
    drivers = saving_drivers(estimate, alternatives, key)
    leading = ", then ".join(driver["name"] for driver in drivers[:3])
    return {"ours": ours, "ours_range": ends, "includes_claim": _inside(claim.value, ends), "drivers": drivers,
            "decided_by": f"most of all {leading}." if leading else "",
            "apart": [min(aside), max(aside)] if aside else None}


def _over(name: str, cases: Iterable[tuple[str, float]]) -> dict[str, Any] | None:
    """A choice with its lowest and highest saving; None where it moves nothing."""
    found = sorted(cases, key=lambda case: case[1])
    if len(found) < 2 or found[0][1] == found[-1][1]:
        return None
    return {"name": name, "low": found[0][1], "high": found[-1][1], "low_is": found[0][0], "high_is": found[-1][0]}


def saving_drivers(estimate: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]],
                   key: str) -> list[dict[str, Any]]:
    """Each choice with the lowest and highest saving it alone can give; widest first, what is in no headline last.

    key: "energy_j_per_image" or "time_s_per_image". A GPU's time is moved at the power of the median's row, its power
    at that row's time; of two rows, at the cheaper one's.
    """
    imc, gpu, middle = estimate["imc"], estimate["gpu"], estimate["gpu_median"][key]
    ours, row = imc[REFERENCE_BOUNDARY][key], gpu[estimate["gpu_median"][KEYS[key][0]][0]]
    asked = 1 - ours / middle
    rows = [r for r in gpu if r["headline"]]
    drivers = [_over("the boundary", [(name, 1 - part[key] / middle) for name, part in imc.items()]),
               _over("the GPU's time", [(_time_name(r), 1 - ours / r[key]) for r in rows
                                        if r["power_w"] == row["power_w"]])]
    if key == "energy_j_per_image":
        drivers.append(_over("the GPU's power", [(f"{r['power_w']:.0f} W", 1 - ours / r[key]) for r in rows
                                                 if r["time_s_per_image"] == row["time_s_per_image"]]))
    drivers += [_over(name, cases) for name, cases in
                _scenario_groups(imc[REFERENCE_BOUNDARY]["scenarios"], key, lambda our: 1 - our / middle)]
    drivers += [_over(f"the design: {other['name']}",
                      [("as asked", asked), ("so changed", 1 - other["imc"][REFERENCE_BOUNDARY][key] / middle)])
                for other in alternatives if other["same_task"]]
    apart = [_over(name, [("the median", asked), *((_time_name(r), 1 - ours / r[key]) for r in gpu
                                                   if r["power_w"] == row["power_w"] and fits(r))])
             for name, fits in _APART.items()]
    return [*sorted((d for d in drivers if d is not None), key=lambda d: float(d["low"] - d["high"])),
            *(d for d in apart if d is not None)]


def _bound(row: Mapping[str, Any]) -> bool:
    return str(row["time_source"]).endswith("roofline")


#: what is shown beside the headline and never in it
_APART: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "FP32 on the GPU (another arithmetic; in no headline)": apart,
    "a roofline as the GPU's time (a lower bound; in no headline)":
        lambda row: _bound(row) and row["precision"] in HALF,
}


def _time_name(row: Mapping[str, Any]) -> str:
    time = format_si(row["time_s_per_image"], "s")
    return f"{row['time_source'].replace('_', ' ')}, {row['precision'].upper()}, {time}"


def _scenario_groups(scenarios: Sequence[Mapping[str, Any]], key: str, saving: Callable[[float], float]
                     ) -> list[tuple[str, list[tuple[str, float]]]]:
    """Scenarios named FIELD=VALUE, grouped by field, each group with the design as asked."""
    asked = next(s for s in scenarios if s["name"] == "as asked")
    groups: dict[str, list[tuple[str, float]]] = {}
    for scenario in scenarios:
        field, equals, value = scenario["name"].partition("=")
        if equals:
            name = _SCENARIO_NAMES.get(field, field.replace("_", " "))
            shown = f"{float(value):g} °C".replace("-", "−") if field == "temp_c" else value
            groups.setdefault(name, [("as asked", saving(asked[key]))]).append((shown, saving(scenario[key])))
    return list(groups.items())
