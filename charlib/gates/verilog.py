"""A block as a structural Verilog module of its cells, and the cells' behaviour, for synthesis and timing tools."""

from __future__ import annotations

import itertools
import re

from charlib.gates.block import CELLS, STATE_CELLS, Block, evaluate_cell
from charlib.netlist import netlist_ports

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_CONSTANT = {"0": "1'b0", "1": "1'b1"}


def _name(net: str) -> str:
    """A net as Verilog writes it: constants as bits, unusual names escaped."""
    if net in _CONSTANT:
        return _CONSTANT[net]
    return net if _PLAIN.fullmatch(net) else f"\\{net} "


def to_verilog(block: Block) -> str:
    """One module; instances are called x0, x1, … as in the SPICE netlist."""
    ports = ", ".join(_name(net) for net in (*block.inputs, *block.outputs))
    outside = {*block.inputs, *block.outputs}
    lines = [f"module {_name(block.name)} ({ports});"]
    lines += [f"  input {_name(net)};" for net in block.inputs]
    lines += [f"  output {_name(net)};" for net in block.outputs]
    lines += [f"  wire {_name(net)};" for i in block.instances for net in i.outputs if net not in outside]
    for k, instance in enumerate(block.instances):
        joined = zip(netlist_ports(instance.cell)[:-2], (*instance.inputs, *instance.outputs), strict=True)
        pins = ", ".join(f".{port}({_name(net)})" for port, net in joined)
        lines.append(f"  {instance.cell} x{k} ({pins});")
    return "\n".join([*lines, "endmodule"]) + "\n"


def cell_models() -> str:
    """A behavioural module of every cell, its outputs as sums of products of its truth table."""
    return "\n".join(_model(cell) for cell in CELLS) + "\n" + "".join(_register(cell) for cell in STATE_CELLS)


def _model(cell: str) -> str:
    ports = netlist_ports(cell)[:-2]
    inputs, outputs = ports[:CELLS[cell].inputs], ports[CELLS[cell].inputs:]
    lines = [f"module {cell} ({', '.join(ports)});", *(f"  input {p};" for p in inputs),
             *(f"  output {p};" for p in outputs)]
    for j, out in enumerate(outputs):
        terms = ["(" + " & ".join(p if bit else f"~{p}" for p, bit in zip(inputs, bits, strict=True)) + ")"
                 for bits in itertools.product((0, 1), repeat=len(inputs)) if evaluate_cell(cell, *bits)[j]]
        lines.append(f"  assign {out} = {' | '.join(terms)};")
    return "\n".join([*lines, "endmodule"])


def _register(cell: str) -> str:
    d, clock, q = netlist_ports(cell)[:-2]
    return (f"module {cell} ({d}, {clock}, {q});\n  input {d};\n  input {clock};\n  output reg {q};\n"
            f"  always @(posedge {clock}) {q} <= {d};\nendmodule\n")
