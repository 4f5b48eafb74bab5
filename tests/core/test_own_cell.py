"""A cell in the place of ours whose inner nets benches look at: they become nets of the wrapper."""

from __future__ import annotations

import pytest

from charlib.errors import BadInput
from charlib.netlist import WATCHED, defining, netlist_text, opened, ports_in
from charlib.pdk.own_cell import check_sizes

CELL = """.subckt CORE a b
* not this one
.ends CORE
.subckt MY8T BL BLB
+ WL VDD VSS m=1
xl QN Q VDD VDD pmos w=wmin l=lmin
xr Q QN VSS VSS nmos w=wmin l=lmin
.ends MY8T
"""


def test_nets_become_ports_after_the_own_ones() -> None:
    text = opened(CELL, "my8t", ["q", "qn"], "cells.sram_6t.inside")
    assert ".subckt MY8T BL BLB WL VDD VSS q qn m=1\n" in text
    assert ".subckt CORE a b\n" in text


def test_a_net_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match=r"^cells\.sram_6t\.inside: MY8T has no net 'qb'; say which nets hold the bit, "
                                       r'as inside = \{q = "\.\.\.", qb = "\.\.\."\}$'):
        opened(CELL, "MY8T", ["q", "qb"], "cells.sram_6t.inside")


def test_ours_have_the_nets_that_are_watched() -> None:
    for name, nets in WATCHED.items():
        words = netlist_text(name).split()
        assert all(net in words for net in nets)


def test_a_net_named_gnd_is_refused() -> None:
    with pytest.raises(BadInput, match="a net is named gnd, which is the simulator's node 0"):
        defining(".subckt cell a GND\n* gnd\nr1 a gnd 1\n.ends\n", "cell", "own.sp")
    assert defining("* gnd\n.subckt cell a vss\n* to gnd\nr1 a vss 1\n.ends\n", "cell", "own.sp")


def test_a_comment_beside_the_ports_is_no_port() -> None:
    text = ".subckt one a b $ in, out\nr1 a b 1\n.ends\n"
    assert ports_in(text, "ONE", "one.sp") == ("a", "b")
    assert opened(text, "one", ["a"], "inside").splitlines()[0] == ".subckt one a b a $ in, out"


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
    check_sizes("xa d g s b nch_ckt w=0.4 l=0.06\n", "cells.inv", {"nmos": 1.0, "nch_ckt": 1e-6})
    with pytest.raises(BadInput, match=r"xa has w=153, which is 0\.000153 m"):
        check_sizes("xa d g s b nch_ckt w=153\n", "cells.inv", {"nmos": 1.0, "nch_ckt": 1e-6})
