"""The same cells by us and by the characterisers on PyPI: seconds, and how far the values differ.

Each peer gets a virtual environment of its own in the cache, made on the first run. Every run starts from nothing (a
new process, an empty folder, an empty database) and its whole wall time counts: ours is the median of three, a peer's
the fastest of up to three. Netlist, cards, supply, temperature, ramps (0 to 100 %), loads and thresholds (delay 50 %,
transition 20 to 80 %) are the same for all. lctime runs twice, at its default step of 10 ps and at 1 ps.

Run: python benchmarks/peers.py [CASE …]. The last line is one JSON object: tool -> cell -> seconds, disagreement
(largest relative difference of a delay from ours), the same for transition, capacitance and energy, and memory; null
where a tool cannot do it or gives no such value, with the reason above.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.peers_cases import CASES, Case
from benchmarks.peers_tools import Timed, run_charlib, run_lctime, run_ours
from benchmarks.peers_values import QUANTITIES, Values, disagreements, of_charlib, of_lctime, ours
from charlib.errors import BadInput, HimcError
from charlib.pdk import Pdk, installed, load_pdk
from charlib.table import TableSet
from charlib.units import PICO

OURS = "hadamard_imc"
FINE_STEP_S = 1 * PICO
#: tool -> (how to run it, how to read its values, in whose conventions ours are compared)
PEERS: Mapping[str, tuple[Callable[[Case, Pdk], tuple[Timed, str]], Callable[[str, Case], Values], str]] = {
    "charlib": (run_charlib, of_charlib, "charlib"),
    "lctime": (lambda case, pdk: run_lctime(case, pdk, None), of_lctime, "lctime"),
    "lctime_1ps": (lambda case, pdk: run_lctime(case, pdk, FINE_STEP_S), of_lctime, "lctime"),
}
NOTES = """CharLib 1.0.0 is on PyPI's PySpice with a few lines of ours for a fork that PyPI lacks. It gives no power;
its capacitance is of small signals, lctime's of a constant current from 20 to 80 %, ours the charge of a full swing.
A peer loads only the output it measures; ours loads all. lctime's energy is a mean over unequal time steps and holds
the input's energy; ours is an integral of the supply's without it. Compared is a cycle of both edges."""


def row(timing: Timed | None, differ: Mapping[str, float | None]) -> dict[str, Any]:
    """One tool on one cell, as the JSON object has it."""
    return {"seconds": timing and round(timing.seconds, 3),
            "disagreement": _rounded(differ.get("delay")),
            **{f"{name}_disagreement": _rounded(differ.get(name)) for name in QUANTITIES if name != "delay"},
            "peak_mb": timing and round(timing.peak_mb, 1),
            "runs_s": [round(run.wall_s, 3) for run in timing.runs] if timing else []}


def line(name: str, values: Mapping[str, Any], ratio: float | None, remark: str = "") -> str:
    """The same for people."""
    shares = [values[key] for key in ("disagreement", *(f"{name}_disagreement" for name in QUANTITIES[1:]))]
    cells = [_number(values["seconds"], "8.2f"), _number(ratio, "7.1f"), _number(values["peak_mb"], "7.0f"),
             *(_number(share, "11.1%") for share in shares)]
    return f"  {name:14}{''.join(cells)}  {remark}".rstrip()


def case_rows(case: Case) -> dict[str, dict[str, Any]]:
    """Tool -> row, printed as it comes. A tool that cannot has nulls and its reason on the line."""
    print(f"\n{case.name}: {case.kit}, {case.vdd_v:g} V, {len(case.slews_s)}×{len(case.loads_f)}", flush=True)
    nothing: dict[str, Any] = row(None, {})
    if case.kit not in installed():
        print(f"  {case.kit} is not installed; run 'himc pdk install {case.kit}'")
        return dict.fromkeys((OURS, *PEERS), nothing)
    pdk = load_pdk(case.kit)
    timing, first_s, tables = run_ours(case)
    rows = {OURS: row(timing, dict.fromkeys(QUANTITIES, 0.0)) | {"first_seconds": round(first_s, 3)}}
    print(line(OURS, rows[OURS], 1.0, f"first ever, nothing cached: {first_s:.2f} s"), flush=True)
    for name, (run, read, conventions) in PEERS.items():
        rows[name] = peer_row(name, case, partial(run, case, pdk), read, conventions, tables, timing.seconds)
    return rows


def peer_row(name: str, case: Case, run: Callable[[], tuple[Timed, str]], read: Callable[[str, Case], Values],
             conventions: str, tables: TableSet, ours_s: float) -> dict[str, Any]:
    """A peer's row, printed; nulls where it fails."""
    try:
        timing, text = run()
        values = row(timing, disagreements(read(text, case), ours(tables, case, conventions)))
    except (HimcError, OSError) as error:
        values = row(None, {})
        print(line(name, values, None, f"no result: {error}"), flush=True)
        return values
    print(line(name, values, timing.seconds / ours_s), flush=True)
    return values


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _number(value: float | None, form: str) -> str:
    return f"{'-':>{form.partition('.')[0]}}" if value is None else f"{value:{form}}"


def main(names: list[str]) -> int:
    try:
        known = {case.name: case for case in CASES}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise BadInput(f"case: '{unknown[0]}' is unknown; known are {', '.join(known)}")
        print(f"  {'':14}{'seconds':>8}{'/ ours':>7}{'MB':>7}" + "".join(f"{name:>11}" for name in QUANTITIES)
              + "   (largest difference from ours)")
        result: dict[str, dict[str, Any]] = {tool: {} for tool in (OURS, *PEERS)}
        for name in names or known:
            for tool, values in case_rows(known[name]).items():
                result[tool][name] = values
    except HimcError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"\n{NOTES}")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
