"""What the benches need to know of a process: cards per corner, device shim, geometry.

A :class:`Pdk` turns a corner into the header of a deck: the model cards in use, the geometry as ngspice
parameters, and five wrapper subcircuits (`nmos`, `pmos`, and the SRAM's `nmos_pg`, `nmos_pd`,
`pmos_pu`) that give every MOS its diffusion areas and perimeters (method rule 1). Netlists name only
these wrappers, so they carry from one process to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from charlib.errors import BadInput


@dataclass(frozen=True)
class Geometry:
    """Lengths in metres and wire constants, each with its source in `sources`."""

    lmin_m: float  #: drawn minimum channel length
    wmin_m: float  #: drawn minimum channel width
    diffusion_m: float  #: source or drain length beyond the gate, contacted
    bitcell_width_m: float  #: 6T pitch along the wordline
    bitcell_height_m: float  #: 6T pitch along the bitline
    cell_pitch_m: float  #: mean width of a standard cell, for the wire between two of them
    wire_f_per_m: float  #: capacitance of an intermediate wire at minimum width
    wire_ohm_per_m: float  #: its resistance
    sources: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, float) and not value > 0:
                raise BadInput(f"PDK geometry: {name} must be positive, got {value}")

    @property
    def bitcell_area_m2(self) -> float:
        return self.bitcell_width_m * self.bitcell_height_m


@dataclass(frozen=True)
class Pdk:
    """A process kit whose card files are on this disk.

    corners: corner -> the card files it is made of, relative to `root`.
    devices: wrapper name -> model name in those cards.
    """

    name: str
    version: str
    licence: str
    root: Path
    corners: Mapping[str, tuple[str, ...]]
    devices: Mapping[str, str]
    nominal_vdd_v: float
    vdd_range_v: tuple[float, float]
    temp_range_c: tuple[float, float]
    geometry: Geometry

    def check(self, corner: str, vdd_v: float, temp_c: float) -> None:
        """BadInput unless the corner exists and the supply and temperature lie in the kit's range."""
        if corner not in self.corners:
            raise BadInput(f"corner: '{corner}' is not in PDK '{self.name}'; it has {', '.join(self.corners)}")
        low, high = self.vdd_range_v
        if not low <= vdd_v <= high:
            raise BadInput(f"vdd_v: {vdd_v:g} V is outside {low:g}..{high:g} V of PDK '{self.name}'")
        low, high = self.temp_range_c
        if not low <= temp_c <= high:
            raise BadInput(f"temp_c: {temp_c:g} °C is outside {low:g}..{high:g} °C of PDK '{self.name}'")

    def cards(self, corner: str) -> str:
        """The text of the corner's card files, each ended by a newline.

        The newline matters: FreePDK45's files lack it, and two cards run together corrupt a model
        without a word from ngspice.
        """
        self.check(corner, self.nominal_vdd_v, 25.0)
        return "".join(self._read(name).rstrip("\n") + "\n" for name in self.corners[corner])

    def _read(self, name: str) -> str:
        path = self.root / name
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise BadInput(f"PDK '{self.name}': card file {path} cannot be read ({error.strerror}); "
                           f"run 'himc pdk install {self.name}'") from error

    def card_hashes(self, corner: str) -> dict[str, str]:
        """sha256 of each card file of the corner, by file name."""
        self.check(corner, self.nominal_vdd_v, 25.0)
        return {name: hashlib.sha256(self._read(name).encode()).hexdigest() for name in self.corners[corner]}

    @property
    def sha256(self) -> str:
        """One hash over all corners' card files."""
        files = sorted({name for names in self.corners.values() for name in names})
        digest = hashlib.sha256()
        for name in files:
            digest.update(name.encode() + b"\0" + self._read(name).encode() + b"\0")
        return digest.hexdigest()

    def header(self, corner: str) -> str:
        """The deck header: cards, `.param lmin wmin hdif`, and the device wrappers."""
        g = self.geometry
        lines = [
            f"* PDK {self.name} {self.version}, corner {corner}, licence {self.licence}",
            self.cards(corner).rstrip("\n"),
            f".param lmin={g.lmin_m:g} wmin={g.wmin_m:g} hdif={g.diffusion_m:g}",
        ]
        lines += [wrapper(name, model) for name, model in self.devices.items()]
        return "\n".join(lines) + "\n"


def wrapper(name: str, model: str) -> str:
    """A MOS wrapper subcircuit that adds diffusion areas and perimeters from the global `hdif`.

    BSIM4 with permod = 1 takes perimeters that include the gate edge.
    """
    return (f".subckt {name} d g s b w=1 l=1\n"
            f"m1 d g s b {model} w={{w}} l={{l}} ad={{w*hdif}} as={{w*hdif}} "
            f"pd={{2*(w+hdif)}} ps={{2*(w+hdif)}}\n"
            f".ends {name}")
