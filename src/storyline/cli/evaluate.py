"""`storyline evaluate model/ test.csv`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from storyline.cli.failures import reported

Model = Annotated[Path, typer.Argument(help="A model folder.", show_default=False)]
Text = Annotated[str | None, typer.Option(help="Column of the text.", show_default="as in training")]
Source = Annotated[
    str | None, typer.Option(help="Column of the source of a pair.", show_default="as in training")
]
Target = Annotated[
    str | None, typer.Option(help="Column of the target of a pair.", show_default="as in training")
]
Context = Annotated[
    str | None, typer.Option(help="Column of the text that is asked about.", show_default="as in training")
]
Question = Annotated[str | None, typer.Option(help="Column of the question.", show_default="as in training")]
Answer = Annotated[str | None, typer.Option(help="Column of the answer.", show_default="as in training")]
Turns = Annotated[
    str | None, typer.Option(help="Column with a list of turns.", show_default="as in training")
]
Targets = Annotated[
    str | None,
    typer.Argument(
        help="The targets of a plain text file, line by line.", show_default=False, metavar="[TARGETS]"
    ),
]
Beam = Annotated[
    int | None, typer.Option(help="Outputs that are weighed beside one another.", show_default="the model's")
]
LengthPenalty = Annotated[
    float | None, typer.Option(help="Above 0: longer outputs are favoured.", show_default="the model's")
]
CoveragePenalty = Annotated[
    float | None,
    typer.Option(help="What an output loses for source that it left out.", show_default="the model's"),
]
Label = Annotated[str | None, typer.Option(help="Column of the label.", show_default="as in training")]
Separator = Annotated[
    str | None,
    typer.Option(
        help="What parts the fields of a .csv or .tsv.", show_default="as in training, else , or a tab"
    ),
]
Threads = Annotated[int | None, typer.Option(help="CPU threads.", show_default="as in training")]


def open_model(
    model: Path, file: str | None = None, threads: int | None = None, **columns: Any
) -> tuple[Any, Any]:
    """(estimator, run) of a model folder, to read `file`; the run's columns are replaced where `columns` name others.

    ValueError for a column that such a model does not read.
    """
    from dataclasses import replace

    from storyline.cli.options import inherited, refuse_unread
    from storyline.cli.runs import Run
    from storyline.tasks import load

    estimator = load(model)
    run = Run.finished(model)
    given = {name: value for name, value in columns.items() if value is not None}
    if threads is not None:
        estimator.set_params(threads=threads)
    if file is None:
        return estimator, run
    refuse_unread(model, run, file, given)
    return estimator, replace(run, columns=inherited(run, file) | given)


@reported
def evaluate(
    model: Model,
    file: Annotated[str, typer.Argument(help="Data with labels: a path or URI.", show_default=False)],
    targets: Targets = None,
    text: Text = None,
    label: Label = None,
    source: Source = None,
    target: Target = None,
    context: Context = None,
    question: Question = None,
    answer: Answer = None,
    turns: Turns = None,
    separator: Separator = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    coverage_penalty: CoveragePenalty = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Measure a trained model on labelled data; one that writes texts, by what it writes and by how it foretells."""
    import json

    from rich.console import Console

    from storyline.cli.estimators import known_labels, read_examples
    from storyline.cli.options import reads_series
    from storyline.cli.summary import print_metrics
    from storyline.cli.writing import decoding, written_scores

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
    how = decoding(
        run, estimator, beam=beam, length_penalty=length_penalty, coverage_penalty=coverage_penalty
    )
    examples = read_examples(run, file, known=known_labels(estimator), target_file=targets)
    # What an answer is worth depends on how it was searched for; pairs are foretold, and their outputs scored below.
    metrics = estimator.evaluate(*examples.arguments(), **(how if run.task == "answer" else {}))
    metrics |= written_scores(estimator, run.task, examples, how, Console(stderr=True))
    if reads_series(run):
        # Series have no words that could be unknown.
        metrics = {name: value for name, value in metrics.items() if name not in ("unknown", "tokens")}
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    print_metrics(Console(), f"{model} on {file}", metrics)
