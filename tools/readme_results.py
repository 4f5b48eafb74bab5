"""The README's results, docs/results.json and docs/reproduction.md, recomputed from the shipped tables.

Run: python tools/readme_results.py [out/report.json]. No simulation and no training runs. What only a training run
knows, how dense bits were, is kept in docs/results.json; a report of `himc run` as the argument renews it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from charlib.units import format_si
from system.ancestor import AncestorOptions
from system.estimate import estimate
from system.options import EstimateOptions
from system.report.claims import claim_records
from system.report.files import read_report
from system.report.markdown import markdown_table
from system.report.record import SILICON_CLOCK, build_record, table_status
from system.report.reproduction import page
from system.report.simulate import shipped_tables
from system.report.view import banner, summary_rows, verdict
from system.report.view_parts import Grid

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "results.json"
README = ROOT / "README.md"
REPRODUCTION = ROOT / "docs" / "reproduction.md"
RESULTS, LIMITS = "results", "limits"
WHY = "figures are recomputed from the tables that travel with the package"
CAMPAIGN: Mapping[str, Any] = {"status": "shipped", "reason": WHY, "preset": "quick"}


def full_record(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The record behind all three files. kept: of docs/results.json; its date and its bit densities are used."""
    tables = shipped_tables(EstimateOptions().pdk)
    assert tables is not None
    seen = kept.get("activity", {})
    training = {"status": "not run", "reason": WHY} | ({"activity": {"forward": seen}} if seen else {})
    return build_record(EstimateOptions(), tables, None, tables, CAMPAIGN, training) | {"created": kept["created"]}


def short_record(kept: Mapping[str, Any]) -> dict[str, Any]:
    """As much of it as the README shows, in seconds: the design as asked, and the one at silicon's clock."""
    asked = estimate(EstimateOptions())
    slow = estimate(EstimateOptions(cycle_s=AncestorOptions.cycle_s))
    other = {"name": SILICON_CLOCK, "options": {"cycle_s": AncestorOptions.cycle_s}, "same_task": True,
             "imc": slow["imc"], "headline": slow["headline"]}
    return {"created": kept["created"], "estimate": asked, "alternatives": [other], "status": table_status(asked),
            "claims": claim_records(asked, [other]), "characterisation": {"campaign": CAMPAIGN}}


def figures(record: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers behind the README, unrounded."""
    document = record["estimate"]
    slow = next(other for other in record["alternatives"] if other["name"] == SILICON_CLOCK)
    scalars = ("energy_j_per_image", "time_s_per_image")
    return {
        "imc": {boundary: {key: value for key, value in part.items() if key.startswith(scalars)}
                for boundary, part in document["imc"].items()},
        "headline": document["headline"], "gpu_median": document["gpu_median"],
        "apart": {claim["name"]: claim["apart"] for claim in record["claims"] if claim.get("apart")},
        "clock_hz": document["macro"]["clock_hz"],
        "density_kb_per_mm2": document["macro"]["density_kb_per_mm2"],
        "density_kb_per_mm2_range": document["macro"]["density_kb_per_mm2_range"],
        "at_silicon_clock": {"time_s_per_image": slow["imc"]["system"]["time_s_per_image"],
                             "headline": slow["headline"]["system"]},
        "slowest_gpu_s": max(row["time_s_per_image"] for row in document["gpu"] if row["headline"]),
    }


def kept_record(record: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """What docs/results.json holds: rows as shown, the numbers behind them, and where they come from."""
    document = record["estimate"]
    return {
        "created": record["created"], "status": record["status"], "banner": banner(record).details[0],
        "engine": document["origin"]["engine"], "pdk": document["origin"]["pdk"],
        "node_nm": document["macro"]["node_nm"], "vdd_v": document["macro"]["vdd_v"],
        "macros": document["chip"]["macros"], "policy": document["chip"]["policy"],
        "verdict": list(verdict(record)), "rows": [list(row) for row in summary_rows(record)],
        "figures": figures(record) | {"ancestor_tops_per_w": kept["figures"]["ancestor_tops_per_w"]},
        "activity": kept.get("activity", {}), "activity_from": kept.get("activity_from", ""),
    }


def result_text(kept: Mapping[str, Any]) -> str:
    """The Markdown of the result."""
    head = ("figure", "what is charged", "paper", "ours", "range")
    grid = Grid(head, tuple(tuple(row) for row in kept["rows"]), "", "")
    return (f"{kept['banner']}; {kept['macros']:,} macros, {kept['policy']}, {kept['node_nm']} nm, "
            f"{kept['vdd_v']:g} V. Computed {kept['created'][:10]} from the {kept['status']} tables of {kept['pdk']} "
            f"by {kept['engine']}; nothing was simulated or trained again for it.\n\n"
            + "".join(f"- {sentence}\n" for sentence in kept["verdict"]) + "\n" + markdown_table(grid))


def limit_text(kept: Mapping[str, Any]) -> str:
    """The two limits that have figures of ours."""
    found = kept["figures"]
    low, high = found["ancestor_tops_per_w"]
    slow_s, gpu_s = found["at_silicon_clock"]["time_s_per_image"], found["slowest_gpu_s"]
    beside = "longer than on any" if slow_s > gpu_s else "no longer than on the slowest"
    return (f"- A chip's energy to better than an order of magnitude: of the INT8 ancestor the same circuits predict "
            f"{low:.1f} to {high:.1f}\n  TOPS/W where silicon measured 27.4 ([why](docs/ancestor.md)). That errs "
            "against the design; the clock errs for it.\n"
            f"- A chip's clock. Ours is what typical circuits allow, {format_si(found['clock_hz'], 'Hz')}; the "
            f"ancestor's silicon runs at 3 ns. With that clock an\n  image takes {format_si(slow_s, 's')}, {beside} "
            "headline GPU row; its two rows stand apart in the table, and the other\n  ranges leave them out.\n")


def replaced(readme: str, name: str, text: str) -> str:
    """The README with the part between one pair of markers replaced."""
    start = readme.index("\n", readme.index(f"<!-- {name}: begin")) + 1
    return f"{readme[:start]}{text.rstrip()}\n{readme[readme.index(f'<!-- {name}: end -->'):]}"


def readme_text(kept: Mapping[str, Any]) -> str:
    """The whole README."""
    text = replaced(README.read_text(encoding="utf-8"), RESULTS, result_text(kept))
    return replaced(text, LIMITS, limit_text(kept))


def committed() -> dict[str, Any]:
    """docs/results.json."""
    found: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


def texts(kept: Mapping[str, Any] | None = None) -> dict[Path, str]:
    """README, record and reproduction page, computed again. kept: in the place of the committed record."""
    kept = committed() if kept is None else kept
    found = {**kept, "figures": {"ancestor_tops_per_w": _ancestor().tops_per_w_span()}}
    record = full_record(found)
    now = kept_record(record, found)
    return {README: readme_text(now), KEPT: json.dumps(now, indent=1, ensure_ascii=False) + "\n",
            REPRODUCTION: page(record)}


def _ancestor() -> ModuleType:
    """tools/ancestor.py, whose range the README quotes."""
    spec = importlib.util.spec_from_file_location("ancestor_page", Path(__file__).with_name("ancestor.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    """Write all three; the date is today's where a figure moved."""
    kept = committed()
    if arguments:
        report = read_report(Path(arguments[0]))
        kept |= {"activity": report["training"].get("activity", {}).get("forward", {}),
                 "activity_from": report["created"]}
    found = texts(kept)
    if any(file.read_text(encoding="utf-8") != text for file, text in found.items()):
        found = texts(kept | {"created": datetime.now(UTC).isoformat(timespec="seconds")})
    for file, text in found.items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
