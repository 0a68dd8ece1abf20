"""Pairs of texts: what is kept, what is counted, and which line is named where two files do not match."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from storyline.data import (
    DataError,
    Table,
    aligned_pairs,
    filled_pairs,
    lines_table,
    read_lines,
    read_pairs,
)
from storyline.data.columns import texts_or_empty


def test_two_files_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.de").write_bytes("eins\r\n\r\nzwei\u2028drei\x0bvier\r\n\r\n".encode())
    (tmp_path / "a.en.gz").write_bytes(gzip.compress(b"one\ntwo\n \n\n"))
    pairs = read_pairs(tmp_path / "a.de", tmp_path / "a.en.gz")
    assert pairs.sources == ["eins", "", "zwei\u2028drei\x0bvier", ""]
    assert pairs.targets == ["one", "two", " ", ""]
    assert filled_pairs(pairs.sources, pairs.targets).tolist() == [0]
    assert pairs.empty == 3


@pytest.mark.parametrize("text", ["one\ntwo\n\n", "one\ntwo\n", "one\ntwo"])
def test_no_line_is_lost_or_made(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert len(read_lines(tmp_path / "a.txt")) == text.count("\n") + (not text.endswith("\n"))
    table = lines_table(tmp_path / "a.txt")
    assert table.where(1) == f"{tmp_path / 'a.txt'}, line 2"


def test_files_of_different_length(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    source = [" ".join("word" for _ in range(count)) for count in generator.integers(3, 25, 400)]
    target = [line.replace("word", "Worte") for line in source]
    for name, lines in (("a.de", target[:139] + target[141:]), ("a.en", source), ("cut.de", target[:300])):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as caught:
        aligned_pairs(tmp_path / "a.de", tmp_path / "a.en")
    de, en = tmp_path / "a.de", tmp_path / "a.en"
    assert str(caught.value) == (
        f"{de} has 398 lines and {en} 400: {de} ends at line 398, where {en} goes on to line 400 (by their lengths, "
        "the lines no longer match from about line 140 on); give each line its translation, be it empty"
    )
    with pytest.raises(DataError, match=r"cut\.de ends at line 300, where .*a\.en goes on to line 400; give"):
        aligned_pairs(tmp_path / "a.en", tmp_path / "cut.de")


def test_columns_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('de,en,n\n"eins\nzwei",one,1\n,two,2\ndrei,  ,3\n')
    pairs = read_pairs(tmp_path / "a.csv", source="de", target="en")
    assert pairs.sources == ["eins\nzwei", "", "drei"]
    assert pairs.targets == ["one", "two", ""]
    (tmp_path / "a.jsonl").write_text('{"de": "eins", "en": "one"}\n{"de": null}\n{"de": 3, "en": ""}\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 3, column 'de': 3 where text was wanted"):
        read_pairs(tmp_path / "a.jsonl", source="de", target="en")
    with pytest.raises(DataError, match=r"no column 'dee' \(did you mean 'de'\?\)"):
        read_pairs(tmp_path / "a.csv", source="dee", target="en")
    table = Table(pl.DataFrame({"a": [None, None], "b": [1, 2]}), "a.parquet")
    assert texts_or_empty(table, "a") == ["", ""]
    with pytest.raises(DataError, match="column 'b': numbers where text was wanted"):
        texts_or_empty(table, "b")
