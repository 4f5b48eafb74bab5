"""Own cells in ngspice: written any way, a cell gives what the same transistors give when written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from charlib.errors import BadInput
from charlib.pdk import Pdk, load_pdk
from charlib.pdk.own_cell import CellFile
from charlib.spice import Deck, Delay, Energy, Transient, evaluate
from charlib.spice.live import LiveEngine
from charlib.spice.sources import dc, logic
from charlib.units import NANO, PICO

pytestmark = [pytest.mark.ngspice, pytest.mark.pdk]
PORTS = ("a", "y", "vdd", "vss")
#: two fingers of each transistor and two capacitors, written out
WRITTEN_OUT = """.subckt truth a y vdd vss
mn1 y a vss vss NMOS_VTG w=90n l=50n
mn2 y a vss vss NMOS_VTG w=90n l=50n
mp1 y a vdd vdd PMOS_VTG w=135n l=50n
mp2 y a vdd vdd PMOS_VTG w=135n l=50n
c1 y vss 0.1f
c2 y vss 0.1f
.ends
"""
PAIR = "mn y a vss vss NMOS_VTG w=90n l=50n\nmp y a vdd vdd PMOS_VTG w=135n l=50n\nc y vss 0.1f\n"
CELLS = {
    "m on every line": """.subckt cell a y vdd vss
mn y a vss vss NMOS_VTG w=90n l=50n m=2
mp y a vdd vdd PMOS_VTG w=135n l=50n M = {4/2}
c y vss 0.1f m='1+1'
.ends
""",
    "m on the call of a helper": f""".subckt pair a y vdd vss
{PAIR}.ends
.subckt cell a y vdd vss
x1 a y vdd vss pair m=2
.ends
""",
    "m two calls deep, the helper written last": f""".subckt cell a y vdd vss
x1 a y vdd vss between M='4*half'
.param half=0.5
.ends
.subckt between a y vdd vss
x1 a y vdd vss pair m={{1}}
.ends
.subckt pair a y vdd vss
{PAIR}.ends
""",
    "m a parameter of the helper's own": """.subckt fingers d g s b w=90n m=1
m1 d g s b NMOS_VTG w=w l=50n m={m}
.ends
.subckt cell a y vdd vss
xn y a vss vss fingers m=2
mp y a vdd vdd PMOS_VTG w=135n l=50n m=2
c y vss 0.2f
.ends
""",
    "m declared by the helper and not used": f""".subckt pair a y vdd vss m=1
{PAIR}.ends
.subckt cell a y vdd vss m=1
x1 a y vdd vss pair m=2
.ends
""",
    "names that meet": """.subckt cell a y vdd vss cell_m=2
xn y a vss vss cell_m m=cell_m
mp y a vdd vdd PMOS_VTG w=135n l=50n m=2
c y vss 0.2f
.ends
.subckt cell_m d g s b w=90n
.param cell=w
m1 d g s b NMOS_VTG w=cell l=50n
.ends
""",
    "macros, nested and named alike": """  .macro half_n y a vss
  .subckt core d g s
  m1 d g s s NMOS_VTG w=wn l=50n
  .ends
  .param wn=90n
  x1 y a vss core m=2
  .eom
  .macro half_p y a vdd

* a comment between the ports and what follows
  + w=1
  .subckt core d g s
  m1 d g s s PMOS_VTG w={1.5*wn*w} l=50n
  .ends
  .param wn='90n'
  x1 y a vdd core m=2
  .eom
  .subckt cell a
* ports
  + y vdd

  + vss
  xn y a vss half_n
  xp y a vdd half_p w=1
  c y vss 0.2f
  .ends
""",
    "parameters, functions and models of the file": """an inverter, as a deck's first line says
.param wn=wide(45n) lmin=7 hdif=3
.func wide(x) {2*x}
.model nmos_vtg_of_mine nmos level=1
.model rvia r (r=rvalue)
.param rvalue='1e-3' unused={not_declared_anywhere}
.option scale=1
.subckt cell a y vdd vss
mn y a vss vss NMOS_VTG w='wn' l=50n m=2
mp y a vdd vdd PMOS_VTG w='1.5*wn' l=50n m=2
r1 y n rvia
c n vss 0.2f
.ends
.end
""",
}


def kit(folder: Path, text: str, cell: CellFile | None = None) -> Pdk:
    (folder / "cell.sp").write_text(text)
    return replace(load_pdk("freepdk45"), cells={"inv": cell or CellFile("cell.sp", "cell", PORTS)}, home=folder)


def measured(pdk: Pdk, instances: str) -> Mapping[str, float]:
    """Both delays and the supply's energy of inverters between a and y."""
    period_s, half_v = 1 * NANO, 0.5
    body = (pdk.header("tt") + pdk.subckts("inv") + dc("dd", "vdd", 1.0)
            + logic("a", "a", (0, 1, 0), period_s, 20 * PICO, 1.0) + instances + "cl y 0 2f\n")
    measures = (Delay("fall_s", "a", half_v, "rise", "y", half_v, "fall"),
                Delay("rise_s", "a", half_v, "fall", "y", half_v, "rise"),
                Energy("energy_j", "vdd", 1.0, 0.5 * period_s, 3 * period_s))
    deck = Deck("own inverter", body, 25.0, Transient(1 * PICO, 3 * period_s, 1 * PICO), measures)
    return evaluate(measures, LiveEngine().run(deck))


ONE, THREE = "x1 a y vdd 0 inv\n", "x1 a y vdd 0 inv drive=3\n"
BESIDE = "x1 a y vdd 0 inv\nx2 a y vdd 0 inv\nx3 a y vdd 0 inv\n"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Mapping[str, float]]:
    pdk = kit(tmp_path_factory.mktemp("truth"), WRITTEN_OUT, CellFile("cell.sp", "truth", PORTS))
    return {"one": measured(pdk, ONE), "three": measured(pdk, BESIDE)}


@pytest.mark.parametrize("how", CELLS)
def test_a_cell_is_what_it_is_written_out(how: str, tmp_path: Path, truth: dict[str, Mapping[str, float]]) -> None:
    pdk = kit(tmp_path, CELLS[how])
    assert measured(pdk, ONE) == pytest.approx(truth["one"], rel=1e-4)
    assert measured(pdk, THREE) == pytest.approx(truth["three"], rel=1e-4)


def test_two_fingers_are_not_one(tmp_path: Path, truth: dict[str, Mapping[str, float]]) -> None:
    """The measure above would see a lost multiplier."""
    one = measured(kit(tmp_path, CELLS["m on every line"].replace("m=2", "m=1")), ONE)
    assert one["fall_s"] > 1.3 * truth["one"]["fall_s"]


def test_a_kit_s_own_multiplier_is_kept(tmp_path: Path) -> None:
    """A wrapped device whose transistor has an m of its own: m=2 on the call of multi=2 is four of them."""
    cards = (".subckt nch_mac d g s b w=90n multi=1\nm1 d g s b NMOS_VTG w={w} l=50n m='multi'\n.ends\n"
             ".subckt nch_top d g s b\nx1 d g s b nch_mac multi=2\n.ends\n")
    plain = load_pdk("freepdk45")
    for name in {source.file for source in plain.corners["tt"].sources}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((plain.root / name).read_text())
    nmos = next(tmp_path.rglob("NMOS_VTG.inc"))
    nmos.write_text(nmos.read_text().rstrip("\n") + "\n" + cards)

    def of(line: str) -> Pdk:
        text = (f".subckt cell a y vdd vss\n{line}\nmp y a vdd vdd PMOS_VTG w=135n l=50n\n.ends\n")
        return replace(kit(tmp_path, text), root=tmp_path, corners={"tt": plain.corners["tt"]})

    written_out = measured(of("mn y a vss vss NMOS_VTG w=90n l=50n m=4"), ONE)
    for line in ("xn y a vss vss nch_mac multi=2 m=2", "xn y a vss vss nch_top m=2"):
        assert measured(of(line), ONE) == pytest.approx(written_out, rel=1e-4)
        assert measured(of(line), THREE)["fall_s"] < 0.6 * written_out["fall_s"]


BULKS = """.subckt cell a y vdd vss
mn y a vss {n} NMOS_VTG w=180n l=50n
mp y a vdd {p} PMOS_VTG w=270n l=50n
.ends
"""


def test_nets_are_joined_as_the_user_says(tmp_path: Path) -> None:
    truth = measured(kit(tmp_path, BULKS.format(n="vss", p="vdd")), ONE)
    tapped = CellFile("cell.sp", "cell", PORTS, joined={"VSUBS": "vss", "vpb": "vdd"})
    text = ".global vpb\n" + BULKS.format(n="VSUBS", p="vpb")
    assert measured(kit(tmp_path, text, tapped), ONE) == pytest.approx(truth, rel=1e-6)
    with pytest.raises(BadInput, match=r"line 1: the global net 'vpb' is joined to nothing"):
        kit(tmp_path, text).subckts("inv")


def test_a_diode_s_area_and_multiplier(tmp_path: Path) -> None:
    body = ".model junction d (cjo=1f is=1e-18)\n" + BULKS.format(n="vss", p="vdd")
    four = measured(kit(tmp_path, body.replace(".ends", "d1 vss y junction area=4\n.ends")), ONE)
    for line in ("d1 vss y junction 2 m=2", "d1 vss y junction {1+1} M='2'", "d1 vss y junction area=2 m=2"):
        assert measured(kit(tmp_path, body.replace(".ends", f"{line}\n.ends")), ONE) == pytest.approx(four, rel=1e-4)
    assert four["fall_s"] > 1.2 * measured(kit(tmp_path, body), ONE)["fall_s"]


def test_a_net_named_gnd_can_be_a_port(tmp_path: Path) -> None:
    """OpenRAM's cells have a port gnd: it is what the user joins to it, not the simulator's node 0."""
    truth = measured(kit(tmp_path, BULKS.format(n="vss", p="vdd")), ONE)
    text = BULKS.format(n="vss", p="vdd").replace("vss", "gnd")
    assert measured(kit(tmp_path, text), ONE) == pytest.approx(truth, rel=1e-6)


def test_an_extracted_cell_in_files_that_it_includes_runs(tmp_path: Path) -> None:
    """An extractor's way: a subcircuit of resistors a net, included before the cell, and the calls included in it."""
    (tmp_path / "cell.pex").write_text(
        ".subckt PM_CELL%A 1 2 3 $ gate\nr1 1 2 120 $w=3.3e-07 $layer=POLY\n+ $X=0.485 $Y=1.16\nr2 1 3 80\n.ends\n")
    (tmp_path / "cell.pxi").write_text("x_PM_CELL%A a n_a_g p_a_g PM_CELL%A\ncc_1 vss n_a_g 0.02f $X=1\n")
    text = ('* extracted\n.include "cell.pex"\n.subckt cell a y vdd vss\nmn y n_a_g vss vss NMOS_VTG w=180n l=50n\n'
            'mp y p_a_g vdd vdd PMOS_VTG w=270n l=50n\n.include "cell.pxi"\n.ends\n')
    plain = measured(kit(tmp_path, BULKS.format(n="vss", p="vdd")), ONE)
    extracted = measured(kit(tmp_path, text), ONE)
    assert 1 < extracted["fall_s"] / plain["fall_s"] < 1.1
