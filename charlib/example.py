"""Shipped example files, copied to where a user asks for them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from charlib.errors import BadInput, HimcError


def write_example(package: str, name: str, path: Path) -> None:
    """Write the example `name` of a package of data. BadInput where something is there already."""
    write_new(path, resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def write_new(path: Path, text: str) -> None:
    """Write a file where none is, in a folder that is made if need be. BadInput where something is there already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"path: the folder '{path.parent}' cannot be made ({error.strerror}); give another path"
                       ) from error
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise BadInput(f"path: '{path}' exists and was left as it is; give another path") from error
    except OSError as error:
        raise HimcError(f"path: '{path}' cannot be written ({error.strerror}); give another path") from error
