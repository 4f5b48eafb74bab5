"""Write the README's result table and docs/reproduction.md from a report: `python tools/readme_results.py
out/report.json`.

The few figures shown are kept in docs/results.json, so that the README can be regenerated and checked without a run.
Without an argument the kept record is used.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from system.report.files import read_report
from system.report.reproduction import page
from system.report.view import banner, summary_rows, verdict
from system.report.view_parts import Grid

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "docs" / "results.json"
README = ROOT / "README.md"
REPRODUCTION = ROOT / "docs" / "reproduction.md"
BEGIN, END = "<!-- results: begin", "<!-- results: end -->"


def kept_record(record: dict[str, Any]) -> dict[str, Any]:
    """The rows that the README shows, with where they come from."""
    estimate = record["estimate"]
    return {
        "created": record["created"], "status": record["status"], "banner": banner(record).details[0],
        "engine": estimate["origin"]["engine"], "pdk": estimate["origin"]["pdk"],
        "node_nm": estimate["macro"]["node_nm"], "vdd_v": estimate["macro"]["vdd_v"],
        "macros": estimate["chip"]["macros"], "policy": estimate["chip"]["policy"],
        "verdict": list(verdict(record)),
        "rows": [list(row) for row in summary_rows(record)],
    }


def result_text(kept: dict[str, Any]) -> str:
    """The Markdown between the markers."""
    from system.report.markdown import markdown_table

    head = ("figure", "what is charged", "paper", "ours", "range")
    grid = Grid(head, tuple(tuple(row) for row in kept["rows"]), "", "")
    return (f"{kept['banner']}; {kept['macros']:,} macros, {kept['policy']}, {kept['node_nm']} nm, "
            f"{kept['vdd_v']:g} V. "
            f"{kept['status'].capitalize()} tables of {kept['pdk']} by {kept['engine']}, {kept['created'][:10]}.\n\n"
            + "".join(f"- {sentence}\n" for sentence in kept["verdict"]) + "\n" + markdown_table(grid))


def replaced(readme: str, text: str) -> str:
    """The README with the part between its markers replaced."""
    start = readme.index("\n", readme.index(BEGIN)) + 1
    return readme[:start] + text + "\n" + readme[readme.index(END):]


def main(arguments: list[str]) -> int:
    if arguments:
        record = read_report(Path(arguments[0]))
        kept = kept_record(record)
        REPRODUCTION.write_text(page(record), encoding="utf-8")
        KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    else:
        kept = json.loads(KEPT.read_text(encoding="utf-8"))
    README.write_text(replaced(README.read_text(encoding="utf-8"), result_text(kept)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
