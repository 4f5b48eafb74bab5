"""How many macros make the paper's time saving, and what energy is saved there.

More macros hold more copies and take less time. For each boundary, and for the fastest, the median and the slowest
of the GPU's headline rows, the smallest number of macros is sought whose time saving is the one asked for. A median
between two rows has the mean of their times, energies and powers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from charlib.errors import BadInput
from system.blocks import BOUNDARIES
from system.design import Design, evaluate
from system.gpu_median import between, median_of
from system.mapping import resident_macros
from system.options import EstimateOptions
from system.readings import Reader

#: the search ends here
MOST_MACROS = 1 << 17
WHICH = ("fastest", "median", "slowest")


def equal_time(options: EstimateOptions, reader: Reader, gpu: Sequence[Mapping[str, Any]], wanted: float
               ) -> list[dict[str, Any]]:
    """A row a boundary and GPU row: the macros, and energy, time and savings there; macros None where no number of
    them up to MOST_MACROS reaches `wanted`, the least there can be where that saves more already.

    gpu: rows of an estimate's document. Policies other than the replicated one have no number to seek: no rows.
    """
    if options.macros.startswith(("resident", "time_multiplexed")) or options.die_mm2 is not None:
        return []
    key = "time_s_per_image"
    fit = sorted((k for k, row in enumerate(gpu) if row["headline"]), key=lambda k: float(gpu[k][key]))
    chosen = ((fit[0],), median_of(gpu, key).rows, (fit[-1],))
    search = _Search(options, reader)
    return [_row(search, boundary, which, rows, between(gpu, rows), wanted)
            for boundary in BOUNDARIES for which, rows in zip(WHICH, chosen, strict=True)]


class _Search:
    """Designs by their number of macros, evaluated once each."""

    def __init__(self, options: EstimateOptions, reader: Reader) -> None:
        self.options, self.reader = options, reader
        self.known: dict[int, Design] = {}
        at_once = evaluate(replace(options, macros="resident"), reader)
        self.least = resident_macros(at_once.network, at_once.structure) + 1

    def at(self, macros: int) -> Design:
        if macros not in self.known:
            self.known[macros] = evaluate(replace(self.options, macros=str(macros)), self.reader)
        return self.known[macros]

    def smallest(self, boundary: str, time_s: float) -> int | None:
        """Macros with which an image takes no longer than time_s."""
        def enough(macros: int) -> bool:
            return self.at(macros).cost.times[boundary].total_s <= time_s

        low, high = self.least, MOST_MACROS
        if enough(low):
            return low
        if not enough(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def _row(search: _Search, boundary: str, which: str, rows: Sequence[int], gpu: Mapping[str, float], wanted: float
         ) -> dict[str, Any]:
    found = search.smallest(boundary, (1 - wanted) * gpu["time_s_per_image"])
    row: dict[str, Any] = {"boundary": boundary, "which": which, "rows": list(rows), "wanted": wanted,
                           "macros": found, "gpu_time_s_per_image": gpu["time_s_per_image"],
                           "gpu_power_w": gpu["power_w"]}
    return row if found is None else row | figures(search.at(found), boundary, gpu)


def figures(design: Design, boundary: str, gpu: Mapping[str, float]) -> dict[str, float]:
    """What a row says of a design."""
    energy_j, time_s = design.cost.energy_j(boundary), design.cost.times[boundary].total_s
    return {"area_mm2": design.chip.area_m2 * 1e6, "energy_j_per_image": energy_j, "time_s_per_image": time_s,
            "energy_fraction": 1 - energy_j / gpu["energy_j_per_image"],
            "time_fraction": 1 - time_s / gpu["time_s_per_image"]}


def design_of(options: EstimateOptions, reader: Reader, row: Mapping[str, Any]) -> Design:
    """The design behind a row. BadInput where there is none."""
    if row["macros"] is None:
        raise BadInput("equal_time: no number of macros reaches that saving, so there is no figure to trace")
    return evaluate(replace(options, macros=str(row["macros"])), reader)
