"""What is left of a short pulse, move by move, from the pulse tables.

Two changes of a cell follow each other so that its output would cross the middle at t1 and t2; x is (t2 − t1) over
the mean of their delays. The energy of both is that of the one change from first to last state, plus the share f(x)
of what two separate changes take more; and a pulse of the output keeps the width w(x) in such delays, 0 where it is
swallowed. An output that moves once, by one of the two changes, moves earlier or later than by that change alone,
since the other helps or hinders: its shift, in its own delay, is a function of u, the separation over that delay.
All three are given at knots, straight between, for every double move of the cell; a move that moves no output twice,
or whose excess is too small to tell, takes the mean curve of its cell, and no shift.

Delays are the scale because with them the curves hold over ramps and loads: the x at which a full adder's pulse dies
varies by 6 % over ramps of 0.2-1 and loads of 1.5-8 units, where over ramps it varies by 28 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
KNOTS = np.arange(-1.0, 4.01, 0.25)
#: separations, in delays, at which a shift is given; beyond the last it is 0
SHIFT_KNOTS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 3.0])
#: a move whose excess is below this share of its cell's largest does not say f
LEAST_EXCESS = 0.2
#: a pulse narrower than this share of a delay is swallowed
LEAST_WIDTH = 0.15
#: where nothing was measured, f comes to 0 and 1 within this of the last point
_TAIL = 0.5
Move = tuple[int, int, int]  #: state, first pin, second pin


@dataclass(frozen=True)
class PulseSample:
    """One double move at one separation: x, and what two separate changes take more than one, and took."""

    move: Move
    x: float
    excess_j: float
    seen_j: float


@dataclass(frozen=True)
class WidthSample:
    """One pulse of one output: x and the width that was left, in delays."""

    move: Move
    output: int
    x: float
    kept: float


def ideal_curves() -> tuple[FloatArray, FloatArray]:
    """(f, w) of a cell without pulse tables: straight ramps, cut at half a swing."""
    return np.clip(KNOTS / 1.5, 0.0, 1.0), np.where(KNOTS >= 1.0, KNOTS, 0.0)


def _rising(x: Sequence[float], y: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(x)
    return np.array(x)[order], np.maximum.accumulate(np.array(y)[order])


def fraction_curve(x: Sequence[float], f: Sequence[float]) -> FloatArray:
    """f at the knots through the samples."""
    at, values = _rising(x, np.clip(f, 0.0, 1.0).tolist())
    return np.asarray(np.interp(KNOTS, [at[0] - _TAIL, *at, at[-1] + _TAIL], [0.0, *values, 1.0]))


def width_curve(x: Sequence[float], kept: Sequence[float]) -> FloatArray:
    """w at the knots through the samples; beyond the last the loss stays, before the first nothing is left."""
    at, values = _rising(x, kept)
    inside = np.interp(KNOTS, [at[0] - _TAIL, *at], [0.0, *values])
    beyond = values[-1] + KNOTS - at[-1]
    return np.asarray(np.where(at[-1] < KNOTS, beyond, inside))


def shift_curve(u: Sequence[float], shift: Sequence[float]) -> FloatArray:
    """Shift at the knots through the samples, 0 at the last."""
    order = np.argsort(u)
    at, values = np.array(u)[order], np.array(shift)[order]
    inside = at < SHIFT_KNOTS[-1]
    return np.asarray(np.interp(SHIFT_KNOTS, [*at[inside], SHIFT_KNOTS[-1]], [*values[inside], 0.0]))


def pulse_curves(samples: Mapping[Move, Sequence[PulseSample]],
                 widths: Mapping[tuple[Move, int], Sequence[WidthSample]], states: int, pins: int,
                 outputs: int) -> tuple[FloatArray, FloatArray]:
    """(fraction, width) of one cell: (states, pins, pins, knots) and (states, pins, pins, outputs, knots)."""
    ideal_f, ideal_w = ideal_curves()
    largest = max((abs(s.excess_j) for group in samples.values() for s in group), default=0.0)
    told = {move: fraction_curve([s.x for s in group], [s.seen_j / s.excess_j for s in group])
            for move, group in samples.items() if min(abs(s.excess_j) for s in group) > LEAST_EXCESS * largest}
    kept = {key: width_curve([s.x for s in group], [s.kept for s in group]) for key, group in widths.items()}
    mean_f = np.mean(list(told.values()), axis=0) if told else ideal_f
    mean_w = np.mean(list(kept.values()), axis=0) if kept else ideal_w
    fraction = np.broadcast_to(mean_f, (states, pins, pins, len(KNOTS))).copy()
    width = np.broadcast_to(mean_w, (states, pins, pins, outputs, len(KNOTS))).copy()
    for move, curve in told.items():
        fraction[move] = curve
    for (move, output), curve in kept.items():
        width[*move, output] = curve
    return fraction, width
