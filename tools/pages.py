"""Every page that the code makes: write them all, or hold the committed ones against what it makes now.

Run: python tools/pages.py [--check] [NAME …]. A page's tool gives its files by `texts()`, which computes and writes
nothing, and writes them with their pictures by `main()`. No page here needs a simulator; what flat simulations stand
behind, the section on composed blocks, is `tools/composition.py`'s.
"""

from __future__ import annotations

import difflib
import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Page:
    """A page's tool. minutes: whether computing it takes so long that only validation does it."""

    tool: str
    minutes: bool = False


PAGES = {
    "ancestor": Page("ancestor"),
    "trend": Page("trend"),
    "scale": Page("scale"),
    "disagreement": Page("tool_disagreement"),
    "training": Page("training"),
    "readme": Page("readme_results", minutes=True),
    "choices": Page("choices", minutes=True),
}


def tool(name: str) -> ModuleType:
    """The page's module, from beside this file."""
    file = Path(__file__).with_name(f"{PAGES[name].tool}.py")
    spec = importlib.util.spec_from_file_location(f"page_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(name: str) -> list[str]:
    """Where the committed files differ from what the code makes now, as lines of a diff; none where they do not."""
    found: list[str] = []
    for file, text in tool(name).texts().items():
        there = file.read_text(encoding="utf-8") if file.exists() else ""
        found += difflib.unified_diff(there.splitlines(), text.splitlines(), f"{file.name}, committed",
                                      f"{file.name}, computed", lineterm="", n=0)
    return found


def main(arguments: list[str]) -> int:
    """Write or check; status 1 where a page differs, 2 for an unknown name."""
    check, names = "--check" in arguments, [word for word in arguments if word != "--check"]
    if unknown := [name for name in names if name not in PAGES]:
        print(f"pages: {', '.join(unknown)} not known; known are {', '.join(PAGES)} (and --check)", file=sys.stderr)
        return 2
    wrong = False
    for name in names or PAGES:
        begun = time.monotonic()
        if check:
            apart = differences(name)
            said = f"differs; run tools/pages.py {name}" if apart else "as committed"
            print("\n".join([f"{name}: {said}", *apart]))
            wrong |= bool(apart)
        else:
            write: Callable[..., object] = tool(name).main
            if PAGES[name].tool == "readme_results":
                write([])
            else:
                write()
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
