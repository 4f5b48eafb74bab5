"""One's own card, measured: images a second and joules of training, from one synchronised window.

Energy is the difference of the driver's total energy counter (NVML) over the window, that is of the whole board, idle
power included; idle power, measured before with the CUDA context open, stands beside it. The counter moves in steps:
the longest seen, divided by the window, bounds the energy's relative error. Images are drawn on the card, so no input
pipeline waits and no host is charged. Reading, working and arithmetic are apart: the arithmetic needs no card.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Protocol

from charlib.errors import BadInput, HimcError
from system.gpu_nvml import Reading
from system.gpu_records import COLUMNS, Measurement

#: a mean power above this multiple of the board's limit is no power
_MOST_OF_LIMIT = 1.5
_SAMPLE_S = 0.1
_LEAST_MOVES = 3


class Sensor(Protocol):
    """What is read of a card."""

    title: str
    driver: str
    board_power_w: float
    power_limit_w: float
    bytes_per_s: float

    def energy_j(self) -> float: ...
    def reading(self) -> Reading: ...


class Work(Protocol):
    """A step that is enqueued, and a wait for all that is enqueued."""

    def step(self) -> None: ...
    def synchronise(self) -> None: ...
    def loss(self) -> float: ...


@dataclass(frozen=True)
class Setting:
    """What is trained."""

    network: str = "mobilenet_v1"
    image_px: int = 224
    width: float = 1.0
    batch: int = 64
    precision: str = "fp32"
    channels_last: bool = True

    @property
    def layout(self) -> str:
        return "channels_last" if self.channels_last else "contiguous"


@dataclass(frozen=True)
class Timing:
    """Lengths in seconds."""

    window_s: float = 10.0
    warm_up_s: float = 3.0
    idle_s: float = 5.0
    settle_s: float = 3.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise BadInput(f"{name}: '{value:g}' is not allowed; give a number of seconds above 0")


@dataclass(frozen=True)
class Window:
    """What a synchronised window held."""

    steps: int
    seconds: float
    energy_j: float
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Idle:
    """Power with the context open and no work, and the longest step of the energy counter."""

    power_w: float
    counter_step_s: float


@dataclass(frozen=True)
class Hole:
    """A setting that could not be measured."""

    setting: Setting
    reason: str


def row_of(setting: Setting, window: Window, idle: Idle, sensor: Sensor, source: str) -> Measurement:
    """The record of a window; HimcError where its power cannot be."""
    if window.seconds <= 0 or window.steps < 1:
        raise HimcError(f"gpu: the window held {window.steps} steps in {window.seconds:g} s; give a longer --seconds")
    power = window.energy_j / window.seconds
    if not 0 < power < _MOST_OF_LIMIT * sensor.power_limit_w:
        raise HimcError(f"gpu: the energy counter gave {power:.4g} W under a limit of {sensor.power_limit_w:g} W; "
                        "give a longer --seconds, and look whether the counter works: nvidia-smi -q -d POWER")

    def mean(name: str) -> float | None:
        values = [getattr(reading, name) for reading in window.readings]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known else None

    return Measurement(
        sensor.title, setting.network, setting.precision, setting.image_px, setting.batch,
        window.steps * setting.batch / window.seconds, power, sensor.board_power_w, mean("utilisation"),
        sensor.bytes_per_s, "measured", source, setting.width, setting.layout, idle.power_w, window.seconds,
        min(1.0, idle.counter_step_s / window.seconds), mean("sm_clock_hz"), mean("temp_c"), sensor.power_limit_w)


def measure_idle(sensor: Sensor, timing: Timing, clock: Callable[[], float] = time.perf_counter,
                 sleep: Callable[[float], None] = time.sleep) -> Idle:
    """Mean power between the counter's first and last movement in the idle window, after the clocks have settled."""
    sleep(timing.settle_s)
    begin, last = clock(), sensor.energy_j()
    moves: list[tuple[float, float]] = []
    while clock() - begin < timing.idle_s:
        sleep(_SAMPLE_S / 20)
        now = sensor.energy_j()
        if now != last:
            moves.append((clock(), now))
            last = now
    if len(moves) < _LEAST_MOVES:
        raise HimcError(f"gpu: the energy counter moved {len(moves)} times in {timing.idle_s:g} s; give a longer "
                        "--idle, or the card keeps none (Volta or later is needed)")
    (first_s, first_j), (last_s, last_j) = moves[0], moves[-1]
    return Idle((last_j - first_j) / (last_s - first_s), max(b[0] - a[0] for a, b in pairwise(moves)))


def measure_window(sensor: Sensor, work: Work, timing: Timing, clock: Callable[[], float] = time.perf_counter
                   ) -> Window:
    """Warm up, then steps for about `window_s`, with the card idle at neither end."""
    step_s = _warm_up(work, timing.warm_up_s, clock)
    steps = max(1, math.ceil(timing.window_s / step_s))
    with _sampling(sensor) as readings:
        begin, energy = clock(), sensor.energy_j()
        for _ in range(steps):
            work.step()
        work.synchronise()
        used, seconds = sensor.energy_j() - energy, clock() - begin
    if not math.isfinite(work.loss()):
        raise HimcError(f"gpu: the loss was {work.loss()} after {steps} steps; what was timed is no training")
    return Window(steps, seconds, used, tuple(readings))


def _warm_up(work: Work, seconds: float, clock: Callable[[], float]) -> float:
    """Seconds a step, from chunks that double until one lasts a quarter of the warm-up."""
    work.step()  # choosing kernels takes its time once
    work.synchronise()
    start, steps, lasted = clock(), 1, 0.0
    while clock() - start < seconds or lasted == 0.0:
        begin = clock()
        for _ in range(steps):
            work.step()
        work.synchronise()
        lasted = (clock() - begin) / steps
        if lasted * steps < seconds / 4:
            steps *= 2
    return lasted


@contextmanager
def _sampling(sensor: Sensor) -> Iterator[list[Reading]]:
    """Look at the card ten times a second, at least once."""
    readings: list[Reading] = []
    failures: list[Exception] = []
    over = threading.Event()

    def watch() -> None:
        try:
            while not over.wait(_SAMPLE_S):
                readings.append(sensor.reading())
        except HimcError as error:
            failures.append(error)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield readings
        if not readings:
            readings.append(sensor.reading())
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def measure(sensor: Sensor, settings: Sequence[Setting], make: Callable[[Setting], Work], timing: Timing, source: str,
            told: Callable[[Measurement | Hole], None] = lambda _: None, too_big: type[Exception] = MemoryError
            ) -> tuple[list[Measurement], list[Hole]]:
    """Idle power once, then a row for each setting; one that does not fit leaves a hole, and the rest goes on."""
    idle = measure_idle(sensor, timing)
    rows: list[Measurement] = []
    holes: list[Hole] = []
    for setting in settings:
        found: Measurement | Hole
        try:
            found = row_of(setting, measure_window(sensor, make(setting), timing), idle, sensor, source)
            rows.append(found)
        except too_big as error:
            found = Hole(setting, str(error))
            holes.append(found)
        told(found)
    return rows, holes


def to_csv(rows: Iterable[Measurement], notes: Iterable[str] = ()) -> str:
    """The format of `gpu_rows.csv`; `notes` become comment lines."""
    out = io.StringIO()
    out.writelines(f"# {note}\n" for note in notes)
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
                         for name, value in asdict(row).items()})
    return out.getvalue()


def to_document(rows: Sequence[Measurement], holes: Sequence[Hole]) -> dict[str, Any]:
    """Plain data: rows with their energies an image, with and without idle power, and what is missing."""
    return {"schema": "himc-gpu-rows-1",
            "rows": [asdict(row) | {"energy_j_per_image": row.energy_j_per_image,
                                    "active_j_per_image": row.active_j_per_image} for row in rows],
            "holes": [{"setting": asdict(hole.setting), "reason": hole.reason} for hole in holes]}
