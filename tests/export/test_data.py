"""CSV, Parquet and netCDF: what was written reads back as the same values, units and origin."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.io import netcdf_file

import charlib.export.data
from charlib.errors import BadInput
from charlib.export import Request, render
from charlib.export.data import long_form
from charlib.export.netcdf import to_netcdf
from charlib.table import Axis, Origin, Table, TableSet


def rebuilt(frame: pd.DataFrame, like: Table) -> Table:
    """The table of that name out of a long-form frame."""
    rows = frame[frame["table"] == like.name]
    records = rows[[axis.name for axis in like.axes] + ["value", "run"]].to_dict("records")
    origin = Origin(**{name: rows[name].iloc[0] for name in charlib.export.data.ORIGIN_COLUMNS},
                    created=like.origin.created)
    return Table.from_records(like.name, str(rows["unit"].iloc[0]), {a.name: a.unit for a in like.axes},
                              [{str(k): v for k, v in record.items()} for record in records], origin,
                              like.conventions)


def assert_same(got: Table, want: Table) -> None:
    assert (got.name, got.unit, got.axes, got.origin) == (want.name, want.unit, want.axes, want.origin)
    np.testing.assert_allclose(got.values, want.values, rtol=1e-15)
    np.testing.assert_array_equal(got.runs, want.runs)


def test_csv_reads_back_to_the_same_tables(small: TableSet) -> None:
    text = render("csv", small, Request())
    assert isinstance(text, str)
    frame = pd.read_csv(io.StringIO(text), dtype={"stored": str, "input": str})
    assert set(frame["table"]) == set(small)
    for table in small.values():
        assert_same(rebuilt(frame, table), table)


def test_a_point_cuts_the_tables_down(small: TableSet) -> None:
    text = render("csv", small, Request(corner="tt", vdd_v=0.8))
    assert isinstance(text, str)
    frame = pd.read_csv(io.StringIO(text))
    measured = frame[frame["table"] == "dff_leakage_w"]
    assert set(measured["corner"]) == {"tt"}
    assert set(measured["vdd_v"]) == {0.8}
    want = [small["dff_leakage_w"].at(corner="tt", temp_c=temp_c, vdd_v=0.8) for temp_c in (25.0, 125.0)]
    assert measured["value"].tolist() == pytest.approx(want, rel=1e-12)
    counted = small["block_cell_count"]
    assert len(frame[frame["table"] == counted.name]) == counted.values.size


def test_parquet_reads_back(small: TableSet) -> None:
    pytest.importorskip("pyarrow")
    content = render("parquet", small, Request())
    assert isinstance(content, bytes)
    frame = pd.read_parquet(io.BytesIO(content))
    for table in small.values():
        assert_same(rebuilt(frame, table), table)


def test_parquet_writes_the_long_form(small: TableSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pyarrow: what would be written is the frame that CSV writes."""
    kept: list[pd.DataFrame] = []
    monkeypatch.setattr(charlib.export.data, "find_spec", lambda name: object())
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, *_, **__: kept.append(self))
    render("parquet", small, Request(table="dff_energy_j"))
    pd.testing.assert_frame_equal(kept[0], long_form([small["dff_energy_j"]]))


def _word(row: Any) -> str:
    return b"".join(row).rstrip(b"\0").decode()


def from_netcdf(content: bytes, name: str) -> Table:
    """A table as a reader of netCDF sees it: dimensions, attributes, coordinate variables."""
    file: Any = netcdf_file(io.BytesIO(content), "r", mmap=False)
    variable = file.variables[name]
    axes = []
    for own, dimension in zip(variable.axes.decode().split(), variable.dimensions, strict=True):
        points = file.variables[dimension]
        labels = points.typecode() == "c"
        values = tuple(map(_word, points[:])) if labels else tuple(float(point) for point in points[:])
        axes.append(Axis(own, points.unit.decode(), values))
    ids = [_word(row) for row in file.variables["run_ids"][:]]
    numbers = np.asarray(file.variables[f"{name}_run"][...])
    runs = np.asarray([ids[int(i)] for i in numbers.ravel()], dtype=object).reshape(numbers.shape)
    origin = Origin(**{field: getattr(variable, f"origin_{field}").decode()
                       for field in ("pdk", "pdk_sha256", "engine", "revision", "status", "created")})
    spread = file.variables.get(f"{name}_spread")
    conventions = {k.removeprefix("convention_"): v.decode() for k, v in vars(variable)["_attributes"].items()
                   if k.startswith("convention_")}
    return Table(name, variable.unit.decode(), tuple(axes), np.array(variable[...], dtype=float), runs, origin,
                 conventions, None if spread is None else np.array(spread[...], dtype=float))


def test_netcdf_reads_back(small: TableSet) -> None:
    content = render("netcdf", small, Request())
    assert isinstance(content, bytes)
    for table in small.values():
        got = from_netcdf(content, table.name)
        assert_same(got, table)
        assert got.conventions == table.conventions


def test_netcdf_of_the_shipped_tables_keeps_axes_that_differ_apart(shipped: TableSet) -> None:
    content = to_netcdf(list(shipped.values()))
    for table in shipped.values():
        got = from_netcdf(content, table.name)
        assert [axis.points for axis in got.axes] == [axis.points for axis in table.axes]
        np.testing.assert_array_equal(got.values, table.values)
        np.testing.assert_array_equal(got.runs, table.runs)
        if table.spread is not None:
            np.testing.assert_array_equal(got.spread, table.spread)


def test_netcdf_of_one_number() -> None:
    origin = Origin("k", "0", "e", "r", "fresh", "2026-01-01", {"sf": "derived: so"})
    table = Table("one", "J", (), np.array(3.5), np.array("r1", dtype=object), origin)
    assert_same(from_netcdf(to_netcdf([table]), "one"), Table("one", "J", (), np.array(3.5), table.runs, Origin(
        "k", "0", "e", "r", "fresh", "2026-01-01")))


def test_json_is_the_stored_form(small: TableSet) -> None:
    text = render("json", small, Request(table="dff_energy_j"))
    (data,) = json.loads(text)
    assert_same(Table.from_json(data), small["dff_energy_j"])


HOLES = ({"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0, "cell": "nand2", "slew_s": 1e-11},)


@pytest.mark.parametrize("name", ["csv", "netcdf", "json"])
def test_holes_in_the_slice_are_refused_by_name(build: Callable[..., TableSet], name: str) -> None:
    tables = build(without=HOLES)
    where = "corner=tt, temp_c=25.0, vdd_v=1.0, cell=nand2, slew_s=1e-11"
    message = (f"Table 'cell_energy_j': 2 points of the export have no value: {where}, load_f=5e-16; {where}, "
               "load_f=4e-15; run the campaign that made it again, with --retry-failed")
    for request in (Request(), Request(table="cell_energy_j", corner="tt")):
        with pytest.raises(BadInput) as raised:
            render(name, tables, request)
        assert str(raised.value) == message
    assert render(name, tables, Request(corner="ss"))


def test_many_holes_are_counted(build: Callable[..., TableSet]) -> None:
    with pytest.raises(BadInput, match=r": 40 points of the export have no value: corner=ss, .*; and 20 more; run "):
        render("csv", build(without=({"corner": "ss", "temp_c": 25.0},)), Request())


def test_a_point_off_the_axis_is_refused(small: TableSet) -> None:
    with pytest.raises(BadInput, match=r"^Table '\w+': vdd_v has 0\.8, 1\.0; asked for 0\.9$"):
        render("csv", small, Request(vdd_v=0.9))
