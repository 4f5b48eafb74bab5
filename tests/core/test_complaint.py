"""What ngspice says of a failure reaches the user: which element, which parameter, in one line."""

from __future__ import annotations

import pytest

from charlib.errors import SimulationFailed
from charlib.spice import Deck, OperatingPoint
from charlib.spice.complaint import complaint_of
from charlib.spice.live import LiveEngine

#: ngspice-39 writes the last part behind a blank
VALID = (r"could not find a valid modelname \(no model of that name is in the cards, or the transistor's width or "
         r"length lies in none of its bins, or ngspice lacks its level\)")
#: what is wrong -> (cards, the complaint)
FAULTS = {
    "unknown parameter": (".model nn nmos level=1\nm1 d d 0 0 nn w=1u l=1u mult=1\n",
                          r"Error on line \d+ or its substitute: m1 d d 0 0 nn w=1u l=1u mult=1; unknown parameter "
                          r"\(mult\)"),
    "unknown parameter in a subcircuit": (
        ".model nn nmos level=1\n.subckt q a\nmn a a 0 0 nn w=1u l=1u mult=1\n.ends\nx1 d q\n",
        r"Error on line: m\.x1\.mn d d 0 0 nn w=1u l=1u mult=1; unknown parameter \(mult\)"),
    "width outside the bins": (".model nb.1 nmos level=54 version=4.5 lmin=1u lmax=2u wmin=1u wmax=10u\n"
                               "m1 d d 0 0 nb w=36u l=1u\n",
                               rf"Error on line \d+ or its substitute: m1 d d 0 0 nb w=36u l=1u; {VALID}"),
    "level": (".model nn nmos level=72\nm1 d d 0 0 nn w=1u l=1u\n",
              r"Warning: Model issue on line \d+ : \.model nn nmos level=72 \.\.\.; Only MOS device levels [\d,-]+ "
              r"are supported in this binary; "
              rf"Error on line \d+ or its substitute: m1 d d 0 0 nn w=1u l=1u; {VALID}"),
    "no model": ("m1 d d 0 0 nosuch w=1u l=1u\n",
                 # after some other decks in the same process ngspice does not warn first
                 r"(warning, can't find model 'nosuch' from line; m1 d d 0 0 nosuch w=1u l=1u|"
                 rf"Error on line \d+ or its substitute: m1 d d 0 0 nosuch w=1u l=1u; {VALID})"),
    "no subcircuit": ("x1 d nosuch\n", r"Error: unknown subckt: x1 d nosuch"),
    "ports": (".subckt q a b\nr1 a b 1\n.ends\nx1 d q\n",
              r"Too few parameters for subcircuit type \"q\" \(instance: xx1\)"),
    "undefined parameter": ("r1 d 0 {zz}\n", r"Netlist line no\. \d+: Undefined parameter \[zz\]; .*"),
    "expression": ("r1 d 0 {1+*2}\n", r"Netlist line no\. \d+: Misplaced operator; Expression err: 1\+\*2\}"),
    "singular": ("v2 d 0 dc 2\n", r"Warning: singular matrix: +check node v2#branch"),
}


@pytest.mark.ngspice
@pytest.mark.parametrize("fault", FAULTS)
def test_the_complaint_names_element_and_cause(fault: str) -> None:
    cards, said = FAULTS[fault]
    deck = Deck("t", f"{cards}vd d 0 dc 1\nrg d 0 1meg\n", 25.0, OperatingPoint(), save=("i(vd)",))
    with pytest.raises(SimulationFailed, match=rf"^ngspice: {said}$") as caught:
        LiveEngine().run(deck)
    assert "\n" not in str(caught.value)


def test_a_log_without_an_error_is_no_complaint() -> None:
    assert complaint_of(["Circuit: * t", "Warning: Model issue on line 3 :", ".model unused nmos level=72"]) is None
    assert complaint_of(["No errors found", "reltol error 1e-3"]) is None


def test_notes_between_a_heading_and_its_lines_are_left_out() -> None:
    log = ["Circuit: * t", "Error on line 4 or its substitute:", "", "Note: something", "  r1  a b 0 x", "bad value"]
    assert complaint_of(log) == "Error on line 4 or its substitute: r1 a b 0 x; bad value"
    assert complaint_of(["Error on line 4 or its substitute:"]) == "Error on line 4 or its substitute:"
    assert len(complaint_of([f"Error: {'x' * 5000}"]) or "") < 300
