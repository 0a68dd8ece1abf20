"""A fit that goes on from the fit before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from storyline import Classifier

QUICK: dict[str, Any] = {
    "hidden_size": 8,
    "bidirectional": False,
    "pooling": "last",
    "validation_fraction": 0.0,
    "threads": 1,
}


def data(steps: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    series = np.repeat(generator.normal(size=(40, 6, 1)), steps, axis=1).astype(np.float32)
    return series, np.where(series[:, 0, 0] > 0, "up", "down")


def test_it_begins_where_the_other_ended() -> None:
    model = Classifier(**QUICK, epochs=3).fit(*data(1))
    before = {name: value.clone() for name, value in model.network_.state_dict().items()}
    model.set_params(warm_start=True, epochs=1, learning_rate=1e-12, weight_decay=0.0).fit(*data(1))
    for name, value in model.network_.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-9)
    cold = model.set_params(warm_start=False).fit(*data(1)).network_.state_dict()
    assert any(not torch.allclose(cold[name], value) for name, value in before.items())


def test_stretched_it_keeps_its_answers_on_finer_steps() -> None:
    model = Classifier(**QUICK, epochs=60, learning_rate=0.02, dropout=0.0).fit(*data(1))
    coarse = model.score(*data(1))
    assert coarse > 0.9
    finer = model.stretch(4).set_params(warm_start=True, epochs=20, learning_rate=1e-3).fit(*data(4))
    assert finer.score(*data(4)) > 0.85


def test_what_a_warm_start_refuses() -> None:
    series, labels = data(1)
    model = Classifier(**QUICK, epochs=1, warm_start=True).fit(series, labels)
    with pytest.raises(ValueError, match="warm_start cannot go on"):
        model.set_params(hidden_size=9).fit(series, labels)
    model.set_params(hidden_size=8)
    rnn = Classifier(**QUICK, epochs=1, core="rnn").fit(series, labels)
    with pytest.raises(ValueError, match="core='lstm' or core='gru'"):
        rnn.stretch(2)
    with pytest.raises(ValueError, match="sideways"):
        model.fit(series, np.where(labels == "up", "sideways", "down"))
