"""Commands that errors recommend: complete, so that pasting one makes what is missing and nothing else.

`himc characterize` alone characterises the default kit at its default points. What is advised therefore names the
kit, the bench, the corner, the temperature and the supply of what is missing.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

#: what to do about a hole; the command that made the table knows its kit, grid and folder
RETRY = "run the campaign that made it again, with --retry-failed"
_CELLS = ("cell", "cell_leakage", "cell_pair", "cell_pulse", "flip_flop")
#: begin of a table's name -> the benches that it is made of; the longest that fits counts
MAKERS: Mapping[str, Sequence[str]] = {
    "adder_tree": ("adder_tree",), "block_cell_count": ("adder_tree",),
    "arc": ("cell_arc",), "pin_f": ("cell_arc",),
    "bitcell_energy": ("bitcell_access",), "bitcell_delay": ("bitcell_access",),
    "bitcell_leakage": ("bitcell_leakage",), "bitcell_margin": ("bitcell_snm", "bitcell_write_margin"),
    "bitcell_mismatch": ("bitcell_mismatch",), "bitcell_fail": ("bitcell_mismatch",),
    "block": _CELLS, "integer": _CELLS, "composed": _CELLS, "clock_tree": ("clock_leaf",),
    "cell": ("cell",), "cell_leakage": ("cell_leakage",), "state_leakage": ("cell_leakage",),
    "compartment": ("compartment",), "compartment_mismatch": ("compartment_mismatch",),
    "dff": ("flip_flop",), "dff_leakage": ("cell_leakage",),
    "pair": ("cell_pair",), "pulse": ("cell_pulse",), "shift_accumulator": ("shift_accumulator",),
}
#: benches whose grid another preset than the default one holds
_PRESETS: Mapping[str, str] = {"cell_arc": "full", "bitcell_mismatch": "mismatch", "compartment_mismatch": "mismatch"}


def makers(tables: Sequence[str]) -> tuple[str, ...]:
    """Benches that these tables are made of; none where one of them is of no bench."""
    found: list[str] = []
    for table in tables:
        begin = max((name for name in MAKERS if table.startswith(name)), key=len, default="")
        if not begin:
            return ()
        found += MAKERS[begin]
    return tuple(dict.fromkeys(found))


def characterise_command(pdk: str, *, tables: Sequence[str] = (), corner: str = "", temp_c: float | None = None,
                         vdd_v: float | None = None, out: str = "") -> str:
    """The command in quotes that makes these tables of a kit at an operating point; no table: all of them."""
    benches = makers(tables)
    words = ["himc", "characterize", "--pdk", pdk]
    if preset := next((_PRESETS[bench] for bench in benches if bench in _PRESETS), ""):
        words += ["--preset", preset]
    for bench in benches:
        words += ["--bench", bench]
    words += ["--corner", corner] if corner else []
    words += ["--temp-c", f"{temp_c:g}"] if temp_c is not None else []
    words += ["--vdd-v", f"{vdd_v:g}"] if vdd_v is not None else []
    words += ["--out", out] if out else []
    return f"'{shlex.join(words)}'"
