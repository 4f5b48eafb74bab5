"""What the same training step costs on an RTX 3060, by power source × time source.

No measured MobileNet training on an RTX 3060 was found. Time is therefore a compute roofline, a memory roofline
from the same traffic model as ours, or a measured row of another card scaled by memory bandwidth and by the
networks' traffic. Power is the card's TDP, or TDP times a fraction measured on a sister card; those fractions
come from input-bound fine-tuning at 128 px, so a saturated card draws more. Power and time from different runs
make a row `composed`. The headline is a range over scaled rows: rooflines are shown and never are the headline.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from charlib.errors import BadInput
from system.assumptions import constant
from system.networks import build_network
from system.traffic import tensors
from system.workload import Network

SCOPE = ("gpu", "gpu_memory", "regulator", "fan")
GPUS = ("rtx3060",)
MINIMUM_UTILISATION = 0.8


@dataclass(frozen=True)
class Measurement:
    """One published run on some card."""

    gpu: str
    network: str
    precision: str
    input_px: int
    batch: int
    images_per_s: float
    power_w: float | None
    board_power_w: float
    utilisation: float | None
    bytes_per_s: float
    use: str
    source: str


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
    source: str
    caveat: str

    @property
    def energy_j_per_image(self) -> float:
        return self.power_w * self.time_s_per_image


@lru_cache(maxsize=1)
def measurements() -> tuple[Measurement, ...]:
    """The shipped record of published runs."""
    text = resources.files("system.data").joinpath("gpu_rows.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))

    def number(value: str) -> float | None:
        return float(value) if value else None

    return tuple(
        Measurement(r["gpu"], r["network"], r["precision"], int(r["input_px"]), int(r["batch"]),
                    float(r["images_per_s"]), number(r["power_w"]), float(r["board_power_w"]),
                    number(r["utilisation"]), float(r["bytes_per_s"]), r["use"], r["source"])
        for r in rows)


def gpu_traffic_bytes(network: Network, batch: int) -> float:
    """Bytes per image through GPU memory: our tensor classes with no buffer to keep them, weights read thrice.

    Layers' inputs are re-read in forward, and gradients pass as often as on our side.
    """
    moved = sum(t.bits * (sum(n for _, n in t.writes) + sum(n for _, n in t.reads))
                for t in tensors(network, batch, 0) if t.tensor != "weight")
    weights = sum(layer.weights for layer in network.mac_layers) * 16 * 3
    return (moved + weights) / 8 / batch


def _powers() -> Iterator[tuple[str, float, str, str]]:
    tdp = constant("rtx3060_tdp_w")
    yield "tdp", tdp.value, tdp.citation, ""
    for m in measurements():
        if m.use == "power_fraction" and m.power_w is not None:
            fraction = m.power_w / m.board_power_w
            yield ("measured_fraction", tdp.value * fraction, f"TDP × {fraction:.3f}, {m.gpu}: {m.source}",
                   f"fraction from input-bound fine-tuning at {m.input_px} px, utilisation {m.utilisation:.0%}: "
                   "a saturated card draws more")


def _times(network: Network, batch: int) -> Iterator[tuple[str, str, float, str, str, bool]]:
    """(time source, precision, seconds, source, caveat, fit for the headline)."""
    flop = 2.0 * network.macs_training
    for precision, name in (("bf16", "rtx3060_bf16_flops"), ("fp32", "rtx3060_fp32_flops")):
        peak = constant(name)
        yield "compute_roofline", precision, flop / peak.value, peak.citation, "a lower bound on time", False
    bandwidth = constant("rtx3060_bytes_per_s")
    moved = gpu_traffic_bytes(network, batch)
    yield ("memory_roofline", "bf16", moved / bandwidth.value,
           f"{moved / 1e6:.1f} MB an image by the traffic model, {bandwidth.citation}", "a lower bound on time",
           False)
    for m in measurements():
        if m.use != "time" or (m.utilisation is not None and m.utilisation < MINIMUM_UTILISATION):
            continue
        reference = build_network(m.network, m.input_px)
        scale = moved / gpu_traffic_bytes(reference, m.batch) * m.bytes_per_s / bandwidth.value
        yield ("scaled_measured", "bf16" if "FP32" not in m.precision else "fp32", scale / m.images_per_s,
               f"{m.gpu} {m.precision} {m.network} {m.images_per_s:g} img/s × bandwidth × traffic: {m.source}",
               "scaled from another card by memory bandwidth and traffic [inferred]", True)


def gpu_rows(gpu: str, network: Network, batch: int) -> tuple[GpuRow, ...]:
    """Every power source with every time source."""
    if gpu not in GPUS:
        raise BadInput(f"gpu: '{gpu}' does not exist; choose {' or '.join(GPUS)}")
    rows = []
    for time_source, precision, seconds, time_note, time_caveat, fit in _times(network, batch):
        for power_source, watts, power_note, power_caveat in _powers():
            caveat = "; ".join(part for part in (time_caveat, power_caveat) if part)
            rows.append(GpuRow(gpu, power_source, time_source, precision, batch, watts, seconds, True, fit,
                               f"time: {time_note}; power: {power_note}", caveat))
    return tuple(rows)


def headline_range(rows: tuple[GpuRow, ...], field: str) -> tuple[float, float]:
    """Lowest and highest of `energy_j_per_image` or `time_s_per_image` over the rows fit for a headline."""
    values = [float(getattr(row, field)) for row in rows if row.headline]
    if len(values) < 2:
        raise BadInput("gpu: a headline needs at least two scaled rows, got "
                       f"{len(values)}; add measurements to gpu_rows.csv")
    return min(values), max(values)
