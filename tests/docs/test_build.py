"""The documentation builds, and a warning is an error: `make docs` as a test."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("index", "howto/recipes", "tutorials/kit", "_generated/commands", "_generated/schemas",
         "_generated/api/system.numerics")


@pytest.mark.validate
@pytest.mark.skipif(find_spec("sphinx") is None or find_spec("myst_parser") is None,
                    reason="needs pip install 'hadamard-imc[docs]'")
def test_no_warning(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees"),
                           str(ROOT / "docs"), str(tmp_path / "pages")], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [page for page in PAGES if not (tmp_path / "pages" / f"{page}.html").is_file()] == []
