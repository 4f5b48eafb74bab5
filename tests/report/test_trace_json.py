"""`himc trace --json`: the chain as data, alone on standard output, also where the deck no longer agrees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.campaign import RunRow, Store
from charlib.table import TableSet, save_tables
from system.cli import app
from system.estimate import estimate
from system.options import EstimateOptions
from system.report import trace as trace_module
from system.report.trace import trace_report

PATH = "estimate.imc.macro_only.energy_j_per_image"


@pytest.fixture
def traced(tmp_path: Path, synthetic: TableSet, record: dict[str, Any]) -> Path:
    """A report beside its tables, and a database with one run behind its figure."""
    save_tables(tmp_path / "tables", list(synthetic.values()))
    record["estimate"] = estimate(EstimateOptions(tables=str(tmp_path / "tables")))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    run = next(entry for entry in trace_report(path, record, PATH).entries if entry.run_ids).run_ids[0]
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.put(RunRow(id=run, kind="flip_flop", point={"corner": "tt"}, pdk="freepdk45", corner="tt", temp_c=25.0,
                         vdd_v=0.8, deck="* a deck\n.meas tran energy_j integ v(a)\n.end\n", deck_sha256="0" * 64,
                         measures={"energy_j": 1e-15}, steps=10, solver_s=0.1, engine="ngspice-39", cards={},
                         revision="test", status="ok", created="2026-01-01"))
    return path


@pytest.mark.parametrize(("now_j", "status"), [(1e-15, 0), (2e-15, 1)])
def test_the_chain_as_data(traced: Path, now_j: float, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "rerun", lambda deck: {"energy_j": now_j})
    done = CliRunner().invoke(app, ["trace", str(traced), PATH, "--db", str(traced.parent / "runs.sqlite"),
                                    "--json", "-"])
    assert done.exit_code == status
    said = json.loads(done.stdout)
    assert said["unit"] == "J"
    assert sum(entry["energy_j"] for entry in said["entries"]) == pytest.approx(said["value"])
    assert said["compared"][0]["rerun"] == now_j
    assert Path(said["run"]["deck"]).is_file()
    assert "largest contributions" in done.stderr


def test_where_only_shipped_tables_are_behind_a_figure_its_trace_ends_there(traced: Path,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    real = trace_module.trace_report

    def shipped(*given: Any) -> Any:
        found = real(*given)
        return replace(found, entries=tuple(replace(entry, status="shipped") for entry in found.entries))

    monkeypatch.setattr(trace_module, "trace_report", shipped)
    done = CliRunner().invoke(app, ["trace", str(traced), PATH])
    assert done.exit_code == 0
    assert "These are shipped tables, or a campaign's: --db gives the database that holds their runs." in done.stdout
