"""`storyline memory model/ test.csv --out report.html`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from storyline.cli.evaluate import (
    Answer,
    Context,
    Label,
    Model,
    Question,
    Separator,
    Source,
    Target,
    Targets,
    Text,
    Threads,
    Turns,
    open_model,
)
from storyline.cli.failures import reported
from storyline.cli.output import refuse_place

# What is measured of a model of pairs, by the side.
BESIDE = {
    "source": "Of the source, from its end; the target so far stays as it is.",
    "target": "Of the target so far, back from the token that is asked for; the source stays as it is.",
}


@reported
def memory(
    model: Model,
    file: Annotated[
        str, typer.Argument(help="Data like that of the training: a path or URI.", show_default=False)
    ],
    targets: Targets = None,
    out: Annotated[Path | None, typer.Option(help="Write a self-contained page with the pictures.")] = None,
    text: Text = None,
    label: Label = None,
    source: Source = None,
    target: Target = None,
    context: Context = None,
    question: Question = None,
    answer: Answer = None,
    turns: Turns = None,
    separator: Separator = None,
    side: Annotated[
        str | None,
        typer.Option(
            help="Of a model of pairs, in which text lags are counted: source or target.",
            show_default="source",
        ),
    ] = None,
    trained_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The longest sequences of the training, in steps: whether the state drifts beyond them is looked for.",
            show_default="as the model has it",
        ),
    ] = None,
    threads: Threads = None,
) -> None:
    """Measure how far back a trained model remembers, and how much of it it uses."""
    from rich.console import Console

    from storyline.artifact import write_whole
    from storyline.cli.estimators import known_labels, read_examples
    from storyline.cli.looked import alignment_sections
    from storyline.cli.options import PAIRS
    from storyline.cli.summary import print_unknown
    from storyline.memory import MeasureError, measure
    from storyline.tasks.estimator import measuring

    if out is not None:
        refuse_place(out)
    console = Console()
    estimator, run = open_model(
        model,
        file,
        threads,
        text=text,
        label=label,
        source=source,
        target=target,
        context=context,
        question=question,
        answer=answer,
        turns=turns,
        separator=separator,
    )
    if side is not None and run.task not in PAIRS:
        raise ValueError(
            f"{model} reads no pairs of texts, and --side says which of them is measured; leave it out"
        )
    named = label is not None or target is not None or answer is not None
    examples = read_examples(
        run, file, targets=True if named else None, known=known_labels(estimator), target_file=targets
    )
    if run.task in PAIRS and examples.targets is None:
        raise ValueError(
            f"{file} holds one side only, and memory is measured on pairs; name the file of the targets behind it, or "
            "give a table with columns for both"
        )
    with console.status("measuring how far back the model remembers"), measuring(estimator.threads):
        probe = estimator.memory_probe(*examples.arguments(), **({} if side is None else {"side": side}))
        try:
            report = measure(probe, trained_steps=trained_steps)
        except MeasureError as problem:
            raise ValueError(f"{file}: {problem}") from None
    if run.task in PAIRS:
        console.print(BESIDE[side or "source"], highlight=False)
    console.print(report.table(), highlight=False, soft_wrap=True)
    if out is not None:
        page = report.to_html(
            title=f"Memory of {model.resolve().name} on {Path(file).name}",
            footer=footer(model, file, side, trained_steps),
            more=alignment_sections(estimator, examples) if run.task in PAIRS else (),
        )
        write_whole(out, page)
        console.print(f"pictures in {out}", highlight=False)
    print_unknown(Console(stderr=True), estimator)


def footer(model: Path, file: str, side: str | None = None, trained_steps: int | None = None) -> str:
    """How the numbers of a page were made."""
    import torch

    from storyline import __version__

    asked = f"{model} {file}" + ("" if side is None else f" --side {side}")
    asked += "" if trained_steps is None else f" --trained-steps {trained_steps}"
    return f"storyline {__version__}, torch {torch.__version__}: storyline memory {asked}; seed 0."
