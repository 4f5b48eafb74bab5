"""Which registers the macro's clock reaches, and when: every flip-flop once a clock, whatever stops its clock.

Three ways of gating. "none": every register in every cycle. "pass": the blocks that a pass works with, in its every
cycle. "operation": a register when its stage fires, those of the lanes once a product or in each serial cycle, those
of a block behind the lanes with the block's own event. A block that a pass does not clock, but that fires in it, is
clocked by its event. Flip-flops at the compute wires and in the shift-accumulators belong to the lanes: they are
clocked in every product, masked or not, and rest while words are written, where a gate stops them.

Only counts stand here; what a clock costs is :mod:`system.circuit`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from system.blocks import CellBlock
from system.structure import MacroStructure

CLOCK_GATING = ("none", "pass", "operation")
#: registers that move in every serial cycle, and those of every lane, masked or not, which move together
_SERIAL = ("input_serialiser", "macro_control")
_LANES = (*_SERIAL, "input_register", "exponent_adder", "hidden_bit_generator")
#: blocks whose registers are clocked in a pass when the clock is gated by pass
_TREE_PASS = (*_LANES, "pipeline_registers", "normaliser", "tile_accumulator")
_LANE_PASS = (*_LANES, "compartment_accumulator", "hadamard_post")
_CLOCKED = {"forward": _TREE_PASS, "input_gradient": _LANE_PASS, "weight_gradient": _TREE_PASS,
            "update": ("hadamard_post", "update_adder", "stochastic_source", "macro_control")}
#: flip-flops behind one clock gate: a leaf of the tree
_LEAF = 16


@dataclass(frozen=True)
class Clocks:
    """What one event clocks. inside, pins: flip-flops by what is paid of them, their own inside and the leaf that
    drives their pins; trunk: flip-flops below the tree above the leaves; gates: clock gates, of which `opened` are
    open (a broken number: some for a part of the time)."""

    inside: float = 0.0
    pins: float = 0.0
    trunk: float = 0.0
    gates: int = 0
    opened: float = 0.0


@dataclass(frozen=True)
class Clocking:
    """Of one macro. blocks: its logic, with the registers of each copy."""

    structure: MacroStructure
    blocks: Mapping[str, CellBlock]
    gating: str

    @property
    def latches(self) -> int:
        """Flip-flops at a compartment's compute wires."""
        return self.structure.word_bits * self.structure.serial_bits

    @property
    def accumulator_flip_flops(self) -> int:
        """Of a lane's shift-accumulator, two a bit."""
        return 2 * self.structure.operand_bits

    def latch_clocks(self) -> float:
        """Clocks that a compartment's flip-flops take in one product: gated, only those of wires that fire."""
        m = self.structure
        once = self.gating == "operation" and m.exponent_fire == "once"
        return m.serial_bits * float(m.mantissa_bits * m.serial_cycles
                                     + (m.word_bits - m.mantissa_bits) * (1 if once else m.serial_cycles))

    def product(self) -> Clocks:
        """One product of a lane; its pins stand with the cycle, its accumulator in the bench's own figure."""
        return Clocks(inside=self.latch_clocks())

    def masked(self) -> Clocks:
        """One product time of a masked lane, whose accumulator no bench pays."""
        accumulator = float(self.accumulator_flip_flops * self.structure.serial_cycles)
        return Clocks(inside=self.latch_clocks() + accumulator, pins=accumulator)

    def cycle(self, pass_name: str) -> Clocks:
        """One cycle of a product, but for what :meth:`product` and :meth:`masked` hold."""
        m = self.structure
        shares = {name: self._share(name, pass_name) for name in self.blocks}
        clocked = sum(b.flip_flops * b.copies * shares[name] for name, b in self.blocks.items())
        opened = sum(self._gates(b) * shares[name] for name, b in self.blocks.items())
        return Clocks(clocked, clocked + m.compartments * self.latch_clocks() / m.serial_cycles, self._trunk(),
                      self._all_gates(), opened + self._wire_gates() / m.serial_cycles)

    def writing(self, pass_name: str) -> Clocks:
        """One cycle that writes or updates a word: registers of a product rest where a gate stops them.

        An update's product takes as many lanes at once as it has serial cycles; their accumulators are in its event.
        """
        m, update = self.structure, pass_name == "update"
        shares = {name: 1.0 if name == "macro_control" or self.gating == "none" else
                  float(self.gating == "pass" and name in _CLOCKED[pass_name]) for name in self.blocks}
        clocked = sum(b.flip_flops * b.copies * shares[name] for name, b in self.blocks.items())
        if self.gating == "none" or (self.gating == "pass" and not update):
            summing = max(0, m.compartments - m.serial_cycles) if update else m.compartments
            clocked += m.compartments * self.latches + summing * self.accumulator_flip_flops
        opened = sum(self._gates(b) * shares[name] for name, b in self.blocks.items())
        return Clocks(clocked, clocked, self._trunk(), self._all_gates(), opened)

    def fired(self, block: str, pass_name: str) -> Clocks:
        """One event of a block, where no cycle of the pass clocks its registers: those of one copy."""
        known = self.blocks.get(block)
        if known is None or not known.flip_flops or not self.by_pass(block) or self._share(block, pass_name):
            return Clocks()
        times = self.structure.serial_cycles if block in _SERIAL else 1
        return Clocks(times * known.flip_flops, times * known.flip_flops,
                      opened=times * math.ceil(known.flip_flops / _LEAF))

    def by_pass(self, block: str) -> bool:
        """Whether an event of the block may clock registers of its own, which depends on the pass."""
        return self.gating != "none" and block in self.blocks and bool(self.blocks[block].flip_flops)

    def _share(self, block: str, pass_name: str) -> float:
        """Share of a pass's products' cycles in which they clock a block's registers."""
        if self.gating == "none":
            return 1.0
        if block not in _CLOCKED[pass_name] or (self.gating == "operation" and block not in _LANES):
            return 0.0
        return 1.0 if self.gating == "pass" or block in _SERIAL else 1 / self.structure.serial_cycles

    def _trunk(self) -> float:
        """Every flip-flop of the macro."""
        return (sum(block.flip_flops * block.copies for block in self.blocks.values())
                + self.structure.compartments * float(self.latches + self.accumulator_flip_flops))

    def _gates(self, block: CellBlock) -> int:
        """Clock gates of a block in the macro: those of the lanes are shared, others stand copy by copy."""
        if self.gating == "none" or block.name == "macro_control":
            return 0
        if block.name in _LANES:
            return math.ceil(block.flip_flops * block.copies / _LEAF)
        return block.copies * math.ceil(block.flip_flops / _LEAF)

    def _wire_gates(self) -> int:
        """Of flip-flops whose wires fire once a product."""
        m = self.structure
        if self.gating != "operation" or m.exponent_fire != "once":
            return 0
        return math.ceil(m.compartments * m.serial_bits * (m.word_bits - m.mantissa_bits) / _LEAF)

    def _all_gates(self) -> int:
        return sum(self._gates(block) for block in self.blocks.values()) + self._wire_gates()
