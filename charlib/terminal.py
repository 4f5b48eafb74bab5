"""What every command shares with the person at the terminal: --json, --quiet, progress on standard error, and how an
error ends: one line, exit 1 or 2 (130 after Ctrl-C), no traceback."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.core import TyperGroup

from charlib.errors import BadInput, HimcError

#: Typer carries its own copy of Click from some version on; its public BadParameter leads to the base class
_UsageProblem = typer.BadParameter.__mro__[2]


#: exit status after Ctrl-C: 128 and the signal's number, as shells have it
STOPPED = 130
_NUMBERS = {int: "a whole number", float: "a number"}


class HimcGroup(TyperGroup):
    """The one place where an error ends: one line on standard error and the exit status it carries."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any,
    ) -> Any:
        try:
            result = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except HimcError as error:
            _end(str(error), error.exit_code)
        except typer.Abort:
            _end("stopped by the user", 1)
        except BrokenPipeError:
            sys.stderr.close()
            raise SystemExit(1) from None
        except OSError as error:  # a name that no file can have, a disk that is full
            _end(f"{error.filename or 'a file'}: {error.strerror or error}",
                 BadInput.exit_code if error.errno in (errno.ENAMETOOLONG, errno.EINVAL) else 1)
        except Exception as error:
            if not isinstance(error, _UsageProblem):
                raise
            _end_usage(error, sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return result
        raise SystemExit(result if isinstance(result, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C ends it in one line too."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _end(str(stop) or "stopped by the user", STOPPED)


def _end_usage(error: Any, args: Sequence[str]) -> NoReturn:
    """Help where nothing was asked; else what was wrong with the words."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        raise SystemExit(2) from None
    kind = getattr(getattr(getattr(error, "param", None), "type_descriptor", None), "annotation", None)
    option = next(iter(getattr(getattr(error, "param", None), "opts", ())), "")
    given = [b for a, b in pairwise(args) if a == option] + [a.partition("=")[2] for a in args
                                                             if a.startswith(f"{option}=")]
    if kind in _NUMBERS and given:
        _end(f"{option}: {_NUMBERS[kind]} is allowed, got '{given[-1]}'; see 'himc --help'", int(error.exit_code))
    _end(f"{error.format_message().rstrip('.')}; see 'himc --help'", int(error.exit_code))


def _end(message: str, status: int) -> NoReturn:
    print(f"himc: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(status) from None


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


#: panels of the list of commands
ESTIMATE, CIRCUITS, SET_UP = "Estimate, train, report", "Circuits and tables", "Set-up and reference"

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
def working(title: str) -> Iterator[None]:
    """A spinner with the time so far on standard error, where that is a terminal; it leaves no trace."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as spinner:
        spinner.add_task(title, total=None)
        yield


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
