"""Joining tables, comparing fresh with shipped, the fingerprint of measures, campaign files."""

from __future__ import annotations

import dataclasses
import types
from pathlib import Path

import numpy as np
import pytest

from charlib.campaign.compare import check_against_shipped, compare_tables
from charlib.campaign.fingerprint import measure_hash
from charlib.campaign.fold import join
from charlib.errors import HimcError
from charlib.table import Axis, Origin, Table

ORIGIN = Origin("toy", "00", "fake-1", "r", "fresh", "2020-01-01")


def table(values: list[list[float]], vdds_v: tuple[float, ...] = (0.8, 1.0), cells: tuple[str, ...] = ("inv", "fa"),
          unit: str = "J") -> Table:
    axes = (Axis("cell", "", cells), Axis("vdd_v", "V", vdds_v))
    array = np.array(values)
    return Table("energy_j", unit, axes, array, np.full(array.shape, "run", dtype=object), ORIGIN)


def test_equal_and_nearly_equal_tables_pass() -> None:
    shipped = {"energy_j": table([[1.0, 2.0], [3.0, 4.0]])}
    check_against_shipped({"energy_j": table([[1.019, 2.0], [3.0, 4.0]])}, shipped)
    check_against_shipped({"other": dataclasses.replace(table([[9.0, 9.0], [9.0, 9.0]]), name="other")}, shipped)


def test_differences_are_listed_worst_first_at_common_points_only() -> None:
    shipped = {"energy_j": table([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]], vdds_v=(0.8, 1.0, 1.1))}
    fresh = {"energy_j": table([[3.0, 3.9], [1.03, 2.0]], cells=("fa", "inv"))}
    found = compare_tables(fresh, shipped)
    assert [(d.point, round(d.relative, 4)) for d in found] == [
        ("cell=inv vdd_v=0.8", 0.03), ("cell=fa vdd_v=1.0", -0.025)]
    with pytest.raises(HimcError, match=(
        r"^fresh and shipped tables differ by more than 2% at 2 points: "
        r"energy_j at cell=inv vdd_v=0.8: fresh 1.03, shipped 1 \(\+3.0%\); "
        r"energy_j at cell=fa vdd_v=1.0: fresh 3.9, shipped 4 \(-2.5%\); find out why, then run 'make tables'$"
    )):
        check_against_shipped(fresh, shipped)


def test_noise_far_below_the_table_s_scale_is_not_a_difference() -> None:
    shipped = {"energy_j": table([[1.0, 1e-6], [1.0, 0.0]])}
    assert compare_tables({"energy_j": table([[1.0, 2e-6], [1.0, 1e-5]])}, shipped) == ()
    assert len(compare_tables({"energy_j": table([[1.0, 2e-3], [1.0, 0.0]])}, shipped)) == 1


def test_no_common_points_and_other_axes() -> None:
    shipped = {"energy_j": table([[1.0], [2.0]], vdds_v=(0.7,))}
    assert compare_tables({"energy_j": table([[5.0], [5.0]], vdds_v=(0.9,))}, shipped) == ()
    with pytest.raises(HimcError, match=r"^Table 'energy_j': fresh and shipped have different axes or units; "
                                        r"run 'make tables'$"):
        compare_tables({"energy_j": table([[1.0], [2.0]], vdds_v=(0.7,), unit="s")}, shipped)


def test_tables_of_two_benches_join() -> None:
    joined = join(table([[1.0, 2.0]], cells=("inv",)), table([[3.0, 4.0]], cells=("fa",)))
    assert joined.axes[0].points == ("inv", "fa")
    assert joined.at(cell="fa", vdd_v=0.9) == pytest.approx(3.5)
    with pytest.raises(HimcError, match=r"^Table 'energy_j': two benches fold it with different units or axes; "
                                        r"mend the benches$"):
        join(table([[1.0, 2.0]], cells=("inv",)), table([[1.0, 2.0]], cells=("fa",), unit="s"))


_BENCH = '''
LIMIT = {limit}
def helper(x):
    """{doc}"""
    return x * {factor}  # {doc}
class Bench:
    def measure(self, pdk, point, waves):
        return {{"a": helper(1.0) if LIMIT else self.own()}}
    def own(self):
        return {own}
    def grid(self, preset):
        return [{grid}]
'''


def fingerprint(folder: Path, **changes: object) -> str:
    values = {"limit": 1, "doc": "text", "factor": 2, "own": 3, "grid": 4, **changes}
    path = folder / f"bench_{abs(hash(tuple(values.items())))}.py"
    path.write_text(_BENCH.format(**values), encoding="utf-8")
    module = types.ModuleType("made_bench")
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return measure_hash(module.Bench)


def test_the_fingerprint_follows_the_code_behind_a_measure(tmp_path: Path) -> None:
    base = fingerprint(tmp_path)
    assert fingerprint(tmp_path, doc="other words") == base
    assert fingerprint(tmp_path, grid=5) == base
    for change in ({"limit": 2}, {"factor": 3}, {"own": 4}):
        assert fingerprint(tmp_path, **change) != base
