"""JSON Lines: what is read, and each refusal with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyline.data import DataError, labels, read_table, texts
from storyline.data.jsonl import read_jsonl


def refusal(data: str) -> str:
    with pytest.raises(DataError) as caught:
        read_jsonl("a.jsonl", data.encode())
    message = str(caught.value)
    assert message.startswith("a.jsonl")
    assert "\n" not in message
    return message


def test_types_and_missing_keys() -> None:
    table = read_jsonl("a", b'{"t": "x", "n": 1, "f": 1}\n\n{"t": "y", "f": 1.5, "more": true}\r\n')
    assert table.frame.rows() == [("x", 1, 1.0, None), ("y", None, 1.5, True)]
    assert table.frame.dtypes == [pl.String, pl.Int64, pl.Float64, pl.Boolean]
    assert table.where(1) == "a, line 3"


def test_line_separators_of_unicode_end_no_line() -> None:
    data = json.dumps({"t": "a\u2028b\u0085c\x1cd"}, ensure_ascii=False).encode() + b"\n"
    assert read_jsonl("a", data).frame["t"].to_list() == ["a\u2028b\u0085c\x1cd"]


def test_mixed_columns_are_refused_by_their_use_alone() -> None:
    table = read_jsonl("a", b'{"t": "x", "m": 1}\n{"t": "y", "m": "1"}\n{"t": "z", "m": {"k": []}}\n')
    assert texts(table, "t") == ["x", "y", "z"]
    with pytest.raises(DataError, match="a, line 1, column 'm': 1 where text was wanted"):
        texts(table, "m")
    with pytest.raises(DataError, match=r"a, line 3, column 'm': \{'k': \[\]\} is no class"):
        labels(table, "m")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('{"t": "x"', "line 2, character 10: not valid JSON"),
        ("x", "line 2, character 1: not valid JSON"),
        ('{"t": "x"} {"t": "y"}', "line 2, character 12: not valid JSON (Extra data)"),
        ("[1, 2]", 'line 2: a list where an object like {"text": ...} was wanted'),
        ('"x"', "line 2: a text where an object"),
        ("null", "line 2: null where an object"),
        ("true", "line 2: a truth value where an object"),
        ('{"t": "x", "t": "y"}', "line 2: the key 't' comes twice"),
        ('{"t": "\\ud800"}', "line 2, column 't': half a surrogate pair"),
        ('{"l": ["\\ud800"]}', "line 2, column 'l': half a surrogate pair"),
        ("[" * 100_000, "line 2: not usable JSON"),
        ('{"n": ' + "9" * 5000 + "}", "line 2: not usable JSON"),
    ],
)
def test_bad_lines(bad: str, said: str) -> None:
    assert said in refusal('{"t": "fine", "l": ["a"]}\n' + bad + "\n")


def test_nothing_in_it() -> None:
    assert "nothing but blank lines" in refusal("\n \n")
    assert "line 2: the object has no keys" in refusal("\n{}\n")


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".jsonl.gz"])
def test_by_suffix(tmp_path: Path, suffix: str) -> None:
    data = b'{"t": "x"}\n'
    (tmp_path / f"a{suffix}").write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    assert read_table(tmp_path / f"a{suffix}").frame.rows() == [("x",)]


NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
LISTS = (
    st.lists(NUMBERS, max_size=3) | st.lists(st.lists(NUMBERS, max_size=3), max_size=3) | st.lists(st.text())
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"id": st.integers(-(2**63), 2**63 - 1)},
            optional={
                "t": st.text(),
                "n": NUMBERS | st.none(),
                "b": st.booleans(),
                "l": LISTS,
                "x": st.text() | NUMBERS,
            },
        ),
        min_size=1,
        max_size=6,
    )
)
@example([{"id": 0}, {"id": 0, "l": [[]]}, {"id": 0, "l": [""]}])
@example([{"id": 0}, {"id": 0, "l": [[1, 2.5], []]}, {"id": 0, "l": []}, {"id": 0, "l": [[3]]}])
def test_values_come_back(rows: list[dict[str, object]]) -> None:
    data = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    found = read_jsonl("a", data).frame
    for name in found.columns:
        wanted = [row.get(name) for row in rows]
        # Whole numbers beside others become float64, beyond 2^53 rounded.
        assert found[name].to_list() in (wanted, [_as_float(value) for value in wanted])


def _as_float(value: object) -> object:
    if isinstance(value, list):
        return [_as_float(inner) for inner in value]
    return float(value) if isinstance(value, int) else value
