"""Another ngspice as an independent check: the npm package eecircuit-engine, ngspice compiled to WebAssembly.

Version 1.8.0 holds ngspice 45.2 with the KLU solver and runs under node (18 or later). It takes a whole deck and
gives back the saved vectors of its one analysis; `.meas` cards are left out, since measures are taken here.

What it shows beside ngspice 39 (FreePDK45, tt, 25 °C, 0.8 V): KLU and Sparse agree to 1e-7 in a cell; the gate
tunnelling of a conducting nMOS is 1.2 % higher in 45.2, which moves a bitcell's leakage by 0.12 %.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from charlib.errors import BadInput
from charlib.paths import cache_dir
from charlib.spice.command import DECK_FILE, CommandEngine, Outcome
from charlib.spice.complaint import complaint_of
from charlib.spice.deck import Deck
from charlib.spice.ngspice_batch import compatibility, waveforms_of

PACKAGE, VERSION = "eecircuit-engine", "1.8.0"
ENGINE_FILE = Path("dist") / "eecircuit-engine.mjs"
DRIVER = "node_ngspice.mjs"
RESULT_FILE = "result.json"


def package_dir() -> Path:
    """Where the unpacked npm package lies: $HIMC_EECIRCUIT, else in the cache. It need not exist."""
    explicit = os.environ.get("HIMC_EECIRCUIT")
    return Path(explicit) if explicit else cache_dir() / "npm" / f"{PACKAGE}-{VERSION}"


class NodeNgspiceEngine(CommandEngine):
    """ngspice in WebAssembly under node, a process a deck (about 0.7 s to start).

    package: the folder with the npm package's `package.json`, see :func:`package_dir`. klu: solve by KLU; else by
    Sparse 1.3, as older ngspices do. BadInput where package or node are absent.
    """

    def __init__(self, package: Path | None = None, *, klu: bool = True, node: str = "node",
                 timeout_s: float = 600.0) -> None:
        super().__init__(node, timeout_s)
        self._package = (package or package_dir()).resolve()
        if not (self._package / ENGINE_FILE).is_file():
            raise BadInput(f"{PACKAGE}: '{self._package}' holds no {ENGINE_FILE}; unpack the npm package there "
                           "or set HIMC_EECIRCUIT")
        self._klu = klu

    @property
    def version(self) -> str:
        about = json.loads((self._package / "package.json").read_text(encoding="utf-8"))
        return f"{about['name']}-{about['version']}-{'klu' if self._klu else 'sparse'}"

    def render(self, deck: Deck) -> str:
        text = deck.text(measures=False)
        title, _, rest = text.partition("\n")
        return f"{title}\n.options klu\n{rest}" if self._klu else text

    def argv(self, deck: Deck) -> Sequence[str]:
        driver = str(resources.files("charlib.spice") / DRIVER)
        return [self._program, driver, str(self._package / ENGINE_FILE), DECK_FILE, RESULT_FILE,
                compatibility(deck) or ""]

    def complaint(self, log: Sequence[str]) -> str | None:
        return complaint_of(log)

    def read(self, deck: Deck, folder: Path, log: Sequence[str]) -> Outcome:
        told = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        vectors = {name.lower(): np.asarray(values, dtype=np.float64)
                   for name, values in zip(told["names"], told["values"], strict=True)}
        return Outcome(waveforms_of(deck, vectors, float(told["seconds"])))
