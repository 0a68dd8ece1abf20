"""The taggers that the Tagger has to beat: what they know of unknown words, and the perceptron's average."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.tasks import tagging
from benchmarks.tasks.frequent_tag import MostFrequentTag, shape
from benchmarks.tasks.perceptron import AveragedPerceptron


def test_an_unknown_word_is_tagged_like_rare_words_of_its_spelling() -> None:
    words = [["the"] * 9 + ["walking", "singing", "Paris", "Rome", "1999", "table"]]
    tags = [["DET"] * 9 + ["VERB", "VERB", "PROPN", "PROPN", "NUM", "NOUN"]]
    tagger = MostFrequentTag().fit(words, tags)
    assert tagger.predict(["the", "running", "Oslo", "2024"]) == ["DET", "VERB", "PROPN", "NUM"]
    # Nothing is spelled like this: the most frequent tag of rare words.
    assert tagger.predict(["?!"]) == ["VERB"]


def test_shape() -> None:
    assert [shape(word) for word in ("Paris", "NASA", "3.14", "e-mail", "")] == ["Xx", "X", "d.d", "x-x", ""]


def test_a_tagger_that_knows_no_rare_word_still_answers() -> None:
    tagger = MostFrequentTag().fit(
        [["a", "a", "a", "b", "b", "b", "b"]], [["X", "X", "X", "Y", "Y", "Y", "Y"]]
    )
    assert tagger.predict(["a", "unknown"]) == ["X", "Y"]


def test_the_perceptron_reads_the_context() -> None:
    sentences = [["to", "walk"], ["a", "walk"]] * 5
    tags = [["PART", "VERB"], ["DET", "NOUN"]] * 5
    tagger = AveragedPerceptron(passes=3).fit(sentences, tags)
    assert [tagger.predict(words) for words in sentences[:2]] == tags[:2]
    assert len(tagger.predict(["to", "never", "seen"])) == 3
    assert tagger.predict([]) == []


def test_the_weights_are_the_mean_over_all_steps() -> None:
    """Against the plain perceptron, whose weights are summed after every step."""
    sentences = [["b", "a"], ["a", "a", "c"]]
    tags = [["Y", "X"], ["Y", "X", "Y"]]
    tagger = AveragedPerceptron(passes=2, seed=3).fit(sentences, tags)
    weights = np.zeros_like(tagger.weights)
    total, steps = np.zeros_like(weights), 0
    order = np.random.default_rng(3)
    for _ in range(2):
        for index in order.permutation(2):
            before = last = 2
            for (spelling, number), tag in zip(tagger._spelled(sentences[index]), tags[index], strict=True):
                active = tagger._active(spelling, number, last, before)
                total += weights
                steps += 1
                found, right = int(weights[active].sum(0).argmax()), "XY".index(tag)
                if found != right:
                    weights[active, right] += 1
                    weights[active, found] -= 1
                before, last = last, found
    total += weights
    assert total.any()
    np.testing.assert_allclose(tagger.weights, total / (steps + 1), atol=1e-12)


@pytest.mark.data
def test_the_most_frequent_tag_of_english_is_as_good_as_known(data_folder: Path) -> None:
    tagger = MostFrequentTag().fit(*tagging.read("train"))
    assert tagging.accuracy(tagger, tagging.read("dev")) >= 88.9
