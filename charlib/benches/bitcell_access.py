"""The 6T cell in its column: energy and delay of reads and writes.

One deck holds a column of `rows` real cells, bitline wires, precharge, write driver, and the wordline of a
64-column row behind a real driver. It plays: read 0, write 1, read 1, write 1 again, write 0, read 0, write 0
again, rest. Each read is checked on the bitlines, each write inside the cell, every unselected cell of the
column at the end, and the bitlines for a full precharge before each access.

Conventions. An access is precharge off, wordline pulse, precharge back on; reads let the bitline fall all
the way, as the compute array does. Energy is per access of one cell and its bitline pair: cells, precharge,
precharge driver, write driver, and 1/64 of the wordline driver, less the column's leakage at rest. Each is
the mean over data 0 and 1. Delays run from the wordline's 50 % at its far end, the worse of the two data.

Time step: 1/20 of the window unit; against a run at a tenth of that step (16 rows, tt 25 °C 0.8 V and ff -40 °C
0.8 V) energies differ by at most 0.4 %, delays by at most 0.3 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlib.benches.base import Point, Run, remembered
from charlib.benches.stimulus import expect, table_of, window_unit_s
from charlib.errors import BadInput, LogicError
from charlib.pdk.model import Pdk
from charlib.spice.deck import Deck, Energy, Extreme, Sample, Transient
from charlib.spice.engine import FloatArray, Waveforms
from charlib.spice.measure import crossings, evaluate
from charlib.spice.sources import dc, pwl
from charlib.table import Origin, Table
from charlib.units import MILLI

#: columns on the wordline: the ancestor's array
WORDLINE_COLUMNS = 64
SENSE_V = 100 * MILLI  #: bitline difference that a sense amplifier is given
RAIL_SHARE = 0.1  #: a full swing ends this share of VDD above ground; a restored line is within 1/5 of it
#: (operation, datum); the first read only brings the column into its steady state
SEQUENCE = (("warm_up", 0), ("write_flip", 1), ("read", 1), ("write_same", 1), ("write_flip", 0), ("read", 0),
            ("write_same", 0))
OPERATIONS = ("read", "write_flip", "write_same")
SUPPLIES = ("vdd", "vpre", "vpc", "vwr", "vwl")
#: times in window units within an access, for the 16-row column; the fall of the bitline grows with rows
PRECHARGE_OFF, WORDLINE_ON, PULSE, AFTER, RESTORE, REST = 0.5, 2.5, 6.0, 1.5, 5.0, 10.0
STEPS_A_UNIT = 20
RAMP_UNITS = 0.2
CONVENTIONS = {
    "energy": "supply energy of one access of one cell and its bitline pair, full-swing read, precharge restoring "
              "included, 1/64 of the wordline driver of a 64-column row, less leakage; mean over data 0 and 1",
    "delay": "from 50 % of the wordline at its far end; read_100mv to |BL - BLB| = 100 mV, read_full_swing to "
             "10 % of VDD on the falling bitline, write to the crossing of Q and QB; worse of data 0 and 1",
    "column": "other rows are real unselected cells, data alternating; bitlines of cell height x wire_f_per_m a row",
    "wires": "schematic with estimated wires",
}


@dataclass(frozen=True)
class AccessPoint(Point):
    """A column of `rows` cells."""

    rows: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.rows <= 256:
            raise BadInput(f"rows: must lie in 2..256, got {self.rows}; choose a column length in that range")


@dataclass(frozen=True)
class Schedule:
    """Times of one access, from its start."""

    off_s: float
    open_s: float
    close_s: float
    restore_s: float
    cycle_s: float
    ramp_s: float

    @property
    def stop_s(self) -> float:
        return (len(SEQUENCE) + REST / RESTORE) * self.cycle_s


def schedule(pdk: Pdk, point: AccessPoint) -> Schedule:
    """Windows for the point; too short ones fail the bench's own checks."""
    unit_s, longer = window_unit_s(pdk, point), max(1.0, 0.5 + point.rows / 32)
    open_s = WORDLINE_ON * unit_s
    close_s = open_s + PULSE * longer * unit_s
    restore_s = close_s + AFTER * unit_s
    return Schedule(PRECHARGE_OFF * unit_s, open_s, close_s, restore_s, restore_s + RESTORE * longer * unit_s,
                    RAMP_UNITS * unit_s)


def wordline(pdk: Pdk) -> str:
    """The compartment's driver on its own supply, its row selected, then the row's wire and other gates.

    The wire is one pi section with the accessed cell at its far end. Of the other 63 columns' gates, in each
    column one pass gate ends with both its ends low, the other with both high.
    """
    length_m = WORDLINE_COLUMNS * pdk.geometry.bitcell_width_m
    half_f = 0.5 * length_m * pdk.geometry.wire_f_per_m
    width = f"w='{WORDLINE_COLUMNS - 1}*1.5*wmin' l=lmin"
    return ("xwli wlin_n wlen vwl 0 inv drive=2\nxwl hold wlen wlnear vwl 0 wordline_driver\n"
            f"rwl wlnear wl {length_m * pdk.geometry.wire_ohm_per_m:.6g}\n"
            f"cwl1 wlnear 0 {half_f:.6g}\ncwl2 wl 0 {half_f:.6g}\n"
            f"xload0 0 wl 0 0 nmos_pg {width}\nxload1 hold wl hold 0 nmos_pg {width}\n")


def column(pdk: Pdk, point: AccessPoint) -> str:
    """Cell 0 on the wordline, the others unselected, and the bitlines' wire."""
    wire_f = point.rows * pdk.geometry.bitcell_height_m * pdk.geometry.wire_f_per_m
    text = "x0 bl blb wl vdd 0 sram_6t\n"
    text += "".join(f"x{row} bl blb 0 vdd 0 sram_6t\n" for row in range(1, point.rows))
    return text + f"cbl bl 0 {wire_f:.6g}\ncblb blb 0 {wire_f:.6g}\n"


class BitcellAccess:
    """Bench "bitcell_access"; see the module's text."""

    kind = "bitcell_access"
    point_type = AccessPoint

    def grid(self, preset: str) -> Iterable[dict[str, Any]]:
        return ({"rows": 16},)

    def estimated_cost_s(self, point: AccessPoint) -> float:
        return 0.1 * point.rows

    def _stimulus(self, pdk: Pdk, point: AccessPoint) -> str:
        plan, v = schedule(pdk, point), point.vdd_v
        waves: dict[str, list[tuple[float, float]]] = {"pcin": [(0.0, v)], "wlin_n": [(0.0, v)],
                                                       "wen_n": [(0.0, v)], "d": [(0.0, 0.0)]}

        def move(name: str, at_s: float, volt: float) -> None:
            last = waves[name][-1][1]
            if last != volt:
                waves[name] += [(at_s, last), (at_s + plan.ramp_s, volt)]

        for k, (operation, datum) in enumerate(SEQUENCE):
            begin_s = k * plan.cycle_s
            move("pcin", begin_s + plan.off_s, 0.0)
            move("wlin_n", begin_s + plan.open_s, 0.0)
            move("wlin_n", begin_s + plan.close_s, v)
            move("pcin", begin_s + plan.restore_s, v)
            if operation.startswith("write"):
                move("d", begin_s + 0.1 * plan.off_s, datum * v)
                move("wen_n", begin_s + 2 * plan.off_s, 0.0)
                move("wen_n", begin_s + 0.5 * (plan.close_s + plan.restore_s), v)
        return "".join(pwl(name, name, points) for name, points in waves.items())

    @remembered
    def deck(self, pdk: Pdk, point: AccessPoint) -> Deck:
        pdk.check(point.corner, point.vdd_v, point.temp_c)
        plan, v = schedule(pdk, point), point.vdd_v
        drive = max(1.0, point.rows / 16)
        parts = pdk.subckts("sram_6t", "precharge", "write_driver", "wordline_driver", "inv")
        body = pdk.header(point.corner) + parts
        body += "".join(dc(name[1:], "vdd" if name == "vdd" else name, v) for name in SUPPLIES)
        body += dc("hold", "hold", v) + self._stimulus(pdk, point) + wordline(pdk) + column(pdk, point)
        body += (f"xpcd pcin pcb vpc 0 inv drive={2 * drive:g}\nxpre bl blb pcb vpre precharge drive={drive:g}\n"
                 f"xwen wen_n wen vwr 0 inv drive=2\nxwd d wen bl blb vwr 0 write_driver drive={drive:g}\n")
        initial = {"x0.q": 0.0, "x0.qb": v}
        for row in range(1, point.rows):
            initial |= {f"x{row}.q": v * (row % 2), f"x{row}.qb": v * (1 - row % 2)}
        unit_s = window_unit_s(pdk, point)
        return Deck(f"bitcell access, {point.rows} rows", body, point.temp_c,
                    Transient(unit_s / 20, plan.stop_s, unit_s / STEPS_A_UNIT), self._measures(point, plan),
                    save=("v(bl)", "v(blb)", "v(wl)", "v(x0.q)", "v(x0.qb)"), initial=initial)

    def _measures(self, point: AccessPoint, plan: Schedule) -> tuple[Energy | Sample | Extreme, ...]:
        measures: list[Energy | Sample | Extreme] = []
        for k in range(1, len(SEQUENCE)):
            begin_s, end_s = k * plan.cycle_s, (k + 1) * plan.cycle_s
            measures += [Energy(f"e{k}_{name}", name, point.vdd_v, begin_s, end_s) for name in SUPPLIES]
            measures += [Sample(f"{net}{k}", net, begin_s) for net in ("bl", "blb")]
            measures += [Extreme(f"{net}{k}_low", net, "min", begin_s, end_s) for net in ("bl", "blb")]
            measures += [Sample(f"{net}{k}", f"x0.{net}", end_s) for net in ("q", "qb")]
        begin_s = len(SEQUENCE) * plan.cycle_s
        rest_s = plan.stop_s - begin_s
        measures += [Energy(f"rest_{name}", name, point.vdd_v, begin_s + 0.5 * rest_s, plan.stop_s)
                     for name in SUPPLIES]
        measures += [Sample(f"idle{row}", f"x{row}.q", plan.stop_s) for row in range(1, point.rows)]
        return tuple(measures)

    def measure(self, pdk: Pdk, point: AccessPoint, waves: Waveforms) -> dict[str, float]:
        deck, plan = self.deck(pdk, point), schedule(pdk, point)
        raw = evaluate(deck.measures, waves)
        self._check(point, raw, deck, waves)
        rest_s = 0.5 * (plan.stop_s - len(SEQUENCE) * plan.cycle_s)
        result: dict[str, float] = {}
        for operation in OPERATIONS:
            chosen = [k for k, (name, _) in enumerate(SEQUENCE) if name == operation]
            lines = {name: sum(raw[f"e{k}_{name}"] for k in chosen) / len(chosen)
                     - raw[f"rest_{name}"] / rest_s * plan.cycle_s for name in SUPPLIES}
            lines["vwl"] /= WORDLINE_COLUMNS
            result |= {f"{operation}_{name}_j": value for name, value in lines.items()}
            result[f"{operation}_j"] = sum(lines.values())
        return {**result, **self._delays(point, plan, waves), "e1_vpre": raw["e1_vpre"]}

    def _check(self, point: AccessPoint, raw: dict[str, float], deck: Deck, waves: Waveforms) -> None:
        v = point.vdd_v
        for k, (operation, datum) in enumerate(SEQUENCE[1:], start=1):
            where = f"access {k} ({operation} {datum})"
            for net in ("bl", "blb"):
                if raw[f"{net}{k}"] < (1 - RAIL_SHARE / 5) * v:
                    raise LogicError(f"{where}: v({net}) starts at {raw[f'{net}{k}']:.3f} V, not precharged to "
                                     f"{v:g} V", deck.text(), "\n".join(waves.log[-20:]))
            low = tuple(raw[f"{net}{k}_low"] < RAIL_SHARE * v for net in ("bl", "blb"))
            expect(f"{where}: bitlines pulled low", low, (datum == 0, datum == 1), deck, waves)
            high = tuple(raw[f"{net}{k}"] > (1 - RAIL_SHARE) * v for net in ("q", "qb"))
            expect(f"{where}: cell sides high at the end", high, (datum == 1, datum == 0), deck, waves)
        for row in range(1, point.rows):
            expect(f"unselected row {row}", int(raw[f"idle{row}"] > v / 2), row % 2, deck, waves)

    def _delays(self, point: AccessPoint, plan: Schedule, waves: Waveforms) -> dict[str, float]:
        found: dict[str, list[float]] = {"read_100mv": [], "read_full_swing": [], "write": []}
        wl, q, qb = (waves.signal(f"v({net})") for net in ("wl", "x0.q", "x0.qb"))
        bl, blb = waves.signal("v(bl)"), waves.signal("v(blb)")
        for k, (operation, datum) in enumerate(SEQUENCE):
            def after_s(values: FloatArray, level: float, begin_s: float = k * plan.cycle_s) -> float:
                times = crossings(waves.axis, values, level, "rise")
                inside = times[(times > begin_s) & (times < begin_s + plan.cycle_s)]
                if len(inside) == 0:
                    raise LogicError(f"bitcell access at {begin_s:.3g} s: a signal never crosses {level:.3g} V")
                return float(inside[0])

            open_s = after_s(wl, point.vdd_v / 2)
            if operation == "read":
                found["read_100mv"].append(after_s(np.abs(bl - blb), SENSE_V) - open_s)
                found["read_full_swing"].append(
                    after_s(-(blb if datum else bl), -RAIL_SHARE * point.vdd_v) - open_s)
            elif operation == "write_flip":
                found["write"].append(after_s(q - qb if datum else qb - q, 0.0) - open_s)
        return {f"{name}_s": max(values) for name, values in found.items()}

    def fold(self, runs: Sequence[Run], origin: Origin) -> list[Table]:
        def table(name: str, unit: str, suffix: str, operations: Sequence[str]) -> Table:
            return table_of(name, unit, {"rows": "", "operation": ""}, runs, origin, lambda run: [
                {"rows": run.point.rows, "operation": operation, "value": run.measures[f"{operation}{suffix}"]}
                for operation in operations], CONVENTIONS)

        return [table("bitcell_energy_j", "J", "_j", OPERATIONS),
                table("bitcell_delay_s", "s", "_s", ("read_100mv", "read_full_swing", "write"))]


BENCH = BitcellAccess()
