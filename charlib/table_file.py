"""A table's file: what it may hold, and a checksum over all that it says.

The checksum is of the data, not of the bytes, so that another line ending or another indent is the same table, while
a changed digit, unit, axis or hash is another one. It keeps accidents and forgotten edits apart from results; it is
no signature against someone who computes it anew. Whoever means to edit a table says so: `himc tables sign` writes
the checksum again and marks the origin as edited, which every figure made from the table then says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from charlib.errors import BadInput

CHECKSUM = "sha256"
#: origin status of a table that was signed by hand
EDITED = "edited"
#: ending of a table's name -> the unit that it promises
UNITS = {"_j": "J", "_s": "s", "_w": "W", "_f": "F", "_v": "V", "_c": "C"}
_REMAKE = "run 'himc characterize' again, which reuses what is simulated"
_SIGN = "'himc tables sign {path}' takes it as it is and marks it as edited"


def checksum(data: Mapping[str, Any]) -> str:
    """SHA-256 of all fields but the checksum itself."""
    body = {key: value for key, value in data.items() if key != CHECKSUM}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def check_checksum(data: Mapping[str, Any], where: str) -> None:
    """BadInput where the file carries no checksum, or not its own."""
    found = data.get(CHECKSUM)
    if found is None:
        raise BadInput(f"{where}: it carries no checksum (it is older than these, or the line was removed), so "
                       f"nothing vouches for its numbers; {_REMAKE}, or {_SIGN.format(path=where)}")
    if found != checksum(data):
        raise BadInput(f"{where}: its checksum is not that of its numbers, units, axes and origin: it was edited or "
                       f"damaged; {_REMAKE}, or, if you meant to edit it, {_SIGN.format(path=where)}")


def _is(value: Any, kind: type) -> bool:
    return type(value) is kind


def _all_are(values: Any, *kinds: type) -> bool:
    return _is(values, list) and set(map(type, values)) <= set(kinds)


def _numbers(values: Any, hole: bool = False) -> bool:
    return _all_are(values, float, int, *((type(None),) if hole else ()))


def _texts(value: Any) -> bool:
    return _is(value, dict) and _all_are([*value.values()], str)


def _is_axis(axis: Any) -> bool:
    return (_is(axis, dict) and _is(axis.get("name"), str) and _is(axis.get("unit"), str)
            and (_all_are(axis.get("points"), str) or _numbers(axis.get("points"))))


#: field -> whether its form is right (asked in this order), and what is allowed
_FIELDS: tuple[tuple[str, Callable[[Mapping[str, Any]], bool], str], ...] = (
    ("name", lambda d: _is(d.get("name"), str) and d["name"] != "", "text"),
    ("unit", lambda d: _is(d.get("unit"), str), "text"),
    ("conventions", lambda d: _texts(d.get("conventions")), "texts by name"),
    ("origin", lambda d: _is(d.get("origin"), dict) and all(
        _is(value, str) or (key == "derived" and _texts(value)) for key, value in d["origin"].items()),
     "texts by name"),
    ("axes", lambda d: _is(d.get("axes"), list) and all(map(_is_axis, d["axes"])),
     "objects with a name, a unit, and points that are all numbers or all labels"),
    ("values", lambda d: _numbers(d.get("values"), hole=True), "a list of numbers, null at a hole"),
    ("spread", lambda d: d.get("spread") is None or (_numbers(d["spread"]) and not any(v < 0 for v in d["spread"])),
     "null, or a list of numbers, none below zero"),
    ("run_ids", lambda d: _all_are(d.get("run_ids"), str), "a list of texts"),
    ("runs", lambda d: _all_are(d.get("runs"), int) and all(0 <= i < len(d["run_ids"]) for i in d["runs"]),
     "a list of places in run_ids, counted from 0"),
    ("interpolation_error", lambda d: _is(d.get("interpolation_error", {}), dict)
     and _numbers([*d.get("interpolation_error", {}).values()]), "numbers by axis"),
)


def check_form(data: Mapping[str, Any], where: str) -> None:
    """BadInput naming the first field whose form is not a table's, or whose unit is not that of the name."""
    for name, good, allowed in _FIELDS:
        if not good(data):
            raise BadInput(f"{where}: {name}: {allowed} is allowed; regenerate the table")
    unit = next((unit for ending, unit in UNITS.items() if data["name"].endswith(ending)), data["unit"])
    if data["unit"] != unit:
        raise BadInput(f"{where}: unit: a table named {data['name']} holds {unit}, got '{data['unit']}'; write the "
                       f"values in {unit}")


def read_data(path: Path) -> dict[str, Any]:
    """The JSON object of a file; BadInput naming the file if it is missing or broken."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as a table ({error})") from error
    except RecursionError as error:
        raise BadInput(f"{path}: cannot be read as a table (its lists are nested too deep)") from error
    if not isinstance(data, dict):
        raise BadInput(f"{path}: a table is a JSON object, got {type(data).__name__}")
    return data
