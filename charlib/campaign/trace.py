"""Trace: from a run's id to its deck and measures, and from the deck back to the numbers with plain ngspice."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from charlib.campaign.store import RunRow, Store
from charlib.errors import BadInput, SimulationFailed
from charlib.screen import screen

#: a measure as `ngspice -b` prints it, e.g. "delay  =  1.2e-11 targ=  2e-11 trig=  8e-12"
_MEASURE = re.compile(r"^\s*(\w+)\s*=\s*([-+]?\d[\d.]*(?:e[-+]?\d+)?)(?=\s|$)", re.IGNORECASE | re.MULTILINE)
_NO_MEASURE = re.compile(r"^Error: measure\s+(\w+)", re.IGNORECASE | re.MULTILINE)
#: the part of ngspice's output that holds measures
_SECTION = re.compile(r"Measurements for [^\n]*\n(.*?)(?=\nTotal analysis time|\Z)", re.DOTALL)
#: seconds that a rerun may take
RERUN_TIMEOUT_S = 1200.0


def explain_run(store: Store, run_id: str) -> dict[str, Any]:
    """All that is known of a run: point, status, measures, origin, deck; JSON-ready.

    run_id: whole, or its first 6 or more characters. BadInput if no such run is in the store.
    """
    row = store.get(run_id)
    return {
        "id": row.id, "kind": row.kind, "point": dict(row.point), "status": row.status, "reason": row.reason,
        "measures": dict(row.measures),
        "origin": {
            "pdk": row.pdk, "cards": dict(row.cards), "engine": row.engine, "revision": row.revision,
            "created": row.created, "steps": row.steps, "solver_s": row.solver_s, "looser": dict(row.looser),
            "database": str(store.path),
        },
        "deck_sha256": row.deck_sha256, "deck": row.deck or recipe(row), "log_tail": row.log_tail,
    }


def recipe(row: RunRow) -> str:
    """How to make the deck of a confidential kit's run again, where the kit is; it quotes nothing of it."""
    point = json.dumps(dict(row.point))
    call = f'deck("{row.pdk}", "{row.kind}", {point!r})'
    return (f"* The deck is withheld: PDK '{row.pdk}' is confidential. Where the kit is installed, Python makes it:\n"
            f"*   from charlib.recipe import deck; print({call})\n"
            f"* Its sha256 is {row.deck_sha256}; revision {row.revision}, {row.engine}.\n")


def rerun(deck: str, timeout_s: float = RERUN_TIMEOUT_S) -> dict[str, float]:
    """Run a deck's text with `ngspice -n -b` in an empty folder; its `.meas` values by lower-case name.

    A deck without `.meas` cards (a sweep, whose measures are taken from the waveforms) gives an empty
    mapping. Raises BadInput where there is no ngspice, SimulationFailed (with deck and log) where it or a
    measure fails.
    """
    program = shutil.which("ngspice")
    if program is None:
        raise BadInput("ngspice: the program is not on this machine; run 'apt-get install -y ngspice'")
    screen(deck, "the stored deck")
    with tempfile.TemporaryDirectory(prefix="himc-rerun-") as folder:
        (Path(folder) / "deck.sp").write_text(deck, encoding="utf-8")
        try:
            done = subprocess.run([program, "-n", "-b", "deck.sp"], cwd=folder, capture_output=True, text=True,
                                  errors="replace", timeout=timeout_s, check=False,
                                  env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"})
        except subprocess.TimeoutExpired as error:
            raise SimulationFailed(f"ngspice -b took more than {timeout_s:g} s", deck) from error
    tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
    failed = _NO_MEASURE.findall(done.stdout + done.stderr)
    if failed:
        raise SimulationFailed(f"ngspice -b: measure {failed[0]} failed", deck, tail)
    values = {name.lower(): float(value) for section in _SECTION.findall(done.stdout)
              for name, value in _MEASURE.findall(section)}
    if done.returncode != 0 or not (values or ".meas" not in deck):
        raise SimulationFailed(f"ngspice -b gave {len(values)} measures, exit {done.returncode}", deck, tail)
    return values
