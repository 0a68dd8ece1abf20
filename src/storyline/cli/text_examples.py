"""The examples of the tasks that write texts: pairs, questions about contexts, dialogues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyline.cli.examples import Examples, open_table
from storyline.cli.options import is_table

if TYPE_CHECKING:
    from storyline.cli.runs import Run


def read_pair_examples(run: Run, source: str, target: str | None, targets: bool | None) -> Examples:
    """Sources and targets of a table, or of two files aligned line by line; empty ones are kept.

    target: the second file, if there is one. targets: as in `read_examples`.
    """
    from storyline.data import aligned_pairs, lines_table, texts_or_empty

    if target is not None:
        for file in (source, target):
            if is_table(file):
                raise ValueError(
                    f"{file} is a table; give one table with columns for both sides, or two plain files, line by line"
                )
        pairs = aligned_pairs(source, target)
        return Examples(pairs.sources, pairs.targets, "pairs", lines_table(source), plain=True)
    if not is_table(source):
        if targets:
            raise ValueError(
                f"{source} is no table, so it holds one side only: name the file of the other side behind it, line by "
                "line, or give a table with columns for both"
            )
        table = lines_table(source)
        return Examples(table.frame["text"].to_list(), None, "texts", table, plain=True)
    table = open_table(run, source)
    column = run.columns.get("target", "target")
    if targets is None:
        targets = column in table.frame.columns
    inputs = texts_or_empty(table, run.columns.get("source", "source"))
    return Examples(inputs, texts_or_empty(table, column) if targets else None, "pairs", table)


def read_questions(run: Run, source: str, targets: bool | None) -> Examples:
    """Contexts, questions about them and, as `targets` says, the right answers: a text a row, or a list of them."""
    from storyline.data import answer_lists, texts

    table = open_table(run, source)
    column = run.columns.get("answer", "answer")
    if targets is None:
        targets = column in table.frame.columns
    contexts, questions = (texts(table, run.columns.get(name, name)) for name in ("context", "question"))
    answers = answer_lists(table, column) if targets else None
    return Examples(contexts, answers, "questions", table, questions=questions)


def read_dialogues(run: Run, source: str) -> Examples:
    """Dialogues, a list of turns each."""
    from storyline.data import turn_lists

    table = open_table(run, source)
    return Examples(turn_lists(table, run.columns.get("turns", "turns")), None, "dialogues", table)
