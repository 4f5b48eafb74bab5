"""`himc init …`: an example to start from, written where nothing is yet."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from charlib.cli_common import guarded
from charlib.errors import BadInput, HimcError

init_app = typer.Typer(no_args_is_help=True, help="Write an example file to start from.")


def write_example(name: str, path: Path) -> None:
    """Write a shipped example of `charlib.data`. BadInput where something is there already."""
    text = resources.files("charlib.data").joinpath(name).read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise BadInput(f"path: '{path}' exists and was left as it is; give another path") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadInput(f"path: the folder '{path.parent}' does not exist; make it or give another path") from error
    except OSError as error:
        raise HimcError(f"path: '{path}' cannot be written ({error.strerror}); give another path") from error


@init_app.command("campaign", epilog="Example: himc init campaign campaign.yaml")
@guarded
def init_campaign(
    path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("campaign.yaml"),
) -> None:
    """Write a campaign file that explains its fields, ready for 'himc characterize'."""
    write_example("campaign.example.yaml", path)
    typer.echo(f"{path} written; see what it would run with 'himc characterize {path} --dry-run'")


@init_app.command("pdk", epilog="Example: himc init pdk mykit/pdk.toml")
@guarded
def init_pdk(path: Annotated[Path, typer.Argument(help="Where to; never overwritten.")] = Path("pdk.toml")) -> None:
    """Write a pdk.toml that explains its fields, to describe a process kit of your own."""
    write_example("pdk.example.toml", path)
    typer.echo(f"{path} written; fill it in, then try it with 'himc pdk check {path}'")
