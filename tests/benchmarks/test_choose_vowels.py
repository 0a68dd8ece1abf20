"""The choice of noise and dropout reads the training part only, and scores every series once a setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.tasks import choose_vowels, vowels


@pytest.mark.data
def test_every_setting_is_scored_on_held_out_training_series(
    data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, held_out = [], []
    read = vowels.read
    monkeypatch.setattr(vowels, "read", lambda part: parts.append(part) or read(part))
    monkeypatch.setattr(
        choose_vowels,
        "_accuracy",
        lambda recipe, series, speakers, train, held: (
            held_out.append((recipe["noise"], recipe["dropout"], set(train), set(held))) or recipe["noise"]
        ),
    )
    rows = list(choose_vowels.choose(3, 0))
    assert parts == ["TRAIN"]
    assert [(row["noise"], row["dropout"]) for row in rows] == [
        (noise, dropout) for noise in (0.0, 0.1, 0.3) for dropout in (0.0, 0.25, 0.5)
    ]
    for row in rows:
        folds = [found for found in held_out if found[:2] == (row["noise"], row["dropout"])]
        assert len(folds) == 3
        assert set.union(*(held for *_, held in folds)) == set(range(270))
        assert not any(train & held for *_, train, held in folds)
        assert row["mean"] == 100 * float(str(row["noise"]))


@pytest.mark.data
def test_one_fold_learns_and_answers(data_folder: Path) -> None:
    row = next(choose_vowels.choose(2, 0, {"epochs": 1, "hidden_size": 8}))
    assert 0 < float(str(row["mean"])) < 100
    assert row["threads"]
