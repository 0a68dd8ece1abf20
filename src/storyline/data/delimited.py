"""CSV and TSV: all columns as text, every malformed row refused with its line."""

from __future__ import annotations

import csv
import io
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from numpy.typing import NDArray

from storyline.data.source import DataError, line_of
from storyline.data.table import Table, separator_hint

_LIMIT = threading.Lock()


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Lift the csv module's limit, 128 KiB a field, which is one for the whole process, and put it back."""
    with _LIMIT:
        before = csv.field_size_limit(sys.maxsize)
        try:
            yield
        finally:
            csv.field_size_limit(before)


@_fields_of_any_length()
def read_delimited(name: str, data: bytes, *, separator: str, quoting: bool, header: bool) -> Table:
    """A table of text columns from checked bytes (UTF-8, no NUL, no BOM).

    `quoting`: fields may stand in double quotes (RFC 4180); without it a quote is a letter like any other.
    Without `header` the columns are `column_1`, `column_2`, ... . Blank lines are no rows, save
    that in a file of one column a blank line between rows is an empty field.
    """
    data = data.rstrip(b"\r\n")
    if not data:
        raise DataError(f"{name} holds nothing but blank lines; give a file that holds data")
    quoted = quoting and b'"' in data
    if b"\r" in data and not quoted:
        data = data.replace(b"\r\n", b"\n")
        if b"\r" in data:
            line = line_of(data, data.index(b"\r"))
            raise DataError(f"{name}, line {line}: a bare carriage return; end lines with LF or CRLF")
    dialect = _Dialect(name, data, separator, quoting)
    first = next(dialect.records(), None)
    assert first is not None
    columns = _columns(name, *first, header=header)
    plain = not quoted and b"\n\n" not in data and not data.startswith(b"\n")
    if plain and data.count(separator.encode()) == (len(columns) - 1) * (data.count(b"\n") + 1):
        frame = _polars_frame(data, columns, separator, quote=None, header=header)
        if frame is not None and frame.height == data.count(b"\n") + (not header):
            return _filled(name, frame, range(1 + header, frame.height + 1 + header), header)
    lines, characters = dialect.survey(len(columns), header)
    frame = _polars_frame(data, columns, separator, quote='"' if quoting else None, header=header)
    if frame is None or frame.height != len(lines) or _characters(frame) != characters:
        # A quote inside an unquoted field, or blank lines: here polars reads otherwise than RFC 4180 does.
        frame = dialect.frame(columns, header)
    return _filled(name, frame, lines, header)


def _filled(name: str, frame: pl.DataFrame, lines: Sequence[int] | NDArray[np.int64], header: bool) -> Table:
    if not frame.height:
        raise DataError(f"{name} has a header and no rows; give a file that holds data")
    return Table(frame.with_columns(pl.all().fill_null("")), name, lines)


def _columns(name: str, line: int, fields: list[str], *, header: bool) -> list[str]:
    if not header:
        return [f"column_{number}" for number in range(1, len(fields) + 1)]
    for number, column in enumerate(fields, 1):
        if not column.strip():
            raise DataError(f"{name}, line {line}: column {number} of the header has no name; give it one")
        if fields.index(column) < number - 1:
            raise DataError(
                f"{name}, line {line}: columns {fields.index(column) + 1} and {number} are both named "
                f"{column!r}; give each column a name of its own"
            )
    return fields


def _polars_frame(
    data: bytes, columns: list[str], separator: str, *, quote: str | None, header: bool
) -> pl.DataFrame | None:
    try:
        frame = pl.read_csv(
            data,
            has_header=header,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            new_columns=columns,
        )
    except pl.exceptions.PolarsError:
        return None  # the csv module finds the line and says what is wrong
    return frame if frame.columns == columns else None


def _characters(frame: pl.DataFrame) -> int:
    counts = frame.select(pl.all().str.len_chars().cast(pl.UInt64).sum())
    return sum(counts.row(0))


class _Dialect:
    """The same bytes read by the csv module: slower, exact, and it knows its lines."""

    def __init__(self, name: str, data: bytes, separator: str, quoting: bool) -> None:
        self.name, self.data, self.separator, self.quoting = name, data, separator, quoting
        self.first_width = 0

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """The line on which each record starts, and its fields."""
        reader = csv.reader(
            io.TextIOWrapper(io.BytesIO(self.data), encoding="utf-8", newline="\n"),
            delimiter=self.separator,
            quoting=csv.QUOTE_MINIMAL if self.quoting else csv.QUOTE_NONE,
            strict=True,
        )
        line, width = 1, 0
        try:
            for fields in reader:
                width = self.first_width = width or len(fields)
                if fields or width == 1:  # in a file of one column a blank line is an empty field
                    yield line, fields or [""]
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(self._malformed(line, error) + self._hint()) from None

    def survey(self, width: int, header: bool) -> tuple[NDArray[np.int64], int]:
        """The line of each row, and the number of characters in all rows; refuses rows of another width."""
        lines: list[int] = []
        characters = 0
        for line, fields in self.records():
            if len(fields) != width:
                raise DataError(self._other_width(line, len(fields), width, header) + self._hint())
            lines.append(line)
            characters += sum(map(len, fields))
            if header and len(lines) == 1:
                characters = 0
        return np.array(lines[header:], dtype=np.int64), characters

    def frame(self, columns: list[str], header: bool) -> pl.DataFrame:
        records = self.records()
        if header:
            next(records)
        rows = [fields for _, fields in records]
        return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")

    def _hint(self) -> str:
        return separator_hint([self.data.split(b"\n", 1)[0].decode("utf-8")]) if self.first_width < 2 else ""

    def _other_width(self, line: int, found: int, width: int, header: bool) -> str:
        fields = "1 field" if found == 1 else f"{found} fields"
        wanted = "the header has" if header else "the first line has"
        advice = (
            "put fields that hold the separator in double quotes" if self.quoting else "escape tabs in text"
        )
        todo = advice if found > width else "fill in what is missing, be it with an empty field"
        return f"{self.name}, line {line}: {fields}, and {wanted} {width}; {todo}"

    def _malformed(self, line: int, error: csv.Error) -> str:
        if "new-line character" in str(error):
            return (
                f"{self.name}, line {line}: a bare carriage return in a field without quotes; "
                "put the field in double quotes, or end lines with LF or CRLF"
            )
        opened, closed = self._unclosed_quote(line)
        if closed is None:
            return (
                f"{self.name}, line {opened}: a quote is opened here and never closed; "
                'close it, or write a quote inside a text as ""'
            )
        return (
            f"{self.name}, line {opened}: the quote opened here is closed on line {closed} in the middle of a "
            'field; write a quote inside a text as "", and close each quote before the separator'
        )

    def _unclosed_quote(self, line: int) -> tuple[int, int | None]:
        """The line where the faulty quoted field opens, and the line of its closing quote, if it has one."""
        text = self.data.split(b"\n", line - 1)[-1].decode("utf-8")
        whole = re.compile(r'"(?:[^"]|"")*+"')
        position = 0
        while position < len(text):
            if text[position] == '"':
                match = whole.match(text, position)
                opened = line + text.count("\n", 0, position)
                if match is None:
                    return opened, None
                if match.end() < len(text) and text[match.end()] not in (self.separator, "\n", "\r"):
                    return opened, line + text.count("\n", 0, match.end())
                position = match.end() + 1
            else:
                field = re.compile(rf"[^{re.escape(self.separator)}\n]*").match(text, position)
                assert field is not None
                position = field.end() + 1
        raise AssertionError("the csv module refuses what this walk accepts")
