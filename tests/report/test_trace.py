"""From a figure to a deck and back: the chain, the comparison, and what is said where it breaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.campaign import RunRow, Store
from charlib.errors import BadInput, HimcError
from charlib.table import TableSet, save_tables
from system.cli import app
from system.estimate import estimate
from system.options import EstimateOptions
from system.report import trace as trace_module
from system.report.trace import (
    Comparison,
    by_table,
    find_run,
    one_run,
    rerun_and_compare,
    save_deck,
    trace_report,
    uncertainties,
    withheld,
)

PATH = "estimate.imc.macro_only.energy_j_per_image"
DECK = "* a deck\n.meas tran energy_j integ v(a)\n.end\n"


def row(run: str, deck: str = DECK, **measures: float) -> RunRow:
    return RunRow(id=run, kind="flip_flop", point={"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8}, pdk="freepdk45",
                  corner="tt", temp_c=25.0, vdd_v=0.8, deck=deck, deck_sha256="0" * 64,
                  measures=measures or {"energy_j": 1e-15}, steps=10, solver_s=0.1, engine="ngspice-39", cards={},
                  revision="test", status="ok", created="2026-01-01")


@pytest.fixture
def written(tmp_path: Path, synthetic: TableSet, record: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A report on disk whose estimate rests on tables beside it."""
    folder = tmp_path / "tables"
    save_tables(folder, list(synthetic.values()))
    record["estimate"] = estimate(EstimateOptions(tables=str(folder)))
    path = tmp_path / "report.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return path, record


def test_the_chain_ends_in_runs(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, record = written
    found = trace_report(path, record, PATH)
    assert found.value == record["estimate"]["imc"]["macro_only"]["energy_j_per_image"]
    shares = by_table(found.entries)
    assert sum(share for _, _, share, _ in shares) == pytest.approx(1.0)
    largest = next(entry for entry in found.entries if entry.run_ids)
    with Store.open(tmp_path / "runs.sqlite") as store:
        assert find_run(found.entries, store) is None
        store.put(row(largest.run_ids[0]))
        chosen = find_run(found.entries, store)
    assert chosen is not None
    assert chosen[1].id == largest.run_ids[0]


def test_decks_that_print_measures_come_first(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path, record = written
    entries = trace_report(path, record, PATH).entries
    runs = [run for entry in entries for run in entry.run_ids]
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.put(row(runs[0], deck="* a sweep\n.end\n"))
        store.put(row(runs[1], deck=DECK, made_from_it_j=1e-15))
        store.put(row(runs[-1]))
        chosen = find_run(entries, store)
    assert chosen is not None
    assert chosen[1].id == runs[-1]


def test_moved_tables_are_an_error_and_not_another_trace(written: tuple[Path, dict[str, Any]]) -> None:
    path, record = written
    record["estimate"]["imc"]["macro_only"]["energy_j_per_image"] *= 1.5
    with pytest.raises(HimcError, match="the tables have changed"):
        trace_report(path, record, PATH)


@pytest.mark.parametrize(("path", "said"), [
    ("nothing.there", r"^path 'nothing.there': no 'nothing' in the report"),
    ("claims", r"^path 'claims': only figures of the estimate, of alternatives"),
    ("estimate.imc.chip.energy_j_per_image", r"no 'chip' there"),
    ("estimate.network.name", r"not a number"),
])
def test_paths_that_lead_nowhere(written: tuple[Path, dict[str, Any]], path: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        trace_report(written[0], written[1], path)


def test_runs_that_are_not_in_the_database(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    entries = trace_report(*written, PATH).entries
    Store.open(tmp_path / "empty.sqlite").close()
    with pytest.raises(BadInput, match=r"^runs: none of those behind the figure is in .*empty.sqlite"):
        one_run(entries, tmp_path / "empty.sqlite")


def test_a_rerun_within_one_percent_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "rerun", lambda deck: {"energy_j": 1.005e-15, "other_j": 5.0})
    (one,) = rerun_and_compare(row("abc", energy_j=1e-15, derived_j=3.0))
    assert one.good
    assert one.relative == pytest.approx(0.005)
    monkeypatch.setattr(trace_module, "rerun", lambda deck: {"energy_j": 1.02e-15})
    assert not rerun_and_compare(row("abc", energy_j=1e-15))[0].good


def test_a_deck_without_measures_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_module, "rerun", lambda deck: {})
    with pytest.raises(HimcError, match=r"^run abc: its deck prints no measure that is stored"):
        rerun_and_compare(row("abc"))


def test_a_near_zero_is_held_to_the_largest_of_its_unit() -> None:
    assert Comparison("leak_j", 1e-22, 2e-22, floor=1e-18).good
    assert not Comparison("leak_j", 1e-22, 2e-20 + 1e-18, floor=1e-18).good


def test_measures_of_one_kind_share_a_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = row("abc", raw_wordline_s0_i0=1e-13, raw_wire_s1_i1=1e-17, rise_s=1e-11)
    stored = dict(kept.measures)
    monkeypatch.setattr(trace_module, "rerun", lambda deck: stored | {"raw_wire_s1_i1": 7e-17})
    assert all(one.good for one in rerun_and_compare(kept))
    monkeypatch.setattr(trace_module, "rerun", lambda deck: stored | {"raw_wire_s1_i1": 7e-16})
    assert [one.measure for one in rerun_and_compare(kept) if not one.good] == ["raw_wire_s1_i1"]
    monkeypatch.setattr(trace_module, "rerun", lambda deck: stored | {"rise_s": 1.02e-11})
    assert [one.measure for one in rerun_and_compare(kept) if not one.good] == ["rise_s"]


def test_the_deck_is_kept_as_it_ran(tmp_path: Path) -> None:
    kept = save_deck(tmp_path, row("abc123"))
    assert kept == tmp_path / "trace" / "abc123.sp"
    assert kept.read_text(encoding="utf-8") == DECK


def test_a_confidential_kits_deck_is_told_how_to_make_and_not_written() -> None:
    told = withheld(row("a" * 16, deck=""))
    assert told.startswith("The deck is withheld: PDK 'freepdk45' is confidential. Where the kit is")
    assert 'from charlib.recipe import deck; print(deck("freepdk45", "flip_flop", ' in told
    assert withheld(row("b" * 16)) == ""


def test_the_command_ends_well_at_a_confidential_kits_run(
    written: tuple[Path, dict[str, Any]], tmp_path: Path,
) -> None:
    path, record = written
    largest = next(entry for entry in trace_report(path, record, PATH).entries if entry.run_ids)
    with Store.open(tmp_path / "runs.sqlite") as store:
        store.put(row(largest.run_ids[0], deck=""))
    done = CliRunner().invoke(app, ["trace", str(path), PATH, "--db", str(tmp_path / "runs.sqlite")])
    assert done.exit_code == 0, done.output
    assert "The deck is withheld" in done.stdout
    assert not (tmp_path / "trace").exists()


def test_interval_and_range_stand_beside_a_figure(written: tuple[Path, dict[str, Any]]) -> None:
    _, record = written
    found = uncertainties(record, PATH)
    imc = record["estimate"]["imc"]["macro_only"]
    assert found == {"interval of statistics, 95 %": imc["energy_j_per_image_interval"],
                     "range of scenarios": imc["energy_j_per_image_range"]}
    assert uncertainties(record, "estimate.imc.macro_only.energy_j_per_image_range.0") == {}
