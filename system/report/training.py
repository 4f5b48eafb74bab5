"""The training's part of a run: digits under both arithmetics, kept by the content of what made it.

The key is a hash of the settings, of the code of `system.train` and `system.numerics`, and of torch's version: a
second run with the same key reads the kept curves, and any change of the arithmetic trains again.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from charlib.errors import HimcError
from system.report.files import to_json, write_files

KEY_DIGITS = 16
_CODE = ("system.train", "system.numerics")
#: settings -> {"fp32": {"loss": [...], "accuracy": [...]}, "imc": {...}, ...}
Trainer = Callable[[], Mapping[str, Any]]


def cannot_train() -> str | None:
    """Why no training is possible here, or None."""
    for module in ("torch", "sklearn"):
        if find_spec(module) is None:
            return f"{module} is not installed (run 'pip install hadamard-imc[train]', or 'make setup')"
    return None


def training_key() -> str:
    """Content key of the training run."""
    digest = hashlib.sha256()
    for package in _CODE:
        for file in sorted(resources.files(package).iterdir(), key=lambda f: f.name):
            if file.name.endswith(".py"):
                digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for name in ("torch", "scikit-learn"):
        digest.update(f"{name} {metadata.version(name)}".encode())
    return digest.hexdigest()[:KEY_DIGITS]


def _train() -> Mapping[str, Any]:
    """The run itself, imported only now: torch takes seconds to load."""
    result = importlib.import_module("system.train").train_digits()
    found: Mapping[str, Any] = result.to_json() if hasattr(result, "to_json") else result
    return found


def short_training(folder: Path, train: Trainer = _train) -> dict[str, Any]:
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
            raise HimcError(f"training: the {name} run gave no loss or no accuracy; run 'himc run' again")
    write_files(folder, {file.name: to_json(result)})
    return {**result, "status": "run", "reason": "", "key": key}


def _read(file: Path) -> dict[str, Any] | None:
    """A kept result; None where there is none or it is not whole, which only costs the training again."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and {"fp32", "imc"} <= data.keys() else None
