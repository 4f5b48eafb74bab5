"""Measures taken from waveforms, by the same definitions as the deck's `.meas` cards.

Integrals are trapezoidal on the simulator's own steps; crossings and window ends are linear between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

import numpy as np
import numpy.typing as npt

from charlib.errors import SimulationFailed
from charlib.spice.deck import Delay, Edge, Energy, Extreme, Measure, Sample
from charlib.spice.engine import Waveforms

FloatArray = npt.NDArray[np.float64]


class _Integrals:
    """Running integrals of a run's signals, each made once: a bench asks for hundreds of windows of a few signals."""

    def __init__(self, waves: Waveforms) -> None:
        self._waves = waves
        self._running: dict[str, FloatArray] = {}

    def __call__(self, signal: str, start: float, stop: float) -> float:
        """∫ signal over [start, stop], both ends interpolated."""
        axis, values = self._waves.axis, self._waves.signal(signal)
        if signal not in self._running:
            pieces = 0.5 * (values[1:] + values[:-1]) * np.diff(axis)
            self._running[signal] = np.concatenate(([0.0], np.cumsum(pieces)))
        return self._up_to(signal, axis, values, stop) - self._up_to(signal, axis, values, start)

    def _up_to(self, signal: str, axis: FloatArray, values: FloatArray, time_s: float) -> float:
        k = min(max(int(axis.searchsorted(time_s)) - 1, 0), len(axis) - 2)
        width = time_s - axis[k]
        slope = (values[k + 1] - values[k]) / (axis[k + 1] - axis[k])
        return float(self._running[signal][k] + width * (values[k] + 0.5 * slope * width))


def integral(axis: FloatArray, values: FloatArray, start: float, stop: float) -> float:
    """∫ values over [start, stop], both ends interpolated."""
    inside = (axis > start) & (axis < stop)
    x = np.concatenate(([start], axis[inside], [stop]))
    y = np.concatenate(([np.interp(start, axis, values)], values[inside], [np.interp(stop, axis, values)]))
    return float(np.sum(0.5 * (y[1:] + y[:-1]) * np.diff(x)))


def crossings(axis: FloatArray, values: FloatArray, level: float, edge: Edge) -> FloatArray:
    """All times at which `values` passes `level` in the direction of `edge`."""
    above = values > level if edge == "rise" else values < level
    before = np.flatnonzero(~above[:-1] & above[1:])
    step = values[before + 1] - values[before]
    return np.asarray(axis[before] + (level - values[before]) / step * (axis[before + 1] - axis[before]))


def first_crossing(waves: Waveforms, node: str, level: float, edge: Edge, start_s: float) -> float:
    """First such crossing at or after start_s; SimulationFailed if there is none."""
    times = crossings(waves.axis, waves.signal(f"v({node})"), level, edge)
    later = times[times >= start_s]
    if len(later) == 0:
        raise SimulationFailed(f"v({node}) never crosses {level:.4g} V ({edge}) after {start_s:.4g} s",
                               log_tail="\n".join(waves.log[-20:]))
    return float(later[0])


def evaluate_one(measure: Measure, waves: Waveforms, integrals: _Integrals) -> float:
    """The measure's value: J, s or V."""
    match measure:
        case Energy():
            return -measure.supply_v * integrals(f"i({measure.source})", measure.start_s, measure.stop_s)
        case Delay():
            return first_crossing(
                waves, measure.target, measure.target_v, measure.target_edge, measure.start_s
            ) - first_crossing(
                waves, measure.trigger, measure.trigger_v, measure.trigger_edge, measure.start_s
            )
        case Sample():
            return float(np.interp(measure.at_s, waves.axis, waves.signal(f"v({measure.node})")))
        case Extreme():
            signal = waves.signal(f"v({measure.node})")
            ends = np.interp([measure.start_s, measure.stop_s], waves.axis, signal)
            inside = signal[(waves.axis > measure.start_s) & (waves.axis < measure.stop_s)]
            window = np.concatenate((ends, inside))
            return float(window.min() if measure.kind == "min" else window.max())
    assert_never(measure)


def evaluate(measures: Iterable[Measure], waves: Waveforms) -> dict[str, float]:
    """All measures by name. A crossing that never comes is a SimulationFailed, never a NaN."""
    integrals = _Integrals(waves)
    return {measure.name: evaluate_one(measure, waves, integrals) for measure in measures}
