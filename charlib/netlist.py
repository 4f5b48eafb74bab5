"""Find subcircuits in `netlists/` by name: each file NAME.sp holds `.subckt NAME` and nothing that runs.

Files are read through importlib.resources, so they are found in a wheel as in a checkout. What a
subcircuit instantiates is pulled in too, each file once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from charlib.errors import BadInput
from charlib.screen import screen_file

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


def read_foreign(path: Path, allowed: Sequence[Path]) -> str:
    """A user's netlist: circuits only, inside `allowed`. BadInput with the line of what is not."""
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in allowed):
        raise BadInput(f"netlist {path}: lies outside the kit's folder; list its folder under 'allow' in pdk.toml")
    text = screen_file(path, allowed)
    forbidden = _FORBIDDEN.search(text)
    if forbidden:
        line = text.count("\n", 0, forbidden.start(1)) + 1
        raise BadInput(f"netlist {path.name}: line {line}: '.{forbidden.group(1).lower()}' is not allowed; "
                       "circuits only")
    return text


def defining(text: str, subckt: str, where: str) -> str:
    """`text` cut down to its subcircuits. BadInput unless it defines `subckt`."""
    blocks = re.findall(r"^\.subckt\b.*?^\.ends\b[^\n]*\n?", text, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    names = [block.split(None, 2)[1].lower() for block in blocks]
    if subckt.lower() not in names:
        raise BadInput(f"netlist {where}: it does not define .subckt {subckt}; it has {', '.join(names) or 'none'}")
    for block in blocks:
        said = re.sub(r"^\*.*$", "", block, flags=re.MULTILINE)
        if re.search(r"(?<![\w.])gnd(?![\w.])", said, re.IGNORECASE):
            raise BadInput(f"netlist {where}: a net is named gnd, which is the simulator's node 0, where no bench "
                           "sees a current; name it vss")
    return "".join(block.rstrip("\n") + "\n" for block in blocks)


def opened(text: str, subckt: str, nets: Sequence[str], where: str) -> str:
    """`text` with nets inside `subckt` as further ports, after its own. BadInput for a net that is not there."""
    block = re.search(rf"^\.subckt\s+{re.escape(subckt)}\b.*?^\.ends\b", text,
                      re.IGNORECASE | re.MULTILINE | re.DOTALL)
    words = block.group(0).lower().split() if block else []
    for net in nets:
        if net.lower() not in words:
            raise BadInput(f"{where}: {subckt} has no net '{net}'; say which nets hold the bit, as "
                           "inside = {q = \"...\", qb = \"...\"}")

    def widened(found: re.Match[str]) -> str:
        if found.group(1).lower() != subckt.lower():
            return found.group(0)
        said = found.group(2).replace("\n+", " ").split()
        ports = _before_parameters(said)
        return " ".join([".subckt", found.group(1), *ports, *nets, *said[len(ports):]])

    return _SUBCKT.sub(widened, text)


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
