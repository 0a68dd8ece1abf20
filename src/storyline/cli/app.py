"""The commands, gathered. torch is imported inside the commands, so that --help answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

from storyline import __version__
from storyline.cli import (
    bench,
    capabilities,
    chat,
    demo,
    evaluate,
    generate,
    memory,
    predict,
    train,
    train_texts,
)

app = typer.Typer(
    name="storyline",
    help="Train, measure and use sequence models that remember.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(train.app, name="train")
train.app.command("translate")(train_texts.translate)
train.app.command("summarise")(train_texts.summarise)
train.app.command("answer")(train_texts.answer)
train.app.command("chat")(train_texts.chat)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("memory")(memory.memory)
app.add_typer(bench.app, name="bench")
app.command("demo")(demo.demo)
app.command("capabilities")(capabilities.capabilities)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"storyline {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, measure and use sequence models that remember."""
