"""What a simulator's process is held to, and how to tell an accident that befell it from a fault of its deck.

A process that someone ended (the kernel short of memory, an operator, a job scheduler) says nothing about the deck in
its hands; one that crashed does, where it crashes again alone. Time in which a process was stopped is no time that it
took.
"""

from __future__ import annotations

import contextlib
import ctypes
import signal
import sys
import time
from pathlib import Path

from charlib.spice import Deck, Engine, OperatingPoint

#: a process looks at its clock at least so often; a longer silence means that it was stopped, and counts no more
LOOK_S = 1.0
#: signals that others send; a crash raises SIGSEGV, SIGABRT, SIGBUS, SIGFPE or SIGILL
_SENT = frozenset(-number for number in (signal.SIGINT, signal.SIGTERM, *(
    getattr(signal, name) for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGXCPU") if hasattr(signal, name))))
_SET_PDEATHSIG, _SET_DUMPABLE = 1, 4  # of prctl(2)
#: a deck that no working simulator dies of
_PROBE = Deck("probe", "v1 a 0 1\nr1 a 0 1k\n", 25.0, OperatingPoint(), save=("v(a)",))


def was_killed(exit_code: int | None) -> bool:
    """Whether the process was ended from outside."""
    return exit_code in _SENT


def die_with_parent() -> None:
    """Have the kernel end this process when the parent ends: a forked sibling holds the pipe's other end too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGKILL)


def leave_no_core() -> None:
    """No core file of this process: it would hold the cards, which a confidential kit's owner keeps to himself.

    The limit stops files, the flag also those that the kernel hands to a program.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0)


def prove(engine: Engine) -> None:
    """Run a deck that no working simulator dies of: whoever dies here does so by the machine's fault."""
    with contextlib.suppress(Exception):
        engine.run(_PROBE)


def is_stopped(pid: int | None) -> bool:
    """Whether the process is stopped (SIGSTOP, a debugger); False where the system does not tell (no /proc)."""
    return _status(pid)[:1] in (["T"], ["t"])


def birth_of(pid: int) -> str:
    """When a process began, which tells it from a later one of its number; "" where there is none or no /proc."""
    return "".join(_status(pid)[19:20])


def _status(pid: int | None) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state first, start in clock ticks as the twentieth."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="latin-1").rpartition(")")[2].split()
    except OSError:
        return []


class AwakeClock:
    """Seconds in which this process ran. Call it at least every LOOK_S seconds."""

    def __init__(self) -> None:
        self._seen, self._awake_s = time.monotonic(), 0.0

    def __call__(self) -> float:
        now = time.monotonic()
        self._awake_s += min(now - self._seen, LOOK_S)
        self._seen = now
        return self._awake_s
