"""The training's part of a run: digits under both arithmetics, kept by the content of what made it.

The key is a hash of the settings, of the code of `system.train` and `system.numerics`, and of torch's version: a
second run with the same key reads the kept curves, and any change of the arithmetic trains again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from charlib.errors import HimcError
from charlib.terminal import note
from system.report.files import to_json, write_files

KEY_DIGITS = 16
_CODE = ("system.train", "system.numerics")
#: settings -> {"fp32": {"loss": [...], "accuracy": [...]}, "imc": {...}, ...}
Trainer = Callable[[], Mapping[str, Any]]


def cannot_train() -> str | None:
    """Why no training is possible here, or None."""
    for module in ("torch", "sklearn"):
        if find_spec(module) is None:
            return f"{module} is not installed (run 'pip install \"hadamard-imc[train]\"', or 'make setup')"
    return None


def training_key() -> str:
    """Content key of the training run."""
    digest = hashlib.sha256()
    for package in _CODE:
        for file in sorted(resources.files(package).iterdir(), key=lambda f: f.name):
            if file.name.endswith((".py", ".cpp", ".h")):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name in ("torch", "scikit-learn"):
        digest.update(f"{name} {metadata.version(name)}".encode())
    return digest.hexdigest()[:KEY_DIGITS]


def train_with_progress(quiet: bool = False) -> Mapping[str, Any]:
    """The run itself; torch is imported only now, since it takes seconds to load.

    Torch gets one thread unless the user says otherwise: its waiting threads cost a network of this size far more
    than they save (a step of 10 ms took 3 s on two busy cores). The array kernels use every core all the same.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from system.numerics.chosen import kernels
    from system.train import train_digits

    note(str(kernels()))
    columns = (TextColumn("training on digits, {task.description}"), BarColumn(), TextColumn("{task.completed} "
                                                                                             "steps"),
               TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        tasks = {}

        def progress(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done)

        found: Mapping[str, Any] = train_digits(progress=progress).to_json()
    return found


def short_training(folder: Path, train: Trainer = train_with_progress) -> dict[str, Any]:
    """Train, or read what an earlier run with the same key left in `folder`.

    Returns {"status": "run" | "cached" | "not run", "reason", "key", "fp32", "imc", ...}.
    """
    reason = cannot_train()
    if reason is not None:
        return {"status": "not run", "reason": reason}
    key = training_key()
    file = folder / f"training-{key}.json"
    kept = _read(file)
    if kept is not None:
        return {**kept, "status": "cached", "reason": "", "key": key}
    result = dict(train())
    for name in ("fp32", "imc"):
        if not result.get(name, {}).get("loss") or not result[name].get("accuracy"):
            raise HimcError(f"training: the {name} run gave no loss or no accuracy; run the same 'himc run' again")
    write_files(folder, {file.name: to_json(result)})
    return {**result, "status": "run", "reason": "", "key": key}


def _read(file: Path) -> dict[str, Any] | None:
    """A kept result; None where there is none or it is not whole, which only costs the training again."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and {"fp32", "imc"} <= data.keys() else None
