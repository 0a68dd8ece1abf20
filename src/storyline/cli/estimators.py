"""From a run to an estimator and its examples: the one place where the command line parses data."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib import import_module
from typing import TYPE_CHECKING, Any

from storyline.cli.examples import Examples, open_table
from storyline.cli.options import PAIRS, is_plain, is_table, reads_series
from storyline.cli.settings_file import refuse_unknown
from storyline.cli.text_examples import read_dialogues, read_pair_examples, read_questions

if TYPE_CHECKING:
    from storyline.cli.runs import Run
    from storyline.data import Table


_ESTIMATORS = {
    "classify": "Classifier",
    "language": "LanguageModel",
    "tag": "Tagger",
    "translate": "Translator",
    "summarise": "Summarizer",
    "answer": "Answerer",
    "chat": "Chatbot",
}


def estimator_class(task: str) -> Any:
    return getattr(import_module("storyline.tasks"), _ESTIMATORS[task])


def setting_names(task: str) -> list[str]:
    """The settings of a task: the arguments of its estimator."""
    return [name for name in inspect.signature(estimator_class(task)).parameters if name != "self"]


def build(run: Run) -> Any:
    """The estimator with the run's settings; ValueError for one that the task has not."""
    refuse_unknown(run.settings, setting_names(run.task), "the run's settings")
    return estimator_class(run.task)(**run.settings)


def known_labels(estimator: Any) -> list[str] | None:
    """The labels of a classifier or the tags of a tagger, as a file spells them; None where the task has none."""
    for name in ("classes_", "tags_"):
        if hasattr(estimator, name):
            return [str(label) for label in getattr(estimator, name)]
    return None


def read_training(run: Run) -> tuple[Examples, dict[str, Any]]:
    """The examples of a run, and its other files as arguments of `fit`.

    What `fit` could only refuse by its place in memory is refused here, with file and column: a single class, and
    labels of the validation file that the training file has not.
    """
    examples = read_examples(run, run.files["train"], target_file=run.files.get("train_target"))
    known = _classes(run, examples) if run.task in ("classify", "tag") else None
    extra: dict[str, Any] = {}
    if "validation" in run.files:
        target_file = run.files.get("validation_target")
        held_out = read_examples(run, run.files["validation"], known=known, target_file=target_file)
        extra["validation"] = held_out.inputs if held_out.targets is None else held_out.arguments()
    if "unlabelled" in run.files:
        extra["unlabelled"] = _unlabelled(run, run.files["unlabelled"])
    for name in ("vectors", "target_vectors"):
        if name in run.files:
            from storyline.tasks import WordVectors

            extra[name] = WordVectors.load(run.files[name])
    return examples, extra


def _unlabelled(run: Run, source: str) -> list[str]:
    """Texts: of a table the column that the model reads, which an Answerer calls the context."""
    from storyline.data import texts

    column = "context" if run.task == "answer" else "text"
    # A plain text has one column, whatever that of the training file is called.
    return texts(open_table(run, source), "text" if is_plain(source) else run.columns.get(column, column))


def _classes(run: Run, examples: Examples) -> list[str]:
    tagger = run.task == "tag"
    found = {tag for row in examples.targets for tag in row} if tagger else set(examples.targets)
    if len(found) == 1:
        what, column, task = ("tag", "tags", "a tagger") if tagger else ("label", "label", "a classifier")
        raise ValueError(
            f"{run.files['train']}, column {run.columns.get(column, column)!r}: the only {what} is "
            f"{found.pop()!r}; {task} needs at least two"
        )
    return sorted(found)


def read_examples(
    run: Run,
    source: str,
    *,
    targets: bool | None = True,
    known: Collection[str] | None = None,
    target_file: str | None = None,
) -> Examples:
    """Parse `source` as the run's task wants it.

    target_file: the other side of a plain file of sources, for a task of pairs.
    targets: False reads inputs only (predict, unlabelled text); the label column may then be absent;
        None reads them where the file has that column (memory).
    known: the labels that a trained model knows; another one is refused with its line.
    """
    if target_file is not None and run.task not in PAIRS:
        raise ValueError(f"{target_file}: a second file holds the targets of pairs; leave it out")
    if run.task in PAIRS:
        return read_pair_examples(run, source, target_file, targets)
    if run.task == "answer":
        return read_questions(run, source, targets)
    if run.task == "chat":
        return read_dialogues(run, source)
    if run.task == "language":
        return _language(run, source)
    table = open_table(run, source)
    if targets is None:
        name = "tags" if run.task == "tag" else "label"
        targets = run.columns.get(name, name) in table.frame.columns
    if run.task == "tag":
        return _tagged(run, table, targets, known)
    if reads_series(run):
        return _series(run, table, targets, known)
    return _texts(run, table, targets, known)


def _language(run: Run, source: str) -> Examples:
    from storyline.data import read_text, texts

    if "text" in run.columns:
        table = open_table(run, source)
        return Examples(texts(table, run.columns["text"]), None, "tokens", table)
    if is_table(source):
        columns = ", ".join(map(repr, open_table(run, source).frame.columns))
        raise ValueError(f"{source} is a table; name the column of its text with --text: it has {columns}")
    return Examples(read_text(source), None, "tokens")


def _texts(run: Run, table: Table, targets: bool, known: Collection[str] | None) -> Examples:
    from storyline.data import labels, texts

    inputs = texts(table, run.columns.get("text", "text"))
    wanted = labels(table, run.columns.get("label", "label"), known=known) if targets else None
    return Examples(inputs, wanted, "sequences", table)


def _tagged(run: Run, table: Table, targets: bool, known: Collection[str] | None) -> Examples:
    from storyline.data import tagged, token_lists

    tokens = run.columns.get("tokens", "tokens")
    if not targets:
        return Examples(token_lists(table, tokens), None, "sentences", table)
    tags = run.columns.get("tags", "tags")
    return Examples(*tagged(table, tokens, tags, known=known), "sentences", table)


def _series(run: Run, table: Table, targets: bool, known: Collection[str] | None) -> Examples:
    from storyline.data import labels, series
    from storyline.data.numbers import is_nested

    columns = run.columns
    channels = columns.get("channels")
    channels = channels.split(",") if isinstance(channels, str) else channels
    if "series" not in columns and not any(is_nested(table.column(name)) for name in channels or ()):
        raise ValueError(
            f"{table.path}: which rows make one sequence? name the column that tells with --series; "
            f"the columns are {', '.join(map(repr, table.frame.columns))}"
        )
    label = columns.get("label", "label")
    if targets and known is not None:
        labels(table, label, known=known)
    found = series(
        table,
        id=columns.get("series"),
        channels=channels,
        order=columns.get("order"),
        label=label if targets else None,
    )
    long = "series" in columns
    # Of a nested table the channels of a cell are numbered; its own columns are what can be asked for again.
    taken = found.channels if long and channels is None else channels
    ids = found.ids if long else None
    return Examples(found.sequences, found.labels, "sequences", table, ids, taken, found.channels)
