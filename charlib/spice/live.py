"""The live engine: ngspice as a shared library, driven through PySpice. The only module that imports it.

Hazards, each met and tested: a bad deck can hand back the previous deck's vectors unless the old circuit
and plots are removed first; PySpice takes ngspice's notes for errors, so the log is judged here;
Debian ships `libngspice.so.0` without the plain name that PySpice looks for; ngspice is one circuit a
process and not re-entrant, so there is one engine a process.
"""

from __future__ import annotations

import ctypes.util
import logging
import os
import re
import time
from typing import Any

import numpy as np

from charlib.errors import BadInput, SimulationFailed
from charlib.spice.deck import DcSweep, Deck, Transient
from charlib.spice.engine import Waveforms, check_complete

APT_LINE = "apt-get install -y libngspice0"
_FATAL = re.compile(
    r"\berror\b|fatal|singular matrix|no such (?:node|vector|parameter)|unknown (?:model|subckt)|"
    r"unable to find|could not find|can't find (?:definition|model)|undefined parameter|aborted|"
    r"run simulation\(s\) aborted",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"no errors|trunc(?:ation)? error|reltol|can't find (?:the )?(?:init|initiali[sz]ation) file",
                       re.IGNORECASE)


def library_path() -> str | None:
    """The ngspice shared library: $NGSPICE_LIBRARY_PATH, else what the system's loader knows, else None."""
    return os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice")


def _start() -> Any:
    """Load PySpice's wrapper with our log handling; PySpice is imported only now, since it is slow."""
    path = library_path()
    if path is None:
        raise BadInput(f"ngspice: libngspice is not on this machine; run '{APT_LINE}' or set "
                       "NGSPICE_LIBRARY_PATH")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("PySpice").setLevel(logging.CRITICAL)
    from PySpice.Spice.NgSpice.Shared import NgSpiceShared, ffi, ffi_string_utf8

    class Session(NgSpiceShared):  # type: ignore[misc]
        """PySpice's session, keeping the log as lines and leaving the judgement to the engine."""

        detached = False

        @staticmethod
        def _exit(status: int, immediate: bool, quit_exit: bool, ngspice_id: int, user_data: Any) -> int:
            ffi.from_handle(user_data).detached = True
            return status

        def _load_library(self, verbose: bool) -> None:
            if LiveEngine._shared is None:
                super()._load_library(verbose)
            else:  # the C declarations are there already, and cffi takes them only once
                self._ngspice_shared = ffi.dlopen(path)

        def close(self) -> None:
            """Unload the library, so that the next session starts from its initial state."""
            ffi.dlclose(self._ngspice_shared)

        @staticmethod
        def _send_char(message_c: Any, ngspice_id: int, user_data: Any) -> int:
            session = ffi.from_handle(user_data)
            prefix, _, content = str(ffi_string_utf8(message_c)).partition(" ")
            (session._stderr if prefix == "stderr" else session._stdout).append(content)
            session.engine_log.append(content)
            return 0

    Session.engine_log = []
    Session.LIBRARY_PATH = path
    session = Session()
    session.exec_command("set num_threads=1")  # ngspice-39 takes 2 whatever OMP_NUM_THREADS says
    return session


class LiveEngine:
    """ngspice in this process. Make one, use it for many decks; it cleans up before each."""

    _shared: Any = None

    def __init__(self) -> None:
        if LiveEngine._shared is None:
            LiveEngine._shared = _start()
        self._session = LiveEngine._shared

    @property
    def version(self) -> str:
        return f"ngspice-{self._session.ngspice_version}"

    @property
    def has_klu(self) -> bool:
        """Whether the library offers the KLU solver (ngspice 42 and later, built with it)."""
        return int(self._session.ngspice_version) >= 42 and "KLU" in self._command("version -f")

    def _command(self, line: str) -> str:
        return str(self._session.exec_command(line))

    def load(self, deck: Deck) -> None:
        """Clear, then parse the deck. SimulationFailed with the log where ngspice complains."""
        self.clear()
        self._session.engine_log.clear()
        try:
            self._session.load_circuit(deck.text())
        except NameError as error:  # PySpice's way to say that ngspice refused the circuit
            self._judge(deck)
            raise self._failure(f"ngspice refused the circuit ({error})", deck) from error
        self._judge(deck)

    def clear(self) -> None:
        """Remove circuit and results, so that nothing of an earlier deck can come back.

        Some bad decks make the library give up ("cannot recover and awaits to be detached"); then it is
        unloaded and loaded afresh.
        """
        if self._session.detached:
            self._session.close()
            LiveEngine._shared = self._session = _start()
        if getattr(self._session, "circuit_loaded", False):
            self._command("remcirc")
        self._command("destroy all")
        self._session.circuit_loaded = True

    def _judge(self, deck: Deck) -> None:
        log: list[str] = self._session.engine_log
        for line in log:
            if _FATAL.search(line) and not _HARMLESS.search(line):
                raise self._failure(f"ngspice: {line.strip()}", deck)

    def _failure(self, reason: str, deck: Deck) -> SimulationFailed:
        return SimulationFailed(reason, deck.text(), "\n".join(self._session.engine_log[-20:]))

    def analyse(self, deck: Deck) -> Waveforms:
        """Run the loaded circuit and read what the deck saves."""
        begin = time.perf_counter()
        self._command("run")
        solver_s = time.perf_counter() - begin
        self._judge(deck)
        log = tuple(self._session.engine_log)
        plot_name = self._session.last_plot
        if plot_name == "const":
            raise self._failure("ngspice made no result", deck)
        vectors = {name.lower(): np.asarray(vector._data, dtype=float)
                   for name, vector in self._session.plot(None, plot_name).items()}
        axis_name = {Transient: "time", DcSweep: "v-sweep"}.get(type(deck.analysis))
        signals: dict[str, np.ndarray] = {}
        for signal in deck.saved():
            vector_name = _vector_name(signal)
            if vector_name not in vectors:
                raise self._failure(f"ngspice kept no {signal}", deck)
            signals[signal] = vectors[vector_name]
        axis = vectors[axis_name] if axis_name else np.zeros(1)
        return check_complete(deck, Waveforms(axis, signals, solver_s, log))

    def run(self, deck: Deck) -> Waveforms:
        self.load(deck)
        return self.analyse(deck)


def _vector_name(signal: str) -> str:
    """ngspice's name of "v(node)" is "node", of "i(vdd)" is "vdd#branch"."""
    kind, _, rest = signal.partition("(")
    name = rest.rstrip(")")
    return f"{name}#branch" if kind == "i" else name
