"""A sample record made of synthetic tables, for tests that need a whole report and no simulator."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from charlib.table import TableSet
from system import readings
from system.options import EstimateOptions
from system.report.html import html_page
from system.report.plots import draw_figures
from system.report.record import build_record
from system.report.view import sections

CAMPAIGN: dict[str, Any] = {
    "status": "fresh", "preset": "quick", "runs": 432, "simulated": 400, "reused": 32, "retried": 1, "failed": 0,
    "wall_s": 210.0, "solver_s": 395.0, "database": "himc.sqlite",
    "comparison": {"tables": 12, "tolerance": 0.02, "note": "", "worst": {
        "table": "cell_delay_s", "point": "cell=inv", "fresh": 1.001e-11, "shipped": 1e-11, "relative": 0.001}},
}
TRAINING: dict[str, Any] = {
    "status": "run", "reason": "", "fp32": {"loss": [2.3, 1.1, 0.6, 0.4], "accuracy": [0.2, 0.6, 0.8, 0.9]},
    "imc": {"loss": [2.3, 1.2, 0.65, 0.42], "accuracy": [0.2, 0.58, 0.79, 0.89]},
}


def synthetic_set() -> TableSet:
    """The synthetic tables that the tests of the system model use too."""
    file = Path(__file__).parents[1] / "system" / "conftest.py"
    spec = importlib.util.spec_from_file_location("synthetic_tables", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return TableSet([*module.synthetic_tables(), *module.composed_tables()], "the synthetic set")


@pytest.fixture(scope="session")
def accounts() -> tuple[dict[str, Any], dict[str, Any]]:
    """(campaign, training) of the sample."""
    return CAMPAIGN, TRAINING


@pytest.fixture(autouse=True)
def no_shipped_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample rests on its own tables alone, whatever travels with the package."""
    monkeypatch.setattr(readings, "kits_with_tables", list)


@pytest.fixture(scope="session")
def synthetic() -> TableSet:
    return synthetic_set()


@pytest.fixture(scope="session")
def made_record(synthetic: TableSet) -> str:
    """The record as text, so that no test can change another's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readings, "kits_with_tables", list)
        return json.dumps(build_record(EstimateOptions(), synthetic, synthetic, None, CAMPAIGN, TRAINING))


@pytest.fixture
def record(made_record: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(made_record)
    return loaded


@pytest.fixture(scope="session")
def figures(made_record: str) -> dict[str, str]:
    """The sample's plots, drawn once."""
    return draw_figures(json.loads(made_record))


@pytest.fixture(scope="session")
def page(made_record: str, figures: dict[str, str]) -> str:
    """The sample's page."""
    sample = json.loads(made_record)
    return html_page(sample, sections(sample), figures)
