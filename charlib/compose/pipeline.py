"""Where to cut a block so that it meets a period: stages and the registers between them, by static arrival times."""

from __future__ import annotations

import math
from dataclasses import dataclass

from charlib.compose.static import StaticTiming
from charlib.errors import BadInput
from charlib.gates.block import CONSTANTS, Block


@dataclass(frozen=True)
class PipelineCut:
    """registers: flip-flops at each cut, first cut first; one stage has none."""

    stages: int
    registers: tuple[int, ...]


def pipeline_cut(block: Block, timing: StaticTiming, period_s: float, overhead_s: float) -> PipelineCut:
    """Fewest stages of equal time. overhead_s: a register's clock-to-q, set-up and skew, taken off every period.

    A net crosses a cut where it has moved before and some cell that reads it moves after. BadInput where the overhead
    leaves nothing of the period.
    """
    room_s = period_s - overhead_s
    if not room_s > 0:
        raise BadInput(f"cycle_s: {period_s:g} s leave nothing beside a register's {overhead_s:g} s; "
                       "ask for a longer one")
    stages = max(1, math.ceil(timing.delay_s / room_s))
    late = {net: max(times) for net, times in timing.arrival_s.items()}
    crossings = [set[str]() for _ in range(stages - 1)]
    for instance in block.instances:
        after = max(late[net] for net in instance.outputs)
        for net in instance.inputs:
            if net in CONSTANTS:
                continue
            for k in range(1, stages):
                cut_s = k * timing.delay_s / stages
                if late[net] <= cut_s < after:
                    crossings[k - 1].add(net)
    for k, crossing in enumerate(crossings, start=1):  # what is ready early and leaves the block late
        crossing.update(net for net in block.outputs if late[net] <= k * timing.delay_s / stages)
    return PipelineCut(stages, tuple(len(crossing) for crossing in crossings))
