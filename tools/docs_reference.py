"""Reference pages made from the code: commands, schemas, and one page of modules a package.

`docs/conf.py` calls :func:`write` before Sphinx reads anything; by hand: `python tools/docs_reference.py`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from typer.main import get_command

from system.cli import app
from system.estimate import schema

GENERATED = Path(__file__).parents[1] / "docs" / "_generated"
PACKAGES = ("charlib", "system")
SCHEMAS = ("campaign", "estimate", "report")


def commands() -> dict[str, Any]:
    """Path of words -> command, groups left out."""
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        found = getattr(command, "commands", None)
        if found is None:
            yield " ".join(path), command
        else:
            for name, part in found.items():
                yield from walk(part, (*path, name))
    return dict(walk(get_command(app), ()))


def commands_page() -> str:
    """Every command with its arguments, options and example."""
    lines = ["# Commands", "", "Made from the code; `himc COMMAND --help` prints the same. Exit status: 0 done, "
             "1 failed, 2 bad input. `--json -` leaves standard output to JSON alone; notes and bars go to "
             "standard error.", ""]
    for name, command in commands().items():
        lines += [f"## himc {name}", "", command.help or "", ""]
        rows = [(_spelled(param), getattr(param, "help", "") or "", _default(param)) for param in command.params
                if param.name != "help"]
        lines += _table(("argument or option", "meaning", "default"), rows)
        lines += ["", _cell(command.epilog or ""), ""]
    return "\n".join(lines)


def _spelled(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))


def _default(param: Any) -> str:
    return "" if param.default in (None, False, "") or callable(param.default) else f"`{param.default}`"


def fields_of(node: Mapping[str, Any], path: str = "") -> list[tuple[str, str, str]]:
    """(path, type, description) of every field of a JSON Schema, definitions after the fields."""
    found = []
    for name, part in node.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        found.append((here, _type(part), str(part.get("description", ""))))
        found += fields_of(part, here)
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            found += fields_of(node[key], f"{path}[]")
    for name, part in node.get("$defs", {}).items():
        found += fields_of(part, f"({name})")
    return found


def _type(part: Mapping[str, Any]) -> str:
    if "$ref" in part:
        return f"({part['$ref'].rpartition('/')[2]})"
    if "enum" in part:
        return ", ".join(str(one) for one in part["enum"])
    found = part.get("type", "")
    return " or ".join(found) if isinstance(found, list) else str(found)


def schemas_page() -> str:
    """Every field of every shipped schema."""
    lines = ["# Schemas", "", "Made from the shipped JSON Schemas; `himc schema NAME` prints one. `[]` is an element "
             "of a list or of a mapping; a name in brackets stands for the definition further down.", ""]
    for name in SCHEMAS:
        found = schema(name)
        lines += [f"## {name}", "", str(found.get("title", "")), ""]
        lines += [*_table(("field", "type", "meaning"), [(f"`{path}`", kind, text)
                                                          for path, kind, text in fields_of(found)]), ""]
    return "\n".join(lines)


#: example file -> (heading, package, lexer)
EXAMPLES = {
    "campaign.example.yaml": ("campaign.yaml, for himc characterize", "charlib.data", "yaml"),
    "pdk.example.toml": ("pdk.toml, a process kit", "charlib.data", "toml"),
    "macro.example.yaml": ("macro.yaml, for himc estimate --macro", "system.data", "yaml"),
    "space.example.yaml": ("space.yaml, for himc explore", "system.data", "yaml"),
}


def files_page() -> str:
    """The files that `himc init` writes, whole: their comments are the reference of their fields."""
    lines = ["# Files you write", "", "`himc init campaign|pdk|macro|space` writes each as it stands here.", ""]
    for name, (heading, package, lexer) in EXAMPLES.items():
        text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
        lines += [f"## {heading}", "", f"```{lexer}", text.rstrip("\n"), "```", ""]
    return "\n".join(lines)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    return [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}",
            *(f"| {' | '.join(_cell(one) for one in row)} |" for row in rows)]


def _cell(text: str) -> str:
    """Text that Markdown leaves alone, but for code."""
    parts = " ".join(text.split()).split("`")
    for k in range(0, len(parts), 2):
        for mark in ("*", "_", "<", "[", "$"):
            parts[k] = parts[k].replace(mark, "\\" + mark)
    return "`".join(parts).replace("|", "\\|")


def modules(package: str) -> list[str]:
    """Names of a package's modules, itself first."""
    path = importlib.import_module(package).__path__
    return [package, *sorted(one.name for one in pkgutil.iter_modules(path, f"{package}.") if not one.ispkg)]


def subpackages() -> list[str]:
    """Packages with a page each."""
    found = []
    for name in PACKAGES:
        package = importlib.import_module(name)
        found += [name, *sorted(one.name for one in pkgutil.walk_packages(package.__path__, f"{name}.") if one.ispkg
                                and ".data" not in one.name)]
    return found


def api_page(package: str) -> str:
    """reStructuredText with an automodule for every module of a package."""
    lines = [package, "=" * len(package), ""]
    for name in modules(package):
        lines += [name, "-" * len(name), "", f".. automodule:: {name}", "   :members:", "   :member-order: bysource",
                  *(["   :no-index:"] if name == package else []), ""]  # its names are those of its modules
    return "\n".join(lines)


def write(folder: Path = GENERATED) -> None:
    """All pages; one that has not changed is left alone, so that Sphinx need not read it again."""
    pages = {"commands.md": commands_page(), "schemas.md": schemas_page(), "files.md": files_page()}
    pages |= {f"api/{name}.rst": api_page(name) for name in subpackages()}
    for name, text in pages.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
