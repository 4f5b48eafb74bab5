"""How the devices of a kit differ from one another: what a Monte Carlo sample draws for each.

Convention: Pelgrom's A_VT describes the difference of a pair, so one device of it varies by
σ = A_VT/√(2·W·L). A sample is a vector of independent standard normals, one or several a device; the deck carries
what they make of each device as explicit parameters of its instance, so that it says by itself what was simulated.
Where a kit's cards draw their own terms with AGAUSS, each such term becomes a parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from charlib.errors import BadInput

#: a term of a card: a standard normal, alone or switched by the kit's mismatch switch
_AGAUSS = re.compile(r"(?:mc_mm_switch\s*\*\s*)?agauss\s*\(\s*0\s*,\s*1(?:\.0*)?\s*,\s*1(?:\.0*)?\s*\)",
                     re.IGNORECASE)
#: a device in a netlist of ours: instance, wrapper, width and length in terms of wmin and lmin
_DEVICE = re.compile(r"^x(\w+) [^\n]*? (nmos\w*|pmos\w*) w='?([^'\s]+)'? l='?([^'\s]+)'?", re.MULTILINE)
_SIZE = re.compile(r"^(?:([\d.]+)\*)?(wmin|lmin)$")


@dataclass(frozen=True)
class Pelgrom:
    """Threshold mismatch alone. avt_v_m: A_VT in V·m by polarity ("nmos", "pmos")."""

    avt_v_m: Mapping[str, float]
    source: str

    def sigma_v(self, wrapper: str, width_m: float, length_m: float) -> float:
        """Standard deviation of one device's threshold in volts."""
        return self.avt_v_m[wrapper[:4]] / math.sqrt(2 * width_m * length_m)


@dataclass(frozen=True)
class NativeMismatch:
    """The kit's cards carry their own AGAUSS terms, each a standard normal times an amplitude."""

    source: str


Mismatch = Pelgrom | NativeMismatch


@dataclass(frozen=True)
class Varied:
    """A device of a netlist that varies: its instance name, wrapper, and size in metres."""

    instance: str
    wrapper: str
    width_m: float
    length_m: float


def devices_of(netlist: str, wmin_m: float, lmin_m: float) -> tuple[Varied, ...]:
    """The devices of a subcircuit's text, in order. BadInput for a size that is not a multiple of wmin or lmin."""
    return tuple(Varied(f"x{name}", wrapper, _metres(width, wmin_m, lmin_m), _metres(length, wmin_m, lmin_m))
                 for name, wrapper, width, length in _DEVICE.findall(netlist))


def _metres(size: str, wmin_m: float, lmin_m: float) -> float:
    found = _SIZE.match(size)
    if found is None:
        raise BadInput(f"mismatch: width or length '{size}' is not a multiple of wmin or lmin")
    return float(found[1] or 1) * (wmin_m if found[2] == "wmin" else lmin_m)


def agauss_terms(text: str) -> int:
    """Number of standard normals in a card text."""
    return len(_AGAUSS.findall(text))


def _block(cards: str, subckt: str) -> str:
    """A subcircuit's text in the cards, "" where there is none."""
    head = rf"^\.subckt\s+{re.escape(subckt)}\b"
    found = re.search(head + r".*?^\.ends", cards, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    return found.group() if found else ""


def terms_of(cards: str, subckt: str) -> int:
    """Number of AGAUSS terms in a subcircuit of the cards; 0 where it is none."""
    return agauss_terms(_block(cards, subckt))


def explicit_cards(cards: str, subckts: Sequence[str]) -> str:
    """Cards in which the AGAUSS terms of the named subcircuits are their parameters mm0, mm1, … (default 0)."""
    for name in dict.fromkeys(subckts):
        block = _block(cards, name)
        count = agauss_terms(block)
        if not count:
            continue
        number = iter(range(count))
        head, _, rest = _AGAUSS.sub(lambda _, n=number: f"mm{next(n)}", block).partition("\n")  # type: ignore[misc]
        cards = cards.replace(block, f"{head} {' '.join(f'mm{k}=0' for k in range(count))}\n{rest}")
    return cards


def open_netlist(netlist: str, name: str, names: Sequence[str], passed: Mapping[str, str]) -> str:
    """The subcircuit `name` with parameters `names` (default 0); passed: instance -> what its line gets appended."""
    lines = []
    for line in netlist.splitlines():
        instance = line.split(" ", 1)[0]
        if line.lower().startswith(f".subckt {name} "):
            line = f"{line} {' '.join(f'{n}=0' for n in names)}"
        elif instance in passed:
            line = f"{line} {passed[instance]}"
        lines.append(line)
    return "\n".join(lines) + "\n"
