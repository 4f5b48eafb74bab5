"""Cycles of one layer in one pass, in closed form: what each macro does, one thing after another.

An operation is one slot × one position and takes `serial_cycles` cycles of one macro; writing an address takes one.
Macros work side by side, and a row ends when its last macro does. A simulation that walks every macro through its
slots gives the same cycles (tests/system/test_mapping_schedule.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from system.events_gradient import GradientMode
from system.placement import Placement, ceil_div
from system.structure import MacroStructure

#: the macros that a row keeps busy: those that hold weights, those for activations, or all of them in turn
WEIGHTS, ACTIVATIONS, SHARED = "weights", "activations", "shared"


@dataclass(frozen=True)
class Timing:
    """`cycles` from start to end of the row; `macro_cycles` of work, summed over macros."""

    mode: str
    array: str
    macros: int
    copies: int
    cycles: int
    macro_cycles: int


def streamed(placement: Placement, batch: int, copies: int, m: MacroStructure) -> Timing:
    """Positions split over copies of resident weights; each macro multiplies its slots for each position."""
    positions = placement.layer.positions * batch
    per_copy = ceil_div(positions, copies)
    return Timing("weights resident", WEIGHTS, placement.macros * copies, copies,
                  per_copy * placement.operations_per_position * m.serial_cycles,
                  positions * placement.slots * m.serial_cycles)


def written_for_pass(placement: Placement, batch: int, macros: int, m: MacroStructure) -> Timing:
    """Weights written for this pass: in rounds where one copy needs more macros than there are, else in copies.

    Copies are as many as fit, but each has at least as many positions as a macro has lanes [I], so that a word is
    used often enough to be worth its writing.
    """
    positions, macro = placement.layer.positions * batch, placement.operations_per_position
    copies = max(1, min(macros // placement.macros, positions // m.compartments))
    rounds = ceil_div(placement.macros, macros)
    before = (rounds - 1) * macros  # macros' worth of slots done before the last round
    slots = (rounds - 1) * macro + min(macro, placement.slots - before * macro)
    used = min(macros, placement.macros * copies)
    return Timing(f"weights written, {rounds} rounds" if rounds > 1 else "weights written", SHARED, used, copies,
                  slots * (1 + ceil_div(positions, copies) * m.serial_cycles),
                  placement.slots * (copies + positions * m.serial_cycles))


def operand_written(placement: Placement, batch: int, macros: int, m: MacroStructure, array: str) -> Timing:
    """A matmul: the slots of every sample's stored operand, dealt evenly to `macros`; each is written, then used."""
    slots, positions = placement.slots * batch, placement.layer.positions
    used = min(macros, slots)
    each = 1 + positions * m.serial_cycles
    return Timing("operand written", array, used, 1, ceil_div(slots, used) * each, slots * each)


def gradient(mode: GradientMode, macros: int, m: MacroStructure, array: str) -> Timing:
    """A weight gradient's operations and addresses, dealt evenly to `macros`."""
    return Timing(mode.name, array, macros, 1,
                  ceil_div(mode.operations, macros) * m.serial_cycles + ceil_div(mode.addresses_written, macros),
                  mode.operations * m.serial_cycles + mode.addresses_written)


def updated(placement: Placement, macros: int, copies: int, array: str) -> Timing:
    """One near-memory adder a macro: its words pass one a cycle; every copy is written meanwhile."""
    words = placement.layer.learned_weights
    if not words:
        return Timing("not needed", array, macros, max(1, copies), 0, 0)
    used = min(macros, words)
    return Timing("near-memory add, write back" if copies else "near-memory add", array,
                  used * max(1, copies), max(1, copies), ceil_div(words, used), words * max(1, copies))
