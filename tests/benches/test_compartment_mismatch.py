"""Compartments that differ: what a sample changes, and that it changes nothing where it draws nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charlib.benches.base import Run
from charlib.benches.compartment import BENCH as PLAIN
from charlib.benches.compartment_mismatch import BENCH, CompartmentMismatchPoint
from charlib.errors import BadInput
from charlib.pdk import load_pdk
from charlib.pdk.individual import individual, product
from charlib.pdk.own_cell import CellFile
from charlib.spice.live import LiveEngine
from charlib.table import Origin

BODY = """.subckt inv a y vdd vss drive=1
xn y a vss vss nmos w='2*drive*wmin' l=lmin
xp y a vdd vdd pmos w='3*drive*wmin' l=lmin
.ends inv
.subckt pair a y vdd
xa a m vdd 0 inv drive=4
xb m y vdd 0 inv
.ends pair
x1 a b vdd pair
x2 b c vdd pair
xm c 0 0 0 nmos w='3*1.5*wmin' l='2*lmin'
"""


def test_every_device_of_nested_circuits_gets_its_own_deviation() -> None:
    seen: list[tuple[str, float, float]] = []

    def draw(wrapper: str, width_m: float, length_m: float) -> float:
        seen.append((wrapper, width_m, length_m))
        return len(seen) / 1000

    text = individual(BODY, 1e-7, 5e-8, draw)
    assert len(seen) == 2 * 4 + 1
    for wrapper, width_m, length_m in (("nmos", 8e-7, 5e-8), ("pmos", 12e-7, 5e-8), ("nmos", 2e-7, 5e-8),
                                       ("nmos", 4.5e-7, 1e-7)):
        assert any(w == wrapper and width == pytest.approx(width_m) and length == pytest.approx(length_m)
                   for w, width, length in seen)
    assert sorted(float(v) for v in re.findall(r"dvt=(\S+)", text)) == [k / 1000 for k in range(1, 10)]
    assert len(set(re.findall(r"^\.subckt (\S+)", text, re.MULTILINE))) == 6
    assert [line.split()[0] for line in text.splitlines() if line.startswith("x")][-3:] == ["x1", "x2", "xm"]


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(BadInput, match="'foreign' is not in the netlist"):
        individual("x1 a b foreign\n", 1e-7, 5e-8, lambda *_: 0.0)
    with pytest.raises(BadInput, match=r"'w\+1' is not a product"):
        product("w+1", {"wmin": 1e-7})


ORIGIN = Origin("freepdk45", "", "ngspice", "test", "fresh", "2020-01-01T00:00:00+00:00")


def point(number: int, **changes: Any) -> CompartmentMismatchPoint:
    return replace(CompartmentMismatchPoint("tt", 25.0, 0.8, 2, 4, 1, number), **changes)


@pytest.mark.parametrize(("changes", "message"), [
    ({"sample": -1}, "seed, sample: at least 0 is needed"), ({"rows": 1}, "rows: at least 2"),
])
def test_points_that_are_not_allowed(changes: dict[str, float], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        point(0, **changes)


@pytest.mark.pdk
def test_a_kit_without_pelgrom_is_refused() -> None:
    kit = load_pdk("freepdk45")
    with pytest.raises(BadInput, match="states no A_VT"):
        BENCH.deck(replace(kit, mismatch=None), point(1))


@pytest.mark.pdk
def test_a_cell_whose_devices_would_not_vary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inv.sp").write_text(".subckt mine a y vdd vss\nmn y a vss vss NMOS_VTG w=180n l=50n\n"
                                     "mp y a vdd vdd PMOS_VTG w=270n l=50n\n.ends\n")
    kit = replace(load_pdk("freepdk45"), home=tmp_path,
                  cells={"inv": CellFile("inv.sp", "mine", ("a", "y", "vdd", "vss"))})
    with pytest.raises(BadInput, match=r"^mismatch: PDK 'freepdk45' has its own inv; its devices are not known to us "
                                       r"and would stay equal; take \[cells\.inv\] out of its pdk\.toml, or this "
                                       r"bench out of the campaign$"):
        BENCH.deck(kit, point(1))


@pytest.mark.ngspice
def test_sample_0_is_the_compartment_and_others_lie_around_it() -> None:
    kit, engine = load_pdk("freepdk45"), LiveEngine()

    def measures(sample: int) -> dict[str, float]:
        where = point(sample)
        return BENCH.measure(kit, where, engine.run(BENCH.deck(kit, where)))

    plain = PLAIN.measure(kit, point(0).plain, engine.run(PLAIN.deck(kit, point(0).plain)))
    found = [measures(sample) for sample in range(3)]
    assert found[0]["cycle_s"] == pytest.approx(plain["cycle_s"], rel=1e-3)
    for one in found[1:]:
        assert 0 < abs(one["cycle_s"] / found[0]["cycle_s"] - 1) < 0.1
        assert 0 < abs(one["energy_j"] / found[0]["energy_j"] - 1) < 0.02
    runs = [Run(f"run{k}", point(k), one) for k, one in enumerate(found)]
    (table,) = BENCH.fold(runs, ORIGIN)
    ratios = [one["cycle_s"] / found[0]["cycle_s"] for one in found[1:]]
    where: dict[str, Any] = {"corner": "tt", "temp_c": 25.0, "vdd_v": 0.8, "rows": 2.0, "columns": 4.0,
                             "metric": "cycle_s"}
    assert table.at(**where, statistic="mean") == pytest.approx(sum(ratios) / 2)
    assert BENCH.fold(runs[1:], ORIGIN) == []
