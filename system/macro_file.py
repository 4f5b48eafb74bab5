"""A macro of one's own from a YAML file, which `himc init macro` writes: the fields that describe its structure.

Fields of the command line have the same names here. A field that is left out keeps the value of `fan2023`. What words
the array holds (BF16) is no field, and neither are the accounting choices, which are options of `himc estimate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlib.yaml_file import Document, read_document, shown

ENDINGS = (".yaml", ".yml")
#: field -> least value; those of SHAPE are options of `himc estimate` too
SHAPE = {"rows": 1, "words_per_row": 1, "compartments": 1, "lane_bits": 4, "serial_bits": 1}
MORE = {"depthwise_group": 1, "rounds_a_word": 1}
_MOST = 4096


@dataclass(frozen=True)
class MacroFile:
    """What a file says. shape: arguments of `reshaped`. more: other fields of `MacroStructure`."""

    name: str
    shape: dict[str, int]
    more: dict[str, int]
    document: Document


def is_macro_file(name: str) -> bool:
    """Whether --macro names a file rather than a preset."""
    return name.endswith(ENDINGS)


def read_macro_file(path: Path) -> MacroFile:
    """The fields of a macro's file. BadInput naming the field, its value and what is allowed."""
    document = read_document(path, "macro", "fields such as 'compartments: 32' are needed; 'himc init macro' writes "
                                            "such a file")
    known, said = {"name", *SHAPE, *MORE}, document.fields
    for field, value in said.items():
        if field not in known:
            raise document.fault((field,), f"is not a field; allowed are {', '.join(sorted(known))}")
        if field == "name":
            _check_name(document, value)
        else:
            _check_number(document, field, value, (SHAPE | MORE)[field])
    return MacroFile(said.get("name", path.stem), {name: said[name] for name in SHAPE if name in said},
                     {name: said[name] for name in MORE if name in said}, document)


def _check_name(document: Document, value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= 60:
        raise document.fault(("name",), f"{shown(value)} is not allowed; give a word of at most 60 characters")


def _check_number(document: Document, field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise document.fault((field,), f"{shown(value)} is not allowed; a whole number of {least} to {_MOST} is")
