"""`storyline train classify | language | tag`, and `storyline train --resume model/`; the others: train_texts.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from storyline.cli.failures import fail, reported
from storyline.cli.options import COLUMNS, FILES, refuse_conflicts
from storyline.cli.run_folder import carry_out, refuse_occupied
from storyline.cli.runs import Run, checksums, refuse_changed_data
from storyline.cli.settings_file import parse_assignments, read_config, refuse_unknown, refuse_wrong_types

app = typer.Typer(
    help="Train a model from a file, for one of the tasks below; or go on with --resume.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
)

File = Annotated[str, typer.Argument(help="The training data: a path or URI, .gz too.", show_default=False)]
Out = Annotated[Path | None, typer.Option("--out", help="The model folder to write.", show_default=False)]
Config = Annotated[Path | None, typer.Option("--config", help="A TOML file with any of these settings.")]
Assign = Annotated[
    list[str] | None, typer.Option("--set", help="Any other setting, as name=value; may be repeated.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the model that --out already holds.")]
Validation = Annotated[
    str | None, typer.Option("--validation", help="A file to validate on; else part of the data.")
]
Unlabelled = Annotated[
    str | None, typer.Option(help="A file of text without labels, to learn word vectors from.")
]
Vectors = Annotated[
    str | None,
    typer.Option(
        "--vectors", help="Word vectors to start from: a text file of word2vec, GloVe or fastText, .gz too."
    ),
]
Separator = Annotated[
    str | None, typer.Option(help="What parts the fields of a .csv or .tsv.", show_default=", or a tab")
]
Core = Annotated[str | None, typer.Option(help="lstm, gru or rnn.", show_default="lstm")]
ReadingCore = Annotated[str | None, typer.Option(help="lstm, gru, rnn or transformer.", show_default="lstm")]
HiddenSize = Annotated[int | None, typer.Option(help="Units a layer and direction.")]
NumLayers = Annotated[int | None, typer.Option(help="Layers stacked.")]
Remember = Annotated[
    int | None, typer.Option(help="Steps to remember by default.", show_default="from the data")
]
Epochs = Annotated[int | None, typer.Option(help="Passes over the data.")]
BatchSize = Annotated[int | None, typer.Option(help="Sequences a step.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak learning rate.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.", show_default="0")]
Threads = Annotated[int | None, typer.Option(help="CPU threads.", show_default="up to 4")]


@app.callback(invoke_without_command=True)
@reported
def resume(
    context: typer.Context,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with an interrupted run in this model folder.")
    ] = None,
) -> None:
    """Train a model from a file, for one of the tasks below; or go on with --resume."""
    if context.invoked_subcommand is not None:
        if resume is not None:
            fail(f"--resume {resume} goes alone: the folder knows its data and settings")
        return
    if resume is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    run = Run.unfinished(resume)
    refuse_changed_data(run)
    carry_out(run, resume, resume=True, overwrite=False)


@app.command()
@reported
def classify(
    file: File,
    out: Out = None,
    text: Annotated[str | None, typer.Option(help="Column of the text.", show_default="text")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the label.", show_default="label")] = None,
    series: Annotated[
        str | None,
        typer.Option(help="For series instead of text: the column that names the sequence of a row."),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            help="Columns of the channels, with commas between.",
            show_default="all others; only those of lists, where there are some",
        ),
    ] = None,
    order: Annotated[str | None, typer.Option(help="Column to sort the steps of a series by.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether the first line names the columns.")
    ] = None,
    separator: Separator = None,
    validation: Validation = None,
    unlabelled: Unlabelled = None,
    vectors: Vectors = None,
    level: Annotated[str | None, typer.Option(help="word, char or subword.", show_default="word")] = None,
    bidirectional: Annotated[bool | None, typer.Option("--bidirectional/--one-way")] = None,
    core: Core = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    remember: Remember = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a classifier of texts or of series."""
    begin("classify", locals())


@app.command()
@reported
def language(
    file: File,
    out: Out = None,
    text: Annotated[str | None, typer.Option(help="Column of the text, if the file is a table.")] = None,
    separator: Separator = None,
    validation: Validation = None,
    vectors: Vectors = None,
    level: Annotated[str | None, typer.Option(help="char, word or subword.", show_default="char")] = None,
    core: ReadingCore = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    remember: Remember = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a language model on plain text: the next character, word or byte-pair."""
    begin("language", locals())


@app.command()
@reported
def tag(
    file: File,
    out: Out = None,
    tokens: Annotated[
        str | None, typer.Option(help="Column with a list of tokens.", show_default="tokens")
    ] = None,
    tags: Annotated[str | None, typer.Option(help="Column with a list of tags.", show_default="tags")] = None,
    separator: Separator = None,
    validation: Validation = None,
    vectors: Vectors = None,
    core: Core = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    remember: Remember = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a tagger: a label for every token (.conllu, .conll, or a table with list columns)."""
    begin("tag", locals())


def begin(task: str, options: Mapping[str, Any]) -> None:
    """Join the config file, --set and the options (the later wins), refuse what is wrong, and train."""
    from storyline.cli.estimators import setting_names

    options = dict(options)
    file, config, assign = str(options.pop("file")), options.pop("config"), options.pop("assign") or []
    out, overwrite, targets = options.pop("out"), options.pop("overwrite"), options.pop("targets", None)
    known = {*setting_names(task), *COLUMNS[task], *FILES[task], "out"}
    given: dict[str, Any] = {}
    for source, values in (
        (str(config), read_config(config) if config else {}),
        ("--set", parse_assignments(assign)),
    ):
        refuse_unknown(values, known, source)
        refuse_wrong_types(values, source)
        given |= values
    given |= {name: value for name, value in options.items() if value is not None}
    if given.get("attention") == "none":  # in a shell there is no other way to say it
        given["attention"] = None
    out = out or (Path(str(given["out"])) if "out" in given else None)
    if out is None:
        fail("no --out: name the folder that the model is to be written to, for example --out model/")
    columns = {name: given[name] for name in COLUMNS[task] if name in given}
    files = {"train": file} | ({} if targets is None else {"train_target": targets})
    files |= {role: str(given[role]) for role in FILES[task] if role in given}
    run = Run(
        task=task,
        files=files,
        columns=columns,
        settings={name: value for name, value in given.items() if name in setting_names(task)},
        checksums=checksums(files),
    )
    refuse_conflicts(run)
    refuse_occupied(out, overwrite)
    carry_out(run, out, resume=False, overwrite=overwrite)
