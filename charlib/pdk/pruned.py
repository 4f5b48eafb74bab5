"""The pruned cards of a corner, kept in the cache so that a library is resolved once.

Resolving sky130's library takes 0.25 to 0.5 s, more than a small campaign's simulations. The kept text is found by
the sources, what is wanted of them, and name, size and time of every file that was read; a confidential
kit's text is never kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from charlib.paths import cache_dir
from charlib.pdk.library import Library, Source, identifiers

#: raised whenever pruning changes what it keeps
_VERSION = 3


def pruned_cards(root: Path, sources: Sequence[Source], allow: Sequence[Path], names: Collection[str],
                 texts: Sequence[str], lengths_m: Sequence[float], *, keep: bool) -> str:
    """The cards that the devices `names` and the identifiers in `texts` reach, from the cache where they are."""
    wanted = json.dumps([_VERSION, str(root.resolve()), [[s.file, s.section] for s in sources],
                         [str(folder) for folder in allow], sorted(names), sorted(lengths_m),
                         [hashlib.sha256(text.encode()).hexdigest() for text in texts]])
    place = cache_dir() / "pruned" / f"{hashlib.sha256(wanted.encode()).hexdigest()[:32]}.json"
    if keep and (kept := _kept(place)) is not None:
        return kept
    library = Library(root, sources, allow)
    used = {word for text in texts for word in identifiers(text)}
    text = library.prune({*names, *(used & (library.subckts.keys() | library.models.keys()))}, lengths_m)
    if keep:
        _keep(place, text, list(library.files))
    return text


def _stamp(file: Path) -> list[Any]:
    found = file.stat()
    return [str(file), found.st_size, found.st_mtime_ns]


def _kept(place: Path) -> str | None:
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        if all(_stamp(Path(stamp[0])) == stamp for stamp in held["files"]):
            return str(held["text"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _keep(place: Path, text: str, files: Sequence[Path]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(f".{os.getpid()}.new")
    beside.write_text(json.dumps({"files": [_stamp(file) for file in files], "text": text}), encoding="utf-8")
    beside.replace(place)
