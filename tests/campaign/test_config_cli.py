"""The campaign file at the command line: what is refused, what a dry run says, several kits, `init` and `schema`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import typer
from fake_bench import BENCHES, FakeEngine, kit
from typer.testing import CliRunner

import charlib.cli
from charlib.campaign import Campaign, Job, RunRow, Store, enumerate_jobs, plan_runs, run_campaign
from charlib.campaign.config import load_campaign_file
from charlib.campaign.forecast import Forecast, forecast, wall_s
from charlib.cli import register
from charlib.pdk import Pdk, load_pdk
from charlib.table import load_tables
from charlib.terminal import HimcGroup
from system.cli import app as whole_app

app = typer.Typer(cls=HimcGroup)
register(app)


def himc(*words: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def toy_kit(name: str, root: Path) -> Pdk:
    if name not in ("toy", "other"):
        return load_pdk(name)
    made: Pdk = kit(root / name, f"* cards of {name}\n")
    object.__setattr__(made, "name", name)
    return made


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two toy kits, one toy bench, and an engine that solves it, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIMC_DB", raising=False)
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(charlib.cli, "BENCHES", BENCHES)
    monkeypatch.setattr(charlib.cli, "LiveEngine", FakeEngine)
    monkeypatch.setattr(charlib.cli, "load_pdk", lambda name: toy_kit(name, tmp_path))
    return tmp_path


GRID = ("pdk: toy\ncorner: tt\ntemp_c: 25\nvdd_v: [0.8, 900mV]\n"
        "benches:\n  - kind: fake\n    grid: {size: [3, 5, 7]}\n")


def test_a_grid_of_ones_own_is_run_and_tabled() -> None:
    Path("c.yaml").write_text(GRID)
    status, out, err = himc("characterize", "c.yaml", "--quiet", "--out", "t")
    assert (status, err) == (0, "")
    assert out.startswith("6 runs: 6 simulated, 0 reused, 0 failed; ")
    table = load_tables(Path("t"))["fake_v"]
    assert [float(size) for size in table.axis("size").points] == [3.0, 5.0, 7.0]
    assert table.at(corner="tt", temp_c=25.0, vdd_v=0.9, size=5.0) == pytest.approx(4.5)


def test_a_dry_run_simulates_nothing_and_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("c.yaml").write_text(GRID)
    monkeypatch.setattr(FakeEngine, "run", lambda self, deck: pytest.fail("a deck was run"))
    assert himc("characterize", "c.yaml", "--dry-run", "--jobs", "1") == (
        0, "quick on toy:\n  fake: 6 runs, 0 stored, 6 to simulate, time unknown (no past runs)\n"
           "6 runs, 0 of them in himc.sqlite; 6 to simulate, time not known yet (no past runs)\n", "")
    assert not Path("himc.sqlite").exists()
    assert not Path("tables").exists()


def test_a_dry_run_counts_what_is_there_and_scales_past_runs() -> None:
    Path("c.yaml").write_text(GRID)
    assert himc("characterize", "c.yaml", "--quiet", "--vdd-v", "0.8")[0] == 0  # sizes 3, 5, 7 at 1 ms each
    assert himc("characterize", "c.yaml", "--dry-run", "--jobs", "1")[1] == (
        "quick on toy:\n  fake: 6 runs, 3 stored, 3 to simulate, about 0.003 s of solver (from 3 past runs)\n"
        "6 runs, 3 of them in himc.sqlite; 3 to simulate, about 0.003 s on 1 workers (from 3 past runs)\n")
    assert himc("characterize", "c.yaml", "--dry-run", "--vdd-v", "0.8")[1].splitlines()[-1] == (
        "3 runs, 3 of them in himc.sqlite; 0 to simulate")


def test_the_file_says_to_run_failed_points_again() -> None:
    never = "benches: [{kind: fake, grid: {size: 2, mode: [ok, never]}}]\npdk: toy\nvdd_v: 1\n"
    Path("c.yaml").write_text(never)
    assert himc("characterize", "c.yaml", "--quiet")[0] == 1
    assert himc("characterize", "c.yaml", "--dry-run")[1].startswith("quick on toy:\n  fake: 2 runs, 2 stored, 0 to ")
    Path("c.yaml").write_text(never + "retry_failed: true\n")
    assert himc("characterize", "c.yaml", "--dry-run")[1].startswith("quick on toy:\n  fake: 2 runs, 1 stored, 1 to ")
    assert himc("characterize", "c.yaml", "--quiet")[1].startswith("2 runs: 1 simulated, 1 reused, 1 failed")


def test_the_file_says_how_long_a_run_may_take() -> None:
    Path("c.yaml").write_text(
        "benches: [{kind: fake, grid: {size: 1, mode: hang}}]\npdk: toy\nvdd_v: 1\ntimeout_s: 1\n")
    status, out, err = himc("characterize", "c.yaml", "--quiet")
    assert status == 1
    assert "1 failed" in out
    assert re.match(r"no result: fake at [^\n]*mode=hang: [^\n]*\b1 s", err), err


def test_several_kits_get_a_folder_each() -> None:
    Path("c.yaml").write_text("pdk: [toy, other]\nvdd_v: 1\nbenches: [fake]\nout: both\n")
    status, out, _ = himc("characterize", "c.yaml", "--dry-run")
    assert status == 0
    assert [line for line in out.splitlines() if line.endswith(":")] == ["quick on toy:", "quick on other:"]
    assert himc("characterize", "c.yaml", "--quiet")[0] == 0
    assert load_tables(Path("both/toy"))["fake_v"].origin.pdk == "toy"
    assert load_tables(Path("both/other"))["fake_v"].origin.pdk == "other"
    assert himc("characterize", "c.yaml", "--quiet", "--pdk", "other", "--out", "one")[0] == 0
    assert load_tables(Path("one"))["fake_v"].origin.pdk == "other"
    assert himc("characterize", "--pdk", "toy", "--pdk", "toy") == (
        2, "", "himc: pdk: toy, toy names one twice; give each once\n")


@pytest.mark.parametrize(("text", "message"), [
    ("pdk: toy\ncorner: [tt,\n  sf]\n", "line 3: corner[1]: 'sf' is not in PDK 'toy'; it has tt, ss, ff"),
    ("pdk: toy\nvdd_v: [1, 3]\n", "line 2: vdd_v[1]: 3 V is outside 0.5..1.2 V of PDK 'toy'"),
    ("temp_c: 300\npdk: toy\n", "line 1: temp_c: 300 °C is outside -40..125 °C of PDK 'toy'"),
    ("pdk: [toy, other]\ncorner: sf\n", "line 2: corner: 'sf' is not in PDK 'toy'; it has tt, ss, ff"),
    ("jobs: 1\npdk:\n  - toy\n  - none.toml\n",
     "line 4: pdk[1]: pdk none.toml: cannot be read (No such file or directory)"),
    ("pdk: toy\nbenches:\n  - cell\n", "line 3: benches[0]: 'cell' is not allowed; allowed: a bench, or a mapping of "
                                       "kind and grid; benches: fake"),
])
def test_a_file_that_does_not_fit_is_refused_before_anything_runs(text: str, message: str) -> None:
    Path("c.yaml").write_text(text)
    assert himc("characterize", "c.yaml", "--quiet") == (2, "", f"himc: campaign c.yaml: {message}\n")
    assert not Path("himc.sqlite").exists()


def test_an_option_wins_over_a_value_that_the_kit_lacks() -> None:
    Path("c.yaml").write_text("pdk: toy\ncorner: sf\nvdd_v: 1\n")
    assert himc("characterize", "c.yaml", "--corner", "tt", "--dry-run")[0] == 0


def test_init_writes_a_valid_example_and_never_overwrites() -> None:
    status, out, _ = himc("init", "campaign", "mine.yaml")
    assert (status, out) == (
        0, "mine.yaml written; see what it would run with 'himc characterize mine.yaml --dry-run'\n")
    assert load_campaign_file(Path("mine.yaml")).pdk == ("freepdk45",)
    Path("mine.yaml").write_text("my own words")
    assert himc("init", "campaign", "mine.yaml") == (
        2, "", "himc: path: 'mine.yaml' exists and was left as it is; give another path\n")
    assert Path("mine.yaml").read_text() == "my own words"
    assert himc("init", "campaign")[0] == 0
    assert Path("campaign.yaml").read_bytes() == \
        resources.files("charlib.data").joinpath("campaign.example.yaml").read_bytes()
    Path("link.yaml").symlink_to("nowhere.yaml")
    assert himc("init", "campaign", "link.yaml")[0] == 2
    assert himc("init", "campaign", "no/such/c.yaml")[0] == 0
    assert load_campaign_file(Path("no/such/c.yaml")).pdk == ("freepdk45",)
    assert himc("init", "campaign", "mine.yaml/c.yaml") == (
        2, "", "himc: path: the folder 'mine.yaml' cannot be made (File exists); give another path\n")
    Path("folder").mkdir()
    assert himc("init", "campaign", "folder")[0] == 2


def test_the_schema_is_printed() -> None:
    done = CliRunner().invoke(whole_app, ["schema", "campaign"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads(
        resources.files("charlib.data").joinpath("campaign.schema.json").read_text(encoding="utf-8"))
    refused = CliRunner().invoke(whole_app, ["schema", "nose"])
    assert refused.exit_code == 2
    assert refused.stderr == "himc: schema: 'nose' does not exist; choose campaign or estimate or report\n"


def row(kind: str, point: dict[str, object], solver_s: float, key: str) -> RunRow:
    return RunRow(id=key, kind=kind, point=point, pdk="toy", corner="tt", temp_c=25.0, vdd_v=1.0, deck="",
                  deck_sha256="", measures={}, steps=1, solver_s=solver_s, engine="fake-1", cards={}, revision="r",
                  status="ok")


def test_the_time_is_past_time_scaled_by_the_benchs_own_estimate(toy: Path) -> None:
    """Past: 2 s and 1 s for estimates of 2 s and 4 s, so half a second for each other estimated second."""
    jobs: tuple[Job, ...] = enumerate_jobs(Campaign("quick", ("tt",), (25.0,), (1.0,)), kit(toy / "k"), BENCHES,
                                           {"fake": [{"size": size, "mode": "ok"} for size in (10, 30)]})
    planned = plan_runs(jobs, kit(toy / "k"), BENCHES, "fake-1")
    base = {"corner": "ss", "temp_c": 25.0, "vdd_v": 1.0, "mode": "ok"}
    with Store.open(toy / "s.sqlite") as store:
        assert forecast(planned, store, BENCHES) == [Forecast("fake", 2, 0, 0, None, None)]
        store.put(row("fake", {**base, "size": 2}, 2.0, "a"))
        store.put(row("fake", {**base, "size": 4}, 1.0, "b"))
        store.put(row("fake", {**base, "size": 4, "gone": 1}, 99.0, "old"))
        store.put(row("nose", {**base, "size": 4}, 99.0, "foreign"))
        (found,) = forecast(planned, store, BENCHES)
        same = plan_runs([replace(job, point=replace(job.point, size=4)) for job in jobs[:1]],  # type: ignore[call-arg]
                         kit(toy / "k"), BENCHES, "fake-1")
        assert forecast(same, store, BENCHES)[0].solver_s == pytest.approx(1.0)  # one of just this estimate took 1 s
    assert (found.runs, found.todo, found.past) == (2, 2, 2)
    assert found.solver_s == pytest.approx(20.0)
    assert found.longest_s == pytest.approx(15.0)
    assert wall_s([found], 1) == pytest.approx(20.0)
    assert wall_s([found], 4) == pytest.approx(15.0)  # the longest run bounds it
    assert wall_s([found, Forecast("nose", 1, 0, 0, None, None)], 4) is None
    assert wall_s([found, Forecast("nose", 1, 1, 0, None, None)], 4) == pytest.approx(15.0)
    assert wall_s([], 4) == 0.0


def test_the_forecast_sees_a_failed_run_as_stored_unless_it_is_run_again(toy: Path) -> None:
    pdk = kit(toy / "k")
    jobs = enumerate_jobs(Campaign("quick", ("tt",), (25.0,), (1.0,)), pdk, BENCHES,
                          {"fake": [{"size": 1, "mode": "never"}]})
    planned = plan_runs(jobs, pdk, BENCHES, "fake-1")
    with Store.open(toy / "s.sqlite") as store:
        run_campaign(jobs, store, pdk, BENCHES, FakeEngine, workers=1)
        assert forecast(planned, store, BENCHES)[0].todo == 0
        assert forecast(planned, store, BENCHES, retry_failed=True)[0].todo == 1
