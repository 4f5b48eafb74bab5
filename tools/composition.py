"""Composed blocks against flat SPICE, for docs/validation.md: run the campaigns, compare, rewrite the section.

Every run is kept in the database ($HIMC_DB or ./himc.sqlite), so a second call only compares. Ends with status 1
where a bound does not hold, or where --check finds the section to be another. Run: python tools/composition.py
[--check] [kit …]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from charlib.benches import BENCHES
from charlib.benches.block_flat import BENCH, BlockFlatPoint
from charlib.campaign import Campaign, Job, Store, default_workers, enumerate_jobs, fold_tables, run_campaign
from charlib.campaign.progress import campaign_progress
from charlib.compose.judge import Verdict, bounds_sentence, broken, judge, markdown
from charlib.compose.library import cell_library
from charlib.compose.tables import surroundings
from charlib.gates.catalogue import JUDGED, driven, named_block
from charlib.gates.recorded import RECORDED
from charlib.paths import store_path
from charlib.pdk import Pdk, load_pdk
from charlib.spice.live import LiveEngine
from charlib.table import TableSet

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "validation.md"
BEGIN, END = "<!-- composition: begin -->", "<!-- composition: end -->"
#: kit -> supply in V; the first is that of the default estimate
KITS = {"freepdk45": 0.8, "sky130": 1.8}
#: cells up to which a block runs all of its vectors
SMALL = 80


def points(vdd_v: float) -> Iterator[BlockFlatPoint]:
    """Blocks × operands."""
    for block in JUDGED:
        small = len(driven(named_block(block)).instances) <= SMALL
        yield BlockFlatPoint("tt", 25.0, vdd_v, block, 64 if small else 32)
        for operands in RECORDED:
            yield BlockFlatPoint("tt", 25.0, vdd_v, block, 64 if small else 24, operands)


def verdicts(kit: Pdk, vdd_v: float, store: Store) -> list[Verdict]:
    """Run what the store lacks, and compare."""
    cells = Campaign("quick", ("tt",), (25.0,), (vdd_v,), ("cell_pair", "cell_pulse"))
    jobs = [*enumerate_jobs(cells, kit, BENCHES), *(Job(BENCH.kind, point) for point in points(vdd_v))]
    with campaign_progress(f"composition on {kit.name}") as on_result:
        summary = run_campaign(jobs, store, kit, BENCHES, LiveEngine, workers=default_workers(), on_result=on_result)
    tables = TableSet(fold_tables(store, {job: run for job, run in summary.ids.items() if job.kind != BENCH.kind},
                                  kit, BENCHES).whole())
    library = cell_library(tables, corner="tt", temp_c=25.0, vdd_v=vdd_v)
    around = surroundings(kit.geometry, kit.unit_s)
    rows = store.rows(summary.ids[job] for job in jobs if job.kind == BENCH.kind)
    return [judge(job.point.block, job.point.operands, BENCH.vectors(job.point), rows[summary.ids[job]].measures,
                  library, around.loads, around.input_slew_s)
            for job in jobs if isinstance(job.point, BlockFlatPoint)]


def main(arguments: list[str]) -> int:
    """Compare on each kit; rewrite the document's section, or with --check hold it against what is found."""
    check = "--check" in arguments
    kits = [word for word in arguments if word != "--check"] or list(KITS)
    parts, failures = [f"{bounds_sentence()}\n"], []
    with Store.open(store_path()) as store:
        for name in kits:
            found = verdicts(load_pdk(name), KITS[name], store)
            parts.append(f"### {name}, {KITS[name]:g} V, tt, 25 °C\n\n{markdown(found)}")
            failures += [f"{name}: {what}" for what in broken(found)]
            print(parts[-1])
    if set(kits) == set(KITS):
        text = DOCUMENT.read_text(encoding="utf-8")
        now = section(text, "\n".join(parts))
        if check and now != text:
            failures.append(f"{DOCUMENT.name}: the section differs from what is found; run tools/composition.py")
        elif not check:
            DOCUMENT.write_text(now, encoding="utf-8")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def section(text: str, part: str) -> str:
    """The document with the part between its markers replaced."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{part}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
