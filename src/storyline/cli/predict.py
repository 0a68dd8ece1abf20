"""`storyline predict model/ new.csv --out predictions.parquet`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyline.cli.evaluate import Model, Separator, Text, Threads, open_model
from storyline.cli.failures import fail, reported
from storyline.cli.output import encoded, refuse_columns, refuse_place

if TYPE_CHECKING:
    import polars

    from storyline.cli.estimators import Examples

SUFFIXES = (".csv", ".parquet", ".jsonl")


@reported
def predict(
    model: Model,
    file: Annotated[str, typer.Argument(help="New data: a path or URI.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .csv, .parquet or .jsonl file; in .csv, nested columns become JSON.",
            show_default="CSV to the terminal",
        ),
    ] = None,
    text: Text = None,
    separator: Separator = None,
    threads: Threads = None,
) -> None:
    """Predict for new data; its columns are kept and the answers stand beside them."""
    from rich.console import Console

    from storyline.artifact import write_whole
    from storyline.cli.estimators import read_examples
    from storyline.cli.summary import print_unknown

    if out is not None:
        if out.suffix not in SUFFIXES:
            fail(f"--out {out} ends in {out.suffix or 'nothing'}; it should end in {', '.join(SUFFIXES)}")
        refuse_place(out)
    estimator, run = open_model(model, file, threads, text=text, separator=separator)
    if run.task == "language":
        fail(f"{model} is a language model; use `storyline generate {model} --prompt ...`")
    examples = read_examples(run, file, targets=False)
    kept = _kept(examples)
    suffix = ".csv" if out is None else out.suffix
    refuse_columns(kept, suffix)
    answers = encoded(_answers(estimator, run.task, examples, kept), suffix)
    said = Console(stderr=True)
    if out is None:
        typer.echo(answers.decode(), nl=False)
    else:
        write_whole(out, answers)
        said.print(f"{len(kept):,} predictions in {out}", highlight=False)
    print_unknown(said, estimator)


def _kept(examples: Examples) -> polars.DataFrame:
    """The input's columns; for a long frame a row a sequence."""
    import polars

    assert examples.table is not None
    return examples.table.frame if examples.names is None else polars.DataFrame({"sequence": examples.names})


def _answers(estimator: Any, task: str, examples: Examples, kept: polars.DataFrame) -> polars.DataFrame:
    """What is kept of the input, and the predictions beside it."""
    import polars

    taken = set(kept.columns)

    def free(name: str) -> str:
        while name in taken:
            name += "_"
        return name

    if task == "tag":
        return kept.with_columns(polars.Series(free("predicted_tags"), estimator.predict(examples.inputs)))
    probabilities = estimator.predict_proba(examples.inputs)
    best = probabilities.argmax(axis=1)
    return kept.with_columns(
        polars.Series(free("prediction"), [str(label) for label in estimator.classes_[best]]),
        polars.Series(free("probability"), probabilities.max(axis=1)),
    )
