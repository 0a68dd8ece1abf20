"""`storyline predict model/ new.csv --out predictions.parquet`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storyline.cli.evaluate import (
    Beam,
    Context,
    CoveragePenalty,
    LengthPenalty,
    Model,
    Question,
    Separator,
    Source,
    Text,
    Threads,
    open_model,
)
from storyline.cli.failures import fail, reported
from storyline.cli.options import PAIRS, WRITING
from storyline.cli.output import encoded, refuse_columns, refuse_place

if TYPE_CHECKING:
    import polars

    from storyline.cli.examples import Examples
    from storyline.cli.runs import Run

SUFFIXES = (".csv", ".parquet", ".jsonl")
PLAIN = ".txt"


@reported
def predict(
    model: Model,
    file: Annotated[str, typer.Argument(help="New data: a path or URI.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A .csv, .parquet or .jsonl file; in .csv, nested columns become JSON. "
            "Of models that write texts also .txt, a line a text.",
            show_default="CSV, for plain text lines, to the terminal",
        ),
    ] = None,
    text: Text = None,
    source: Source = None,
    context: Context = None,
    question: Question = None,
    separator: Separator = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    coverage_penalty: CoveragePenalty = None,
    threads: Threads = None,
) -> None:
    """Predict for new data; its columns are kept and the answers stand beside them."""
    from rich.console import Console

    from storyline.artifact import write_whole
    from storyline.cli.estimators import read_examples
    from storyline.cli.summary import print_unknown
    from storyline.cli.writing import decoding, lengths_said_later, one_a_line, print_read

    if out is not None:
        if out.suffix not in (*SUFFIXES, PLAIN):
            fail(f"--out {out} ends in {out.suffix or 'nothing'}; it should end in {', '.join(SUFFIXES)}")
        refuse_place(out)
    estimator, run = open_model(
        model,
        file,
        threads,
        text=text,
        source=source,
        context=context,
        question=question,
        separator=separator,
    )
    _refuse_task(model, run, out)
    how = decoding(
        run, estimator, beam=beam, length_penalty=length_penalty, coverage_penalty=coverage_penalty
    )
    examples = read_examples(run, file, targets=False)
    kept = _kept(examples)
    suffix = out.suffix if out is not None else PLAIN if examples.plain else ".csv"
    refuse_columns(kept, suffix)
    said = Console(stderr=True)
    with lengths_said_later():
        found = _answers(estimator, run.task, examples, kept, how)
    answers = (
        one_a_line(found[found.columns[-1]].to_list(), said) if suffix == PLAIN else encoded(found, suffix)
    )
    if out is None:
        typer.echo(answers.decode(), nl=False)
    else:
        write_whole(out, answers)
        said.print(f"{len(kept):,} predictions in {out}", highlight=False)
    if run.task in PAIRS:
        print_read(said, estimator)
    print_unknown(said, estimator)


def _refuse_task(model: Path, run: Run, out: Path | None) -> None:
    """Refuse a model of which nothing is predicted, and a form of answers that is not its own."""
    if run.task == "language":
        fail(f"{model} is a language model; use `storyline generate {model} --prompt ...`")
    if run.task == "chat":
        fail(f"{model} is a chatbot; use `storyline chat {model}`")
    if out is not None and out.suffix == PLAIN and run.task not in WRITING:
        fail(f"--out {out} ends in .txt, which holds texts alone; it should end in {', '.join(SUFFIXES)}")


def _kept(examples: Examples) -> polars.DataFrame:
    """The input's columns; for a long frame a row a sequence."""
    import polars

    assert examples.table is not None
    return examples.table.frame if examples.names is None else polars.DataFrame({"sequence": examples.names})


def _answers(
    estimator: Any, task: str, examples: Examples, kept: polars.DataFrame, how: dict[str, float]
) -> polars.DataFrame:
    """What is kept of the input, and the predictions beside it, the text of those that are texts last."""
    import polars

    taken = set(kept.columns)

    def free(name: str) -> str:
        while name in taken:
            name += "_"
        return name

    if task == "tag":
        return kept.with_columns(polars.Series(free("predicted_tags"), estimator.predict(examples.inputs)))
    if task in WRITING:
        beside = []
        if task == "answer" and estimator.resolved_.mode == "span":
            spans = estimator.point(*examples.asked())
            for name in ("start", "end", "probability"):
                beside.append(polars.Series(free(name), [getattr(span, name) for span in spans]))
            texts = [span.text for span in spans]
        else:
            texts = estimator.predict(*examples.asked(), **how)
        return kept.with_columns(*beside, polars.Series(free("prediction"), texts, polars.String))
    probabilities = estimator.predict_proba(examples.inputs)
    best = probabilities.argmax(axis=1)
    return kept.with_columns(
        polars.Series(free("prediction"), [str(label) for label in estimator.classes_[best]]),
        polars.Series(free("probability"), probabilities.max(axis=1)),
    )
