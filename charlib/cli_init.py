"""`himc init …`: an example to start from, written where nothing is yet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlib.cli_common import guarded
from charlib.example import write_example

init_app = typer.Typer(no_args_is_help=True, help="Write an example file to start from.")


@init_app.command("campaign", epilog="Example: himc init campaign campaign.yaml")
@guarded
def init_campaign(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("campaign.yaml"),
) -> None:
    """Write a campaign file that explains its fields, ready for 'himc characterize'."""
    write_example("charlib.data", "campaign.example.yaml", path)
    typer.echo(f"{path} written; see what it would run with 'himc characterize {path} --dry-run'")


@init_app.command("pdk", epilog="Example: himc init pdk mykit/pdk.toml")
@guarded
def init_pdk(path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("pdk.toml")) -> None:
    """Write a pdk.toml that explains its fields, to describe a process kit of your own."""
    write_example("charlib.data", "pdk.example.toml", path)
    typer.echo(f"{path} written; fill it in, then try it with 'himc pdk check {path}'")
