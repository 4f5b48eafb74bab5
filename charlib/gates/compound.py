"""Blocks out of blocks: side by side with some nets joined, or with outputs fed back through registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from charlib.errors import BadInput
from charlib.gates.block import CONSTANTS, Block, Instance


def connect(name: str, blocks: Mapping[str, Block], wires: Mapping[str, str] | None = None) -> Block:
    """One block of several, in an order in which they drive each other; nets are called PREFIX_net, `clk` is shared.

    wires: input "PREFIX_net" -> driving net "PREFIX_net" of an earlier block. Parts get the prefix where they have
    none of their own. BadInput for a wire to an input that does not exist.
    """
    joined = dict(wires or {})
    inputs: list[str] = []
    outputs: list[str] = []
    instances: list[Instance] = []
    known = {f"{prefix}_{net}" for prefix, block in blocks.items() for net in block.inputs}
    unknown = [net for net in joined if net not in known]
    if unknown:
        raise BadInput(f"Block '{name}': '{unknown[0]}' is no input of its blocks; "
                       f"inputs are {', '.join(sorted(known))}")
    for prefix, block in blocks.items():
        def called(net: str, prefix: str = prefix) -> str:
            if net in (*CONSTANTS, "clk"):
                return net
            return joined.get(f"{prefix}_{net}", f"{prefix}_{net}")

        inputs += [called(net) for net in block.inputs if f"{prefix}_{net}" not in joined]
        outputs += [called(net) for net in block.outputs if called(net) not in joined.values()]
        instances += [Instance(i.cell, tuple(map(called, i.inputs)), tuple(map(called, i.outputs)), i.part or prefix)
                      for i in block.instances]
    return Block(name, tuple(dict.fromkeys(inputs)), tuple(outputs), tuple(instances))


def fed_back(block: Block, outputs: str, inputs: str, width: int) -> Block:
    """The block with its word `outputs` held in registers that drive its word `inputs`; a new input `clk`.

    BadInput where a net of the words does not exist.
    """
    pairs = [(f"{outputs}{k}", f"{inputs}{k}") for k in range(width)]
    for out, into in pairs:
        if out not in block.outputs or into not in block.inputs:
            raise BadInput(f"Block '{block.name}': no output '{out}' or input '{into}' to feed back")
    held = {into for _, into in pairs}
    state = tuple(Instance("dff", (out, "clk"), (into,), "register") for out, into in pairs)
    inputs_left = dict.fromkeys(("clk", *(net for net in block.inputs if net not in held)))
    return Block(f"{block.name}_register", tuple(inputs_left), block.outputs, (*block.instances, *state))


def pruned(block: Block) -> Block:
    """The block without cells that reach no output, as a synthesis tool would leave it; its ports stay."""
    drivers = {net: k for k, instance in enumerate(block.instances) for net in instance.outputs}
    wanted = [drivers[net] for net in block.outputs if net in drivers]
    alive: set[int] = set()
    while wanted:
        k = wanted.pop()
        if k not in alive:
            alive.add(k)
            wanted += [drivers[net] for net in block.instances[k].inputs if net in drivers]
    return replace(block, instances=tuple(i for k, i in enumerate(block.instances) if k in alive))
