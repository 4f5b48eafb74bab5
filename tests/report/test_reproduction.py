"""The reproduction page: every figure of it leads back, and reads as the record says."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from charlib.errors import BadInput
from charlib.table import TableSet, save_tables
from system.gpu import Measurement, gpu_rows
from system.gpu_median import apart
from system.networks import build_network
from system.report.reproduction import Figure, page, tables
from system.report.trace import trace_report
from system.report.view_system import rows_sentence, source_name

_UNITS = {"J": 1.0, "mJ": 1e-3, "µJ": 1e-6, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "%": 1e-2, "mm²": 1.0, "Kb/mm²": 1.0,
          "W": 1.0, "µm²": 1e-6, "×": 1.0, "": 1.0}


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
    text = page(record).replace("\u00a0", " ")
    for said in ("91.2 %", "13.9 %", "769.2 Kb/mm²", "3.5 ×"):
        assert said in text
    named = set(re.findall(r"`((?:estimate|claims|equal_time|alternatives)[\w.]+)", text))
    assert {f.path for t in tables(record) for f in t.figures() if not f.path.endswith(".1")} == named


def test_the_energy_at_the_papers_time_saving(record: dict[str, Any]) -> None:
    for row in record["equal_time"]:
        assert row["macros"] is None or row["time_fraction"] >= 0.139
    assert {row["boundary"] for row in record["equal_time"]} == {"macro_only", "with_buffers", "system"}


def test_each_accounting_of_the_gpu_has_its_savings(record: dict[str, Any]) -> None:
    estimate = record["estimate"]
    table = next(t for t in tables(record) if t.title == "Energy saved, by the GPU's accounting")
    assert sum(int(str(row[2])) for row in table.rows) == len(estimate["gpu"])
    for row in table.rows:
        ends = row[-1] if isinstance(row[-1], tuple) else (row[-1], row[-1])
        low, high = (shown(end.text) for end in ends if isinstance(end, Figure))
        ours = estimate["imc"]["system"]["energy_j_per_image"]
        savings = [1 - ours / gpu["energy_j_per_image"] for gpu in estimate["gpu"]
                   if (source_name(gpu["power_source"]), source_name(gpu["time_source"])) == row[:2]
                   and row[3] == ("yes" if gpu["headline"] else "no: FP32" if apart(gpu) else "no")]
        assert (low, high) == pytest.approx((min(savings), max(savings)), abs=6e-4)


def test_what_is_said_of_the_gpus_rows_follows_them() -> None:
    network = build_network("mobilenet_v1")
    own = Measurement("Own Card", "mobilenet_v1", "amp", 224, 64, 900.0, 200.0, 250.0, 0.98, 5e11, "measured",
                      "run 1")
    shipped = [asdict(row) for row in gpu_rows("rtx3060", network, 64)]
    assert all(row["composed"] for row in shipped)  # else docs/method.md has to say so
    assert rows_sentence(shipped).startswith("None of them was measured in one run on the card itself: each is")
    carried = rows_sentence([asdict(row) for row in gpu_rows("rtx3060", network, 64, [own])])
    assert re.search(r"\d+ carry time and share of TDP from one and the same measured run of another card\.", carried)
    alone = rows_sentence([asdict(row) for row in gpu_rows("owncard", network, 64, [own])])
    assert alone == ("1 of the 1 were measured on the card itself, power and time in one run, and 1 of these stands "
                     "in the headline.")


@pytest.mark.parametrize("path", ["equal_time.0.which", "equal_time.99.macros", "claims.0.text",
                                  "claims.0.ours_range.0", "estimate.drivers.system.0.driver",
                                  "estimate.headline.system.nothing"])
def test_what_is_no_figure_is_refused(on_disk: tuple[Path, dict[str, Any]], path: str) -> None:
    with pytest.raises(BadInput, match=r"^path "):
        trace_report(*on_disk, path)


def test_a_figure_is_a_text_and_a_path() -> None:
    assert Figure("1 J", "a") != Figure("1 J", "b")
