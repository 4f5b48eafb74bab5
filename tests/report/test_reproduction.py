"""The reproduction page: every figure of it leads back, and reads as the record says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from charlib.errors import BadInput
from charlib.table import TableSet, save_tables
from system.report.reproduction import Figure, page, tables
from system.report.trace import trace_report

_UNITS = {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "%": 1e-2, "mm²": 1.0, "Kb/mm²": 1.0,
          "µm²": 1e-6, "×": 1.0, "": 1.0}


@pytest.fixture
def on_disk(tmp_path: Path, synthetic: TableSet, record: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    save_tables(tmp_path / "tables", list(synthetic.values()))
    record["estimate"]["origin"]["options"]["tables"] = str(tmp_path / "tables")
    return tmp_path / "report.json", record


def shown(text: str) -> float:
    """The number that a cell says, in SI units."""
    number, _, unit = text.replace("−", "-").replace(",", "").partition(" ")
    return float(number) * _UNITS[unit]


def check(on_disk: tuple[Path, dict[str, Any]], step: int) -> None:
    figures = [figure for table in tables(on_disk[1]) for figure in table.figures()]
    assert len(figures) > 100
    for figure in list(dict.fromkeys(figures))[::step]:
        trace = trace_report(*on_disk, figure.path)
        assert trace.entries, figure
        assert shown(figure.text) == pytest.approx(trace.value, rel=6e-3, abs=6e-4), figure


def test_figures_pass_trace_and_read_as_they_were_computed(on_disk: tuple[Path, dict[str, Any]]) -> None:
    check(on_disk, 29)


@pytest.mark.validate
def test_every_figure_passes_trace_and_reads_as_it_was_computed(on_disk: tuple[Path, dict[str, Any]]) -> None:
    check(on_disk, 1)


def test_the_page_says_claims_and_paths(record: dict[str, Any]) -> None:
    text = page(record)
    for said in ("91.2 %", "13.9 %", "769.2 Kb/mm²", "3.5 ×"):
        assert said in text
    named = set(re.findall(r"`((?:estimate|claims|equal_time)[\w.]+)", text))
    assert {f.path for t in tables(record) for f in t.figures() if not f.path.endswith(".1")} == named


def test_the_energy_at_the_papers_time_saving(record: dict[str, Any]) -> None:
    for row in record["equal_time"]:
        assert row["macros"] is None or row["time_fraction"] >= 0.139
    assert {row["boundary"] for row in record["equal_time"]} == {"macro_only", "with_buffers", "system"}


@pytest.mark.parametrize("path", ["equal_time.0.which", "equal_time.99.macros", "claims.0.text",
                                  "claims.0.ours_range.0", "estimate.drivers.system.0.driver",
                                  "estimate.headline.system.nothing"])
def test_what_is_no_figure_is_refused(on_disk: tuple[Path, dict[str, Any]], path: str) -> None:
    with pytest.raises(BadInput, match=r"^path "):
        trace_report(*on_disk, path)


def test_a_figure_is_a_text_and_a_path() -> None:
    assert Figure("1 J", "a") != Figure("1 J", "b")
