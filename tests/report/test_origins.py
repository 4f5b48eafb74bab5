"""The traces on the page: what `himc trace` says, its sums whole, and a deck where a run is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from charlib.campaign import RunRow, Store
from charlib.table import TableSet, save_tables
from system.estimate import validate
from system.report.origins import TRACED, origins
from system.report.run import render_files
from system.report.trace import trace_report
from system.report.view import sections

DECK = "* a flip-flop <dff> & its load\n.meas tran energy_j integ i(v1)\n.end\n"


def with_run(record: dict[str, Any], synthetic: TableSet, store: Path) -> tuple[dict[str, Any], str]:
    """The record with one run behind the macros' energy at hand, and that run."""
    report = store.with_name("report.json")
    entries = trace_report(report, record, "estimate.imc.macro_only.energy_j_per_image").entries
    run = next(entry.run_ids[0] for entry in entries if entry.run_ids)
    with Store.open(store) as opened:
        opened.put(RunRow(id=run, kind="flip_flop", point={"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8},
                          pdk="freepdk45", corner="tt", temp_c=25.0, vdd_v=0.8, deck=DECK, deck_sha256="0" * 64,
                          measures={"energy_j": 1e-15}, steps=10, solver_s=0.1, engine="ngspice-39", cards={},
                          revision="test", status="ok", created="2026-01-01"))
    return record | origins(record["estimate"], synthetic, store), run


@pytest.fixture
def led_back(tmp_path: Path, synthetic: TableSet, record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    save_tables(tmp_path / "tables", list(synthetic.values()))
    record["estimate"]["origin"]["options"]["tables"] = str(tmp_path / "tables")
    return with_run(record, synthetic, tmp_path / "runs.sqlite")


def test_contributions_sum_to_the_figure_and_are_those_of_the_trace(
        led_back: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    record, _ = led_back
    validate(record, "report")
    assert [trace["path"] for trace in record["traces"]] == [
        f"estimate.{path}" for paths in TRACED.values() for path in paths]
    for trace in record["traces"]:
        found = trace_report(tmp_path / "report.json", record, trace["path"])
        assert trace["value"] == pytest.approx(found.value, rel=1e-12)
        assert trace["others"] + len(trace["contributions"]) == len(found.entries)
        largest = [entry.energy_j for entry in found.entries[:len(trace["contributions"])]]
        assert [c["sum"] for c in trace["contributions"]] == pytest.approx(largest, rel=1e-9)
        if trace["unit"] == "J":
            shown = sum(c["sum"] for c in trace["contributions"])
            assert shown + trace["others_sum"] == pytest.approx(trace["value"])


def test_a_deck_is_one_click_away_and_a_file_beside_the_page(led_back: tuple[dict[str, Any], str]) -> None:
    record, run = led_back
    assert run in {trace["deck"] for trace in record["traces"]}
    files = render_files(record)
    assert files[f"trace/{run}.sp"] == DECK
    assert f"[trace/{run}.sp](trace/{run}.sp)" in str(files["report.md"])
    page = str(files["report.html"])
    assert "<pre>* a flip-flop &lt;dff&gt; &amp; its load\n.meas tran energy_j integ i(v1)\n.end" in page
    assert page.count(f"run {run} of table") == sum(
        any(t["deck"] == run and t["section"] == section for t in record["traces"]) for section in TRACED)


def test_without_a_store_a_trace_ends_at_its_tables(record: dict[str, Any], synthetic: TableSet,
                                                    tmp_path: Path) -> None:
    for database in (None, tmp_path / "none.sqlite"):
        found = origins(record["estimate"], synthetic, database)
        assert found["decks"] == []
        assert {trace["deck"] for trace in found["traces"]} == {None}
    assert not (tmp_path / "none.sqlite").exists()
    grids = {grid.caption for part in sections(record) for grid in part.grids}
    for trace in record["traces"]:
        assert any(caption.endswith(f"comes from: {trace['path']}") for caption in grids)
