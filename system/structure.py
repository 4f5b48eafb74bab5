"""The macro's structure parameters and the presets `fan2023` (the paper) and `yan2022` (its ancestor).

A macro has `compartments` lanes; each holds rows × columns 6T cells, one word of `word_bits` for every
column-mux address of a row. A product takes `serial_cycles` cycles, most significant mantissa bit first. What
the papers do not state is inferred [I] and is a parameter here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charlib.errors import BadInput
from system.macro_file import is_macro_file, read_macro_file

READ_POLICIES = ("hold", "reread")
EXPONENT_FIRE = ("once", "every")


@dataclass(frozen=True)
class MacroStructure:
    """One macro. `mantissa_bits` of the word are driven by the serial input, the others are read through."""

    name: str
    compartments: int = 32
    rows: int = 16
    columns: int = 64
    word_bits: int = 16
    mantissa_bits: int = 7  #: of the word, those that see the serial input
    products: int = 1  #: words of one row address that are multiplied together, side by side
    serial_cycles: int = 8
    serial_bits: int = 1  #: bits a cycle, each with compute wires of its own
    depthwise_group: int = 9  #: lanes of a tap group
    guard_bits: int = 4  #: [I] lane width = 16 product bits + guard bits
    exponent_bits: int = 10  #: product exponent, signed
    accumulator_bits: int = 24  #: FP32 significand with its hidden bit
    read_policy: str = "hold"  #: [I] the word is read once and held over the serial cycles
    rounds_a_word: int = 1  #: products that a held word serves before a row is opened again
    exponent_fire: str = "once"  #: [I] sign and exponent wires evaluate in the first cycle only
    floating: bool = True

    def __post_init__(self) -> None:
        for field in ("compartments", "rows", "columns", "word_bits", "serial_cycles", "serial_bits", "products",
                      "rounds_a_word"):
            if getattr(self, field) < 1:
                raise BadInput(f"Macro '{self.name}': {field} must be at least 1, got {getattr(self, field)}")
        if self.columns % self.word_bits:
            raise BadInput(f"Macro '{self.name}': columns must hold whole words of {self.word_bits} bits, "
                           f"got {self.columns}")
        if self.read_policy not in READ_POLICIES:
            raise BadInput(f"read_policy: {' or '.join(READ_POLICIES)} is allowed, got '{self.read_policy}'")
        if self.exponent_fire not in EXPONENT_FIRE:
            raise BadInput(f"exponent_fire: {' or '.join(EXPONENT_FIRE)} is allowed, got '{self.exponent_fire}'")

    @property
    def mux(self) -> int:
        return self.columns // self.word_bits

    @property
    def addresses(self) -> int:
        """Words a compartment holds."""
        return self.rows * self.mux

    @property
    def capacity_bit(self) -> int:
        return self.compartments * self.rows * self.columns

    @property
    def operand_bits(self) -> int:
        """Bits of one factor: a significand with its hidden bit, or one of the word's integers."""
        return self.mantissa_bits + 1 if self.floating else self.mantissa_bits // self.products

    @property
    def lane_bits(self) -> int:
        return 2 * self.operand_bits + self.guard_bits


def reshaped(m: MacroStructure, *, rows: int | None = None, words_per_row: int | None = None,
             compartments: int | None = None, lane_bits: int | None = None, serial_bits: int | None = None
             ) -> MacroStructure:
    """The macro with other dimensions; None keeps its own. BadInput naming what cannot be."""
    changes: dict[str, Any] = {}
    if rows is not None:
        changes["rows"] = rows
    if words_per_row is not None:
        changes["columns"] = words_per_row * m.word_bits
    if compartments is not None:
        changes["compartments"] = compartments
    if lane_bits is not None:
        if lane_bits < 4:
            raise BadInput(f"lane_bits: at least 4 are needed, got {lane_bits}")
        changes["guard_bits"] = lane_bits - 2 * (m.mantissa_bits + 1)
    if serial_bits is not None:
        if serial_bits not in (1, 2, 4, 8):
            raise BadInput(f"serial_bits: 1, 2, 4 or 8 is allowed, got {serial_bits}")
        changes |= {"serial_bits": serial_bits, "serial_cycles": (m.mantissa_bits + 1) // serial_bits}
    return replace(m, **changes)


MACROS: dict[str, MacroStructure] = {
    "fan2023": MacroStructure("fan2023"),
    # The ancestor multiplies signed INT8: of 64 columns 16 are computed, so two words share a compartment's serial
    # operand (which gives its 5.33 GOPS at 3 ns) [I]. It has no floating-point path and cannot train.
    "yan2022": MacroStructure("yan2022", mantissa_bits=16, products=2, guard_bits=0, floating=False),
}


def macro_structure(name: str) -> MacroStructure:
    """A preset by name, or the macro of a user's file."""
    if is_macro_file(name):
        said = read_macro_file(Path(name))
        more: dict[str, Any] = dict(said.more)
        try:
            own = replace(reshaped(MACROS["fan2023"], **said.shape), name=said.name, **more)
        except BadInput as error:
            raise said.document.blame(error) from error
        if own.depthwise_group > own.compartments:
            raise said.document.blame(BadInput(
                f"depthwise_group: {own.depthwise_group} is more than its {own.compartments} compartments; allowed "
                f"are 1 to {own.compartments}"))
        return own
    if name not in MACROS:
        raise BadInput(f"macro: '{name}' does not exist; choose {' or '.join(MACROS)}, "
                       "or a FILE.yaml of 'himc init macro'")
    return MACROS[name]
