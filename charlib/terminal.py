"""What every command shares with the person at the terminal: --json, --quiet, and progress on standard error."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from charlib.errors import BadInput, HimcError


def json_target(target: str | None) -> str | None:
    """--json as it was given, once it is known that it can be written. BadInput where it cannot."""
    if target is None or target == "-":
        return target
    path = Path(target)
    if not target or not path.name or path.is_dir():
        raise BadInput(f"--json: '{target}' is a folder; give a file's name, or - for standard output")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        why = "no file can be made in its folder" if path.parent.is_dir() else "its folder is not there"
        raise BadInput(f"--json: '{target}' cannot be written, {why}; give another file, or - for standard output")
    return target


JsonOut = Annotated[str | None, typer.Option("--json", callback=json_target,
                                             help="Write JSON to FILE, or - for standard output alone.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Watch = Callable[[int, int], None]
_REFRESH_S = 0.2


def note(text: str) -> None:
    """One line on standard error."""
    typer.echo(text, err=True)


def emit_json(target: str, document: Any) -> None:
    """Write plain data to a file, whole or not at all, or to standard output (-). HimcError where it cannot be."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text)
        return
    path = Path(json_target(target) or "")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HimcError(f"--json: {path} cannot be written ({error.strerror}); give another file") from error


@contextmanager
def steps_bar(title: str, *, quiet: bool = False) -> Iterator[Watch]:
    """Give a callback (steps done, all steps) that draws a bar with the time left on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
               TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    # refreshed by hand: a thread of its own would keep a pool from forking its workers
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, disable=quiet) as bar:
        task = bar.add_task(title, total=None, visible=False)
        drawn_s = 0.0

        def watch(done: int, total: int) -> None:
            nonlocal drawn_s
            bar.update(task, completed=done, total=total, visible=True)
            if done == total or time.monotonic() - drawn_s > _REFRESH_S:
                bar.refresh()
                drawn_s = time.monotonic()

        yield watch
