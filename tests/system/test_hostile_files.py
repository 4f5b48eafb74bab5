"""A user's files that hold what no such file can: each is refused in a line that names it, without a traceback."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from charlib.pdk.user_kit import read_user_kit
from system.activity import options_of
from system.activity import read as read_activity
from system.cli import app
from system.explore.space import MOST_STEPS, read_space
from system.gpu import load_rows

HUGE = "1" + "0" * 330
#: more digits than Python writes or reads
DIGITS, HEX = "8" * 4700, "0x" + "e" * 4300


def kit(folder: Path, field: str, value: str) -> Path:
    """The example kit with another value of a field, which stands in it once or as the first."""
    text = resources.files("charlib.data").joinpath("pdk.example.toml").read_text(encoding="utf-8")
    changed, count = re.subn(rf"(?m)^(# *)?{field} = .*$", lambda _: f"{field} = {value}", text, count=1)
    assert count == 1
    path = folder / "pdk.toml"
    path.write_text(changed)
    return path


@pytest.mark.parametrize("value", [HUGE, f"-{HUGE}", DIGITS, HEX])
@pytest.mark.parametrize("field", ["nominal_v", "lmin_m", "wire_ohm_per_m", "unit_ps", "avt_nmos_mv_um"])
def test_a_number_that_no_float_holds_is_refused(tmp_path: Path, field: str, value: str) -> None:
    path = kit(tmp_path, field, value)
    with pytest.raises(BadInput, match=f"^pdk {re.escape(str(path))}: ") as refused:
        read_user_kit(path)
    assert len(str(refused.value)) < 400 + len(str(path))
    assert value == DIGITS or field in str(refused.value)


@pytest.mark.parametrize(("field", "value"), [("range_v", f"[{HUGE}, 1.2]"), ("name", HEX), ("prune", HUGE),
                                              ("root", f'"{"deep" * 90}"')])
def test_other_values_of_a_kit_are_refused(tmp_path: Path, field: str, value: str) -> None:
    path = kit(tmp_path, field, value)
    with pytest.raises(BadInput, match=f"^pdk {re.escape(str(path))}: "):
        read_user_kit(path)


def test_a_kit_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pdk.toml"
    path.write_text("name = " + "[" * 60_000)
    with pytest.raises(BadInput, match=r"not TOML that can be read \(its values are nested too deep\)$"):
        read_user_kit(path)
    done = CliRunner().invoke(app, ["estimate", "mobilenet_v1", "--pdk", str(path)])
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (2, True)
    assert "is no pdk.toml with a name" in done.output


@pytest.mark.parametrize("axis", ["compartments", "macros", "batch", "vdd_v"])
@pytest.mark.parametrize(("given", "message"), [
    ("{from: 2, to: 9, steps: 400000000}", f"steps: 2 to {MOST_STEPS} are allowed, got 400000000"),
    ("{from: -1.5e308, to: 1.5e308, steps: 4}", "is further than numbers reach; give a shorter range"),
    ("{from: 3e-322, to: 1.2e308, steps: 6, scale: log}", "is further than numbers reach; give a shorter range"),
])
def test_a_range_without_end_is_refused_with_its_line(tmp_path: Path, axis: str, given: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"network: resnet18\nvary:\n  rows: [16]\n  {axis}: {given}\n")
    with pytest.raises(BadInput, match=f"^space {re.escape(str(path))}: line 4: .*{re.escape(message)}"):
        read_space(path)


def rows(folder: Path, column: str, value: str) -> Path:
    """Two shipped rows, one cell of the second changed; a comment in front, which counts as a line."""
    text = resources.files("system.data").joinpath("gpu_rows.csv").read_text(encoding="utf-8")
    head, *found = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))[:3]
    found[1][head.index(column)] = value
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        file.write("# mine\n")
        csv.writer(file).writerows([head, *found])
    return path


@pytest.mark.parametrize("column", ["gpu", "images_per_s", "source"])
def test_a_field_longer_than_csv_takes_is_refused_with_its_line(tmp_path: Path, column: str) -> None:
    path = rows(tmp_path, column, "y" * 132_000)
    with pytest.raises(BadInput, match=f"{re.escape(str(path))}, line 4: not CSV "
                                       r"\(field larger than field limit \(131072\)\); save the file as CSV"):
        load_rows(path)


def test_a_header_longer_than_csv_takes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("z" * 150_000)
    with pytest.raises(BadInput, match="line 1: not CSV"):
        load_rows(path)


LAYERS: dict[str, Any] = {
    "a layer a number": {"conv1": 3}, "a pass a list": {"conv1": {"forward": [1]}},
    "words for counts": {"conv1": {"forward": {"samples": 2, "macs": "many", "serial_zero_share": 0.5}}},
    "truth for counts": {"conv1": {"forward": {"samples": True, "macs": 3}}},
    "below zero": {"conv1": {"forward": {"samples": 2, "macs": -5, "serial_zero_share": 0.5}}},
    "a huge count": {"conv1": {"forward": {"samples": 2, "macs": 10**400, "serial_zero_share": 0.5}}},
    "not a number": {"conv1": {"forward": {"samples": 2, "macs": float("nan"), "serial_zero_share": 0.5}}},
}


@pytest.mark.parametrize("what", LAYERS)
def test_a_record_of_activity_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "activity.json"
    path.write_text(json.dumps({"schema": "himc-activity-1", "layers": LAYERS[what]}))
    with pytest.raises(BadInput, match=f"^activity: '{re.escape(str(path))}': layers.conv1: statistics by pass"):
        options_of(read_activity(path))


READERS: dict[str, Callable[[Path], object]] = {
    "kit": read_user_kit, "space": read_space, "rows": load_rows, "activity": read_activity}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"\xff\xfe\x01",
                                     b"[" * 70_000, b"{" * 70_000, b'"' * 999, b"9" * 6000])
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, reader: str, content: bytes) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=re.escape(str(path))):
        READERS[reader](path)
