"""`storyline train translate | summarise | answer | chat`: models that write texts."""

from __future__ import annotations

from typing import Annotated

import typer

from storyline.cli.failures import reported
from storyline.cli.train import (
    Assign,
    Config,
    Core,
    Epochs,
    File,
    HiddenSize,
    LearningRate,
    NumLayers,
    Out,
    Overwrite,
    ReadingCore,
    Seed,
    Separator,
    Threads,
    Unlabelled,
    Validation,
    Vectors,
    begin,
)

Aligned = Annotated[
    str | None,
    typer.Argument(
        help="A second file: the targets of a plain text file, line by line.",
        show_default=False,
        metavar="[TARGETS]",
    ),
]
Source = Annotated[str | None, typer.Option(help="Column of the source.", show_default="source")]
Target = Annotated[str | None, typer.Option(help="Column of the target.", show_default="target")]
ValidationTarget = Annotated[
    str | None,
    typer.Option("--validation-target", help="The targets of --validation, if that is plain text."),
]
TargetVectors = Annotated[
    str | None, typer.Option("--target-vectors", help="Word vectors of the targets, likewise.")
]
Attention = Annotated[
    str | None,
    typer.Option(
        help="How a recurrent decoder looks at the source: additive, dot, general, local, multihead, coverage or none.",
        show_default="additive",
    ),
]
AnyCore = Annotated[
    str | None, typer.Option(help="lstm, gru, rnn, slstm or transformer.", show_default="lstm")
]
Level = Annotated[str | None, typer.Option(help="subword, word or char.", show_default="subword")]


@reported
def translate(
    file: File,
    targets: Aligned = None,
    out: Out = None,
    source: Source = None,
    target: Target = None,
    separator: Separator = None,
    validation: Validation = None,
    validation_target: ValidationTarget = None,
    vectors: Vectors = None,
    target_vectors: TargetVectors = None,
    level: Level = None,
    core: AnyCore = None,
    attention: Attention = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a translator of texts: a table of pairs, or two files aligned line by line."""
    begin("translate", locals())


@reported
def summarise(
    file: File,
    targets: Aligned = None,
    out: Out = None,
    source: Source = None,
    target: Target = None,
    separator: Separator = None,
    validation: Validation = None,
    validation_target: ValidationTarget = None,
    vectors: Vectors = None,
    target_vectors: TargetVectors = None,
    level: Level = None,
    core: AnyCore = None,
    attention: Attention = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a summariser: long texts and what is short for them, such as mails and their subjects."""
    begin("summarise", locals())


@reported
def answer(
    file: File,
    out: Out = None,
    context: Annotated[
        str | None, typer.Option(help="Column of the text that is asked about.", show_default="context")
    ] = None,
    question: Annotated[
        str | None, typer.Option(help="Column of the question.", show_default="question")
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            help="Column of the answer: a text, or a list of the right ones.", show_default="answer"
        ),
    ] = None,
    separator: Separator = None,
    validation: Validation = None,
    unlabelled: Unlabelled = None,
    vectors: Vectors = None,
    mode: Annotated[
        str | None,
        typer.Option(help="span: point at a piece of the context; generate; or auto.", show_default="auto"),
    ] = None,
    core: Core = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a reader that answers questions about texts."""
    begin("answer", locals())


@reported
def chat(
    file: File,
    out: Out = None,
    turns: Annotated[
        str | None, typer.Option(help="Column with a list of the turns.", show_default="turns")
    ] = None,
    validation: Validation = None,
    core: ReadingCore = None,
    hidden_size: HiddenSize = None,
    num_layers: NumLayers = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    seed: Seed = None,
    threads: Threads = None,
    config: Config = None,
    assign: Assign = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a chatbot on dialogues: .jsonl or .parquet, a list of turns a row."""
    begin("chat", locals())
