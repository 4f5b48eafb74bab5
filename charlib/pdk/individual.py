"""A circuit in which every device differs: each instance gets a copy of its subcircuit with deviations of its own.

The bitcell's Monte Carlo passes a deviation to each of six devices by name. A compartment has hundreds, in nested
subcircuits, so here the netlist's text is rewritten: instance by instance, the subcircuit is copied under a new name
and each device line of the copy carries its `dvt`. Instances keep their names, so nodes and initial states do too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from charlib.errors import BadInput

_SUBCKT = re.compile(r"^\.subckt (\w+)([^\n]*)\n(.*?)^\.ends[^\n]*\n", re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r"(\w+)=(?:'([^']*)'|\{([^}]*)\}|(\S+))")
_DEVICE = re.compile(r"^(?:nmos|pmos)\w*$")

#: (wrapper, width_m, length_m) -> a device's deviation of threshold in volts
Draw = Callable[[str, float, float], float]


def individual(body: str, wmin_m: float, lmin_m: float, draw: Draw) -> str:
    """`body` with every device varied, in the order in which the devices stand. BadInput for a size it cannot read.

    body: subcircuits and instances, without the kit's header, whose wrappers must take `dvt`.
    """
    known = {found[1]: (found[2], found[3]) for found in _SUBCKT.finditer(body)}
    sizes = {"wmin": wmin_m, "lmin": lmin_m}
    copies: list[str] = []

    def line_of(line: str, values: Mapping[str, float]) -> str:
        if not line.lower().startswith("x"):
            return line
        words = _ASSIGNED.sub("", line).split()
        given = {name: product(first or second or third, values)
                 for name, first, second, third in _ASSIGNED.findall(line)}
        if _DEVICE.match(words[-1]):
            return f"{line} dvt={draw(words[-1], given['w'], given['l']):.8g}"
        if words[-1] not in known:
            raise BadInput(f"mismatch: '{words[-1]}' is not in the netlist; its devices are not known to us")
        return line.replace(f" {words[-1]}", f" {copy(words[-1], given)}", 1) if line.endswith(words[-1]) else \
            re.sub(rf" {words[-1]} ", f" {copy(words[-1], given)} ", line, count=1)

    def copy(name: str, given: Mapping[str, float]) -> str:
        header, lines = known[name]
        defaults = {n: product(a or b or c, sizes) for n, a, b, c in _ASSIGNED.findall(header)}
        mine = f"{name}_{len(copies)}"
        copies.append("")
        place, values = len(copies) - 1, sizes | defaults | dict(given)
        text = "\n".join(line_of(line, values) for line in lines.splitlines())
        copies[place] = f".subckt {mine}{header}\n{text}\n.ends {mine}\n"
        return mine

    rest = _SUBCKT.sub("", body)
    top = "\n".join(line_of(line, sizes) for line in rest.splitlines())
    return "".join(copies) + top + "\n"


def product(text: str, values: Mapping[str, float]) -> float:
    """The value of numbers and names multiplied by one another."""
    total = 1.0
    for factor in text.strip("{}' ").split("*"):
        try:
            total *= values[factor] if factor in values else float(factor)
        except ValueError:
            raise BadInput(f"mismatch: '{text}' is not a product of numbers and {', '.join(values)}") from None
    return total
