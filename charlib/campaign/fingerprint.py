"""A hash of the code that turns waveforms into measures, so that a changed definition misses the cache.

The deck's text says what was simulated, but not how its waveforms became numbers: that is `Bench.measure`
and the functions that it calls. Comments, docstrings and layout do not count, the plain constants that the
code names do. `Bench.deck` does not count either: what it makes is in the key as text.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

_CONSTANT_TYPES = (bool, int, float, str, tuple)


@cache
def measure_hash(bench_type: type) -> str:
    """Hash of `measure` and, transitively, of the functions of its package that it calls by name."""
    package = bench_type.__module__.rpartition(".")[0] or bench_type.__module__
    pending = [_function(inspect.getattr_static(bench_type, "measure"))]
    parts: dict[str, str] = {}
    while pending:
        function = pending.pop()
        if function is None or not _inside(function, package):
            continue
        key = f"{function.__module__}.{function.__qualname__}"
        if key in parts:
            continue
        parts[key] = _normal_source(function)
        for name in sorted(set(_names(function.__code__)) - {"deck"}):
            found = function.__globals__.get(name, inspect.getattr_static(bench_type, name, None))
            if isinstance(found, _CONSTANT_TYPES):
                parts[f"{key}:{name}"] = repr(found)
            pending.append(_function(found))
    text = "\n".join(f"{key}\n{parts[key]}" for key in sorted(parts))
    return hashlib.sha256(text.encode()).hexdigest()


def _inside(function: FunctionType, package: str) -> bool:
    return function.__module__ == package or function.__module__.startswith(package + ".")


def _function(found: Any) -> FunctionType | None:
    """The plain function in a method, property or cache wrapper; None for anything else."""
    for attribute in ("__func__", "fget", "func", "__wrapped__"):
        if not isinstance(found, FunctionType):
            found = getattr(found, attribute, found)
    return found if isinstance(found, FunctionType) else None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _normal_source(function: FunctionType) -> str:
    """The function's source without comments, docstring and layout; its bytecode where no source is."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # made at run time, or a lambda in the middle of an expression
        return function.__code__.co_code.hex() + repr(function.__code__.co_consts)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
