"""A made-up foundry kit on disk: HSPICE-style sectioned library, MOS wrapped in X with nf and multi, binned models,
lengths in micrometres, an own inverter and 6T cell. Its values are invented; "canary" marks what must not get out."""

from __future__ import annotations

from pathlib import Path

CANARIES = ("canary_secret_vth", "canarynch", "canarypch", "secret_models", "0.43210987")

_MODEL = """
.model {name}.{bin} {kind} level=54 version=4.5 binunit=1 tnom=25
+ lmin={lmin} lmax={lmax} wmin=1e-8 wmax=1e-4 toxe=1.8e-9 toxm=1.8e-9 epsrox=3.9
+ vth0='{sign}(0.43210987+canary_secret_vth)' u0={u0} vsat=1.1e5 k1=0.4 nfactor=1.2 eta0=0.0055 rdsw=150
+ cjs=5e-4 cjd=5e-4 cjsws=5e-10 cjswd=5e-10 cgso=1.1e-10 cgdo=1.1e-10 ndep=2.5e18 permod=1
"""

_WRAPPED = """
.subckt {name}_ckt d g s b w=1 l=1 nf=1 multi=1 ad=0 as=0 pd=0 ps=0
m1 d g s b {name} w='w' l='l' nf='nf' m='multi' ad='ad' as='as' pd='pd' ps='ps'
.ends {name}_ckt
"""

LIBRARY = """* made-up 65 nm library
.lib tt
.param canary_secret_vth=0
.lib 'canary.lib' devices
.endl tt
.lib ss
.param canary_secret_vth=0.03
.lib 'canary.lib' devices
.endl ss
.lib ff
.param canary_secret_vth=-0.03
.lib 'canary.lib' devices
.endl ff
.lib devices
.inc "sub/nmos.inc"
.inc "sub/pmos.inc"
.endl devices
.lib unused
.model canaryother nmos level=54
.endl unused
"""

CELL = """* the user's own inverter, with a port order and devices of its own
.subckt FOUNDRY_INV VPB VNB VDD VSS A Z
xn Z A VSS VNB canarynch_ckt w=0.2 l=0.06 nf=1 ad=0.02 as=0.02 pd=0.6 ps=0.6
xp Z A VDD VPB canarypch_ckt w=0.4 l=0.06 nf=1 ad=0.04 as=0.04 pd=1.0 ps=1.0
.ends FOUNDRY_INV
"""

TOML = """name = "{name}"
version = "0.1"
licence = "made up"
confidential = {confidential}
scale = 1e-6
unit_ps = 90
[supply]
nominal_v = 1.1
range_v = [0.7, 1.2]
[corners.tt]
sources = [{{file = "secret_models/canary.lib", section = "tt"}}]
[corners.ss]
sources = [{{file = "secret_models/canary.lib", section = "ss"}}]
[corners.ff]
sources = [{{file = "secret_models/canary.lib", section = "ff"}}]
[devices.nmos]
model = "canarynch_ckt"
wrapped = true
extra = {{nf = "1", multi = "1"}}
[devices.pmos]
model = "canarypch_ckt"
wrapped = true
extra = {{nf = "1", multi = "1"}}
[options]
scale = "1e-6"
[geometry]
lmin_m = 60e-9
wmin_m = 120e-9
diffusion_m = 150e-9
bitcell_width_m = 1.0e-6
bitcell_height_m = 0.5e-6
cell_pitch_m = 1.0e-6
wire_f_per_m = 0.2e-9
wire_ohm_per_m = 3e6
[cells.inv]
file = "cells/inv.sp"
subckt = "FOUNDRY_INV"
ports = ["vdd", "vss", "vdd", "vss", "a", "y"]
"""


def make(root: Path, name: str = "madeup", *, confidential: bool = False) -> Path:
    """Write the kit into root/NAME; returns its pdk.toml."""
    folder = root / name
    (folder / "secret_models" / "sub").mkdir(parents=True)
    (folder / "cells").mkdir()
    (folder / "secret_models" / "canary.lib").write_text(LIBRARY)
    for kind, u0, sign in (("nmos", 0.04, ""), ("pmos", 0.015, "-")):
        model = f"canary{kind[0]}ch"
        text = "".join(_MODEL.format(name=model, kind=kind, u0=u0, sign=sign, bin=number, lmin=low, lmax=high)
                       for number, (low, high) in enumerate(((5e-8, 9e-8), (9e-8, 1e-6))))
        (folder / "secret_models" / "sub" / f"{kind}.inc").write_text(text + _WRAPPED.format(name=model))
    (folder / "cells" / "inv.sp").write_text(CELL)
    (folder / "pdk.toml").write_text(TOML.format(name=name, confidential=str(confidential).lower()))
    return folder / "pdk.toml"
