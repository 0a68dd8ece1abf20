"""From a run to an estimator and its examples: the one place where the command line parses data."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyline.cli.settings_file import refuse_unknown

if TYPE_CHECKING:
    from storyline.cli.runs import Run
    from storyline.data import Table


@dataclass(frozen=True)
class Examples:
    """What a file holds for a task: inputs, targets (None where the file has none), and the table it came from.

    `names` are the identifiers of the sequences of a long frame, `channels` the columns that its numbers came from.
    """

    inputs: Any
    targets: Any
    unit: str
    table: Table | None = None
    names: list[str] | None = None
    channels: list[str] | None = None

    def arguments(self) -> tuple[Any, ...]:
        """What `fit` and `evaluate` take."""
        return (self.inputs,) if self.targets is None else (self.inputs, self.targets)


def estimator_class(task: str) -> Any:
    from storyline.tasks import Classifier, LanguageModel, Tagger

    return {"classify": Classifier, "language": LanguageModel, "tag": Tagger}[task]


def setting_names(task: str) -> list[str]:
    """The settings of a task: the arguments of its estimator."""
    return [name for name in inspect.signature(estimator_class(task)).parameters if name != "self"]


def build(run: Run) -> Any:
    """The estimator with the run's settings; ValueError for one that the task has not."""
    refuse_unknown(run.settings, setting_names(run.task), "the run's settings")
    return estimator_class(run.task)(**run.settings)


def known_labels(estimator: Any) -> list[str] | None:
    """The labels of a classifier as a file spells them; None where the task has none."""
    classes = getattr(estimator, "classes_", None)
    return None if classes is None else [str(label) for label in classes]


def read_examples(
    run: Run, source: str, *, targets: bool = True, known: Collection[str] | None = None
) -> Examples:
    """Parse `source` as the run's task wants it.

    targets: False reads inputs only (predict, unlabelled text); the label column may then be absent.
    known: the labels that a trained model knows; another one is refused with its line.
    """
    if run.task == "language":
        return _language(run, source)
    from storyline.data import read_table

    table = read_table(source, header=run.columns.get("header", True))
    if run.task == "tag":
        return _tagged(run, table, targets)
    if "series" in run.columns or "channels" in run.columns:
        return _series(run, table, targets, known)
    return _texts(run, table, targets, known)


def _language(run: Run, source: str) -> Examples:
    from storyline.data import read_table, read_text, texts

    if "text" in run.columns:
        table = read_table(source)
        return Examples(texts(table, run.columns["text"]), None, "tokens", table)
    return Examples(read_text(source), None, "tokens")


def _texts(run: Run, table: Table, targets: bool, known: Collection[str] | None) -> Examples:
    from storyline.data import labels, texts

    inputs = texts(table, run.columns.get("text", "text"))
    wanted = labels(table, run.columns.get("label", "label"), known=known) if targets else None
    return Examples(inputs, wanted, "sequences", table)


def _tagged(run: Run, table: Table, targets: bool) -> Examples:
    from storyline.data import tagged, token_lists

    tokens = run.columns.get("tokens", "tokens")
    if not targets:
        return Examples(token_lists(table, tokens), None, "sentences", table)
    return Examples(*tagged(table, tokens, run.columns.get("tags", "tags")), "sentences", table)


def _series(run: Run, table: Table, targets: bool, known: Collection[str] | None) -> Examples:
    from storyline.data import labels, series

    columns = run.columns
    channels = columns.get("channels")
    label = columns.get("label", "label")
    if targets and known is not None:
        labels(table, label, known=known)
    found = series(
        table,
        id=columns.get("series"),
        channels=channels.split(",") if isinstance(channels, str) else channels,
        order=columns.get("order"),
        label=label if targets else None,
    )
    long = "series" in columns
    # Of a nested table the channels of a cell are numbered; its own columns are what can be asked for again.
    taken = found.channels if long and channels is None else channels
    return Examples(found.sequences, found.labels, "sequences", table, found.ids if long else None, taken)
