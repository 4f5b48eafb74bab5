"""Nothing is assumed in silence."""

from __future__ import annotations

from dataclasses import fields

from system.assumption_list import ASKED, OPTIONS, assumptions
from system.assumptions import CONSTANTS
from system.gpu_records import CARDS
from system.options import EstimateOptions
from system.structure import MacroStructure


def test_every_option_is_asked_or_sourced() -> None:
    names = {field.name for field in fields(EstimateOptions)}
    assert set(ASKED) | set(OPTIONS) == names
    assert not set(ASKED) & set(OPTIONS)


def test_every_default_has_a_name_and_a_source() -> None:
    found = assumptions()
    names = [one.name for one in found]
    assert len(set(names)) == len(names)
    assert set(CONSTANTS) <= set(names)
    assert {f"{card}_tdp" for card in CARDS} <= set(names)
    assert {f"macro fan2023 {f.name}" for f in fields(MacroStructure)} - set(names) == {
        "macro fan2023 name", "macro fan2023 floating"}
    for one in found:
        assert one.citation, one.name
        assert one.value, one.name
