"""A macro of one's own from a YAML file, which `himc init macro` writes: the fields that describe its structure.

Fields of the command line have the same names here. A field that is left out keeps the value of `fan2023`. What words
the array holds (BF16) is no field, and neither are the accounting choices, which are options of `himc estimate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from charlib.errors import BadInput

ENDINGS = (".yaml", ".yml")
#: field -> least value; those of SHAPE are options of `himc estimate` too
SHAPE = {"rows": 1, "words_per_row": 1, "compartments": 1, "lane_bits": 4, "serial_bits": 1}
MORE = {"depthwise_group": 1, "rounds_a_word": 1}
_MOST = 4096
_MOST_BYTES = 100_000


@dataclass(frozen=True)
class MacroFile:
    """What a file says. shape: arguments of `reshaped`. more: other fields of `MacroStructure`."""

    name: str
    shape: dict[str, int]
    more: dict[str, int]


def is_macro_file(name: str) -> bool:
    """Whether --macro names a file rather than a preset."""
    return name.endswith(ENDINGS)


def read_macro_file(path: Path) -> MacroFile:
    """The fields of a macro's file. BadInput naming the field, its value and what is allowed."""
    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"macro: {path} cannot be read ({why}); 'himc init macro' writes one") from error
    if len(text) > _MOST_BYTES:
        raise BadInput(f"macro: {path} is larger than {_MOST_BYTES} characters; a macro needs ten lines")
    try:
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"macro: {path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(said, dict):
        raise BadInput(f"macro: {path} must hold fields such as 'compartments: 32'; 'himc init macro' writes one")
    known = {"name", *SHAPE, *MORE}
    for field, value in said.items():
        if field not in known:
            raise BadInput(f"macro: {path}: '{field}' is not a field; allowed are {', '.join(sorted(known))}")
        if field == "name":
            _check_name(path, value)
        else:
            _check_number(path, field, value, (SHAPE | MORE)[field])
    return MacroFile(said.get("name", path.stem), {name: said[name] for name in SHAPE if name in said},
                     {name: said[name] for name in MORE if name in said})


def _check_name(path: Path, value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 60:
        raise BadInput(f"macro: {path}: name: '{value}' is not allowed; give a word of at most 60 characters")


def _check_number(path: Path, field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise BadInput(f"macro: {path}: {field}: '{value}' is not allowed; a whole number of {least} to {_MOST} is")
