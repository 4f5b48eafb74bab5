"""The live engine: ngspice as a shared library, driven through PySpice. The only module that imports it.

A deck that differs from the one before only in its sources, loads and analysis is not parsed again: the resident
circuit is altered (:mod:`charlib.spice.resident`).

Hazards, each met and tested: a bad deck can hand back the previous deck's vectors unless the old circuit
and plots are removed first; PySpice takes ngspice's notes for errors, so the log is judged here;
Debian ships `libngspice.so.0` without the plain name that PySpice looks for; ngspice is one circuit a
process and not re-entrant, so there is one engine a process; ngspice runs what a `.spiceinit` in the working folder
or the home says (`shell` lines too), so it starts where there is none.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.util import Finalize
from typing import Any

import numpy as np

from charlib.errors import BadInput, SimulationFailed
from charlib.screen import screen
from charlib.spice.complaint import complaint_of
from charlib.spice.deck import DcSweep, Deck, Transient
from charlib.spice.engine import FloatArray, Waveforms, check_complete
from charlib.spice.ngspice_batch import compatibility
from charlib.spice.resident import differences

APT_LINE = "apt-get install -y libngspice0"
#: what ngspice says of its progress
_PROGRESS = (" Reference value", "Doing analysis at TEMP", "No. of Data Rows")


def library_path() -> str | None:
    """The ngspice shared library: $NGSPICE_LIBRARY_PATH, else what the system's loader knows, else None."""
    return os.environ.get("NGSPICE_LIBRARY_PATH") or ctypes.util.find_library("ngspice")


def _scratch() -> str:
    """A folder for the files that some models write where they stand (bsim4v5.out); removed at exit.

    It is made again where someone cleaned it away, elsewhere if the whole temporary folder went. A forked worker
    shares its parent's, and removes the one that it had to make: `atexit` would not run there.
    """
    if not _folder or not os.path.isdir(_folder[-1]):
        if not os.path.isdir(tempfile.gettempdir()):
            tempfile.tempdir = None  # what Python remembers is gone: choose again
        _folder.append(tempfile.mkdtemp(prefix="himc-ngspice-"))
        Finalize(None, shutil.rmtree, (_folder[-1], True), exitpriority=0)
    return _folder[-1]


_folder: list[str] = []  # the last one is in use


@contextlib.contextmanager
def _without_initialisation_files() -> Iterator[None]:
    """Working folder and home are the empty scratch folder, so that ngspice finds no `.spiceinit` to run."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = _scratch()
    try:
        with contextlib.chdir(_scratch()):
            yield
    finally:
        if home is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = home


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
        def vector_buffer(pointer: Any, size_b: int) -> Any:
            return ffi.buffer(pointer, size_b)

        @staticmethod
        def _send_char(message_c: Any, ngspice_id: int, user_data: Any) -> int:
            session = ffi.from_handle(user_data)
            prefix, _, content = str(ffi_string_utf8(message_c)).partition(" ")
            (session._stderr if prefix == "stderr" else session._stdout).append(content)
            if not content.startswith(_PROGRESS):
                session.engine_log.append(content)
            return 0

    Session.engine_log = []
    Session.LIBRARY_PATH = path
    with _without_initialisation_files():
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
        self._resident: Deck | None = None

    @property
    def version(self) -> str:
        return f"ngspice-{self._session.ngspice_version}"

    @functools.cached_property
    def has_klu(self) -> bool:
        """Whether the library offers the KLU solver (ngspice 42 and later, built with it), which is then used."""
        return int(self._session.ngspice_version) >= 42 and "KLU" in self._command("version -f")

    def _command(self, line: str) -> str:
        return str(self._session.exec_command(line))

    def load(self, deck: Deck) -> None:
        """Clear, then parse the deck. SimulationFailed with the log where ngspice complains."""
        text = deck.text(measures=False)
        screen(text, f"deck '{deck.title}'")
        if self.has_klu:
            text = text.replace("\n.options ", "\n.options klu\n.options ", 1)
        self.clear()
        self._session.engine_log.clear()
        if mode := compatibility(deck):
            self._command(f"set ngbehavior={mode}")
        try:
            with contextlib.chdir(_scratch()):
                self._session.load_circuit(text)
        except NameError as error:  # PySpice's way to say that ngspice refused the circuit
            self._judge(deck)
            raise self._failure(f"ngspice refused the circuit ({error})", deck) from error
        self._judge(deck)
        self._resident = deck

    def clear(self) -> None:
        """Remove circuit and results, so that nothing of an earlier deck can come back.

        Some bad decks make the library give up ("cannot recover and awaits to be detached"); then it is
        unloaded and loaded afresh.
        """
        self._resident = None
        if self._session.detached:
            self._session.close()
            LiveEngine._shared = self._session = _start()
        if getattr(self._session, "circuit_loaded", False):
            self._command("remcirc")
        self._command("destroy all")
        self._session.circuit_loaded = True

    def _judge(self, deck: Deck) -> None:
        if complaint := complaint_of(self._session.engine_log):
            raise self._failure(f"ngspice: {complaint.strip()}", deck)

    def _failure(self, reason: str, deck: Deck) -> SimulationFailed:
        self._resident = None
        return SimulationFailed(reason, deck.text(), "\n".join(self._session.engine_log[-20:]))

    def analyse(self, deck: Deck) -> Waveforms:
        """Analyse the loaded circuit as the deck asks and read what it saves."""
        begin = time.perf_counter()
        with contextlib.chdir(_scratch()):
            self._command(deck.analysis.card()[1:])
        solver_s = time.perf_counter() - begin
        self._judge(deck)
        log = tuple(self._session.engine_log)
        plot_name = self._session.last_plot
        if plot_name == "const":
            raise self._failure("ngspice made no result", deck)
        signals = {signal: self._vector(f"{plot_name}.{_vector_name(signal)}", signal, deck)
                   for signal in deck.saved()}
        axis_name = {Transient: "time", DcSweep: "v-sweep"}.get(type(deck.analysis))
        axis = self._vector(f"{plot_name}.{axis_name}", axis_name, deck) if axis_name else np.zeros(1)
        return check_complete(deck, Waveforms(axis, signals, solver_s, log))

    def _vector(self, name: str, what: str, deck: Deck) -> FloatArray:
        """A copy of one result vector, before the next run frees it."""
        found = self._session._ngspice_shared.ngGet_Vec_Info(name.encode())
        if not found or not found.v_length:
            raise self._failure(f"ngspice kept no {what}", deck)
        raw = self._session.vector_buffer(found.v_realdata, found.v_length * 8)
        return np.frombuffer(raw, dtype=np.float64).copy()

    def run(self, deck: Deck) -> Waveforms:
        """Simulate the deck: by altering the resident circuit where only its sources and loads differ."""
        changes = differences(self._resident, deck) if self._resident is not None else None
        if changes is None or self._session.detached:
            self.load(deck)
        else:
            self._resident = None  # until every change is made, the circuit is that of no deck
            self._session.engine_log.clear()
            self._command("destroy all")
            for change in changes:
                self._command(change)
            self._judge(deck)
            self._resident = deck
        return self.analyse(deck)


def _vector_name(signal: str) -> str:
    """ngspice's name of "v(node)" is "node", of "i(vdd)" is "vdd#branch"."""
    kind, _, rest = signal.partition("(")
    name = rest.rstrip(")")
    return f"{name}#branch" if kind == "i" else name
