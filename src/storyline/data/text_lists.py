"""Columns whose rows hold several texts: the turns of a dialogue, the right answers to a question."""

from __future__ import annotations

from typing import Any

from storyline.data.columns import shown
from storyline.data.source import DataError
from storyline.data.table import Table


def turn_lists(table: Table, column: str = "turns") -> list[list[str]]:
    """The turns of each dialogue: a list of texts a row, none of them empty. DataError with the line otherwise."""
    found = []
    for row, value in enumerate(table.column(column).to_list()):
        if not isinstance(value, list) or not value:
            what = "an empty list" if value == [] else shown(value)
            raise DataError(
                f"{table.where(row, column)}: {what} where a list of turns was wanted; write a dialogue as a list of "
                'texts, ["Hello!", "Hello to you."]'
            )
        found.append(_filled(table, row, column, value, "turn"))
    return found


def answer_lists(table: Table, column: str = "answer") -> list[list[str]]:
    """The right answers of each row: of a text itself alone, of a list all of it. DataError with the line otherwise."""
    found = []
    for row, value in enumerate(table.column(column).to_list()):
        if value is None or value == []:
            raise DataError(f"{table.where(row, column)}: no answer; fill it in, or remove the row")
        found.append(_filled(table, row, column, value if isinstance(value, list) else [value], "answer"))
    return found


def _filled(table: Table, row: int, column: str, texts: list[Any], what: str) -> list[str]:
    for place, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise DataError(
                f"{table.where(row, column)}: {what} {place} is {shown(text)}, where text was wanted; write it as text"
            )
        if not text.strip():
            raise DataError(
                f"{table.where(row, column)}: {what} {place} is empty; fill it in, or leave it out"
            )
    return texts
