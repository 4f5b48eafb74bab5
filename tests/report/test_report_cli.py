"""The commands: exit status, one line for an error, nothing overwritten, and a whole run without a simulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from charlib.table import TableSet, save_tables
from system.cli import app
from system.report import cli as report_cli
from system.report import record as record_module
from system.report import run as run_module
from system.report.files import to_json, write_files
from system.report.simulate import Characterised


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Himc = Callable[..., Ended]


@pytest.fixture
def himc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Himc:
    """The command, run in this process from an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app(args=list(words), prog_name="himc")
        said = capsys.readouterr()
        return Ended(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def one_design(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other designs beside the one asked for: a second a record less."""
    monkeypatch.setattr(record_module, "ALTERNATIVES", ())


@pytest.fixture
def report_file(tmp_path: Path, record: dict[str, Any]) -> Path:
    path = tmp_path / "report.json"
    path.write_text(to_json(record), encoding="utf-8")
    return path


def test_report_renders_again(report_file: Path, himc: Himc) -> None:
    done = himc("report", str(report_file))
    assert done.returncode == 0, done.stderr
    names = {p.name for p in report_file.parent.iterdir()}
    assert {"report.md", "report.html", "figures"} <= names
    assert "energy saved" in done.stdout


@pytest.mark.parametrize(("words", "said"), [
    (("report", "nowhere.json"), "report: nowhere.json does not exist; run 'himc run --out .'"),
    (("trace", "nowhere.json", "estimate.x"), "report: nowhere.json does not exist; run 'himc run --out .'"),
    (("run", "--network", "lenet"), "network"),
    (("run", "--vdd-v", "-1"), "vdd_v"),
    (("run", "--batch", "0"), "batch: a whole number of 1 to 1048576 is allowed, got 0"),
    (("run", "--pdk", "nope"), "pdk"),
    (("run", "--preset", "huge"), "preset: 'huge' is unknown"),
    (("run", "--jobs", "0"), "jobs: at least 1 worker is needed, got 0"),
])
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, himc: Himc, words: tuple[str, ...], said: str) -> None:
    done = himc(*words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path, himc: Himc) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    done = himc("run", "--out", "out")
    assert done.returncode == 2
    assert "out: out cannot be written to" in done.stderr


@pytest.mark.ngspice
@pytest.mark.pdk
def test_a_damaged_database_leaves_the_old_report(tmp_path: Path, himc: Himc) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("old", encoding="utf-8")
    (tmp_path / "himc.sqlite").write_bytes(b"SQLite format 3\x00 cut")
    done = himc("run", "--out", "out")
    if "libngspice" in done.stderr or done.returncode == 0:
        pytest.skip("no simulator here: the database is not opened")
    assert done.returncode == 2, done.stderr
    assert "damaged or not a database" in done.stderr
    assert (out / "report.json").read_text(encoding="utf-8") == "old"


@pytest.mark.usefixtures("one_design")
def test_a_run_writes_tables_record_and_pages(tmp_path: Path, synthetic: TableSet, monkeypatch: pytest.MonkeyPatch,
                                              accounts: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The whole of `himc run` with the campaign and the training put in by hand."""
    campaign, training = accounts
    monkeypatch.setattr(run_module, "characterise", lambda *_: Characterised(synthetic, None, campaign))
    monkeypatch.setattr(run_module, "short_training", lambda *_: training)
    out = tmp_path / "out"
    report_cli.run(out=out, db=tmp_path / "runs.sqlite", quiet=True)
    record = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert record["status"] == "fresh"
    assert {table["status"] for table in record["estimate"]["origin"]["tables"]} == {"fresh"}
    assert record["estimate"]["origin"]["options"]["tables"] == str((out / "tables").resolve())
    assert {p.stem for p in (out / "tables").glob("*.json")} == set(synthetic)
    assert (out / "report.html").stat().st_size > 100_000
    assert not [p for p in out.rglob("*") if ".tmp" in p.name or ".new" in p.name]


@pytest.mark.usefixtures("one_design")
def test_a_failure_after_the_campaign_keeps_the_old_tables(tmp_path: Path, synthetic: TableSet,
                                                           monkeypatch: pytest.MonkeyPatch,
                                                           accounts: tuple[dict[str, Any], dict[str, Any]]) -> None:
    out = tmp_path / "out"
    save_tables(out / "tables", [synthetic["bitcell_energy_j"]])
    monkeypatch.setattr(run_module, "characterise", lambda *_: Characterised(synthetic, None, accounts[0]))
    monkeypatch.setattr(run_module, "short_training", lambda *_: {"status": "run", "reason": ""})
    with pytest.raises(Exception, match="does not fit the schema"):
        report_cli.run(out=out, db=tmp_path / "runs.sqlite", quiet=True)
    assert [p.stem for p in (out / "tables").glob("*.json")] == ["bitcell_energy_j"]
    assert not (out / "report.json").exists()


def test_tables_plot_draws_svg_and_png(tmp_path: Path, himc: Himc, synthetic: TableSet) -> None:
    save_tables(tmp_path / "t", [synthetic["bitcell_energy_j"], synthetic["compartment_energy_j"]])
    for name in ("a.svg", "a.png"):
        done = himc("tables", "plot", "bitcell_energy_j", "--by", "operation", "--tables", "t", "--out", name)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).stat().st_size > 5_000
    done = himc("tables", "plot", "bitcell_energy_j", "--tables", "t", "--out", "a.bmp")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "out: 'a.bmp' must end in .svg or .png" in done.stderr


def test_an_estimate_of_its_own_can_be_traced(tmp_path: Path, synthetic: TableSet) -> None:
    file = tmp_path / "estimate.json"
    tables = tmp_path / "tables"
    save_tables(tables, list(synthetic.values()))
    done = CliRunner().invoke(app, ["estimate", "mobilenet_v1", "--image-px", "32", "--tables", str(tables), "--json",
                                    str(file)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["trace", str(file), "imc.macro_only.energy_j_per_image"])
    assert done.exit_code == 0, done.output
    assert "compartment_energy_j" in done.output
    assert "--db gives the database" in done.output


def test_a_report_of_another_version_is_refused(record: dict[str, Any], tmp_path: Path, himc: Himc) -> None:
    older = {name: part for name, part in record.items() if name != "traces"}
    (tmp_path / "report.json").write_text(to_json(older), encoding="utf-8")
    done = himc("report", str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "is of another version (report: $ does not fit the schema: 'traces' is a required property)" in line


@pytest.mark.parametrize("name", ['x"><script>alert(1)</script>', "../../outside", "a\nb"])
def test_a_foreign_report_writes_no_script_and_nothing_outside(record: dict[str, Any], tmp_path: Path, himc: Himc,
                                                               name: str) -> None:
    record["characterisation"]["figures"][0]["id"] = name
    (tmp_path / "report.json").write_text(json.dumps(record), encoding="utf-8")
    done = himc("report", str(tmp_path / "report.json"))
    assert done.returncode == 2
    assert "characterisation.figures[0].id does not fit the schema" in done.stderr
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(BadInput, match=r"^out: a file named '\.\./x\.svg' would lie outside"):
        write_files(tmp_path, {"../x.svg": ""})


def test_a_name_with_tags_and_links_stays_text(record: dict[str, Any], tmp_path: Path, himc: Himc) -> None:
    hostile = "<script>alert(1)</script>[x](javascript:alert(1))"
    record["limits"][0] = record["estimate"]["gpu"][0]["name"] = hostile
    (tmp_path / "report.json").write_text(json.dumps(record), encoding="utf-8")
    assert himc("report", str(tmp_path / "report.json")).returncode == 0
    for page in ("report.html", "report.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert "alert(1)" in text
        assert "<script" not in text
    assert "](javascript" not in (tmp_path / "report.md").read_text(encoding="utf-8")
