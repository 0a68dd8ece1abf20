"""`storyline generate model/ --prompt ... --length ...`"""

from __future__ import annotations

from typing import Annotated

import typer

from storyline.cli.evaluate import Model, Threads, open_model
from storyline.cli.failures import fail, reported


@reported
def generate(
    context: typer.Context,
    model: Model,
    prompt: Annotated[str, typer.Option(help="The text to go on from.")] = "",
    length: Annotated[int, typer.Option(help="Tokens to add: characters, words or byte-pairs.")] = 400,
    temperature: Annotated[
        float, typer.Option(help="Above 1 bolder, below 1 safer; 0 takes the likeliest.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw from the likeliest that hold this probability.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the drawing.", show_default="another text each time")
    ] = None,
    suggest: Annotated[
        int | None, typer.Option(help="Instead of a text, list the k likeliest continuations of the prompt.")
    ] = None,
    threads: Threads = None,
) -> None:
    """Continue a text, or suggest its next token."""
    from rich.console import Console

    from storyline.cli.summary import print_unknown

    estimator, run = open_model(model, threads=threads)
    if run.task != "language":
        fail(
            f"{model} is from `storyline train {run.task}`; generate wants one from `storyline train language`"
        )
    if suggest is not None:
        _refuse_drawing(context)
        for token, probability in estimator.suggest(prompt, k=suggest):
            typer.echo(f"{probability:7.4f}  {token!r}")
    else:
        text = estimator.generate(
            prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
        typer.echo(text)
    print_unknown(Console(stderr=True), estimator)


def _refuse_drawing(context: typer.Context) -> None:
    """Nothing is drawn for a list of suggestions, so what steers the drawing would be looked at by nobody."""
    for name in ("length", "temperature", "top_k", "top_p", "seed"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            fail(
                f"--{name.replace('_', '-')} steers the drawing of a text, and --suggest draws none; leave it out"
            )
