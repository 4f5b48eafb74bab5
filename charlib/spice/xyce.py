"""Xyce, Sandia's parallel simulator, as a command.

Formats read here, by the Xyce Reference Guide: `.PRINT FORMAT=CSV` writes a header of upper-case names (TIME first,
in a transient; a sweep's value is not written) and rows of numbers; `.MEASURE` writes a line NAME = VALUE into
`DECK.mt0`, and, with MEASFAIL=1, NAME = FAILED for what was not found.

Xyce was not at hand when this was written: it is tested on decks and outputs in the documented formats, not by runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from charlib.errors import SimulationFailed
from charlib.spice.command import DECK_FILE, CommandEngine, Outcome, output_of
from charlib.spice.deck import DcSweep, Deck, Transient
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.xyce_deck import WAVES_FILE, print_name, render, rows_of

MEASURES_FILE = f"{DECK_FILE}.mt0"
#: what only a run that came to its end prints
END = "***** End of Xyce(TM) Simulation"
_FATAL = re.compile(
    r"^\s*(?:Netlist|User|Dev|Device|Simulation|Internal|Application)\b[^:]*\b(?:error|fatal)\b|\*\*\* Xyce Abort|"
    r"Simulation aborted|Time step too small|Segmentation fault", re.IGNORECASE)
_SOLVER = re.compile(r"^\*{5} Total Simulation Solvers Run Time:\s*(\S+) seconds", re.MULTILINE)
_MEASURE = re.compile(r"^\s*(\w+)\s*[=:]\s*(\S+)")


def parse_csv(text: str) -> dict[str, FloatArray]:
    """Columns of a Xyce CSV file by upper-case name, in its order; SimulationFailed where a row is cut short."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise SimulationFailed("Xyce: its CSV file is empty")
    names = [name.strip().strip('"').upper() for name in _columns(lines[0])]
    rows = [line.split(",") for line in lines[1:]]
    short = next((k for k, row in enumerate(rows) if len(row) != len(names)), None)
    if short is not None:
        raise SimulationFailed(f"Xyce: row {short + 1} of its CSV file has {len(rows[short])} "
                               f"of {len(names)} columns")
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    return {name: table[:, k].copy() for k, name in enumerate(names)}


def _columns(header: str) -> list[str]:
    """The header's names; a comma within brackets, as in V(A,B), divides none."""
    return re.split(r",(?![^()]*\))", header)


def parse_measures(text: str) -> dict[str, float]:
    """Measures of a `.mt0` file by lower-case name. SimulationFailed naming those that Xyce could not take."""
    taken: dict[str, float] = {}
    failed: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _MEASURE.match(line)
        if found is None:
            raise SimulationFailed(f"Xyce: line {number} of its measures is '{line.strip()[:60]}', not NAME = VALUE")
        name, value = found[1].lower(), found[2]
        if value == "FAILED":
            failed.append(name)
            continue
        try:
            taken[name] = float(value)
        except ValueError as error:
            raise SimulationFailed(f"Xyce: measure '{name}' is '{value}', not a number") from error
    if failed:
        raise SimulationFailed(f"Xyce: could not take the measures {', '.join(failed)}")
    return taken


def complaint_of(log: Sequence[str]) -> str | None:
    """The line of Xyce's log that says why a run failed, else None."""
    return next((line for line in log if _FATAL.search(line)), None)


def sweep_of(analysis: DcSweep, rows: int) -> FloatArray:
    """The swept volts of a DC analysis, shape (rows,)."""
    return np.asarray(analysis.start_v + analysis.step_v * np.arange(rows, dtype=np.float64))


class XyceEngine(CommandEngine):
    """A serial Xyce of release 7.5 or later. `simulate` also gives the measures that Xyce took itself."""

    def __init__(self, program: str = "Xyce", timeout_s: float = 600.0) -> None:
        super().__init__(program, timeout_s)

    @property
    def version(self) -> str:
        found = re.search(r"Xyce Release (\S+)", output_of(self._program, "-v"))
        return f"xyce-{found[1]}" if found else "xyce"

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), "XYCE_NO_TRACKING": "1"}

    def render(self, deck: Deck) -> str:
        return render(deck)

    def argv(self, deck: Deck) -> Sequence[str]:
        return [self._program, DECK_FILE]

    def complaint(self, log: Sequence[str]) -> str | None:
        return complaint_of(log)

    def read(self, deck: Deck, folder: Path, log: Sequence[str]) -> Outcome:
        if not any(END in line for line in log):
            raise SimulationFailed("Xyce: its log does not tell that the simulation came to its end")
        columns = parse_csv((folder / WAVES_FILE).read_text(encoding="utf-8"))
        told = _SOLVER.search("\n".join(log))
        waves = waveforms_of(deck, columns, float(told[1]) if told else 0.0)
        measures = parse_measures((folder / MEASURES_FILE).read_text(encoding="utf-8")) if deck.measures else {}
        return Outcome(waves, measures)


def waveforms_of(deck: Deck, columns: Mapping[str, FloatArray], solver_s: float) -> Waveforms:
    """The deck's signals among the columns; SimulationFailed where one is missing or a sweep is incomplete."""
    signals: dict[str, FloatArray] = {}
    for signal in deck.saved():
        if print_name(signal) not in columns:
            raise SimulationFailed(f"Xyce printed no {signal}; it printed {', '.join(columns)}")
        signals[signal] = columns[print_name(signal)]
    rows, wanted = len(next(iter(signals.values()))), rows_of(deck)
    if wanted is not None and rows != wanted:
        raise SimulationFailed(f"Xyce: its CSV file has {rows} rows where the analysis has {wanted} points")
    if isinstance(deck.analysis, Transient):
        if "TIME" not in columns:
            raise SimulationFailed(f"Xyce printed no TIME; it printed {', '.join(columns)}")
        return Waveforms(columns["TIME"], signals, solver_s)
    axis = sweep_of(deck.analysis, rows) if isinstance(deck.analysis, DcSweep) else np.zeros(1)
    return Waveforms(axis, signals, solver_s)
