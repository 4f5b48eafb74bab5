"""An engine that plays recorded waveforms back, so that everything above the seam is tested without ngspice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from charlib.errors import SimulationFailed
from charlib.spice.deck import Deck
from charlib.spice.engine import Waveforms, check_complete


class ReplayEngine:
    """Plays waveforms by the deck's hash; a deck that was never recorded is an error, not a guess."""

    def __init__(self, recorded: Mapping[str, Waveforms], version: str = "replay") -> None:
        self._recorded = dict(recorded)
        self._version = version

    @property
    def version(self) -> str:
        return self._version

    def run(self, deck: Deck) -> Waveforms:
        key = deck.sha256()
        if key not in self._recorded:
            raise SimulationFailed(f"deck {key[:12]} ('{deck.title}') is not recorded; "
                                   f"{len(self._recorded)} decks are", deck.text())
        return check_complete(deck, self._recorded[key])


def record(path: Path, runs: Mapping[str, Waveforms]) -> None:
    """Write runs by deck hash to one compressed .npz (arrays only, no pickle)."""
    arrays: dict[str, np.ndarray] = {}
    for key, waves in runs.items():
        arrays[f"{key}|axis"] = waves.axis
        arrays.update({f"{key}|{name}": values for name, values in waves.signals.items()})
    with path.open("wb") as sink:
        np.savez_compressed(sink, allow_pickle=False, **arrays)


def load_recorded(path: Path) -> ReplayEngine:
    """The engine over a file that :func:`record` wrote."""
    runs: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as bundle:
        for full in bundle.files:
            key, _, name = full.partition("|")
            runs.setdefault(key, {})[name] = bundle[full]
    return ReplayEngine({key: Waveforms(signals.pop("axis"), signals) for key, signals in runs.items()},
                        version=f"replay:{path.name}")
