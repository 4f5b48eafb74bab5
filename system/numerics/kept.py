"""A compiled library in the cache, and when it may be run.

Loading a library runs its code, so one is loaded only where nobody but this user (or root) can have written it, and
where its bytes are those that were written: owner, permissions and a hash that lies beside it. Anything else, such as
a file planted in a shared cache or one cut short by a full disk, is compiled again in its place.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

#: write permission of anyone but the owner
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def usable_folder(folder: Path) -> str:
    """Make a folder that only this user writes to; why it cannot be one, or "" where it is."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            return "it is no folder"
        if found.st_uid == os.geteuid() and found.st_mode & _OTHERS:
            folder.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
            found = folder.lstat()
    except OSError as error:
        return error.strerror or str(error)
    return _not_mine(found)


def is_whole(library: Path) -> bool:
    """Whether the library was written by this user (or root), whole, and not changed since."""
    try:
        found = [path.lstat() for path in (library, _hash_of(library))]
        if any(not stat.S_ISREG(one.st_mode) or _not_mine(one) for one in found):
            return False
        return _hash_of(library).read_text(encoding="ascii") == _digest(library)
    except (OSError, ValueError):
        return False


def keep(made: Path, library: Path) -> None:
    """Move a library that was just compiled into its place, with its hash beside it."""
    made.chmod(0o700)
    digest = made.with_name(_hash_of(library).name)
    digest.write_text(_digest(made), encoding="ascii")
    digest.chmod(0o600)
    made.replace(library)
    digest.replace(_hash_of(library))


def _hash_of(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _not_mine(found: os.stat_result) -> str:
    """Why a file or folder is not this user's alone; "" where it is."""
    if found.st_uid not in (os.geteuid(), 0):
        return "another user owns it"
    return "others may write to it" if found.st_mode & _OTHERS else ""
