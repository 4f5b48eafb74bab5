"""A house rule that no linter here knows: no long files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_LINES = 500


def tracked(pattern: str) -> list[Path]:
    done = subprocess.run(["git", "ls-files", "--", pattern], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines()]


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in tracked("*.py") if file.exists()}
    assert len(lengths) > 100
    assert {str(file): length for file, length in lengths.items() if length > MOST_LINES} == {}
