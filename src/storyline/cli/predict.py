"""`storyline predict model/ new.csv --out predictions.parquet`"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyline.cli.evaluate import Model, Text, Threads, open_model
from storyline.cli.failures import fail, reported

if TYPE_CHECKING:
    import polars

    from storyline.cli.estimators import Examples

SUFFIXES = (".csv", ".parquet", ".jsonl")


@reported
def predict(
    model: Model,
    file: Annotated[str, typer.Argument(help="New data: a path or URI.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="A .csv, .parquet or .jsonl file.", show_default="CSV to the terminal")
    ] = None,
    text: Text = None,
    threads: Threads = None,
) -> None:
    """Predict for new data; its columns are kept and the answers stand beside them."""
    from rich.console import Console

    from storyline.artifact import write_whole
    from storyline.cli.estimators import read_examples
    from storyline.cli.summary import print_unknown

    if out is not None and out.suffix not in SUFFIXES:
        fail(f"--out {out} ends in {out.suffix or 'nothing'}; it should end in {', '.join(SUFFIXES)}")
    estimator, run = open_model(model, threads, text=text)
    if run.task == "language":
        fail(f"{model} is a language model; use `storyline generate {model} --prompt ...`")
    examples = read_examples(run, file, targets=False)
    frame = _answers(estimator, run.task, examples)
    said = Console(stderr=True)
    if out is None:
        typer.echo(_encoded(frame, ".csv").decode(), nl=False)
    else:
        write_whole(out, _encoded(frame, out.suffix))
        said.print(f"{len(frame):,} predictions in {out}", highlight=False)
    unknown, total = estimator.unknown_
    print_unknown(said, unknown, total)


def _answers(estimator: Any, task: str, examples: Examples) -> polars.DataFrame:
    """The input's columns (for a long frame: a row a sequence) and the predictions beside them."""
    import polars

    assert examples.table is not None
    kept = (
        polars.DataFrame({"sequence": examples.names}) if examples.names is not None else examples.table.frame
    )
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


def _encoded(frame: polars.DataFrame, suffix: str) -> bytes:
    import polars

    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.write_parquet(buffer)
    elif suffix == ".jsonl":
        frame.write_ndjson(buffer)
    else:
        lists = [name for name, kind in frame.schema.items() if isinstance(kind, polars.List)]
        flat = frame.with_columns(
            polars.col(name).cast(polars.List(polars.String)).list.join(" ") for name in lists
        )
        flat.write_csv(buffer)
    return buffer.getvalue()
