"""Table: a frame that remembers the file and the lines that it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storyline.data.source import DataError, nearest


@dataclass(frozen=True)
class Table:
    """Rows and where they came from.

    frame: the rows; columns of a CSV or TSV file are text, cast only when a use asks for numbers.
    path: the file, as the user named it.
    lines: the line, counted from 1, on which each row starts; None where the format has no lines (Parquet).
    """

    frame: pl.DataFrame
    path: str
    lines: Sequence[int] | NDArray[np.int64] | None = None

    def column(self, name: str) -> pl.Series:
        """The column; DataError offers the nearest name and lists the columns."""
        if name not in self.frame.columns:
            columns = self.frame.columns
            raise DataError(
                f"{self.path} has no column {name!r}{nearest(name, columns)}; "
                f"its columns are {', '.join(map(repr, columns))}{separator_hint(columns)}"
            )
        return self.frame[name]

    def where(self, row: int, column: str | None = None) -> str:
        """`"questions.csv, line 17, column 'label'"` for a row counted from 0, quoted newlines included."""
        place = f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.path}, {place}" + ("" if column is None else f", column {column!r}")


def separator_hint(columns: Sequence[str]) -> str:
    """What to do where the only column's name looks like several names; else nothing."""
    if len(columns) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas")):
            if mark in columns[0]:
                return f" (the fields seem to be parted by {word}: give the separator {mark!r})"
    return ""
