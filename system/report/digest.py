"""Totals, shares and orders of an estimate, computed once for the record so that renderers only print them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: layer passes listed as the slowest
_SLOWEST = 10


def digest(estimate: Mapping[str, Any]) -> dict[str, Any]:
    """{blocks: {boundary: [...]}, per_mac_j: {...}, area: [...], slowest: [...]}, each list largest first."""
    macs = estimate["network"]["macs_training"]
    imc = estimate["imc"]
    return {
        "blocks": {boundary: _blocks(part) for boundary, part in imc.items()},
        "energy_per_mac_j": {boundary: part["energy_j_per_image"] / macs for boundary, part in imc.items()},
        "images_per_s": {boundary: 1 / part["time_s_per_image"] for boundary, part in imc.items()},
        "power_w": {b: part["energy_j_per_image"] / part["time_s_per_image"] for b, part in imc.items()},
        "area": _area(estimate["macro"]),
        "slowest": sorted(estimate.get("schedule", []), key=lambda row: -float(row["time_s_per_image"]))[:_SLOWEST],
    }


def _blocks(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = part["energy_j_per_image"]
    rows = []
    for block, passes in part["breakdown"]["energy_j"].items():
        energy = math.fsum(passes.values())
        rows.append({"block": block, "energy_j": energy, "share": energy / total, "passes": dict(passes)})
    return sorted(rows, key=lambda row: -float(row["energy_j"]))


def _area(macro: Mapping[str, Any]) -> list[dict[str, Any]]:
    parts = macro["area_breakdown_mm2"]
    placed = math.fsum(parts.values())
    rows = [{"block": block, "area_mm2": area, "share": area / macro["area_mm2"]} for block, area in parts.items()]
    spare = macro["area_mm2"] - placed
    if spare > 1e-9 * macro["area_mm2"]:
        rows.append({"block": "not filled by cells", "area_mm2": spare, "share": spare / macro["area_mm2"]})
    return sorted(rows, key=lambda row: -float(row["area_mm2"]))
