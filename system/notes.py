"""What a reader of an estimate must know of its figures, as sentences; the console and the pages say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def notes(document: Mapping[str, Any]) -> Sequence[str]:
    """What of the macro is not its own circuit, on the operands that were asked for, at a clock with mismatch."""
    between: dict[tuple[str, ...], list[str]] = {}
    for row in document["blocks"]:
        if row["source"] != "own":
            sizes = tuple(name.removeprefix(f"{row['block']}_") for name in row["circuits"])
            between.setdefault(sizes, []).append(f"{row['block']} {row['miss']:.1%}")
    found = [f"no circuit of this size is composed; taken from those of {', '.join(sizes)}, which miss a size "
             f"between by up to: {', '.join(blocks)}" for sizes, blocks in between.items()]
    found += at_an_end(document)
    mismatch = document["macro"]["clock_mismatch"]
    if not mismatch["known"]:
        found.append("these tables hold no Monte Carlo: clock and time are without mismatch, which would slow them")
    return [*found, *carried(mismatch["at"], document["origin"]["options"])]


def carried(at: Mapping[str, float | str], asked: Mapping[str, Any]) -> Sequence[str]:
    """That mismatch was simulated at another operating point. at: of the Monte Carlo, nothing where there is none."""
    if all(at.get(name, asked[name]) == asked[name] for name in ("corner", "temp_c", "vdd_v")):
        return []
    return [f"mismatch, of clock and leakage, is carried from {at['corner']}, {at['temp_c']:g} °C, "
            f"{at['vdd_v']:g} V, where it was simulated"]


def at_an_end(document: Mapping[str, Any]) -> Sequence[str]:
    """What lies beyond a table's axis and is priced at its end."""
    return [f"{at['field']} {at['asked']:.3g}: the tables end at {at['priced']:.3g}, where it is priced"
            for at in document["beyond"]]


def sources(tables: Sequence[Mapping[str, Any]], folder: str | None) -> Sequence[str]:
    """Where the tables that were read come from, where the user gave a folder of them or edited one."""
    by = {status: [t["name"] for t in tables if t["status"] == status] for status in ("fresh", "edited", "shipped")}
    words = []
    if folder is not None:
        words.append(f"{len(tables) - len(by['shipped'])} of {len(tables)} from {folder}")
        if by["shipped"]:
            words.append(f"{len(by['shipped'])} shipped with the package, since that folder lacks them: "
                         f"{', '.join(by['shipped'])}")
    if by["edited"]:
        words.append(f"edited by hand and signed so: {', '.join(by['edited'])}")
    return [f"tables: {'; '.join(words)}"] if words else []


def left_out(document: Mapping[str, Any]) -> Sequence[str]:
    """What the ranges are without, and why."""
    return [f"not in the range of {row['of']}: {row['scenario']}, {row['why']}" for row in document["left_out"]]
