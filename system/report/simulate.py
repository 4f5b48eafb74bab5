"""The circuits' part of a run: a campaign, its tables, and their comparison with the shipped ones.

Where there is no simulator or no process kit, nothing is simulated and the reason is kept: the report then rests
on the shipped tables and says so at every figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlib.advice import characterise_command
from charlib.benches import BENCHES
from charlib.campaign import (
    Campaign,
    Store,
    check_against_shipped,
    check_workers,
    compare_tables,
    default_workers,
    enumerate_jobs,
    fold_tables,
    run_campaign,
)
from charlib.campaign.forecast import announcement
from charlib.campaign.progress import campaign_progress
from charlib.compose.tables import with_blocks
from charlib.errors import BadInput
from charlib.paths import shipped_tables_dir
from charlib.pdk import KITS, installed, load_pdk
from charlib.spice.live import LiveEngine, library_path
from charlib.table import Table, TableSet, load_tables
from charlib.terminal import note, steps_bar
from system.design import check_node
from system.options import EstimateOptions

#: campaigns that fill what a report reads
PRESETS = ("quick", "full")
#: relative difference between fresh and shipped values that fails a run
TOLERANCE = 0.02


@dataclass(frozen=True)
class Characterised:
    """Fresh tables (None where nothing was simulated), shipped ones, and an account for the record."""

    fresh: TableSet | None
    shipped: TableSet | None
    account: dict[str, Any]

    @property
    def tables(self) -> TableSet:
        """Fresh where there are fresh ones, else shipped."""
        if self.fresh is not None:
            return self.fresh
        if self.shipped is None:
            reason = self.account.get("reason", "nothing was asked for")
            raise BadInput(f"tables: none were simulated, because {reason}, and none of this kit travel with the "
                           "package; mend that and run 'himc run' again")
        return self.shipped


def cannot_simulate(pdk: str) -> str | None:
    """Why no simulation is possible here, or None. BadInput for a kit that does not exist."""
    if library_path() is None:
        return "libngspice is not on this machine (run 'apt-get install -y libngspice0')"
    if pdk in KITS and pdk not in installed():
        return f"the process kit {pdk} is not in the cache (run 'himc pdk install {pdk}')"
    return None


def shipped_tables(pdk: str) -> TableSet | None:
    """The tables that travel with the package, or None."""
    folder = shipped_tables_dir(pdk)
    return load_tables(folder) if folder.is_dir() and any(folder.glob("*.json")) else None


def refuse_early(options: EstimateOptions, preset: str, jobs: int | None) -> None:
    """BadInput for what would only fail after minutes of simulation: an operating point outside the preset's."""
    if jobs is not None:
        check_workers(jobs)
    if preset not in PRESETS:
        raise BadInput(f"preset: '{preset}' is unknown; {' or '.join(PRESETS)} is allowed here, others are for 'himc "
                       "characterize'")
    check_node(options)
    campaign = _campaign(preset, options.pdk)
    for name, value, points in (("vdd_v", options.vdd_v, campaign.vdds_v),
                                ("temp_c", options.temp_c, campaign.temps_c)):
        if not min(points) <= value <= max(points):
            raise BadInput(f"{name}: preset '{preset}' characterises {options.pdk} at {min(points):g} to "
                           f"{max(points):g}, got {value:g}; ask inside, or run {_made(options)} and give its folder "
                           "to 'himc estimate --tables'")
    if options.corner not in campaign.corners:
        raise BadInput(f"corner: preset '{preset}' characterises {', '.join(campaign.corners)}, "
                       f"got '{options.corner}'; run {_made(options)} and give its folder to 'himc estimate "
                       "--tables'")
    reason = cannot_simulate(options.pdk)
    if reason is not None and shipped_tables(options.pdk) is None:
        raise BadInput(f"pdk: {reason}, and no tables of '{options.pdk}' travel with the package; install it, or "
                       "choose another kit ('himc pdk list')")


def _made(options: EstimateOptions) -> str:
    """The command that makes the tables of an operating point."""
    return characterise_command(options.pdk, corner=options.corner, temp_c=options.temp_c, vdd_v=options.vdd_v)


def _campaign(preset: str, pdk: str) -> Campaign:
    """The preset at the kit's own supplies. BadInput for a kit that does not exist."""
    nominal = KITS[pdk].nominal_vdd_v if pdk in KITS else load_pdk(pdk).nominal_vdd_v
    return Campaign.from_preset(preset, nominal_vdd_v=nominal)


def characterise(pdk: str, preset: str, db: Path, jobs: int | None, quiet: bool) -> Characterised:
    """Run the preset's campaign (only what the store lacks), fold it, and hold it against the shipped tables.

    Raises HimcError where a point has no result, or where fresh and shipped differ by more than `TOLERANCE`.
    """
    shipped = shipped_tables(pdk)
    reason = cannot_simulate(pdk)
    if reason is not None:
        return Characterised(None, shipped, {"status": "shipped", "reason": reason, "preset": preset})
    kit = load_pdk(pdk)
    points = enumerate_jobs(_campaign(preset, pdk), kit, BENCHES)
    with Store.open(db) as store:
        with campaign_progress(f"{preset} on {kit.name}", quiet=quiet) as on_result:
            tell = None if quiet else announcement(store, BENCHES, jobs or default_workers(), note)
            summary = run_campaign(points, store, kit, BENCHES, LiveEngine, workers=jobs, on_result=on_result,
                                   on_plan=tell, say=note)
        tables = fold_tables(store, summary.ids, kit, BENCHES).whole()
    with steps_bar("blocks of those cells", quiet=quiet) as on_point:
        tables = with_blocks(tables, kit, workers=jobs or default_workers(), on_point=on_point)
    fresh = TableSet(tables, "this run's tables")
    account: dict[str, Any] = {
        "status": "fresh", "preset": preset, "runs": summary.total, "simulated": summary.ran,
        "reused": summary.reused, "retried": summary.retried, "failed": len(summary.failures),
        "wall_s": summary.wall_s, "solver_s": summary.solver_s, "database": str(db.resolve()),
        "comparison": _comparison(tables, shipped),
    }
    return Characterised(fresh, shipped, account)


def _comparison(tables: tuple[Table, ...], shipped: TableSet | None) -> dict[str, Any]:
    """How far fresh and shipped values lie apart at common points; HimcError beyond the tolerance."""
    if shipped is None:
        return {"tables": 0, "tolerance": TOLERANCE, "worst": None, "note": "no tables are shipped for this kit"}
    named = {table.name: table for table in tables}
    check_against_shipped(named, shipped, TOLERANCE)
    apart = compare_tables(named, shipped, 0.0)
    worst = apart[0] if apart else None
    return {
        "tables": sum(name in shipped for name in named), "tolerance": TOLERANCE,
        "worst": None if worst is None else {"table": worst.table, "point": worst.point, "fresh": worst.fresh,
                                             "shipped": worst.shipped, "relative": worst.relative},
        "note": "",
    }
