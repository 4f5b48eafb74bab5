"""Everything public is documented: names, options, schema fields, environment variables, extras. Links lead on."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from system import gpu_records, macro_file
from system.explore.space import CIRCUIT, MAPPING, SHAPE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(
    page for page in DOCS.rglob("*.md") if not {"_build", "_generated"} & set(page.parts)))
PACKAGES = ("charlib", "system", "netlists")


@cache
def reference() -> ModuleType:
    """tools/docs_reference.py, which makes the reference pages."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "tools" / "docs_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def modules() -> Iterator[ModuleType]:
    """Every module that can be imported here; those of torch, triton and pymoo only where these are."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if found.name.startswith("system.train") and find_spec("torch") is None:
                continue
            try:
                yield importlib.import_module(found.name)
            except ModuleNotFoundError as error:
                if error.name not in ("torch", "triton", "pymoo"):
                    raise


def test_every_public_name_has_words() -> None:
    """Modules, and the functions and classes that they define or export under a name without underscore."""
    without = []
    for module in modules():
        if not (module.__doc__ or "").strip():
            without.append(module.__name__)
        for name, found in vars(module).items():
            own = getattr(found, "__module__", None) == module.__name__
            exported = name in getattr(module, "__all__", ())
            if name.startswith("_") or not (own or exported) or not (
                    inspect.isclass(found) or inspect.isfunction(found)):
                continue
            words = found.__doc__ or ""
            if not words.strip() or words.startswith(f"{name}("):  # a dataclass makes one up
                without.append(f"{module.__name__}.{name}")
    assert without == []


def test_every_module_is_on_a_page() -> None:
    shown = {name for package in reference().subpackages() for name in reference().modules(package)}
    there = {module.__name__ for module in modules() if not module.__name__.startswith("netlists")}
    assert there
    assert {name for name in there - shown if ".data" not in name} == set()


def test_every_option_is_on_the_page_of_commands() -> None:
    page = reference().commands_page()
    for name, command in reference().commands().items():
        part = re.split(r"^## ", page[page.index(f"\n## himc {name}\n") + 4:], flags=re.MULTILINE)[0]
        for param in command.params:
            for option in param.opts if param.name != "help" else ():
                assert option.upper() in part.upper(), (name, option)


@pytest.mark.parametrize("name", ["campaign", "estimate", "report"])
def test_every_schema_field_is_described(name: str) -> None:
    fields = reference().fields_of(reference().schema(name))
    assert len(fields) > 10
    assert [path for path, kind, text in fields if not text and not kind.startswith("(")] == []
    page = reference().schemas_page()
    assert all(f"`{path}`" in page for path, *_ in fields)


def test_every_field_of_a_users_file_is_in_its_example() -> None:
    page = reference().files_page()
    campaign, kit, macro, space = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    for text, names in ((campaign, [path for path, *_ in reference().fields_of(reference().schema("campaign"))
                                    if "." not in path and "[" not in path and "(" not in path]),
                        (kit, USER_KIT_FIELDS), (macro, ["name", *macro_file.SHAPE, *macro_file.MORE]),
                        (space, ["network", "fixed", "vary", "minimise", *SHAPE, *MAPPING, *CIRCUIT])):
        assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


#: what `charlib.pdk.user_kit` takes
USER_KIT_FIELDS = sorted(set(re.findall(r'(?:take|table)\("(\w+)"', (
    ROOT / "charlib" / "pdk" / "user_kit.py").read_text(encoding="utf-8"))))


def variables() -> set[str]:
    """Names that the code reads from or sets in the environment."""
    found: set[str] = set()
    files = [*(file for name in PACKAGES for file in (ROOT / name).rglob("*.py")), *(ROOT / "tools").glob("*.py"),
             *(ROOT / "tests").rglob("*.py")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r"[\"'](HIMC_[A-Z_]+)[\"']", text))
        if not file.is_relative_to(ROOT / "tests"):
            found |= set(re.findall(r"os\.environ(?:\.get\(|\.setdefault\(|\.pop\(|\[)\"([A-Z_]+)\"", text))
    return found


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "reference" / "environment.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])}
    assert {"HIMC_DB", "HIMC_KITS", "CXX", "NGSPICE_LIBRARY_PATH"} <= variables()
    assert variables() - {"HIMC_"} == named


def test_every_extra_is_in_the_installation() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = (DOCS / "howto" / "install.md").read_text(encoding="utf-8")
    assert [name for name in extras if name not in ("test", "dev") and f"`{name}`" not in page] == []


def _slugs(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Files and headings; addresses on the web are only well-formed, since tests have no network."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            assert re.fullmatch(r"https?://[\w.-]+\.\w+(/\S*)?", target), target
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _slugs(file), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_blocks_are_sound(page: Path) -> None:
    """Python compiles, data parses, and each himc line has words that its command takes."""
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if token.type != "fence":
            continue
        language = token.info.split()[0] if token.info else ""
        if language == "python":
            compile(token.content, str(page), "exec")
        elif language == "yaml":
            assert yaml.safe_load(token.content) is not None
        elif language == "toml":
            tomllib.loads(token.content)
        elif language == "json":
            json.loads(token.content)
        elif language in ("sh", "bash"):
            for line in token.content.splitlines():
                for part in re.findall(r"(?:^|&& |\$\()(?:\.venv/bin/)?(himc [^|&)>]*)", line.partition(" #")[0]):
                    _takes(shlex.split(part)[1:])


def _takes(words: list[str]) -> None:
    """The command that these words name takes them."""
    commands = reference().commands()
    if words and words[0].startswith("--"):
        return
    path = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in commands)
    commands[path].make_context(path, words[len(path.split()):])


def contracts() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / ".importlinter", encoding="utf-8")
    return found


def _lines(section: Any, key: str) -> list[str]:
    return [line.strip() for line in section[key].splitlines() if line.strip()]


ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")


def test_the_architecture_names_what_exists() -> None:
    for name in re.findall(r"`((?:charlib|system)(?:\.\w+)*)`", ARCHITECTURE):
        assert find_spec(name) is not None, name
    for path in re.findall(r"`((?:charlib|system|netlists|tests|docs)/[\w/.]+)`", ARCHITECTURE):
        assert (ROOT / path).exists(), path
    for package in ("charlib", "system"):
        folders = {file.parent.name for file in (ROOT / package).glob("*/__init__.py")} - {"data"}
        assert [name for name in folders if f"`{package}.{name}`" not in ARCHITECTURE] == []


def test_the_architecture_tells_the_contracts_exceptions() -> None:
    """Who may cross the bridge, and the one module that may import PySpice, matplotlib or torch."""
    found = contracts()
    layers = ARCHITECTURE[ARCHITECTURE.index("## Layers"):]
    bridge = found["importlinter:contract:bridge"]
    for line in _lines(bridge, "ignore_imports"):
        assert f"`{line.split(' -> ')[0]}`" in layers, line
    for key, written in (("one-pyspice", "charlib/spice/live.py"), ("one-matplotlib", "system/report/plots.py")):
        (line,) = _lines(found[f"importlinter:contract:{key}"], "ignore_imports")
        assert line.split(" -> ")[0].replace(".", "/") + ".py" == written
        assert f"`{written}`" in layers
    free = {"system.train", "system.numerics"}
    listed = _lines(found["importlinter:contract:torch"], "source_modules")
    assert "torch in `system.train` and `system.numerics` alone" in layers
    assert not [name for name in listed if name in free]


def test_every_part_of_the_system_is_kept_from_torch() -> None:
    """The contract lists modules by hand: none may be missing but those that may import it."""
    listed = set(_lines(contracts()["importlinter:contract:torch"], "source_modules"))
    there = {f"system.{found.name}" for found in pkgutil.iter_modules([str(ROOT / "system")])}
    may = {"system.train", "system.numerics", "system.data"}
    assert there - listed - may - CLI_THAT_TRAINS == set()


#: these start training or explore with its records, and import torch's users when called
CLI_THAT_TRAINS = {"system.cli_train", "system.cli_gpu", "system.cli_explore", "system.explore"}


def test_every_column_of_a_gpus_row_is_in_the_tutorial() -> None:
    text = (ROOT / "docs" / "tutorials" / "gpu.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \|", text, re.MULTILINE)
    needed = {name: need for cell, need in rows for name in re.findall(r"`(\w+)`", cell)}
    assert set(needed) == set(gpu_records.COLUMNS)
    assert {name for name, need in needed.items() if need == "yes"} == set(gpu_records.REQUIRED)
    assert {name for name, need in needed.items() if need == "unless the card is shipped"} == set(
        gpu_records.OF_THE_CARD)
