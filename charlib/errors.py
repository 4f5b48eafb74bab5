"""The errors that a user can meet, each with the exit status it ends a command with.

A message is one line in one grammar: the field, the value, what is allowed, what to do.
Bad input (exit 2) is the user's to mend; a failure (exit 1) is ours or the simulator's. Ctrl-C ends a command with
130, as shells have it.
"""

from __future__ import annotations


class HimcError(Exception):
    """A failure with a message fit for a user; the command ends with `exit_code`."""

    exit_code = 1


class BadInput(HimcError):
    """The user asked for something that is not allowed or does not exist."""

    exit_code = 2


class Stopped(KeyboardInterrupt):
    """The user's Ctrl-C, with a message that says what is kept and how to go on; nothing that goes on after errors
    swallows it."""


class Accident(HimcError):
    """The machine, not the deck, ended a run: it says nothing about the circuit, and another try may go well."""


class SimulationFailed(HimcError):
    """A simulation gave no usable result. It carries what is needed to find out why.

    reason: one line. deck_text: the complete deck. log_tail: the simulator's last lines.
    """

    def __init__(self, reason: str, deck_text: str = "", log_tail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.deck_text = deck_text
        self.log_tail = log_tail

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return (type(self), (self.reason, self.deck_text, self.log_tail))


class LogicError(SimulationFailed):
    """The simulation ran, but the circuit computed the wrong thing, so its figures do not count."""
