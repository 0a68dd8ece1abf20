"""`storyline evaluate model/ test.csv`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from storyline.cli.failures import reported

Model = Annotated[Path, typer.Argument(help="A model folder.", show_default=False)]
Text = Annotated[str | None, typer.Option(help="Column of the text.", show_default="as in training")]
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
    text: Text = None,
    label: Label = None,
    separator: Separator = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
    threads: Threads = None,
) -> None:
    """Measure a trained model on labelled data."""
    import json

    from rich.console import Console

    from storyline.cli.estimators import known_labels, read_examples
    from storyline.cli.options import reads_series
    from storyline.cli.summary import print_metrics

    estimator, run = open_model(model, file, threads, text=text, label=label, separator=separator)
    metrics = estimator.evaluate(*read_examples(run, file, known=known_labels(estimator)).arguments())
    if reads_series(run):
        # Series have no words that could be unknown.
        metrics = {name: value for name, value in metrics.items() if name not in ("unknown", "tokens")}
    if as_json:
        typer.echo(json.dumps(metrics))
        return
    print_metrics(Console(), f"{model} on {file}", metrics)
