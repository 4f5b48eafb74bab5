"""Page, text and plots: they say what the record says, stand alone, and read on a telephone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from system.report.html import html_page
from system.report.markdown import markdown_page
from system.report.plots import draw_figures
from system.report.run import render_files
from system.report.summary import print_summary
from system.report.view import banner, sections
from system.report.view_parts import percent, span

_VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Balanced(HTMLParser):
    """Fails on a tag that closes another; collects ids and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_is_whole_and_stands_alone(page: str) -> None:
    parser = _Balanced()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))
    assert "<script" not in page
    fetched = re.findall(r"""(?:src|href|url\()\s*=?\s*["'(]?\s*(https?:[^"')\s]+)""", page)
    assert [link for link in fetched if "w3.org" not in link] == []
    assert 'name="viewport"' in page
    assert "@media print" in page


def test_claims_come_first_with_their_values(page: str, record: dict[str, Any]) -> None:
    page = page.replace("\u00a0", " ")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles[0] == "The paper&#39;s claims beside ours"
    assert titles[-1] == "Not valid for"
    for shown in ("91.2 %", "13.9 %", "769.2 Kb/mm²"):
        assert shown in page
    ours = record["claims"][0]["ours"][2]
    assert span(ours["range"], percent) in page
    assert f"{percent(ours['nominal'])} ({span(ours['interval'], percent)})" in page


def test_every_table_and_figure_says_where_it_comes_from(page: str, record: dict[str, Any]) -> None:
    parts = sections(record)
    marks = sum(len(part.grids) + len(part.pictures) for part in parts)
    assert page.count('class="status"') == marks
    allowed = {"fresh", "shipped", "mixed", "run", "cached", "cited cell areas", "cited measurements"}
    assert {grid.status for part in parts for grid in part.grids} <= allowed
    assert {picture.status for part in parts for picture in part.pictures} <= allowed


def test_shipped_tables_are_said_loudly(record: dict[str, Any], figures: dict[str, str]) -> None:
    record["status"] = "shipped"
    record["characterisation"]["campaign"] = {"status": "shipped", "preset": "quick", "reason": "no libngspice"}
    assert banner(record).loud
    page = html_page(record, sections(record), figures)
    assert 'class="banner loud">SHIPPED TABLES: no simulation ran for this page, because no libngspice' in page
    assert "Nothing was simulated for this page: no libngspice." in page


def test_a_report_without_training_says_so(record: dict[str, Any]) -> None:
    record["training"] = {"status": "not run", "reason": "torch is not installed"}
    files = render_files(record)
    assert "No training ran for this page: torch is not installed." in str(files["report.md"])
    assert "figures/training_loss.svg" not in files


def test_markdown_has_the_same_sections_and_only_pictures_that_exist(record: dict[str, Any],
                                                                     figures: dict[str, str]) -> None:
    parts = sections(record)
    text = markdown_page(record, parts, "figures")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [part.title for part in parts]
    linked = re.findall(r"\(figures/(\w+)\.svg\)", text)
    assert set(linked) == set(figures)
    widths = [line.count(" | ") for line in text.splitlines() if line.startswith("| figure")]
    assert widths == [5]


def test_plots_have_units_on_their_axes_and_are_the_same_each_time(record: dict[str, Any],
                                                                   figures: dict[str, str]) -> None:
    assert draw_figures(record) == figures
    for name, svg in figures.items():
        ElementTree.fromstring(svg)
        assert f'id="{name}-' in svg
    assert "supply (V)" in figures["delay_vs_vdd"]
    assert "area (µm²)" in figures["area"]
    assert re.search(r">\d+ µ?m?J<", figures["energy_system"])
    assert re.search(r">[\d.]+ [µm]?s<", figures["headline_time"])


def test_a_renderer_reads_only_the_record(record: dict[str, Any]) -> None:
    """Change a stored value and the page follows, though no sum fits any more: nothing is computed anew."""
    record["estimate"]["imc"]["system"]["energy_j_per_image"] = 123.0
    assert "123 J" in markdown_page(record, sections(record), "figures")


def test_summary_shows_claims_and_energies(record: dict[str, Any]) -> None:
    console = Console(record=True, width=100, file=None, force_terminal=False)
    with console.capture() as captured:
        print_summary(record, console)
    text = captured.get()
    assert "91.2 %" in text
    assert "energy an image" in text
    assert "tables: fresh" in text
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize(("value", "shown"), [(-0.084, "−8.4 %"), (0.912, "91.2 %"), (0.0, "0.0 %")])
def test_percent_has_a_true_minus(value: float, shown: str) -> None:
    assert percent(value) == shown


def test_span_says_a_shared_unit_once() -> None:
    assert span([1.0, 2.0], lambda v: f"{v:g} mJ") == "1 to 2 mJ"
    assert span([1.0, 2.0], lambda v: f"{v:g} mJ" if v > 1 else f"{v:g} µJ") == "1 µJ to 2 mJ"
    assert span([1.0, 1.0], lambda v: f"{v:g} mJ") == "1 mJ"


def test_what_the_macro_stands_on_is_said_on_the_page(record: dict[str, Any], figures: dict[str, str]) -> None:
    """The sample's tables hold no Monte Carlo; a recorded statistic and a tree between sizes are added."""
    estimate = record["estimate"]
    estimate["beyond"] = [{"field": "zero_share", "asked": 0.63, "priced": 0.5, "low": 0.0, "high": 0.5,
                           "table": "block_energy_j"}]
    estimate["blocks"].append({"block": "fused_tree", "source": "between", "miss": 0.052,
                               "circuits": ["fused_tree_64x20"]})
    page = html_page(record, sections(record), figures)
    assert "These tables hold no Monte Carlo: clock and time are without mismatch, which would slow them." in page
    assert "Zero_share 0.63: the tables end at 0.5, where it is priced." in page
    assert "taken from those of 64x20, which miss a size between by up to: fused_tree 5.2%." in page
