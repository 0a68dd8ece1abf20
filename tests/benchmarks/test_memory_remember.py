"""The comparison of LSTM(remember=T) with torch.nn.LSTM runs, small, and treats both alike."""

from __future__ import annotations

import csv

import pytest
from benchmarks.memory.remember import FILE, OURS, THEIRS, runs_of, tiny

from storyline.stories.benchmark import KEY


def test_the_two_layers_differ_in_nothing_else() -> None:
    runs = runs_of(2, adding=(400, 1_500), copy=(100, 3_000))
    assert len(runs) == 8
    for ours, theirs in zip(runs[::2], runs[1::2], strict=True):
        assert (ours.cell, theirs.cell) == (OURS, THEIRS)
        assert (ours.story, ours.seed, ours.learning) == (theirs.story, theirs.seed, theirs.learning)


def test_tiny(capsys: pytest.CaptureFixture[str]) -> None:
    tiny()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["adding at 20"] * 2 + ["copy at 5"] * 2


def test_the_rows_that_are_there_can_be_gone_on_with() -> None:
    with FILE.open(newline="", encoding="utf-8") as file:
        assert {*KEY, "distance", "commit"} <= set(next(csv.reader(file)))
