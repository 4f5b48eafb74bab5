"""Buffers on nets that drive more pins than one cell can: trees of the stronger `buffer` cell."""

from __future__ import annotations

from dataclasses import replace

from charlib.errors import BadInput
from charlib.gates.block import CONSTANTS, STATE_CELLS, Block, Instance

#: pins that one net may drive
FAN_OUT_LIMIT = 6
#: what every output of a block drives, in the kit's minimum inverters; the ramp of its inputs, in its unit of time
OUTPUT_UNITS, INPUT_RAMP = 3.0, 0.3
#: a flip-flop's clock pin: the clock tree drives it, which is no block's own
CLOCK_PIN = 1


def buffered(block: Block, limit: int = FAN_OUT_LIMIT) -> Block:
    """The block with every net that drives more than `limit` pins behind a tree of buffers.

    Buffers belong to the part of the cell that drives the net; on an input, to that of its first reader.
    """
    if limit < 2:
        raise BadInput(f"limit: a buffer tree needs at least 2, got {limit}")
    sinks: dict[str, list[tuple[int, int]]] = {}
    for k, instance in enumerate(block.instances):
        for p, net in enumerate(instance.inputs):
            if net not in CONSTANTS and not (instance.cell in STATE_CELLS and p == CLOCK_PIN):
                sinks.setdefault(net, []).append((k, p))
    pins = [list(instance.inputs) for instance in block.instances]
    added: dict[str, list[Instance]] = {}
    for net, found in sinks.items():
        if len(found) > limit:
            part = block.instances[found[0][0]].part
            added[net] = _tree(net, found, limit, part, pins)
    parts = {net: instance.part for instance in block.instances for net in instance.outputs}
    added = {net: [replace(b, part=parts.get(net, b.part)) for b in made] for net, made in added.items()}
    instances = [buffer for net in block.inputs for buffer in added.get(net, ())]
    for instance, inputs in zip(block.instances, pins, strict=True):
        instances.append(replace(instance, inputs=tuple(inputs)))
        instances += [buffer for net in instance.outputs for buffer in added.get(net, ())]
    return replace(block, instances=tuple(instances))


def _tree(net: str, sinks: list[tuple[int, int]], limit: int, part: str, pins: list[list[str]]) -> list[Instance]:
    """Buffers in an order from root to leaves; rewires `pins` to the leaves."""
    groups = [sinks[k:k + limit] for k in range(0, len(sinks), limit)]
    level = [f"{net}_b{k}" for k in range(len(groups))]
    for name, group in zip(level, groups, strict=True):
        for k, p in group:
            pins[k][p] = name
    made: list[Instance] = []
    depth = 0
    while len(level) > limit:
        depth += 1
        above = [f"{net}_b{depth}_{k}" for k in range(-(-len(level) // limit))]
        made = [Instance("buffer", (above[k // limit],), (name,), part) for k, name in enumerate(level)] + made
        level = above
    return [*(Instance("buffer", (net,), (name,), part) for name in level), *made]
