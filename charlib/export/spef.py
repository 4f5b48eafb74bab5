"""Wires and outside loads of a block as SPEF (IEEE 1481-1998), for timing tools beside the exported Verilog.

The wire of a net stands, fan-out by fan-out, on the pins that it reaches; what the block's outputs drive stands on
its ports. Pins' own capacitances are the library's. Analysers reach a pin only through a resistance, so each fan-out
has one of a milliohm: with some femtofarads it is 1e-18 s, which is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from charlib.compose.timed import Loads
from charlib.gates.block import CONSTANTS, Block
from charlib.gates.verilog import instance_names
from charlib.netlist import netlist_ports
from charlib.units import FEMTO

NO_OHM = 1e-3
_SPECIAL = re.compile(r"([^A-Za-z0-9_])")


def to_spef(block: Block, loads: Loads) -> str:
    """Every net's capacitances but its pins'; names are those of :func:`charlib.gates.verilog.to_verilog`."""
    return "\n".join([*_header(block), *_nets(block, loads)]) + "\n"


def _name(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _header(block: Block) -> Iterator[str]:
    yield '*SPEF "IEEE 1481-1998"'
    yield f'*DESIGN "{block.name}"'
    yield from ('*DATE ""', '*VENDOR ""', '*PROGRAM "hadamard-imc"', '*VERSION ""', '*DESIGN_FLOW "PIN_CAP NONE"')
    yield from ("*DIVIDER /", "*DELIMITER :", "*BUS_DELIMITER [ ]", "*T_UNIT 1 NS", "*C_UNIT 1 FF", "*R_UNIT 1 OHM",
                "*L_UNIT 1 HENRY", "", "*PORTS")
    yield from (f"{_name(net)} I" for net in block.inputs)
    yield from (f"{_name(net)} O" for net in block.outputs)


def _nets(block: Block, loads: Loads) -> Iterator[str]:
    drivers: dict[str, tuple[str, str]] = {net: ("*P", _name(net)) for net in block.inputs}
    sinks: dict[str, list[tuple[str, str, float]]] = {}
    for name, instance in zip(instance_names(block), block.instances, strict=True):
        ports = netlist_ports(instance.cell)[:-2]
        for port, net in zip(ports, instance.inputs, strict=False):
            sinks.setdefault(net, []).append(("*I", f"{name}:{port}", loads.wire_f))
        for port, net in zip(ports[len(instance.inputs):], instance.outputs, strict=True):
            drivers[net] = "*I", f"{name}:{port}"
    for net in block.outputs:
        outside_f = loads.output_f + (loads.wire_f if loads.output_f else 0.0)
        sinks.setdefault(net, []).append(("*P", _name(net), outside_f))
    for net, found in sinks.items():
        if net not in CONSTANTS:
            yield from _net(net, drivers[net], found)


def _net(net: str, driver: tuple[str, str], sinks: list[tuple[str, str, float]]) -> Iterator[str]:
    total_f = sum(farads for _, _, farads in sinks)
    yield f"\n*D_NET {_name(net)} {total_f / FEMTO:.6g}\n*CONN"
    yield f"{driver[0]} {driver[1]} {'I' if driver[0] == '*P' else 'O'}"
    yield from (f"{kind} {pin} {'O' if kind == '*P' else 'I'}" for kind, pin, _ in sinks)
    yield "*CAP"
    yield from (f"{k} {pin} {farads / FEMTO:.6g}" for k, (_, pin, farads) in enumerate(sinks, start=1))
    yield "*RES"
    yield from (f"{k} {driver[1]} {pin} {NO_OHM:g}" for k, (_, pin, _) in enumerate(sinks, start=1))
    yield "*END"
