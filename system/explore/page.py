"""An explored space as one page that works with no network: any two metrics plotted, the front, the axes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment

from system.explore.accuracy import METRIC as ACCURACY_LOSS
from system.explore.grid import METRICS

LABELS = {
    "energy_macro_only_j": "energy, macros only (mJ)", "energy_with_buffers_j": "energy with buffers (mJ)",
    "energy_system_j": "energy, whole system (mJ)", "time_macro_only_s": "time, macros only (µs)",
    "time_with_buffers_s": "time with buffers (µs)", "time_system_s": "time, whole system (µs)",
    "area_m2": "area (mm²)", "clock_hz": "clock (GHz)", "density_kb_per_mm2": "density (Kb/mm²)",
    "macros_used": "macros", ACCURACY_LOSS: "accuracy loss of MobileNetV1 on digits (points)",
}
SCALES = {name: 1e3 if name.startswith("energy") else 1e6 if name.startswith("time") else 1.0 for name in METRICS} | {
    "area_m2": 1e6, "clock_hz": 1e-9, ACCURACY_LOSS: 100.0}


def page(record: Mapping[str, Any]) -> str:
    """The HTML of a record of `himc explore`."""
    data = {name: record[name] for name in ("axes", "objectives", "front", "sample", "sensitivities")} | {
        "metrics": list(LABELS), "labels": LABELS, "scales": SCALES}
    text = (f"{record['designs']} designs, {record['possible']} of which can be; {len(record['front'])} are beaten "
            f"by none. Energy and time are of one image of training."
            + "".join(f" Of {count} designs: {what}." for what, count in record["said"].items()))
    template = resources.files("system.explore").joinpath("page.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True).from_string(template).render(
        title=f"Designs for training {record['network']}", text=text,
        objectives=", ".join(LABELS[name] for name in record["objectives"]), data=_script(data))


def _script(data: Any) -> Any:
    """JSON that may stand inside a script element."""
    from markupsafe import Markup

    return Markup(json.dumps(data).replace("<", "\\u003c"))
