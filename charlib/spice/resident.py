"""From one deck to the next without parsing: which `alter` commands turn the resident circuit into another.

What can be altered is the value of a top-level source (DC, PWL, PULSE), capacitor or resistor, and the threshold
shift of a device that a mismatch parameter names. Everything else (cards, subcircuits, temperature, options, initial
state, saved signals) must be equal, else the deck is loaded afresh. The analysis is a command of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache

from charlib.spice.deck import Deck

#: ngspice takes commands of at most 1023 characters; a longer wave is loaded with its deck
LONGEST_COMMAND = 1000
_VALUE = re.compile(r"^([cr]\S+ \S+ \S+) (\S+)$")
_SOURCE = re.compile(r"^(v\S+ \S+ \S+) (dc|pwl|pulse)(?: |\()([^()]*?)\)?$")
#: a parameter `dvt_NAME` of a top-level instance X is the threshold shift of the device m1 in its instance NAME
_SHIFT = re.compile(r"^(x\S+ [^=]*?)((?: dvt_\w+=\S+)+)$")


def differences(old: Deck, new: Deck) -> list[str] | None:
    """The `alter` commands from `old` to `new`; None where the circuit must be loaded again."""
    if (old.temp_c, old.options, old.initial) != (new.temp_c, new.options, new.initial):
        return None
    if type(old.analysis) is not type(new.analysis) or old.saved() != new.saved():
        return None
    (old_head, old_tail), (new_head, new_tail) = _split(old.body), _split(new.body)
    if old_head != new_head or len(old_tail) != len(new_tail):
        return None
    commands: list[str] = []
    for before, after in zip(old_tail, new_tail, strict=True):
        if before != after:
            found = _alter(before, after)
            if found is None:
                return None
            commands += found
    return commands if all(len(command) <= LONGEST_COMMAND for command in commands) else None


@lru_cache(maxsize=4)
def _split(body: str) -> tuple[str, tuple[str, ...]]:
    """(all up to the last subcircuit's end, the cards after it with continuation lines joined)."""
    cut = body.rfind("\n.ends")
    cut = body.find("\n", cut + 1) + 1 if cut >= 0 else 0
    return body[:cut], tuple(body[cut:].replace("\n+ ", " ").splitlines())


def _alter(before: str, after: str) -> list[str] | None:
    """The commands for one card, or None where it is not of a kind that can be altered."""
    old, new = _VALUE.match(before), _VALUE.match(after)
    if old and new and old[1] == new[1]:
        return [f"alter {new[1].split()[0]} = {new[2]}"]
    old, new = _SOURCE.match(before), _SOURCE.match(after)
    if old and new and old.group(1, 2) == new.group(1, 2):
        name = new[1].split()[0]
        return [f"alter {name} dc = {new[3]}" if new[2] == "dc" else f"alter @{name}[{new[2]}] = [ {new[3]} ]"]
    old, new = _SHIFT.match(before), _SHIFT.match(after)
    if old and new and old[1] == new[1]:
        return _shifts(new[1].split()[0], old[2], new[2])
    return None


def _shifts(instance: str, before: str, after: str) -> list[str] | None:
    pairs = list(zip(before.split(), after.split(), strict=False))
    if len(before.split()) != len(after.split()):
        return None
    commands = []
    for old, new in pairs:
        (name, was), (same, value) = old.split("="), new.split("=")
        if name != same:
            return None
        if was != value:
            commands.append(f"alter m.{instance}.{name.removeprefix('dvt_')}.m1 delvto = {value}")
    return commands
