"""campaign.yaml: the options of `himc characterize`, kept in a file. Every error names its line and field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charlib.errors import BadInput


@dataclass(frozen=True)
class CampaignFile:
    """What a campaign file says; empty or None where it says nothing."""

    preset: str | None = None
    pdk: str | None = None
    corner: tuple[str, ...] = ()
    vdd_v: tuple[float, ...] = ()
    temp_c: tuple[float, ...] = ()
    benches: tuple[str, ...] = ()
    jobs: int | None = None
    db: str | None = None
    out: str | None = None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is needed")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number is needed")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number of at least 1 is needed")
    return value


def _several(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A value or a list of values."""
    return lambda value: tuple(one(item) for item in (value if isinstance(value, list) else [value]))


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "preset": _text, "pdk": _text, "corner": _several(_text), "vdd_v": _several(_number),
    "temp_c": _several(_number), "benches": _several(_text), "jobs": _count, "db": _text, "out": _text,
}


def load_campaign_file(path: Path) -> CampaignFile:
    """Read and check a campaign file; BadInput with the line and the field of the first fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"campaign {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        raise BadInput(f"campaign {path}:{line} not YAML ({getattr(error, 'problem', None) or error})") from error
    if not isinstance(root, yaml.MappingNode):
        raise BadInput(f"campaign {path}: 'field: value' lines are needed; fields are {', '.join(_FIELDS)}")
    values: dict[str, Any] = {}
    for key_node, _ in root.value:
        where = f"campaign {path}: line {key_node.start_mark.line + 1}:"
        name = key_node.value
        if not isinstance(name, str) or name not in _FIELDS:
            raise BadInput(f"{where} field '{name}' is unknown; fields are {', '.join(_FIELDS)}")
        if name in values:
            raise BadInput(f"{where} field '{name}' stands twice; give it once")
        try:
            values[name] = _FIELDS[name](data[name])
        except ValueError as error:
            raise BadInput(f"{where} {name}: {error}, got {data[name]!r}") from error
    return CampaignFile(**values)
