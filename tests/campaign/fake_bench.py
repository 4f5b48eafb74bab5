"""A bench and an engine that need no simulator; the point's `mode` chooses how a run goes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charlib.benches.base import PVT_UNITS, Bench, Point, Run
from charlib.errors import BadInput, LogicError, SimulationFailed
from charlib.pdk import Device, Geometry, Pdk, card_files
from charlib.spice import Deck, Delay, Energy, Sample, Transient, Waveforms, evaluate
from charlib.table import Origin, Table

STOP_S = 1e-9
SLOW_S = 0.05


@dataclass(frozen=True)
class FakePoint(Point):
    size: int
    mode: str = "ok"


class FakeBench:
    """Measures `out` = size × vdd_v; modes: ok, slow, stall (needs Gear), never, wrong, bug, die, nan."""

    kind = "fake"
    point_type = FakePoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return [{"size": size, "mode": "ok"} for size in ((1, 2) if preset == "quick" else (1, 2, 4))]

    def deck(self, pdk: Pdk, point: Any) -> Deck:
        body = f"{pdk.cards(point.corner)}* mode {point.mode}\nvout out 0 {point.size * point.vdd_v}\n"
        return Deck("fake", body, point.temp_c, Transient(STOP_S / 10, STOP_S, STOP_S / 10),
                    (Sample("out_v", "out", STOP_S / 2),))

    def measure(self, pdk: Pdk, point: Any, waves: Waveforms) -> dict[str, float]:
        found = evaluate(self.deck(pdk, point).measures, waves)
        if point.mode == "wrong":
            raise LogicError("read 0, expected 1", log_tail="a log")
        if point.mode == "bug":
            raise TypeError("a bench's own mistake")
        if point.mode == "nan":
            return {"out_v": float("nan")}
        return found

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        records = [{**run.point.coordinates(), "value": run.measures["out_v"], "run": run.id} for run in runs]
        return [Table.from_records("fake_v", "V", {**PVT_UNITS, "size": ""}, records, origin)]

    def estimated_cost_s(self, point: Any) -> float:
        return float(point.size)


class FakeEngine:
    """Solves the fake deck: one constant voltage."""

    version = "fake-1"

    def run(self, deck: Deck) -> Waveforms:
        words = deck.body.split()
        mode = words[words.index("mode") + 1]
        if mode == "slow":
            time.sleep(SLOW_S)
        if mode == "die":
            os._exit(9)
        if mode == "hang":
            time.sleep(3600)
        if mode == "never" or (mode == "stall" and deck.options.get("method") != "gear"):
            raise SimulationFailed("timestep too small", deck.text(), "the last line of the log")
        axis = np.linspace(0, STOP_S, 11)
        return Waveforms(axis, {"v(out)": np.full(11, float(words[-1]))}, 0.001, ("Warning: none",))


class ParentOnlyEngine(FakeEngine):
    """An engine that cannot start in a worker process."""

    def __init__(self) -> None:
        if multiprocessing.parent_process() is not None:
            raise BadInput("ngspice: libngspice is not on this machine")


class StillbornEngine(FakeEngine):
    """An engine whose process dies in whatever it is given, as one of a broken library does."""

    def run(self, deck: Deck) -> Waveforms:
        os._exit(7)


BENCH = FakeBench()
BENCHES: Mapping[str, Bench] = {"fake": BENCH}


def kit(root: Path, text: str = "* a card\n") -> Pdk:
    """A kit of one made-up card file a corner."""
    root.mkdir(parents=True, exist_ok=True)
    for corner in ("tt", "ss", "ff"):
        (root / f"{corner}.inc").write_text(f"* {corner}\n{text}", encoding="utf-8")
    geometry = Geometry(5e-8, 9e-8, 1e-7, 7e-7, 1.3e-6, 8e-7, 1.6e-10, 3.6e6, {})
    return Pdk("toy", "1", "none", root, {c: card_files(f"{c}.inc") for c in ("tt", "ss", "ff")},
               {"nmos": Device("N")}, 1.0,
               (0.5, 1.2), (-40.0, 125.0), geometry)


def points(modes: Sequence[str], **fixed: Any) -> list[FakePoint]:
    """One point a mode, of growing size."""
    return [FakePoint(**{"corner": "tt", "temp_c": 25.0, "vdd_v": 1.0, "size": k + 1, "mode": mode, **fixed})
            for k, mode in enumerate(modes)]


@dataclass(frozen=True)
class RcPoint(Point):
    r_ohm: float
    c_f: float


class RcBench:
    """A real deck without model cards: R charges C from empty. delay = ln 2·RC, energy = C·V²."""

    kind = "rc"
    point_type = RcPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return [{"r_ohm": r_ohm, "c_f": 1e-12} for r_ohm in (500.0, 1000.0)]

    def deck(self, pdk: Pdk, point: Any) -> Deck:
        tau_s = point.r_ohm * point.c_f
        body = (f"vdd vdd 0 dc {point.vdd_v}\nvmark mark 0 pwl(0 0 {tau_s / 1e4} 1)\n"
                f"r1 vdd out {point.r_ohm}\nc1 out 0 {point.c_f}\n")
        stop_s = 12 * tau_s
        measures = (Energy("energy_j", "vdd", point.vdd_v, 0.0, stop_s),
                    Delay("delay_s", "mark", 0.5, "rise", "out", point.vdd_v / 2, "rise"))
        return Deck("rc step", body, point.temp_c, Transient(tau_s / 100, stop_s, tau_s / 100), measures,
                    initial={"out": 0.0})

    def measure(self, pdk: Pdk, point: Any, waves: Waveforms) -> dict[str, float]:
        return evaluate(self.deck(pdk, point).measures, waves)

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        units = {**PVT_UNITS, "r_ohm": "Ω", "c_f": "F"}
        return [Table.from_records(f"rc_{name}", unit, units, [
            {**run.point.coordinates(), "value": run.measures[name], "run": run.id} for run in runs
        ], origin) for name, unit in (("energy_j", "J"), ("delay_s", "s"))]

    def estimated_cost_s(self, point: Any) -> float:
        return 0.005
