"""Decks, engines and measures. `live` is not imported here: it loads the simulator."""

from charlib.spice.deck import (
    DEFAULT_OPTIONS,
    DcSweep,
    Deck,
    Delay,
    Energy,
    Extreme,
    Measure,
    OperatingPoint,
    Sample,
    Transient,
)
from charlib.spice.engine import Engine, Waveforms
from charlib.spice.measure import evaluate
from charlib.spice.replay import ReplayEngine

__all__ = [
    "DEFAULT_OPTIONS", "DcSweep", "Deck", "Delay", "Energy", "Engine", "Extreme", "Measure", "OperatingPoint",
    "ReplayEngine", "Sample", "Transient", "Waveforms", "evaluate",
]
