"""Arc tables out of pair tables: what libraries of timing and power need, without a campaign of its own.

A pair of states that differs in one input is an arc: its delay and ramp, its energy, and the charge of the pin that
moves. The tables that come out are those of bench "cell_arc".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from charlib.gates.block import CELLS, evaluate_cell
from charlib.netlist import netlist_ports
from charlib.table import Table, TableSet

#: 20-80 % share of a 0-100 % ramp
TRANSITION_OF_RAMP = 0.6
_EDGES = {1: "rise", 0: "fall"}
_POINT = {"corner": "", "temp_c": "°C", "vdd_v": "V"}
_GRID = {**_POINT, "arc": "", "slew_s": "s", "load_f": "F"}


def _single(states: str) -> tuple[int, str, str] | None:
    """(pin, before, after) of "010>011" where one input moves."""
    before, after = states.split(">")
    moved = [k for k, (p, q) in enumerate(zip(before, after, strict=True)) if p != q]
    return (moved[0], before, after) if len(moved) == 1 else None


def _arc(cell: str, pin: int, after: str, output: str = "", value: int = 0) -> str:
    """The label that bench "cell_arc" gives an arc."""
    names = netlist_ports(cell)[:CELLS[cell].inputs]
    others = " ".join(f"{name}={bit}" for k, (name, bit) in enumerate(zip(names, after, strict=True)) if k != pin)
    head = f"{cell} {names[pin]} {_EDGES[int(after[pin])]}" + (f" > {output} {_EDGES[value]}" if output else "")
    return f"{head} | {others or '-'}"


def _records(table: Table, axis: str) -> list[dict[str, Any]]:
    frame = table.to_frame().rename(columns={axis: "label"})
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def arcs_of_pairs(tables: TableSet) -> TableSet:
    """`arc_delay_s`, `arc_transition_s`, `arc_energy_j`, `pin_f` of pair tables, with `state_leakage_w` if there.

    BadInput where a pair table is missing.
    """
    found: dict[str, list[dict[str, Any]]] = {"delay": [], "transition": [], "energy": []}
    for kind, name, factor in (("delay", "pair_delay_s", 1.0), ("transition", "pair_ramp_s", TRANSITION_OF_RAMP)):
        for row in _records(tables[name], "out"):
            cell, states, output = row.pop("label").split()
            single = _single(states)
            assert single is not None  # delays are kept of single moves alone
            pin, _, after = single
            value = _output(cell, after, output)
            found[kind].append({**row, "arc": _arc(cell, pin, after, output, value), "value": row["value"] * factor})
    for row in _records(tables["pair_energy_j"], "pair"):
        cell, states = row.pop("label").split()
        single = _single(states)
        if single is not None:
            found["energy"].append({**row, "arc": _arc(cell, single[0], single[2])})
    origin, said = tables["pair_energy_j"].origin, dict(tables["pair_energy_j"].conventions)
    said["transition"] = "20 to 80 % of the supply"
    made = [Table.from_records(f"arc_{kind}_{unit.lower()}", unit, _GRID, found[kind], origin, said)
            for kind, unit in (("delay", "s"), ("transition", "s"), ("energy", "J"))]
    made.append(Table.from_records("pin_f", "F", {**_POINT, "pin": ""}, _pins(tables), origin, said))
    if "state_leakage_w" in tables:
        made.append(tables["state_leakage_w"])
    return TableSet(made, tables.where)


def _output(cell: str, after: str, output: str) -> int:
    outputs = netlist_ports(cell)[CELLS[cell].inputs:-2]
    return evaluate_cell(cell, *map(int, after))[outputs.index(output)]


def _pins(tables: TableSet) -> list[dict[str, Any]]:
    """Mean |charge| over a swing / VDD of each pin and edge, over states, slews and loads."""
    groups: dict[tuple[Any, ...], list[float]] = {}
    runs: dict[tuple[Any, ...], set[str]] = {}
    for row in _records(tables["pair_charge_c"], "pin"):
        cell, states, name = row["label"].split()
        single = _single(states)
        if single is None or netlist_ports(cell)[single[0]] != name:
            continue
        edge = _EDGES[int(single[2][single[0]])]
        key = row["corner"], row["temp_c"], row["vdd_v"], f"{cell} {name} {edge}"
        groups.setdefault(key, []).append(abs(row["value"]) / row["vdd_v"])
        runs.setdefault(key, set()).update(str(row["run"]).split(","))
    return [{"corner": key[0], "temp_c": key[1], "vdd_v": key[2], "pin": key[3], "value": float(np.mean(values)),
             "run": ",".join(sorted(runs[key]))} for key, values in groups.items()]
