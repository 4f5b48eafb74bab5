"""Simulators that are started as a command: one process and one temporary folder a deck.

A subclass says how a deck is written in its simulator's dialect, which command reads it, what in the log is a
failure, and how the results are read. This module owns what is common: the folder, the time-out, and the errors.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from charlib.errors import Accident, BadInput, SimulationFailed
from charlib.screen import screen
from charlib.spice.deck import Deck
from charlib.spice.engine import Waveforms, check_complete

DECK_FILE = "deck.cir"
TIMEOUT_S = 600.0
#: exit codes of a process that someone ended, such as the kernel short of memory
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)
#: of the log, what an error carries
TAIL_LINES = 20


@dataclass(frozen=True)
class Outcome:
    """What a run left: waveforms, and the measures that the simulator took itself, by lower-case name."""

    waves: Waveforms
    measures: Mapping[str, float] = field(default_factory=dict)


class CommandEngine(ABC):
    """Base of engines that run a command for every deck. Nothing is kept between decks.

    program: the simulator's name or path; BadInput if there is none such. timeout_s: wall time that a deck may take,
    after which its whole process group is killed.
    """

    def __init__(self, program: str, timeout_s: float = TIMEOUT_S) -> None:
        found = shutil.which(program)
        if found is None:
            raise BadInput(f"simulator: '{program}' is no executable on this machine; install it or give its path")
        if not timeout_s > 0:
            raise BadInput(f"timeout_s: must be above 0, got {timeout_s:g}")
        self._program = str(Path(found).absolute())
        self._timeout_s = timeout_s

    @property
    @abstractmethod
    def version(self) -> str:
        """Name and version, e.g. "ngspice-39"; part of every result's key."""

    @abstractmethod
    def render(self, deck: Deck) -> str:
        """The deck in the simulator's dialect."""

    @abstractmethod
    def argv(self, deck: Deck) -> Sequence[str]:
        """The command that simulates `DECK_FILE` in the current folder."""

    @abstractmethod
    def complaint(self, log: Sequence[str]) -> str | None:
        """The line of the log that says that the run failed, else None."""

    @abstractmethod
    def read(self, deck: Deck, folder: Path, log: Sequence[str]) -> Outcome:
        """The results in the folder. `solver_s` is 0 where the simulator does not tell; the log need not be kept."""

    def environment(self) -> Mapping[str, str]:
        """Variables that the command gets besides the caller's."""
        return {"OMP_NUM_THREADS": "1"}

    def run(self, deck: Deck) -> Waveforms:
        """Simulate the deck. SimulationFailed where no complete result came, Accident where its process was killed;
        BadInput if the deck is unsafe."""
        return self.simulate(deck).waves

    def simulate(self, deck: Deck) -> Outcome:
        """As `run`, with the measures that the simulator took itself."""
        screen(deck.text(measures=False), f"deck '{deck.title}'")
        text = self.render(deck)
        with tempfile.TemporaryDirectory(prefix="himc-spice-") as name:
            folder = Path(name)
            (folder / DECK_FILE).write_text(text, encoding="utf-8")
            begin = time.perf_counter()
            reason = self._execute(self.argv(deck), folder)
            wall_s = time.perf_counter() - begin
            log = tuple((folder / "log").read_text(encoding="utf-8", errors="replace").splitlines())
            tail = "\n".join(log[-TAIL_LINES:])
            said = self.complaint(log)
            if said:
                raise SimulationFailed(f"{self._name}: {said.strip()}", text, tail)
            if reason:
                raise SimulationFailed(f"{self._name} {reason}", text, tail)
            try:
                outcome = self.read(deck, folder, log)
            except SimulationFailed as error:
                raise SimulationFailed(error.reason, text, tail) from error
            except (OSError, ValueError, KeyError) as error:
                raise SimulationFailed(f"{self._name}: its results cannot be read ({error})", text, tail) from error
        waves = replace(outcome.waves, log=log, solver_s=outcome.waves.solver_s or wall_s)
        return Outcome(check_complete(deck, waves), outcome.measures)

    @property
    def _name(self) -> str:
        return Path(self._program).name

    def _execute(self, argv: Sequence[str], folder: Path) -> str | None:
        """Run the command, its output into `folder`/log; what went wrong, else None."""
        with (folder / "log").open("wb") as log, subprocess.Popen(
            argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment()}, start_new_session=True,
        ) as process:
            try:
                status = process.wait(self._timeout_s)
            except subprocess.TimeoutExpired:
                return f"was stopped after {self._timeout_s:g} s without an end"
            finally:
                if process.poll() is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
        if status in _KILLED:
            raise Accident(f"{self._name} was killed (exit {status}); run it again")
        return f"ended with exit status {status}" if status else None


@functools.cache
def output_of(*argv: str) -> str:
    """What a command prints, e.g. its version; "" where it cannot be run. Remembered."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
