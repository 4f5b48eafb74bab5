"""Files of a report: read one with clear errors, write several so that a failure leaves the old ones.

Everything is rendered in memory first; then each file goes to a temporary name beside its target and is renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from charlib.errors import BadInput, HimcError
from charlib.table import Table, save_tables
from system.estimate import validate

REPORT_NAME = "report.json"
TABLES_NAME = "tables"


def read_report(path: Path) -> dict[str, Any]:
    """A report's JSON; BadInput naming the file where it is missing or is something else."""
    if path.is_dir():
        path = path / REPORT_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"report: {path} does not exist; run 'himc run --out {path.parent}'") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"report: {path} cannot be read as JSON ({error}); run its 'himc run' again") from error
    if not isinstance(data, dict) or "estimate" not in data:
        raise BadInput(f"report: {path} holds no estimate; give the report.json that 'himc run' wrote")
    return data


def read_drawable(path: Path) -> dict[str, Any]:
    """:func:`read_report`, of this version; BadInput naming what another version's lacks."""
    data = read_report(path)
    try:
        validate(data, "report")
        validate(data["estimate"])
    except HimcError as error:
        why = " ".join(str(error).split())[:200]
        raise BadInput(f"report: {report_path(path)} is of another version ({why}); run its 'himc run' again, it "
                       "reuses what is simulated") from None
    return data


def read_traceable(path: Path) -> dict[str, Any]:
    """A report's JSON, or an estimate's (of `himc estimate --json`) in a report's place."""
    file = report_path(path)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return read_report(path)
    if isinstance(data, dict) and "imc" in data and "origin" in data:
        return {"estimate": data}
    return read_report(path)


def report_path(path: Path) -> Path:
    """The file itself where a folder was given."""
    return path / REPORT_NAME if path.is_dir() else path


def prepare_folder(folder: Path) -> None:
    """Make the folder and prove that it can be written to, before anything long starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".himc.{os.getpid()}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise BadInput(f"out: {folder} cannot be written to ({error.strerror}); give another --out") from error


def to_json(document: Mapping[str, Any]) -> str:
    """The document as text; no NaN is let through."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write all files or none: names may hold a sub-folder, none leads out of the folder. HimcError where the disk
    refuses, BadInput for such a name."""
    temporary: list[tuple[Path, Path]] = []
    for name in files:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise BadInput(f"out: a file named {name!r} would lie outside {folder}; the report is not ours")
    try:
        for name, content in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            temporary.append((beside, target))
            beside.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        for beside, target in temporary:
            beside.replace(target)
    except OSError as error:
        raise HimcError(f"out: {folder} cannot be written ({error.strerror}); the old files were left") from error
    finally:
        for beside, _ in temporary:
            beside.unlink(missing_ok=True)


def replace_tables(folder: Path, tables: Sequence[Table]) -> None:
    """Put a whole new set of tables in the place of the old one, by two renames."""
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        save_tables(fresh, tables)
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise HimcError(f"out: {folder} cannot be written ({error.strerror}); the old tables were left") from error
    finally:
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
