"""No bad value gets through, none ends in a traceback: each option of the system commands, each field of files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from charlib.errors import BadInput
from system.cli import app
from system.explore.space import CIRCUIT, MAPPING, SHAPE, read_space
from system.macro_file import MORE
from system.macro_file import SHAPE as MACRO_SHAPE
from system.options import EstimateOptions

CLI = CliRunner()
GROUP: Any = get_command(app)
NUMBERS = {int: ("-1", "0", "x", "1.5", "1000000000000000"), float: ("nan", "inf", "-1", "x", "1e300")}
WORDS = ("", "nope", "-1", "x" * 300, "../..", "file.py:none")
FILES = ("folder", "nope/none.x", "bin.dat", "broken.txt", "/proc/none/x", "n" * 300)
IN_YAML: tuple[Any, ...] = (-1, 1.5, float("nan"), float("inf"), "foo", "", True, [8, "foo"], [1, None], [[]],
                            {"from": 1, "to": 2}, {"from": "a", "to": 2, "steps": 3}, 10**15)
#: small enough to evaluate in milliseconds
SMALL = ("mobilenet_v1", "--image-px", "32", "--width", "0.25", "--batch", "2")
#: values of the lists above that an option does take
TAKEN = {("seed", "0"), ("temp_c", "-1"), ("save_every", "0"), ("shift", "0"), ("die_mm2", "")}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("bin.dat").write_bytes(bytes(range(256)))
    Path("broken.txt").write_text("a: [1,\n")
    Path("space.yaml").write_text(yaml.safe_dump(space()))


def space(**changes: Any) -> dict[str, Any]:
    """A space of two designs, with changes."""
    plain: dict[str, Any] = {"network": "mobilenet_v1", "fixed": {"image_px": 32, "width": 0.25, "node_nm": 45,
                                                                 "batch": 2}, "vary": {"compartments": [16, 32]}}
    return plain | changes


def options(command: str, *kinds: type) -> Iterator[tuple[str, str, type]]:
    """(name, option, type) of a command's options of some types."""
    for param in GROUP.commands[command].params:
        if param.param_type_name == "option" and not param.is_flag:
            kind = param.type_descriptor.annotation
            if kind in kinds:
                yield param.name, param.opts[0], kind


def refused(words: list[str], named: str, value: str) -> None:
    """Exit status 2 and one line that names the field and the value."""
    result = CLI.invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
    assert result.exit_code == 2, (words, result.exit_code, result.output)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("himc: ")
    said = line.replace("-", "_")
    assert named.replace("-", "_") in said, (words, line)
    if value.isalpha() and len(value) < 9:
        assert value in line, (words, line)


@pytest.mark.parametrize(("name", "option", "kind"), list(options("estimate", int, float)))
def test_numbers_of_an_estimate(name: str, option: str, kind: type) -> None:
    for value in NUMBERS[kind]:
        if (name, value) not in TAKEN:
            refused(["estimate", *SMALL, option, value], name, value)


@pytest.mark.parametrize(("name", "option", "kind"), list(options("estimate", str, Path)))
def test_words_and_files_of_an_estimate(name: str, option: str, kind: type) -> None:
    for value in FILES if kind is Path or name == "json_out" else WORDS:
        if name == "json_out" and value in ("bin.dat", "broken.txt"):
            continue  # a file that is there is replaced
        result = CLI.invoke(app, ["estimate", *SMALL, option, value])
        assert isinstance(result.exception, SystemExit), (option, value, result.exception)
        assert result.exit_code == 2, (option, value, result.output)
        assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("network", ["", "nope", "none.py:f", "bin.dat:f", "folder:f", "broken.txt:f", "a:b:c", ":"])
def test_networks_that_are_none(network: str) -> None:
    refused(["estimate", network], "network", "")


@pytest.mark.parametrize(("name", "option", "kind"), list(options("explore", int)))
def test_numbers_of_an_exploration(name: str, option: str, kind: type) -> None:
    for value in NUMBERS[kind]:
        if (name, value) not in TAKEN:
            refused(["explore", "space.yaml", "--search", "--quiet", option, value], name, value)


@pytest.mark.train
@pytest.mark.parametrize(("name", "option", "kind"), list(options("train", int, float)))
def test_numbers_of_a_training(name: str, option: str, kind: type) -> None:
    pytest.importorskip("torch")
    for value in NUMBERS[kind]:
        if (name, value) not in TAKEN:
            refused(["train", "mobilenet_v1", "--quiet", option, value], name, value)


@pytest.mark.parametrize("value", ["folder", "nope.yaml", "bin.dat", "broken.txt", ""])
def test_spaces_that_are_none(value: str) -> None:
    refused(["explore", value, "--quiet"], "space", "")


@pytest.mark.parametrize("command", ["explore", "train"])
@pytest.mark.parametrize("value", ["bin.dat", "bin.dat/below"])
def test_a_folder_that_cannot_be_is_refused_before_the_work(command: str, value: str) -> None:
    pytest.importorskip("torch")
    refused([command, "space.yaml" if command == "explore" else "mobilenet_v1", "--quiet", "--out", value], "out", "")


@pytest.mark.parametrize("command", ["estimate", "explore", "trace"])
@pytest.mark.parametrize("value", ["folder", "none/f.json", ""])
def test_json_that_cannot_be_written_is_refused_before_the_work(command: str, value: str) -> None:
    first = {"estimate": ["mobilenet_v1"], "explore": ["space.yaml"], "trace": ["bin.dat", "x"]}[command]
    refused([command, *first, "--json", value], "json", "")


@pytest.mark.parametrize(("words", "named", "value"), [
    (["blocks", "cost", "exponent_adder", "--operations", "0"], "operations", "0"),
    (["blocks", "cost", "exponent_adder", "--operations", "1000000000000"], "operations", "1000000000000"),
    (["blocks", "cost", "exponent_adder", "--seed", "-1"], "seed", "-1"),
    (["blocks", "cost", "exponent_adder", "--cycle-s", "nan"], "cycle_s", "nan"),
    (["blocks", "cost", "exponent_adder", "--cycle-s", "-1"], "cycle_s", "-1"),
    (["gpu", "list", "--batch", "0"], "batch", "0"),
    (["gpu", "list", "--batch", "1000000000000"], "batch", "1000000000000"),
    (["characterize", "--dry-run", "--jobs", "1000000"], "jobs", "1000000"),
    (["tables", "export", "--format", "neurosim", "--node-nm", "1e300"], "node_nm", "1e+300"),
    (["tables", "export", "--out", "folder"], "out", "folder"),
    (["characterize", "--bench", "bitcell_leakage", "--out", "bin.dat/below", "--quiet"], "out", "bin.dat"),
])
def test_values_of_other_commands(words: list[str], named: str, value: str) -> None:
    refused(words, named, value)


def is_text(value: object) -> bool:
    """Whether a file's reader takes a value for text, as it does .nan and .inf."""
    return isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value))


def explored(document: dict[str, Any]) -> tuple[int, str, BaseException | None]:
    """Exit status, standard error and exception; what reading refuses is not run."""
    Path("space.yaml").write_text(yaml.safe_dump(document))
    try:
        read_space(Path("space.yaml"))
    except BadInput as error:
        return error.exit_code, str(error), SystemExit()
    result = CLI.invoke(app, ["explore", "space.yaml", "--quiet", "--out", "explored"])
    return result.exit_code, result.stderr, result.exception


@pytest.mark.parametrize("name", [*SHAPE, *MAPPING, *CIRCUIT, "nope"])
def test_what_a_space_varies(name: str) -> None:
    for value in IN_YAML:
        status, said, error = explored(space(vary={name: value}))
        taken = (name, value) in [("temp_c", -1), ("temp_c", 1.5), ("exponent_spread", 1.5)]
        assert error is None or isinstance(error, SystemExit), (name, value, error)
        assert status == (0 if taken else 2), (name, value, said)


@pytest.mark.parametrize("name", [*(f.name for f in fields(EstimateOptions) if f.name != "network"), "nope"])
def test_what_a_space_fixes(name: str) -> None:
    for value in IN_YAML:
        status, said, error = explored(space(fixed={**space()["fixed"], name: value}))
        taken = (name, value) in [("temp_c", -1), ("temp_c", 1.5), ("exponent_spread", 1.5), ("width", 1.5),
                                  ("link_bytes_per_s", 10**15)]
        free = name in ("gpu", "gpu_rows")  # an exploration compares with no card
        assert error is None or isinstance(error, SystemExit), (name, value, error)
        assert status == (0 if taken else 2) or (free and is_text(value)), (name, value, said)


@pytest.mark.parametrize("name", ["network", "fixed", "vary", "minimise", "nope"])
def test_parts_of_a_space(name: str) -> None:
    values: tuple[Any, ...] = (1, 1.5, "foo", True, [1], ["foo"], [[]])
    for value in values:
        status, said, error = explored(space(**{name: value}))
        assert isinstance(error, SystemExit), (name, value, error)
        assert status == 2, (name, value, said)


@pytest.mark.parametrize("name", ["name", *MACRO_SHAPE, *MORE, "nope"])
def test_fields_of_a_macro(name: str) -> None:
    for value in (*IN_YAML, None, 0):
        if name == "name" and is_text(value) and value != "":
            continue
        Path("macro.yaml").write_text(yaml.safe_dump({name: value}))
        refused(["estimate", *SMALL, "--macro", "macro.yaml"], "", "")
