"""Predictions beside columns of every kind, and places that cannot be written to."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import typer
from command_line import Command

from storyline.cli.output import encoded, refuse_columns, refuse_place
from storyline.data.jsonl import read_jsonl

ROWS = [
    {"t": "a", "deep": [[1.5], [2, 3]], "mixed": 7, "object": {"k": "é"}, "words": ["one", "two"], "loose": ["a b"]},
    {"t": "b", "deep": [[4]], "mixed": "seven", "object": {}, "words": ["three"], "loose": ["c", None]},
    {"t": "c", "deep": None, "mixed": [1, {"x": None}], "object": None, "words": [], "loose": []},
]  # fmt: skip


@pytest.fixture
def frame() -> pl.DataFrame:
    return read_jsonl("a.jsonl", "\n".join(map(json.dumps, ROWS)).encode()).frame


def test_json_lines_give_back_what_they_were(frame: pl.DataFrame) -> None:
    lines = encoded(frame.with_columns(p=pl.lit(0.5)), ".jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == [row | {"p": 0.5} for row in ROWS]


def test_nested_cells_of_csv_are_json(frame: pl.DataFrame) -> None:
    rows = list(csv.DictReader(io.StringIO(encoded(frame, ".csv").decode())))
    for name in ("deep", "mixed", "object"):
        assert [json.loads(row[name] or "null") for row in rows] == [row[name] for row in ROWS]
    assert [row["words"] for row in rows] == ["one two", "three", ""]
    # A blank or a null inside would be lost in joining.
    assert [json.loads(row["loose"]) for row in rows] == [["a b"], ["c", None], []]


def test_mixed_cells_of_parquet_are_json(frame: pl.DataFrame) -> None:
    read = pl.read_parquet(io.BytesIO(encoded(frame, ".parquet")))
    assert read["mixed"].to_list() == ["7", '"seven"', '[1, {"x": null}]']
    assert read["deep"].to_list() == [[[1.5], [2.0, 3.0]], [[4.0]], None]


def test_columns_of_parquet_in_csv_and_json_lines() -> None:
    frame = pl.DataFrame(
        {
            "struct": [{"day": datetime.date(2024, 5, 31)}, None],
            "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
            "took": [datetime.timedelta(seconds=5), None],
            "half": pl.Series([{"a": "\ud800"}, None], dtype=pl.Object),
        }
    )
    rows = list(csv.reader(io.StringIO(encoded(frame, ".csv").decode())))[1:]
    assert rows == [
        ['{"day":"2024-05-31"}', "[1,2]", "PT5S", '{"a": "\\ud800"}'],
        ["", "[3,4]", "", ""],
    ]
    lines = [json.loads(line) for line in encoded(frame, ".jsonl").splitlines()]
    assert (lines[0]["struct"], lines[1]["array"], lines[1]["half"]) == ({"day": "2024-05-31"}, [3, 4], None)


@pytest.mark.parametrize("cell", [b"\xff", [b"\xff"], {"k": [b"\xff"]}])
def test_bytes_are_refused_by_their_column(cell: object, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame({"t": ["a"], "raw": [cell]})
    for suffix in (".csv", ".jsonl"):
        with pytest.raises(typer.Exit):
            refuse_columns(frame, suffix)
        assert f"the column 'raw' holds bytes, which {suffix} cannot hold" in capsys.readouterr().err
    refuse_columns(frame, ".parquet")
    assert pl.read_parquet(io.BytesIO(encoded(frame, ".parquet"))).equals(frame)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):
        # Root may write anywhere but where the kernel lets nobody.
        yield Path("/proc/self")
    else:
        yield folder
    folder.chmod(0o700)


def test_places_that_cannot_be_written_to(
    storyline: Command, tmp_path: Path, locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for out, said in {
        tmp_path / "pipe": "is no file but a device or a pipe, which would be replaced; name a file",
        tmp_path: "is a folder; name a file in it",
        tmp_path / "file" / "x.html": "which is a file; name a place in a folder",
        locked / "x.html": "cannot be written (",
    }.items():
        with pytest.raises(typer.Exit):
            refuse_place(out)
        message = capsys.readouterr().err
        assert message.startswith(f"error: --out {out} ")
        assert said in message
    # The commands look at the place before they look at the model.
    for command in ("memory", "predict"):
        out = tmp_path / "file" / "x.csv"
        result = storyline(command, tmp_path / "no model", "no.csv", "--out", out)
        assert result.exit_code == 2
        assert result.output.startswith(f"error: --out {out} lies in ")
    refuse_place(tmp_path / "new" / "folder" / "x.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "locked", "pipe"]
