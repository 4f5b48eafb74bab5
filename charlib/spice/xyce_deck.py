"""A deck in Xyce's dialect.

The dialect is that of the Xyce Reference Guide, release 7.5 or later (`.MEASURE` with TD for TRIG and TARG, FIND AT).
What differs from ngspice: options stand in packages; expressions and names of parameters stand in braces; parameters
of subcircuits come after `PARAMS:`; a node within an instance is X1:NODE; `;` begins a comment and `$` does not.
A card or option without a known counterpart is BadInput, never passed on unread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from charlib.errors import BadInput
from charlib.spice.deck import DcSweep, Deck, Delay, Energy, Extreme, Measure, OperatingPoint, Sample, Transient

WAVES_FILE = "waves.csv"
#: digits of waveforms and measures: what a double holds
DIGITS = 15
#: ngspice's option -> Xyce's package and option
OPTIONS: Mapping[str, tuple[str, str]] = {
    "gmin": ("device", "gmin"), "temp": ("device", "temp"), "tnom": ("device", "tnom"),
    "reltol": ("timeint", "reltol"), "vntol": ("timeint", "abstol"), "method": ("timeint", "method"),
    "scale": ("parser", "scale"),
}
#: ngspice's option -> why Xyce gets none
NO_COUNTERPART: Mapping[str, str] = {
    "abstol": "Xyce has one absolute tolerance for voltages and currents",
    "chgtol": "Xyce bounds the error of unknowns, not of charges",
    "klu": "Xyce chooses its solver itself",
}
#: cards that mean the same in both
_SAME = frozenset({".model", ".ends", ".global", ".nodeset", ".ic", ".func", ".include", ".inc", ".lib", ".endl"})
_ELEMENTS = "bcdefghijklmqrvwx"
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]*", re.IGNORECASE)
_PAIR = re.compile(r"(\w+)\s*=\s*('[^']*'|\{[^}]*\}|\"[^\"]*\"|[^\s{}'\"]+)")
_INNER = re.compile(r"\bx\w*(?:\.\w+)+", re.IGNORECASE)
_SOURCE = re.compile(r"\b([vi])\s*=\s*(.+)", re.IGNORECASE | re.DOTALL)


def render(deck: Deck) -> str:
    """The complete Xyce input: circuit, analysis, `.print` of the saved signals, and measures."""
    options = {"temp": f"{deck.temp_c:g}", **deck.options}
    lines = [f"* {deck.title}", *option_cards(options), f".options measure measfail=1 measdgt={DIGITS}"]
    lines += [line for card in cards(deck.body) for line in translate(card)]
    lines += [f".ic v({_inner(node)})={volt:.10g}" for node, volt in deck.initial.items()]
    printed = [print_name(signal) for signal in deck.saved()]
    head = f".print {_kind(deck)} format=csv file={WAVES_FILE} width={DIGITS + 8} precision={DIGITS}"
    lines += [head, *("+ " + " ".join(printed[i:i + 8]) for i in range(0, len(printed), 8))]
    lines.append(deck.analysis.card())
    lines += [measure_card(measure) for measure in deck.measures]
    return "\n".join([*lines, ".end"]) + "\n"


def _kind(deck: Deck) -> str:
    return "tran" if isinstance(deck.analysis, Transient) else "dc"


def print_name(signal: str) -> str:
    """Xyce's name of "v(node)" or "i(source)", upper case as its output files show it: "V(X1:Q)"."""
    kind, _, rest = signal.partition("(")
    name = rest.rstrip(")")
    if kind == "i" and name.startswith("v.x"):
        name = name.removeprefix("v.")
    return f"{kind}({_inner(name)})".upper()


def measure_card(measure: Measure) -> str:
    """One `.measure` card, of the same definition as the deck's own `.meas` cards."""
    match measure:
        case Energy():
            what = f"integ {{{-measure.supply_v:.10g}*{print_name(f'i({measure.source})')}}} {_window(measure)}"
        case Delay():
            trigger, target = print_name(f"v({measure.trigger})"), print_name(f"v({measure.target})")
            what = (f"trig {trigger} val={measure.trigger_v:.10g} td={measure.start_s:.10g} {measure.trigger_edge}=1 "
                    f"targ {target} val={measure.target_v:.10g} td={measure.start_s:.10g} {measure.target_edge}=1")
        case Sample():
            what = f"find {print_name(f'v({measure.node})')} at={measure.at_s:.10g}"
        case Extreme():
            what = f"{measure.kind} {print_name(f'v({measure.node})')} {_window(measure)}"
    return f".measure tran {measure.name} {what}"


def _window(measure: Energy | Extreme) -> str:
    return f"from={measure.start_s:.10g} to={measure.stop_s:.10g}"


def option_cards(options: Mapping[str, str]) -> list[str]:
    """`.options` cards by package. BadInput for an option that has no counterpart and is not known to need none."""
    packages: dict[str, list[str]] = {}
    for name, value in options.items():
        if name in NO_COUNTERPART:
            continue
        if name not in OPTIONS:
            raise BadInput(f"options: '{name}' is not known in Xyce; known are "
                           f"{', '.join([*OPTIONS, *NO_COUNTERPART])}; leave it out")
        package, own = OPTIONS[name]
        packages.setdefault(package, []).append(f"{own}={value}")
    return [f".options {package} {' '.join(pairs)}" for package, pairs in packages.items()]


def cards(body: str) -> Iterator[list[str]]:
    """The body's cards without comments, each as its line and its continuation lines (without their `+`)."""
    held: list[str] = []
    for line in body.splitlines():
        code = re.split(r";|(?:^|(?<=\s))\$", line, maxsplit=1)[0].strip()
        if not code or code.startswith("*"):
            continue
        if code.startswith("+") and held:
            held.append(code[1:].strip())
            continue
        if held:
            yield held
        held = [code]
    if held:
        yield held


def translate(card: list[str]) -> list[str]:
    """A card's lines in Xyce's dialect."""
    word = card[0].split()[0].lower()
    if word in (".option", ".options"):
        return option_cards({name.lower(): value for name, value in _PAIR.findall(" ".join(card))})
    if word == ".temp":
        return option_cards({"temp": " ".join(card).split()[1]})
    if word in _SAME:
        return _lines([_inner(re.sub(r"'([^']*)'", r"{\1}", part)) for part in card])
    if word in (".subckt", ".param") or word[0] in _ELEMENTS:
        return _lines(_element(card, word))
    raise BadInput(f"deck: the card '{word}' has no known counterpart in Xyce; write it without")


def _element(card: list[str], word: str) -> list[str]:
    if word[0] == "b":
        head, _, source = re.sub(r"\bpwl\s*\(", "table(", _inner(" ".join(card))).partition("=")
        return [f"{head.rstrip()}={{{source.strip().strip('{}')}}}"]
    parts = [_PAIR.sub(_braced, _inner(re.sub(r"'([^']*)'", r"{\1}", part))) for part in card]
    if word[0] == "x" or word == ".subckt":
        joined = "\n".join(parts)
        if "params:" not in joined.lower():
            parts = re.sub(r"(?=\s\w+=)", " params:", joined, count=1).split("\n")
    return parts


def _braced(pair: re.Match[str]) -> str:
    name, value = pair[1], pair[2]
    plain = value[0] in "{\"" or _NUMBER.fullmatch(value)
    return f"{name}={value}" if plain else f"{name}={{{value}}}"


def _inner(text: str) -> str:
    """Names within instances, x1.q, as Xyce has them: x1:q."""
    return _INNER.sub(lambda found: found[0].replace(".", ":"), text)


def _lines(parts: list[str]) -> list[str]:
    return [parts[0], *(f"+ {part}" for part in parts[1:])]


def rows_of(deck: Deck) -> int | None:
    """How many rows the output must have; None for a transient, which chooses its steps."""
    match deck.analysis:
        case DcSweep():
            return int((deck.analysis.stop_v - deck.analysis.start_v) / deck.analysis.step_v + 1e-9) + 1
        case OperatingPoint():
            return 1
    return None
