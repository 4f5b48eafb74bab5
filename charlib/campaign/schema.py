"""The JSON Schema of campaign.yaml, made from the benches' points; `charlib/data/campaign.schema.json` is its print.

It is what a campaign file is checked against, so what is published is what is enforced. `description` says what is
allowed, and errors repeat it. Write the file again with `python -m charlib.campaign.schema >
charlib/data/campaign.schema.json`; a test compares the two.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, get_type_hints

from charlib.benches.base import Bench, Point
from charlib.campaign.plan import ALIASES, PRESETS

MAX_POINTS = 200_000
#: a week
MAX_TIMEOUT_S = 604_800.0
MAX_WHOLE = 2**31 - 1
PRESET_NAMES = (*PRESETS, *ALIASES)
OPERATING = ("corner", "temp_c", "vdd_v")
#: SI prefix -> power of ten
PREFIXES: Mapping[str, int] = {"a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "µ": -6, "μ": -6, "m": -3, "": 0,
                               "k": 3, "M": 6, "G": 9, "T": 12}
_NUMBER = r"([+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}))(?:[eE]([+-]?[0-9]{1,3}))?"
#: suffix of a field's name -> (its unit, what it measures, an example)
UNITS: Mapping[str, tuple[str, str, str]] = {
    "v": ("V", "a voltage", "0.8 or '800mV'"), "s": ("s", "a time", "1e-11 or '10ps'"),
    "f": ("F", "a capacitance", "5e-16 or '0.5fF'"), "ohm": ("Ohm", "a resistance", "1e3 or '1kOhm'"),
    "a": ("A", "a current", "1e-6 or '1uA'"), "hz": ("Hz", "a frequency", "1e9 or '1GHz'"),
    "m": ("m", "a length", "5e-8 or '50nm'"), "c": ("C", "a temperature", "25 or '25C'"),
}


def unit_of(name: str) -> str | None:
    """The unit that a field's name ends in; None where it ends in none."""
    _, line, suffix = name.rpartition("_")
    return UNITS[suffix][0] if line and suffix in UNITS else None


def number_pattern(unit: str | None) -> str:
    """A number, and an SI prefix and the unit where the field has one: groups mantissa, exponent, prefix."""
    if unit is None:
        return f"^{_NUMBER}$"
    spelled = {"C": "°?C", "Ohm": "(?:Ohm|ohm|Ω)"}.get(unit, unit)
    prefixes = "" if unit == "C" else f"[{''.join(PREFIXES)}]?"
    return f"^{_NUMBER}(?: ?({prefixes}){spelled})?$"


def from_text(text: str, unit: str | None) -> float:
    """'10ps' in s -> 1e-11, the float nearest to it. ValueError unless it has the pattern of the unit."""
    match = re.fullmatch(number_pattern(unit), text)
    if match is None:
        raise ValueError(text)
    mantissa, exponent, prefix = (*match.groups(), "")[:3]
    return float(f"{mantissa}e{int(exponent or 0) + PREFIXES[prefix or '']}")


def quantity(name: str, allowed: str = "", **bounds: float) -> dict[str, Any]:
    """Schema of a number, or of its text with a unit, in a field of that name."""
    unit = unit_of(name)
    if unit is None:
        words = "a number"
    else:
        _, what, example = UNITS[name.rpartition("_")[2]]
        words = f"{what} in {'°C' if unit == 'C' else unit} such as {example}"
    return {"description": words + (f", {allowed}" if allowed else ""), "type": ["number", "string"],
            "pattern": number_pattern(unit), **bounds}


def whole(low: int, high: int, what: str = "a whole number") -> dict[str, Any]:
    """Schema of a whole number."""
    return {"description": f"{what} from {low} to {high}", "type": "integer", "minimum": low, "maximum": high}


def text(what: str, **more: Any) -> dict[str, Any]:
    """Schema of a text that is not empty."""
    return {"description": what, "type": "string", "minLength": 1, **more}


def one_or_more(one: Mapping[str, Any]) -> dict[str, Any]:
    """Schema of a value or a list of such values, each once."""
    types = one["type"] if isinstance(one["type"], list) else [one["type"]]
    return {**one, "description": f"{one['description']}; or a list of at least one", "type": [*types, "array"],
            "minItems": 1, "items": dict(one)}


def grid_schema(bench: Bench) -> dict[str, Any]:
    """Schema of the structural coordinates of a bench: the fields of its point that one value can fill."""
    given, required = {}, []
    for field, kind in structure_fields(bench.point_type).items():
        one = quantity(field.name) if kind is float else whole(0, MAX_WHOLE) if kind is int else text("a text")
        given[field.name] = one_or_more(one)
        if field.default is dataclasses.MISSING:
            required.append(field.name)
    names = ", ".join(given) or "none"
    return {"description": f"a mapping of coordinates to values; coordinates of {bench.kind}: {names}",
            "type": "object", "properties": given, "required": required, "additionalProperties": False}


def structure_fields(point_type: type[Point]) -> dict[dataclasses.Field[Any], type]:
    """Fields of a point beside corner, temperature and supply -> int, float or str; others are left out."""
    kinds = get_type_hints(point_type)
    return {field: kinds[field.name] for field in dataclasses.fields(point_type)
            if field.name not in OPERATING and kinds[field.name] in (int, float, str)}


def _benches(benches: Mapping[str, Bench]) -> dict[str, Any]:
    names = ", ".join(benches)
    kind = text(f"a bench: {names}", enum=list(benches))
    grids = [{"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
              "then": {"properties": {"grid": grid_schema(bench)}}} for name, bench in benches.items()]
    one = {"description": f"a bench, or a mapping of kind and grid; benches: {names}", "type": ["string", "object"],
           "pattern": f"^({'|'.join(benches)})$",
           "properties": {"kind": kind, "grid": {"description": "a mapping of coordinates to values",
                                                 "type": "object"}},
           "required": ["kind"], "additionalProperties": False, "allOf": grids}
    return {"description": f"a list of benches, each a name or a mapping of kind and grid; benches: {names}",
            "type": "array", "minItems": 1, "items": one}


def campaign_schema(benches: Mapping[str, Bench]) -> dict[str, Any]:
    """The whole schema, for campaigns of these benches."""
    samples = whole(2, MAX_POINTS, "how many samples, a whole number")
    fields = {
        "preset": text(f"a preset: {', '.join(PRESET_NAMES)}", enum=list(PRESET_NAMES)),
        "pdk": one_or_more(text("a kit's name or the path of a pdk.toml")),
        "corner": one_or_more(text("a corner of the kit such as tt")),
        "vdd_v": one_or_more(quantity("vdd_v", "above 0 and at most 100", exclusiveMinimum=0, maximum=100)),
        "temp_c": one_or_more(quantity("temp_c", "above -273.15 and at most 1000", exclusiveMinimum=-273.15,
                                       maximum=1000)),
        "benches": _benches(benches),
        "mismatch": {
            "description": "a mapping of samples and seed", "type": "object", "required": ["samples"],
            "properties": {"samples": samples, "seed": whole(0, 2**32 - 1, "the random stream, a whole number")},
            "additionalProperties": False},
        "tolerance": quantity("tolerance", exclusiveMinimum=0, maximum=1,
                              allowed="above 0 and at most 1: the largest interpolation error; 1 only measures it"),
        "jobs": whole(1, 4096, "how many workers, a whole number"),
        "scheduler": text("the address of a Dask scheduler such as tcp://host:8786",
                          pattern=r"^tcp://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253}):[0-9]{1,5}$"),
        "db": text("a path of the database"),
        "out": text("a folder for the tables"),
        "timeout_s": quantity("timeout_s", f"above 0 and at most {MAX_TIMEOUT_S:g}: the longest run",
                              exclusiveMinimum=0, maximum=MAX_TIMEOUT_S),
        "retry_failed": {"description": "true or false: run failed points again", "type": "boolean"},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "hadamard-imc/campaign/1",
            "title": "campaign.yaml of himc characterize",
            "description": "a mapping of fields", "type": "object", "properties": fields,
            "additionalProperties": False}


def schema_text(benches: Mapping[str, Bench]) -> str:
    """The schema as it is published."""
    return json.dumps(campaign_schema(benches), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from charlib.benches import BENCHES

    print(schema_text(BENCHES), end="")
