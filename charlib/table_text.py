"""How a table's file reads: JSON whose lists of numbers fill their lines, so that a person and diff can follow it."""

from __future__ import annotations

import json
from typing import Any


def table_text(data: Any) -> str:
    """The stored form as text, with a final newline."""
    return _compact_lists(json.dumps(data, indent=1, ensure_ascii=False)) + "\n"


def _compact_lists(text: str, width: int = 108) -> str:
    """Fill the one-item-a-line lists that `json.dumps(indent=1)` makes, so that a diff stays readable."""
    lines: list[str] = []
    pending = ""
    for line in text.splitlines():
        item = line.strip()
        is_item = item.rstrip(",")[-1:] not in "{}[]" and not _has_key(item)
        if is_item and len(pending) + len(item) < width:
            pending = f"{pending} {item}" if pending else "  " + item
            continue
        if pending:
            lines.append(pending)
            pending = ""
        if is_item:
            pending = "  " + item
        else:
            lines.append(line)
    return "\n".join([*lines, pending] if pending else lines)


def _has_key(item: str) -> bool:
    return item.startswith('"') and '": ' in item
