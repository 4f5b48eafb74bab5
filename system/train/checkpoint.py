"""A training run's state in one file, written whole or not at all, below a line with its checksum.

torch does not check the bytes of a tensor that it loads, so one flipped bit would train on in silence; the checksum
is of every byte that follows it.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from charlib.errors import BadInput, HimcError

FORMAT = "himc-checkpoint-2"
_AGAIN = "remove it and start again without --resume"


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside the file, then rename: a kill leaves the old one or the new one."""
    part, made = path.with_name(path.name + ".part"), io.BytesIO()
    torch.save(state, made)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(_heading(made.getbuffer()))
            file.write(made.getbuffer())
        os.replace(part, path)
    except OSError as error:
        raise HimcError(f"checkpoint: {path} cannot be written ({error.strerror}); give another --out") from error


def load(path: Path) -> dict[str, Any]:
    """What :func:`save` wrote; tensors and plain data only, nothing in the file is run."""
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"--resume: {path} does not exist; start without --resume, or give the run's --out") from None
    except OSError as error:
        raise BadInput(f"--resume: {path} cannot be read ({error.strerror}); {_AGAIN}") from None
    heading, _, body = found.partition(b"\n")
    if not heading.startswith(FORMAT.encode()):
        what = "an older checkpoint without a checksum" if found.startswith(b"PK") else "not a checkpoint"
        raise BadInput(f"--resume: {path} is {what}, where the format {FORMAT} is needed; {_AGAIN}")
    if heading + b"\n" != _heading(body):
        raise BadInput(f"--resume: {path} is damaged or was edited: its checksum is not that of its bytes; {_AGAIN}")
    try:
        state: Any = torch.load(io.BytesIO(body), weights_only=True)
    except Exception as error:  # what is no checkpoint fails in as many ways as pickle has instructions
        raise BadInput(f"--resume: {path} is not a checkpoint ({type(error).__name__}); {_AGAIN}") from None
    if not isinstance(state, dict):
        raise BadInput(f"--resume: {path} is not a checkpoint (it holds a {type(state).__name__}); {_AGAIN}")
    return state


def not_whole(path: Path, error: Exception) -> BadInput:
    """The refusal of a checkpoint whose fields are not those of a run."""
    return BadInput(f"--resume: {path} is not a whole checkpoint ({type(error).__name__}: "
                    f"{(str(error).splitlines() or ['no words'])[0]}); {_AGAIN}")


def _heading(body: bytes | memoryview) -> bytes:
    return f"{FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode()
