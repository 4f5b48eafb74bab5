"""The pruned cards of a corner, kept in the cache so that a library is resolved once.

Resolving sky130's library takes 0.25 to 0.5 s, more than a small campaign's simulations. The kept text is found by
the sources, what is wanted of them, and name and hash of every file that was read, since a card can change under the
same size and time; a confidential kit's text is never kept. What is kept carries a hash of its own, and is screened
as a card is: the cache may be shared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from charlib.errors import BadInput
from charlib.paths import cache_dir
from charlib.pdk.library import Library, Source, identifiers
from charlib.screen_rules import judge

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
        with contextlib.suppress(OSError):  # of a cache that cannot be written to: the library is resolved each time
            _keep(place, text, list(library.files))
    return text


def _stamp(file: Path) -> list[str]:
    return [str(file), hashlib.sha256(file.read_bytes()).hexdigest()]


def _seal(files: Sequence[Sequence[str]], text: str) -> str:
    return hashlib.sha256(json.dumps([files, text]).encode()).hexdigest()


def _kept(place: Path) -> str | None:
    try:
        held = json.loads(place.read_text(encoding="utf-8"))
        files, text = held["files"], held["text"]
        if held["sha256"] != _seal(files, text) or any(_stamp(Path(stamp[0])) != stamp for stamp in files):
            return None
        judge(text, place.name)
    except (OSError, ValueError, LookupError, TypeError, RecursionError, BadInput):
        return None
    return str(text)


def _keep(place: Path, text: str, files: Sequence[Path]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(f".{os.getpid()}.new")
    stamps = [_stamp(file) for file in files]
    beside.write_text(json.dumps({"files": stamps, "text": text, "sha256": _seal(stamps, text)}), encoding="utf-8")
    beside.replace(place)
