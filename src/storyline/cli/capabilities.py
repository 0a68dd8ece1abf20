"""`storyline capabilities`"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from storyline.cli.failures import reported


class Kind(StrEnum):
    """The layers whose capabilities can be tried."""

    RNN = "rnn"
    LSTM = "lstm"
    GRU = "gru"


@reported
def capabilities(
    layer: Annotated[
        list[Kind] | None, typer.Option(help="Try this layer only; may be repeated.", show_default="all")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Try what each recurrent layer can do, ours beside torch.nn's; every yes is checked against float64."""
    import platform
    from json import dumps

    import torch
    from rich.console import Console

    from storyline import __version__
    from storyline.capabilities import KINDS, try_capabilities

    kinds = KINDS if layer is None else [kind for kind in KINDS if kind.lower() in layer]
    versions = {"storyline": __version__, "torch": torch.__version__, "python": platform.python_version()}
    with Console(stderr=True).status("trying") as status:
        tables = try_capabilities(kinds, progress=lambda what: status.update(f"trying {what}"))
    if json:
        typer.echo(dumps({"versions": versions, "tables": [table.as_dict() for table in tables]}, indent=2))
        return
    typer.echo("tried just now: " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    for table in tables:
        typer.echo(f"\n{table.kind}: torch.nn's, and Storyline's by backend\n{table}")
