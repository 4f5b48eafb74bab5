"""`.if`, `.elseif`, `.else`, `.endif` in cards: what ngspice makes conditional, and what it takes whatever is asked.

Seen in ngspice-39: elements and `.model` cards follow the condition, at the top and inside subcircuits, files taken
in by `.include` and `.lib` too. Of `.param` and `.func` the last always counts, of `.subckt` the first,
`.option` and `.temp` always act, and the words behind `.else` (as in `.else if (...)`) are not read. Each gives the
figures of a branch that was not asked for, without a word, so it is refused where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from charlib.errors import BadInput

BEGIN, MIDDLE, END = frozenset({".if"}), frozenset({".elseif", ".else"}), frozenset({".endif"})
CONTROLS = BEGIN | MIDDLE | END
_UNCONDITIONAL = frozenset({".param", ".params", ".parameter", ".parameters", ".func", ".subckt", ".macro", ".opt",
                            ".option", ".options", ".temp", ".global", ".nodeset", ".ic"})
_OPENS, _CLOSES = frozenset({".subckt", ".macro"}), frozenset({".ends", ".eom"})
_AFTER_ELSE = re.compile(r"\.else\s*(?:$|[;$]|//)", re.IGNORECASE)


def check_conditionals(cards: Iterable[tuple[str, str, str]]) -> None:
    """BadInput for a condition that ngspice does not heed, and for a block without its begin or end.

    cards: (first word in small letters, text, where it stands), in order.
    """
    open_at: list[str] = []
    outside: list[int] = []  #: blocks open where each subcircuit began
    for word, text, place in cards:
        if word in CONTROLS:
            _check_control(word, text, place, len(open_at) - (outside[-1] if outside else 0))
            if word in BEGIN:
                open_at.append(place)
            elif word in END:
                open_at.pop()
        elif len(open_at) > (outside[-1] if outside else 0):
            if word in _CLOSES:
                raise BadInput(f"{open_at[-1]}: '.if' has no '.endif' before {word}; add it")
            if word in _UNCONDITIONAL:
                raise BadInput(f"{place}: '{word}' between .if and .endif, which ngspice takes whatever the "
                               "condition says; move it out, and give a parameter its condition in its value, e.g. "
                               ".param p = 'case==1 ? 0.1 : 0.2'")
        elif word in _OPENS:
            outside.append(len(open_at))
        elif word in _CLOSES and outside:
            outside.pop()
    if open_at:
        raise BadInput(f"{open_at[-1]}: '.if' has no '.endif'; add it")


def _check_control(word: str, text: str, place: str, depth: int) -> None:
    if word not in BEGIN and depth < 1:
        raise BadInput(f"{place}: '{word}' has no '.if' before it; add it")
    if word == ".else" and not _AFTER_ELSE.match(text.strip()):
        raise BadInput(f"{place}: ngspice does not read what stands behind .else; write '.elseif (condition)'")
