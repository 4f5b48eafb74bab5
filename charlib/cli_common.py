"""What the commands share: how an error ends a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from charlib.errors import HimcError
from charlib.terminal import note

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line and the error's exit status (2 bad input, 1 failure), no traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except HimcError as error:
            note(f"himc: {error}")
            raise typer.Exit(error.exit_code) from error

    return run
