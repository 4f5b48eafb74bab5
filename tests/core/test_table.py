"""Tables: interpolation, refusal, holes, round trip."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlib.errors import BadInput
from charlib.table import Axis, Origin, Table, TableSet, load_tables, save_tables

ORIGIN = Origin("freepdk45", "0" * 64, "ngspice-39", "abc", "fresh", "2026-01-01")


def plane() -> Table:
    """value = 1 + 2·load + 3·vdd, per label doubled: multilinear interpolation must be exact on it."""
    records = [
        {"op": op, "load_f": load, "vdd_v": vdd, "value": k * (1 + 2 * load + 3 * vdd), "run": f"r{op}{load}{vdd}"}
        for k, op in ((1, "and"), (2, "or"))
        for load in (1.0, 2.0, 4.0)
        for vdd in (0.8, 1.0)
    ]
    return Table.from_records("plane", "J", {"op": "", "load_f": "F", "vdd_v": "V"}, records, ORIGIN, {"a": "b"})


@given(st.sampled_from(["and", "or"]), st.floats(1, 4), st.floats(0.8, 1.0))
def test_interpolation_is_exact_on_a_plane(op: str, load: float, vdd: float) -> None:
    expected = (1 + (op == "or")) * (1 + 2 * load + 3 * vdd)
    assert plane().at(op=op, load_f=load, vdd_v=vdd) == pytest.approx(expected, rel=1e-12)


def test_interpolation_broadcasts() -> None:
    got = plane().at(op="and", load_f=np.array([[1.0], [3.0]]), vdd_v=np.array([0.8, 0.9, 1.0]))
    want = 1 + 2 * np.array([[1.0], [3.0]]) + 3 * np.array([0.8, 0.9, 1.0])
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got, want)
    labels = plane().at(op=np.array(["and", "or"]), load_f=1.0, vdd_v=0.8)
    np.testing.assert_allclose(labels, [5.4, 10.8])


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ({"op": "and", "load_f": 9.0, "vdd_v": 1.0},
         r"^Table 'plane': load_f spans \[1, 4\] F, asked for 9 F; run a campaign that covers it or ask inside$"),
        ({"op": "xor", "load_f": 1.0, "vdd_v": 1.0}, r"^Table 'plane': op has and, or; asked for xor$"),
        ({"op": "and", "load_f": float("nan"), "vdd_v": 1.0}, r"asked for nan F"),
        ({"op": "and", "load_f": 1.0}, "missing vdd_v"),
        ({"op": "and", "load_f": 1.0, "vdd_v": 1.0, "x": 1.0}, "unknown x"),
        ({"op": "and", "load_f": "1", "vdd_v": 1.0}, r"load_f takes numbers"),
    ],
)
def test_refuses(coordinates: dict[str, float | str], message: str) -> None:
    for look_up in (plane().at, plane().point):
        with pytest.raises(BadInput, match=message):
            look_up(**coordinates)


def test_a_hole_is_named_and_never_interpolated_across(tmp_path: Path) -> None:
    records = [{"a": a, "b": b, "value": a + b, "run": "x"} for a in (1.0, 2.0, 3.0) for b in (1.0, 2.0)
               if (a, b) != (3.0, 2.0)]
    table = Table.from_records("t", "J", {"a": "", "b": ""}, records, ORIGIN)
    table.save(tmp_path / "t.json")
    for one in (table, Table.load(tmp_path / "t.json")):
        assert one.holes() == ("a=3.0, b=2.0",)
        assert one.at(a=1.5, b=1.5) == pytest.approx(3.0)
        assert one.at(a=3.0, b=1.0) == pytest.approx(4.0)  # on the edge beside it: the hole has no weight
        with pytest.raises(BadInput, match=r"^Table 't': it has a hole at a=3\.0, b=2\.0, where the run failed"):
            one.at(a=2.5, b=1.5)
        with pytest.raises(BadInput, match=r"^Table 't': it has a hole at a=3\.0, b=2\.0"):
            one.at(a=np.array([1.0, 3.0]), b=np.array([1.0, 2.0]))


def test_a_value_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(BadInput, match="value nan of run x is not finite"):
        Table.from_records("t", "J", {"a": ""}, [{"a": 1.0, "value": float("nan"), "run": "x"}], ORIGIN)


def test_a_doubled_point_is_an_error() -> None:
    twice = [{"a": 1.0, "value": 1.0, "run": "x"}, {"a": 1.0, "value": 2.0, "run": "y"}]
    with pytest.raises(BadInput, match=r"^Table 't': two values at a=1\.0$"):
        Table.from_records("t", "J", {"a": ""}, twice, ORIGIN)


def test_round_trip_through_a_folder(tmp_path: Path) -> None:
    save_tables(tmp_path / "tables", [plane()])
    back = load_tables(tmp_path / "tables")["plane"]
    np.testing.assert_array_equal(back.values, plane().values)
    assert back.axes == plane().axes
    assert back.origin == ORIGIN
    assert back.conventions == {"a": "b"}
    assert back.runs.tolist() == plane().runs.tolist()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(plane().to_json())[:300])
    with pytest.raises(BadInput, match=re.escape(str(path))):
        load_tables(tmp_path)
    path.write_text("{}")
    with pytest.raises(BadInput, match="schema must be"):
        Table.load(path)


def test_missing_table_lists_those_that_exist() -> None:
    with pytest.raises(BadInput, match=r"^Table 'x': not in here; it holds plane$"):
        TableSet([plane()], "here")["x"]


def test_select_and_runs() -> None:
    cut = plane().select(op="or", vdd_v=1.0)
    assert [axis.name for axis in cut.axes] == ["load_f"]
    np.testing.assert_allclose(cut.values, 2 * (1 + 2 * np.array([1.0, 2.0, 4.0]) + 3))
    assert plane().point(op="or", load_f=2.0, vdd_v=1.0).runs == ("ror2.01.0",)
    assert len(plane().point(op="or", load_f=1.5, vdd_v=0.9).runs) == 4


@pytest.mark.parametrize("unit", ["J", "W"])
@given(st.sampled_from(["and", "or"]), st.floats(1, 4) | st.sampled_from([1.0, 2.0, 4.0, 4 * (1 + 1e-12)]),
       st.floats(0.8, 1.0) | st.sampled_from([0.8, 1.0, 0.8 * (1 - 1e-12)]))
def test_a_point_is_the_same_bits_as_an_array(unit: str, op: str, load: float, vdd: float) -> None:
    table = replace(plane(), unit=unit, spread=plane().values**2 / 100)
    where: dict[str, float | str] = {"op": op, "load_f": load, "vdd_v": vdd}
    found = table.point(**where)
    assert found.value == table.at(**where)
    assert table.spread is not None
    assert found.spread == replace(table, values=table.spread, spread=None).at(**where)
    assert plane().point(**where).spread is None


def test_frame_is_long_form() -> None:
    frame = plane().to_frame()
    assert list(frame.columns) == ["op", "load_f", "vdd_v", "value", "run"]
    assert len(frame) == 12


@pytest.mark.parametrize("points", [(), (1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), ("a", "a")])
def test_axis_refuses(points: tuple[float, ...]) -> None:
    with pytest.raises(BadInput):
        Axis("a", "", points)


def test_leakage_is_interpolated_in_its_logarithm() -> None:
    """It doubles every so many kelvin, so half-way in temperature it is the geometric mean."""
    records = [{"temp_c": t, "value": 1e-9 * 2 ** (t / 10), "run": "x"} for t in (25.0, 45.0, 125.0)]
    leak = Table.from_records("l", "W", {"temp_c": "°C"}, records, ORIGIN)
    assert leak.at(temp_c=85.0) == pytest.approx(1e-9 * 2**8.5, rel=1e-9)
    assert leak.at(temp_c=45.0) == pytest.approx(1e-9 * 2**4.5, rel=1e-9)
    less = [{**record, "value": float(record["value"]) - 1e-8} for record in records]  # type: ignore[arg-type]
    signed = Table.from_records("l", "W", {"temp_c": "°C"}, less, ORIGIN)
    assert not signed.logarithmic
