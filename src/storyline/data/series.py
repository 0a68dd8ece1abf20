"""Series: rows of a long frame, or lists in cells, as arrays (time, channels)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storyline.data.columns import is_text, labels, shown
from storyline.data.numbers import Array, is_nested, nested_numbers, numbers
from storyline.data.source import DataError
from storyline.data.table import Table


class Series(NamedTuple):
    """Sequences in the order of their first rows.

    sequences: (time, channels) float64 each.
    labels: one a sequence, or None.
    ids: one a sequence; the number of the row, from 1, where there is no id column.
    channels: the names of the channels.
    """

    sequences: list[Array]
    labels: list[str] | None
    ids: list[str]
    channels: list[str]


def series(
    table: Table,
    *,
    id: str | None = None,
    channels: Sequence[str] | None = None,
    order: str | None = None,
    label: str | None = None,
) -> Series:
    """The series of a table, in one of two forms.

    Long: one row is one step of the sequence that `id` names; each channel is a column of numbers. Rows of a
    sequence need not stand together; they are sorted by `order` (numbers, or ISO dates and times), else as in
    the file. The label must be the same in all rows of a sequence.

    Nested (JSONL, Parquet): one row is one sequence; a channel column holds a list of numbers, or of steps,
    each a list with a number for each channel (named `xyz_1`, `xyz_2`, ... after the column `xyz`).

    channels: default all columns beside id, order and label (nested: those that hold lists).
    Raises DataError, with line and column, for a number that is missing, NaN, infinite or text, for ragged
    channels, for columns of unequal length, for a label that changes within a sequence, and for two steps at
    the same place of `order`.
    """
    named = [name for name in (id, order, label) if name is not None]
    for name in [*named, *(channels or ())]:
        table.column(name)
    columns = (
        [name for name in table.frame.columns if name not in named] if channels is None else list(channels)
    )
    nested = [name for name in columns if is_nested(table.frame[name])]
    if channels is None and nested:
        columns = nested
    if not columns:
        raise DataError(
            f"{table.path} has no column left for the channels; name at least one column of numbers"
        )
    if nested:
        return _nested_series(table, id, columns, order, label)
    if id is None:
        raise DataError(
            f"{table.path}: which rows make one sequence? name the column that tells (id); "
            f"the columns are {', '.join(map(repr, table.frame.columns))}"
        )
    return _long_series(table, id, columns, order, label)


def _long_series(table: Table, id: str, columns: list[str], order: str | None, label: str | None) -> Series:
    ids = _ids(table, id)
    values = np.stack([numbers(table, column) for column in columns], axis=1)
    numbered = _by_first_row(ids)
    places = np.arange(len(ids)) if order is None else _places(table, order)
    ranks = np.lexsort((places, numbered))
    same = (np.diff(numbered[ranks]) == 0) & (np.diff(places[ranks]) == 0)
    if same.any():
        assert order is not None
        first, second = sorted(int(ranks[int(same.argmax()) + step]) for step in (0, 1))
        raise DataError(
            f"{table.where(second, order)}: sequence {ids[second]!r} has {shown(table.frame[order][second])} "
            f"already ({table.where(first)}); keep one of the two rows"
        )
    starts = np.flatnonzero(np.diff(numbered[ranks], prepend=-1))
    firsts = np.unique(numbered, return_index=True)[1]
    answers = None if label is None else _one_label(table, label, numbered, firsts)
    return Series(np.split(values[ranks], starts[1:]), answers, [ids[row] for row in firsts], columns)


def _nested_series(
    table: Table, id: str | None, columns: list[str], order: str | None, label: str | None
) -> Series:
    if order is not None:
        raise DataError(f"{table.path}: the steps of lists have their order; leave out order={order!r}")
    parts = [nested_numbers(table, column) for column in columns]
    for column, part in zip(columns[1:], parts[1:], strict=True):
        for row, (first, other) in enumerate(zip(parts[0], part, strict=True)):
            if len(other) != len(first):
                raise DataError(
                    f"{table.where(row, column)}: {len(other)} steps, and column {columns[0]!r} has {len(first)}; "
                    "every channel needs the same steps"
                )
    sequences = (
        parts[0] if len(parts) == 1 else [np.concatenate(rows, axis=1) for rows in zip(*parts, strict=True)]
    )
    names = [
        name
        for column, part in zip(columns, parts, strict=True)
        for name in _channel_names(column, part[0].shape[1], table.frame[column])
    ]
    ids = [str(row) for row in range(1, len(sequences) + 1)] if id is None else _ids(table, id)
    return Series(sequences, None if label is None else labels(table, label), ids, names)


def _channel_names(column: str, width: int, values: pl.Series) -> list[str]:
    deep = isinstance(getattr(values.dtype, "inner", None), pl.List | pl.Array)
    return [f"{column}_{number}" for number in range(1, width + 1)] if deep else [column]


def _ids(table: Table, id: str) -> list[str]:
    try:
        return labels(table, id)
    except DataError as error:
        raise DataError(str(error).replace("no label;", "no id;")) from None


def _by_first_row(ids: list[str]) -> NDArray[np.int64]:
    """Each row's sequence, numbered in the order in which the sequences first come."""
    number: dict[str, int] = {}
    return np.array([number.setdefault(id_, len(number)) for id_ in ids], dtype=np.int64)


def _one_label(table: Table, label: str, numbered: NDArray[np.int64], firsts: NDArray[np.int64]) -> list[str]:
    values = labels(table, label)
    for row, number in enumerate(numbered):
        first = int(firsts[number])
        if values[row] != values[first]:
            raise DataError(
                f"{table.where(row, label)}: {shown(values[row])}, and the same sequence has {shown(values[first])} "
                f"before ({table.where(first)}); a sequence has one label"
            )
    return [values[row] for row in firsts]


def _places(table: Table, order: str) -> NDArray[Any]:
    """Where each row stands in time: numbers, dates, or texts that are one or the other."""
    values = table.frame[order]
    if is_text(values):
        values = _places_of_texts(values.cast(pl.String).str.strip_chars())
    wanted = "a number or an ISO date (2024-05-31, 2024-05-31 12:00:00)"
    if not (values.dtype.is_numeric() or values.dtype.is_temporal()):
        row = _odd_one(table.frame[order])
        raise DataError(
            f"{table.where(row, order)}: {shown(table.frame[order][row])} where {wanted} was wanted"
        )
    unusable = values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()
    if unusable.any():
        row = int(unusable.arg_max() or 0)
        raise DataError(
            f"{table.where(row, order)}: {shown(table.frame[order][row])} where {wanted} was wanted"
        )
    return values.to_physical().to_numpy()


def _places_of_texts(texts: pl.Series) -> pl.Series:
    """Texts as numbers or dates, where all of them are."""
    readings: tuple[Callable[[], pl.Series], ...] = (
        lambda: texts.cast(pl.Int64),
        lambda: texts.cast(pl.Float64),
        lambda: texts.str.to_datetime(time_unit="us"),
        lambda: texts.str.to_date().cast(pl.Datetime("us")),
    )
    for reading in readings:
        try:
            return reading()
        except pl.exceptions.PolarsError:
            continue
    return texts


def _odd_one(values: pl.Series) -> int:
    """The first row that is neither number nor date, where most are; row 0 where none is."""
    if not is_text(values):
        return 0
    texts = values.cast(pl.String).str.strip_chars()
    castable = [
        texts.cast(pl.Float64, strict=False).is_not_null(),
        texts.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False).is_not_null(),
        texts.str.to_date("%Y-%m-%d", strict=False).is_not_null(),
    ]
    best = max(castable, key=lambda good: int(good.sum()))
    return int((~best).arg_max() or 0)
