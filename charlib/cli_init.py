"""`himc init …`: an example to start from, written where nothing is yet."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from charlib.errors import HimcError
from charlib.example import write_example, write_new
from charlib.pdk import load_pdk
from charlib.pdk.as_toml import CELL_EXAMPLE, as_toml

_CARDS = "example_cards.lib"
init_app = typer.Typer(no_args_is_help=True, help="Write an example file to start from.")


@init_app.command("campaign", epilog="Example: himc init campaign campaign.yaml")
def init_campaign(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("campaign.yaml"),
) -> None:
    """Write a campaign file that explains its fields, ready for 'himc characterize'."""
    write_example("charlib.data", "campaign.example.yaml", path)
    typer.echo(f"{path} written; see what it would run with 'himc characterize {path} --dry-run'")


@init_app.command("pdk", epilog="Examples: himc init pdk mykit/pdk.toml; himc init pdk mine.toml --from freepdk45")
def init_pdk(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("pdk.toml"),
    source: Annotated[str | None, typer.Option("--from", help="An installed kit to start from, instead of the "
                                                              "example.")] = None,
) -> None:
    """Write a pdk.toml that explains its fields, and made-up cards beside it on which it runs as it is.

    With --from it describes that kit under a new name, on the kit's own cards, ready to be changed.
    """
    if source is not None:
        kit = load_pdk(source)
        text = as_toml(kit, f"my_{kit.name}")
        write_new(path, text)
        typer.echo(f"{path} written; try it with 'himc pdk check {path}', then change what is yours")
        return
    write_example("charlib.data", _CARDS, path.parent / _CARDS)
    try:
        write_new(path, _example("pdk.example.toml") + CELL_EXAMPLE)
    except HimcError:
        (path.parent / _CARDS).unlink()
        raise
    typer.echo(f"{path} and {path.parent / _CARDS} written; try them with 'himc pdk check {path}', then put your own "
               "cards in")


def _example(name: str) -> str:
    """The text of an example that ships."""
    return resources.files("charlib.data").joinpath(name).read_text(encoding="utf-8")
