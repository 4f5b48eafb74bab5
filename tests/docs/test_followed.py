"""Recipes and tutorials are followed: their own blocks are written, applied and run, in order, in an empty folder.

In a page `<!-- write: NAME -->` before a block says that it is a file, `<!-- in: checkout -->` that a recipe works in
a copy of the source, `<!-- needs: torch -->` what it needs, `<!-- not run: WHY -->` that a block is only shown.
Blocks of `sh` and `python` are run, `diff` is applied; what a block of `text` shows must be in the output before it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "howto" / "recipes.md", *sorted((ROOT / "docs" / "tutorials").glob("*.md")))
MARK = re.compile(r"<!-- ([a-z ]+): (.+?) -->")
MOST_STEPS = 10
RECIPES = {"Add a cell", "Add a bench", "Add a PDK", "Add a network", "Add a GPU row", "Add a table export"}


@dataclass(frozen=True)
class Block:
    """A fenced block. mark: ("write", NAME), ("not run", WHY) or None."""

    language: str
    text: str
    mark: tuple[str, str] | None


@dataclass(frozen=True)
class Part:
    """A recipe, or a whole tutorial. steps: numbered items."""

    title: str
    text: str
    blocks: tuple[Block, ...]
    marks: dict[str, str]
    steps: int


def parts(page: Path) -> list[Part]:
    """Each `##` section of the recipes; a tutorial is one part."""
    text = page.read_text(encoding="utf-8")
    pieces = re.split(r"^## ", text, flags=re.MULTILINE)[1:] if page.name == "recipes.md" else [text.lstrip("# ")]
    return [_part(piece) for piece in pieces]


def _part(text: str) -> Part:
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    mark: tuple[str, str] | None = None
    steps = 0
    for token in MarkdownIt().parse(text):
        if token.type == "html_block" and (found := MARK.match(token.content.strip())):
            if found[1] in ("write", "not run"):
                mark = (found[1], found[2])
            else:
                marks[found[1]] = found[2]
        elif token.type == "fence":
            blocks.append(Block(token.info.strip(), token.content, mark))
            mark = None
        elif token.type == "list_item_open" and token.info.isdigit():
            steps += 1
    return Part(text.partition("\n")[0], text, tuple(blocks), marks, steps)


def applied(diff: str, folder: Path) -> None:
    """Put each hunk's new lines in the place of its old ones, which must be there once."""
    name, hunks = "", re.split(r"^@@.*\n", diff, flags=re.MULTILINE)
    head = re.search(r"^\+\+\+ b/(\S+)$", hunks[0], re.MULTILINE)
    assert head is not None, diff
    name = head[1]
    text = (folder / name).read_text(encoding="utf-8")
    for hunk in hunks[1:]:
        lines = hunk.splitlines()
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, f"{name}: {old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    (folder / name).write_text(text, encoding="utf-8")


def follow(part: Part, folder: Path) -> None:
    """Do what a part says."""
    own = ("HIMC_DB", "HIMC_KITS", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in own}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    if part.marks.get("in") == "checkout":
        for name in ("charlib", "system", "netlists"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        environment["PYTHONPATH"] = str(folder)
    output = ""
    for block in part.blocks:
        if block.mark is not None and block.mark[0] == "write":
            target = folder / block.mark[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text, encoding="utf-8")
        elif block.mark is not None:
            assert len(block.mark[1]) > 5
        elif block.language in ("sh", "python"):
            words = ["bash", "-euo", "pipefail"] if block.language == "sh" else [sys.executable, "-"]
            done = subprocess.run(words, input=block.text, cwd=folder, check=False, env=environment, text=True,
                                  capture_output=True, timeout=300)
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            output = done.stdout + done.stderr
        elif block.language == "diff":
            applied(block.text, folder)
        else:
            assert block.language == "text", f"a block of '{block.language}' that is neither written nor run"
            for line in block.text.splitlines():
                for piece in filter(None, (one.strip() for one in line.split("…"))):
                    assert piece in output, f"'{piece}' is not in\n{output}"


ALL = {f"{page.stem}: {part.title}": part for page in PAGES for part in parts(page)}


def test_the_recipes_are_there() -> None:
    assert set(RECIPES) <= {part.title for part in parts(PAGES[0])}


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_has_at_most_ten_steps_and_something_to_do(name: str) -> None:
    part = ALL[name]
    if name.startswith("recipes"):
        assert 1 <= part.steps <= MOST_STEPS
    assert any(block.mark is None and block.language in ("sh", "python") for block in part.blocks)


@pytest.mark.parametrize("name", ALL)
def test_a_reader_is_told_where_a_block_goes(name: str) -> None:
    """Marks are comments, which a page does not show: the words name the file too."""
    part = ALL[name]
    prose = re.sub(r"```.*?```|<!--.*?-->", "", part.text, flags=re.DOTALL)
    assert [b.mark[1] for b in part.blocks if b.mark and b.mark[0] == "write" and f"`{b.mark[1]}`" not in prose] == []


@pytest.mark.validate
@pytest.mark.parametrize("name", ALL)
def test_followed(name: str, tmp_path: Path) -> None:
    part = ALL[name]
    if part.marks.get("needs") == "torch" and find_spec("torch") is None:
        pytest.skip("needs torch: pip install \"hadamard-imc[train]\"")
    follow(part, tmp_path)


def test_a_wrong_diff_and_a_wrong_output_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="stands 0 times"):
        applied("--- a/a.py\n+++ b/a.py\n@@\n-y = 1\n+y = 2\n", tmp_path)
    shown = (Block("sh", "echo one", None), Block("text", "two", None))
    with pytest.raises(AssertionError, match="'two' is not in"):
        follow(Part("t", "", shown, {}, 1), tmp_path)
