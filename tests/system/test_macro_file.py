"""A macro of one's own: what a file may say, and that it means the same as the options of that name."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from charlib.errors import BadInput
from system.estimate import estimate
from system.options import EstimateOptions
from system.structure import macro_structure

EXAMPLE = resources.files("system.data").joinpath("macro.example.yaml").read_text(encoding="utf-8")


def written(folder: Path, text: str) -> str:
    file = folder / "own.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_the_example_holds_the_preset(tmp_path: Path) -> None:
    assert macro_structure(written(tmp_path, EXAMPLE)) == replace(macro_structure("fan2023"), name="my_macro")


def test_a_file_and_the_options_give_one_estimate(tmp_path: Path) -> None:
    own = written(tmp_path, "compartments: 16\nwords_per_row: 2\nserial_bits: 2\nlane_bits: 18\n")
    small = EstimateOptions(image_px=32, width=0.25, batch=2, classes=10)
    by_file = estimate(replace(small, macro=own))
    by_options = estimate(replace(small, compartments=16, words_per_row=2, serial_bits=2, lane_bits=18))
    assert by_file["macro"].pop("name") == "own"
    assert by_options["macro"].pop("name") == "fan2023"
    for part in ("macro", "chip", "imc"):
        assert by_file[part] == by_options[part]


def test_an_option_wins_over_the_file(tmp_path: Path) -> None:
    own = written(tmp_path, "compartments: 16")
    small = EstimateOptions(macro=own, compartments=64, image_px=32, width=0.25, batch=2, classes=10)
    assert estimate(small)["macro"]["compartments"] == 64


@pytest.mark.parametrize(("text", "said"), [
    ("compartment: 8", "line 1: compartment: is not a field; allowed are compartments, depthwise_group, lane_bits, "
                       "name, rounds_a_word, rows, serial_bits, words_per_row"),
    ("rows: -4", "line 1: rows: -4 is not allowed; a whole number of 1 to 4096 is"),
    ("rows: yes", "line 1: rows: 'yes' is not allowed; a whole number of 1 to 4096 is"),
    ("rows: true", "line 1: rows: true is not allowed; a whole number of 1 to 4096 is"),
    ("rows: 010", "line 1: rows: '010' is not allowed; a whole number of 1 to 4096 is"),
    ("compartments: 8\nrows: 4\nrows: 8", "line 3: rows: stands twice, first in line 2; give it once"),
    ("rows:\t4\n\tcompartments: 8", r"line 1: not YAML \(.*\)"),
    ("# µ\n\nrows: 1.5", "line 3: rows: 1.5 is not allowed; a whole number of 1 to 4096 is"),
    ("serial_bits: 3", "line 1: serial_bits: 1, 2, 4 or 8 is allowed, got 3"),
    ("name: [a]", r"line 1: name: \['a'\] is not allowed; give a word of at most 60 characters"),
    ("32", "line 1: fields such as 'compartments: 32' are needed; 'himc init macro' writes such a file"),
    ("a: [", r"line 1: not YAML \(.*\)"),
    ("compartments: 4", "line 1: depthwise_group: 9 is more than its 4 compartments; allowed are 1 to 4"),
    ("#" * 1_000_001, "line 1: the file is larger than 1000000 bytes; that many at most are allowed"),
])
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=rf"^macro \S+own\.yaml: {said}$"):
        macro_structure(written(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read \(No such file or directory\); 'himc init macro' writes"):
        macro_structure(str(tmp_path / "none.yaml"))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=r"line 1: byte 0xff is not UTF-8; write the file as UTF-8 text"):
        macro_structure(str(tmp_path / "own.yaml"))
