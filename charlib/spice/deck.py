"""A typed deck, and the one place where it becomes SPICE text.

A deck is complete in itself: model cards, circuit, sources, analysis and `.meas` cards. Its text runs by
hand under `ngspice -b` and prints the same measures that this package takes from the waveforms, because
each :data:`Measure` is defined once and rendered twice (here, and in :mod:`charlib.spice.measure`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from charlib.errors import BadInput

Edge = Literal["rise", "fall"]

#: Tolerances for cells that leak nanoamperes and hold femtocoulombs; ngspice's own defaults
#: (gmin 1e-12, abstol 1e-12, chgtol 1e-14) are coarse for both.
DEFAULT_OPTIONS: Mapping[str, str] = {"gmin": "1e-15", "abstol": "1e-14", "chgtol": "1e-16", "reltol": "1e-3"}


@dataclass(frozen=True)
class Transient:
    """Transient analysis from the operating point (with `initial` node voltages held while it is found).

    max_step_s is ngspice's TMAX: chosen by a convergence check, since the default lets energies drift.
    """

    step_s: float
    stop_s: float
    max_step_s: float

    def __post_init__(self) -> None:
        if not 0 < self.step_s <= self.stop_s or not 0 < self.max_step_s <= self.stop_s:
            raise BadInput(f"Transient: 0 < step_s, max_step_s <= stop_s is needed, got step_s={self.step_s:g}, "
                           f"max_step_s={self.max_step_s:g}, stop_s={self.stop_s:g}")

    def card(self) -> str:
        return f".tran {self.step_s:.6g} {self.stop_s:.10g} 0 {self.max_step_s:.6g}"


@dataclass(frozen=True)
class DcSweep:
    """Sweep of one independent source."""

    source: str  #: full element name, e.g. "vdd"
    start_v: float
    stop_v: float
    step_v: float

    def card(self) -> str:
        return f".dc {self.source} {self.start_v:.10g} {self.stop_v:.10g} {self.step_v:.10g}"


@dataclass(frozen=True)
class OperatingPoint:
    """One operating point."""

    def card(self) -> str:
        return ".op"


Analysis = Transient | DcSweep | OperatingPoint


@dataclass(frozen=True)
class Energy:
    """Joules that the DC source `source` of `supply_v` volts delivers between two times."""

    name: str
    source: str  #: full element name, e.g. "vdd"
    supply_v: float
    start_s: float
    stop_s: float

    def signals(self) -> tuple[str, ...]:
        return (f"i({self.source})",)

    def cards(self) -> tuple[str, ...]:
        window = f"from={self.start_s:.10g} to={self.stop_s:.10g}"
        return (f".meas tran q_{self.name} integ i({self.source}) {window}",
                f".meas tran {self.name} param='{-self.supply_v:.10g}*q_{self.name}'")


@dataclass(frozen=True)
class Delay:
    """Time from the first crossing of `trigger` after `start_s` to the first of `target` after `start_s`."""

    name: str
    trigger: str
    trigger_v: float
    trigger_edge: Edge
    target: str
    target_v: float
    target_edge: Edge
    start_s: float = 0.0

    def signals(self) -> tuple[str, ...]:
        return (f"v({self.trigger})", f"v({self.target})")

    def cards(self) -> tuple[str, ...]:
        return (f".meas tran {self.name} "
                f"trig v({self.trigger}) val={self.trigger_v:.10g} td={self.start_s:.10g} {self.trigger_edge}=1 "
                f"targ v({self.target}) val={self.target_v:.10g} td={self.start_s:.10g} {self.target_edge}=1",)


@dataclass(frozen=True)
class Sample:
    """Voltage of a node at one time."""

    name: str
    node: str
    at_s: float

    def signals(self) -> tuple[str, ...]:
        return (f"v({self.node})",)

    def cards(self) -> tuple[str, ...]:
        return (f".meas tran {self.name} find v({self.node}) at={self.at_s:.10g}",)


@dataclass(frozen=True)
class Extreme:
    """Lowest or highest voltage of a node between two times."""

    name: str
    node: str
    kind: Literal["min", "max"]
    start_s: float
    stop_s: float

    def signals(self) -> tuple[str, ...]:
        return (f"v({self.node})",)

    def cards(self) -> tuple[str, ...]:
        return (f".meas tran {self.name} {self.kind} v({self.node}) "
                f"from={self.start_s:.10g} to={self.stop_s:.10g}",)


Measure = Energy | Delay | Sample | Extreme


@dataclass(frozen=True)
class Deck:
    """One simulation. `body` holds the PDK header, subcircuits, instances and sources.

    save: signals to keep besides those the measures need, as "v(node)" or "i(source)".
    initial: node -> volts, held while the operating point is found (`.ic`) and then released.
    """

    title: str
    body: str
    temp_c: float
    analysis: Analysis
    measures: tuple[Measure, ...] = ()
    save: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_OPTIONS))
    initial: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [measure.name for measure in self.measures]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise BadInput(f"Deck '{self.title}': measure names must differ, '{doubled[0]}' stands twice")
        if not self.saved():
            raise BadInput(f"Deck '{self.title}': it saves nothing; name signals or measures")
        if self.measures and not isinstance(self.analysis, Transient):
            raise BadInput(f"Deck '{self.title}': measures need a transient analysis")

    def saved(self) -> tuple[str, ...]:
        """Every signal that is kept, without repeats."""
        return self._saved

    @cached_property
    def _saved(self) -> tuple[str, ...]:
        wanted = [s for measure in self.measures for s in measure.signals()]
        return tuple(dict.fromkeys(s.lower() for s in [*self.save, *wanted]))

    def text(self, *, measures: bool = True) -> str:
        """The complete ngspice input; without its `.meas` cards where `measures` is False."""
        lines = [f"* {self.title}", ".options " + " ".join(f"{k}={v}" for k, v in self.options.items()),
                 f".temp {self.temp_c:g}", self.body.rstrip("\n")]
        if self.initial:
            lines += [f".ic v({node})={volt:.10g}" for node, volt in self.initial.items()]
        saved = self.saved()
        lines += [".save " + " ".join(saved[i:i + 12]) for i in range(0, len(saved), 12)]
        lines.append(self.analysis.card())
        if measures:
            lines += [card for measure in self.measures for card in measure.cards()]
        return "\n".join([*lines, ".end"]) + "\n"

    def sha256(self) -> str:
        """Hash of the complete text."""
        return hashlib.sha256(self.text().encode()).hexdigest()
