"""The record: everything that a report says, computed once, in one JSON-ready document.

Renderers read it and nothing else. Its schema ships as `report` (`himc schema report`); trace paths start at its
root, such as `estimate.imc.macro_only.energy_j_per_image`.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from charlib.table import TableSet
from system.ancestor import AncestorOptions
from system.claims import claims
from system.design import make_reader
from system.equal_time import equal_time
from system.estimate import estimate, validate
from system.notes import at_an_end
from system.options import EstimateOptions
from system.report.characterisation import characterisation_record
from system.report.claims import claim_records
from system.report.digest import digest
from system.report.exploration import exploration
from system.report.limits import limits
from system.report.origins import origins

SCHEMA_ID = "hadamard-imc/report/1"
#: Yan et al., ISSCC 2022; ours is what typical circuits allow
SILICON_CLOCK = "a clock of 3 ns, the ancestor's in silicon"
#: other designs shown beside the one asked for: (name, changed options, whether it is the same task)
ALTERNATIVES: tuple[tuple[str, Mapping[str, Any], bool], ...] = (
    (SILICON_CLOCK, {"cycle_s": AncestorOptions.cycle_s}, True),
    ("one resident copy of the weights", {"macros": "resident"}, True),
    ("500 macros, weights written for every pass", {"macros": "time_multiplexed:500"}, True),
    ("HBM2 instead of GDDR6", {"dram": "hbm2"}, True),
    ("stochastic rounding, no FP32 master copy", {"update_mode": "stochastic"}, True),
    ("45 nm, unscaled", {"node_nm": 45}, True),
    ("MobileNetV2", {"network": "mobilenet_v2"}, False),
)


def measured_activity(training: Mapping[str, Any]) -> dict[str, float | str]:
    """Options that replace uniform random data by the forward pass's of the training run; empty without one.

    The serial operand streams in, the stored one lies in the arrays; toggles are those of the serial operand. What
    lies beyond the tables is priced at their end, which the design's name then says.
    """
    seen = training.get("activity", {}).get("forward", {})
    wanted = {"input_density": "serial_bit_density", "weight_density": "stored_bit_density",
              "toggle": "serial_toggle_rate"}
    found = {option: float(seen[name]) for option, name in wanted.items() if name in seen}
    return {**found, "statistics_beyond": "end"} if found else {}


def alternatives(options: EstimateOptions, tables: TableSet | None, training: Mapping[str, Any], clock_hz: float
                 ) -> list[dict[str, Any]]:
    """Short estimates of other designs, each with what it changes. clock_hz: of the design asked for."""
    found = []
    seen = measured_activity(training)
    cases = (*ALTERNATIVES, *((("bits as dense as in the digits run", seen, True),) if seen else ()))
    for name, changes, same_task in cases:
        if all(options.to_json()[field] == value for field, value in changes.items()) \
                or (name == SILICON_CLOCK and 1 / AncestorOptions.cycle_s > clock_hz):
            continue
        document = estimate(EstimateOptions.from_json(options.to_json() | dict(changes)), tables)
        said = f" ({'; '.join(at_an_end(document))})" if document["beyond"] else ""
        found.append({
            "name": name + said, "options": dict(changes), "same_task": same_task,
            "macros": document["chip"]["macros"],
            "area_mm2": document["chip"]["area_mm2"],
            "imc": {boundary: {key: part[key] for key in (
                "energy_j_per_image", "energy_j_per_image_range", "time_s_per_image", "time_s_per_image_range")}
                for boundary, part in document["imc"].items()},
            "headline": document["headline"],
        })
    return found


def build_record(options: EstimateOptions, tables: TableSet, fresh: TableSet | None, shipped: TableSet | None,
                 campaign: Mapping[str, Any], training: Mapping[str, Any], database: Path | None = None
                 ) -> dict[str, Any]:
    """The whole document, checked against its schema.

    tables: those in use; fresh, shipped: the two sets they come from. campaign, training: their accounts. database:
    the store that holds the runs, for decks.
    """
    document = estimate(options, fresh)
    others = alternatives(options, fresh, training, document["macro"]["clock_hz"])
    led_back = origins(document, fresh, database)
    record = {
        "schema": SCHEMA_ID,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "estimate": document,
        "training": copy.deepcopy(dict(training)),
        "claims": claim_records(document, others),
        "alternatives": others,
        "equal_time": equal_time(options, make_reader(options, fresh), document["gpu"], _time_claim()),
        "exploration": exploration(options, make_reader(options, fresh), document["chip"]["weight_macros"] // 2
                                   if options.macros == "replicated" else document["chip"]["weight_macros"]),
        "summary": digest(document),
        "traces": led_back["traces"],
        "decks": led_back["decks"],
        "characterisation": {"campaign": dict(campaign), **characterisation_record(tables, shipped)},
        "status": table_status(document),
        "limits": limits(document),
        "machine": {"python": platform.python_version(), "system": platform.system(),
                    "processor": platform.machine()},
    }
    validate(record, "report")
    return record


def _time_claim() -> float:
    return next(claim.value for claim in claims() if claim.name == "time_saving_fraction")


def table_status(document: Mapping[str, Any]) -> str:
    """"fresh", "shipped" or "mixed": the tables that the estimate has read."""
    found = {table["status"] for table in document["origin"]["tables"]}
    return found.pop() if len(found) == 1 else "mixed"
