"""Table.plot, and the commands export and plot."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from charlib import cli_tables
from charlib.errors import BadInput
from charlib.table import TableSet, save_tables
from charlib.terminal import HimcGroup


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: TableSet) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tables(tmp_path / "t", list(small.values()))
    return tmp_path


def himc(*words: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of `himc tables …` on the tables in ./t."""
    app = typer.Typer(cls=HimcGroup)
    app.add_typer(cli_tables.tables_app, name="tables")
    app.command("other")(lambda: None)
    done = CliRunner().invoke(app, ["tables", *words, "--tables", "t"])
    return done.exit_code, done.stdout, done.stderr


def lines_of(axes: Any) -> dict[str, tuple[list[float], list[float]]]:
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()}


def test_a_plot_draws_the_values_it_names(small: TableSet) -> None:
    pytest.importorskip("matplotlib").use("agg")
    table = small["cell_energy_j"]
    axes = table.plot("load_f", "cell", corner="ss", vdd_v=0.8)
    drawn = lines_of(axes)
    assert set(drawn) == set(map(str, table.axis("cell").points))
    for cell, (loads, values) in drawn.items():
        assert loads == [5e-16, 4e-15]
        want = table.at(corner="ss", temp_c=25.0, vdd_v=0.8, cell=cell, slew_s=1e-11, load_f=np.array(loads))
        np.testing.assert_allclose(values, want, rtol=1e-12)
    assert axes.get_title() == "cell_energy_j, freepdk45\ncorner=ss, temp_c=25, vdd_v=0.8, slew_s=1e-11"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("load_f (F)", "cell_energy_j (J)")


def test_what_is_not_named_is_held_at_the_usual_point(small: TableSet) -> None:
    pytest.importorskip("matplotlib").use("agg")
    axes = small["dff_leakage_w"].plot()  # x: the last numeric axis with several points
    (line,) = lines_of(axes).values()
    assert line[0] == [0.8, 1.0]
    want = [small["dff_leakage_w"].at(corner="tt", temp_c=25.0, vdd_v=vdd_v) for vdd_v in line[0]]
    assert line[1] == pytest.approx(want, rel=1e-12)


def test_a_hole_breaks_the_line(build: Callable[..., TableSet]) -> None:
    pytest.importorskip("matplotlib").use("agg")
    table = build(without=({"corner": "tt", "temp_c": 25.0, "cell": "inv", "slew_s": 1e-11, "load_f": 5e-16,
                            "vdd_v": 0.8},))["cell_energy_j"]
    values = lines_of(table.plot("vdd_v", "cell"))["inv"][1]
    assert np.isnan(np.ma.filled(values[0], np.nan))
    assert np.isfinite(values[1])


@pytest.mark.parametrize(("words", "held", "message"), [
    (("nose",), {}, r"^Table 'dff_energy_j': 'nose' is no axis; it has "),
    (("vdd_v", "vdd_v"), {}, r"vdd_v is drawn, so it can neither be held nor drawn twice$"),
    (("vdd_v",), {"vdd_v": 1.0}, r"vdd_v is drawn, so it can neither be held nor drawn twice$"),
    ((), {"temp_c": 25.0, "vdd_v": 1.0}, r"no numeric axis with several points is left; name one with x$"),
    (("vdd_v",), {"corner": "sf"}, r"corner has ss, tt; asked for sf$"),
])
def test_a_plot_refuses(small: TableSet, words: tuple[str, ...], held: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        small["dff_energy_j"].plot(*words, **held)


def test_without_matplotlib(small: TableSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_plot(*_: object, **__: object) -> None:
        raise ImportError("matplotlib is required for plotting")

    monkeypatch.setattr(pd.DataFrame, "plot", no_plot)
    with pytest.raises(BadInput, match=r"^plot: matplotlib is not installed; run 'pip install matplotlib'$"):
        small["dff_leakage_w"].plot("vdd_v")


@pytest.mark.parametrize(("fmt", "begins"), [
    ("csv", b"table,unit,"), ("netcdf", b"CDF\x02"), ("json", b"[\n"), ("zigzag", b"# Made by 'himc tables export'"),
    ("neurosim", b"// Made by"), ("hwcomponents", b"# Made by"),
])
def test_every_format_is_a_file(here: Path, fmt: str, begins: bytes) -> None:
    assert himc("export", "--format", fmt, "--out", "o") == (0, "", "")
    assert (here / "o").read_bytes().startswith(begins)
    assert [path.name for path in here.iterdir() if "tmp" in path.name] == []
    status, out, _ = himc("export", "--format", fmt)
    assert (status, out.encode()[:1]) == ((2, b"") if fmt == "netcdf" else (0, begins[:1]))


def test_areas_and_point_reach_the_file(here: Path) -> None:
    status, out, _ = himc("export", "--format", "zigzag", "--area", "nand2=0.8", "--area", "dff=4.5",
                          "--node-nm", "28", "--corner", "ss", "--temp-c", "125", "--vdd-v", "0.8")
    assert status == 0
    for line in ('"nd2_area": 8e-07,', '"dff_area": 4.5e-06,', '"xor2_area": None,', '"tech_node": 0.028,',
                 "# Operating point: corner ss, 125 °C, 0.8 V."):
        assert line in out


@pytest.mark.parametrize(("words", "message"), [
    (["export", "--area", "nand2"], "area: 'nand2' is not CELL=UM2; write it as nand2=0.798"),
    (["export", "--format", "netcdf"], "out: netcdf is binary and needs a file; give --out FILE.netcdf"),
    (["export", "--format", "zigzag", "dff_energy_j"],
     "table: 'dff_energy_j' cannot be exported alone as zigzag, which is made from all tables; leave it out"),
    (["export", "--out", "no/such/o"], "out: no/such/o cannot be written (No such file or directory)"),
    (["export", "nose"], "Table 'nose': not in t; it holds "),
    (["plot", "dff_energy_j", "--out", "a.bmp"], "out: 'a.bmp' must end in .svg or .png"),
    (["plot", "dff_energy_j", "vdd_v=1"], "Table 'dff_energy_j': vdd_v is drawn, so it can neither be held nor "),
])
def test_bad_words(here: Path, words: list[str], message: str) -> None:
    status, out, err = himc(*words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"himc: {message}")


def test_plot_writes_a_picture(here: Path) -> None:
    pytest.importorskip("matplotlib")
    assert himc("plot", "dff_energy_j", "--by", "event", "--out", "a.png", "corner=ss") == (0, "a.png\n", "")
    assert (here / "a.png").read_bytes().startswith(b"\x89PNG")
    assert himc("plot", "dff_energy_j")[:2] == (0, "dff_energy_j.svg\n")
    assert "<svg" in (here / "dff_energy_j.svg").read_text(encoding="utf-8")


def test_exporting_imports_no_matplotlib(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *rest: Any, **named: Any) -> Any:
        assert not name.startswith("matplotlib"), "charlib imported matplotlib"
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", guarded)
    assert himc("export", "--format", "csv")[0] == 0
