"""Texts, labels, tokens and tags of tables; suffixes; columns that are not there."""

from __future__ import annotations

import datetime
from pathlib import Path

import polars as pl
import pytest

from storyline.data import DataError, Table, labels, read_table, series, tagged, texts, token_lists


def table(**columns: object) -> Table:
    return Table(pl.DataFrame(columns, strict=False), "a.parquet")


def test_suffixes(tmp_path: Path) -> None:
    for name, said in {
        "a.xlsx": "ends in '.xlsx'; the formats that can be read are .csv, .tsv, .parquet, .jsonl, .ndjson, .txt",
        "a.cvs": "ends in '.cvs' (did you mean '.csv'?)",
        "a": "ends in 'no suffix'",
        "a.gz": "ends in 'no suffix'",
    }.items():
        with pytest.raises(DataError) as caught:
            read_table(tmp_path / name)
        assert said in str(caught.value)
    with pytest.raises(DataError, match="is a folder; give one of the files in it"):
        read_table(tmp_path)
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(DataError, match=r"b\.csv is a folder"):
        read_table(tmp_path / "b.csv")


def test_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "A.TXT").write_bytes("one\r\n\r\ntwo\u2028three\n\n".encode())
    found = read_table(tmp_path / "A.TXT")
    assert found.frame["text"].to_list() == ["one", "", "two\u2028three"]
    with pytest.raises(DataError, match=r"A\.TXT, line 2, column 'text': an empty text"):
        texts(found, "text")
    (tmp_path / "b.txt").write_text(" \n")
    with pytest.raises(DataError, match="nothing but blanks"):
        read_table(tmp_path / "b.txt")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"t": ["x", ""], "n": [1, 2]}).write_parquet(path)
    assert labels(read_table(path), "n") == ["1", "2"]
    with pytest.raises(DataError, match=r"a\.parquet, row 2, column 't': an empty text"):
        texts(read_table(path), "t")
    pl.DataFrame({"t": []}, schema={"t": pl.String}).write_parquet(path)
    with pytest.raises(DataError, match="columns and no rows"):
        read_table(path)
    path.write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="is not a sound Parquet file"):
        read_table(path)


def test_wrong_column() -> None:
    with pytest.raises(DataError) as caught:
        table(Text=["a"], label=["b"]).column("text")
    assert str(caught.value) == (
        "a.parquet has no column 'text' (did you mean 'Text'?); its columns are 'Text', 'label'"
    )
    with pytest.raises(DataError, match="has no column 'zzz'; its columns are 'a'"):
        table(a=["a"]).column("zzz")


@pytest.mark.parametrize("empty", [None, "", " \t\n", "\x1c", "\x1f \u2003\x85\x1c"])
def test_empty_texts_and_labels(empty: str | None) -> None:
    column = table(a=["x", empty, "y", empty])
    with pytest.raises(
        DataError, match=r"a\.parquet, row 2, column 'a': an empty text.*\(2 such rows in all\)"
    ):
        texts(column, "a")
    with pytest.raises(DataError, match=r"a\.parquet, row 2, column 'a': no label.*\(2 such rows in all\)"):
        labels(column, "a")


def test_texts_of_numbers() -> None:
    with pytest.raises(DataError, match="column 'a': numbers where text was wanted"):
        texts(table(a=[1, 2]), "a")
    with pytest.raises(DataError, match="column 'a': lists where text was wanted"):
        texts(table(a=[["x"]]), "a")


def test_labels_are_written_out() -> None:
    assert labels(table(a=["007", " b"]), "a") == ["007", " b"]
    assert labels(table(a=[7, -1]), "a") == ["7", "-1"]
    assert labels(table(a=[True, False]), "a") == ["true", "false"]
    assert labels(table(a=[1.0, 2.0]), "a") == ["1", "2"]
    assert labels(table(a=[datetime.date(2024, 5, 31)]), "a") == ["2024-05-31"]
    assert labels(Table(pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)}), "a"), "a") == [
        "x",
        "y",
    ]
    mixed = pl.DataFrame({"a": pl.Series([1, "1", True, 2.0], dtype=pl.Object)})
    assert labels(Table(mixed, "a"), "a") == ["1", "1", "true", "2"]


def test_labels_of_text_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("grade\n1.5\n2.0\n")
    assert labels(read_table(tmp_path / "a.csv"), "grade") == ["1.5", "2.0"]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["1 a", "2"])])
def test_categories_are_texts(tmp_path: Path, dtype: pl.DataType) -> None:
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"t": pl.Series(["1 a", "2", "2"], dtype=dtype), "x": [1, 2, 3]})
    frame.write_parquet(path)
    read = read_table(path)
    assert texts(read, "t") == ["1 a", "2", "2"]
    assert token_lists(read, "t") == [["1", "a"], ["2"], ["2"]]
    assert series(read, id="t", channels=["x"]).ids == ["1 a", "2"]
    frame[1:].write_parquet(path)
    assert series(read_table(path), id="x", channels=["t"]).sequences[0].tolist() == [[2]]


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_labels_with_fractions(value: float) -> None:
    with pytest.raises(DataError, match=rf"row 2, column 'a': {value} is no class"):
        labels(table(a=[1.0, value]), "a")


def test_labels_not_seen_in_training() -> None:
    rows = table(a=["up", "down", "Up"])
    assert labels(rows, "a", known=["up", "down", "Up"]) == ["up", "down", "Up"]
    with pytest.raises(DataError) as caught:
        labels(rows, "a", known={"up": 0, "down": 1})
    assert str(caught.value) == (
        "a.parquet, row 3, column 'a': the label 'Up' was not seen in training (did you mean 'up'?); "
        "known are 'up', 'down'"
    )


def test_tags_not_seen_in_training() -> None:
    rows = table(tokens=[["a"], ["b", "c"]], tags=[["X"], ["X", "Z"]])
    assert tagged(rows, known=["X", "Z"])[1] == [["X"], ["X", "Z"]]
    with pytest.raises(DataError) as caught:
        tagged(rows, known=["X", "Y"])
    assert str(caught.value) == (
        "a.parquet, row 2, column 'tags', step 2 ('c'): the tag 'Z' was not seen in training; known are 'X', 'Y'"
    )


def test_missing_labels_of_any_type() -> None:
    for values in ([1, None], [1.5, None], [True, None]):
        with pytest.raises(DataError, match=r"row \d, column 'a': (no label|1\.5 is no class)"):
            labels(table(a=values), "a")


def test_tokens_and_tags() -> None:
    rows = table(tokens=[["a", "b"], ["c"]], tags=[["X", "Y"], ["X"]], text=["a  b", "c"])
    assert tagged(rows) == ([["a", "b"], ["c"]], [["X", "Y"], ["X"]])
    assert token_lists(rows, "text") == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("tokens", "tags", "said"),
    [
        ([["a"], ["b", "c"]], [["X"], ["X"]], "row 2, column 'tags': 1 tags for 2 tokens"),
        ([["a"], []], [["X"], []], "row 2, column 'tokens': an empty sequence"),
        ([["a"], None], [["X"], ["X"]], "row 2, column 'tokens': an empty sequence"),
        ([["a"], ["b", None]], [["X"], ["X", "Y"]], "row 2, column 'tokens': step 2 is null"),
        ([["a"], ["b"]], [["X"], [""]], "row 2, column 'tags': step 1 is ''"),
        ([[1], [2]], [["X"], ["X"]], "row 1, column 'tokens': step 1 is 1"),
        ([1, 2], [["X"], ["X"]], "row 1, column 'tokens': 1 where a list of tokens was wanted"),
    ],
)
def test_bad_tokens(tokens: list[object], tags: list[object], said: str) -> None:
    with pytest.raises(DataError) as caught:
        tagged(table(tokens=tokens, tags=tags))
    assert said in str(caught.value)
