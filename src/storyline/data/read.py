"""read_table: one parser for train, evaluate and predict; the suffix says the format."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import polars as pl

from storyline.data.conll import read_conll, read_conllu
from storyline.data.delimited import read_delimited
from storyline.data.jsonl import read_jsonl
from storyline.data.source import (
    DataError,
    checked_bytes,
    is_stored,
    nearest,
    read_bytes,
    scheme_of,
    unreadable,
)
from storyline.data.table import Table

DELIMITED = (".csv", ".tsv")
# The formats with columns of the user's own naming.
TABLES = (*DELIMITED, ".parquet", ".jsonl", ".ndjson")
SUFFIXES = (*TABLES, ".txt", ".conllu", ".conll")


def read_table(
    path: str | Path,
    *,
    header: bool = True,
    separator: str | None = None,
    tags: str | int | None = None,
) -> Table:
    """The rows of a file, by its suffix; each may also end in `.gz`.

    | suffix | rows |
    |---|---|
    | .csv | records of RFC 4180; all columns are text |
    | .tsv | lines parted by tabs; all columns are text, and quotes are letters like any other |
    | .jsonl .ndjson | an object a line |
    | .parquet | as stored |
    | .txt | a line a row, in the one column `text` |
    | .conllu .conll | a sentence a row, in the list columns `tokens` and `tags` |

    header: False where a .csv or .tsv has none; the columns are then `column_1`, `column_2`, ... .
    separator: of .csv and .tsv, where it is not the comma or the tab.
    tags: the tag column of .conllu (name, or number from 1; default `upos`) and .conll (number; default the last).
    Raises DataError with file, line and column.
    """
    name = str(path)
    suffix = _known_suffix(name)
    if suffix == ".parquet":
        return _read_parquet(name)
    data = checked_bytes(name, read_bytes(path))
    if suffix in DELIMITED:
        if separator is not None and (len(separator.encode()) != 1 or separator in '"\r\n'):
            raise DataError(f"separator is {separator!r}; it must be one ASCII character, such as ';'")
        separator = separator or ("," if suffix == ".csv" else "\t")
        return read_delimited(name, data, separator=separator, quoting=suffix == ".csv", header=header)
    if suffix in (".jsonl", ".ndjson"):
        return read_jsonl(name, data)
    if suffix == ".txt":
        return _read_lines(name, data)
    return (read_conllu if suffix == ".conllu" else read_conll)(name, data, tags)


def suffix_of(path: str | Path) -> str:
    """`".csv"` of `"a/b.CSV.gz"` and of `"https://a/b.csv?version=2"`."""
    name = str(path)
    inner = urlsplit(name).path if scheme_of(name) else name
    plain = inner[:-3] if inner.lower().endswith(".gz") else inner
    return Path(plain).suffix.lower()


def _known_suffix(name: str) -> str:
    suffix = suffix_of(name)
    if suffix not in SUFFIXES:
        if "://" not in name and Path(name).is_dir():
            raise DataError(f"{name} is a folder; give one of the files in it")
        raise DataError(
            f"{name} ends in {suffix or 'no suffix'!r}{nearest(suffix, SUFFIXES)}; the formats that can be read "
            f"are {', '.join(SUFFIXES)}, and each of them with .gz"
        )
    return suffix


def _read_parquet(name: str) -> Table:
    stored = is_stored(name)
    if stored and name.lower().endswith(".gz"):
        raise DataError(
            f"{name} is Parquet in gzip, which is not read from an object store; store it unpacked"
        )
    source: str | IO[bytes] = name if stored else io.BytesIO(read_bytes(name))
    try:
        frame = pl.read_parquet(source)
    except (pl.exceptions.PolarsError, OSError) as error:
        if stored:
            raise unreadable(name, error) from None
        reason = str(error).splitlines()[0]
        raise DataError(f"{name} is not a sound Parquet file ({reason}); write it again") from None
    if not frame.height:
        raise DataError(f"{name} has columns and no rows; give a file that holds data")
    return Table(frame, name)


def _read_lines(name: str, data: bytes) -> Table:
    text = data.decode("utf-8").replace("\r\n", "\n").rstrip("\n")
    if not text.strip():
        raise DataError(f"{name} holds nothing but blanks; give a file that holds text")
    frame = pl.DataFrame({"text": text.split("\n")}, schema={"text": pl.String})
    return Table(frame, name, range(1, frame.height + 1))
