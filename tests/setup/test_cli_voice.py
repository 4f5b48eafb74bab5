"""The command line speaks with one voice: examples, names, sentences, --json, --quiet, exit statuses, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from system.cli import app

CLI = CliRunner()


def _walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    found = getattr(command, "commands", None)
    if found is None:
        yield " ".join(path), command
    else:
        for name, part in found.items():
            yield from _walk(part, (*path, name))


COMMANDS = dict(_walk(get_command(app)))
#: what writes files and has nothing to tell a program, or is JSON already
WITHOUT_JSON = {"init campaign", "init pdk", "init macro", "init space", "schema", "tables export", "tables plot",
                "tables sign", "blocks export", "pdk install", "run", "report"}
#: whose work can last more than two seconds and is counted
WITH_BAR = {"report", "characterize", "explore", "train", "run", "gpu measure", "pdk check", "blocks cost"}


def _options(command: Any) -> dict[str, Any]:
    return {name: option for option in command.params if option.param_type_name == "option" for name in option.opts}


def test_every_command_is_walked() -> None:
    assert {"estimate", "characterize", "tables plot", "gpu measure", "init space"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_parses(name: str) -> None:
    """Each example is split as a shell does and parsed by the command it names, without running it."""
    epilog = COMMANDS[name].epilog or ""
    assert re.match(r"Examples?: himc ", epilog)
    lines = re.split(r"\s*(?:;|\||&&)\s*", re.sub(r"\([^)]*\)", "", epilog).partition(": ")[2])
    own = 0
    for line in filter(None, lines):
        words = shlex.split(line)[1:]
        path = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
        own += path == name
        COMMANDS[path].make_context(path, words[len(path.split()):])
    assert own


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_sentences(name: str) -> None:
    for param in COMMANDS[name].params:
        text = getattr(param, "help", None)
        if param.name != "help":
            assert text, f"{param.name} has no help"
            assert re.match(r"[A-Z0-9]", text), text
            assert text.endswith("."), text
    assert COMMANDS[name].help


def test_an_option_is_spelled_in_one_way() -> None:
    """Long names only, words joined by hyphens."""
    for name, command in COMMANDS.items():
        for option in _options(command):
            assert re.fullmatch(r"--[a-z]+(-[a-z0-9]+)*", option), (name, option)


def test_json_where_there_is_something_to_tell() -> None:
    with_it = {name for name, command in COMMANDS.items() if "--json" in _options(command)}
    assert with_it == set(COMMANDS) - WITHOUT_JSON
    assert len({_options(COMMANDS[name])["--json"].help for name in with_it}) == 1


def test_quiet_where_there_is_a_bar() -> None:
    assert {name for name, command in COMMANDS.items() if "--quiet" in _options(command)} == WITH_BAR
    assert len({_options(COMMANDS[name])["--quiet"].help for name in WITH_BAR}) == 1


@pytest.mark.parametrize("words", [
    "estimate mobilenet_v1 --image-px 32", "estimate mobilenet_v1 --events --assumptions", "tables list",
    "tables show bitcell_delay_s corner=tt temp_c=25", "tables query cell_leakage_w corner=tt temp_c=25 vdd_v=0.85 "
    "cell=inv", "pdk list", "blocks list", "gpu list", "doctor",
])
def test_json_is_alone_on_standard_output(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CLI.invoke(app, [*words.split(), "--json", "-"])
    assert json.loads(done.stdout)
    beside = CLI.invoke(app, [*words.split(), "--json", "f.json"])
    assert len(beside.stdout) > 20
    assert json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))


def test_a_cost_with_and_without_its_bar_is_one() -> None:
    words = ["blocks", "cost", "exponent_adder", "--operations", "24", "--json", "-"]
    watched, quiet = CLI.invoke(app, words), CLI.invoke(app, [*words, "--quiet"])
    assert "vectors through" in watched.stderr
    assert quiet.stderr == ""
    assert json.loads(watched.stdout) == json.loads(quiet.stdout)


@pytest.mark.parametrize(("words", "status", "said"), [
    ("tables list", 0, ""), ("nosuch", 2, "himc: "), ("estimate lenet", 2, "himc: "),
    ("tables list --tables none", 2, "himc: "), ("estimate mobilenet_v1 --image-px 32 --json no/f.json", 2, "himc: "),
])
def test_exit_status(words: str, status: int, said: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "from system.cli import app; app()", *words.split()], cwd=tmp_path,
                          check=False, capture_output=True, text=True)
    assert done.returncode == status
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == (1 if said else 0)


def test_the_shell_completes_commands() -> None:
    environment = {**os.environ, "_HIMC_COMPLETE": "complete_bash", "COMP_WORDS": "himc est", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", "from system.cli import app; app(prog_name='himc')"], check=False,
                          env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["estimate"]
