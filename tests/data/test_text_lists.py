"""Rows of several texts: what is taken as it stands, and which line is named where it is something else."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from storyline.data import DataError, Table, answer_lists, read_table, turn_lists


def test_answers_are_texts_or_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"answer": "Paris"}\n\n{"answer": ["Rome", "the city of Rome"]}\n', encoding="utf-8")
    assert answer_lists(read_table(path)) == [["Paris"], ["Rome", "the city of Rome"]]
    (tmp_path / "a.csv").write_text("question,said\nwhere,in Paris\n", encoding="utf-8")
    assert answer_lists(read_table(tmp_path / "a.csv"), "said") == [["in Paris"]]
    path.write_text('{"answer": "Paris"}\n\n{"answer": null}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.jsonl, line 3, column 'answer': no answer; fill it in"):
        answer_lists(read_table(path))


def test_turns_are_lists() -> None:
    frame = pl.DataFrame({"turns": [["Hello!", "Hi."], ["Bye."]], "text": ["a", "b"]})
    table = Table(frame, "dialogues.parquet")
    assert turn_lists(table) == [["Hello!", "Hi."], ["Bye."]]
    with pytest.raises(DataError, match="row 1, column 'text': 'a' where a list of turns was wanted"):
        turn_lists(table, "text")
    broken = Table(pl.DataFrame({"turns": [["Hello!"], ["Bye.", None]]}), "dialogues.parquet")
    with pytest.raises(DataError, match="row 2, column 'turns': turn 2 is null, where text was wanted"):
        turn_lists(broken)
