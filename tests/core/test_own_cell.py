"""A cell in the place of ours whose inner nets benches look at: they become nets of the wrapper."""

from __future__ import annotations

import pytest

from charlib.errors import BadInput
from charlib.netlist import WATCHED, defining, netlist_text, opened

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
