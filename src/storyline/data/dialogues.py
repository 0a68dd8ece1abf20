"""Dialogues of a table: a column of lists, each the turns of one dialogue."""

from __future__ import annotations

from typing import Any

import polars as pl

from storyline.data.columns import is_text, shown
from storyline.data.source import DataError
from storyline.data.table import Table


def dialogues(table: Table, column: str = "turns") -> list[list[str]]:
    """The turns of each row; DataError, with the line, for a row that is no list of texts, and for an empty turn."""
    values = table.column(column)
    if is_text(values) or (values.dtype != pl.Object and not isinstance(values.dtype, pl.List)):
        kind = "texts" if is_text(values) else f"values of type {values.dtype}"
        raise DataError(
            f"{table.where(0, column)}: {kind} where each row is to be a list of turns; give JSON Lines or Parquet "
            f'with rows like {{"{column}": ["Hello!", "Hi, how are you?"]}}'
        )
    found = []
    for row, value in enumerate(values.to_list()):
        try:
            found.append(_turns(value))
        except DataError as error:
            raise DataError(f"{table.where(row, column)}: {error}") from None
    return found


def _turns(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise DataError(f"{shown(value)} where a list of turns was wanted; write the row as a list of texts")
    if not value:
        raise DataError("a dialogue without a turn; remove the row")
    for place, turn in enumerate(value, 1):
        if not isinstance(turn, str):
            raise DataError(f"turn {place} is {shown(turn)}; write every turn as a text")
        if not turn.strip():
            raise DataError(f"turn {place} is empty; leave it out")
    return value
