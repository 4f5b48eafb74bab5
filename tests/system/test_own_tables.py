"""`--tables`: a user's table is read or refused, never replaced in silence; what it lacks is said to be shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from charlib.errors import BadInput
from charlib.paths import shipped_tables_dir
from charlib.table import Table, TableSet, load_tables, save_tables
from system.cli import app
from system.design import make_reader
from system.estimate import estimate, validate
from system.options import EstimateOptions

OPTIONS = EstimateOptions(network="mobilenet_v1", image_px=32, width=0.25)
ARGUMENTS = ("estimate", "mobilenet_v1", "--image-px", "32", "--width", "0.25", "--tables")
Change = Callable[[Table], Table | None]


def own(folder: Path, change: Change) -> EstimateOptions:
    """Options that read the shipped tables as changed by a user, in a folder."""
    changed = [change(table) for table in load_tables(shipped_tables_dir("freepdk45")).values()]
    save_tables(folder, [replace(t, origin=replace(t.origin, status="fresh")) for t in changed if t is not None])
    return replace(OPTIONS, tables=str(folder))


def sevenfold(table: Table) -> Table:
    """Seven times the joules and watts; seconds as they are, so that one clock serves both."""
    return replace(table, values=7 * table.values) if table.unit in ("J", "W") else table


def only(axis: str, keep: Callable[[Any], bool], change: Change = lambda table: table) -> Change:
    """The table at some points of an axis."""
    def cut(table: Table) -> Table | None:
        changed = change(table)
        for k, one in enumerate(table.axes):
            if changed is not None and one.name == axis:
                places = [i for i, point in enumerate(one.points) if keep(point)]
                points: Any = tuple(one.points[i] for i in places)
                axes = tuple(replace(a, points=points) if a.name == axis else a for a in changed.axes)
                return replace(
                    changed, axes=axes, values=np.take(changed.values, places, axis=k),
                    runs=np.take(changed.runs, places, axis=k),
                    spread=None if changed.spread is None else np.take(changed.spread, places, axis=k))
        return changed
    return cut


def said(folder: Path, *more: str) -> str:
    """What the terminal says, in one line."""
    done = CliRunner().invoke(app, [*ARGUMENTS, str(folder), *more])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def without_monte_carlo(change: Change) -> Change:
    """Relative values stand for every operating point; they are cut no axis of."""
    return lambda table: table if table.name == "compartment_mismatch" else change(table)


def test_a_point_that_the_users_tables_miss_is_refused(tmp_path: Path) -> None:
    """The shipped tables hold 0.8 V; their figure is not given in place of the user's."""
    options = own(tmp_path / "high", without_monte_carlo(only("vdd_v", lambda v: v > 0.85, sevenfold)))
    with pytest.raises(BadInput, match=r"^Table '\w+': vdd_v spans \[0\.9, 1\] V, asked for 0\.8 V; run a campaign"):
        estimate(options)


def test_a_range_holds_no_shipped_figure_beside_the_users(tmp_path: Path) -> None:
    """Corners, temperatures and routes that only shipped tables hold are left out, with the reason."""
    only_tt = without_monte_carlo(only("corner", lambda c: c == "tt", only("temp_c", lambda t: t == 25.0, sevenfold)))
    document = estimate(own(tmp_path / "tt", only_tt))
    why = {one["scenario"]: one["why"] for one in document["left_out"] if one["of"] == "energy and time"}
    assert {"corner=ss", "corner=ff", "temp_c=-40.0", "temp_c=125.0"} < set(why)
    assert why["projection=ptm HP"] == "it stands on shipped tables alone, and --tables were given"
    shipped = estimate(OPTIONS)
    ours, theirs = (d["imc"]["macro_only"]["energy_j_per_image_range"][0] for d in (document, shipped))
    assert ours > 2 * theirs
    assert {t["status"] for t in document["origin"]["tables"]} == {"fresh"}


def test_what_the_users_folder_lacks_is_said_to_be_shipped(tmp_path: Path) -> None:
    lacking = {"dff_energy_j", "clock_tree_j"}
    options = own(tmp_path / "most", lambda table: None if table.name in lacking else sevenfold(table))
    document = estimate(options)
    validate(document)
    assert {t["name"] for t in document["origin"]["tables"] if t["status"] == "shipped"} \
        == lacking & {t["name"] for t in estimate(OPTIONS)["origin"]["tables"]} != set()
    of = len(document["origin"]["tables"])
    lack = sorted(lacking & {t["name"] for t in document["origin"]["tables"]})
    line = said(tmp_path / "most")
    assert f"tables: {of - len(lack)} of {of} from" in line
    assert f"{len(lack)} shipped with the package, since that folder lacks them: {', '.join(lack)}" in line


def test_shipped_tables_of_other_model_cards_fill_no_gap(tmp_path: Path) -> None:
    def other_cards(table: Table) -> Table | None:
        if table.name == "dff_energy_j":
            return None
        return replace(table, origin=replace(table.origin, pdk_sha256="7d" * 32))

    with pytest.raises(BadInput, match=r"^Table 'dff_energy_j': not in .*, and nothing is guessed in its place; .*"
                                       r"\(the shipped one is of other model cards, so it is not read\)$"):
        estimate(own(tmp_path / "cards", other_cards))


def test_the_route_of_shipped_tables_alone_takes_no_tables(tmp_path: Path) -> None:
    options = replace(own(tmp_path / "all", sevenfold), projection="ptm")
    with pytest.raises(BadInput, match=r"^tables: projection ptm stands on shipped tables alone, so those of '.*all' "
                                       r"would not be read; leave out --tables, or ask for --projection stillmaker"):
        make_reader(options)


def test_an_edited_table_is_named_beside_the_figures(tmp_path: Path) -> None:
    options = own(tmp_path / "all", lambda table: table)
    file = tmp_path / "all" / "dff_energy_j.json"
    data = json.loads(file.read_text())
    data["values"] = [3 * value for value in data["values"]]
    file.write_text(json.dumps(data))
    with pytest.raises(BadInput, match=r"dff_energy_j\.json: its checksum is not that of its numbers"):
        estimate(options)
    assert Table.sign(file)
    document = estimate(options)
    validate(document)
    assert {t["name"]: t["status"] for t in document["origin"]["tables"]}["dff_energy_j"] == "edited"
    assert "edited by hand and signed so: dff_energy_j" in said(tmp_path / "all")
    assert document["imc"]["macro_only"]["energy_j_per_image"] > estimate(OPTIONS)["imc"]["macro_only"][
        "energy_j_per_image"]


def test_an_exploration_says_where_its_tables_come_from(tmp_path: Path) -> None:
    own(tmp_path / "most", lambda table: None if table.name == "dff_energy_j" else table)
    space = tmp_path / "space.yaml"
    space.write_text(f"network: mobilenet_v1\nfixed: {{tables: {tmp_path / 'most'}, image_px: 32}}\n"
                     "vary: {compartments: [32, 64]}\n")
    done = CliRunner().invoke(app, ["explore", str(space), "--out", str(tmp_path / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert "1 shipped with the package, since that folder lacks them: dff_energy_j" in " ".join(done.stdout.split())
    record = json.loads((tmp_path / "out" / "explored.json").read_text())
    assert {t["name"] for t in record["tables"] if t["status"] == "shipped"} == {"dff_energy_j"}


def test_tables_held_against_the_shipped_ones_are_backed_by_them(tables: TableSet) -> None:
    """A run's own tables, which `himc run` compares first: corners beyond them are read from the package."""
    reader = make_reader(replace(OPTIONS, corner="ss"), tables)
    assert reader.table("dff_delay_s")[1] == "shipped"
