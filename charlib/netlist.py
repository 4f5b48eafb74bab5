"""Find subcircuits in `netlists/` by name: each file NAME.sp holds `.subckt NAME` and nothing that runs.

Files are read through importlib.resources, so they are found in a wheel as in a checkout. What a
subcircuit instantiates is pulled in too, each file once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from charlib.errors import BadInput

#: wrappers that the PDK header defines
SHIM = frozenset({"nmos", "pmos", "nmos_pg", "nmos_pd", "pmos_pu"})
#: nets inside a subcircuit of ours that benches look at: a user's cell in its place must have them too
WATCHED: Mapping[str, tuple[str, ...]] = {"sram_6t": ("q", "qb")}
_FOLDERS = ("cells", "memory", "imc")
_SUBCKT = re.compile(r"^\.subckt\s+(\S+)([^\n]*(?:\n\+[^\n]*)*)", re.IGNORECASE | re.MULTILINE)
_FORBIDDEN = re.compile(r"^\s*\.(lib|include|tran|dc|ac|op|meas|measure|control|save|ic|end)\b",
                        re.IGNORECASE | re.MULTILINE)


@cache
def _files() -> dict[str, str]:
    """File text by subcircuit name."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        for entry in (resources.files("netlists") / folder).iterdir():
            if entry.name.endswith(".sp"):
                found[entry.name.removesuffix(".sp")] = entry.read_text(encoding="utf-8")
    return found


def names() -> tuple[str, ...]:
    """The subcircuits that there are, each of which a kit's own cell may replace."""
    return tuple(sorted(_files()))


def netlist_text(name: str) -> str:
    """The file that defines `name`. BadInput if there is none, or if it holds a card that runs something."""
    files = _files()
    if name not in files:
        raise BadInput(f"netlist: no '{name}.sp' in netlists/; there are {', '.join(sorted(files))}")
    text = files[name]
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        raise BadInput(f"netlist: {name}.sp holds '{forbidden.group(0).strip()}'; circuits only, no analyses")
    return text


@cache
def length_multiples() -> frozenset[float]:
    """Channel lengths in use in `netlists/`, in multiples of lmin."""
    found = {1.0}
    for text in _files().values():
        found |= {float(factor) for factor in re.findall(r"\bl='([\d.]+)\*lmin'", text)}
    return frozenset(found)


def netlist_ports(name: str) -> tuple[str, ...]:
    """The port names of a subcircuit, in order."""
    return tuple(port.lower() for port in ports_in(netlist_text(name), name, f"{name}.sp"))


def takes_drive(name: str) -> bool:
    """Whether a subcircuit of ours has the parameter `drive`."""
    return any("drive=" in match.group(2).lower() for match in _SUBCKT.finditer(netlist_text(name))
               if match.group(1).lower() == name.lower())


def ports_in(text: str, subckt: str, where: str) -> tuple[str, ...]:
    """The port names of a subcircuit that `text` defines, as they stand there. BadInput where it does not."""
    for match in _SUBCKT.finditer(text):
        if match.group(1).lower() == subckt.lower():
            return tuple(_before_parameters(match.group(2).replace("\n+", " ").split()))
    raise BadInput(f"netlist: {where} does not define .subckt {subckt}")


def _before_parameters(words: list[str]) -> list[str]:
    ports: list[str] = []
    for word in words:
        if "=" in word or word.lower() == "params:" or word[0] in "$;":
            break
        ports.append(word)
    return ports


def children(text: str) -> tuple[str, ...]:
    """Names of the subcircuits that a text instantiates, first-seen order."""
    joined = text.replace("\n+", " ")
    names: list[str] = []
    for line in joined.splitlines():
        if line[:1].lower() == "x":
            words = list(_before_parameters(line.split("$")[0].split()))
            names.append(words[-1].lower())
    return tuple(dict.fromkeys(names))


def subckts(*names: str, replaced: Mapping[str, str] | None = None) -> str:
    """The text of the named subcircuits and, before each, of all that they use, each once.

    replaced: name -> text that stands for ours, complete in itself.
    """
    texts: dict[str, str] = {}
    others = replaced or {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in SHIM or name in texts:
            return
        if name in path:
            raise BadInput(f"netlist: {' -> '.join([*path, name])} goes in a circle")
        if name in others:
            texts[name] = others[name]
            return
        text = netlist_text(name)
        own = {match.group(1).lower() for match in _SUBCKT.finditer(text)}
        for child in children(text):
            if child not in own:
                visit(child, (*path, name))
        texts[name] = text.rstrip("\n") + "\n"

    for name in names:
        visit(name, ())
    return "".join(texts.values())
