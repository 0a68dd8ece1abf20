"""Numbers from columns: NaN, text, null and ragged lists refused with line, column and step."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storyline.data.columns import is_text, shown
from storyline.data.source import DataError
from storyline.data.table import Table

# As precise as the file: the scaler needs all digits of a channel that varies little on a large offset.
Array = NDArray[np.float64]


def is_nested(values: pl.Series) -> bool:
    """Whether cells hold lists."""
    if values.dtype == pl.Object:
        return any(isinstance(value, list) for value in values.to_list())
    return isinstance(values.dtype, pl.List | pl.Array)


def numbers(table: Table, column: str) -> Array:
    """A column of finite numbers, shape (rows,); text of CSV is cast here."""
    values = table.column(column)
    if values.dtype == pl.Object:
        for row, value in enumerate(values.to_list()):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise DataError(f"{table.where(row, column)}: {_complaint(value)}")
    cast, bad = _cast(values)
    if bad is not None:
        raise DataError(f"{table.where(bad, column)}: {_complaint(values[bad])}")
    return cast


def nested_numbers(table: Table, column: str) -> list[Array]:
    """A column of lists: an array (time, channels) a row; a list of numbers has one channel."""
    values = table.column(column)
    if isinstance(values.dtype, pl.Array):
        values = values.arr.to_list()
    if not isinstance(values.dtype, pl.List):
        raise _not_lists(table, column, values)
    lengths = values.list.len().fill_null(0).to_numpy().astype(np.int64)
    if not lengths.all():
        row = int(lengths.argmin())
        raise DataError(
            f"{table.where(row, column)}: an empty sequence; every sequence needs at least one step, so remove the row"
        )
    ends = np.cumsum(lengths)
    steps = values.explode()
    if isinstance(steps.dtype, pl.Array):
        steps = steps.arr.to_list()
    width = 1
    if isinstance(steps.dtype, pl.List):
        width = _width(table, column, steps, ends)
        steps = steps.explode()
    flat, bad = _cast(steps)
    if bad is not None:
        raise DataError(f"{_step(table, column, bad // width, ends)}: {_complaint(steps[bad])}")
    return np.split(flat.reshape(-1, width), ends[:-1])


def _width(table: Table, column: str, steps: pl.Series, ends: NDArray[np.int64]) -> int:
    widths = steps.list.len().fill_null(0).to_numpy()
    width = int(widths[0])
    other = np.flatnonzero((widths != width) | (widths == 0))
    if len(other):
        step = int(other[0])
        raise DataError(
            f"{_step(table, column, step, ends)}: {widths[step]} channels, and the first step of the file has "
            f"{width}; every step needs a number for each of the same channels"
        )
    return width


def _step(table: Table, column: str, step: int, ends: NDArray[np.int64]) -> str:
    row = int(np.searchsorted(ends, step, side="right"))
    return f"{table.where(row, column)}, step {step - (ends[row - 1] if row else 0) + 1}"


def _cast(values: pl.Series) -> tuple[Array, int | None]:
    """The values, and the first place that is no finite number of float32, in which models compute."""
    if values.dtype == pl.Object:
        values = pl.Series(values.name, values.to_list(), dtype=pl.Float64, strict=False)
    elif is_text(values):
        values = values.cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    elif values.dtype.is_numeric():
        values = values.cast(pl.Float64)
    else:
        return np.zeros(0), 0
    exact = values.fill_null(np.nan).to_numpy()
    bad = np.flatnonzero(~(np.abs(exact) <= np.finfo(np.float32).max))
    return (np.zeros(0), int(bad[0])) if len(bad) else (exact, None)


def _complaint(value: Any) -> str:
    if value is None or (isinstance(value, str) and not value.strip()):
        return "no number; every step needs one in each channel, so fill it in, or remove the row"
    try:
        number = None if isinstance(value, bool | pl.Series) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if isinstance(value, str) and number is None:
        advice = (
            "write the decimal comma as a point"
            if _decimal_comma(value)
            else "write a number, or leave the column out"
        )
        return f"{shown(value)} is text where a number was wanted; {advice}"
    if number is None:
        return f"{shown(value)} where a number was wanted"
    if np.isnan(number):
        return "NaN where a number was wanted; fill it in, or remove the row"
    if np.isinf(number):
        return f"{shown(value)} is not finite; fill in a finite number, or remove the row"
    return f"{shown(value)} is too large for float32 (3.4e38); use another unit"


def _decimal_comma(value: str) -> bool:
    whole, comma, rest = value.strip().lstrip("+-").partition(",")
    return bool(comma) and whole.isdecimal() and rest.isdecimal()


def _not_lists(table: Table, column: str, values: pl.Series) -> DataError:
    """The first cell of a column of mixed cells that is no list of numbers, nor of lists of numbers."""
    for row, value in enumerate(values.to_list()):
        place = table.where(row, column)
        if not isinstance(value, list):
            return DataError(f"{place}: {shown(value)} where a list of numbers was wanted")
        depth = isinstance(value[0], list) if value else False
        for step, numbers_ in enumerate(value, 1):
            if isinstance(numbers_, list) != depth:
                return DataError(
                    f"{place}, step {step}: lists and single numbers are mixed; give every step its list"
                )
            for number in numbers_ if isinstance(numbers_, list) else [numbers_]:
                if isinstance(number, bool) or not isinstance(number, int | float):
                    return DataError(f"{place}, step {step}: {_complaint(number)}")
    return DataError(
        f"{table.path}, column {column!r}: some rows are lists of numbers, others lists of lists; "
        "write all rows as lists of steps, each a list of its channels"
    )
