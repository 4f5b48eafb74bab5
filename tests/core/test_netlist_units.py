"""Subcircuit library and number formatting."""

from __future__ import annotations

import re

import pytest

from charlib import netlist
from charlib.errors import BadInput
from charlib.units import format_si


@pytest.mark.parametrize(("value", "text"), [
    (1.5e-15, "1.5 fJ"), (0.0, "0 J"), (999.96e-12, "1 nJ"), (-2.34567e3, "-2.35 kJ"), (3e-21, "0.003 aJ"),
])
def test_format_si(value: float, text: str) -> None:
    assert format_si(value, "J") == text


def test_children_come_before_parents_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": ".subckt a x y vdd vss k=1\n"
                  "x1 x y vdd vss b\nx2 y x vdd vss\n+ b w=2\nxn x y 0 0 nmos w=1\n.ends\n",
             "b": ".subckt b x y vdd vss\n.ends\n"}
    monkeypatch.setattr(netlist, "_files", lambda: files)
    text = netlist.subckts("a", "b")
    assert text.count(".subckt b") == 1
    assert text.index(".subckt b") < text.index(".subckt a")
    assert netlist.netlist_ports("a") == ("x", "y", "vdd", "vss")


def test_unknown_circular_and_active_netlists(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": ".subckt a x\nx1 x b\n.ends\n", "b": ".subckt b x\nx1 x a\n.ends\n",
             "c": ".subckt c x\n.ends\n.tran 1 1\n"}
    monkeypatch.setattr(netlist, "_files", lambda: files)
    with pytest.raises(BadInput, match=r"a -> b -> a goes in a circle"):
        netlist.subckts("a")
    with pytest.raises(BadInput, match=r"^netlist: c\.sp holds '\.tran'; circuits only, no analyses$"):
        netlist.subckts("c")
    with pytest.raises(BadInput, match=r"^netlist: no 'z\.sp' in netlists/; there are a, b, c$"):
        netlist.subckts("z")


def test_every_netlist_file_is_a_described_circuit() -> None:
    """Each file NAME.sp starts with a comment, defines .subckt NAME, and draws every device by a wrapper."""
    for name, text in netlist._files().items():
        assert text.startswith("*"), f"{name}.sp has no header comment"
        assert netlist.netlist_ports(name), name
        assert not re.search(r"^\s*m\w*\s", text, re.IGNORECASE | re.MULTILINE), f"{name}.sp draws a bare MOS"
        netlist.subckts(name)
