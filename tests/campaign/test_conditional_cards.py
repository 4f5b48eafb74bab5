"""Cards behind a condition: the branch that the parameters choose, in the pruned cards as in the whole library; and
what ngspice would take whatever the condition says is refused where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from charlib.campaign.kit_check import device_currents, prune_proof
from charlib.errors import BadInput
from charlib.pdk.library import Library, Source
from charlib.pdk.user_kit import read_user_kit
from charlib.screen import screen_file
from charlib.spice.live import LiveEngine

TOML = """name = "switched"
unit_ps = 400
[supply]
nominal_v = 1.1
[corners.tt]
sources = [{{file = "switch.lib"{section}}}]
[devices.nmos]
model = "nx"
{wrapped}
[devices.pmos]
model = "px"
[geometry]
lmin_m = 60e-9
wmin_m = 120e-9
diffusion_m = 150e-9
bitcell_width_m = 1.0e-6
bitcell_height_m = 0.5e-6
cell_pitch_m = 1.0e-6
wire_f_per_m = 0.2e-9
wire_ohm_per_m = 3e6
"""
PX = ".model px pmos level=54 version=4.5 toxe=1.8e-9 vth0=-0.40 u0=0.015 vsat=1.1e5 k1=0.4\n"
OPEN_V, CLOSED_V = 0.25, 0.40


def nx(vth0_v: float, name: str = "nx") -> str:
    return f".model {name} nmos level=54 version=4.5 toxe=1.8e-9 vth0={vth0_v} u0=0.04 vsat=1.1e5 k1=0.4\n"


def wrapped(inside: str) -> str:
    return f".subckt nx d g s b w=1 l=1 ad=0 as=0 pd=0 ps=0\n{inside}.ends\n"


M1 = "m1 d g s b {} w='w' l='l' ad='ad' as='as' pd='pd' ps='ps'\n"
EITHER = f".if (low==1)\n{nx(OPEN_V)}.else\n{nx(CLOSED_V)}.endif\n"
#: cards in which `low` chooses between OPEN_V (1) and CLOSED_V -> further files
CHOICES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "top": (f".param low={{low}}\n{EITHER}{PX}", {}),
    "parameter below": (f"{EITHER}{PX}.param low={{low}}\n", {}),
    "by another parameter": (f".param case={{low}}+1\n.param low='case-1'\n{EITHER}{PX}", {}),
    "by a function": (".param low0={low}\n.func f(x) {{x+1}}\n" + EITHER.replace("low==1", "f(low0)==2") + PX, {}),
    "no blank, in capitals": (f".PARAM low={{low}}\n{EITHER.replace('.if (', '.IF(').replace('.e', '.E')}{PX}", {}),
    "elseif": (f".param low={{low}}\n.if (low==7)\n{nx(0.3)}.elseif(low==1)\n{nx(OPEN_V)}"
               f".else\n{nx(CLOSED_V)}.endif\n{PX}", {}),
    "nested": (f".param low={{low}} high=1\n.if (high==0)\n{nx(0.3)}.else\n{EITHER}.endif\n{PX}", {}),
    "in a section": (".lib tt\n.param low={low}\n.lib 'switch.lib' both\n.endl\n"
                     f".lib both\n{EITHER}{PX}.endl\n", {}),
    "around include": (f".param low={{low}}\n.if (low==1)\n.include 'a.inc'\n.else\n.include 'b.inc'\n.endif\n{PX}",
                       {"a.inc": nx(OPEN_V), "b.inc": nx(CLOSED_V)}),
    "around lib": (f".param low={{low}}\n.if (low==1)\n.lib 'ab.lib' a\n.else\n.lib 'ab.lib' b\n.endif\n{PX}",
                   {"ab.lib": f".lib a\n{nx(OPEN_V)}.endl\n.lib b\n{nx(CLOSED_V)}.endl\n"}),
    "in a subcircuit": (".param low={low}\n"
                        + wrapped(f".if (low==1)\n{M1.format('n1')}.else\n{M1.format('n2')}.endif\n")
                        + nx(OPEN_V, "n1") + nx(CLOSED_V, "n2") + PX, {}),
    "models in a subcircuit": (".param low={low}\n" + wrapped(EITHER.replace("nx", "nn") + M1.format("nn")) + PX, {}),
    "below a subcircuit": (".param low={low}\n" + wrapped(M1.format("nn")) + EITHER.replace("nx", "nn") + PX, {}),
}


def kit(folder: Path, cards: str, files: Mapping[str, str] | None = None, prune: bool = True) -> Path:
    """A kit of these cards; its nmos is a subcircuit where they hold one."""
    for name, text in {"switch.lib": cards, **(files or {})}.items():
        (folder / name).write_text(f"* made up\n{text}")
    said = TOML.format(section=', section = "tt"' if ".lib tt" in cards else "",
                       wrapped="wrapped = true" if ".subckt nx" in cards else "")
    (folder / "pdk.toml").write_text(said if prune else f"prune = false\n{said}")
    return folder / "pdk.toml"


@pytest.mark.ngspice
@pytest.mark.parametrize("low", [0, 1])
@pytest.mark.parametrize("case", CHOICES)
def test_the_branch_that_the_parameters_choose_is_taken(tmp_path: Path, case: str, low: int) -> None:
    engine, (cards, files) = LiveEngine(), CHOICES[case]
    chosen = read_user_kit(kit(tmp_path, cards.format(low=low), files))
    plain = tmp_path / "plain"
    plain.mkdir()
    wanted = read_user_kit(kit(plain, nx(OPEN_V if low else CLOSED_V) + PX))
    on_a = device_currents(chosen, "tt", 25.0, engine)["nmos"]
    assert on_a == pytest.approx(device_currents(wanted, "tt", 25.0, engine)["nmos"], rel=1e-3)
    assert prune_proof(chosen, "tt", engine).good


UNHEEDED = {
    ".param v=0.25": r"switch\.lib line 4: '\.param' between \.if and \.endif, which ngspice takes whatever the "
                     r"condition says; move it out, and give a parameter its condition in its value, e\.g\. "
                     r"\.param p = 'case==1 \? 0\.1 : 0\.2'",
    ".func v() {0.25}": r"switch\.lib line 4: '\.func' between",
    ".options gmin=1e-12": r"switch\.lib line 4: '\.options' between",
    ".global v": r"switch\.lib line 4: '\.global' between",
    ".else if (low==2)": r"switch\.lib line 4: ngspice does not read what stands behind \.else; write "
                         r"'\.elseif \(condition\)'",
}


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("card", UNHEEDED)
def test_what_ngspice_takes_in_any_case_is_refused_by_its_line(tmp_path: Path, card: str, prune: bool) -> None:
    cards = f".param low=0\n.if (low==1)\n{card}\n{nx(OPEN_V)}.else\n{nx(CLOSED_V)}.endif\n{PX}"
    path = kit(tmp_path, cards.replace("vth0=0.25", "vth0='v'"), prune=prune)
    with pytest.raises(BadInput, match=f"^{UNHEEDED[card]}"):
        read_user_kit(path).cards("tt")


def test_a_parameter_behind_a_condition_in_a_subcircuit_is_refused(tmp_path: Path) -> None:
    inside = f".if (w==1)\n.param v=1\n.else\n.param v=2\n.endif\n{M1.format('nn')}"
    path = kit(tmp_path, wrapped(inside) + nx(CLOSED_V, "nn") + PX)
    with pytest.raises(BadInput, match=r"^switch\.lib line 4: '\.param' between"):
        read_user_kit(path).cards("tt")
    netlist = tmp_path / "cell.sp"
    netlist.write_text(wrapped(inside))
    with pytest.raises(BadInput, match=r"^cell\.sp line 3: '\.param' between"):
        screen_file(netlist, [tmp_path])


@pytest.mark.parametrize(("cards", "message"), [
    (f".if (low==1)\n{nx(OPEN_V)}", r"switch\.lib line 3: '\.if' has no '\.endif'; add it"),
    (wrapped(f".if (low==1)\n{M1.format('nn')}"),
     r"switch\.lib line 4: '\.if' has no '\.endif' before \.ends; add it"),
    (wrapped(f"{M1.format('nn')}.endif\n"), r"switch\.lib line 5: '\.endif' has no '\.if' before it; add it"),
])
def test_a_block_without_begin_or_end_is_refused(tmp_path: Path, cards: str, message: str) -> None:
    path = kit(tmp_path, ".param low=1\n" + cards + nx(CLOSED_V, "nn") + PX)
    with pytest.raises(BadInput, match=f"^{message}$"):
        read_user_kit(path).cards("tt")


def test_what_no_device_reaches_may_hold_anything(tmp_path: Path) -> None:
    cards = f".param low=0\n.if (low==1)\n.subckt other a b\nr1 a b 1k\n.ends\n.endif\n{nx(CLOSED_V)}{PX}"
    assert ".if" not in read_user_kit(kit(tmp_path, cards)).cards("tt")


def test_nets_of_all_subcircuits_are_kept(tmp_path: Path) -> None:
    (tmp_path / "cards.lib").write_text(f".global sub!\n.model other nmos level=54\n{nx(CLOSED_V)}")
    kept = Library(tmp_path, [Source("cards.lib")]).prune(["nx"])
    assert ".global sub!" in kept
    assert "other" not in kept


#: cards whose nmos has a threshold of OPEN_V as ngspice reads them, where a hasty reader finds CLOSED_V or nothing
AS_NGSPICE_READS: Mapping[str, str] = {
    "the first of two subcircuits": wrapped(M1.format("n1")) + wrapped(M1.format("n2"))
    + nx(OPEN_V, "n1") + nx(CLOSED_V, "n2"),
    "a subcircuit in a subcircuit": wrapped(
        ".subckt in d g s b w=1 l=1 ad=0 as=0 pd=0 ps=0\n" + M1.format("n1") + ".ends in\n"
        "x1 d g s b in w='w' l='l' ad='ad' as='as' pd='pd' ps='ps'\n") + nx(OPEN_V, "n1"),
    "the last of .param and .parameter": f".param v={CLOSED_V}\n.parameter v={OPEN_V}\n"
    + nx(OPEN_V).replace(f"vth0={OPEN_V}", "vth0='v'"),
    ".parameters alone": f".parameters v={OPEN_V}\n" + nx(OPEN_V).replace(f"vth0={OPEN_V}", "vth0='v'"),
    "bins with units": nx(OPEN_V, "nx.1")[:-1] + " lmin=0.05u lmax='70n' wmin=1n wmax=10u\n"
    + nx(CLOSED_V, "nx.2")[:-1] + " lmin=70n lmax={20u} wmin=1n wmax=10u\n",
}


@pytest.mark.ngspice
@pytest.mark.parametrize("case", AS_NGSPICE_READS)
def test_cards_are_cut_down_as_ngspice_reads_them(tmp_path: Path, case: str) -> None:
    engine, text = LiveEngine(), AS_NGSPICE_READS[case] + PX
    plain = tmp_path / "plain"
    plain.mkdir()
    chosen, wanted = read_user_kit(kit(tmp_path, text)), read_user_kit(kit(plain, nx(OPEN_V) + PX))
    on_a = device_currents(chosen, "tt", 25.0, engine)["nmos"]
    assert on_a == pytest.approx(device_currents(wanted, "tt", 25.0, engine)["nmos"], rel=1e-3)
    assert prune_proof(chosen, "tt", engine).good


def test_a_bin_of_another_length_is_cut_whatever_its_unit(tmp_path: Path) -> None:
    (tmp_path / "cards.lib").write_text(nx(OPEN_V, "nx.1")[:-1] + " lmin=50n lmax=0.07u\n"
                                        + nx(CLOSED_V, "nx.2")[:-1] + " lmin=70n lmax=20u\n"
                                        + nx(CLOSED_V, "nx.3")[:-1] + " lmin='k' lmax=20u\n")
    kept = Library(tmp_path, [Source("cards.lib")]).prune(["nx"], [60e-9])
    assert [name in kept for name in ("nx.1", "nx.2", "nx.3")] == [True, False, True]
