"""Examples: what a file holds for a task, and the tables that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyline.cli.options import is_delimited

if TYPE_CHECKING:
    from storyline.cli.runs import Run
    from storyline.data import Table


@dataclass(frozen=True)
class Examples:
    """What a file holds for a task: inputs, targets (None where the file has none), and the table it came from.

    `questions` are what is asked about the inputs. `names` are the identifiers of the sequences of a long frame,
    `channels` the columns that its numbers came from, `channel_names` one name a channel (several channels may come
    from one column of lists). `plain`: the file is lines of text, and its table has them as its only column.
    """

    inputs: Any
    targets: Any
    unit: str
    table: Table | None = None
    names: list[str] | None = None
    channels: list[str] | None = None
    channel_names: Sequence[str] = ()
    questions: list[str] | None = None
    plain: bool = False

    def arguments(self) -> tuple[Any, ...]:
        """What `fit` and `evaluate` take."""
        return tuple(part for part in (self.inputs, self.questions, self.targets) if part is not None)

    def asked(self) -> tuple[Any, ...]:
        """What `predict` takes."""
        return (self.inputs,) if self.questions is None else (self.inputs, self.questions)


def open_table(run: Run, source: str) -> Table:
    """The rows of a file, with the run's header and separator."""
    from storyline.data import read_table

    separator = run.columns.get("separator") if is_delimited(source) else None
    # In a shell a tab is hard to type.
    separator = separator.replace("\\t", "\t") if separator is not None else None
    return read_table(source, header=run.columns.get("header", True), separator=separator)
