"""What the same training step costs on a GPU, by power source × time source.

A row of one's own (`himc gpu measure`) has power and time from one run. For a card without one, the RTX 3060 among
them, time is a roofline, or a measured row of another card scaled in two ways: by memory bandwidth and the networks'
traffic, and by both cards' rooflines layer by layer. Power is the card's TDP, or TDP times a fraction measured
elsewhere. Power and time from different runs make a row `composed`. Fractions measured in input-bound fine-tuning at
128 px are too low for a saturated card. The headline is a range over rows: rooflines are never in it, composed
rows only where no run of the network, size and batch on the card itself is known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from charlib.errors import BadInput
from system.gpu_records import CARDS, HALF, Card, Measurement, card_slug, load_rows, measurements
from system.networks import NETWORKS, build_network
from system.traffic import BF16_BIT, FP32_BIT, tensors
from system.workload import Network

__all__ = ["CARDS", "GPUS", "SCOPE", "GpuRow", "Measurement", "gpu_names", "gpu_rows", "gpu_traffic_bytes",
           "layer_roofline_s", "load_rows", "measurements"]

SCOPE = ("gpu", "gpu_memory", "regulator", "fan")
GPUS = tuple(CARDS)
MINIMUM_UTILISATION = 0.8
#: two ways of scaling that agree within this make one row
_SAME_WITHIN = 0.1


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
    """Our tensor classes with no buffer to keep them, weights read in each of three passes."""
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for t in tensors(network, batch, 0):
        if t.home != "array":
            moved = t.bits * (sum(n for _, n in t.writes) + sum(n for _, n in t.reads)) / 8
            found[t.layer][1] += moved
            found[t.layer][2] += moved * (FP32_BIT // BF16_BIT if t.type == "BF16" else 1)
    for layer in network.mac_layers:
        found[layer.name][0] = 2.0 * batch * layer.macs * (3 if layer.needs_input_gradient else 2)
        found[layer.name][1] += layer.weights * BF16_BIT * 3 / 8
        found[layer.name][2] += layer.weights * FP32_BIT * 3 / 8
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


def _powers(card: Card, known: Sequence[Measurement]) -> Iterator[_Power]:
    yield _Power("tdp", card.tdp_w, f"{card.tdp_w:g} W, {card.source}")
    for row in known:
        if row.use == "power_fraction" and row.power_w is not None:
            yield _fraction(card, row, f"fraction from input-bound fine-tuning at {row.input_px} px, utilisation "
                                       f"{row.utilisation or 0:.0%}: a saturated card draws more")


def _fraction(card: Card, row: Measurement, caveat: str) -> _Power:
    fraction = (row.power_w or 0.0) / row.board_power_w
    return _Power("measured_fraction", card.tdp_w * fraction, f"TDP × {fraction:.3f}, {row.gpu}: {row.source}",
                  caveat)


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


def _best(rows: Sequence[Measurement]) -> list[Measurement]:
    """The fastest saturated measured row of each card and precision: what is carried to other cards.

    A network without layer records cannot be carried: its traffic is not known.
    """
    found: dict[tuple[str, str], Measurement] = {}
    for row in rows:
        key = (card_slug(row.gpu), row.precision)
        if (row.use == "measured" and row.network in NETWORKS and (row.utilisation or 0.0) >= MINIMUM_UTILISATION
                and (key not in found or row.images_per_s > found[key].images_per_s)):
            found[key] = row
    return list(found.values())


def _too_idle(row: Measurement) -> bool:
    return row.utilisation is not None and row.utilisation < MINIMUM_UTILISATION


def _own(gpu: str, network: Network, batch: int, known: Sequence[Measurement]) -> Iterator[GpuRow]:
    """Runs of this network on this very card."""
    for row in known:
        if row.use != "measured" or row.power_w is None or (card_slug(row.gpu), row.network, row.input_px,
                                                            row.width) != (
                gpu, network.name, network.image_px, network.width):
            continue
        bound_s = 2.0 * network.macs_training / CARDS[gpu].flops(row.precision) if gpu in CARDS else 0.0
        if row.images_per_s * bound_s > 1:
            raise BadInput(f"gpu_rows: images_per_s: {row.images_per_s:g} of {row.gpu}, {row.precision}, is more "
                           f"than its arithmetic allows, {1 / bound_s:.4g}; give images a second of training")
        why = f"batch {row.batch}, asked for {batch}" if row.batch != batch else ""
        if _too_idle(row):
            why = f"utilisation {row.utilisation:.0%}, under {MINIMUM_UTILISATION:.0%}"
        yield GpuRow(gpu, "measured", "measured", row.precision, row.batch, row.power_w, 1 / row.images_per_s, False,
                     not why, (_own_note(row),),
                     "synthetic images on the card: no input pipeline, no host", why, row.idle_w)


def gpu_rows(gpu: str, network: Network, batch: int, extra: Sequence[Measurement] = ()) -> tuple[GpuRow, ...]:
    """Every power source with every time source; `extra` are rows of one's own, from `load_rows`."""
    if gpu not in gpu_names(extra):
        if gpu in {card_slug(row.gpu) for row in extra}:
            raise BadInput(f"gpu: '{gpu}' is no shipped card and none of its rows has the use 'measured', power and "
                           "time of one run; such a row is needed to compare with it")
        raise BadInput(f"gpu: '{gpu}' does not exist; choose {' or '.join(gpu_names(extra))}")
    known = (*measurements(), *extra)
    found = list(_own(gpu, network, batch, known))
    if gpu not in CARDS:
        return tuple(found)
    measured = "a run on the card itself is known" if any(row.headline for row in found) else ""
    card, load = CARDS[gpu], _load(network, batch)
    powers = list(_powers(card, known))

    def add(power: _Power, time_source: str, precision: str, seconds: float, note: str, caveat: str,
            why: str = measured) -> None:
        found.append(GpuRow(gpu, power.source, time_source, precision, batch, power.watts, seconds, True, not why,
                            (f"time: {note}", f"power: {power.note}"),
                            "; ".join(filter(None, (caveat, power.caveat))), why))

    for time_source, precision, seconds, note in _rooflines(card, load, 2.0 * network.macs_training):
        for power in powers:
            add(power, time_source, precision, seconds, note, "a lower bound on time",
                "a bound that no run reaches")
    for row in (r for r in known if r.use == "time" and not _too_idle(r)):
        for seconds, rule in _scaled(card, load, row):
            for power in powers:
                add(power, "scaled_measured", row.precision, seconds, _scaled_note(row, rule), _SCALED_CAVEAT)
    for row in _best(known):
        if card_slug(row.gpu) != gpu:
            for seconds, rule in _scaled(card, load, row):
                for power in (powers[0], _fraction(card, row, "fraction from the same run as the time")):
                    add(power, "scaled_measured", row.precision, seconds, _scaled_note(row, rule), _SCALED_CAVEAT)
    return tuple(found)


def _own_note(row: Measurement) -> str:
    layout = row.layout.replace("_", " ") or "layout not stated"
    return f"{row.gpu} {row.precision.upper()} {row.network}, batch {row.batch}, {layout}: {row.source}"


_SCALED_CAVEAT = "scaled from another card [inferred]"


def _scaled_note(row: Measurement, rule: str) -> str:
    return (f"{row.gpu} {row.precision.upper()} {row.network} at {row.input_px} px, batch {row.batch}, "
            f"{row.images_per_s:g} img/s × {rule}: {row.source}")
