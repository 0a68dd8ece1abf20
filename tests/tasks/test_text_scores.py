"""Scores of written texts: known values, sacreBLEU's own example, and what is refused."""

from __future__ import annotations

import sys

import pytest

from storyline.tasks.text_scores import summary_scores, translation_scores


def test_translations() -> None:
    reference = "The dog bit the man."
    whole = translation_scores([reference, "It was not unexpected."], [reference, "It was not unexpected."])
    assert whole["bleu"] == pytest.approx(100)
    assert whole["chrf"] == pytest.approx(100)
    # Four of five unigrams, two of four bigrams, one of three trigrams, none of two 4-grams: counted as half a one.
    one = translation_scores(["The dog bit a man"], ["The dog bit the man"])
    assert one["bleu"] == pytest.approx(100 * (4 / 5 * 2 / 4 * 1 / 3 * 0.5 / 2) ** 0.25)
    # With case: one unigram fewer, and the bigram and trigram at its side.
    assert translation_scores(["the dog bit a man"], ["The dog bit the man"])["bleu"] < one["bleu"]
    assert "case:mixed" in str(one["bleu_signature"])


def test_summaries() -> None:
    scores = summary_scores(["the meeting at noon", "nothing"], ["meetings at noon", "all"])
    # 3 of 4 words and 3 of 3, "meeting" by its stem; 2 of 3 pairs and 2 of 2; of the second text none: the mean.
    assert scores == pytest.approx({"rouge1": 6 / 7 / 2, "rouge2": 4 / 5 / 2, "rougeL": 6 / 7 / 2})


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for score in (translation_scores, summary_scores):
        with pytest.raises(ValueError, match="there are 1 outputs and 2 references; give one for each"):
            score(["a"], ["a", "b"])
        with pytest.raises(ValueError, match="of at least one"):
            score([], [])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(
        ImportError, match=r"BLEU and chrF need sacrebleu, .* pip install 'storyline\[metrics\]'"
    ):
        translation_scores(["a"], ["a"])
    with pytest.raises(ImportError, match=r"ROUGE needs rouge-score, .* pip install 'storyline\[metrics\]'"):
        summary_scores(["a"], ["a"])
