"""SPICE raw files, as ngspice writes them: a text header, then doubles in binary or in ASCII."""

from __future__ import annotations

import re

import numpy as np

from charlib.errors import SimulationFailed
from charlib.spice.engine import FloatArray

_COUNT = re.compile(r"^No\. (Variables|Points):\s*(\d+)\s*$", re.MULTILINE)
_VARIABLE = re.compile(r"^\t\d+\t(\S+)\t", re.MULTILINE)
_MARK = re.compile(rb"^(Binary|Values):\r?\n", re.MULTILINE)


def parse_raw(data: bytes) -> dict[str, FloatArray]:
    """The first plot of a raw file: lower-case name -> values, each of shape (points,), in the file's order.

    SimulationFailed where it is cut short, holds complex numbers or is no raw file.
    """
    mark = _MARK.search(data)
    if mark is None:
        raise SimulationFailed("raw file: it has neither 'Binary:' nor 'Values:'")
    header = data[:mark.start()].decode("utf-8", "replace")
    if re.search(r"^Flags:.*\bcomplex\b", header, re.MULTILINE):
        raise SimulationFailed("raw file: its numbers are complex, not real")
    counts = {name: int(number) for name, number in _COUNT.findall(header)}
    names = _VARIABLE.findall(header)
    columns, rows = len(names), counts.get("Points", 0)
    if columns == 0 or counts.get("Variables") != columns:
        raise SimulationFailed(f"raw file: its header counts {counts.get('Variables', 0)} variables, "
                               f"but names {columns}")
    rest = data[mark.end():]
    if mark.group(1) == b"Binary":
        values = np.frombuffer(rest[:len(rest) // 8 * 8], dtype=np.float64)
    else:
        first_plot = rest.decode("ascii", "replace").partition("Title:")[0]
        values = np.delete(np.array(first_plot.split(), dtype=np.float64), np.s_[::columns + 1])
    if len(values) < rows * columns:
        raise SimulationFailed(f"raw file: it ends after {len(values)} of {rows * columns} numbers")
    table = values[:rows * columns].reshape(rows, columns)
    return {name.lower(): table[:, k].copy() for k, name in enumerate(names)}
