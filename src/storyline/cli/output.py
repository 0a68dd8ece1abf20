"""What a command writes for its user: the place tried before the work, the table as each format can hold it."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyline.cli.failures import fail

if TYPE_CHECKING:
    import polars


def refuse_place(out: Path, option: str = "--out") -> None:
    """Refuse, before work is spent on it, an `--out` (or another option) that no file can be written to."""
    if out.is_dir():
        fail(
            f"{option} {out} is a folder; name a file in it, such as {out / 'answers'}{out.suffix or '.csv'}"
        )
    if out.exists() and not out.is_file():
        fail(f"{option} {out} is no file but a device or a pipe, which would be replaced; name a file")
    folder = out.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        fail(f"{option} {out} lies in {folder}, which is a file; name a place in a folder")
    with writing(out, option), tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def writing(out: Path, option: str = "--out") -> Iterator[None]:
    """Say what the operating system refuses under the name that the user gave."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        fail(
            f"{option} {out} cannot be written ({reason}); make room or change the permissions, or name another"
        )


def refuse_columns(frame: polars.DataFrame, suffix: str) -> None:
    """Refuse, before work is spent on them, columns that a format cannot hold."""
    for name, kind in frame.schema.items():
        if suffix != ".parquet" and _holds_bytes(kind):
            fail(
                f"the column {name!r} holds bytes, which {suffix} cannot hold; "
                "write --out to a .parquet file, or leave the column out of the data"
            )


def encoded(frame: polars.DataFrame, suffix: str) -> bytes:
    """The bytes of a `.csv`, `.jsonl` or `.parquet` file.

    In CSV a list of words or numbers is joined by blanks, and what is nested otherwise is JSON. Columns of mixed
    values (of JSONL) stay what they were in JSONL, and are JSON in CSV and Parquet.
    """
    import polars

    mixed = [name for name, kind in frame.schema.items() if kind == polars.Object]
    if suffix == ".jsonl" and mixed:
        return _json_lines(frame)
    frame = frame.with_columns(polars.Series(name, _json(frame[name]), polars.String) for name in mixed)
    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.write_parquet(buffer)
    elif suffix == ".jsonl":
        frame.write_ndjson(buffer)
    else:
        frame.select(_flat(values) for values in frame).write_csv(buffer)
    return buffer.getvalue()


def _json_lines(frame: polars.DataFrame) -> bytes:
    keys = [json.dumps(name, ensure_ascii=False) for name in frame.columns]
    columns = [_json(values) for values in frame]
    lines = [
        ",".join(f"{key}:{'null' if cell is None else cell}" for key, cell in zip(keys, row, strict=True))
        for row in zip(*columns, strict=True)
    ]
    return "".join(f"{{{line}}}\n" for line in lines).encode()


def _json(values: polars.Series) -> list[str | None]:
    """Each cell as JSON; None where it is null."""
    import polars

    if values.dtype == polars.Object:
        return [None if value is None else _python_json(value) for value in values.to_list()]
    whole = values.alias("_").to_frame().to_struct().struct.json_encode()
    cells = whole.str.head(-1).str.slice(len('{"_":'))
    return [None if cell == "null" else cell for cell in cells.to_list()]


def _python_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair is no character of UTF-8; as an escape it is still what the user's file held.
    return json.dumps(value) if re.search("[\ud800-\udfff]", text) else text


def _flat(values: polars.Series) -> polars.Series:
    """A column as CSV can hold it."""
    import polars

    if values.dtype == polars.Duration:
        return values.dt.to_string("iso")
    if not values.dtype.is_nested():
        return values
    words = _words(values)
    return polars.Series(values.name, _json(values), polars.String) if words is None else words


def _words(values: polars.Series) -> polars.Series | None:
    """Lists of words or numbers joined by blanks; None where they could not be told apart again."""
    import polars

    inner = values.dtype.inner if isinstance(values.dtype, polars.List) else None
    if inner is None or not (inner.is_numeric() or inner in (polars.String, polars.Categorical, polars.Enum)):
        return None
    lists = values.cast(polars.List(polars.String))
    single = lists.filter(lists.list.len() > 0).explode()
    if single.has_nulls() or (single == "").any() or single.str.contains(r"\s").any():
        return None
    return lists.list.join(" ")


def _holds_bytes(kind: Any) -> bool:
    import polars

    if isinstance(kind, polars.Struct):
        return any(_holds_bytes(field.dtype) for field in kind.fields)
    inner = getattr(kind, "inner", None)
    return bool(kind == polars.Binary) or (inner is not None and _holds_bytes(inner))
