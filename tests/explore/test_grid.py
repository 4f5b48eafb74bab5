"""Array code over whole grids equals the scalar estimate, design by design."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from charlib.errors import BadInput
from system.blocks import BOUNDARIES
from system.design import evaluate, make_reader
from system.explore.grid import METRICS, Evaluator
from system.explore.run import enumerate_space
from system.explore.space import Space, Value
from system.options import EstimateOptions

NETWORKS = (("mobilenet_v1", 224, 1.0), ("mobilenet_v1", 32, 0.25), ("mobilenet_v2", 96, 0.5), ("resnet18", 64, 1.0),
            ("vit_tiny", 32, 1.0))
CLOSE = 1e-12


def random_space(source: random.Random) -> Space:
    """Sixteen designs: two ways to lie on macros, two batches, four circuits."""
    network, image_px, width = source.choice(NETWORKS)
    circuit: dict[str, tuple[Value, ...]] = {
        "vdd_v": (source.uniform(0.8, 1.0), source.choice((0.8, 0.85, 0.9, 0.95, 1.0))),
        source.choice(("read_policy", "exponent_fire", "constants", "clock_gating", "corner")): (),
    }
    words: dict[str, tuple[Value, ...]] = {
        "read_policy": ("hold", "reread"), "exponent_fire": ("once", "every"), "corner": ("tt", "ss"),
        "constants": ("low", "high"), "clock_gating": ("none", "operation")}
    circuit = {name: values or words[name] for name, values in circuit.items()}
    if source.random() < 0.3:
        circuit["cycle_s"] = (source.uniform(0.3e-9, 0.8e-9), 3e-9)
    fixed = EstimateOptions(network=network, image_px=image_px, width=width, node_nm=45,
                            input_density=source.uniform(0.1, 0.6), exponent_spread=source.uniform(1.0, 4.0))
    shape: dict[str, tuple[Value, ...]] = {
        "words_per_row": (source.choice((2, 4)),), "compartments": (source.choice((16, 24, 32, 48, 64)),)}
    mapping: dict[str, tuple[Value, ...]] = {
        "macros": tuple(source.sample(("resident", "replicated", 4 * source.randrange(1, 5000), 60_000), 2)),
        "batch": tuple(source.sample(range(1, 129), 2))}
    return Space(fixed, shape | mapping | circuit)


def check_space(space: Space) -> tuple[int, float]:
    """Designs that can be, and the largest relative difference to the scalar estimate of any energy or time."""
    read = make_reader(space.fixed)
    found = enumerate_space(space, read)
    worst, possible = 0.0, 0
    for k in range(found.size):
        options = found.options(k)
        point = replace(read.point, vdd_v=options.vdd_v, corner=options.corner)
        try:
            scalar = evaluate(options, read.at(point))
        except BadInput:
            assert all(np.isnan(found.metrics[name][k]) for name in METRICS)
            continue
        possible += 1
        pairs = [(found.metrics["area_m2"][k], scalar.chip.area_m2),
                 (found.metrics["clock_hz"][k], 1 / scalar.clock.cycle_s)]
        for boundary in BOUNDARIES:
            pairs += [(found.metrics[f"energy_{boundary}_j"][k], scalar.cost.energy_j(boundary)),
                      (found.metrics[f"time_{boundary}_s"][k], scalar.cost.times[boundary].total_s)]
        worst = max(worst, *(abs(got / wanted - 1) for got, wanted in pairs))
    return possible, worst


@pytest.mark.parametrize("seed", range(4))
def test_a_random_space_equals_the_scalar_estimate(seed: int) -> None:
    possible, worst = check_space(random_space(random.Random(seed)))
    assert possible >= 4
    assert worst < CLOSE


@pytest.mark.validate
def test_a_thousand_random_designs_equal_the_scalar_estimate() -> None:
    source, possible, worst = random.Random(1000), 0, 0.0
    while possible < 1000:
        some, apart = check_space(random_space(source))
        possible, worst = possible + some, max(worst, apart)
    print(f"\n{possible} designs, largest relative difference {worst:.1e}")
    assert worst < CLOSE


def test_a_circuit_without_tables_is_refused_and_the_others_stand() -> None:
    base = EstimateOptions(image_px=32, width=0.25, node_nm=45)
    found, messages = Evaluator(make_reader(base))(base, [8], ["resident"], [base, replace(base, vdd_v=1.3)])
    assert np.isfinite(found["energy_system_j"][0, 0, 0])
    assert np.isnan(found["energy_system_j"][0, 0, 1])
    assert len(messages) == 1


def test_what_must_be_known_of_designs_is_counted() -> None:
    fixed = EstimateOptions(image_px=32, width=0.25, node_nm=45, zero_share=0.6, statistics_beyond="end")
    space = Space(fixed, {"compartments": (32, 40, 128), "vdd_v": (0.8, 0.9)})
    found = enumerate_space(space, make_reader(fixed))
    assert found.said["zero_share 0.6 is priced at 0.5, where the tables end"] == found.possible == 4
    between = next(count for what, count in found.said.items() if what.startswith("the fused tree's size lies betw"))
    assert between == 2
    assert sum(count for why, count in found.refused.items() if why.startswith("compartments: the size of a")) == 2
