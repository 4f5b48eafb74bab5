"""Where things lie: the cache ($HIMC_CACHE, else the XDG cache), the store ($HIMC_DB), shipped tables."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from charlib.errors import BadInput


def cache_dir() -> Path:
    """The user's cache folder for PDK cards. Not created here."""
    explicit = os.environ.get("HIMC_CACHE")
    if explicit:
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hadamard-imc"


def store_path(explicit: Path | None = None) -> Path:
    """The campaign database: `--db`, else $HIMC_DB, else ./himc.sqlite."""
    if explicit is not None:
        return explicit
    return Path(os.environ.get("HIMC_DB") or "himc.sqlite")


def kits_with_tables() -> list[str]:
    """Kits whose tables travel with the package."""
    folder = Path(str(resources.files("charlib.data.tables")))
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.json")))


def shipped_tables_dir(pdk: str) -> Path:
    """The folder of the tables that travel with the package, one folder a PDK."""
    return Path(str(resources.files("charlib.data.tables"))) / pdk


def is_file(path: Path) -> bool:
    """Whether a file is there; no for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_folder(folder: Path) -> None:
    """BadInput where a folder cannot be made or written to; nothing is made."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "is a file" if not there.is_dir() else "cannot be written to"
        raise BadInput(f"out: '{folder}' is not possible, since {there} {why}; give another --out")
