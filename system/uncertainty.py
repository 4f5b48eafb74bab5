"""How well a table's value is known: standard uncertainties, relative, by their cause.

    sampling       the table's own spread: of a mean over operations drawn, or of a fit
    interpolation  the largest miss at simulated midpoints of an axis between whose points the value lies
    convergence    the largest change of the bench under a tenth of its time step or of its tolerances
    composition    of energies composed of cells, against circuits of transistors simulated whole

The largest miss seen is taken as two standard deviations. All of a cause in one table moves together; causes and
tables are independent of one another. Global variation (corner, supply, temperature, projection) is no statistic:
scenarios show it. What differs from device to device is :mod:`system.variation`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources

from charlib.table import Axis, Found, Table
from system.assumptions import constant

#: largest misses are taken as so many standard deviations
LARGEST_SIGMAS = 2.0
#: tables by the bench whose convergence was measured; of composed blocks it is the cells'
_BENCHES = {"compartment": "compartment", "cell": "cell", "dff": "flip_flop", "bitcell": "bitcell_access",
            "shift": "shift_accumulator", "adder": "adder_tree", "clock": "clock_leaf", "block": "cell",
            "integer": "cell"}
_COMPOSED = ("block_energy_j", "integer_energy_j")


def uncertainty(table: Table, coordinates: Mapping[str, float | str], at: Found) -> dict[str, float]:
    """Cause -> relative standard uncertainty of what the table holds there; only causes that are there."""
    if at.value == 0:
        return {}
    found = {"sampling": _sampling(table, at), "interpolation": _interpolation(table, coordinates),
             "convergence": convergence(table.origin.pdk, table.name) if table.unit in ("J", "s", "W") else 0.0,
             "composition": constant("composed_energy_error").value if table.name in _COMPOSED else 0.0}
    return {cause: size for cause, size in found.items() if size}


def total(parts: Mapping[str, float]) -> float:
    """Causes together."""
    return math.hypot(*parts.values())


def _sampling(table: Table, at: Found) -> float:
    if at.spread is not None:
        return abs(at.spread / at.value)
    stated = table.conventions.get("fit_error_relative")
    try:
        return float(stated) if stated is not None else 0.0
    except ValueError:
        return 0.0


def _interpolation(table: Table, coordinates: Mapping[str, float | str]) -> float:
    misses = [miss for name, miss in table.interpolation_error.items()
              if not _on_a_point(table.axis(name), coordinates[name])]
    return math.hypot(*misses) / LARGEST_SIGMAS if misses else 0.0


def _on_a_point(axis: Axis, asked: float | str) -> bool:
    return axis.is_category or any(math.isclose(float(point), float(asked), rel_tol=1e-9) for point in axis.points)


@lru_cache
def convergence(pdk: str, table_name: str) -> float:
    """Of the bench behind a table; 0 where it was not measured for the kit."""
    file = resources.files("charlib.data").joinpath("convergence", f"{pdk}.json")
    kind = _BENCHES.get(table_name.split("_")[0])
    if kind is None or not file.is_file():
        return 0.0
    worst = json.loads(file.read_text(encoding="utf-8"))["kinds"].get(kind, {}).get("worst", {})
    changes = [change for name in ("step", "tolerances") for _, change in [worst.get(name, ("", 0.0))] if change]
    return max(changes, default=0.0) / LARGEST_SIGMAS
