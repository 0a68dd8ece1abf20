"""Columns of a table as what tasks want: texts, labels, tokens and tags; each refusal names its line."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import polars as pl

from storyline.data.source import DataError, nearest
from storyline.data.table import Table

# All that Python holds for a blank: polars leaves the separators U+001C to U+001F standing when it strips.
_BLANKS = "".join(letter for letter in map(chr, range(0x3001)) if letter.isspace())


def texts(table: Table, column: str) -> list[str]:
    """The texts of a column; DataError for one that is null, empty, blank, or no text."""
    values = table.column(column)
    if is_text(values):
        values = values.cast(pl.String)
        _refuse(table, column, _blank(values), "an empty text; fill it in, or remove the row")
        return values.to_list()
    if values.dtype != pl.Object:
        raise DataError(
            f"{table.where(0, column)}: {_kind(values)} where text was wanted; name a text column"
        )
    return _each(table, column, values, _text)


def texts_or_empty(table: Table, column: str) -> list[str]:
    """The texts of a column of which some may be empty: null is "", and so is a blank text."""
    values = table.column(column)
    if is_text(values) or values.dtype == pl.Null:
        values = values.cast(pl.String)
        return values.set(_blank(values), "").to_list()
    if values.dtype != pl.Object:
        raise DataError(
            f"{table.where(0, column)}: {_kind(values)} where text was wanted; name a text column"
        )
    return _each(table, column, values, _text_or_empty)


def labels(table: Table, column: str, *, known: Collection[str] | None = None) -> list[str]:
    """The labels of a column as text: whole numbers and truth values are written out, texts stay as they are.

    All columns of CSV and TSV are text, so there `"007"` stays `"007"`, and `"1.5"` is a label like any other:
    only its owner knows whether it is a grade or a measurement. In Parquet and JSONL, which have numbers, one
    with a fraction is no class.

    known: the labels seen in training, where others are to be refused.
    DataError, with the line, for a label that is missing or not known, and for a number with a fraction.
    """
    found = _labels(table, column)
    if known is not None:
        for row, label in enumerate(found):
            if label not in known:
                raise DataError(f"{table.where(row, column)}: the label {_unseen(label, known)}")
    return found


def is_text(values: pl.Series) -> bool:
    """Whether cells hold text, be it as categories (Parquet)."""
    return values.dtype in (pl.String, pl.Categorical, pl.Enum)


def _unseen(label: str, known: Collection[str]) -> str:
    names = ", ".join(map(repr, list(known)[:10])) + (", ..." if len(known) > 10 else "")
    return f"{label!r} was not seen in training{nearest(label, known)}; known are {names}"


def _blank(texts: pl.Series) -> pl.Series:
    return texts.is_null() | (texts.str.strip_chars(_BLANKS) == "")


def _labels(table: Table, column: str) -> list[str]:
    values = table.column(column)
    missing = "no label; fill it in, or remove the row"
    if is_text(values):
        values = values.cast(pl.String)
        _refuse(table, column, _blank(values), missing)
        return values.to_list()
    _refuse(table, column, values.is_null(), missing)
    if values.dtype.is_integer() or values.dtype == pl.Boolean or values.dtype.is_temporal():
        return values.cast(pl.String).to_list()
    return _each(table, column, values, _label)


def token_lists(table: Table, column: str = "tokens") -> list[list[str]]:
    """The tokens of each row: a column of lists, or a text column split on blanks."""
    values = table.column(column)
    if is_text(values):
        return [text.split() for text in texts(table, column)]
    return _each(table, column, values, _tokens)


def tagged(
    table: Table, tokens: str = "tokens", tags: str = "tags", *, known: Collection[str] | None = None
) -> tuple[list[list[str]], list[list[str]]]:
    """Tokens and tags of each row; DataError with the line where there are not as many of both.

    known: the tags seen in training, where others are to be refused.
    """
    token_rows, tag_rows = token_lists(table, tokens), token_lists(table, tags)
    for row, (words, marks) in enumerate(zip(token_rows, tag_rows, strict=True)):
        if len(words) != len(marks):
            raise DataError(
                f"{table.where(row, tags)}: {len(marks)} tags for {len(words)} tokens; give each token one tag"
            )
        if known is not None:
            for step, (word, mark) in enumerate(zip(words, marks, strict=True), 1):
                if mark not in known:
                    place = f"{table.where(row, tags)}, step {step} ({shown(word)})"
                    raise DataError(f"{place}: the tag {_unseen(mark, known)}")
    return token_rows, tag_rows


def _refuse(table: Table, column: str, bad: pl.Series, what: str) -> None:
    if bad.any():
        count = int(bad.sum())
        others = "" if count == 1 else f" ({count} such rows in all)"
        row = bad.arg_max()
        assert row is not None
        raise DataError(f"{table.where(row, column)}: {what}{others}")


def _each(table: Table, column: str, values: pl.Series, convert: Callable[[Any], Any]) -> list[Any]:
    converted = []
    for row, value in enumerate(values.to_list()):
        try:
            converted.append(convert(value))
        except DataError as error:
            raise DataError(f"{table.where(row, column)}: {error}") from None
    return converted


def _text(value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError("an empty text; fill it in, or remove the row")
    if not isinstance(value, str):
        raise DataError(f"{shown(value)} where text was wanted; write it as text")
    return value


def _text_or_empty(value: Any) -> str:
    return "" if value is None or value == "" else _text(value)


def _label(value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError("no label; fill it in, or remove the row")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise DataError(f"{shown(value)} is no class; labels are texts or whole numbers")
    return str(value)


def _tokens(value: Any) -> list[str]:
    if value is None or (isinstance(value, str | list) and not value):
        raise DataError("an empty sequence; every sequence needs at least one step, so remove the row")
    if isinstance(value, str):
        return _text(value).split()
    if not isinstance(value, list):
        raise DataError(f"{shown(value)} where a list of tokens was wanted")
    for position, token in enumerate(value, 1):
        if not isinstance(token, str) or not token:
            raise DataError(f"step {position} is {shown(token)}; every step needs a text that is not empty")
    return value


def _kind(values: pl.Series) -> str:
    if values.dtype.is_numeric():
        return "numbers"
    return "lists" if values.dtype == pl.List else f"values of type {values.dtype}"


def shown(value: Any) -> str:
    """A value as an error message quotes it."""
    value = value.to_list() if isinstance(value, pl.Series) else value
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
