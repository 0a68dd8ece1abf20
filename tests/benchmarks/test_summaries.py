"""What stands beside the Summarizer: words of weight, and how far chance may move a mean."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.tasks.rouge import interval, means, rouge
from benchmarks.tasks.summaries import first_words, heaviest_words
from sklearn.feature_extraction.text import TfidfVectorizer


def test_baselines_take_the_words_that_they_say() -> None:
    bodies = ["the gas the price of gas", "the meeting of board", "the price of the meeting"]
    assert first_words(bodies, 2) == ["the gas", "the meeting", "the price"]
    weights = TfidfVectorizer().fit(bodies)
    # "gas" is frequent and in one body alone; "board" is rarer than "meeting"; they keep the order of the body.
    assert heaviest_words(weights, bodies[:2], 1) == ["gas", "board"]
    assert heaviest_words(weights, bodies[1:2], 3) == ["meeting of board"]


def test_rouge_of_what_can_be_counted_by_hand() -> None:
    scores = rouge(["gas prices rise", "meeting"], ["prices of gas", "lunch"])
    # Two of three words each way; no pair of neighbours; a common subsequence of one.
    np.testing.assert_allclose(scores, [[200 / 3, 0, 100 / 3], [0, 0, 0]])
    assert means(scores)["ROUGE-1"] == pytest.approx(100 / 3)


def test_the_interval_is_that_of_the_normal_law_for_many_texts() -> None:
    scores = np.random.default_rng(1).normal(20, 15, size=2000)
    half = 1.96 * scores.std() / len(scores) ** 0.5
    np.testing.assert_allclose(interval(scores), [scores.mean() - half, scores.mean() + half], atol=0.15)
