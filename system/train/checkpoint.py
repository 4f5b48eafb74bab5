"""A training run's state in one file, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from charlib.errors import BadInput, HimcError

FORMAT = "himc-checkpoint-1"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside the file, then rename: a kill leaves the old one or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"format": FORMAT, **state}, part)
        os.replace(part, path)
    except OSError as error:
        raise HimcError(f"checkpoint: {path} cannot be written ({error.strerror}); give another --out") from error


def load(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote; tensors and plain data only, nothing in the file is run."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except FileNotFoundError:
        raise BadInput(f"--resume: {path} does not exist; start without --resume, or give the run's --out") from None
    except Exception as error:  # a torn file fails in as many ways as pickle has instructions
        raise BadInput(f"--resume: {path} is not a checkpoint ({type(error).__name__}); remove it and start again"
                       ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise BadInput(f"--resume: {path} is of another format than {FORMAT}; remove it and start again")
    return state
