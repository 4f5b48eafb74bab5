"""A user's `file.py:function`, loaded as Python would run it: files beside it can be imported.

Two files of one name do not meet: each is a module of its own, and what lies beside it is forgotten once it is
loaded, so that another folder's `parts.py` is not taken for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from charlib.errors import BadInput
from system.operators import OperatorCount


def load_module(text: str, **sizes: Any) -> nn.Module:
    """What `file.py:function` builds. The function gets those of `sizes` that it names.

    The file is the user's own code and is run.
    """
    return load_network(text, **sizes)[0]


def load_network(text: str, **sizes: Any) -> tuple[nn.Module, Mapping[str, OperatorCount]]:
    """Besides, the file's OPERATOR_COUNTS."""
    file, _, name = text.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise BadInput(f"network: {file} is not a file; give file.py:function")
    with beside(path):
        loaded = _run(path)
        function = getattr(loaded, name, None)
        if not callable(function):
            raise BadInput(f"network: {file} has no function '{name}'")
        return _built(function, text, sizes), _counts(loaded, file)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[None]:
    """While it lasts, files beside this one can be imported, and what they print goes to standard error: standard
    output is the command's own. A file that asks to end the process is refused."""
    folder, path_before, modules_before = str(path.resolve().parent), list(sys.path), set(sys.modules)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as end:
        raise BadInput(f"network: {path} ends the process ({end.code!r}) where a module is wanted; keep what a "
                       'script does on its own, such as reading its arguments, under if __name__ == "__main__"'
                       ) from end
    finally:
        sys.path[:] = path_before
        for name in set(sys.modules) - modules_before:
            if _lies_in(sys.modules[name], name, folder):
                del sys.modules[name]


def _lies_in(module: ModuleType | None, name: str, folder: str) -> bool:
    """Whether it was found in this folder itself, not in an environment below it."""
    top = Path(folder) / name.partition(".")[0]
    places = [getattr(module, "__file__", None) or "", *map(str, getattr(module, "__path__", ()))]
    return any(place == f"{top}.py" or place == str(top) or place.startswith(f"{top}/") for place in places)


def _run(path: Path) -> ModuleType:
    """The file as a module that none other is called; dataclasses look for it by its name."""
    name = f"{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(f"network: {path} is not a Python file; give file.py:function")
    loaded = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = loaded
    try:
        spec.loader.exec_module(loaded)
    except Exception as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        if isinstance(error, BadInput):
            raise BadInput(f"network: {path}: {error}") from error
        hint = f"; only installed packages and files in {path.resolve().parent} can be imported" if isinstance(
            error, ImportError) else ""
        raise BadInput(f"network: {path} cannot be run: {type(error).__name__}: {error}{hint}") from error
    return loaded


def _built(function: Callable[..., Any], text: str, sizes: Mapping[str, Any]) -> nn.Module:
    file, _, name = text.rpartition(":")
    asked = inspect.signature(function).parameters
    whole = any(p.kind is p.VAR_KEYWORD for p in asked.values())
    try:
        module = function(**{k: v for k, v in sizes.items() if whole or k in asked})
    except Exception as error:
        raise BadInput(f"network: {name}() of {file} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise BadInput(f"network: {name}() of {file} gave {type(module).__name__}, not a torch.nn.Module")
    return module


def _counts(loaded: ModuleType, file: str) -> Mapping[str, OperatorCount]:
    counts = getattr(loaded, "OPERATOR_COUNTS", {})
    if not isinstance(counts, Mapping) or not all(
            isinstance(name, str) and isinstance(count, OperatorCount) for name, count in counts.items()):
        raise BadInput(f"network: OPERATOR_COUNTS of {file} must be a dictionary of operators' names to "
                       f"OperatorCount of system.operators, got {counts!r}")
    return counts
