"""A small exploration about the design that was asked for: what no other design beats in energy, time and area."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from system.explore.run import enumerate_space
from system.explore.space import Space
from system.options import EstimateOptions
from system.readings import Reader

OBJECTIVES = ("energy_system_j", "time_system_s", "area_m2")
#: of the smallest number of macros that hold the network
MACROS = (1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 32.0)
AXES: dict[str, tuple[float | int | str, ...]] = {
    "words_per_row": (2, 4), "compartments": (16, 32, 64), "serial_bits": (1, 2), "lane_bits": (12, 16, 20, 24),
    "read_policy": ("hold", "reread")}


def exploration(options: EstimateOptions, reader: Reader, resident: int) -> dict[str, Any] | None:
    """Plain data: the axes, the front and all designs' objectives; None where the options cannot be explored or no
    design of the grid can be. resident: macros that hold the network once, as asked."""
    if options.projection == "ptm" or options.die_mm2 is not None or options.macros.startswith("time_multiplexed"):
        return None
    macros = tuple(dict.fromkeys(round(factor * resident) for factor in MACROS))
    fixed = replace(options, macros="replicated", rows=None, words_per_row=None, compartments=None, lane_bits=None,
                    serial_bits=None)
    found = enumerate_space(Space(fixed, {**AXES, "macros": macros}, OBJECTIVES), reader)
    possible = np.flatnonzero(np.isfinite(found.metrics[OBJECTIVES[0]]))
    if not len(possible):
        return None

    def row(index: int) -> dict[str, Any]:
        return {**found.design(index), **{name: float(found.metrics[name][index]) for name in OBJECTIVES}}

    return {"objectives": list(OBJECTIVES), "axes": {name: list(values) for name, values in found.axes.items()},
            "designs": found.size, "possible": len(possible), "front": [row(int(k)) for k in found.front()],
            "others": [[float(found.metrics[name][k]) for name in OBJECTIVES] for k in possible]}
