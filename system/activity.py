"""What training recorded of the operands, as options of an estimate; reads JSON alone, so torch is not needed.

The file is :meth:`system.train.activity.Recorder.to_json`: of every layer and pass its MACs, and means over samples
of the serial and of the stored operand. Means over the system weigh each by its MACs. The fused tree works in the
forward pass and in the weight gradient, so the exponents and zeros that it feels are those of these two; a lane is
masked when either operand is zero; the tables give both operands one spread, which is taken as the quadratic mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from charlib.errors import BadInput

SCHEMA = "himc-activity-1"
PASSES = ("forward", "input_gradient", "weight_gradient")
TREE_PASSES = ("forward", "weight_gradient")
ROLES = ("serial", "stored")
#: above what any run counts, and well inside a float
_MOST = 1e30


def read(path: Path) -> dict[str, Any]:
    """The document of a file. BadInput where it is not one."""
    try:
        document = json.loads(path.read_text())
    except OSError as error:
        raise BadInput(f"activity: '{path}' cannot be read ({error.strerror}); give a training run's file"
                       ) from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"activity: '{path}' is not JSON ({error}); give the file that a training run wrote"
                       ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or not isinstance(document.get("layers"),
                                                                                            dict):
        raise BadInput(f"activity: '{path}' is not a record of activity; the schema '{SCHEMA}' is allowed, "
                       "record one by a training run under imc")
    for layer, passes in document["layers"].items():
        if not isinstance(passes, dict) or not all(map(_is_record, passes.values())):
            raise BadInput(f"activity: '{path}': layers.{layer}: statistics by pass, each a finite number not below "
                           "zero, are allowed; record it again")
    return document


def _is_record(found: object) -> bool:
    return isinstance(found, dict) and all(
        type(value) in (int, float) and 0 <= value < _MOST for value in found.values())


def mean(document: Mapping[str, Any], what: str, passes: Sequence[str] = PASSES) -> float:
    """Mean of a statistic such as "serial_zero_share", weighted by MACs. BadInput where nothing was recorded."""
    chosen = [(found[what], found["macs"]) for found in _recorded(document, passes) if what in found]
    total = sum(macs for _, macs in chosen)
    if not total:
        raise BadInput(f"activity: nothing was recorded of '{what}' in {', '.join(passes)}; train some steps with a "
                       "recorder")
    return math.fsum(value * macs for value, macs in chosen) / total


def _recorded(document: Mapping[str, Any], passes: Sequence[str]) -> Iterator[Mapping[str, float]]:
    for layer in document["layers"].values():
        for name in passes:
            if layer.get(name, {}).get("samples"):
                yield layer[name]


def options_of(document: Mapping[str, Any]) -> dict[str, float | str]:
    """Options of :class:`system.options.EstimateOptions` that a record of activity replaces. What training recorded
    beyond the tables' axes is priced at their end, and said: many zeros are usual, and nobody chose them."""
    spreads = [mean(document, f"{role}_exponent_spread", TREE_PASSES) for role in ROLES]
    zeros = [mean(document, f"{role}_zero_share", TREE_PASSES) for role in ROLES]
    return {
        "input_density": mean(document, "serial_bit_density"), "weight_density": mean(document, "stored_bit_density"),
        "toggle": mean(document, "serial_toggle_rate"),
        "exponent_spread": math.sqrt(math.fsum(spread**2 for spread in spreads) / len(spreads)),
        "zero_share": 1.0 - math.prod(1.0 - zero for zero in zeros), "statistics_beyond": "end",
    }


def operands_of(document: Mapping[str, Any], passes: Sequence[str] = TREE_PASSES) -> dict[str, dict[str, float]]:
    """"serial" and "stored" -> fields of :class:`charlib.gates.operands.OperandStatistics`."""
    fields = {"exponent_spread": "exponent_spread", "zero_share": "zero_share", "bit_density": "fraction_density",
              "repeat_share": "repeat_share"}
    return {role: {field: mean(document, f"{role}_{what}", passes) for field, what in fields.items()}
            for role in ROLES}
