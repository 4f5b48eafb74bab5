"""The compartment as a circuit: R rows × C columns of 6T cells, one processing unit a group of four columns.

Rows 0 and 1 have real wordline drivers; the other rows' wordlines are at ground, their cells load the
bitlines. What spans the whole row of 64 columns (wordline, input lines) carries the wire and the gates of all 64,
those beyond the flat C as devices of their total width: of a column's two pass gates one ends a read with both its
ends low and its channel filled, the other with both high. Lines longer than 20 µm have a resistance in the middle of
their capacitance; precharge, select and clock lines carry the wire of the flat columns.

Supplies, one a line of the breakdown: vwl wordline drivers, vpc precharge clocks, vbl bitlines and cells,
vcw compute wires, vin input logic, vffd flip-flops, vffc their clock driver, vctl evaluate and select lines.
"""

from __future__ import annotations

from charlib.pdk.model import Pdk
from charlib.units import MICRO

#: columns of the whole compartment, and columns that share a processing unit [inferred from the ancestor]
FULL_COLUMNS, GROUP = 64, 4
#: wires longer than this have a resistance
RESISTIVE_M = 20 * MICRO
SUPPLY_OF_LINE = {
    "wordline": "vwl", "precharge_clock": "vpc", "bitline": "vbl", "compute_wire": "vcw", "input_logic": "vin",
    "ff_data": "vffd", "ff_clock": "vffc", "control": "vctl",
}
#: ideal control sources, by the line whose first gates they charge: see :func:`drivers`
SOURCES_OF_LINE = {
    "wordline": ("swl0", "swl1"), "precharge_clock": ("spcb", "spcw"), "input_logic": ("sin",),
    "ff_clock": ("sclk",), "control": ("sen",),
}
#: lines of which a compartment has one, or one a row, however many columns are flat
SHARED_LINES = ("wordline", "input_logic", "control")
PARTS = ("sram_6t", "precharge", "rlpu", "compute_wire", "input_logic", "wordline_driver", "column_mux", "dff", "inv")


def wire(name: str, near: str, far: str, length_m: float, pdk: Pdk) -> str:
    """A wire from `near` to `far`: half its capacitance at each end, its resistance between if it is long."""
    half_f = 0.5 * length_m * pdk.geometry.wire_f_per_m
    ohm = length_m * pdk.geometry.wire_ohm_per_m if length_m > RESISTIVE_M else 0.01
    return f"r{name} {near} {far} {ohm:.6g}\nc{name}n {near} 0 {half_f:.6g}\nc{name}f {far} 0 {half_f:.6g}\n"


def compartment(rows: int, columns: int, pdk: Pdk) -> str:
    """The subcircuit `compartment` with the parts it needs.

    Ports: wl0 wl1 (drivers' outputs), pcb (bitline precharge), pcw (compute-wire precharge), sel selb (first
    column of each group), inp inn, clk, q0… (one a group), vbl vcw vffd, vrest (a rail in no line, for the load of
    columns that are not here: what those leak belongs to them).
    """
    g = pdk.geometry
    groups = columns // GROUP
    row_m, column_m = FULL_COLUMNS * g.bitcell_width_m, rows * g.bitcell_height_m
    outputs = " ".join(f"q{k}" for k in range(groups))
    lines = [f".subckt compartment wl0 wl1 pcb pcw sel selb inp inn clk {outputs} vbl vcw vffd vrest"]
    others = FULL_COLUMNS - columns
    for r in (0, 1):
        lines.append(wire(f"wl{r}", f"wl{r}", f"wf{r}", row_m, pdk))
        if others:
            lines += [f"xwlrest{r}{side} {end} wf{r} {end} 0 nmos_pg w='{others}*1.5*wmin' l=lmin"
                      for side, end in (("l", "0"), ("h", "vrest"))]
    for line in ("inp", "inn"):
        lines.append(wire(line, line, f"{line}f", row_m, pdk))
        if others:
            lines.append(f"xrest{line} 0 {line}f 0 0 nmos w='{others // GROUP}*2*wmin' l=lmin")
    lines += [wire(line, line, f"{line}f", columns * g.bitcell_width_m, pdk)
              for line in ("pcb", "pcw", "sel", "selb", "clk")]
    for c in range(columns):
        lines += [wire(f"bl{c}", f"bl{c}", f"blf{c}", column_m, pdk),
                  wire(f"blb{c}", f"blb{c}", f"blbf{c}", column_m, pdk),
                  f"xpre{c} bl{c} blb{c} pcbf vbl precharge"]
        for r in range(rows):  # the accessed rows sit at the far end, away from mux and precharge
            wordline, near = (f"wf{r}", "f") if r < 2 else ("0", "f" if r < rows // 2 else "")
            lines.append(f"xcell{r}_{c} bl{near}{c} blb{near}{c} {wordline} vbl 0 sram_6t")
        group, selected = c // GROUP, c % GROUP == 0
        select = "self selbf" if selected else "0 vbl"
        lines.append(f"xmux{c} bl{c} blb{c} w{group} wb{group} {select} vbl 0 column_mux")
    for k in range(groups):
        lines += [f"xrlpu{k} inpf innf w{k} wb{k} dlo{k} 0 rlpu",
                  wire(f"dlo{k}", f"dlo{k}", f"dlof{k}", GROUP * g.bitcell_width_m + 5 * MICRO, pdk),
                  f"xcw{k} dlof{k} pcwf y{k} vcw 0 compute_wire",
                  f"xff{k} y{k} clkf q{k} vffd 0 dff"]
    return pdk.subckts(*PARTS) + "\n".join([*lines, ".ends compartment"]) + "\n"


def drivers(columns: int) -> str:
    """Every driver on its own measured supply, from ideal control nets named s…: see the supplies above.

    Those that stand once a compartment have the size that the whole row needs.
    """
    groups, row = columns // GROUP, FULL_COLUMNS // GROUP
    return (
        "xwd0 one swl0 wl0 vwl 0 wordline_driver\nxwd1 one swl1 wl1 vwl 0 wordline_driver\n"
        "vone one 0 dc {vdd}\n"
        f"xpcb spcb pcb vpc 0 inv drive={columns}\nxpcw spcw pcw vpc 0 inv drive={max(1, groups)}\n"
        f"xsel ssel selb vctl 0 inv drive={row}\nxselb selb sel vctl 0 inv drive={row}\n"
        "xen sen enb vctl 0 inv drive=2\n"
        "xinput sin suse_p suse_n enb inp inn vin 0 input_logic\n"
        f"xclk sclk clk vffc 0 inv drive={2 * groups}\n"
    )


def initial_state(rows: int, columns: int, vdd_v: float) -> dict[str, float]:
    """Row 0 holds 1 in the computed columns, row 1 holds 0; half-selected columns and other rows alternate."""
    state: dict[str, float] = {}
    for r in range(rows):
        for c in range(columns):
            bit = 1 - r if r < 2 and c % GROUP == 0 else (r + c) % 2
            state[f"xcomp.xcell{r}_{c}.q"] = bit * vdd_v
            state[f"xcomp.xcell{r}_{c}.qb"] = (1 - bit) * vdd_v
    return state
