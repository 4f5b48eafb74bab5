"""The commands: what they print, the exit status, and that every one shows an example."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from fake_bench import BENCHES, FakeEngine, FakePoint, kit
from typer.testing import CliRunner

import charlib.cli
import charlib.cli_pdk
import charlib.export.data
from charlib.benches.base import Run
from charlib.campaign.fold import Folded, Hole
from charlib.campaign.kit_check import Finding
from charlib.cli import register
from charlib.errors import BadInput, HimcError
from charlib.pdk import KITS, load_pdk
from charlib.table import Origin, Table, load_tables, save_tables
from charlib.terminal import HimcGroup

app = typer.Typer(cls=HimcGroup)
register(app)


def himc(*words: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error)."""
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A toy kit, bench and engine, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HIMC_DB", raising=False)
    monkeypatch.setenv("HIMC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(charlib.cli, "BENCHES", BENCHES)
    monkeypatch.setattr(charlib.cli, "LiveEngine", FakeEngine)
    monkeypatch.setattr(charlib.cli, "load_pdk",
                        lambda name: kit(tmp_path / "kit") if name == "toy" else load_pdk(name))
    return tmp_path


def test_every_command_shows_an_example() -> None:
    for words in (["characterize"], *(["tables", c] for c in ("list", "show", "query", "export")),
                  *(["pdk", c] for c in ("list", "install", "show", "check"))):
        status, out, _ = himc(*words, "--help")
        assert status == 0
        assert re.search(r"Examples?: himc " + " ".join(words), " ".join(out.split()))


def test_characterize_then_tables(toy: Path) -> None:
    status, out, _ = himc("characterize", "--pdk", "toy", "--quiet", "--jobs", "2", "--out", "t")
    assert status == 0
    assert re.match(r"6 runs: 6 simulated, 0 reused, 0 failed; \d+\.\d s, solver 0\.0 s\n"
                    r"1 tables in t; runs in himc\.sqlite\n$", out)
    again = himc("characterize", "--pdk", "toy", "--quiet", "--out", "t")[1]
    assert again.startswith("6 runs: 0 simulated, 6 reused")
    assert load_tables(Path("t"))["fake_v"].origin.status == "fresh"
    assert "fake_v" in himc("tables", "list", "--tables", "t")[1]
    where = ("corner=tt", "temp_c=25", "size=2")
    assert himc("tables", "query", "fake_v", *where, "vdd_v=0.85", "--tables", "t")[:2] == (0, "1.7 V (1.7 V)\n")
    shown = himc("tables", "show", "fake_v", *where, "--tables", "t")[1]
    assert shown.startswith("fake_v in V, fresh: toy, fake-1, ")
    assert "vdd_v: 0.8, 0.9, 1.0 V" in shown
    csv = himc("tables", "export", "fake_v", "--tables", "t")[1].splitlines()
    assert csv[0] == "table,unit,corner,temp_c,vdd_v,size,value,run,pdk,pdk_sha256,engine,revision,status"
    assert len(csv) == 7
    assert himc("tables", "export", "--format", "json", "--out", "t.json", "--tables", "t")[0] == 0
    assert json.loads(Path("t.json").read_text())[0]["name"] == "fake_v"


def test_a_campaign_says_what_it_is_about_to_run() -> None:
    words = ("characterize", "--pdk", "toy", "--jobs", "2", "--out", "t")
    _, _, first = himc(*words)
    assert first.startswith("6 runs, 0 of them in himc.sqlite; 6 to simulate, time not known yet (no past runs)"
                            "; stop it when you like, the same command goes on\n")
    _, _, again = himc(*words)
    assert "to simulate" not in again


def test_tables_of_a_kit_without_any_are_refused_by_name() -> None:
    status, _, said = himc("tables", "list", "--pdk", "nope")
    assert (status, said.partition(";")[0]) == (2, "himc: pdk: no tables of 'nope' travel with the package")
    assert "freepdk45" in said
    assert himc("blocks", "list", "--pdk", "nope")[0] == 2


def test_the_list_keeps_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = himc("tables", "list")
    assert "shift_accumulator_energy_j" in out
    assert "shipped, freepdk45, ngspice-39" in out


def test_a_campaign_file_and_a_dry_run(toy: Path) -> None:
    Path("c.yaml").write_text("pdk: toy\ncorner: [tt, ss]\ntemp_c: 25\nvdd_v: [0.8, 0.9]\njobs: 2\ndb: x.sqlite\n")
    assert himc("characterize", "c.yaml", "--dry-run")[:2] == (
        0, "quick on toy:\n  fake: 8 runs, 0 stored, 8 to simulate, time unknown (no past runs)\n"
           "8 runs, 0 of them in x.sqlite; 8 to simulate, time not known yet (no past runs)\n")
    assert not Path("x.sqlite").exists()
    assert himc("characterize", "c.yaml", "--quiet", "--corner", "tt")[0] == 0
    assert himc("characterize", "c.yaml", "--dry-run")[:2] == (
        0, "quick on toy:\n  fake: 8 runs, 4 stored, 4 to simulate, about 0.004 s of solver (from 4 past runs)\n"
           "8 runs, 4 of them in x.sqlite; 4 to simulate, about 0.002 s on 2 workers (from 4 past runs)\n")
    assert load_tables(Path("tables/toy"))["fake_v"].axis("corner").points == ("tt",)


def test_a_failed_point_is_named_and_ends_in_1(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePoint, "__post_init__", lambda self: object.__setattr__(
        self, "mode", "never" if self.size == 2 and self.vdd_v == 0.9 else "ok"))
    status, _, err = himc("characterize", "--pdk", "toy", "--quiet", "--out", "t")
    assert status == 1
    assert re.match(
        r"^no result: fake at corner=tt temp_c=25.0 vdd_v=0.9 size=2 mode=never: timestep too small \(run \w{16}\)\n"
        r"the log of a run: himc db show \w{16} --db himc\.sqlite; the same with --deck prints its deck\n"
        r"himc: tables: 1 points have no result, the first is fake at [^\n]+; 'himc db show \w{16}' prints its log, "
        r"with the campaign's --db; to try again, give the same command with --retry-failed\n$",
        err)
    (advised,) = re.findall(r"himc (db show .* --db .*?);", err)
    status, shown, _ = himc(*advised.split())
    assert status == 0
    assert re.match(r"run \w{16}: fake on toy, fake-1, \S+\n  corner=tt temp_c=25\.0 vdd_v=0\.9 size=2 mode=never\n"
                    r"status: failed; timestep too small\n", shown)
    assert "end of the simulator's log:\n  the last line of the log\n" in shown
    assert himc(*advised.split(), "--deck")[1].rstrip().endswith(".end")
    assert himc("db", "show", "--deck")[2].startswith("himc: deck: a run is needed whose deck to print; give its id")
    table = Table.load(Path("t/fake_v.json"))  # whole at the other supplies, with a hole at this one
    assert table.holes() == tuple(f"corner=tt, temp_c=25.0, vdd_v=0.9, size={size}" for size in (1.0, 2.0))
    with pytest.raises(BadInput, match="hole"):
        table.at(corner="tt", temp_c=25.0, vdd_v=0.95, size=1.0)


@pytest.mark.parametrize(("words", "message"), [
    (["--preset", "big"], "preset: 'big' is unknown; known are quick, pvt, full, mismatch"),
        (["--tolerance", "3"], "tolerance: a share above 0 and at most 1 is needed, got 3"),
        (["--samples", "9"], "samples: it belongs to preset mismatch; give --preset mismatch or leave it out"),
    (["--pdk", "nix"], f"pdk: 'nix' is unknown; known are {', '.join(KITS)}, and a path to a pdk.toml"),
    (["--corner", "sf"], "corner: 'sf' is not in PDK 'toy'; it has tt, ss, ff"),
    (["--vdd-v", "-1"], "vdd_v: -1 V is outside 0.5..1.2 V of PDK 'toy'"),
    (["--temp-c", "400"], "temp_c: 400 °C is outside -40..125 °C of PDK 'toy'"),
    (["--bench", "nose"], "bench: 'nose' is unknown; known are fake"),
    (["--jobs", "0"], "jobs: at least 1 worker is needed, got 0"),
    (["none.yaml"], "campaign none.yaml: cannot be read (No such file or directory); give a YAML file"),
])
def test_bad_input_is_one_line_and_exit_2(toy: Path, words: list[str], message: str) -> None:
    pdk = [] if "--pdk" in words else ["--pdk", "toy"]
    assert himc("characterize", *pdk, *words) == (2, "", f"himc: {message}\n")


def test_a_truncated_database_is_refused_by_the_command(toy: Path) -> None:
    assert himc("characterize", "--pdk", "toy", "--quiet")[0] == 0
    path = Path("himc.sqlite")
    path.write_bytes(path.read_bytes()[:5000])
    status, _, err = himc("characterize", "--pdk", "toy", "--quiet")
    assert status == 2
    assert re.match(r"^himc: database himc\.sqlite: damaged or not a database \([^\n]+\); it was left as it is, "
                    r"restore it or give another --db\n$", err)
    assert path.stat().st_size == 5000


@pytest.mark.parametrize(("words", "message"), [
    (["query", "nose"], "Table 'nose': not in t; it holds fake_v"),
    (["query", "fake_v", "vdd_v"], "coordinate 'vdd_v': AXIS=VALUE is needed; table 'fake_v' has corner, temp_c, "
                                   "vdd_v, size"),
    (["query", "fake_v", "vdd_v=x"], "coordinate 'vdd_v=x': vdd_v takes a number in V"),
    (["query", "fake_v", "vdd_v=1", "vdd_v=1"], "coordinate 'vdd_v=1': vdd_v stands twice; give it once"),
    (["query", "fake_v", "corner=tt", "temp_c=25", "size=1", "vdd_v=2"],
     "Table 'fake_v': vdd_v spans [0.8, 1] V, asked for 2 V; run a campaign that covers it or ask inside"),
    (["export", "--format", "nose"], "format: 'nose' is unknown; known are csv, parquet, netcdf, json, liberty, "
                                     "hwcomponents, zigzag, neurosim"),
    (["export", "--format", "parquet"], "out: parquet is binary and needs a file; give --out FILE.parquet"),
    (["export", "--out", "no/such/folder.csv"],
     "out: no/such/folder.csv cannot be written (No such file or directory)"),
])
def test_bad_questions_to_tables(toy: Path, words: list[str], message: str) -> None:
    runs = [Run("r", FakePoint("tt", 25.0, vdd_v, size), {"out_v": 1.0}) for vdd_v in (0.8, 1.0) for size in (1, 2)]
    save_tables(Path("t"), BENCHES["fake"].fold(runs, Origin("toy", "00", "fake-1", "r", "fresh", "2020-01-01")))
    assert himc("tables", *words, "--tables", "t") == (2, "", f"himc: {message}\n")


def test_parquet_without_pyarrow(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charlib.export.data, "find_spec", lambda name: None)
    assert himc("tables", "export", "--format", "parquet", "--out", "a.parquet") == (
        2, "", "himc: format: 'parquet' needs pyarrow; run 'pip install \"hadamard-imc[export]\"' or use csv\n")


def test_pdk_commands(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "freepdk45" in himc("pdk", "list")[1]
    assert himc("pdk", "show", "freepdk45") == (
        2, "", f"himc: pdk: 'freepdk45' is not installed in {toy / 'cache'}; run 'himc pdk install freepdk45'\n")
    monkeypatch.setattr(charlib.cli_pdk, "load_pdk", lambda name: kit(toy / "kit"))
    monkeypatch.setattr(charlib.cli_pdk, "LiveEngine", FakeEngine)
    shown = himc("pdk", "show", "toy")[1]
    assert "corner ss: ss.inc sha256 " in shown
    assert "lmin_m: 50 nm  [no source]" in shown
    findings = [Finding("tt nmos", True, "fine")]
    monkeypatch.setattr(charlib.cli_pdk, "check_kit", lambda pdk, engine, watch: findings)
    assert himc("pdk", "check", "toy", "--quiet") == (0, "ok   tt nmos: fine\ntoy behaves: 1 checks\n", "")
    findings.append(Finding("ss nmos", False, "dead"))
    status, out, err = himc("pdk", "check", "toy", "--quiet")
    assert (status, out) == (1, "ok   tt nmos: fine\nBAD  ss nmos: dead\n")
    assert err == ("himc: pdk 'toy': 1 of 2 checks failed, the first is ss nmos; "
                   "mend toy\n")


def test_an_own_kits_wrong_answers_point_to_its_windows(toy: Path) -> None:
    folded = Folded((), (Hole("fake", "here", "r1", "and(1, 1): the circuit gives 0, right is 1"),))
    with pytest.raises(HimcError, match=r"right is 1.*; a circuit that is only too slow .* unit_ps in pdk\.toml"):
        charlib.cli._whole(folded, kit(toy / "kit"))
