"""Many chips that train one network: data parallel, on paper.

Each of N chips holds the whole network and takes a batch of its own; after the weight gradients a ring all-reduce
(Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009) sums them: 2 (N − 1) / N of all gradients, in FP32, leave
and enter each chip, half of them to be added. Then every chip updates its own weights, as one alone would. The step
lasts as long as the slowest chip, and all are equal.

Stated, not simulated: nothing overlaps with the all-reduce (its other end, wholly hidden behind the backward pass, is
the range's lower end); the links take no contention; a larger whole batch needs no more steps, which is the recipe's
concern and not the hardware's.
"""

from __future__ import annotations

from dataclasses import dataclass

from system.assumptions import constant
from system.cost import event_price, regulator_efficiency
from system.design import Design

GRADIENT_BIT = 32


@dataclass(frozen=True)
class Scaled:
    """N chips. Joules and seconds are an image of the whole; time_hidden_s: with the all-reduce behind the backward
    pass. link_j, wait_j: of energy_j, what the links take, and what stands idle meanwhile."""

    chips: int
    batch: int
    energy_j: float
    time_s: float
    time_hidden_s: float
    all_reduce_s: float
    link_j: float
    wait_j: float
    area_m2: float

    @property
    def power_w(self) -> float:
        """Mean of all chips."""
        return self.energy_j / self.time_s


def data_parallel(design: Design, chips: int) -> Scaled:
    """The design on so many chips, at the system's boundary."""
    options, energy_j = design.options, design.cost.energy_j("system")
    batch, step_s = options.batch * chips, design.cost.times["system"].total_s * options.batch
    elements = design.network.parameters
    share = (chips - 1) / chips
    moved_bit = 2 * share * elements * GRADIENT_BIT
    reduce_s = moved_bit / 8 / options.link_bytes_per_s
    efficiency = regulator_efficiency(design.circuit.tech.choice)
    link_j = moved_bit * constant("link_j_per_bit").pick(options.constants) / efficiency / options.batch
    added = round(share * elements)
    add_j = event_price(design.circuit, design.chip, {"vector_add": added, "buffer_bit": 4 * GRADIENT_BIT * added},
                        "update") / efficiency / options.batch
    wait_j = standby_w(design) * reduce_s / options.batch
    return Scaled(chips, batch, energy_j + link_j + add_j + wait_j, (step_s + reduce_s) / batch,
                  max(step_s, reduce_s) / batch, reduce_s, link_j, wait_j, chips * design.chip.area_m2)


def standby_w(design: Design) -> float:
    """A chip that waits: macros and buffer leak behind the regulator, DRAM refreshes."""
    tech = design.circuit.tech
    macros = design.mapping.macros * sum(t.value for t in design.leakage)
    buffer = sum(t.value for t in design.chip.buffer_leakage)
    return (macros + buffer) / regulator_efficiency(tech.choice) + tech.constant("dram_background_w").value


def counts(chips: int) -> tuple[int, ...]:
    """One, its doublings, and `chips` itself."""
    found = [1]
    while 2 * found[-1] < chips:
        found.append(2 * found[-1])
    return tuple(dict.fromkeys((*found, chips)))
