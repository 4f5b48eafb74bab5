"""The notebooks: kept without outputs, and executed by `make validate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ("bitcell", "table_error", "network_exploration")
_MOST_BYTES = 20_000


def test_all_are_known() -> None:
    assert {file.stem for file in FOLDER.glob("*.ipynb")} == set(NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_kept_small_and_without_outputs(name: str) -> None:
    file = FOLDER / f"{name}.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    assert file.stat().st_size < _MOST_BYTES
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert cells[0]["cell_type"] == "markdown"
    for cell in code:
        compile("".join(cell["source"]), name, "exec")


@pytest.mark.validate
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_executed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs pip install 'hadamard-imc[notebooks]'")
    client = pytest.importorskip("nbclient", reason="needs pip install 'hadamard-imc[notebooks]'")
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    client.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)
