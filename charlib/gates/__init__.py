"""Blocks made of cells: one structural description, three uses (SPICE, logic, counts)."""

from charlib.gates.block import CELLS, STATE_CELLS, Block, Instance, evaluate_cell
from charlib.gates.builder import Builder, Word
from charlib.gates.generate import adder_tree, decoder, full_adders_closed_form, shift_accumulator
from charlib.gates.logic import UnitDelay, random_vectors, simulate, toggles_unit_delay, unit_delay

__all__ = [
    "CELLS", "STATE_CELLS", "Block", "Builder", "Instance", "UnitDelay", "Word", "adder_tree", "decoder",
    "evaluate_cell", "full_adders_closed_form", "random_vectors", "shift_accumulator", "simulate",
    "toggles_unit_delay", "unit_delay",
]
