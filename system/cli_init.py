"""`himc init macro` and `himc init space`, beside charlib's `campaign` and `pdk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlib.errors import BadInput
from charlib.example import write_example

_DATA = "system.data"
_MACRO_ENDINGS = (".yaml", ".yml")


def register(app: typer.Typer) -> None:
    """Add the commands to the group `init`, which charlib has mounted."""
    for group in app.registered_groups:
        if group.name == "init" and group.typer_instance is not None:
            group.typer_instance.command("macro", epilog="Example: himc init macro macro.yaml")(init_macro)
            group.typer_instance.command("space", epilog="Example: himc init space space.yaml")(init_space)


def init_macro(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("macro.yaml"),
) -> None:
    """Write a macro's file that explains its fields, ready for 'himc estimate --macro'."""
    if path.suffix not in _MACRO_ENDINGS:
        raise BadInput(f"path: '{path}' must end in .yaml or .yml, by which --macro knows a file")
    write_example(_DATA, "macro.example.yaml", path)
    typer.echo(f"{path} written; try it with 'himc estimate mobilenet_v1 --macro {path}'")


def init_space(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("space.yaml"),
) -> None:
    """Write a space of designs that explains its fields, ready for 'himc explore'."""
    write_example(_DATA, "space.example.yaml", path)
    typer.echo(f"{path} written; explore it with 'himc explore {path}'")
