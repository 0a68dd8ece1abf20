from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Small, settings

from storyline.training import Identity, TrainingError, train
from storyline.training.identity import digest


def test_the_digest_tells_any_two_values_apart_and_equal_ones_not() -> None:
    values: list[Any] = [
        None, "", "a", b"a", 1, 1.0, True, [], [[]], [1], [1, 2], [[1], 2], [1, [2]], ["a", "b"], ["ab", ""],
        ["ab"], "ab", {}, {"a": 1}, {"a": 2}, {"b": 1}, np.zeros(2), np.zeros((2, 1)), np.zeros(3), np.ones(2),
        np.zeros(2, dtype=np.float32), np.zeros(0), np.arange(4.0).reshape(2, 2), np.arange(4.0).reshape(2, 2).T,
    ]  # fmt: skip
    assert len({digest(value) for value in values}) == len(values)
    grid = np.arange(6.0).reshape(2, 3)
    assert digest(grid.T) == digest(np.ascontiguousarray(grid.T)) == digest(torch.from_numpy(grid).T)
    assert digest(np.array(["a", "b"])) == digest(["a", "b"]) == digest(("a", "b"))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="no digest is known of a set"):
        digest({"one", "two"})


def test_a_run_is_not_resumed_with_other_settings_or_data_and_it_is_said_which(tmp_path: Path) -> None:
    began = Identity({"hidden_size": 6, "remember": None}, {"X": ["a", "b"], "y": [0, 1], "validation": None})
    train(Small(), settings(max_steps=2), folder=tmp_path, identity=began)

    def resumed(**changed: Any) -> None:
        now = Identity(
            **{"settings": began.settings, "data": began.data} | {k: v for k, v in changed.items()}
        )
        train(Small(), settings(max_steps=2), folder=tmp_path, resume=True, identity=now)

    with pytest.raises(TrainingError, match=r"has hidden_size = 6, now it is 8; resume with the same"):
        resumed(settings={**began.settings, "hidden_size": 8})
    with pytest.raises(TrainingError, match=r"began with other data \(y\); .*another folder"):
        resumed(data={**began.data, "y": [1, 0]}, settings={**began.settings, "hidden_size": 8})
    with pytest.raises(TrainingError, match=r"\(X, validation\)"):
        resumed(data={**began.data, "X": ["a"], "validation": ["b"]})
    with pytest.raises(TrainingError, match=r"\(unlabelled\)"):
        resumed(data={**began.data, "unlabelled": ["c"]})
    resumed()
