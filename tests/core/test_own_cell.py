"""A user's cell in the place of ours: what of its file is kept, what is renamed, what is refused with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from charlib.errors import BadInput
from charlib.netlist import WATCHED, names, netlist_text, ports_in, takes_drive
from charlib.pdk.cell_cards import kit_tree, read_cards
from charlib.pdk.library import plain_number, statements
from charlib.pdk.own_cell import CellFile, check_sizes, own_text

KIT = """.model nch nmos
.param lmin=50n wmin=90n
.subckt nmos d g s b w=1 l=1
m1 d g s b nch w={w} l={l}
.ends nmos
.subckt nch_mac d g s b w=1
m1 d g s b nch w={w} m=2
.ends
.subckt odd d g s b
g1 d s g s 1e-3
.ends
"""
PORTS = ("a", "y", "vdd", "vss")
BODY = "xn y a vss vss nmos w=wmin l=lmin\nxp y a vdd vdd nmos w=wmin l=lmin\n"


def own(folder: Path, text: str, name: str = "inv", subckt: str = "cell", ports: tuple[str, ...] = PORTS,
        scale_m: float = 1.0, **fields: Mapping[str, str]) -> str:
    """The deck's text of a cell file."""
    path = folder / "cell.sp"
    path.write_text(text)
    kit = kit_tree(tuple(statements(KIT, path)))
    cell = CellFile("cell.sp", subckt, ports, **fields)
    return own_text(name, cell, read_cards(path, [folder]), kit, IN_METRES, scale_m).text


def cell(body: str = "", before: str = "", ports: str = "a y vdd vss") -> str:
    return f"{before}.subckt cell {ports}\n{BODY}{body}.ends\n"


def test_names_and_multipliers_are_the_cell_s_own(tmp_path: Path) -> None:
    text = own(tmp_path, ".param k=2 lmin='k*50n'\n.subckt helper d g w=1\nm1 d g 0 0 nch w={w*k} l=lmin m=3\n.ends\n"
                         + cell("x1 a vss helper w=k m='k'\n"))
    assert text == """.param k_of_own_inv=2
.param lmin_of_own_inv='k_of_own_inv*50n'
.subckt own_inv__cell a y vdd vss m_own_inv__cell=1
xn y a vss vss nmos w=wmin l={lmin_of_own_inv} m={m_own_inv__cell}
xp y a vdd vdd nmos w=wmin l={lmin_of_own_inv} m={m_own_inv__cell}
x1 a vss own_inv__helper w_of_own_inv__helper={k_of_own_inv} m_own_inv__helper={m_own_inv__cell*(k_of_own_inv)}
.ends own_inv__cell
.subckt own_inv__helper d g w_of_own_inv__helper=1 m_own_inv__helper=1
m1 d g 0 0 nch w={w_of_own_inv__helper*k_of_own_inv} l={lmin_of_own_inv} m={m_own_inv__helper*(3)}
.ends own_inv__helper
.subckt inv a y vdd vss drive=1
xown a y vdd vss own_inv__cell m_own_inv__cell={drive}
.ends inv
"""


def test_two_subcircuits_of_one_name_in_the_deck_are_refused(tmp_path: Path) -> None:
    text = (".subckt h p\n.subckt in p\nr1 p 0 1\n.ends\nx1 p in\n.ends\n.subckt h__in p\nr1 p 0 2\n.ends\n"
            + cell("x8 a h\nx9 a h__in\n"))
    with pytest.raises(BadInput, match=r"^netlist: subcircuits 'in' and 'h__in' would get one name in the deck; "
                                       r"rename one$"):
        own(tmp_path, text)


def test_a_cell_s_transistors_without_diffusions_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "cell.sp"
    path.write_text(cell("m1 y a vss vss nch\nm2 y a vss vss nch AD=1p\nxm y a vss vss nch_mac\n"))
    kit = kit_tree(tuple(statements(KIT, path)))
    found = own_text("inv", CellFile("cell.sp", "cell", PORTS), read_cards(path, [tmp_path]), kit, IN_METRES, 1.0)
    assert (found.transistors, found.bare) == (5, 2)


def test_only_what_is_reached_is_written(tmp_path: Path) -> None:
    text = own(tmp_path, ".subckt other a\nb1 a 0 v=1\n.ends\n" + cell(before=".param unused={nothing}\n"))
    assert "other" not in text
    assert "unused" not in text


def test_ours_that_have_no_drive_get_no_multiplier(tmp_path: Path) -> None:
    assert [name for name in names() if takes_drive(name)] == [
        "buffer", "input_logic", "inv", "nand2", "nor2", "precharge", "wordline_driver", "write_driver"]
    ports = ("a", "b", "y", "vdd", "vss")
    text = own(tmp_path, cell("xb y b vss vss nmos w=wmin l=lmin\n", ports="a b y vdd vss"), "xor2", ports=ports)
    assert "m_own" not in text


REFUSED = {
    "source": (cell("vx a 0 1\n"), r"line 4: 'vx': an own cell is made of transistors, .*no bench would see$"),
    "outside": (cell() + "x9 a y vdd vss cell\n", r"line 5: x9 stands outside every subcircuit, .*; remove it$"),
    "analysis": (cell() + ".tran 1n 1u\n", r"line 5: '\.tran' is not allowed; circuits only$"),
    "branch": (cell(".if (1)\n.endif\n"),
               r"line 4: '\.if' is not allowed; circuits only; keep the branch that holds$"),
    "lib": (cell(before=".lib tt\n"), r"line 1: '\.lib' is not allowed; circuits only; put the section's cards"),
    "temp": (cell() + ".temp 85\n", r"line 5: '\.temp' is not allowed"),
    "option": (".option gmin=1e-9 scale=1\n" + cell(),
               r"line 1: the option 'gmin' is the whole deck's, not a cell's; "),
    "scale": (".OPTIONS SCALE=1u\n" + cell(),
              r"line 1: '\.option scale=1u' would count for the whole deck, whose cards are in units of 1 m; give "
              r"sizes with their unit \(w=0\.18u\) and remove it$"),
    "unknown call": (cell("x9 a y ghost\n"),
                     r"line 4: x9 calls 'ghost', which neither the file nor the kit's cards define; put it into the "
                     r"file$"),
    "few nets": (cell("x9 a y nmos\n"),
                 r"line 4: x9 has 2 nets, nmos has 4 ports \(d g s b\); give one net for each$"),
    "no such parameter": (cell("x9 a h nf=2\n") + ".subckt h p\nr1 p 0 1\n.ends\n",
                          r"line 4: x9: h has no parameter 'nf'; it has none$"),
    "circle": (cell("x9 a y vdd vss cell\n"), r"line 4: x9 calls 'cell', which goes in a circle; remove the call$"),
    "twice": (cell() + cell(), r"line 5: subcircuit 'cell' is defined twice; remove or rename one$"),
    "parameter twice": (".param k=1\n.param k=2\n" + cell(), r"line 2: parameter 'k' is defined twice; remove one$"),
    "caller's": (".subckt h p\nr1 p vdd 'k'\n.ends\n" + cell("x9 a h\n", ports="a y vdd vss k=1"),
                 r"line 2: 'k' is a parameter that only cell declares, which calls h; declare it on \.subckt h"),
    "our parameter": (cell("r1 a y 'drive'\n"),
                      r"line 4: 'drive' is a parameter that the file does not declare; "),
    "spaces": (cell("r1 a y r=1 + 2\n"),
               r"line 4: '\+' cannot be read; write assignments as name=value, expressions in quotes or \{ \}$"),
    "no end": (cell().replace(".ends\n", ""), r"subcircuit 'cell' has no \.ends$"),
    "ends nothing": (".ends\n" + cell(), r"line 1: '\.ends' ends no subcircuit$"),
    "gnd": (cell("r1 y gnd 1e9\n"), r"line 4: a net is named gnd, which is the simulator's node 0, .*make it a port"),
    "global": (".global vnb\n" + cell("r1 a vnb 1\n"),
               r"line 1: the global net 'vnb' is joined to nothing in our circuits; say which of our nets it is, as "
               r"joined = \{\"vnb\" = \"vss\"\}$"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_card_that_would_vanish_is_named(what: str, tmp_path: Path) -> None:
    text, said = REFUSED[what]
    with pytest.raises(BadInput, match=said) as caught:
        own(tmp_path, text)
    assert "\n" not in str(caught.value)


FLOATING = {
    "a bulk": "xd y a vss VSUBS nmos w=wmin l=lmin\n",
    "two bulks and a capacitor": "xd y a vss VSUBS nmos\nxe y a vss VSUBS nmos\nc1 VSUBS y 1f\n",
    "a gate": "xd y VSUBS vss vss nmos\n",
    "a capacitor": "c1 y VSUBS 1f\n",
    "a diode": "d1 VSUBS vdd dwell\n",
    "a helper's bulk": "x9 y a vss h\n.ends\n.subckt h d g s\nm1 d g s VSUBS nch\n",
}


@pytest.mark.parametrize("what", FLOATING)
def test_a_net_that_floats_is_named(what: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^cells\.inv: net '(x9\.)?vsubs' of cell \(at \w+\) is joined to nothing: no "
                                       r"channel and no resistor leads from it to a port, .* as joined = "
                                       r"\{\"vsubs\" = \"vss\"\}$"):
        own(tmp_path, cell(FLOATING[what]))
    text = own(tmp_path, cell(FLOATING[what]), joined={"VSUBS": "vss"})
    assert "xown a y vdd vss vss own_inv__cell" in text


def test_what_a_channel_or_a_resistor_leads_to_does_not_float(tmp_path: Path) -> None:
    own(tmp_path, cell("xd n1 a vss vss nmos\nxe n2 n1 n1 vss nch_mac\nr1 n2 n3 5\nc1 n3 vss 1f\n"
                       "xf y n3 vss n3 nmos\n"))


def test_a_joined_net_goes_through_every_subcircuit(tmp_path: Path) -> None:
    text = own(tmp_path, ".global VPB\n" + cell("x9 y a h\n") + ".subckt h d g\nx1 d g deep\n.ends\n"
               ".subckt deep d g\nm1 d g vdd VPB pch\n.ends\n", joined={"vpb": "vdd", "vdd": "vdd"})
    assert ".subckt own_inv__deep d g vpb vdd m_own_inv__deep=1\n" in text
    assert "x1 d g vpb vdd own_inv__deep " in text
    assert "x9 y a vpb vdd own_inv__h " in text
    assert "xown a y vdd vss vdd own_inv__cell " in text


def test_a_bulk_at_the_wrong_supply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cell.sp"
    path.write_text(".subckt h d g s b\nm1 d g s b PCH\n.ends\n.subckt cell a y vdd vss vnb vpb\n"
                    "mn y a vss vnb nch\nx1 y a vdd vpb h\n.ends\n")
    kit = kit_tree(tuple(statements(KIT + ".model pch pmos\n.subckt pmos d g s b w=1 l=1\nm1 d g s b pch\n.ends\n",
                                    path)))

    def made(vnb: str, vpb: str) -> str:
        found = CellFile("cell.sp", "cell", (*PORTS, vnb, vpb))
        return own_text("inv", found, read_cards(path, [tmp_path]), kit, IN_METRES, 1.0).text

    assert "xown a y vdd vss vss vdd" in made("vss", "vdd")
    with pytest.raises(BadInput, match=r"^cells\.inv: the bulk of mn \(nch, nmos\) is joined to vdd, where its "
                                       r"diodes conduct; join it to vss \(the order of `ports`\)$"):
        made("vdd", "vdd")
    with pytest.raises(BadInput, match=r"^cells\.inv: the bulk of m1 \(PCH, pmos\) is joined to vss, where its "
                                       r"diodes conduct; join it to vdd \(the order of `ports`\)$"):
        made("vss", "vss")


def test_a_net_that_two_fields_join_otherwise_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^cells\.inv\.joined: 'VSS' is a port of cell, which `ports` joins to vss, "
                                       r"not to vdd; remove it from one of them$"):
        own(tmp_path, cell(), joined={"VSS": "vdd"})
    plain = own(tmp_path, cell())
    assert own(tmp_path, cell(), joined={"VSS": "vss"}) == plain


def test_a_port_may_be_joined_by_a_global_net(tmp_path: Path) -> None:
    text = own(tmp_path, ".global vdd vss\n.subckt cell a y\n" + BODY + ".ends\n", ports=("a", "y"),
               joined={"vdd": "vdd", "vss": "vss"})
    assert "xown a y vdd vss own_inv__cell m_own_inv__cell={drive}" in text
    with pytest.raises(BadInput, match=r"^cells\.inv\.joined: '0' is not a port of inv; allowed are a, y, vdd, vss; "
                                       r"the simulator's node 0 hides currents: join vss$"):
        own(tmp_path, cell(), joined={"vsubs": "0"})


def test_a_kit_s_subcircuit_that_loses_a_multiplier_is_written_anew(tmp_path: Path) -> None:
    assert "xd y a vss vss own__nch_mac w_of_own__nch_mac=1 m_own__nch_mac={m_own_inv__cell}" in own(
        tmp_path, cell("xd y a vss vss nch_mac w=1\n"))


SRAM = ".subckt MY8T BL BLB\n+ WL VDD VSS m=1\n{q}xl QN Q VDD VDD nmos\nxr Q QN VSS VSS nmos\nxa BL WL Q VSS nmos\n" \
       "xb BLB WL QN VSS nmos\n.ends MY8T\n"


def test_nets_that_benches_look_at_become_ports(tmp_path: Path) -> None:
    ports = ("bl", "blb", "wl", "vdd", "vss")
    text = own(tmp_path, SRAM.format(q="* ports\n"), "sram_6t", "my8t", ports, inside={"qb": "qn"})
    assert ".subckt own_sram_6t__MY8T BL BLB WL VDD VSS q qn\n" in text
    assert "xown bl blb wl vdd vss q qb own_sram_6t__MY8T\n" in text
    with pytest.raises(BadInput, match=r"^cells\.sram_6t\.inside: MY8T has no net 'qb'; say which nets hold the bit, "
                                       r'as inside = \{q = "\.\.\.", qb = "\.\.\."\}$'):
        own(tmp_path, SRAM.format(q=""), "sram_6t", "MY8T", ports)


def test_a_bitcell_whose_bulks_float_is_refused(tmp_path: Path) -> None:
    text = SRAM.format(q="").replace("VSS VSS nmos", "VSS VSUBS nmos")
    with pytest.raises(BadInput, match=r"^cells\.sram_6t: net 'vsubs' of MY8T \(at xr\) is joined to nothing: "):
        own(tmp_path, text, "sram_6t", "MY8T", ("bl", "blb", "wl", "vdd", "vss"), inside={"qb": "qn"})


def test_ours_have_the_nets_that_are_watched() -> None:
    for name, nets in WATCHED.items():
        words = netlist_text(name).split()
        assert all(net in words for net in nets)


def test_a_comment_beside_the_ports_is_no_port() -> None:
    assert ports_in(".subckt one a b $ in, out\nr1 a b 1\n.ends\n", "ONE", "one.sp") == ("a", "b")


def test_scale_of_the_kit_s_own_is_kept(tmp_path: Path) -> None:
    assert "scale" not in own(tmp_path, ".option scale=1.0u\n" + cell(), scale_m=1e-6)
    assert [plain_number(text) for text in ("1u", "'1e-6'", "1um", "0.5", "2*k")] == [1e-6, 1e-6, 1e-6, 0.5, None]


def test_an_include_outside_the_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "helper.sp").write_text(".subckt h d g\nr1 d g 1\n.ends\n")
    (tmp_path / "inner").mkdir()
    text = '.include "../helper.sp"\n' + cell("x9 y a h\n")
    with pytest.raises(BadInput, match=r"'\.include' of '\.\./helper\.sp', outside the allowed folders"):
        own(tmp_path / "inner", text)
    assert "own_inv__h" in own(tmp_path, text.replace("../", ""))


IN_METRES = {"nmos": 1.0, "nch": 1.0}


@pytest.mark.parametrize(("line", "said"), [
    ("xa d g s b nmos w=1.7 l=lmin", "xa has w=1.7, which is 1.7 m"),
    ("xa d g s b nmos w=wmin\n+ L = 153", "xa has L=153, which is 153 m"),
    ("Ma d g s b NCH l=50n w=2e-4", "Ma has w=2e-4, which is 0.0002 m"),
])
def test_a_size_that_cannot_be_metres_is_named(line: str, said: str) -> None:
    with pytest.raises(BadInput, match=rf"^cells\.sram_6t: {said}; at most 0\.0001 m is allowed; give the unit "
                                       r"\(a number and u, or n\), or a multiple of [wl]min$"):
        check_sizes(f".subckt c d g s b\n{line}\n.ends c\n", "cells.sram_6t", IN_METRES)


@pytest.mark.parametrize("line", [
    "xa d g s b nmos w=1.7u l=0.05u", "xa d g s b nmos w='2*wmin' l={lmin*1.5}", "xa d g s b nmos w=9e-8 l=.05e-6",
    "* xa d g s b nmos w=2", "xa d g s b nmos w=wmin l=lmin $ w=2", "xa a y stage w=2 l=1", "r1 nmos b 1 w=2",
    ".param w=2", "xa d g s b nmos nw=2 l=lmin", "xa d g s b nmos w=150nm",
])
def test_other_sizes_are_left_alone(line: str) -> None:
    check_sizes(f"{line}\n", "cells.sram_6t", IN_METRES)


def test_plain_numbers_are_in_the_cards_unit() -> None:
    check_sizes("xa d g s b nch_ckt w=0.4 l=0.06 ad=0.1 as=0 pd=1.0 ps={p}\n", "cells.inv",
                {"nmos": 1.0, "nch_ckt": 1e-6})
    for size, said in (("ad=1.7e-13", r"1\.7e-25 m², as nothing; at least 1e-18 m²"), ("as=0.2p", "2e-25 m², as"),
                       ("w=0.65u", r"6\.5e-13 m, as nothing; at least 1e-09 m"), ("ps=1.2e-6", r"1\.2e-12 m, as")):
        with pytest.raises(BadInput, match=rf"^cells\.inv: xa has {re.escape(size)}, which is {said}.* is allowed; a "
                                           r"plain 1 is 1e-06 m here, 1e-12 m² of area$"):
            check_sizes(f"xa d g s b nch_ckt w=0.4 l=0.06 {size}\n", "cells.inv", {"nmos": 1.0, "nch_ckt": 1e-6})
    with pytest.raises(BadInput, match=r"xa has w=153, which is 0\.000153 m"):
        check_sizes("xa d g s b nch_ckt w=153\n", "cells.inv", {"nmos": 1.0, "nch_ckt": 1e-6})
