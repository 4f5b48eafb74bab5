"""The record of what the paper claims. No model reads it: it stands beside our figures in reports only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Claim:
    """One claimed figure with its unit, wording and source."""

    name: str
    value: float
    unit: str
    text: str
    source: str


def claims() -> tuple[Claim, ...]:
    """Every recorded claim."""
    data = json.loads(resources.files("system.data").joinpath("claims.json").read_text(encoding="utf-8"))
    return tuple(Claim(c["name"], float(c["value"]), c["unit"], c["text"], data["source"]) for c in data["claims"])
