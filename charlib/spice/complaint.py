"""What ngspice's log says of a failure, as one line: where, which element, and what is wrong with it.

ngspice heads an error with a line such as `Error on line:` and says the rest in the lines below; the cause often
stands before the line that gives up. A complaint is the first telling line, the first that is an error, and what they
head.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

_FATAL = re.compile(
    r"\berror\b|fatal|singular matrix|no such (?:node|vector|parameter)|unknown (?:model|subckt)|unable to find|"
    r"could not find|can't find (?:definition|model)|undefined parameter|aborted|no simulations run",
    re.IGNORECASE)
_HARMLESS = re.compile(r"no errors|trunc(?:ation)? error|reltol|can't find (?:the )?(?:init|initiali[sz]ation) file",
                       re.IGNORECASE)
#: what tells the cause of a failure and alone is none: a model that nothing uses may have it
_CAUSE = re.compile(r"model issue|netlist line no|too (?:few|many) parameters|timestep too small", re.IGNORECASE)
_GIVES_UP = re.compile(r"cannot recover|aren't any circuits", re.IGNORECASE)
_NOISE = re.compile(r"^\s*$|^(?:Note|Circuit|Trying gmin|Supplies reduced|Please check your)\b", re.IGNORECASE)
_HEADING = re.compile(r"(?::|from line|in line)\s*$", re.IGNORECASE)
#: lines below a heading that belong to it: the element, and what is wrong with it
_BELOW = 2
_LONGEST_LINE = 200
#: ngspice's words -> what they come down to
_MEANING = {"could not find a valid modelname": "no model of that name is in the cards, or the transistor's width or "
                                                "length lies in none of its bins, or ngspice lacks its level"}


def complaint_of(log: Sequence[str]) -> str | None:
    """What ngspice's log says of why a run failed, in one line; None where it did not."""
    if not _FATAL.search("\n".join(log)):
        return None
    lines = [line for line in log if not _NOISE.match(line)]
    if not any(_FATAL.search(line) and not _HARMLESS.search(line) for line in lines):
        return None
    telling = [k for k, line in enumerate(lines)
               if (_FATAL.search(line) or _CAUSE.search(line)) and not _HARMLESS.search(line)]
    failed = next(k for k in telling if _FATAL.search(lines[k]))
    said = _with_below(lines, telling[0])
    if lines[failed] not in said and not _GIVES_UP.search(lines[failed]):
        said += _with_below(lines, failed)
    text = "; ".join(_short(line) for line in said).replace(":; ", ": ")
    meaning = next((why for words, why in _MEANING.items() if words in text), "")
    return f"{text} ({meaning})" if meaning else text


def _with_below(lines: Sequence[str], begin: int) -> list[str]:
    """A line, and those that it heads."""
    said = [lines[begin]]
    if _HEADING.search(lines[begin]):
        below = [line for line in lines[begin + 1:begin + 2 * _BELOW] if line.strip() != lines[begin].strip()]
        said += itertools.takewhile(lambda line: not _HEADING.search(line), below[:_BELOW])
    return said


def _short(line: str) -> str:
    words = " ".join(line.split())
    return words if len(words) <= _LONGEST_LINE else f"{words[:_LONGEST_LINE]}..."
