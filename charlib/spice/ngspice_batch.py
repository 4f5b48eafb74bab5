"""ngspice as a command: the simplest engine beside the live one, and its check."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from charlib.errors import SimulationFailed
from charlib.pdk.model import COMPAT_MARK
from charlib.spice.command import DECK_FILE, CommandEngine, Outcome, output_of
from charlib.spice.complaint import complaint_of
from charlib.spice.deck import DcSweep, Deck, Transient
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.rawfile import parse_raw

RAW_FILE = "out.raw"
_COMPAT = re.compile(rf"^{re.escape(COMPAT_MARK)}(\w+)$", re.MULTILINE)
_SOLVER = re.compile(r"^Total analysis time \(seconds\) = (\S+)", re.MULTILINE)


def compatibility(deck: Deck) -> str | None:
    """The `ngbehavior` that the deck's cards need, else None."""
    found = _COMPAT.search(deck.body)
    return found[1] if found else None


def waveforms_of(deck: Deck, vectors: Mapping[str, FloatArray], solver_s: float) -> Waveforms:
    """The deck's signals among ngspice's vectors, named as its raw files name them."""
    missing = [signal for signal in deck.saved() if signal not in vectors]
    if missing:
        raise SimulationFailed(f"ngspice kept no {missing[0]}; it kept {', '.join(vectors)}")
    signals = {signal: vectors[signal] for signal in deck.saved()}
    names = {Transient: ("time",), DcSweep: ("v-sweep", "v(v-sweep)")}.get(type(deck.analysis), ())
    axis = next((vectors[name] for name in names if name in vectors), None)
    if names and axis is None:
        raise SimulationFailed(f"ngspice kept no {names[0]}; it kept {', '.join(vectors)}")
    return Waveforms(np.zeros(1) if axis is None else axis, signals, solver_s)


class NgspiceBatchEngine(CommandEngine):
    """`ngspice -b`, a process a deck; starts without the user's initialisation file."""

    def __init__(self, program: str = "ngspice", timeout_s: float = 600.0) -> None:
        super().__init__(program, timeout_s)

    @property
    def version(self) -> str:
        found = re.search(r"ngspice-\S+", output_of(self._program, "--version"))
        return found[0] if found else "ngspice"

    def render(self, deck: Deck) -> str:
        return deck.text(measures=False)

    def argv(self, deck: Deck) -> Sequence[str]:
        mode = compatibility(deck)
        define = ["-D", f"ngbehavior={mode}"] if mode else []
        return [self._program, "-n", *define, "-b", "-r", RAW_FILE, DECK_FILE]

    def complaint(self, log: Sequence[str]) -> str | None:
        return complaint_of(log)

    def read(self, deck: Deck, folder: Path, log: Sequence[str]) -> Outcome:
        vectors = parse_raw((folder / RAW_FILE).read_bytes())
        told = _SOLVER.search("\n".join(log))
        return Outcome(waveforms_of(deck, vectors, float(told[1]) if told else 0.0))
