"""The median of the GPU's headline rows: between which rows it lies, and how little evidence may stand behind it.

Where their number is even, a median lies midway between two rows. Rows are correlated: one run scaled by two rules
and charged by four powers makes eight rows and is one measurement. So runs and cards are counted beside the rows, and
each card's own median stands beside that of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from charlib.units import format_si
from system.gpu_records import wider

Row = Mapping[str, Any]
#: what a row has a median of -> (the document's field of its rows, unit)
KEYS = {"energy_j_per_image": ("energy_rows", "J"), "time_s_per_image": ("time_rows", "s")}


@dataclass(frozen=True)
class Median:
    """`rows`: place of the row that it is, or of the two that it lies between."""

    value: float
    rows: tuple[int, ...]


def median_of(rows: Sequence[Row], key: str) -> Median:
    """Of the headline rows, in one figure."""
    fit = sorted((k for k, row in enumerate(rows) if row["headline"]),
                 key=lambda k: (float(rows[k][key]), float(rows[k]["power_w"])))
    half = len(fit) // 2
    return Median(median(float(rows[k][key]) for k in fit), tuple(fit[half - 1 + len(fit) % 2: half + 1]))


def median_record(rows: Sequence[Row]) -> dict[str, Any]:
    """Both medians for the document, with the runs and cards behind them. rows: of an estimate's document."""
    fit = [row for row in rows if row["headline"]]
    found: dict[str, Any] = {}
    for key, (places, _) in KEYS.items():
        middle = median_of(rows, key)
        found |= {key: middle.value, places: list(middle.rows)}
    cards = [{"card": card, "rows": len(own), "runs": list(dict.fromkeys(row["run_source"] for row in own)),
              **{key: median(float(row[key]) for row in own) for key in KEYS}}
             for card in dict.fromkeys(row["run_card"] for row in fit)
             for own in [[row for row in fit if row["run_card"] == card]]]
    return found | {"rows": len(fit), "runs": sum(len(card["runs"]) for card in cards), "cards": cards}


def apart(row: Row) -> bool:
    """Whether a row is in no headline for its precision alone; its saving is shown beside."""
    return bool(wider(row["precision"])) and row["why_not"] == wider(row["precision"])


def between(rows: Sequence[Row], places: Sequence[int]) -> dict[str, float]:
    """Energy, time and power midway between rows; those of the row where there is one."""
    return {key: sum(float(rows[k][key]) for k in places) / len(places) for key in (*KEYS, "power_w")}


def row_name(row: Row) -> str:
    """A GPU's row in a few words: whose time, and how much time and power."""
    of = f" of an {row['run_card']}" if row["composed"] and row["run_card"] else ""
    return (f"{row['time_source'].replace('_', ' ')}{of}, {row['precision'].upper()}, "
            f"{format_si(row['time_s_per_image'], 's')} at {row['power_w']:.0f} W")


def evidence(found: Mapping[str, Any]) -> str:
    """How many rows, runs and cards stand behind the medians. found: of :func:`median_record`."""
    rows, runs, cards = found["rows"], found["runs"], len(found["cards"])
    return (f"{rows} row{'s' * (rows != 1)} of {runs} measured run{'s' * (runs != 1)} on {cards} "
            f"card{'s' * (cards != 1)}")


def sentence(document: Mapping[str, Any], key: str) -> str:
    """Which row the median is or lies between, and the evidence: for page, console and README."""
    found, rows = document["gpu_median"], document["gpu"]
    places, unit = KEYS[key]
    names = [row_name(rows[k]) for k in found[places]]
    at = f"is the row {names[0]}" if len(names) == 1 else f"lies between the rows {names[0]} and {names[1]}"
    cards = "; ".join(f"{card['card']}: {format_si(card[key], unit)}, {len(card['runs'])} "
                      f"run{'s' * (len(card['runs']) != 1)}" for card in found["cards"])
    return (f"The GPU's median {key.partition('_')[0]}, {format_si(found[key], unit)}, {at}; {evidence(found)} "
            f"({cards})")
