"""Series from long frames and from lists; each refusal with line, column and step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyline.data import DataError, Series, Table, read_table, series
from storyline.data.delimited import read_delimited
from storyline.data.jsonl import read_jsonl

LONG = """id,ds,x,y,kind
b,2,3,30,up
a,1,1,10,down
b,1,2,20,up
a,10,5,50,down
a,9,4,40,down
"""


def long(text: str, folder: Path) -> Table:
    (folder / "s.csv").write_text(text)
    return read_table(folder / "s.csv")


def lists(*rows: object) -> Table:
    return read_jsonl("s.jsonl", "\n".join(json.dumps(row) for row in rows).encode())


def refusal(table: Table, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        series(table, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    return message


def plain(found: Series) -> list[list[list[float]]]:
    assert all(sequence.dtype == np.float64 for sequence in found.sequences)
    return [sequence.tolist() for sequence in found.sequences]


def test_long_frame(tmp_path: Path) -> None:
    found = series(long(LONG, tmp_path), id="id", order="ds", label="kind")
    assert found.ids == ["b", "a"]
    assert found.labels == ["up", "down"]
    assert found.channels == ["x", "y"]
    assert plain(found) == [[[2, 20], [3, 30]], [[1, 10], [4, 40], [5, 50]]]


def test_long_frame_in_the_order_of_the_file(tmp_path: Path) -> None:
    sequences, labels, ids, channels = series(long(LONG, tmp_path), id="id", channels=["y"])
    assert [sequence.tolist() for sequence in sequences] == [[[30], [20]], [[10], [50], [40]]]
    assert (labels, ids, channels) == (None, ["b", "a"], ["y"])


@pytest.mark.parametrize(
    "stamps",
    [
        ["10", "9", "11"],
        ["1.5", "-2", "3e1"],
        ["2024-10-01", "2024-09-30", "2024-10-02"],
        ["2024-05-31 10:00:00", "2024-05-31 09:00:00", "2024-06-01 00:00:00"],
        ["2024-05-31T10:00:00", "2024-05-31T09:00:00", "2024-06-01T00:00:00"],
    ],
)
def test_order_by_numbers_and_dates(tmp_path: Path, stamps: list[str]) -> None:
    rows = "".join(f"a,{stamp},{number}\n" for number, stamp in enumerate(stamps))
    found = series(long("id,ds,x\n" + rows, tmp_path), id="id", order="ds")
    assert plain(found) == [[[1], [0], [2]]]


def test_typed_columns() -> None:
    frame = pl.DataFrame({"id": [1, 1], "x": [1, 2], "z": [True, False]}).with_columns(
        pl.col("x").cast(pl.UInt8)
    )
    assert plain(series(Table(frame, "a"), id="id", channels=["x"])) == [[[1], [2]]]
    assert "a, row 1, column 'z': True where a number was wanted" in refusal(Table(frame, "a"), id="id")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "no number; every step needs one in each channel"),
        ("  ", "no number; every step needs one in each channel"),
        ("nan", "NaN where a number was wanted"),
        ("NaN", "NaN where a number was wanted"),
        ("inf", "'inf' is not finite"),
        ("-inf", "'-inf' is not finite"),
        ("abc", "'abc' is text where a number was wanted"),
        ("NA", "'NA' is text where a number was wanted"),
        ('"1,5"', "'1,5' is text where a number was wanted; write the decimal comma as a point"),
        ("1e39", "'1e39' is too large for float32"),
    ],
)
def test_bad_numbers(tmp_path: Path, value: str, said: str) -> None:
    table = long(f"id,x,y\na,1,2\na,3,{value}\n", tmp_path)
    assert f"s.csv, line 3, column 'y': {said}" in refusal(table, id="id")


@pytest.mark.parametrize(
    ("old", "new", "options", "said"),
    [
        ("", "", {}, "which rows make one sequence? name the column that tells (id); the columns are 'id'"),
        ("", "", {"id": "idd"}, "has no column 'idd' (did you mean 'id'?)"),
        ("", "", {"id": "id", "channels": ["z"]}, "has no column 'z'"),
        ("", "", {"id": "id", "channels": []}, "no column left for the channels"),
        ("a,9", ",9", {"id": "id", "channels": ["x"]}, "line 6, column 'id': no id;"),
        (
            "9,4,40,down",
            "9,4,40,up",
            {"id": "id", "label": "kind"},
            "line 6, column 'kind': 'up', and the same sequence",
        ),
        ("9,4,40,down", "9,4,40,", {"id": "id", "label": "kind"}, "line 6, column 'kind': no label"),
        (
            "a,9",
            "a,1",
            {"id": "id", "order": "ds"},
            "line 6, column 'ds': sequence 'a' has '1' already (*, line 3)",
        ),
        ("a,9", "a,x", {"id": "id", "order": "ds"}, "line 6, column 'ds': 'x' where a number or an ISO date"),
        ("a,9", "a,", {"id": "id", "order": "ds"}, "line 6, column 'ds': '' where a number or an ISO date"),
        (
            "a,9",
            "a,nan",
            {"id": "id", "order": "ds"},
            "line 6, column 'ds': 'nan' where a number or an ISO date",
        ),
    ],
)
def test_bad_long_frames(tmp_path: Path, old: str, new: str, options: dict[str, object], said: str) -> None:
    options = {"channels": ["x", "y"], **options}
    message = refusal(long(LONG.replace(old, new), tmp_path), **options)
    for part in said.split("*"):
        assert part in message


def test_lists_of_steps() -> None:
    found = series(
        lists({"v": "f1", "k": "up", "xyz": [[1, 2.5], [3, 4]]}, {"v": "f2", "k": "down", "xyz": [[5, 6]]}),
        label="k",
    )
    assert plain(found) == [[[1, 2.5], [3, 4]], [[5, 6]]]
    assert (found.labels, found.ids, found.channels) == (["up", "down"], ["1", "2"], ["xyz_1", "xyz_2"])


def test_lists_of_numbers() -> None:
    table = lists({"n": "a", "x": [1, 2], "y": [3, 4.5]}, {"n": "b", "x": [5], "y": [6]})
    found = series(table, id="n")
    assert plain(found) == [[[1, 3], [2, 4.5]], [[5, 6]]]
    assert (found.ids, found.channels) == (["a", "b"], ["x", "y"])
    assert plain(series(table, channels=["y"])) == [[[3], [4.5]], [[6]]]
    mixed = lists({"x": [1, 2], "yz": [[3, 4], [5, 6]]})
    assert plain(series(mixed)) == [[[1, 3, 4], [2, 5, 6]]]
    assert series(mixed).channels == ["x", "yz_1", "yz_2"]


@pytest.mark.parametrize("deep", [False, True])
def test_parquet_lists_and_arrays(tmp_path: Path, deep: bool) -> None:
    rows = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]] if deep else [[1, 2], [3, 4]]
    inner: pl.DataType = pl.Array(pl.Int32, 2) if deep else pl.Int32()
    for dtype in (pl.List(inner), pl.Array(inner, 2)):
        pl.DataFrame({"x": rows}, schema={"x": dtype}).write_parquet(tmp_path / "a.parquet")
        found = series(read_table(tmp_path / "a.parquet"))
        assert plain(found) == (rows if deep else [[[1], [2]], [[3], [4]]])


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([], "line 2, column 'x': an empty sequence"),
        (None, "line 2, column 'x': an empty sequence"),
        ([[1, 2], [3]], "line 2, column 'x', step 2: 1 channels, and the first step of the file has 2"),
        ([[1, 2, 3]], "line 2, column 'x', step 1: 3 channels, and the first step of the file has 2"),
        ([[1, 2], []], "line 2, column 'x', step 2: 0 channels, and the first step of the file has 2"),
        ([[1, 2], None], "line 2, column 'x', step 2: "),
        ([[1, 2], [3, None]], "line 2, column 'x', step 2: no number"),
        ([[1, 2], [float("nan"), 1]], "line 2, column 'x', step 2: NaN where a number was wanted"),
        ([[1, 2], [1, float("inf")]], "line 2, column 'x', step 2: inf is not finite"),
        ([[1, 2], [1, -1e300]], "line 2, column 'x', step 2: -1e+300 is too large for float32"),
        ([[1, 2], [1, "two"]], "line 2, column 'x', step 2: 'two' is text where a number was wanted"),
        ([[1, 2], 3], "line 2, column 'x', step 2: lists and single numbers are mixed"),
        ("text", "line 2, column 'x': 'text' where a list of numbers was wanted"),
        ([1, 2], "some rows are lists of numbers, others lists of lists"),
    ],
)
def test_bad_lists(cell: object, said: str) -> None:
    assert said in refusal(lists({"x": [[1, 2], [3, 4]]}, {"x": cell}))


def test_more_bad_lists() -> None:
    assert "line 2, column 'y': 1 steps, and column 'x' has 2" in refusal(
        lists({"x": [1], "y": [1]}, {"x": [1, 2], "y": [1]})
    )
    assert "line 1, column 'x', step 1: [1.0] where a number was wanted" in refusal(lists({"x": [[[1]]]}))
    assert "line 1, column 'x', step 1: 'a' is text" in refusal(lists({"x": ["a"]}))
    assert "leave out order='o'" in refusal(lists({"x": [1], "o": 1}), order="o")
    assert "line 2, column 'k': no label" in refusal(lists({"x": [1], "k": "a"}, {"x": [1]}), label="k")


VALUES = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_long_and_nested_forms_say_the_same(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 3))
    step = st.lists(VALUES, min_size=width, max_size=width)
    sequences = data.draw(st.lists(st.lists(step, min_size=1, max_size=4), min_size=1, max_size=4))
    nested = series(lists(*({"x": sequence} for sequence in sequences)))
    rows = [(str(i), t, *values) for i, sequence in enumerate(sequences) for t, values in enumerate(sequence)]
    rows = data.draw(st.permutations(rows))
    names = ["id", "t", *(f"x{channel}" for channel in range(width))]
    text = "\n".join(",".join(map(repr, row)).replace("'", "") for row in rows)
    table = read_delimited(
        "a", f"{','.join(names)}\n{text}".encode(), separator=",", quoting=True, header=True
    )
    found = series(table, id="id", order="t")
    assert plain(nested) == sequences
    assert {id_: sequence for id_, sequence in zip(found.ids, plain(found), strict=True)} == {
        str(i): sequence for i, sequence in enumerate(sequences)
    }
