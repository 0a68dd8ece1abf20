"""fit(resume=True) goes on with the run that was begun, and with no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storyline import Classifier, LanguageModel, Tagger
from storyline.training import TrainingError

QUICK: dict[str, Any] = {"hidden_size": 6, "max_steps": 2, "threads": 1}
TEXTS, LABELS = ["who is it", "where is it", "who was she", "where was she"] * 5, ["person", "place"] * 10
SERIES = np.random.default_rng(0).normal(size=(20, 5, 2))
SENTENCES, TAGS = [["the", "dog"], ["a", "cat"]] * 10, [["DET", "NOUN"]] * 20
TALE = "the cat sat on the mat. " * 400

RUNS = {
    "texts": (Classifier(**QUICK), (TEXTS, LABELS), (TEXTS[::-1], LABELS), "X"),
    "labels": (Classifier(**QUICK), (TEXTS, LABELS), (TEXTS, LABELS[::-1]), "y"),
    "renamed labels": (Classifier(**QUICK), (TEXTS, LABELS), (TEXTS, ["human", "place"] * 10), "y"),
    "series": (Classifier(**QUICK), (SERIES, LABELS), (SERIES + 1e-3, LABELS), "X"),
    "words": (Tagger(**QUICK), (SENTENCES, TAGS), ([*SENTENCES[:-1], ["a", "dog"]], TAGS), "X"),
    "language": (LanguageModel(**QUICK), (TALE,), (TALE[:-2] + "! ",), "X"),
}


@pytest.mark.parametrize(("estimator", "began", "now", "differs"), RUNS.values(), ids=RUNS)
def test_other_data_or_settings_are_refused_by_name(
    tmp_path: Path, estimator: Any, began: tuple[Any, ...], now: tuple[Any, ...], differs: str
) -> None:
    estimator.set_params(hidden_size=6, dropout=0.1).fit(*began, folder=tmp_path)
    with pytest.raises(TrainingError, match=rf"began with other data \({differs}\); resume with the same"):
        estimator.fit(*now, folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"has dropout = 0\.1, now it is 0\.2; resume with the same"):
        estimator.set_params(dropout=0.2).fit(*began, folder=tmp_path, resume=True)
    with pytest.raises(TrainingError, match=r"has hidden_size = 6, now it is 8; resume with the same"):
        estimator.set_params(dropout=0.1, hidden_size=8).fit(*began, folder=tmp_path, resume=True)
    # None of the refusals touched the run, and where and how often it is kept may differ.
    estimator.set_params(hidden_size=6, checkpoint_every=1).fit(*began, folder=tmp_path, resume=True)
    assert estimator.training_summary_["steps"] == 2


def test_other_validation_and_unlabelled_texts_are_refused(tmp_path: Path) -> None:
    now = QUICK | {"embedding_size": 4}
    given = {"validation": (TEXTS[:4], LABELS[:4]), "unlabelled": TEXTS}
    Classifier(**now).fit(TEXTS, LABELS, folder=tmp_path, **given)
    for name, other in (("validation", (TEXTS[2:6], LABELS[:4])), ("unlabelled", TEXTS[1:])):
        with pytest.raises(TrainingError, match=rf"other data \({name}\)"):
            Classifier(**now).fit(TEXTS, LABELS, folder=tmp_path, resume=True, **given | {name: other})
    Classifier(**now).fit(TEXTS, LABELS, folder=tmp_path, resume=True, **given)
