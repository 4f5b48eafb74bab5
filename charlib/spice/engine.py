"""The seam between benches and a simulator: a deck goes in, waveforms come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from charlib.errors import SimulationFailed
from charlib.spice.deck import Deck, Transient

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Waveforms:
    """What a run left. axis: time in s or swept volts, shape (n,); signals: name -> (n,) V or A.

    solver_s: wall time of the analysis alone, without parsing. log: the simulator's lines.
    """

    axis: FloatArray
    signals: Mapping[str, FloatArray]
    solver_s: float = 0.0
    log: tuple[str, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        return len(self.axis)

    def signal(self, name: str) -> FloatArray:
        """The signal "v(node)" or "i(source)"; SimulationFailed if the run did not keep it."""
        key = name.lower()
        if key not in self.signals:
            raise SimulationFailed(f"signal {name} was not saved; the run has {', '.join(self.signals)}")
        return self.signals[key]


class Engine(Protocol):
    """Runs one deck. Raises SimulationFailed with the deck and the log where no result came."""

    @property
    def version(self) -> str:
        """Name and version, e.g. "ngspice-39"; part of every result's key."""

    def run(self, deck: Deck) -> Waveforms:
        """Simulate the deck from a clean simulator."""


def check_complete(deck: Deck, waves: Waveforms) -> Waveforms:
    """Refuse waveforms that are not finite, or a transient that ended early."""
    tail = "\n".join(waves.log[-20:])
    if waves.steps == 0 or not all(np.isfinite(s.sum()) for s in waves.signals.values()):
        raise SimulationFailed("the simulator returned no finite waveforms", deck.text(), tail)
    if isinstance(deck.analysis, Transient) and waves.axis[-1] < deck.analysis.stop_s * (1 - 1e-6):
        raise SimulationFailed(f"the transient stopped at {waves.axis[-1]:.4g} s "
                               f"of {deck.analysis.stop_s:.4g} s", deck.text(), tail)
    return waves
