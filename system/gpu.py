"""What the same training step costs on a GPU, by power source × time source.

A row of one's own (`himc gpu measure`) has power and time from one run. For a card without one, the RTX 3060 among
them, time is a roofline, or a measured row of another card scaled in two ways: by memory bandwidth and the networks'
traffic, and by both cards' rooflines layer by layer. Power is the card's TDP, or TDP times a fraction measured
elsewhere. Power and time from different runs make a row `composed`.

The headline is a range over rows. Never in it are rooflines; wider arithmetic than the arrays' (FP32 and TF32 stand
apart, like is held against like); and the power of a card that waited for its input, as in fine-tuning at 128 px,
which belongs to no saturated throughput. Composed rows are in it only where no run of the network, size and batch
on the card itself is known.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from charlib.errors import BadInput
from system.gpu_records import CARDS, HALF, Card, Measurement, card_slug, measurements, read_rows, wider
from system.networks import NETWORKS, build_network
from system.traffic import BF16_BIT, FP32_BIT, tensors
from system.workload import Network

__all__ = ["CARDS", "GPUS", "SCOPE", "GpuRow", "Measurement", "gpu_names", "gpu_rows", "gpu_traffic_bytes",
           "layer_roofline_s", "load_rows", "measurements", "unused_networks"]

SCOPE = ("gpu", "gpu_memory", "regulator", "fan")
GPUS = tuple(CARDS)
MINIMUM_UTILISATION = 0.8
#: two ways of scaling that agree within this make one row
_SAME_WITHIN = 0.1
#: how much more arithmetic than the fastest shipped card's peak a run on an unknown card may do: newer cards' peaks
#: are over twice as high, but no training run gets two thirds of its card's peak
MOST_OVER_FASTEST = 1.5
#: a step may last so long, and longer by its arithmetic at this share of the fastest shipped card's FP32 peak. That
#: is 0.8 GFLOP/s: a Jetson Nano's peak is 236. The pause is for networks so small that starting kernels takes it all
_LONGEST_PAUSE_S, LEAST_OF_FASTEST = 10.0, 1e-5


@dataclass(frozen=True)
class GpuRow:
    """One accounting of the GPU."""

    name: str
    power_source: str
    time_source: str
    precision: str
    batch: int
    power_w: float
    time_s_per_image: float
    composed: bool
    headline: bool
    sources: tuple[str, ...]  #: of time and power, or of the run
    caveat: str
    why_not: str = ""  #: why it stands in no headline
    idle_w: float | None = None
    source_batch: int | None = None  #: of the run that the time is from, where there is one
    run_card: str = ""  #: the card that the time was measured on; none behind a roofline
    run_source: str = ""  #: that run: what, how fast, where from

    @property
    def source(self) -> str:
        return "; ".join(self.sources)

    @property
    def energy_j_per_image(self) -> float:
        """Idle power included."""
        return self.power_w * self.time_s_per_image

    @property
    def active_j_per_image(self) -> float | None:
        """Idle power subtracted, where it was measured."""
        return None if self.idle_w is None else (self.power_w - self.idle_w) * self.time_s_per_image


@dataclass(frozen=True)
class _Power:
    source: str
    watts: float
    note: str
    caveat: str = ""
    why: str = ""  #: why it stands in no headline


@dataclass(frozen=True)
class _Load:
    """What a step asks of a card, by layer: floating-point operations, and bytes in 16 and in 32 bits."""

    batch: int
    layers: tuple[tuple[float, float, float], ...]

    def traffic_bytes(self, precision: str) -> float:
        """Bytes per image."""
        column = 1 if precision in HALF else 2
        return sum(layer[column] for layer in self.layers) / self.batch

    def roofline_s(self, card: Card, precision: str) -> float:
        """Seconds per image if each layer took the longer of its arithmetic and its traffic."""
        column, flops = 1 if precision in HALF else 2, card.flops(precision)
        return sum(max(layer[0] / flops, layer[column] / card.bytes_per_s) for layer in self.layers) / self.batch


def _load(network: Network, batch: int) -> _Load:
    """Our tensor classes with no buffer to keep them, weights read in each of three passes, frozen ones in those that
    use them."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for t in tensors(network, batch, 0):
        if t.home != "array":
            moved = t.bits * (sum(n for _, n in t.writes) + sum(n for _, n in t.reads)) / 8
            found[t.layer][1] += moved
            found[t.layer][2] += moved * (FP32_BIT // BF16_BIT if t.type == "BF16" else 1)
    for layer in network.mac_layers:
        found[layer.name][0] = 2.0 * layer.times(batch) * layer.macs * layer.passes
        read = layer.weights * (layer.passes if layer.frozen else 3)
        found[layer.name][1] += read * BF16_BIT / 8
        found[layer.name][2] += read * FP32_BIT / 8
    return _Load(batch, tuple((a, b, c) for a, b, c in found.values()))


@lru_cache(maxsize=64)
def _load_of(name: str, image_px: int, width: float, batch: int) -> _Load:
    """That of a published run."""
    return _load(build_network(name, image_px, width), batch)


def gpu_traffic_bytes(network: Network, batch: int, precision: str = "bf16") -> float:
    """Bytes per image through GPU memory; inputs are re-read in forward, gradients pass as often as on our side."""
    return _load(network, batch).traffic_bytes(precision)


def layer_roofline_s(card: Card, network: Network, batch: int, precision: str) -> float:
    """Seconds per image if each layer took the longer of its arithmetic and its traffic; a lower bound."""
    return _load(network, batch).roofline_s(card, precision)


def gpu_names(extra: Sequence[Measurement] = ()) -> tuple[str, ...]:
    """Cards that rows can be made for: the shipped ones, then those of one's own rows."""
    own = (card_slug(row.gpu) for row in extra if row.use == "measured")
    return tuple(dict.fromkeys([*GPUS, *own]))


def load_rows(path: str | Path) -> tuple[Measurement, ...]:
    """The rows of one's own file; BadInput says line, column and what is allowed."""
    found = []
    for where, row in read_rows(path):
        _check_name(row.network, where)
        if row.network in NETWORKS and row.use != "none":
            try:
                network = build_network(row.network, row.input_px, row.width)
            except BadInput as error:
                raise BadInput(f"{where}: {error}") from error
            _check_speed(row, network, where)
        found.append(row)
    return tuple(found)


def _check_name(name: str, where: str) -> None:
    """BadInput for one of our networks in another spelling, whose rows would be left out without a word."""
    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    for known in NETWORKS:
        if name != known and plain(name) == plain(known):
            raise BadInput(f"{where}: network: '{name}' does not exist; did you mean {known}? One's own network has "
                           "another name, as file.py:function")


def _check_speed(row: Measurement, network: Network, where: str) -> None:
    """BadInput for more images a second than a card's arithmetic allows, or so few that they may be seconds."""
    card, fastest = CARDS.get(card_slug(row.gpu)), max(c.flops(row.precision) for c in CARDS.values())
    flop = 2.0 * network.macs_training
    most = (card.flops(row.precision) if card is not None else MOST_OVER_FASTEST * fastest) / flop
    slowest = LEAST_OF_FASTEST * max(c.fp32_flops for c in CARDS.values())
    least = row.batch / (_LONGEST_PAUSE_S + row.batch * flop / slowest)
    if row.images_per_s > most:
        whose = "its" if card is not None else "any card's"
        raise BadInput(f"{where}: images_per_s: {row.images_per_s:g} of {row.gpu}, {row.precision}, is more than "
                       f"{whose} arithmetic allows, {most:.4g}; give images a second of training")
    if row.images_per_s < least:
        raise BadInput(f"{where}: images_per_s: {row.images_per_s:g} of {row.gpu}, {row.precision}, is less than any "
                       f"card's, {least:.2g} for {row.network}; give images a second, not seconds an image")


def unused_networks(rows: Sequence[Measurement], network: str) -> tuple[tuple[str, str], ...]:
    """(name, the known name most like it or nothing) of what is neither one of our networks nor the one asked for."""
    names = dict.fromkeys(row.network for row in rows if row.network not in (*NETWORKS, network))
    return tuple((name, "".join(difflib.get_close_matches(name.lower(), NETWORKS, 1, 0.9))) for name in names)


def _powers(card: Card, known: Sequence[Measurement]) -> Iterator[_Power]:
    yield _Power("tdp", card.tdp_w, f"{card.tdp_w:g} W, {card.source}")
    for row in known:
        if row.use == "power_fraction" and row.power_w is not None:
            busy = "utilisation not stated" if row.utilisation is None else f"utilisation {row.utilisation:.0%}"
            waits = ": input-bound, a saturated card draws more" if _too_idle(row) else ""
            yield _fraction(card, row, f"share of its limit that the {row.gpu} drew in training {row.network} at "
                                       f"{row.input_px} px, {busy}{waits}")


def _fraction(card: Card, row: Measurement, caveat: str) -> _Power:
    fraction = (row.power_w or 0.0) / row.board_power_w
    why = f"power of a run at {row.utilisation:.0%} utilisation" if _too_idle(row) else ""
    return _Power("measured_fraction", card.tdp_w * fraction, f"TDP × {fraction:.3f}, {row.gpu}: {row.source}",
                  caveat, why)


def _rooflines(card: Card, load: _Load, flop: float) -> Iterator[tuple[str, str, float, str]]:
    """(time source, precision, seconds, source)."""
    for precision in ("bf16", "fp32"):
        yield "compute_roofline", precision, flop / card.flops(precision), card.source
    for precision in ("bf16", "fp32"):
        moved = load.traffic_bytes(precision)
        yield ("memory_roofline", precision, moved / card.bytes_per_s,
               f"{moved / 1e6:.1f} MB an image by the traffic model, {card.source}")


def _scaled(card: Card, load: _Load, row: Measurement) -> Iterator[tuple[float, str]]:
    """(seconds, how): one published or measured row carried to this card, by each rule that says something new."""
    reference = _load_of(row.network, row.input_px, row.width, row.batch)
    origin = CARDS.get(card_slug(row.gpu))
    by_bandwidth = (load.traffic_bytes(row.precision) / reference.traffic_bytes(row.precision)
                    * row.bytes_per_s / card.bytes_per_s / row.images_per_s)
    yield by_bandwidth, "bandwidth × traffic"
    if origin is not None:
        by_layers = (load.roofline_s(card, row.precision) / reference.roofline_s(origin, row.precision)
                     / row.images_per_s)
        if abs(by_layers / by_bandwidth - 1) > _SAME_WITHIN:
            yield by_layers, "rooflines of its layers"


def _carried(rows: Sequence[Measurement], batch: int) -> Iterator[tuple[Measurement, str]]:
    """(run, why it stands in no headline): published runs, and the fastest saturated one of each card and precision.

    Where a setting is known at the batch asked for, its runs at other batches stand aside. A network without layer
    records cannot be carried: its traffic is not known.
    """
    published = [row for row in rows if row.use == "time" and not _too_idle(row)]
    measured = [row for row in rows if row.use == "measured" and row.network in NETWORKS
                and (row.utilisation or 0.0) >= MINIMUM_UTILISATION]
    at_batch = {_setting(row) for row in (*published, *measured) if row.batch == batch}

    def why(row: Measurement) -> str:
        return _other_batch(row, batch) if _setting(row) in at_batch else ""

    fastest: dict[tuple[object, ...], Measurement] = {}
    for row in measured:
        key = (*_setting(row), row.batch) if why(row) else (card_slug(row.gpu), row.precision)
        if key not in fastest or row.images_per_s > fastest[key].images_per_s:
            fastest[key] = row
    yield from ((row, why(row)) for row in (*published, *fastest.values()))


def _setting(row: Measurement) -> tuple[object, ...]:
    """What a run is of, but for its batch."""
    return card_slug(row.gpu), row.network, row.width, row.input_px, row.precision


def _other_batch(row: Measurement, batch: int) -> str:
    return "" if row.batch == batch else f"batch {row.batch}, asked for {batch}"


def _too_idle(row: Measurement) -> bool:
    return row.utilisation is not None and row.utilisation < MINIMUM_UTILISATION


def _own(gpu: str, network: Network, batch: int, known: Sequence[Measurement]) -> Iterator[GpuRow]:
    """Runs of this network on this very card."""
    for row in known:
        if row.use != "measured" or row.power_w is None or (card_slug(row.gpu), row.network, row.input_px,
                                                            row.width) != (
                gpu, network.name, network.image_px, network.width):
            continue
        _check_speed(row, network, "gpu_rows")
        why = _other_batch(row, batch) or wider(row.precision)
        if _too_idle(row):
            why = f"utilisation {row.utilisation:.0%}, under {MINIMUM_UTILISATION:.0%}"
        yield GpuRow(gpu, "measured", "measured", row.precision, row.batch, row.power_w, 1 / row.images_per_s, False,
                     not why, (_own_note(row),),
                     _SYNTHETIC_CAVEAT if row.by_himc else "", why, row.idle_w, row.batch, row.gpu, _run(row))


def gpu_rows(gpu: str, network: Network, batch: int, extra: Sequence[Measurement] = ()) -> tuple[GpuRow, ...]:
    """Every power source with every time source; `extra` are rows of one's own, from `load_rows`.

    gpu: a card's name, as options or as its driver write it.
    """
    asked, gpu = gpu, card_slug(gpu)
    if gpu not in gpu_names(extra):
        if gpu in {card_slug(row.gpu) for row in extra}:
            raise BadInput(f"gpu: '{gpu}' is no shipped card and none of its rows has the use 'measured', power and "
                           "time of one run; such a row is needed to compare with it")
        raise BadInput(f"gpu: '{asked}' does not exist; choose {' or '.join(gpu_names(extra))}")
    known = (*measurements(), *extra)
    found = list(_own(gpu, network, batch, known))
    if gpu not in CARDS:
        return tuple(found)
    measured = "a run on the card itself is known" if any(row.headline for row in found) else ""
    card, load = CARDS[gpu], _load(network, batch)
    powers = list(_powers(card, known))

    def add(power: _Power, time_source: str, precision: str, seconds: float, note: str, caveat: str,
            why: str, run: Measurement | None = None) -> None:
        why = why or power.why or wider(precision)
        found.append(GpuRow(gpu, power.source, time_source, precision, batch, power.watts, seconds, True, not why,
                            (f"time: {note}", f"power: {power.note}"),
                            "; ".join(filter(None, (caveat, power.caveat))), why, None,
                            *((None, "", "") if run is None else (run.batch, run.gpu, _run(run)))))

    flop = 2.0 * network.macs_per_sample(batch, training=True)
    for time_source, precision, seconds, note in _rooflines(card, load, flop):
        for power in powers:
            add(power, time_source, precision, seconds, note, "a lower bound on time",
                "a bound that no run reaches")
    for row, aside in _carried(known, batch):
        if row.use == "measured" and card_slug(row.gpu) == gpu:
            continue
        of_row = ([powers[0], _fraction(card, row, "fraction from the same run as the time")]
                  if row.use == "measured" else powers)
        for seconds, rule in _scaled(card, load, row):
            for power in of_row:
                add(power, "scaled_measured", row.precision, seconds, _scaled_note(row, rule), _SCALED_CAVEAT,
                    measured or aside, row)
    return tuple(found)


def _run(row: Measurement) -> str:
    """A run's own words: two rows with the same are one measurement."""
    return (f"{row.precision.upper()} {row.network} at {row.input_px} px, batch {row.batch}, {row.images_per_s:g} "
            f"img/s: {row.source}")


def _own_note(row: Measurement) -> str:
    layout = row.layout.replace("_", " ") or "layout not stated"
    return f"{row.gpu} {row.precision.upper()} {row.network}, batch {row.batch}, {layout}: {row.source}"


_SYNTHETIC_CAVEAT = "synthetic images on the card: no input pipeline, no host"
_SCALED_CAVEAT = "scaled from another card [inferred]"


def _scaled_note(row: Measurement, rule: str) -> str:
    return f"{row.gpu} {_run(row).removesuffix(f': {row.source}')} × {rule}: {row.source}"
