"""Table files that were changed, swapped, renamed or cut: each is refused by name, and none gives a number."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from charlib.cli_tables import tables_app
from charlib.errors import BadInput
from charlib.paths import kits_with_tables, shipped_tables_dir
from charlib.table import Origin, Table, load_tables, save_tables
from charlib.table_file import checksum

Data = dict[str, Any]
#: the changed file, by the words of its refusal
CHECKSUM = "its checksum is not that of its numbers"


def gate(name: str = "gate_energy_j", kit: str = "mine", cards: str = "3f" * 32) -> Table:
    """Three energies over supply and load."""
    records = [{"vdd_v": v, "load_f": c, "value": (1.5 + c * 1e15) * v * v * 1e-15, "run": f"run{v}{c}"}
               for v in (0.7, 0.9) for c in (1e-15, 3e-15)]
    return Table.from_records(name, "J", {"vdd_v": "V", "load_f": "F"}, records,
                              Origin(kit, cards, "ngspice-39", "0a1b", "fresh", "2026-03-04"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_tables(tmp_path / "own", [gate()])
    return tmp_path / "own" / "gate_energy_j.json"


def rewrite(file: Path, change: Callable[[Data], object], sealed: bool = False) -> None:
    """The file after a change; sealed: with the checksum that the change has, as an attacker would."""
    data = json.loads(file.read_text())
    change(data)
    if sealed:
        data["sha256"] = checksum(data)
    file.write_text(json.dumps(data, indent=2))


def swap_axes(data: Data) -> None:
    data["axes"].reverse()


EDITS: dict[str, Callable[[Data], object]] = {
    "a digit": lambda d: d["values"].__setitem__(1, d["values"][1] * 1.0000001),
    "a negative joule": lambda d: d["values"].__setitem__(0, -d["values"][0]),
    "axes swapped": swap_axes,
    "a point moved": lambda d: d["axes"][0]["points"].__setitem__(0, 0.71),
    "another kit": lambda d: d["origin"].update(pdk="theirs"),
    "another kit's hash": lambda d: d["origin"].update(pdk_sha256="4e" * 32),
    "another run": lambda d: d["run_ids"].__setitem__(0, "f00d"),
    "shipped": lambda d: d["origin"].update(status="shipped"),
    "a checksum of its own": lambda d: d.update(sha256="0" * 64),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_refused_until_it_is_signed(file: Path, what: str) -> None:
    rewrite(file, EDITS[what])
    with pytest.raises(BadInput, match=re.escape(f"{file}: {CHECKSUM}")) as refused:
        load_tables(file.parent)
    command = re.findall(r"'himc (tables sign .*?)'", str(refused.value))[0].split()
    done = CliRunner().invoke(tables_app, command[1:])
    assert (done.exit_code, done.output) == (0, f"{file}: signed, and marked as edited\n")
    assert load_tables(file.parent)["gate_energy_j"].origin.status == "edited"


def test_a_table_without_a_checksum_is_refused_with_the_command_that_takes_it(file: Path) -> None:
    rewrite(file, lambda data: data.pop("sha256"))
    with pytest.raises(BadInput, match=r"it carries no checksum .*; run 'himc characterize' again.*, or 'himc tables "
                                       rf"sign {re.escape(str(file))}' takes it as it is and marks it as edited$"):
        load_tables(file.parent)


def test_a_checksum_is_of_what_is_said_not_of_how(file: Path) -> None:
    """Another indent, order of fields or line ending is the same table; signing it does nothing."""
    data = json.loads(file.read_text())
    text = json.dumps(dict(reversed(data.items())), indent=7).replace("\n", "\r\n")
    file.write_bytes(text.encode())
    load_tables(file.parent)
    assert not Table.sign(file)
    assert file.read_bytes() == text.encode()


def test_an_edited_table_says_so_where_it_is_asked(file: Path) -> None:
    rewrite(file, EDITS["a digit"])
    Table.sign(file)
    done = CliRunner().invoke(tables_app, ["query", "gate_energy_j", "vdd_v=0.7", "load_f=1e-15", "--tables",
                                           str(file.parent)])
    assert done.stderr == "tables: edited by hand and signed so: gate_energy_j\n"


def test_a_copy_under_another_name_is_refused(file: Path) -> None:
    shutil.copy(file, file.with_name("nand_energy_j.json"))
    with pytest.raises(BadInput, match=r"nand_energy_j\.json: it holds the table 'gate_energy_j'; a file is named"):
        load_tables(file.parent)


@pytest.mark.parametrize(("kit", "cards"), [("theirs", "3f" * 32), ("mine", "4e" * 32)])
def test_two_kits_in_a_folder_are_refused(file: Path, kit: str, cards: str) -> None:
    gate("gate_loss_j", kit, cards).save(file.with_name("gate_loss_j.json"))
    with pytest.raises(BadInput, match=rf"gate_loss_j\.json: made with pdk '{kit}' \(sha256 {cards[:12]}\), while "
                                       rf"gate_energy_j\.json beside it was made with pdk 'mine'"):
        load_tables(file.parent)


MALFORMED: dict[str, tuple[Callable[[Data], object], str]] = {
    "unit of another size": (lambda d: d.update(unit="fJ"), "unit: a table named gate_energy_j holds J, got 'fJ'"),
    "unit a number": (lambda d: d.update(unit=3), "unit: text is allowed"),
    "no name": (lambda d: d.pop("name"), "name: text is allowed"),
    "axes a word": (lambda d: d.update(axes="vdd_v"), "axes: objects with a name"),
    "an axis a list": (lambda d: d["axes"].__setitem__(0, ["vdd_v"]), "axes: objects with a name"),
    "points of two kinds": (lambda d: d["axes"][0].update(points=[0.7, "0.9"]), "axes: objects with a name"),
    "points as truth": (lambda d: d["axes"][0].update(points=[False, True]), "axes: objects with a name"),
    "points falling": (lambda d: d["axes"][0]["points"].reverse(), "points must be finite and strictly increasing"),
    "a huge point": (lambda d: d["axes"][0]["points"].__setitem__(1, 10**400), "not a whole table"),
    "a value as text": (lambda d: d["values"].__setitem__(0, "1.0"), "values: a list of numbers"),
    "a value as truth": (lambda d: d["values"].__setitem__(0, True), "values: a list of numbers"),
    "a huge value": (lambda d: d["values"].__setitem__(0, 10**400), "not a whole table"),
    "a value too many": (lambda d: d["values"].append(1e-15), "not a whole table"),
    "a hole that a run made": (lambda d: d["values"].__setitem__(2, None), "is not finite; rerun that point"),
    "a run from the end": (lambda d: d["runs"].__setitem__(0, -1), "runs: a list of places in run_ids"),
    "a run beyond": (lambda d: d["runs"].__setitem__(0, 99), "runs: a list of places in run_ids"),
    "runs without ids": (lambda d: d.update(run_ids=None), "run_ids: a list of texts"),
    "a negative spread": (lambda d: d.update(spread=[1e-17, -1e-17, 0, 0]), "spread: null, or a list of numbers"),
    "conventions a list": (lambda d: d.update(conventions=["a"]), "conventions: texts by name"),
    "origin a word": (lambda d: d.update(origin="mine"), "origin: texts by name"),
    "origin of numbers": (lambda d: d["origin"].update(engine=39), "origin: texts by name"),
    "origin with a field too many": (lambda d: d["origin"].update(colour="red"), "not a whole table"),
    "an unknown status": (lambda d: d["origin"].update(status="golden"), "Origin status: 'fresh', 'shipped' or"),
    "misses a list": (lambda d: d.update(interpolation_error=[0.1]), "interpolation_error: numbers by axis"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_table_is_refused_by_file_and_field_though_its_checksum_is_right(file: Path, what: str) -> None:
    """Nor can it be signed."""
    change, message = MALFORMED[what]
    rewrite(file, change, sealed=True)
    for read in (Table.load, Table.sign):
        with pytest.raises(BadInput, match=f"^{re.escape(str(file))}: .*{re.escape(message)}"):
            read(file)


@pytest.mark.parametrize("text", ["", "[]", "null", "7", '"table"', "[" * 200_000, "{" * 3, "1" * 5000,
                                  '{"schema": "hadamard-imc/table/1"}'])
def test_what_is_no_table_is_refused_by_file(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(BadInput, match=f"^{re.escape(str(file))}: "):
        load_tables(file.parent)


def test_bytes_that_are_no_text_are_refused_by_file(file: Path) -> None:
    file.write_bytes(b"\xff\xfe{\x00")
    with pytest.raises(BadInput, match=f"^{re.escape(str(file))}: cannot be read as a table"):
        load_tables(file.parent)


@pytest.mark.parametrize("kit", kits_with_tables())
def test_every_shipped_table_is_as_it_was_written(kit: str) -> None:
    """Each loads, so its checksum is right, and none was signed by hand."""
    assert {table.origin.status for table in load_tables(shipped_tables_dir(kit)).values()} == {"shipped"}


def test_a_signed_table_keeps_everything_but_its_status(file: Path) -> None:
    before = json.loads(file.read_text())
    rewrite(file, lambda data: data.pop("sha256"))
    Table.sign(file)
    after = json.loads(file.read_text())
    expected = copy.deepcopy(before)
    expected["origin"]["status"] = "edited"
    assert after == expected | {"sha256": checksum(expected)}
