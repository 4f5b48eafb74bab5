"""Every figure that is committed is computed again: the README as asked in seconds, each page text for text."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from charlib.compose.judge import BOUNDS, bounds_sentence

ROOT = Path(__file__).parents[2]
#: relative: the numbers kept in docs/results.json are unrounded
SAME = 1e-9


@cache
def pages() -> ModuleType:
    """tools/pages.py."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def apart(kept: Any, now: Any, path: str = "") -> list[str]:
    """Where two documents differ: numbers by more than SAME, anything else at all."""
    if isinstance(kept, dict) and isinstance(now, dict) and kept.keys() == now.keys():
        return [place for key in kept for place in apart(kept[key], now[key], f"{path}.{key}")]
    if isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        return [place for k, pair in enumerate(zip(kept, now, strict=True)) for place in apart(*pair, f"{path}.{k}")]
    numbers = all(isinstance(value, (int, float)) for value in (kept, now))
    same = math.isclose(kept, now, rel_tol=SAME) if numbers else kept == now
    return [] if same else [f"{path}: committed {kept}, computed {now}"]


def test_the_readme_as_asked_is_what_the_shipped_tables_give() -> None:
    """Numbers to 1e-9, text to the printed digits; the ancestor's range is the validation's."""
    tool = pages().tool("readme")
    kept = tool.committed()
    now = tool.kept_record(tool.short_record(kept), kept)
    assert apart(kept, now) == []
    assert tool.readme_text(now) == (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_figure_that_moves_is_found() -> None:
    kept = {"a": [1.0, {"b": 2.0}], "c": "words"}
    assert apart(kept, json.loads(json.dumps(kept))) == []
    assert apart(kept, {"a": [1.0, {"b": 2.0 * (1 + 3e-9)}], "c": "words"}) == [
        f".a.1.b: committed 2.0, computed {2.0 * (1 + 3e-9)}"]
    assert len(apart(kept, {"a": [1.0], "c": "others"})) == 2


MADE = [pytest.param(name, marks=pytest.mark.validate) if page.minutes else name
        for name, page in pages().PAGES.items()]


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_what_its_tool_makes(name: str) -> None:
    assert pages().differences(name) == []


def test_every_page_that_says_it_is_made_has_its_comparison() -> None:
    """A page names its tool in "Made by"; composed blocks are compared by their own tool in `make validate`, the
    counts of families by a test of theirs, where the families' packages are."""
    named = {re.search(r"[Mm]ade by\s+`python tools/(\w+)\.py`", file.read_text(encoding="utf-8"))
             for file in (ROOT / "docs").glob("*.md")}
    tools = {page.tool for page in pages().PAGES.values()}
    assert {found[1] for found in named if found} <= tools | {"counts"}
    assert '"docs" / "counts.md"' in (ROOT / "tests" / "train" / "test_counts.py").read_text(encoding="utf-8")
    assert tools - {found[1] for found in named if found} == {"readme_results"}
    assert "tools/composition.py --check" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_bounds_of_composed_blocks_are_stated_once_and_hold_for_every_row() -> None:
    text = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    part = text[text.index("<!-- composition: begin -->"):text.index("<!-- composition: end -->")]
    assert bounds_sentence() in part
    assert "0.95" not in text.replace(part, "")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()
            if re.match(r"\| \w+ \| (random|forward|weight_gradient) \|", line)]
    assert len(rows) == 66
    assert min(float(row[7]) for row in rows) >= BOUNDS["least correlation"]
    for column, bound in ((5, "worst |error| of energy"), (10, "worst |error| of delay")):
        assert max(abs(float(row[column].rstrip("%"))) / 100 for row in rows) <= BOUNDS[bound]


def test_an_unknown_page_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert pages().main(["--check", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("pages: nothing not known; known are ancestor, trend, ")
