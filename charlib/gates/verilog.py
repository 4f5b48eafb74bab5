"""A block as a structural Verilog module of its cells, and the cells' behaviour, for synthesis and timing tools."""

from __future__ import annotations

import itertools
import re

from charlib.errors import BadInput
from charlib.gates.block import CELLS, STATE_CELLS, Block, evaluate_cell
from charlib.netlist import netlist_ports

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_CONSTANT = {"0": "1'b0", "1": "1'b1"}
#: reserved words of IEEE 1364-2001, annex B
_WORDS = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design
disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask
event for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout input
instance integer join large liblist library localparam macromodule medium module nand negedge nmos nor noshowcancelled
not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup pulsestyle_ondetect
pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1 scalared showcancelled
signed small specify specparam strong0 strong1 supply0 supply1 table task time tran tranif0 tranif1 tri tri0 tri1
triand trior trireg unsigned use vectored wait wand weak0 weak1 while wire wor xnor xor
"""
_RESERVED = frozenset(_WORDS.split())


def _name(net: str) -> str:
    """A net as Verilog writes it: constants as bits, unusual names escaped."""
    if net in _CONSTANT:
        return _CONSTANT[net]
    return net if _PLAIN.fullmatch(net) and net not in _RESERVED else f"\\{net} "


def instance_names(block: Block) -> tuple[str, ...]:
    """x0, x1, … as in the SPICE netlist; x_0, x_1, … where a net has such a name: Verilog has one name space."""
    nets = {*block.inputs, *(net for i in block.instances for net in i.outputs)}
    prefix = "x"
    while any(f"{prefix}{k}" in nets for k in range(len(block.instances))):
        prefix += "_"
    return tuple(f"{prefix}{k}" for k in range(len(block.instances)))


def to_verilog(block: Block) -> str:
    """One module; see :func:`instance_names`. BadInput where a port stands twice, or is a constant."""
    found: set[str] = set()
    for net in (*block.inputs, *block.outputs):
        if net in found or net in _CONSTANT:
            wrong = "is a constant" if net in _CONSTANT else "stands twice"
            raise BadInput(f"Block '{block.name}': port '{net}' {wrong}; a Verilog port needs a net of its own; "
                           "put a buffer before it")
        found.add(net)
    ports = ", ".join(_name(net) for net in (*block.inputs, *block.outputs))
    outside = {*block.inputs, *block.outputs}
    lines = [f"module {_name(block.name)} ({ports});"]
    lines += [f"  input {_name(net)};" for net in block.inputs]
    lines += [f"  output {_name(net)};" for net in block.outputs]
    lines += [f"  wire {_name(net)};" for i in block.instances for net in i.outputs if net not in outside]
    for name, instance in zip(instance_names(block), block.instances, strict=True):
        joined = zip(netlist_ports(instance.cell)[:-2], (*instance.inputs, *instance.outputs), strict=True)
        pins = ", ".join(f".{port}({_name(net)})" for port, net in joined)
        lines.append(f"  {instance.cell} {name} ({pins});")
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
