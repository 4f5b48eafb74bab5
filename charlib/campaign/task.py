"""One task, as a worker does it: simulate, measure, and try once more where the simulator gave up."""

from __future__ import annotations

import builtins
import math
import os
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from charlib.benches.base import Bench
from charlib.campaign.plan import Job, deck_of, finer
from charlib.campaign.process import was_killed
from charlib.errors import Accident, LogicError, SimulationFailed
from charlib.pdk import Pdk
from charlib.spice import Deck, Engine

#: Options of the one retry after a failed simulation: Gear's method damps the ringing that stalls the
#: trapezoidal rule, and the iteration limits are ngspice's defaults (itl1 100, itl2 50, itl4 10) times ten.
#: Tolerances stay as they are, so what a retry gives is as accurate as the rest.
#: `noopiter` goes to gmin stepping at once: near a flip-flop's metastable operating point Newton's plain iteration
#: never ends.
#: `trtol` 1 takes the steps that the truncation error asks for, where 7 (the default) lets them run into a corner.
LOOSER_OPTIONS: Mapping[str, str] = {"method": "gear", "noopiter": "1", "trtol": "1", "itl1": "1000", "itl2": "500",
                                     "itl4": "100"}
#: in `looser`, how much finer the step was
STEP = "step_factor"
#: A last try at half the step, which is as accurate and walks past the point where the time step died.
FINER_OPTIONS: Mapping[str, str] = {**LOOSER_OPTIONS, STEP: "2"}
#: stands for a reason that might quote a confidential kit's deck or cards
WITHHELD = ("the simulation failed; why is withheld, since the kit is confidential: 'himc pdk check PDK.toml "
            "--reveal' shows what the kit's own checks say, on this terminal only")
#: how reasons begin that are ours and quote neither
_OWN_WORDS = ("the transient stopped at", "the simulation took more than", "the simulator's process died", "measure ")

#: reasons of ours that say more than that the deck failed
_OVERRAN = re.compile(r"the simulation took more than ([\d.]+(?:e[+-]?\d+)?) s")
_DIED = re.compile(r"the simulator's process died \(exit (-?\d+)\)")
_FAULT = re.compile(r"internal error: (\w+)")


@dataclass(frozen=True)
class Task:
    """What a worker is sent: a point, from which it makes the deck by itself."""

    id: str
    job: Job
    cost_s: float  #: expected solver time


@dataclass(frozen=True)
class Result:
    """What comes back: measures, or the reason why there are none."""

    id: str
    measures: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    solver_s: float = 0.0
    reason: str = ""  #: empty: it went well
    log_tail: str = ""
    looser: Mapping[str, str] = field(default_factory=dict)
    first_reason: str = ""  #: why the first try failed, where a retry ran
    rss_b: int = 0  #: the worker's resident memory after the run; 0: not looked at
    accident: bool = False  #: the machine was at fault, not the deck: it is no result, and the next campaign runs it


def stands(reason: str, timeout_s: float) -> bool:
    """Whether a stored failure is the deck's, and would happen again within a limit of timeout_s.

    Earlier versions kept accidents too: workers that were killed, faults of the system.
    """
    if found := _OVERRAN.match(reason):
        return float(found[1]) >= timeout_s
    if found := _DIED.match(reason):
        return not was_killed(int(found[1]))
    if found := _FAULT.match(reason):
        kind = getattr(builtins, found[1], Exception)
        return not (isinstance(kind, type) and issubclass(kind, OSError | MemoryError))
    return True


def attempt(task: Task, bench: Bench, pdk: Pdk, engine: Engine) -> Result:
    """:func:`run_task` that always comes back: a bench's bug costs one point, a fault of the machine none."""
    try:
        return run_task(task, bench, pdk, engine)
    except Exception as error:
        accident = isinstance(error, OSError | MemoryError | Accident)
        begin = "the machine failed" if accident else "internal error"
        result = Result(task.id, reason=f"{begin}: {type(error).__name__}: {error}",
                        log_tail=traceback.format_exc(limit=-5), accident=accident)
        return withheld(result) if pdk.confidential else result


def run_task(task: Task, bench: Bench, pdk: Pdk, engine: Engine) -> Result:
    """Simulate and measure one task; a simulation that fails is tried again with looser options, then a finer step.

    A wrong answer (LogicError) is not retried: other options would only hide it. Of a confidential kit's run only
    measures leave this function, and reasons that the simulator had no part in.
    """
    result = _run(task, bench, pdk, engine)
    return withheld(result) if pdk.confidential else result


def withheld(result: Result) -> Result:
    """The result without the simulator's words, which quote decks and cards."""
    def reason(text: str) -> str:
        return text if text in ("", WITHHELD) or text.startswith(_OWN_WORDS) else WITHHELD

    return replace(result, log_tail="", reason=reason(result.reason), first_reason=reason(result.first_reason))


def _run(task: Task, bench: Bench, pdk: Pdk, engine: Engine) -> Result:
    deck = deck_of(bench, pdk, task.job.point)
    try:
        return _simulate(task, deck, bench, pdk, engine)
    except LogicError as error:
        return Result(task.id, reason=error.reason, log_tail=error.log_tail)
    except SimulationFailed as error:
        first_reason = error.reason
    for looser in (LOOSER_OPTIONS, FINER_OPTIONS):
        try:
            result = _simulate(task, loosened(deck, looser), bench, pdk, engine)
        except SimulationFailed as error:
            result = Result(task.id, reason=error.reason, log_tail=error.log_tail)
        if not result.reason:
            break
    return replace(result, looser=looser, first_reason=first_reason)


def loosened(deck: Deck, looser: Mapping[str, str]) -> Deck:
    """The deck of a retry."""
    options = {name: value for name, value in looser.items() if name != STEP}
    return finer(replace(deck, options={**deck.options, **options}), int(looser.get(STEP, "1")))


def _simulate(task: Task, deck: Deck, bench: Bench, pdk: Pdk, engine: Engine) -> Result:
    waves = engine.run(deck)
    tail = "\n".join(waves.log[-20:])
    measures = {name: float(value) for name, value in bench.measure(pdk, task.job.point, waves).items()}
    bad = [name for name, value in measures.items() if not math.isfinite(value)]
    if bad:
        raise SimulationFailed(f"measure {bad[0]} is {measures[bad[0]]}", log_tail=tail)
    return Result(task.id, measures, waves.steps, waves.solver_s, log_tail=tail)


def resident_b() -> int:
    """This process's resident memory in bytes; 0 where the system does not tell (no /proc)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
