"""JSON Lines: one object a line, every line that is not one refused with its line."""

from __future__ import annotations

import json
from itertools import chain, count
from typing import Any

import numpy as np
import polars as pl

from storyline.data.source import DataError
from storyline.data.table import Table

_KINDS: dict[type, str] = {
    list: "a list",
    str: "a text",
    int: "a number",
    float: "a number",
    bool: "a truth value",
}


def read_jsonl(name: str, data: bytes) -> Table:
    """A table from checked bytes. A key that a line lacks is null there; blank lines are no rows.

    Columns of one type become columns of that type, lists included; a column of mixed types or of objects keeps
    its Python values, and is refused, with the line, by the use that asks for texts or numbers.
    """
    columns: dict[str, list[Any]] = {}
    lines: list[int] = []
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    for number, line in enumerate(data.decode("utf-8").split("\n"), 1):
        if not line or line.isspace():
            continue
        fields = _parsed(name, number, line.strip(), decoder)
        for key, value in fields.items():
            if key not in columns:
                columns[key] = [None] * len(lines)
            columns[key].append(value)
        lines.append(number)
        if len(fields) < len(columns):
            for key in columns.keys() - fields.keys():
                columns[key].append(None)
    if not lines:
        raise DataError(f"{name} holds nothing but blank lines; give a file that holds data")
    if not columns:
        raise DataError(f"{name}, line {lines[0]}: the object has no keys; give each line its fields")
    rows = np.array(lines, dtype=np.int64)
    frame = pl.DataFrame([_column(name, key, values, lines) for key, values in columns.items()])
    return Table(frame, name, rows)


class _DuplicateKeyError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return fields


def _parsed(name: str, number: int, line: str, decoder: json.JSONDecoder) -> dict[str, Any]:
    try:
        fields = decoder.decode(line)
    except _DuplicateKeyError as error:
        raise DataError(
            f"{name}, line {number}: the key {str(error)!r} comes twice; give each key a name of its own"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name}, line {number}, character {error.colno}: not valid JSON ({error.msg}); "
            "each line must hold one whole JSON object"
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"{name}, line {number}: not usable JSON ({error})") from None
    if not isinstance(fields, dict):
        found = _KINDS.get(type(fields), "null")
        raise DataError(f'{name}, line {number}: {found} where an object like {{"text": ...}} was wanted')
    return fields


def _column(name: str, key: str, values: list[Any], lines: list[int]) -> pl.Series:
    types = {type(value) for value in values} - {type(None)}
    try:
        if types == {str}:
            return pl.Series(key, values, dtype=pl.String)
        if types == {bool}:
            return pl.Series(key, values, dtype=pl.Boolean)
        if types == {int}:
            return pl.Series(key, values, dtype=pl.Int64)
        if types <= {int, float} and types:
            return pl.Series(key, values, dtype=pl.Float64)
        if types == {list}:
            return _lists(key, values)
    except UnicodeEncodeError:
        row = next(row for row, value in enumerate(values) if not _encodable(value))
        raise DataError(
            f"{name}, line {lines[row]}, column {key!r}: half a surrogate pair, which is no character; "
            "remove it, or write the file again as UTF-8"
        ) from None
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        pass  # of mixed types: kept as Python values, for the use to refuse
    return pl.Series(key, values, dtype=pl.Object)


def _lists(key: str, values: list[Any]) -> pl.Series:
    """Lists flattened and grouped again: ten times faster than polars takes nested lists, and strict about types."""
    full = [value for value in values if value]
    if not full:
        return pl.Series(key, values, dtype=pl.List(pl.String))
    flat = list(chain.from_iterable(full))
    types = set(map(type, flat)) - {type(None)}
    inner = _lists(key, flat) if types == {list} else _scalars(key, flat, types)
    if inner.dtype == pl.Object:
        return pl.Series(key, values, dtype=pl.Object)
    rows = np.repeat(np.arange(len(full)), [len(value) for value in full])
    lists = pl.DataFrame({"row": rows, key: inner}).group_by("row", maintain_order=True).agg(pl.col(key))[key]
    if len(full) == len(values):
        return lists
    places = count()
    origin = [next(places) if value else None if value is None else len(full) for value in values]
    return lists.append(pl.Series(key, [[]], dtype=lists.dtype)).gather(pl.Series(origin, dtype=pl.UInt32))


def _scalars(key: str, values: list[Any], types: set[type]) -> pl.Series:
    if types == {str}:
        return pl.Series(key, values, dtype=pl.String)
    if types <= {int, float}:
        return pl.Series(key, values, dtype=pl.Float64)
    return pl.Series(key, values, dtype=pl.Object)


def _encodable(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
